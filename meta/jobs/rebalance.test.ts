import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeBlobId } from '../../base/ids.ts';
import { createManualEffects } from '../../base/testing-clock.ts';
import { createCatalogue } from '../catalogue/catalogue.ts';
import { openCluster } from '../cluster/cluster.ts';
import { createMembership } from '../cluster/membership.ts';
import { changesOf, membersOf } from '../cluster/moves.ts';
import { createMemoryStore } from '../engine/memory.ts';
import type { BlobRef } from '../protocol.ts';
import type { ReadableEntry } from './garbage.ts';
import { JobRows } from './job.ts';
import { blockKeys } from './placed.ts';
import { RebalanceJob, type RebalanceLimits } from './rebalance.ts';
import { BlockNode, contentOf, silentLog } from './test-support.ts';

const GROUPS = 16;
const OUT_MS = 60_000;
const ref: BlobRef = { blob: makeBlobId(1, 1), size: 64 * 1000, blockSize: 1000 };

/** Nodes 1 to 3 hold one blob with four blocks in every group; node 4 is added. One gateway. */
async function world() {
  const store = createMemoryStore();
  const effects = createManualEffects();
  const ids = [1, 2, 3, 4].map((n) => `node-${n}`);
  const nodes = new Map(ids.map((id) => [id, new BlockNode()]));
  const silent = new Set<string>();
  const open = () =>
    openCluster<ReadableEntry>({
      store,
      effects,
      log: silentLog,
      settings: { groups: GROUPS, nodeOutMs: OUT_MS },
    });
  let cluster = await open();
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
  const catalogue = createCatalogue({ store, effects });
  const { writer } = await cluster.openWriter({ name: 'g' });
  assert.equal(writer, 1);
  await catalogue.createBucket({ name: 'b', owner: 'o', region: 'r' });
  await catalogue.putObject({
    writer,
    bucket: 'b',
    key: 'k',
    object: {
      size: ref.size,
      etag: 'e',
      owner: 'o',
      data: { kind: 'blob', ...ref },
      system: {},
      user: {},
    },
    missing: [],
  });
  const { layout } = cluster;
  assert.ok(layout);
  for (const key of blockKeys(ref.blob, GROUPS, 0, 64)) {
    for (const id of membersOf(layout, key.group)) {
      nodes.get(id)?.store(key, contentOf(ref, key.index));
    }
  }
  const rows = new JobRows(store, effects.random);
  const make = async (limits?: Partial<RebalanceLimits>) => {
    const job = new RebalanceJob({
      cluster,
      blobs: catalogue.blobs,
      repairs: catalogue.repairs,
      node: (id) => (cluster.nodes.isUp(id) ? nodes.get(id) : undefined),
      rows,
      clock: effects.clock,
      log: silentLog,
      limits: { bytesPerSecond: 0, ...limits },
    });
    await job.restore();
    return job;
  };
  return {
    clock: effects.clock,
    silent,
    make,
    cluster: () => cluster,
    held: (id: string) => nodes.get(id)?.blocks.size ?? 0,
    node: (id: string) => nodes.get(id) ?? assert.fail(),
    async reopen() {
      cluster = await open();
      for (const id of ids) await register(id);
    },
    async change(
      ...changes: Parameters<ReturnType<typeof createMembership>['stageLayout']>[0]['changes']
    ) {
      const membership = createMembership({ cluster, stats: () => Promise.resolve(undefined) });
      const { epoch } = await membership.stageLayout({ changes });
      await membership.applyLayout({ epoch });
    },
    report(oldestLayout: number) {
      const marks = { lowestSequence: 2, oldestRead: 2 ** 40, oldestLayout };
      assert.ok(cluster.leases.renew(writer, marks, effects.clock.monotonic()));
    },
    async pass(ms: number) {
      for (let at = 0; at < ms; at += 1000) {
        await effects.clock.advance(1000);
        for (const id of ids) {
          if (silent.has(id)) continue;
          const beat = { id, instance: id, freeBytes: 1e12, capacityBytes: 1e12, full: false };
          await cluster.heartbeat(beat);
        }
        await cluster.renewWriter({
          writer,
          marks: {
            lowestSequence: 2,
            oldestRead: 2 ** 40,
            oldestLayout: cluster.layout?.epoch ?? 0,
          },
          revision: 0,
        });
        await cluster.sweep();
      }
    },
  };
}

/** Rounds until there is nothing to do at once. */
async function rounds(job: RebalanceJob): Promise<void> {
  for (let round = 0; round < 100; round++) if (!(await job.round())) return;
  assert.fail('the job does not come to rest');
}

