import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../../base/failure.ts';
import { makeBlobId, placementGroup } from '../../base/ids.ts';
import { silentLog } from '../../base/log.ts';
import { createManualClock, createSeededRandom } from '../../base/testing-clock.ts';
import { type BlockKey, encodeBlockKey, type StorageNode } from '../../storage-node/protocol.ts';
import type { GarbageEntry, GarbageQueue } from '../catalogue/catalogue.ts';
import { nodesOfGroup, planLayout } from '../cluster/layout.ts';
import { Leases } from '../cluster/leases.ts';
import { firstReadEpoch, Reclamation } from '../cluster/reclamation.ts';
import { GarbageJob, type GarbageLimits, type ReadableEntry } from './garbage.ts';
import { startLoop } from './loop.ts';

const GROUPS = 64;
const WRITER = 9;

/** A queue in memory; composite entries take `steps` steps. */
class Queue implements GarbageQueue {
  entries = new Map<string, GarbageEntry>();
  steps = new Map<string, number>();
  done = async (ids: readonly string[]): Promise<void> => {
    for (const id of ids) this.entries.delete(id);
  };
  async next(limit: number, after?: string): Promise<GarbageEntry[]> {
    const ids = [...this.entries.keys()].sort();
    const due = ids.filter((id) => after === undefined || id > after).slice(0, limit);
    return due.flatMap((id) => this.entries.get(id) ?? []);
  }
  async expand(entry: GarbageEntry): Promise<boolean> {
    const left = (this.steps.get(entry.id) ?? 1) - 1;
    this.steps.set(entry.id, left);
    if (left <= 0) this.entries.delete(entry.id);
    return left <= 0;
  }
  async depth(): Promise<number> {
    return this.entries.size;
  }
}

function world(nodes = 3, limits: Partial<GarbageLimits> = {}) {
  const ids = Array.from({ length: nodes }, (_, n) => `node-${n}`);
  const layout = planLayout({
    epoch: 1,
    groups: GROUPS,
    nodes: ids.map((id) => ({ id, zone: id, weight: 1 })),
  });
  let newest = layout;
  const gone = new Set<string>();
  const stored = new Map(ids.map((id) => [id, new Set<string>()]));
  const down = new Set<string>();
  const failing = new Set<string>();
  const batches: number[] = [];
  const node = (id: string): StorageNode | undefined => {
    if (down.has(id)) return undefined;
    const refuse = () => Promise.reject(new Failure('internal', 'not part of this test'));
    return {
      put: refuse,
      get: refuse,
      has: refuse,
      restore: refuse,
      list: refuse,
      verify: refuse,
      stats: refuse,
      health: refuse,
      async delete(keys) {
        if (failing.has(id)) throw new Failure('timeout', 'no answer');
        batches.push(keys.length);
        for (const key of keys) stored.get(id)?.delete(encodeBlockKey(key).toString('hex'));
      },
    };
  };
  const queue = new Queue();
  const leases = new Leases(10_000);
  leases.opened(WRITER, 'g', 0);
  const reclamation = new Reclamation<ReadableEntry>(firstReadEpoch(1));
  const clock = createManualClock();
  const job = new GarbageJob({
    queue,
    leases,
    reclamation,
    layout: () => newest,
    previous: () => (newest === layout ? [] : [layout]),
    isGone: (id) => gone.has(id),
    node,
    clock,
    log: silentLog,
    limits,
  });
  let sequence = 0;
  /** Stores a blob of `blocks` blocks on all its nodes and queues it. */
  const discard = (blocks: number): string => {
    const blob = makeBlobId(WRITER, ++sequence);
    for (let index = 0; index < blocks; index++) {
      const key: BlockKey = { group: placementGroup(blob, index, GROUPS), blob, index };
      for (const member of nodesOfGroup(layout, key.group)) {
        stored.get(ids[member] ?? '')?.add(encodeBlockKey(key).toString('hex'));
      }
    }
    const id = String(sequence).padStart(8, '0');
    queue.entries.set(id, { id, kind: 'blob', blob, size: blocks * 10 - 3, blockSize: 10 });
    return id;
  };
  const report = (lowestSequence = sequence + 1, oldestRead = reclamation.epoch) => {
    leases.renew(WRITER, { lowestSequence, oldestRead, oldestLayout: 1 }, clock.monotonic());
  };
  const remaining = () => [...stored.values()].reduce((sum, keys) => sum + keys.size, 0);
  const epoch = () => reclamation.epoch;
  /** A change to a layout without the first node; everything is on all nodes meanwhile. */
  const changeLayout = () => {
    const nodes = ids.slice(1).map((id) => ({ id, zone: id, weight: 1 }));
    newest = planLayout({ epoch: 2, groups: GROUPS, nodes, previous: layout });
    const all = new Set([...stored.values()].flatMap((keys) => [...keys]));
    for (const id of ids) stored.set(id, new Set(all));
  };
  return {
    gone,
    changeLayout,
    job,
    queue,
    leases,
    clock,
    epoch,
    down,
    failing,
    stored,
    batches,
    discard,
    report,
    remaining,
  };
}

