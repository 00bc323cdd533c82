import assert from 'node:assert/strict';
import { test } from 'node:test';
import { payloadBuffers } from '../../base/buffer-pool.ts';
import { Failure, isFailure } from '../../base/failure.ts';
import { viewOf } from './testing/map-meta.ts';
import { bodyOf, bytesOf, createWorld, TEST_BLOCK_SIZE as BLOCK } from './testing/world.ts';

const unavailable = (error: unknown) => isFailure(error, 'unavailable');

test('store writes every block to its three nodes before it commits', async () => {
  const world = await createWorld({ nodes: 4 });
  const body = bytesOf(3 * BLOCK + 7);
  let atCommit = 0;
  const { engine } = world.running;
  const answer = await world.clock.settle(
    engine.store(bodyOf(body), (stored) => {
      atCommit = world.stored();
      assert.deepEqual(stored.missing, []);
      assert.equal(stored.size, body.length);
      return Promise.resolve({ ok: true, value: stored });
    }),
  );
  assert.ok(answer.ok && answer.value.data.kind === 'blob');
  assert.equal(atCommit, 4 * 3);
  assert.equal(answer.value.data.blockSize, BLOCK);
});

test('store of an empty body writes no block', async () => {
  const world = await createWorld();
  const answer = await world.put('k', bodyOf());
  assert.ok(answer.ok);
  assert.deepEqual(world.meta.objects.get('k')?.data, { kind: 'none' });
  assert.equal(world.stored(), 0);
});

test('store goes on without a node that cannot be reached and names it once', async () => {
  const world = await createWorld();
  world.node(1).fault = 'unavailable';
  const answer = await world.put('k', bodyOf(bytesOf(5 * BLOCK)));
  assert.ok(answer.ok);
  assert.deepEqual(
    world.meta.missing.map(({ node }) => node),
    ['n1'],
  );
  assert.equal(world.stored(), 10);
});

test('store goes on without a node that never answers, and later blocks do not wait for it', async () => {
  const world = await createWorld();
  world.node(2).fault = 'hang';
  const before = world.clock.monotonic();
  assert.ok((await world.put('a', bodyOf(bytesOf(100)))).ok);
  const first = world.clock.monotonic() - before;
  assert.ok(first >= 1000 && first < 1100, `took ${first} ms`);
  const calls = world.node(2).calls.put;
  assert.ok((await world.put('b', bodyOf(bytesOf(100)))).ok);
  assert.ok(world.clock.monotonic() - before - first < 100);
  assert.equal(world.node(2).calls.put, calls, 'a suspect node is left alone');
  assert.deepEqual(
    world.meta.missing.map(({ node }) => node),
    ['n2', 'n2'],
  );
});

test('a node is written to again when it answers a probe', async () => {
  const world = await createWorld();
  world.node(2).fault = 'unavailable';
  await world.put('a', bodyOf(bytesOf(100)));
  world.node(2).fault = 'none';
  await world.clock.advance(1000);
  await world.put('b', bodyOf(bytesOf(100)));
  assert.equal(world.node(2).blocks.size, 1);
  assert.equal(world.meta.missing.length, 1);
});

test('store fails with unavailable when two nodes are gone, and nothing is visible or left', async () => {
  const world = await createWorld();
  world.node(0).fault = 'unavailable';
  world.node(1).fault = 'hang';
  await assert.rejects(world.put('k', bodyOf(bytesOf(2 * BLOCK))), unavailable);
  assert.equal(world.meta.objects.size, 0);
  await world.clock.advance(30_000);
  assert.equal(world.stored(), 0);
  assert.equal(world.running.status().running.blobs, 0);
});

test('store does not try for long when nodes refuse connections', async () => {
  const world = await createWorld();
  for (const node of world.nodes) node.fault = 'unavailable';
  const before = world.clock.monotonic();
  await assert.rejects(world.put('k', bodyOf(bytesOf(10))), unavailable);
  const took = world.clock.monotonic() - before;
  assert.ok(took >= 2000 && took < 2100, `took ${took} ms`);
});

