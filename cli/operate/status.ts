/** `ashlar status`, `ashlar health`, and the tables of nodes and jobs that other verbs show too. */
import { systemClock } from '../../base/clock.ts';
import { EXIT } from '../../base/lifecycle.ts';
import type {
  AdminStatus,
  JobStatus,
  JournalStatus,
  NodeInfo,
  ReplicaHistogram,
} from '../../meta/admin-protocol.ts';
import type { EventBacklog } from '../../meta/protocol.ts';
import type { LocalEndpoint } from '../endpoint.ts';
import type { Operator } from './connect.ts';
import { VerbError } from './exit.ts';
import { ago, amount, bytes, count, percent, span } from './format.ts';
import type { Paint } from './paint.ts';
import type { Screen } from './screen.ts';
import { columns } from './table.ts';

export async function showStatus(operator: Operator, screen: Screen): Promise<void> {
  const { local } = operator;
  const status = await operator.admin.adminStatus(operator.call);
  // The placement map is thousands of numbers: `ashlar layout show` is the place for it.
  const { view, ...rest } = status;
  const events = await operator.meta.eventStatus({ limit: BACKLOGS_MAX }, operator.call);
  const shown = { ...rest, layoutEpoch: view.layout?.epoch, endpoint: local, events };
  screen.show(shown, () =>
    statusScreen(status, { local, events, paint: screen.paint, now: now() }),
  );
}

/** Outboxes that are summed up. */
const BACKLOGS_MAX = 1000;
const POLL_MS = 500;

/** 0: healthy; 1: not (yet) healthy; 69: nobody answers. Waits for up to `waitMs`. */
export async function showHealth(
  operator: Operator,
  screen: Screen,
  waitMs: number,
): Promise<void> {
  const until = systemClock.monotonic() + waitMs;
  for (;;) {
    const left = (): number => until - systemClock.monotonic();
    const status = await operator.admin.adminStatus(operator.call).catch((error: unknown) => {
      if (left() <= 0) throw error;
      return undefined;
    });
    if (status !== undefined && (status.healthy || left() <= 0)) {
      const { healthy, sentence } = status;
      screen.show({ healthy, sentence }, () => [paintHealth(status, screen.paint)]);
      if (!healthy) process.exitCode = EXIT.failed;
      return;
    }
    screen.progress(status?.sentence ?? 'the metadata service does not answer yet');
    await systemClock.sleep(Math.max(1, Math.min(POLL_MS, left())));
    screen.progressDone();
  }
}

const now = (): number => systemClock.now();

const paintHealth = ({ healthy, sentence }: AdminStatus, paint: Paint): string =>
  healthy ? paint.good(sentence) : paint.bad(sentence);

export function statusScreen(
  status: AdminStatus,
  how: {
    local: LocalEndpoint | undefined;
    events: readonly EventBacklog[];
    paint: Paint;
    now: number;
  },
): string[] {
  const { paint, local } = how;
  const free = status.nodes.reduce((sum, node) => sum + node.freeBytes, 0);
  const capacity = status.nodes.reduce((sum, node) => sum + node.capacityBytes, 0);
  const { objects, bytes: stored } = status.usage;
  return [
    paintHealth(status, paint),
    '',
    ...nodeTable(status.nodes, paint),
    '',
    ...columns([
      [
        paint.faint('Objects'),
        `${count(objects)} in ${count(status.buckets)} buckets, ${bytes(stored)} (three times on disk)`,
      ],
      [
        paint.faint('Room'),
        `${bytes(free / 3)} more of objects; disks ${percent(capacity - free, capacity)} full`,
      ],
      [paint.faint('Replicas'), replicas(status.replicas, paint)],
      [
        paint.faint('Queues'),
        `repair ${count(status.queues.repair)}, garbage ${count(status.queues.garbage)}`,
      ],
      ...(how.events.length === 0 ? [] : [[paint.faint('Events'), eventLine(how.events, paint)]]),
      [paint.faint('Journal'), journalLine(status.journal, how.now)],
      [paint.faint('Layout'), layoutLine(status)],
      [paint.faint('Gateways'), gatewayLine(status.writers, local)],
    ]),
    '',
    ...jobTable(status.jobs, paint, how.now),
  ];
}

/** Where somebody listens, or something is replicated, and has not been told yet. */
function eventLine(events: readonly EventBacklog[], paint: Paint): string {
  const waiting = events.reduce((sum, backlog) => sum + backlog.waiting, 0);
  const dropped = events.reduce((sum, backlog) => sum + backlog.dropped, 0);
  const lost = dropped === 0 ? 'none dropped' : paint.bad(`${count(dropped)} dropped`);
  return `${count(waiting)} wait, ${lost}: ashlar events status`;
}

function replicas(histogram: ReplicaHistogram, paint: Paint): string {
  const { whole, missingOne, missingTwo, lost } = histogram;
  const part = (text: string, value: number, colour: (text: string) => string): string =>
    value > 0 ? colour(`${text} ${count(value)}`) : `${text} 0`;
  return [
    ...(whole > 0 ? [`whole ${count(whole)}`] : []),
    part('one missing', missingOne, paint.warn),
    part('two missing', missingTwo, paint.bad),
    part('lost', lost, paint.bad),
  ].join(' · ');
}