describe('the rebalance job', () => {
  it('moves nothing before every gateway works by the new layout, and says what it waits for', async () => {
    const w = await world();
    await w.change({ kind: 'add', node: 'node-4' });
    const job = await w.make();
    await rounds(job);
    assert.equal(w.held('node-4'), 0);
    assert.match(job.status().problem ?? '', /a gateway has not reported/);
    w.report(1);
    await rounds(job);
    assert.equal(w.held('node-4'), 0);
    w.report(2);
    await rounds(job);
    assert.equal(w.held('node-4'), 48);
    assert.equal(w.held('node-1') + w.held('node-2') + w.held('node-3'), 3 * 64 - 48);
    assert.deepEqual(w.cluster().view().previous, []);
    const { counts, problem, state } = job.status();
    assert.deepEqual(
      [counts['copied'], counts['released'], problem, state],
      [48, 48, undefined, 'idle'],
    );
  });

  it('empties nobody while a gateway may still read or write by an older layout', async () => {
    const w = await world();
    await w.change({ kind: 'add', node: 'node-4' });
    const { newest, previous } = w.cluster().changes.layouts;
    assert.ok(newest);
    await w.cluster().changes.markMoved(changesOf(newest, previous).flatMap(({ moves }) => moves));
    const job = await w.make();
    w.report(1);
    await rounds(job);
    assert.equal(w.held('node-1') + w.held('node-2') + w.held('node-3'), 3 * 64);
  });

  it('goes on after a restart where it was, once the gateways have reported again', async () => {
    const w = await world();
    await w.change({ kind: 'add', node: 'node-4' });
    w.report(2);
    const first = await w.make({ stepsPerRound: 5 });
    await first.round();
    assert.equal(first.status().done, 5);
    await w.reopen();
    const copies = w.node('node-4').calls.get('put');
    const second = await w.make();
    assert.equal(second.status().done, 5);
    await rounds(second);
    assert.equal(w.node('node-4').calls.get('put'), copies);
    w.report(2);
    await rounds(second);
    assert.equal(w.held('node-4'), 48);
    assert.deepEqual(w.cluster().view().previous, []);
  });

  it('is paused and slowed down, and stays so over restarts', async () => {
    const w = await world();
    await w.change({ kind: 'add', node: 'node-4' });
    w.report(2);
    const job = await w.make();
    await job.pause();
    await job.setRate(1000);
    const again = await w.make();
    assert.equal(again.status().state, 'paused');
    await rounds(again);
    assert.equal(w.held('node-4'), 0);
    await again.resume();
    const began = w.clock.monotonic();
    await w.clock.settle(rounds(again), 600_000);
    assert.equal(w.held('node-4'), 48);
    assert.ok(w.clock.monotonic() - began > 40_000, '48,000 bytes at 1,000 a second');
  });

  it('does not wait for a node that is out, and empties it when it comes back', async () => {
    const w = await world();
    await w.change({ kind: 'add', node: 'node-4' });
    w.report(2);
    const job = await w.make({ retryMs: 100 });
    await rounds(job);
    w.silent.add('node-1');
    await w.pass(OUT_MS + 10_000);
    assert.equal(w.cluster().layout?.nodes.length, 3);
    const before = w.held('node-1');
    assert.ok(before > 0);
    await rounds(job);
    assert.deepEqual(w.cluster().view().previous, []);
    for (const n of [2, 3, 4]) assert.equal(w.held(`node-${n}`), 64);
    w.silent.clear();
    await w.pass(2000);
    await rounds(job);
    assert.equal(w.held('node-1'), 0);
    await job.round();
    assert.equal(w.cluster().nodes.row('node-1')?.leftovers, false);
  });

  it('takes from a spare what was written to its disk before it was taken in', async () => {
    const w = await world();
    for (const key of blockKeys(ref.blob, GROUPS, 0, 10)) {
      w.node('node-4').store(key, contentOf(ref, key.index));
    }
    w.report(1);
    await rounds(await w.make());
    assert.equal(w.held('node-4'), 0);
    for (const n of [1, 2, 3]) assert.equal(w.held(`node-${n}`), 64);
  });

  it('waits for a node that is merely down', async () => {
    const w = await world();
    await w.change({ kind: 'add', node: 'node-4' });
    w.report(2);
    w.silent.add('node-1');
    await w.pass(10_000);
    const job = await w.make({ retryMs: 100 });
    for (let turn = 0; turn < 5; turn++) {
      await rounds(job);
      await w.pass(1000);
    }
    assert.equal(w.cluster().view().previous.length, 1);
    assert.match(job.status().problem ?? '', /node node-1/);
    w.silent.clear();
    await w.pass(2000);
    await rounds(job);
    assert.deepEqual(w.cluster().view().previous, []);
    assert.equal(w.held('node-1'), 48);
  });
});