test('store waits for nodes that are restarting', async () => {
  const world = await createWorld();
  for (const node of world.nodes) node.fault = 'unavailable';
  const put = world.beginPut('k', bodyOf(bytesOf(100)));
  await world.clock.advance(700);
  for (const node of world.nodes) node.fault = 'none';
  assert.ok((await world.clock.settle(put)).ok);
});

test('store fails with full when space is what is missing, and with unavailable when it is not', async () => {
  const world = await createWorld();
  for (const node of world.nodes) node.fault = 'full';
  await assert.rejects(world.put('k', bodyOf(bytesOf(100))), (error) => isFailure(error, 'full'));
  world.node(0).fault = 'unavailable';
  world.node(1).fault = 'unavailable';
  await assert.rejects(world.put('k', bodyOf(bytesOf(100))), unavailable);
  for (const node of world.nodes) node.fault = 'none';
  await world.clock.advance(6000);
  assert.ok((await world.put('k', bodyOf(bytesOf(100)))).ok);
  assert.deepEqual(world.meta.missing, []);
});

test('one full node counts as unable to take the block', async () => {
  const world = await createWorld();
  world.node(0).fault = 'full';
  assert.ok((await world.put('k', bodyOf(bytesOf(100)))).ok);
  assert.deepEqual(
    world.meta.missing.map(({ node }) => node),
    ['n0'],
  );
});

test('policy strict refuses a block that one node cannot take', async () => {
  const world = await createWorld({ settings: { writePolicy: 'strict' } });
  world.node(0).fault = 'unavailable';
  await assert.rejects(world.put('k', bodyOf(bytesOf(100))), unavailable);
  world.node(0).fault = 'none';
  assert.ok((await world.put('k', bodyOf(bytesOf(100)))).ok);
});

test('an error of the body comes back unchanged and leaves nothing behind', async () => {
  const world = await createWorld();
  const broken = new Error('the client went away');
  async function* body() {
    yield bytesOf(3 * BLOCK + 5);
    await Promise.resolve();
    throw broken;
  }
  let committed = false;
  const store = world.running.engine.store(body(), () => {
    committed = true;
    return Promise.resolve({ ok: true as const, value: null });
  });
  await assert.rejects(world.clock.settle(store), (error) => error === broken);
  await world.clock.idle();
  assert.equal(committed, false);
  assert.equal(world.stored(), 0);
  const { memory, running } = world.running.status();
  assert.deepEqual([memory.small, memory.large, running.blobs], [0, 0, 0]);
});

test('a body is told when nobody reads it any more', async () => {
  const world = await createWorld();
  for (const node of world.nodes) node.fault = 'full';
  let left = false;
  async function* body() {
    try {
      for (;;) {
        await world.clock.sleep(1);
        yield bytesOf(BLOCK);
      }
    } finally {
      left = true;
    }
  }
  const failed = await world.put('k', body()).catch((error: unknown) => error);
  assert.ok(isFailure(failed, 'full'));
  await world.clock.idle();
  assert.ok(left);
});

test('a refused commit leaves no block behind', async () => {
  const world = await createWorld();
  const answer = await world.clock.settle(
    world.running.engine.store(bodyOf(bytesOf(3 * BLOCK)), () =>
      Promise.resolve({ ok: false as const, refusal: 'PreconditionFailed' as const }),
    ),
  );
  assert.equal(answer.ok, false);
  await world.clock.idle();
  assert.equal(world.stored(), 0);
  assert.equal(world.running.status().running.blobs, 0);
});

test('a fenced commit leaves nothing visible and no block', async () => {
  const world = await createWorld();
  world.meta.writers.clear();
  const put = world.put('k', bodyOf(bytesOf(2 * BLOCK)));
  await assert.rejects(put, (error) => isFailure(error, 'fenced'));
  await world.clock.idle();
  assert.equal(world.meta.objects.size, 0);
  assert.equal(world.stored(), 0);
});

