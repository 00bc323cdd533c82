import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  AdminStatus,
  FsckReport,
  LayoutPlan,
  LocatedObject,
} from '../../meta/admin-protocol.ts';
import { amount, bytes, span } from './format.ts';
import { fsckLines } from './fsck.ts';
import { parseChanges, planLines } from './layout.ts';
import { objectLines, parseObjectName } from './object.ts';
import { createPaint, visibleLength } from './paint.ts';
import { bar } from './screen.ts';
import { eventScreen } from './events.ts';
import { statusScreen } from './status.ts';
import { columns } from './table.ts';
import { verdictOf } from './encryption.ts';

const plain = createPaint(false, {});
const GIB = 1024 ** 3;

test('numbers are shown as people read them', () => {
  assert.deepEqual([0, 1023, 1024, 1536 * 1024, 700 * GIB].map(bytes), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 MiB',
    '700 GiB',
  ]);
  assert.deepEqual([0, 400, 59_600, 125_000, 3_600_000, 90_000_000, 8 * 86_400_000].map(span), [
    '0.0 s',
    '0.4 s',
    '1 min',
    '2 min 5 s',
    '1 h',
    '1 d 1 h',
    '8 d',
  ]);
  assert.equal(amount(1234, 'blocks'), '1,234 blocks');
});

test('columns align, also with colours, and lines end where their text ends', () => {
  const colour = createPaint(true, {});
  const rows = [
    ['a', colour.bad('bbb'), '1'],
    ['aaaa', 'b', '100'],
  ];
  const lines = columns(rows, [2]);
  assert.deepEqual(lines.map(visibleLength), [14, 14]);
  assert.equal(columns([['a', '']])[0], 'a');
});

test('colours need a terminal and no NO_COLOR', () => {
  assert.equal(createPaint(true, {}).good('x'), '\u001b[32mx\u001b[39m');
  assert.equal(createPaint(true, { NO_COLOR: '1' }).good('x'), 'x');
  assert.equal(createPaint(true, { NO_COLOR: '' }).good('x'), '\u001b[32mx\u001b[39m');
  assert.equal(createPaint(false, {}).good('x'), 'x');
});

