import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AdminStatus, NodeInfo } from './admin-protocol.ts';
import { planLayout } from './cluster/layout.ts';
import { judge, usableReplicas } from './health.ts';

const ids = ['node-1', 'node-2', 'node-3', 'node-4'];
const layout = planLayout({
  epoch: 1,
  groups: 64,
  nodes: ids.map((id) => ({ id, zone: id, weight: 1 })),
});

function node(id: string, changes: Partial<NodeInfo> = {}): NodeInfo {
  return {
    id,
    address: id,
    zone: id,
    condition: 'up',
    inLayout: true,
    groups: 48,
    weight: 1,
    capacityBytes: 1,
    freeBytes: 1,
    full: false,
    silentMs: 0,
    incomingBytes: 0,
    ...changes,
  };
}

type Facts = Omit<AdminStatus, 'healthy' | 'sentence'>;

function facts(nodes: NodeInfo[], changes: Partial<Facts> = {}): Facts {
  return {
    clusterId: 'c',
    view: { clusterId: 'c', revision: 1, layout, previous: [], nodes: [] },
    writers: 1,
    queues: { garbage: 0, repair: 0 },
    buckets: 0,
    nodes,
    replicas: { whole: 0, missingOne: 0, missingTwo: 0, lost: 0 },
    jobs: [],
    journal: {
      mode: 'off',
      committed: 0,
      journaled: 0,
      nodes: [],
      snapshot: undefined,
      problem: undefined,
    },
    usage: { objects: 0, bytes: 0 },
    ...changes,
  };
}

const well = (): NodeInfo[] => ids.map((id) => node(id));
const withNode = (index: number, changes: Partial<NodeInfo>): NodeInfo[] =>
  well().map((one, at) => (at === index ? { ...one, ...changes } : one));

function expectUnhealthy(given: Facts, pattern: RegExp): void {
  const { healthy, sentence } = judge(given);
  assert.match(sentence, pattern);
  assert.equal(healthy, false);
}

test('a cluster at rest is healthy, and says so', () => {
  const { healthy, sentence } = judge(facts(well()));
  assert.equal(healthy, true);
  assert.match(sentence, /^Healthy: 4 of 4 nodes/);
});

test('a spare node is no problem, but the sentence says how to use it', () => {
  const spare = node('node-5', { condition: 'spare', inLayout: false, groups: 0 });
  const { healthy, sentence } = judge(facts([...well(), spare]));
  assert.equal(healthy, true);
  assert.match(sentence, /node-5 holds no data yet: `ashlar layout stage add node-5`/);
});

test('one node that is down degrades; two block the groups that they share', () => {
  expectUnhealthy(facts(withNode(0, { condition: 'down' })), /^Degraded: node-1 is down\./);
  const two = well().map((one, at) => (at < 2 ? { ...one, condition: 'down' as const } : one));
  expectUnhealthy(
    facts(two),
    /^Writes are refused for \d+ % of the data: node-1 and node-2 are down/,
  );
});

test('full nodes count like nodes that are away, for writes', () => {
  expectUnhealthy(facts(withNode(2, { full: true })), /^Degraded: node-3 is full/);
  const mixed = well().map((one, at) =>
    at === 0 ? { ...one, full: true } : at === 1 ? { ...one, condition: 'down' as const } : one,
  );
  expectUnhealthy(facts(mixed), /node-2 is down, node-1 is full/);
});

test('a node that stays away is told from one that just went', () => {
  expectUnhealthy(facts(withNode(1, { condition: 'out' })), /`ashlar node remove node-2`/);
});

test('lost data comes before everything else, then what is repaired', () => {
  const replicas = { whole: 5, missingOne: 3, missingTwo: 2, lost: 1 };
  expectUnhealthy(
    facts(withNode(0, { condition: 'down' }), { replicas }),
    /^Data is missing: 1 blob has/,
  );
  expectUnhealthy(facts(well(), { replicas: { ...replicas, lost: 0 } }), /^Healing: 2 blobs have/);
  const one = { whole: 5, missingOne: 3, missingTwo: 0, lost: 0 };
  expectUnhealthy(facts(well(), { replicas: one }), /^Healing: 3 blobs have a replica too few/);
  expectUnhealthy(facts(well(), { queues: { garbage: 0, repair: 1 } }), /^Healing: 1 blob has/);
});

test('without a layout it waits for nodes', () => {
  const view = { clusterId: 'c', revision: 1, layout: undefined, previous: [], nodes: [] };
  expectUnhealthy(facts([], { view }), /^Waiting for storage nodes: none/);
  expectUnhealthy(facts([node('node-1')], { view }), /node-1 registered so far/);
});

test('a journal in trouble and a paused repair need attention', () => {
  const journal = { ...facts([]).journal, mode: 'sync' as const, problem: 'one node only.' };
  expectUnhealthy(facts(well(), { journal }), /journal has a problem: one node only/);
  const repair = {
    name: 'repair' as const,
    state: 'paused' as const,
    done: 0,
    total: undefined,
    unit: 'blocks' as const,
    rate: 0,
    etaMs: undefined,
    lastFinishedMs: undefined,
    counts: {},
    problem: undefined,
  };
  expectUnhealthy(facts(well(), { jobs: [repair] }), /`ashlar repair resume`/);
});

test('usableReplicas counts every group once', () => {
  assert.deepEqual(usableReplicas(layout, new Set(ids)), [0, 0, 0, 64]);
  assert.deepEqual(usableReplicas(layout, new Set()), [64, 0, 0, 0]);
  const counts = usableReplicas(layout, new Set(['node-1', 'node-2']));
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    64,
  );
  assert.equal(counts[3], 0);
});