test('a commit of unknown outcome keeps its blocks, and its mark until its lease is closed', async () => {
  const world = await createWorld();
  const lost = new Failure('unknown-outcome', 'connection lost');
  world.meta.commitFailure = lost;
  const body = bytesOf(2 * BLOCK);
  await assert.rejects(world.put('k', bodyOf(body)), (error) => error === lost);
  world.meta.commitFailure = undefined;
  assert.equal(world.stored(), 6);
  assert.deepEqual(await world.get('k'), body);
  await world.clock.advance(1000);
  assert.equal(world.meta.writers.get(1)?.lowestSequence, 1);
  await world.clock.advance(3000);
  assert.deepEqual(world.meta.closed, [1]);
  assert.equal(world.running.engine.writer(), 2);
  assert.deepEqual(await world.get('k'), body);
});

test('the mark of a committed blob stays while a straggler may still write it', async () => {
  const world = await createWorld();
  world.node(2).fault = 'slow';
  world.node(2).delayMs = 4000;
  await world.put('k', bodyOf(bytesOf(10)));
  assert.equal(world.node(2).blocks.size, 0);
  await world.clock.advance(1500);
  assert.equal(world.meta.writers.get(1)?.lowestSequence, 1);
  await world.clock.advance(3000);
  assert.equal(world.node(2).blocks.size, 1);
  assert.equal(world.meta.writers.get(1)?.lowestSequence, 2);
});

test('an error of the caller in the commit is no proof that nothing was committed', async () => {
  const world = await createWorld();
  const { engine } = world.running;
  const oops = new Error('after the commit');
  const store = engine.store(bodyOf(bytesOf(10)), () => Promise.reject(oops));
  await assert.rejects(world.clock.settle(store), (error) => error === oops);
  await world.clock.advance(100);
  assert.equal(world.stored(), 3);
});

test('blocks of one upload are on their way in a bounded number, and the body waits', async () => {
  const world = await createWorld({ settings: { blocksInFlight: 2 } });
  for (const node of world.nodes) node.fault = 'hang';
  let produced = 0;
  async function* body() {
    for (;;) {
      await Promise.resolve();
      produced++;
      yield bytesOf(BLOCK);
    }
  }
  const put = world.beginPut('k', body()).catch((error: unknown) => error);
  await world.clock.advance(100);
  assert.equal(produced, 3);
  assert.equal(world.node(0).calls.put, 2);
  assert.ok(isFailure(await world.clock.settle(put), 'unavailable'));
});

test('the memory of all uploads together keeps to its budget with a slow node', async () => {
  const world = await createWorld({
    settings: { blockSize: 128 * 1024, writeMemoryBytes: (8 * 128 * 1024 * 8) / 7 },
  });
  const large = 128 * 1024;
  world.node(0).fault = 'slow';
  world.node(0).delayMs = 400;
  const bodies = Array.from({ length: 6 }, (_, index) => bytesOf(6 * large + index, index));
  const puts = bodies.map((body, index) => world.beginPut(`k${index}`, bodyOf(body)));
  await world.clock.settle(Promise.all(puts));
  assert.ok(world.node(0).putBytesPeak <= 8 * large, `${world.node(0).putBytesPeak} bytes`);
  assert.ok(world.running.status().memory.peakLarge <= 8 * large);
  assert.equal(world.running.status().memory.large, 0);
  for (const [index, body] of bodies.entries()) {
    assert.deepEqual(await world.get(`k${index}`), body);
  }
});

test('small bodies get through while large ones have all their memory', async () => {
  const large = 128 * 1024;
  const world = await createWorld({ settings: { blockSize: large, writeMemoryBytes: 4 * large } });
  async function* stuck() {
    yield bytesOf(large - 1);
    await new Promise(() => {});
  }
  for (let index = 0; index < 5; index++) {
    void world.beginPut(`s${index}`, stuck());
  }
  await world.clock.idle();
  const put = world.put('small', bodyOf(bytesOf(1000)), { sizeHint: 1000 });
  assert.ok((await put).ok);
});