test('the progress bar keeps its width', () => {
  assert.equal(bar(0).length, bar(1).length);
  assert.match(bar(0.5), /^\[#{15}-{15}\] {2}50 %$/);
  assert.equal(bar(7), bar(1));
});

const status: AdminStatus = {
  clusterId: 'c',
  view: {
    clusterId: 'c',
    revision: 1,
    previous: [],
    nodes: [],
    layout: { epoch: 4, groups: 1024, nodes: [], assignment: Buffer.alloc(0) },
  },
  writers: 2,
  queues: { garbage: 7, repair: 3 },
  buckets: 2,
  sentence: 'Degraded: node-2 is down.',
  healthy: false,
  nodes: [
    {
      id: 'node-1',
      address: 'a',
      zone: 'rack-a',
      condition: 'up',
      inLayout: true,
      groups: 1024,
      weight: 1,
      capacityBytes: 100 * GIB,
      freeBytes: 75 * GIB,
      full: false,
      silentMs: 400,
      incomingBytes: 0,
    },
    {
      id: 'node-2',
      address: 'b',
      zone: 'rack-b',
      condition: 'down',
      inLayout: true,
      groups: 1024,
      weight: 1,
      capacityBytes: 100 * GIB,
      freeBytes: 0,
      full: false,
      silentMs: 65_000,
      incomingBytes: 3 * GIB,
    },
  ],
  replicas: { whole: 1000, missingOne: 3, missingTwo: 0, lost: 0 },
  jobs: [
    {
      name: 'repair',
      state: 'running',
      done: 50,
      total: 200,
      unit: 'blocks',
      rate: 10,
      etaMs: 15_000,
      lastFinishedMs: undefined,
      counts: { repaired: 50, unrepairable: 0 },
      problem: 'node-2 does not answer',
    },
  ],
  journal: {
    mode: 'sync',
    committed: 100,
    journaled: 98,
    nodes: ['node-1', 'node-3'],
    snapshot: { sequence: 1, atMs: 1_000_000, bytes: GIB },
    problem: undefined,
  },
  usage: { objects: 1003, bytes: 5 * GIB },
};

test('the status of everything fits on one screen', () => {
  const local = { url: 'http://s3', region: 'r', admins: ['http://a1', 'http://a2'] };
  const backlog = { queue: 'notification' as const, bucketId: 1, full: false };
  const events = [
    { ...backlog, waiting: 1200, dropped: 0 },
    { ...backlog, waiting: 1, dropped: 3 },
  ];
  const lines = statusScreen(status, { local, events, paint: plain, now: 1_060_000 });
  assert.deepEqual(lines, [
    'Degraded: node-2 is down.',
    '',
    'NODE    ZONE    STATE  FILL      FREE  CAPACITY  GROUPS     SILENT  INCOMING',
    'node-1  rack-a  up     25 %  75.0 GiB   100 GiB   1,024      0.4 s         -',
    'node-2  rack-b  down      -       0 B   100 GiB   1,024  1 min 5 s   3.0 GiB',
    '',
    'Objects   1,003 in 2 buckets, 5.0 GiB (three times on disk)',
    'Room      25.0 GiB more of objects; disks 63 % full',
    'Replicas  whole 1,000 · one missing 3 · two missing 0 · lost 0',
    'Queues    repair 3, garbage 7',
    'Events    1,201 wait, 3 dropped: ashlar events status',
    'Journal   sync, on node-1, node-3; 2 commits behind; snapshot of 1.0 GiB 1 min ago',
    'Layout    epoch 4, 1,024 groups on 0 nodes, at rest',
    'Gateways  2 with a lease at http://s3; http://a1/metrics; http://a2/metrics',
    '',
    'JOB     STATE         DONE          OF         RATE   ETA  FINISHED  COUNTS',
    'repair  running  50 blocks  200 blocks  10 blocks/s  15 s     never  repaired 50',
    'repair: node-2 does not answer',
  ]);
  assert.ok(lines.every((line) => line.length <= 120));
});

test('a plan shows the bytes to move before anything moves', () => {
  const plan: LayoutPlan = {
    epoch: 5,
    changes: [{ kind: 'add', node: 'node-4' }],
    movedReplicas: 768,
    movedBytes: 3.75 * GIB,
    nodes: [
      { id: 'node-1', zone: 'a', weight: GIB, groupsBefore: 1024, groupsAfter: 768 },
      { id: 'node-4', zone: 'd', weight: GIB, groupsBefore: 0, groupsAfter: 768 },
    ],
    warnings: ['node-3 is down.'],
  };
  assert.deepEqual(planLines(plan, plain), [
    'add node-4',
    '',
    'NODE    ZONE   WEIGHT  GROUPS  AFTER',
    'node-1  a     1.0 GiB   1,024    768  -256',
    'node-4  d     1.0 GiB       0    768  +768',
    '',
    'To move: 768 replicas of groups, about 3.8 GiB.',
    'Note: node-3 is down.',
  ]);
});

test('changes are read as they are typed, and what makes no sense is a usage error', () => {
  assert.deepEqual(parseChanges('add', ['node-4', 'node-5'], false), [
    { kind: 'add', node: 'node-4' },
    { kind: 'add', node: 'node-5' },
  ]);
  assert.deepEqual(parseChanges('remove', ['node-1'], true), [
    { kind: 'remove', node: 'node-1', force: true },
  ]);
  assert.deepEqual(parseChanges('zone', ['node-1', 'rack-b'], false), [
    { kind: 'zone', node: 'node-1', zone: 'rack-b' },
  ]);
  assert.deepEqual(parseChanges('weight', ['node-1', '2TiB'], false), [
    { kind: 'weight', node: 'node-1', weight: 2 * 1024 ** 4 },
  ]);
  const wrong: [string, string[]][] = [
    ['weight', ['node-1', 'heavy']],
    ['weight', ['node-1', '0']],
    ['zone', ['node-1']],
    ['zone', ['node-1', 'a', 'b']],
    ['explode', ['node-1']],
  ];
  for (const [kind, words] of wrong) {
    assert.throws(() => parseChanges(kind, words, false), { exitCode: 2 }, kind);
  }
});

test('an object is named by bucket and key, and its replicas are shown by block', () => {
  assert.deepEqual(parseObjectName('s3://photos/a/b.jpg'), { bucket: 'photos', key: 'a/b.jpg' });
  assert.deepEqual(parseObjectName('photos//x'), { bucket: 'photos', key: '/x' });
  for (const bad of ['photos', 'photos/', '/key']) {
    assert.throws(() => parseObjectName(bad), { exitCode: 2 }, bad);
  }
  const object: LocatedObject = {
    bucket: 'photos',
    key: 'cat.jpg',
    size: 2048,
    etag: 'abc',
    next: undefined,
    blocks: [
      {
        blob: 'ff'.repeat(16) as LocatedObject['blocks'][number]['blob'],
        index: 0,
        group: 12,
        offset: 0,
        size: 2048,
        replicas: [
          { node: 'node-1', zone: 'node-1', state: 'good', verifiedMs: 1000 },
          { node: 'node-2', zone: 'rack-b', state: 'missing', verifiedMs: undefined },
        ],
      },
    ],
  };
  const text = objectLines(object, plain, 61_000).join('\n');
  assert.match(text, /node-1 good, 1 min ago {2}node-2 \(rack-b\) missing/);
  assert.match(text, /1 replica is not good\./);
});

test('fsck names what it found, and what to do', () => {
  const report: FsckReport = {
    state: 'done',
    progress: 1,
    checked: { blobs: 10, blocks: 20, replicas: 60 },
    findings: { missing: 2, corrupt: 0, surplus: 0, orphaned: 0, lost: 0, metadata: 0 },
    repaired: 0,
    unreachable: ['node-3'],
    samples: ['block x of bucket/key is missing on node-2'],
    problem: undefined,
  };
  assert.deepEqual(fsckLines(report, false, plain), [
    'Checked 10 blobs, 20 blocks, 60 replicas.',
    'Not asked, because they do not answer: node-3.',
    'missing  2  replicas that a node does not have',
    '  block x of bucket/key is missing on node-2',
    'Run `ashlar fsck --repair` to mend what can be mended.',
  ]);
});

test('outboxes are shown with what waits, what was lost, and why', () => {
  const backlog = {
    queue: 'notification' as const,
    bucketId: 7,
    waiting: 0,
    dropped: 0,
    full: false,
  };
  const backlogs = [
    {
      ...backlog,
      bucket: 'photos',
      waiting: 1200,
      oldestMs: 940_000,
      holder: 'x',
      problem: 'no answer',
    },
    { ...backlog, queue: 'replication' as const, dropped: 4, full: true },
  ];
  assert.deepEqual(eventScreen(backlogs, plain, 1_060_000), [
    'QUEUE         BUCKET    WAITING     OLDEST  DROPPED  STATE       LAST PROBLEM',
    'notification  photos      1,200  2 min ago        0  delivering  no answer',
    'replication   number 7        0          -        4  full',
  ]);
  assert.deepEqual(eventScreen([], plain, 0), ['No events wait.']);
});

test('a rotation lets a master key go only when nothing is wrapped by it any more', () => {
  assert.match(verdictOf({ lost: 0, found: 0 }).join(), /No other master key is needed/);
  for (const end of [
    { lost: 1, found: 0 },
    { lost: 0, found: 1 },
    { lost: 1, found: 1 },
  ]) {
    const verdict = verdictOf(end);
    assert.ok(verdict.length > 0 && verdict.every((line) => line.endsWith('rotate again.')));
  }
});
