import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Clock } from '../base/clock.ts';
import { Failure } from '../base/failure.ts';
import { createRpcRecord } from '../base/rpc/rpc-record.ts';
import type { AdminStatus, NodeInfo } from '../meta/admin-protocol.ts';
import type { Meta } from '../meta/protocol.ts';
import { addClusterMetrics } from './cluster-metrics.ts';
import { createEventMetrics } from './events/metrics.ts';
import { addRpcMetrics, createGatewayMetrics } from './metrics.ts';
import type { ObjectEngineStatus } from './object/create-engine.ts';

const engine = {
  ready: true,
  inTouch: true,
  layoutEpoch: 3,
  groups: { total: 8, blocked: 0 },
  running: { blobs: 0, reads: 0 },
  memory: { small: 0, large: 0, readAhead: 0, peakLarge: 0 },
  nodes: [],
  reads: { blocks: 5 },
  writes: { degradedBlocks: 0 },
} as unknown as ObjectEngineStatus;

const node: NodeInfo = {
  id: 'node-1',
  address: '127.0.0.1:9020',
  zone: 'rack-a',
  condition: 'up',
  inLayout: true,
  groups: 8,
  weight: 1,
  capacityBytes: 100,
  freeBytes: 40,
  full: false,
  store: { usedBytes: 1, limitBytes: 4 },
  silentMs: 5,
  incomingBytes: 7,
};

const status: AdminStatus = {
  clusterId: 'c',
  view: { clusterId: 'c', revision: 1, layout: undefined, previous: [], nodes: [] },
  writers: 2,
  queues: { garbage: 4, repair: 3 },
  buckets: 1,
  sentence: 'Healthy.',
  healthy: true,
  nodes: [node, { ...node, id: 'node-2', condition: 'out' }],
  replicas: { whole: 10, missingOne: 2, missingTwo: 1, lost: 0 },
  jobs: [
    {
      name: 'repair',
      state: 'running',
      done: 5,
      total: 9,
      unit: 'blocks',
      rate: 2,
      etaMs: 2000,
      lastFinishedMs: undefined,
      counts: { repaired: 5, bytes: 77 },
      problem: undefined,
    },
    {
      name: 'scrub',
      state: 'idle',
      done: 0,
      total: undefined,
      unit: 'groups',
      rate: 0,
      etaMs: undefined,
      lastFinishedMs: undefined,
      counts: { blocks: 8, bytes: 9, corrupt: 2, missing: 0 },
      problem: undefined,
    },
  ],
  journal: {
    mode: 'sync',
    committed: 12,
    journaled: 10,
    nodes: ['node-1'],
    snapshot: { sequence: 1, atMs: 5000, bytes: 1 },
    problem: undefined,
  },
  store: { usedBytes: 3, limitBytes: 4 },
  usage: { objects: 13, bytes: 1300 },
};

/** Outboxes, as long as the metadata service answers. */
function backlogsOf(answer: () => Promise<AdminStatus>): Meta['eventStatus'] {
  const backlog = { bucketId: 1, full: false };
  return async () => {
    await answer();
    return [
      { ...backlog, queue: 'notification', waiting: 3, dropped: 0 },
      { ...backlog, queue: 'notification', waiting: 4, dropped: 1 },
      { ...backlog, queue: 'replication', waiting: 2, dropped: 0 },
    ];
  };
}

function setUp(answer: () => Promise<AdminStatus>) {
  let nowMs = 0;
  let asked = 0;
  const clock = { monotonic: () => nowMs } as Clock;
  const { metrics } = createGatewayMetrics(() => engine, '1.2.3');
  const adminStatus = (): Promise<AdminStatus> => {
    asked++;
    return answer();
  };
  addClusterMetrics(metrics, { adminStatus }, clock);
  const events = createEventMetrics(metrics, { eventStatus: backlogsOf(answer) }, clock);
  events.message('hook', 'delivered');
  events.replica('completed', 5);
  events.accessLog('dropped', 2);
  const rpc = createRpcRecord();
  addRpcMetrics(metrics, rpc);
  const observe = rpc.observer('node-1', () => 'get');
  observe(1, 3, undefined);
  observe(1, 700, 'timeout');
  return {
    scrape: async () => (await metrics.expose()).body,
    asked: () => asked,
    skip: (ms: number) => void (nowMs += ms),
  };
}

