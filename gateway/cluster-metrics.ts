/**
 * What the metadata service knows of the whole cluster, for Prometheus. It has no HTTP port of its
 * own, so every gateway hands it on: asked when somebody scrapes, at most every few seconds.
 */
import type { Clock } from '../base/clock.ts';
import type { GaugeMetric, Metrics } from '../base/metrics.ts';
import type { AdminStatus, JobName, MetaAdmin } from '../meta/admin-protocol.ts';
import type { StoreFill } from '../meta/protocol.ts';

/** An answer younger than this is good enough for a scrape. */
const FRESH_MS = 3000;
const TIMEOUT_MS = 2000;

const CONDITIONS = ['up', 'down', 'out', 'draining', 'spare'] as const;
const JOB_STATES = ['running', 'idle', 'paused'] as const;

type Source = () => Promise<AdminStatus | undefined>;

/** Undefined: the metadata service does not answer. Those who ask at the same time ask once. */
function cached(admin: Pick<MetaAdmin, 'adminStatus'>, clock: Clock): Source {
  let asked: { atMs: number; answer: Promise<AdminStatus | undefined> } | undefined;
  return () => {
    const nowMs = clock.monotonic();
    if (asked === undefined || nowMs - asked.atMs >= FRESH_MS) {
      const answer = admin.adminStatus({ timeoutMs: TIMEOUT_MS }).catch(() => undefined);
      asked = { atMs: nowMs, answer };
    }
    return asked.answer;
  };
}

/** Adds the gauges; without an answer they have no samples, and `ashlar_meta_up` is 0. */
export function addClusterMetrics(
  metrics: Metrics,
  admin: Pick<MetaAdmin, 'adminStatus'>,
  clock: Clock,
): void {
  const source = cached(admin, clock);

  function gauge<const Name extends string = never>(
    name: string,
    help: string,
    labels: readonly Name[],
    read: (status: AdminStatus, gauge: GaugeMetric<Name>) => void,
  ): void {
    metrics.gauge<Name>({
      name,
      help,
      labels,
      async collect(face) {
        const status = await source();
        face.clear();
        if (status !== undefined) read(status, face);
      },
    });
  }

  metrics.gauge({
    name: 'ashlar_meta_up',
    help: '1 when the metadata service answers this gateway.',
    collect: async (face) => face.set((await source()) === undefined ? 0 : 1),
  });
  gauge('ashlar_cluster_healthy', '1 when nothing needs attention.', [], (status, face) =>
    face.set(status.healthy ? 1 : 0),
  );
  addNodes(gauge);
  addReplicas(gauge);
  addJobs(gauge);
  addResults(metrics, source);
  addMetadata(gauge);
}

type AddGauge = <const Name extends string = never>(
  name: string,
  help: string,
  labels: readonly Name[],
  read: (status: AdminStatus, gauge: GaugeMetric<Name>) => void,
) => void;

function addNodes(gauge: AddGauge): void {
  gauge('ashlar_cluster_nodes', 'Storage nodes by state.', ['state'], ({ nodes }, face) => {
    for (const state of CONDITIONS) {
      face.set(nodes.filter(({ condition }) => condition === state).length, { state });
    }
  });
  gauge(
    'ashlar_disk_bytes',
    'Bytes of the disk of each storage node, free and used.',
    ['node', 'state'],
    ({ nodes }, face) => {
      for (const { id, capacityBytes, freeBytes } of nodes) {
        face.set(freeBytes, { node: id, state: 'free' });
        face.set(capacityBytes - freeBytes, { node: id, state: 'used' });
      }
    },
  );
  gauge('ashlar_node_up', '1 when the node is heard.', ['node'], ({ nodes }, face) => {
    for (const { id, condition } of nodes) {
      face.set(condition === 'down' || condition === 'out' ? 0 : 1, { node: id });
    }
  });
  gauge(
    'ashlar_node_full',
    '1 when the node takes no more blocks.',
    ['node'],
    ({ nodes }, face) => {
      for (const { id, full } of nodes) face.set(full ? 1 : 0, { node: id });
    },
  );
  gauge(
    'ashlar_rebalance_remaining_bytes',
    'Bytes that a layout change still has to move.',
    [],
    ({ nodes }, face) => face.set(nodes.reduce((sum, node) => sum + node.incomingBytes, 0)),
  );
  gauge('ashlar_layout_epoch', 'Epoch of the placement map.', [], ({ view }, face) =>
    face.set(view.layout?.epoch ?? 0),
  );
}

function addReplicas(gauge: AddGauge): void {
  gauge(
    'ashlar_blobs',
    'Blobs by the good replicas of their worst block, as far as is known.',
    ['replicas'],
    ({ replicas }, face) => {
      face.set(replicas.whole, { replicas: 3 });
      face.set(replicas.missingOne, { replicas: 2 });
      face.set(replicas.missingTwo, { replicas: 1 });
      face.set(replicas.lost, { replicas: 0 });
    },
  );
  gauge('ashlar_repair_queue_blobs', 'Blobs that wait for repair.', [], ({ queues }, face) =>
    face.set(queues.repair),
  );
  gauge('ashlar_garbage_queue_entries', 'Deletions not done yet.', [], ({ queues }, face) =>
    face.set(queues.garbage),
  );
}

