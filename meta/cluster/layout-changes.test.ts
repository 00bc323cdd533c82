import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../base/log.ts';
import { createManualEffects } from '../../base/testing-clock.ts';
import { createMemoryStore } from '../engine/memory.ts';
import { type Cluster, openCluster } from './cluster.ts';
import { createMembership } from './membership.ts';
import { changesOf } from './moves.ts';

const OUT_MS = 60_000;
const GROUPS = 64;

/** `count` nodes of which the first three make the first layout; all send heartbeats when told to. */
async function world(count = 4) {
  const store = createMemoryStore();
  const effects = createManualEffects();
  const open = () => {
    const settings = { groups: GROUPS, nodeOutMs: OUT_MS };
    return openCluster<string>({ store, effects, log: silentLog, settings });
  };
  let cluster = await open();
  const silent = new Set<string>();
  const ids = Array.from({ length: count }, (_, n) => `node-${n + 1}`);
  const register = (id: string) =>
    cluster.registerNode({
      id,
      address: `${id}:1`,
      zone: id,
      capacityBytes: 1e12,
      freeBytes: 1e12,
      instance: id,
    });
  for (const id of ids) await register(id);
  /** Time passes; those who are not silent are heard. */
  const pass = async (ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += 1000) {
      await effects.clock.advance(1000);
      for (const id of ids) {
        if (silent.has(id)) continue;
        const beat = { id, instance: id, freeBytes: 1e12, capacityBytes: 1e12, full: false };
        await cluster.heartbeat(beat).catch(() => register(id));
      }
      await cluster.sweep();
    }
  };
  const membership = () => {
    const stats = () => Promise.resolve(undefined);
    return createMembership({ cluster: cluster as Cluster<unknown>, stats });
  };
  return {
    silent,
    pass,
    membership,
    cluster: () => cluster,
    async reopen() {
      cluster = await open();
    },
    async change(
      ...changes: Parameters<ReturnType<typeof membership>['stageLayout']>[0]['changes']
    ) {
      const { epoch } = await membership().stageLayout({ changes });
      return await membership().applyLayout({ epoch });
    },
    async moveAll() {
      const { changes } = cluster;
      const { newest, previous } = changes.layouts;
      assert.ok(newest);
      await changes.markMoved(changesOf(newest, previous).flatMap(({ moves }) => moves));
      return newest.epoch;
    },
    placed: () => cluster.layout?.nodes.map(({ id }) => id),
  };
}

describe('a change of the layout', () => {
  it('stands until everything has been moved, over restarts, with what has been moved so far', async () => {
    const w = await world();
    const first = w.cluster().layout;
    await w.change({ kind: 'add', node: 'node-4' });
    const { layouts } = w.cluster().changes;
    assert.ok(layouts.newest && first);
    const moves = changesOf(layouts.newest, layouts.previous).flatMap((one) => one.moves);
    assert.equal(moves.length, 48);
    await w.cluster().changes.markMoved(moves.slice(0, 10));
    const view = w.cluster().view();
    await w.reopen();
    assert.deepEqual(w.cluster().view().layout, view.layout);
    assert.deepEqual(w.cluster().view().previous, [first]);
    const again = w.cluster().changes.layouts;
    assert.deepEqual(
      moves.map((move) => again.isMoved(move)),
      moves.map((_, index) => index < 10),
    );
    const epoch = await w.moveAll();
    assert.equal(await w.cluster().changes.settle(epoch), true);
    await w.reopen();
    assert.deepEqual(w.cluster().view().previous, []);
    assert.ok(!w.cluster().changes.layouts.hasMoved(0));
  });

  it('that is staged is kept over restarts, and is what gets applied', async () => {
    const w = await world();
    const plan = await w.membership().stageLayout({ changes: [{ kind: 'add', node: 'node-4' }] });
    await w.reopen();
    await w.pass(2000);
    const { staged } = await w.membership().layout();
    assert.deepEqual(staged?.changes, [{ kind: 'add', node: 'node-4' }]);
    assert.deepEqual(staged.nodes, plan.nodes);
    const { view } = await w.membership().applyLayout({ epoch: plan.epoch });
    assert.equal(view.layout?.epoch, 2);
    assert.equal((await w.membership().layout()).staged, undefined);
  });

  it('makes a new view, and others may follow, up to three', async () => {
    const w = await world(8);
    const { revision } = w.cluster().view();
    for (const n of [4, 5, 6]) await w.change({ kind: 'add', node: `node-${n}` });
    assert.ok(w.cluster().view().revision > revision);
    assert.deepEqual(
      w
        .cluster()
        .view()
        .previous.map(({ epoch }) => epoch),
      [3, 2, 1],
    );
    await assert.rejects(w.change({ kind: 'add', node: 'node-7' }), /3 layout changes are still/);
    await w.reopen();
    assert.deepEqual(
      w
        .cluster()
        .view()
        .previous.map(({ epoch }) => epoch),
      [3, 2, 1],
    );
  });

  it('that gives a node another disk is never held up by those that wait for the old one', async () => {
    const w = await world(6);
    for (const n of [4, 5, 6]) await w.change({ kind: 'add', node: `node-${n}` });
    w.silent.add('node-4');
    await w.pass(10_000);
    const again = [{ kind: 'replace', node: 'node-4' }] as const;
    await assert.rejects(w.change(...again, { kind: 'drain', node: 'node-5' }), /3 layout changes/);
    await w.membership().revertLayout();
    await w.change(...again);
    assert.equal(w.cluster().view().previous.length, 4);
  });

  it('waits for deletions under way, and holds the next ones back', async () => {
    const w = await world();
    const { changes } = w.cluster();
    const { promise, resolve } = Promise.withResolvers<string>();
    const release = changes.whileStable(1, () => promise);
    const applied = w.change({ kind: 'add', node: 'node-4' });
    let done = false;
    void applied.then(() => {
      done = true;
    });
    for (let turn = 0; turn < 20; turn++) await new Promise((next) => setImmediate(next));
    assert.equal(done, false);
    assert.equal(await changes.whileStable(1, async () => 'deleted'), undefined);
    resolve('deleted');
    assert.equal(await release, 'deleted');
    await applied;
    assert.equal(await changes.whileStable(1, async () => 'deleted'), undefined);
    assert.equal(await changes.whileStable(2, async () => 'deleted'), 'deleted');
  });

  it('of a disk that is lost makes it no source, and expects a blank one', async () => {
    const w = await world();
    w.silent.add('node-2');
    await w.pass(5000);
    await w.change({ kind: 'replace', node: 'node-2' });
    const { newest, previous } = w.cluster().changes.layouts;
    assert.ok(newest);
    const changes = changesOf(newest, previous);
    assert.equal(changes.length, GROUPS);
    for (const { moves, leavers } of changes) {
      assert.deepEqual([moves.map(({ node }) => node), leavers], [['node-2'], ['node-2#2']]);
    }
    assert.ok(w.cluster().nodes.isGone('node-2#2'));
    assert.equal(w.cluster().nodes.row('node-2')?.replaced, true);
    w.silent.clear();
    await w.pass(1000);
    assert.equal(w.cluster().nodes.row('node-2')?.replaced, false);
  });
});

