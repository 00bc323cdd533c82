import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeBlobId } from '../../base/ids.ts';
import { OWNER, WRITER } from '../catalogue/test-support.ts';
import { planLayout } from '../cluster/layout.ts';
import { changesOf } from '../cluster/moves.ts';
import type { BlobRef, ReplicaReport } from '../protocol.ts';
import { emptyNode, fillNode, type GroupMoveParts, type MoveResult } from './group-move.ts';
import { blockCount } from './placed.ts';
import { RateLimit } from './rate.ts';
import { ReadWait } from './read-wait.ts';
import { contentOf, type HealingWorld, healingWorld } from './test-support.ts';

/** `node-3` comes to nodes 0, 1 and 2; everything that it gets is to be moved. */
async function moving(pause?: () => Promise<void>) {
  const w = await healingWorld(4, pause);
  const nodes = [0, 1, 2].map((n) => ({ id: `node-${n}`, zone: `node-${n}`, weight: 1 }));
  const { groups } = w.layout();
  const old = planLayout({ epoch: 1, groups, nodes });
  w.setLayout(old);
  const all = [...nodes, { id: 'node-3', zone: 'node-3', weight: 1 }];
  const next = planLayout({ epoch: 2, groups, nodes: all, previous: old });
  const begin = (): void => w.setLayout(next, [old]);
  const reports: ReplicaReport[] = [];
  let copied = 0;
  const parts: GroupMoveParts = {
    blobs: w.parts.blobs,
    leases: w.leases,
    node: w.parts.node,
    isGone: () => false,
    limit: new RateLimit(w.clock, 0),
    callTimeoutMs: 1000,
    copiesAtOnce: 4,
    unread: new ReadWait({ leases: w.leases, reclamation: w.reclamation }),
    halted: () => false,
    copied: () => {
      copied += 1;
    },
    released: () => {},
    report: async (found) => {
      reports.push(...found);
    },
  };
  return { ...w, old, next, begin, parts, reports, copied: () => copied };
}

type Moving = Awaited<ReturnType<typeof moving>>;

async function fillAll(w: Moving): Promise<MoveResult[]> {
  const results: MoveResult[] = [];
  for (const change of changesOf(w.next, [w.old])) {
    for (const { node } of change.moves) results.push(await fillNode(w.parts, change, node));
  }
  return results;
}

async function emptyAll(w: Moving): Promise<MoveResult[]> {
  const results: MoveResult[] = [];
  for (const { group, owners, leavers } of changesOf(w.next, [w.old])) {
    for (const leaver of leavers) {
      results.push(await emptyNode(w.parts, group, owners, leaver, (work) => work()));
    }
  }
  return results;
}

const states = (results: readonly MoveResult[]): string[] => [
  ...new Set(results.map(({ state }) => state)),
];
const reasons = (results: readonly MoveResult[]): string =>
  results.map((result) => (result.state === 'stuck' ? result.why : '')).join(' ');

/** Blocks on all nodes together. */
const stored = (w: Pick<HealingWorld, 'nodes'>): number =>
  [...w.nodes.values()].reduce((sum, { blocks }) => sum + blocks.size, 0);