function addJobs(gauge: AddGauge): void {
  gauge(
    'ashlar_job_state',
    '1 for the state that a job is in.',
    ['job', 'state'],
    ({ jobs }, face) => {
      for (const { name, state } of jobs) {
        for (const one of JOB_STATES) face.set(one === state ? 1 : 0, { job: name, state: one });
      }
    },
  );
  gauge('ashlar_job_done', 'Work done in the present run.', ['job', 'unit'], ({ jobs }, face) => {
    for (const { name, done, unit } of jobs) face.set(done, { job: name, unit });
  });
  gauge('ashlar_job_total', 'Work of the present run.', ['job', 'unit'], ({ jobs }, face) => {
    for (const { name, total, unit } of jobs) {
      if (total !== undefined) face.set(total, { job: name, unit });
    }
  });
  gauge('ashlar_job_rate', 'Work per second, recently.', ['job', 'unit'], ({ jobs }, face) => {
    for (const { name, rate, unit } of jobs) face.set(rate, { job: name, unit });
  });
  gauge('ashlar_job_eta_seconds', 'Time that a job still needs.', ['job'], ({ jobs }, face) => {
    for (const { name, etaMs } of jobs) {
      if (etaMs !== undefined) face.set(etaMs / 1000, { job: name });
    }
  });
  gauge(
    'ashlar_job_count',
    'What a job found or did, by name.',
    ['job', 'what'],
    ({ jobs }, face) => {
      for (const { name, counts } of jobs) {
        for (const [what, value] of Object.entries(counts)) face.set(value, { job: name, what });
      }
    },
  );
}

/** Sums of what the jobs did; they begin anew when the metadata service does. */
function addResults(metrics: Metrics, source: Source): void {
  const sums: {
    name: string;
    help: string;
    job: JobName;
    /** Names of the job's counts, by the value of the label `result`. */
    counts: Readonly<Record<string, string>>;
  }[] = [
    {
      name: 'ashlar_scrub_blocks_total',
      help: 'Replicas that scrubbing has read, and those of them that were not as they should be.',
      job: 'scrub',
      counts: { verified: 'blocks', corrupt: 'corrupt', missing: 'missing' },
    },
    {
      name: 'ashlar_journal_scrub_pieces_total',
      help: 'Records and chunks of snapshots, in all copies of the metadata journal, by result.',
      job: 'journal',
      counts: {
        records: 'records',
        chunks: 'chunks',
        damaged: 'damaged',
        repaired: 'repaired',
        lost: 'lost',
      },
    },
    {
      name: 'ashlar_repair_blocks_total',
      help: 'Replicas that repair has made again, and those that it found sound.',
      job: 'repair',
      counts: { repaired: 'repaired', sound: 'sound' },
    },
  ];
  for (const { name, help, job, counts } of sums) {
    metrics.counted({
      name,
      help,
      labels: ['result'],
      async collect(face) {
        const known = (await source())?.jobs.find((one) => one.name === job)?.counts;
        if (known === undefined) return;
        for (const [result, count] of Object.entries(counts)) {
          face.set(known[count] ?? 0, { result });
        }
      },
    });
  }
  for (const [name, help, job] of [
    ['ashlar_scrub_bytes_total', 'Bytes that scrubbing has read on the nodes.', 'scrub'],
    ['ashlar_repair_bytes_total', 'Bytes that repair has copied.', 'repair'],
  ] as const) {
    metrics.counted({
      name,
      help,
      async collect(face) {
        const known = (await source())?.jobs.find((one) => one.name === job)?.counts;
        if (known !== undefined) face.set(known['bytes'] ?? 0);
      },
    });
  }
}

function addMetadata(gauge: AddGauge): void {
  gauge(
    'ashlar_lmdb_map_used_ratio',
    'Share of the address space of a store that is used: at 1 it takes nothing more.',
    ['role', 'node'],
    ({ nodes, store }, face) => {
      if (store !== undefined) face.set(ratioOf(store), { role: 'meta', node: '' });
      for (const { id, store: own } of nodes) {
        if (own !== undefined) face.set(ratioOf(own), { role: 'node', node: id });
      }
    },
  );
  gauge('ashlar_usage_objects', 'Objects in all buckets.', [], ({ usage }, face) =>
    face.set(usage.objects),
  );
  gauge('ashlar_usage_bytes', 'Bytes of all objects, counted once.', [], ({ usage }, face) =>
    face.set(usage.bytes),
  );
  gauge('ashlar_buckets', 'Buckets.', [], ({ buckets }, face) => face.set(buckets));
  gauge('ashlar_writer_leases', 'Gateways with a lease.', [], ({ writers }, face) =>
    face.set(writers),
  );
  gauge(
    'ashlar_journal_lag_commits',
    'Commits that are not in the metadata journal yet.',
    [],
    ({ journal }, face) => {
      if (journal.mode !== 'off') face.set(journal.committed - journal.journaled);
    },
  );
  gauge(
    'ashlar_journal_snapshot_timestamp_seconds',
    'When the newest snapshot of the metadata was made.',
    [],
    ({ journal }, face) => {
      if (journal.snapshot !== undefined) face.set(journal.snapshot.atMs / 1000);
    },
  );
}

const ratioOf = ({ usedBytes, limitBytes }: StoreFill): number =>
  limitBytes > 0 ? usedBytes / limitBytes : 0;