export function journalLine(journal: JournalStatus, nowMs: number): string {
  const { mode, committed, journaled, nodes, snapshot, problem } = journal;
  if (mode === 'off') return 'off: the metadata is on one disk only';
  const behind = committed - journaled;
  const parts = [
    `${mode}, on ${nodes.join(', ') || 'no node'}`,
    behind > 0 ? `${count(behind)} commits behind` : 'up to date',
    snapshot === undefined
      ? 'no snapshot yet'
      : `snapshot of ${bytes(snapshot.bytes)} ${ago(snapshot.atMs, nowMs)}`,
    ...(problem === undefined ? [] : [`problem: ${problem}`]),
  ];
  return parts.join('; ');
}

function layoutLine({ view }: AdminStatus): string {
  if (view.layout === undefined) return 'none yet';
  const { epoch, groups, nodes } = view.layout;
  const older = view.previous.length;
  const moving = older === 0 ? 'at rest' : 'data is still being moved to it';
  return `epoch ${epoch}, ${count(groups)} groups on ${nodes.length} nodes, ${moving}`;
}

function gatewayLine(writers: number, local: LocalEndpoint | undefined): string {
  if (local === undefined) return `${writers} with a lease`;
  const metrics = local.admins?.map((url) => `${url}/metrics`) ?? [];
  return [`${writers} with a lease at ${local.url}`, ...metrics].join('; ');
}

export function nodeTable(nodes: readonly NodeInfo[], paint: Paint): string[] {
  const head = [
    'NODE',
    'ZONE',
    'STATE',
    'FILL',
    'FREE',
    'CAPACITY',
    'GROUPS',
    'SILENT',
    'INCOMING',
  ];
  return columns(
    [
      head.map((text) => paint.faint(text)),
      ...nodes.map((node) => [
        node.id,
        node.zone,
        condition(node, paint),
        node.condition === 'down' && node.freeBytes === 0
          ? '-'
          : percent(node.capacityBytes - node.freeBytes, node.capacityBytes),
        bytes(node.freeBytes),
        bytes(node.capacityBytes),
        count(node.groups),
        node.silentMs === undefined ? '-' : span(node.silentMs),
        node.incomingBytes > 0 ? bytes(node.incomingBytes) : '-',
      ]),
    ],
    [3, 4, 5, 6, 7, 8],
  );
}

function condition(node: NodeInfo, paint: Paint): string {
  const text = node.full ? `${node.condition}, full` : node.condition;
  if (node.condition === 'down' || node.condition === 'out') return paint.bad(text);
  if (node.full || node.condition === 'draining') return paint.warn(text);
  return node.condition === 'up' ? paint.good(text) : text;
}

export function jobTable(jobs: readonly JobStatus[], paint: Paint, nowMs: number): string[] {
  const head = ['JOB', 'STATE', 'DONE', 'OF', 'RATE', 'ETA', 'FINISHED', 'COUNTS'];
  const rows = jobs.map((job) => {
    const counts = Object.entries(job.counts).filter(([, value]) => value > 0);
    return [
      job.name,
      job.state === 'paused' ? paint.warn(job.state) : job.state,
      amount(job.done, job.unit),
      job.total === undefined ? '-' : amount(job.total, job.unit),
      job.rate > 0 ? `${amount(job.rate, job.unit)}/s` : '-',
      job.etaMs === undefined ? '-' : span(job.etaMs),
      ago(job.lastFinishedMs, nowMs),
      counts.map(([name, value]) => `${name} ${count(value)}`).join(', '),
    ];
  });
  const problems = jobs.flatMap(({ name, problem }) =>
    problem === undefined ? [] : [`${name}: ${paint.bad(problem)}`],
  );
  return [
    ...columns([head.map((text) => paint.faint(text)), ...rows], [2, 3, 4, 5, 6]),
    ...problems,
  ];
}

export async function listNodes(operator: Operator, screen: Screen): Promise<void> {
  const nodes = await operator.admin.nodes(operator.call);
  screen.show(nodes, () => nodeTable(nodes, screen.paint));
}

export async function showNode(operator: Operator, screen: Screen, id: string): Promise<void> {
  const nodes = await operator.admin.nodes(operator.call);
  const node = nodes.find((one) => one.id === id);
  if (node === undefined) throw unknownNode(id, nodes);
  screen.show(node, () => [
    ...nodeTable([node], screen.paint),
    '',
    ...columns([
      [screen.paint.faint('Address'), node.address],
      [screen.paint.faint('In the layout'), node.inLayout ? 'yes' : 'no'],
      [screen.paint.faint('Weight'), node.weight > 0 ? bytes(node.weight) : '0'],
    ]),
  ]);
}

function unknownNode(id: string, nodes: readonly NodeInfo[]): VerbError {
  const known = nodes.map((node) => node.id).join(', ') || 'none';
  return new VerbError(`There is no node ${id}. Known nodes: ${known}.`);
}