describe('the garbage job', () => {
  it('deletes the blocks of a blob on all their nodes, then takes the entry off the queue', async () => {
    const w = world(5);
    w.discard(7);
    w.discard(1);
    assert.equal(w.remaining(), 24);
    await w.job.round();
    w.report();
    await w.job.round();
    assert.equal(w.remaining(), 0);
    assert.equal(w.queue.entries.size, 0);
    const { held, waiting, blobsRemoved, blocksRemoved } = w.job.stats();
    assert.deepEqual([held, waiting, blobsRemoved, blocksRemoved], [0, 0, 2, 8]);
  });

  it('deletes on the nodes of older layouts, too, but for those that are gone for good', async () => {
    for (const gone of [false, true]) {
      const w = world(4);
      w.discard(64);
      w.changeLayout();
      if (gone) w.gone.add('node-0').add('node-9');
      w.down.add('node-0');
      await w.job.round();
      w.report();
      for (let round = 0; round < 3; round++) await w.job.round();
      assert.equal(w.queue.entries.size, gone ? 0 : 1);
      w.down.clear();
      for (let round = 0; round < 3; round++) await w.job.round();
      assert.equal(w.queue.entries.size, 0);
      // Blocks on nodes that have had the group in neither layout are not asked for here.
      const left = w.stored.get('node-0')?.size ?? 0;
      assert.ok(gone ? left === 64 : left < 64);
    }
  });

  it('waits for reads that may see the blob and for its writer', async () => {
    const w = world();
    w.discard(1);
    w.report();
    // The epoch of this report is older than the one that admits the entry.
    for (let round = 0; round < 3; round++) await w.job.round();
    assert.equal(w.remaining(), 3);
    w.report(1);
    for (let round = 0; round < 3; round++) await w.job.round();
    assert.equal(w.remaining(), 3);
    w.report(2);
    await w.job.round();
    assert.equal(w.remaining(), 0);
  });

  it('keeps an entry that not all nodes acknowledge, and lets the others go on', async () => {
    const w = world(6);
    for (let blob = 0; blob < 40; blob++) w.discard(1);
    w.down.add('node-0');
    w.failing.add('node-1');
    await w.job.round();
    w.report();
    for (let round = 0; round < 5; round++) await w.job.round();
    const kept = w.queue.entries.size;
    assert.ok(kept > 0 && kept < 40, String(kept));
    for (const id of ['node-2', 'node-3', 'node-4', 'node-5']) {
      assert.equal(w.stored.get(id)?.size, 0);
    }
    w.down.clear();
    w.failing.clear();
    for (let round = 0; round < 5; round++) await w.job.round();
    assert.equal(w.remaining(), 0);
    assert.equal(w.queue.entries.size, 0);
  });

  it('takes long blobs in bounded rounds and small ones in big calls', async () => {
    const w = world(3, { blocksPerRound: 1500 });
    w.discard(4000);
    for (let blob = 0; blob < 500; blob++) w.discard(1);
    await w.job.round();
    w.report();
    let rounds = 0;
    for (; w.queue.entries.size > 0 && rounds < 50; rounds++) await w.job.round();
    assert.equal(w.remaining(), 0);
    assert.equal(rounds, 3);
    assert.ok(Math.max(...w.batches) <= 1000);
    assert.ok(w.batches.length <= 3 * 6);
  });

  it('holds a bounded number of entries and still comes to those behind stuck ones', async () => {
    const w = world(6, { entries: 1000, rewalkMs: 60_000 });
    for (let blob = 0; blob < 5000; blob++) w.discard(1);
    w.down.add('node-3');
    for (let round = 0; round < 200; round++) {
      await w.job.round();
      w.report();
      assert.ok(w.job.stats().held <= 1000);
    }
    for (const [id, keys] of w.stored) if (id !== 'node-3') assert.equal(keys.size, 0, id);
    assert.ok(w.queue.entries.size > 1000);
    w.down.clear();
    for (let round = 0; round < 200 && w.queue.entries.size > 0; round++) {
      await w.clock.advance(10_000);
      await w.job.round();
      w.report();
    }
    assert.equal(w.queue.entries.size, 0);
    assert.equal(w.remaining(), 0);
  });

  it('has removed everything when its bound is over', async () => {
    const pauseMs = 500;
    const renewMs = 1000;
    await fc.assert(
      fc.asyncProperty(fc.nat(5000), fc.nat(renewMs), fc.nat(), async (at, phase, seed) => {
        const w = world();
        const random = createSeededRandom(seed);
        const effects = { clock: w.clock, random };
        const round = () => w.job.round();
        const loop = startLoop({ name: 'garbage', pauseMs, effects, log: silentLog, round });
        let known = 0;
        const renew = (): void => {
          w.report(undefined, known);
          known = w.epoch();
          w.clock.after(renewMs, renew);
        };
        w.clock.after(phase, renew);
        await w.clock.advance(at);
        w.discard(5);
        await w.clock.advance(2 * 1.5 * pauseMs + 2 * renewMs);
        assert.equal(w.remaining(), 0);
        const stopped = loop.stop();
        await w.clock.settle(stopped);
      }),
      { numRuns: 50 },
    );
  });

  it('takes steps on composite entries at once, and on part lists when no read may page through them', async () => {
    const w = world();
    w.queue.entries.set('a', { id: 'a', kind: 'upload', uploadId: '1', used: Buffer.alloc(0) });
    w.queue.entries.set('b', { id: 'b', kind: 'parts', list: '2' });
    w.queue.steps.set('a', 3);
    w.queue.steps.set('b', 2);
    w.report();
    for (let round = 0; round < 3; round++) await w.job.round();
    assert.deepEqual([...w.queue.entries.keys()], ['b']);
    w.report();
    for (let round = 0; round < 2; round++) await w.job.round();
    assert.equal(w.queue.entries.size, 0);
    assert.equal(w.job.stats().held, 0);
  });

  it('goes on with composite entries after the store has failed in the middle of them', async () => {
    const w = world();
    for (const id of ['a', 'b', 'c']) {
      w.queue.entries.set(id, { id, kind: 'upload', uploadId: '1', used: Buffer.alloc(0) });
    }
    const expand = w.queue.expand.bind(w.queue);
    let fails = true;
    w.queue.expand = async (entry) => {
      if (entry.id === 'b' && fails) throw new Failure('unavailable', 'not now');
      return await expand(entry);
    };
    for (let round = 0; round < 3; round++) await assert.rejects(w.job.round(), /not now/);
    assert.deepEqual([...w.queue.entries.keys()], ['b']);
    fails = false;
    await w.job.round();
    assert.equal(w.queue.entries.size, 0);
    assert.equal(w.job.stats().held, 0);
  });
});