test('an upload that was given up stops waiting for memory', async () => {
  const large = 128 * 1024;
  const world = await createWorld({ settings: { blockSize: large, writeMemoryBytes: 2 * large } });
  async function* stuck() {
    yield bytesOf(10);
    await new Promise(() => {});
  }
  void world.beginPut('s', stuck());
  await world.clock.idle();
  const controller = new AbortController();
  const put = world.beginPut('k', bodyOf(bytesOf(large)), { signal: controller.signal });
  await world.clock.idle();
  controller.abort();
  await assert.rejects(world.clock.settle(put), (error) => isFailure(error, 'cancelled'));
});

test('nothing is written to a node that answers with another name', async () => {
  const world = await createWorld({ start: false });
  world.node(1).impostor = 'n0';
  await world.clock.settle(world.running.start());
  assert.ok((await world.put('k', bodyOf(bytesOf(100)))).ok);
  assert.deepEqual(
    world.meta.missing.map(({ node }) => node),
    ['n1'],
  );
  world.node(2).fault = 'unavailable';
  await assert.rejects(world.put('x', bodyOf(bytesOf(100))), unavailable);
  assert.equal(world.node(1).calls.put, 0);
});

test('blocks follow a layout that changes during an upload, and a discard finds them all', async () => {
  const world = await createWorld({ nodes: 6 });
  const ids = world.nodes.map((node) => node.id);
  world.meta.view = viewOf(ids.slice(0, 3), { revision: 2, epoch: 2 });
  await world.clock.advance(1000);
  let go = () => {};
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  async function* body() {
    yield bytesOf(2 * BLOCK);
    await gate;
    yield bytesOf(2 * BLOCK);
  }
  const store = world.running.engine.store(body(), () =>
    Promise.resolve({ ok: false as const, refusal: 'PreconditionFailed' as const }),
  );
  await world.clock.idle();
  world.meta.view = viewOf(ids.slice(3), { revision: 3, epoch: 3 });
  await world.clock.advance(1000);
  const held = world.nodes.map((node) => node.blocks.size);
  assert.deepEqual(held, [2, 2, 2, 0, 0, 0]);
  go();
  await world.clock.settle(store);
  await world.clock.advance(100);
  assert.equal(world.node(3).calls.put, 2);
  // The old nodes are not in the view any more, so their blocks are the garbage collector's.
  assert.deepEqual(
    world.nodes.slice(3).map((node) => node.blocks.size),
    [0, 0, 0],
  );
});

const LARGE = 64 * 1024;
/** A body of one block that is put together in a buffer of the pool. */
const inPieces = (seed: number) => {
  const bytes = bytesOf(LARGE, seed);
  return bodyOf(bytes.subarray(0, 100), bytes.subarray(100));
};

test("a block's memory is recycled when all its nodes have it", async () => {
  const world = await createWorld({ settings: { blockSize: LARGE } });
  await world.put('a', inPieces(1));
  const free = payloadBuffers.freeBytes;
  assert.ok(free >= LARGE);
  await world.put('b', inPieces(2));
  assert.equal(payloadBuffers.freeBytes, free);
});

for (const fault of ['unavailable', 'hang'] as const) {
  test(`a block's memory is not recycled after a put that ended as ${fault}`, async () => {
    const world = await createWorld({ settings: { blockSize: LARGE } });
    await world.put('a', inPieces(1));
    const free = payloadBuffers.freeBytes;
    world.node(1).fault = fault;
    await world.put('b', inPieces(2));
    await world.clock.advance(60_000);
    assert.ok(payloadBuffers.freeBytes < free);
  });
}

test('blocks that lie in one chunk of somebody else leave its memory alone', async () => {
  const world = await createWorld({ settings: { blockSize: LARGE } });
  const chunk = payloadBuffers.take(4 * LARGE);
  chunk.set(bytesOf(4 * LARGE));
  const expected = Buffer.from(chunk);
  await world.put('a', bodyOf(chunk));
  const next = payloadBuffers.take(4 * LARGE);
  assert.notEqual(next.buffer, chunk.buffer);
  assert.ok((await world.get('a')).equals(expected));
});
