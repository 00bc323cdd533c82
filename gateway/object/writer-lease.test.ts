import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure, isFailure } from '../../base/failure.ts';
import { sequenceOf, writerOf } from '../../base/ids.ts';
import { silentLog } from '../../base/log.ts';
import { createManualClock } from '../../base/testing-clock.ts';
import { NodePool } from './node-pool.ts';
import { createMapMeta, viewOf } from './testing/map-meta.ts';
import { MapNode } from './testing/map-node.ts';
import { bodyOf, bytesOf, createWorld } from './testing/world.ts';
import { type BlobTicket, type ReadHold, WriterLeases } from './writer-lease.ts';

const unavailable = (error: unknown) => isFailure(error, 'unavailable');

async function createLeases(options: { start?: boolean } = {}) {
  const clock = createManualClock();
  const meta = createMapMeta(viewOf(['n0', 'n1', 'n2']));
  const connect = ({ id }: { id: string }) => new MapNode(id, 'c', clock);
  const pool = new NodePool({ connect, clock, log: silentLog });
  const leases = new WriterLeases({ meta, pool, clock, log: silentLog, name: 'g', renewMs: 1000 });
  if (options.start !== false) await clock.settle(leases.start());
  return { clock, meta, pool, leases };
}

test('blob ids are of the lease and are never given out twice', async () => {
  const { leases } = await createLeases();
  const ids = [leases.beginBlob(), leases.beginBlob(), leases.beginBlob()].map(({ blob }) => blob);
  assert.deepEqual(ids.map(writerOf), [1, 1, 1]);
  assert.deepEqual(ids.map(sequenceOf), [1, 2, 3]);
});

test('without a lease or a layout requests fail at once, and work as soon as both are there', async () => {
  const { clock, meta, leases } = await createLeases({ start: false });
  const view = meta.view;
  meta.outage = new Failure('unavailable', 'no');
  await clock.settle(leases.start());
  assert.throws(() => leases.beginBlob(), unavailable);
  assert.throws(() => leases.beginRead(), unavailable);
  assert.throws(() => leases.writer(), unavailable);
  meta.outage = undefined;
  meta.view = { ...view, revision: 2, layout: undefined };
  await clock.advance(200);
  assert.equal(leases.writer(), 1);
  assert.throws(() => leases.beginBlob(), unavailable);
  assert.equal(leases.marks().oldestLayout, 0);
  meta.view = { ...view, revision: 3 };
  await clock.advance(200);
  assert.equal(leases.beginBlob().writer, 1);
  assert.ok(leases.ready);
});

test('start does not wait for a metadata service that is silent for ever', async () => {
  const { clock, meta, leases } = await createLeases({ start: false });
  meta.outage = 'hang';
  await clock.settle(leases.start(), 10_000);
  assert.equal(leases.ready, false);
});

type StepKind = 'blob' | 'read' | 'layout' | 'epoch' | 'endBlob' | 'endRead';

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom<StepKind>('blob', 'read', 'layout', 'epoch', 'endBlob', 'endRead'),
    which: fc.nat(20),
  }),
  { maxLength: 60 },
);

test('the marks are exact after any sequence of writes, reads, epochs and layouts', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (course) => {
      const { clock, meta, leases } = await createLeases();
      const blobs: { ticket: BlobTicket; sequence: number }[] = [];
      const reads: { hold: ReadHold; epoch: number; map: { holds: number }; layout: number }[] = [];
      let next = 1;
      for (const step of course) {
        if (step.kind === 'blob') blobs.push({ ticket: leases.beginBlob(), sequence: next++ });
        else if (step.kind === 'read') {
          const map = leases.map();
          map.holds++;
          const epoch = meta.readEpoch;
          reads.push({ hold: leases.beginRead(), epoch, map, layout: map.epoch });
        } else if (step.kind === 'layout') {
          const epoch = meta.view.revision + 1;
          meta.view = viewOf(['n0', 'n1', 'n2'], { revision: epoch, epoch });
          await clock.advance(1000);
        } else if (step.kind === 'epoch') {
          meta.readEpoch += 3;
          await clock.advance(1000);
        } else if (step.kind === 'endBlob') {
          const [ended] = blobs.splice(step.which % Math.max(1, blobs.length), 1);
          ended?.ticket.release();
          ended?.ticket.release();
        } else {
          const [ended] = reads.splice(step.which % Math.max(1, reads.length), 1);
          ended?.hold.release();
          ended?.hold.release();
          if (ended !== undefined) ended.map.holds--;
        }
        const marks = {
          lowestSequence: Math.min(next, ...blobs.map(({ sequence }) => sequence)),
          oldestRead: Math.min(meta.readEpoch, ...reads.map(({ epoch }) => epoch)),
          oldestLayout: Math.min(
            meta.view.layout?.epoch ?? 0,
            ...reads.map(({ layout }) => layout),
          ),
        };
        assert.deepEqual(leases.marks(), marks);
      }
      await clock.advance(1000);
      assert.deepEqual(meta.writers.get(1), leases.marks());
      assert.equal(leases.running.blobs, blobs.length);
      assert.equal(leases.running.reads, reads.length);
    }),
    { numRuns: 40 },
  );
});