test('a scrape shows the cluster, asked for once and no more often than every few seconds', async () => {
  const { scrape, asked, skip } = setUp(() => Promise.resolve(status));
  const text = await scrape();
  for (const line of [
    'ashlar_build_info{version="1.2.3"} 1',
    'ashlar_meta_up 1',
    'ashlar_events_waiting{queue="notification"} 7',
    'ashlar_events_waiting{queue="replication"} 2',
    'ashlar_events_dropped{queue="notification"} 1',
    'ashlar_event_messages_total{target="hook",outcome="delivered"} 1',
    'ashlar_replicated_bytes_total 5',
    'ashlar_access_log_lines_total{outcome="dropped"} 2',
    'ashlar_cluster_healthy 1',
    'ashlar_cluster_writable 1',
    'ashlar_cluster_nodes{state="up"} 1',
    'ashlar_cluster_nodes{state="out"} 1',
    'ashlar_disk_bytes{node="node-1",state="free"} 40',
    'ashlar_disk_bytes{node="node-1",state="used"} 60',
    'ashlar_node_up{node="node-2"} 0',
    'ashlar_blobs{replicas="2"} 2',
    'ashlar_repair_queue_blobs 3',
    'ashlar_rebalance_remaining_bytes 14',
    'ashlar_job_state{job="repair",state="running"} 1',
    'ashlar_job_eta_seconds{job="repair"} 2',
    'ashlar_job_count{job="repair",what="repaired"} 5',
    'ashlar_lmdb_map_used_ratio{role="meta",node=""} 0.75',
    'ashlar_lmdb_map_used_ratio{role="node",node="node-2"} 0.25',
    'ashlar_repair_blocks_total{result="repaired"} 5',
    'ashlar_repair_bytes_total 77',
    'ashlar_scrub_blocks_total{result="corrupt"} 2',
    'ashlar_scrub_bytes_total 9',
    'ashlar_rpc_errors_total{peer="node-1",method="get",kind="timeout"} 1',
    'ashlar_rpc_duration_seconds_count{peer="node-1",method="get"} 2',
    'ashlar_s3_inflight_requests 0',
    'ashlar_journal_lag_commits 2',
    'ashlar_usage_objects 13',
  ]) {
    assert.ok(text.includes(`${line}\n`), line);
  }
  await scrape();
  assert.equal(asked(), 1);
  skip(3000);
  await scrape();
  assert.equal(asked(), 2);
});

test('what the metadata service does not tell any more is not shown as if it were true', async () => {
  let gone = false;
  const { scrape, skip } = setUp(() =>
    gone ? Promise.reject(new Failure('unavailable', 'gone')) : Promise.resolve(status),
  );
  assert.match(await scrape(), /ashlar_node_up\{node="node-1"\} 1/);
  gone = true;
  skip(3000);
  const text = await scrape();
  assert.match(text, /^ashlar_meta_up 0$/m);
  assert.doesNotMatch(text, /^ashlar_node_up/m);
  assert.doesNotMatch(text, /^ashlar_events_waiting\{/m);
  assert.doesNotMatch(text, /^ashlar_usage_objects [0-9]/m);
  assert.match(text, /^ashlar_gateway_ready 1$/m);
});

test('docs/operate/metrics.md lists exactly what is exposed', async () => {
  const docs = readFileSync(new URL('../docs/operate/metrics.md', import.meta.url), 'utf8');
  const listed = [...docs.matchAll(/^\| `(ashlar_\w+)/gm)].map((match) => match[1]);
  const text = await setUp(() => Promise.resolve(status)).scrape();
  const exposed = [...text.matchAll(/^# TYPE (\w+) /gm)].map((match) => match[1]);
  assert.deepEqual(new Set(listed), new Set(exposed));
});