describe('moving placement groups', () => {
  it('brings every block to where the new layout wants it, and takes it from where it was', async () => {
    const w = await moving();
    const refs: BlobRef[] = [];
    for (let n = 0; n < 12; n++) refs.push(await w.put(`k${n}`, 10_000_000));
    w.begin();
    const before = stored(w);
    assert.deepEqual(states(await fillAll(w)), ['done']);
    assert.equal(stored(w), before + w.copied());
    assert.deepEqual(states(await emptyAll(w)), ['done']);
    assert.equal(stored(w), before);
    for (const ref of refs) assert.equal(w.soundReplicas(ref), 3 * blockCount(ref));
  });

  it('copies blocks of uploads that are not committed yet, and not those of deleted objects', async () => {
    const w = await moving();
    await w.put('deleted', 10_000_000);
    await w.remove('deleted');
    const ref = { blob: makeBlobId(WRITER, 1e6), size: 50_000_000, blockSize: 1024 * 1024 };
    for (const { key, ids } of w.placed(ref)) {
      for (const id of ids) w.node(id).store(key, contentOf(ref, key.index));
    }
    const marks = { lowestSequence: 1e6, oldestRead: w.reclamation.epoch, oldestLayout: 2 };
    w.leases.renew(WRITER, marks, w.clock.monotonic());
    w.begin();
    assert.deepEqual(states(await fillAll(w)), ['done']);
    assert.ok(w.node('node-3').blocks.size > 0);
    // Committed now, and so whole.
    await w.world.catalogue.putObject({
      writer: WRITER,
      bucket: 'b',
      key: 'late',
      object: {
        size: ref.size,
        etag: 'e',
        owner: OWNER,
        data: { kind: 'blob', ...ref },
        system: {},
        user: {},
      },
      missing: [],
    });
    assert.equal(w.soundReplicas(ref), 3 * blockCount(ref));
    for (const [, { key }] of w.node('node-3').blocks) assert.equal(key.blob, ref.blob);
  });

  it('leaves nothing of an object that is deleted while its blocks are copied', async () => {
    const w = await moving();
    await w.put('k', 60_000_000);
    w.renew();
    w.begin();
    // Deleted, and collected as garbage everywhere, just when the copy arrives.
    w.node('node-3').before = async (method) => {
      if (method !== 'put') return;
      await w.remove('k');
      w.renew();
      for (const node of w.nodes.values()) node.blocks.clear();
    };
    await fillAll(w);
    assert.equal(stored(w), 0);
    assert.ok((w.node('node-3').calls.get('put') ?? 0) > 0);
  });

  it('waits for nodes that are silent, and decides nothing meanwhile', async () => {
    const w = await moving();
    for (let n = 0; n < 20; n++) await w.put(`k${n}`);
    w.begin();
    w.down.add('node-0');
    w.node('node-1').fault = 'unavailable';
    const stuck = await fillAll(w);
    assert.deepEqual(states(stuck), ['stuck']);
    assert.match(reasons(stuck), /does not list what it has: connection refused/);
    w.node('node-1').fault = 'none';
    assert.deepEqual(states(await fillAll(w)), ['done']);
    const before = stored(w);
    await emptyAll(w);
    // A group is emptied only when all of its nodes say that they have it.
    for (const { group, owners, leavers } of changesOf(w.next, [w.old])) {
      if (!owners.includes('node-0')) continue;
      for (const leaver of leavers) {
        const held = [...w.node(leaver).blocks.values()].filter(({ key }) => key.group === group);
        const had = [...w.node('node-3').blocks.values()].filter(({ key }) => key.group === group);
        assert.equal(held.length, had.length);
      }
    }
    assert.ok(stored(w) <= before);
    w.down.clear();
    assert.deepEqual(states(await emptyAll(w)), ['done']);
  });

  it('never takes away the last good replica: what the new nodes lack is copied first', async () => {
    const w = await moving();
    const ref = await w.put('k', 64_000_000);
    w.begin();
    assert.deepEqual(states(await fillAll(w)), ['done']);
    // All owners lose everything; the leavers still have what they had.
    const owned = w.placed(ref);
    for (const { key, ids } of owned) for (const id of ids) w.node(id).lose(key);
    const results = await emptyAll(w);
    assert.deepEqual(states(results), ['done']);
    const moved = new Set(changesOf(w.next, [w.old]).map(({ group }) => group));
    for (const { key, ids } of owned) {
      if (!moved.has(key.group)) continue;
      for (const id of ids) assert.ok(w.node(id).sound(key), `${id} has block ${key.index}`);
    }
  });

  it('gives nothing up that has rotted on the new nodes since: they are healed from it first', async () => {
    const w = await moving();
    const ref = await w.put('k', 64_000_000);
    w.begin();
    assert.deepEqual(states(await fillAll(w)), ['done']);
    const moved = new Set(changesOf(w.next, [w.old]).map(({ group }) => group));
    const placed = w.placed(ref).filter(({ key }) => moved.has(key.group));
    for (const { key, ids } of placed) for (const id of ids) w.node(id).spoil(key);
    let given = 0;
    for (const leaver of w.nodes.values()) {
      leaver.before = (method, keys) => {
        if (method !== 'delete') return;
        for (const { key, ids } of placed) {
          if (!keys.some(({ group, index }) => group === key.group && index === key.index))
            continue;
          given += 1;
          for (const id of ids) assert.ok(w.node(id).sound(key), `${id} has block ${key.index}`);
        }
      };
    }
    assert.deepEqual(states(await emptyAll(w)), ['done']);
    assert.ok(placed.length > 0);
    assert.equal(given, placed.length);
    assert.equal(w.soundReplicas(ref), 3 * blockCount(ref));
    const reported = new Set(w.reports.map(({ node, reason }) => `${node} ${reason}`));
    const owners = new Set(placed.flatMap(({ ids }) => ids));
    assert.deepEqual([...reported].sort(), [...owners].map((id) => `${id} corrupt`).sort());
  });

  it('gives nothing up while a new node does not read what it has, or all replicas are corrupt', async () => {
    const w = await moving();
    const ref = await w.put('k', 64_000_000);
    w.begin();
    assert.deepEqual(states(await fillAll(w)), ['done']);
    const before = stored(w);
    w.node('node-3').before = (method) => {
      if (method === 'verify') throw new Error('input/output error');
    };
    const unread = await emptyAll(w);
    assert.match(reasons(unread), /node-3 does not say what it has: input\/output error/);
    assert.equal(stored(w), before);
    w.node('node-3').before = undefined;
    for (const { key } of w.placed(ref)) for (const node of w.nodes.values()) node.spoil(key);
    const rotten = await emptyAll(w);
    assert.match(reasons(rotten), /has no sound replica left/);
    assert.equal(stored(w), before);
  });

  it('reads at its limit on the new nodes what it takes away, once per node', async () => {
    const w = await moving();
    for (let n = 0; n < 8; n++) await w.put(`k${n}`, 10_000_000);
    w.begin();
    assert.deepEqual(states(await fillAll(w)), ['done']);
    const before = stored(w);
    const parts = { ...w.parts, limit: new RateLimit(w.clock, 1_000_000) };
    const began = w.clock.monotonic();
    const results = await w.clock.settle(emptyAll({ ...w, parts }), 3_600_000);
    assert.deepEqual(states(results), ['done']);
    const seconds = (w.clock.monotonic() - began) / 1000;
    const blocks = before - stored(w);
    assert.ok(seconds > 2.5 * blocks && seconds < 3.5 * blocks, `${seconds} s, ${blocks} blocks`);
  });

  it('does not count a corrupt source, takes another one, and reports it', async () => {
    const w = await moving();
    const ref = await w.put('k', 64_000_000);
    for (const { key } of w.placed(ref)) w.node('node-0').spoil(key);
    w.begin();
    assert.deepEqual(states(await fillAll(w)), ['done']);
    for (const { key } of w.node('node-3').blocks.values()) assert.ok(w.node('node-3').sound(key));
    assert.ok(w.reports.length > 0);
    assert.ok(w.reports.every(({ node, reason }) => node === 'node-0' && reason === 'corrupt'));
  });

  it('says so when no source is sound, and gives nothing up', async () => {
    const w = await moving();
    const ref = await w.put('k', 64_000_000);
    for (const { key } of w.placed(ref)) {
      for (const id of ['node-0', 'node-1', 'node-2']) w.node(id).spoil(key);
    }
    w.begin();
    const before = stored(w);
    const results = await fillAll(w);
    assert.ok(states(results).includes('stuck'));
    assert.match(reasons(results), /has no sound replica left: delete the object/);
    await emptyAll(w);
    assert.equal(stored(w), before);
    await w.remove('k');
    w.renew();
    assert.deepEqual(states(await fillAll(w)), ['done']);
  });

  it('stops between two blocks when it is told to', async () => {
    const w = await moving();
    await w.put('k', 64_000_000);
    w.begin();
    let left = 5;
    const parts = { ...w.parts, halted: () => left-- <= 0 };
    const results = await fillAll({ ...w, parts });
    assert.ok(states(results).includes('halted'));
    assert.ok(w.copied() <= 5);
  });
});