test('a shared hold keeps the epoch until the last of its holders is done', async () => {
  const { clock, meta, leases } = await createLeases();
  const hold = leases.beginRead();
  const shared = hold.share();
  meta.readEpoch = 9;
  await clock.advance(1000);
  hold.release();
  hold.release();
  assert.equal(leases.marks().oldestRead, 1);
  shared.release();
  assert.equal(leases.marks().oldestRead, 9);
});

test('a lease that cannot be renewed for its time to live is not used any more', async () => {
  const { clock, meta, leases } = await createLeases();
  meta.outage = 'hang';
  await clock.advance(4900);
  assert.equal(leases.writer(), 1);
  await clock.advance(1200);
  assert.throws(() => leases.beginBlob(), unavailable);
  meta.outage = undefined;
  await clock.advance(4000);
  assert.equal(leases.writer(), 2);
});

test('a process that slept longer than its lease notices before any timer does', async () => {
  const { clock, leases } = await createLeases();
  assert.equal(leases.writer(), 1);
  // Time passes without any timer of the loop getting a turn, as after SIGSTOP.
  clock.skip(5001);
  assert.throws(() => leases.beginBlob(), unavailable);
  assert.throws(() => leases.beginRead(), unavailable);
});

test('a fenced lease is replaced and its id is never used again', async () => {
  const { clock, meta, leases } = await createLeases();
  const ticket = leases.beginBlob();
  meta.writers.delete(1);
  await clock.advance(1000);
  assert.equal(leases.writer(), 2);
  assert.equal(leases.beginBlob().blob.slice(0, 16), '0000000000000002');
  ticket.release();
  assert.deepEqual(meta.closed, []);
});

test('an abandoned blob keeps its mark, and its lease is closed when all others are settled', async () => {
  const { clock, meta, leases } = await createLeases();
  const unknown = leases.beginBlob();
  const other = leases.beginBlob();
  unknown.abandon();
  unknown.release();
  assert.equal(leases.marks().lowestSequence, 1);
  await clock.advance(1000);
  assert.equal(leases.writer(), 2);
  await clock.advance(5000);
  assert.equal(meta.writers.get(1)?.lowestSequence, 1);
  other.release();
  await clock.advance(2000);
  assert.deepEqual(meta.closed, [1]);
  assert.equal(leases.writer(), 2);
});

test('a retired lease is closed only after its successor has reported the reads under way', async () => {
  const { clock, meta, leases } = await createLeases();
  const hold = leases.beginRead();
  meta.readEpoch = 5;
  leases.beginBlob().abandon();
  await clock.advance(1000);
  assert.equal(meta.writers.get(1)?.oldestRead, 1);
  meta.renewFailure = new Failure('unavailable', 'no');
  await clock.advance(2000);
  assert.deepEqual(meta.closed, []);
  meta.renewFailure = undefined;
  await clock.advance(2000);
  assert.deepEqual(meta.closed, [1]);
  assert.equal(meta.writers.get(2)?.oldestRead, 1);
  hold.release();
  await clock.advance(1000);
  assert.equal(meta.writers.get(2)?.oldestRead, 5);
});

test('stop lets requests finish, closes the lease and lets nothing new begin', async () => {
  const world = await createWorld();
  let go = () => {};
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  async function* body() {
    yield bytesOf(10);
    await gate;
  }
  const put = world.beginPut('k', body());
  await world.clock.idle();
  const stop = world.running.stop();
  await world.clock.advance(100);
  await assert.rejects(world.beginPut('x', bodyOf()), unavailable);
  await assert.rejects(world.running.engine.open({ bucket: 'b', key: 'k' }), unavailable);
  go();
  assert.ok((await world.clock.settle(put)).ok);
  await world.clock.settle(stop);
  assert.deepEqual(world.meta.closed, [1]);
  assert.ok(world.nodes.every((node) => node.closed === 1));
});

test('stop ends within its bound, and leaves the lease to lapse when a read goes on', async () => {
  const world = await createWorld();
  await world.put('k', bodyOf(bytesOf(10)));
  assert.ok((await world.running.engine.open({ bucket: 'b', key: 'k' })).ok);
  await world.clock.settle(world.running.stop(), 20_000);
  assert.deepEqual(world.meta.closed, []);
});