describe('a node that is silent', () => {
  it('is down at first, and done without after a while if there are enough others', async () => {
    const w = await world();
    await w.change({ kind: 'add', node: 'node-4' });
    await w.cluster().changes.settle(await w.moveAll());
    w.silent.add('node-1');
    await w.pass(30_000);
    const condition = async () =>
      (await w.membership().nodes()).find(({ id }) => id === 'node-1')?.condition;
    assert.equal(await condition(), 'down');
    assert.equal(w.placed()?.length, 4);
    await w.pass(OUT_MS);
    assert.equal(await condition(), 'out');
    assert.deepEqual(w.placed(), ['node-2', 'node-3', 'node-4']);
  });

  it('is waited for when there are only two others', async () => {
    const w = await world(3);
    w.silent.add('node-1');
    await w.pass(3 * OUT_MS);
    assert.equal(w.placed()?.length, 3);
    const [info] = await w.membership().nodes();
    assert.deepEqual([info?.condition, info?.inLayout], ['out', true]);
    w.silent.clear();
    await w.pass(2000);
    assert.equal((await w.membership().nodes())[0]?.condition, 'up');
  });

  it('gets its groups back when it returns before anything was moved', async () => {
    const w = await world();
    await w.change({ kind: 'add', node: 'node-4' });
    await w.cluster().changes.settle(await w.moveAll());
    const before = w.cluster().layout;
    w.silent.add('node-1');
    await w.pass(OUT_MS + 10_000);
    w.silent.clear();
    await w.pass(2000);
    const after = w.cluster().layout;
    assert.equal(after?.epoch, 4);
    assert.deepEqual(after.nodes, before?.nodes);
    assert.deepEqual(after.assignment, before?.assignment);
    // What was written while it was away is still to be copied to it.
    const { newest, previous } = w.cluster().changes.layouts;
    assert.ok(newest);
    const targets = new Set(
      changesOf(newest, previous)
        .flatMap(({ moves }) => moves)
        .map((m) => m.node),
    );
    assert.deepEqual([...targets], ['node-1']);
  });

  it('is a spare when it returns later', async () => {
    const w = await world();
    await w.change({ kind: 'add', node: 'node-4' });
    await w.cluster().changes.settle(await w.moveAll());
    w.silent.add('node-1');
    await w.pass(OUT_MS + 10_000);
    await w.moveAll();
    w.silent.clear();
    await w.pass(2000);
    assert.deepEqual(w.placed(), ['node-2', 'node-3', 'node-4']);
    const [info] = await w.membership().nodes();
    assert.equal(info?.condition, 'spare');
    assert.equal(w.cluster().nodes.row('node-1')?.leftovers, true);
  });

  it('is given a whole new time after a restart of the metadata service', async () => {
    const w = await world();
    await w.change({ kind: 'add', node: 'node-4' });
    await w.cluster().changes.settle(await w.moveAll());
    w.silent.add('node-1');
    await w.pass(OUT_MS - 5000);
    await w.reopen();
    await w.pass(OUT_MS - 5000);
    assert.equal(w.placed()?.length, 4);
    await w.pass(10_000);
    assert.equal(w.placed()?.length, 3);
  });
});
