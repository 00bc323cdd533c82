import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isFailure } from '../../base/failure.ts';
import type { ObjectRecord } from '../../meta/protocol.ts';
import { viewOf } from './testing/map-meta.ts';
import {
  bodyOf,
  bytesOf,
  createWorld,
  TEST_BLOCK_SIZE as BLOCK,
  type World,
} from './testing/world.ts';

/** Stores each part and joins them under `key`; returns the whole content. */
async function putParts(world: World, key: string, sizes: readonly number[]): Promise<Buffer> {
  const records: ObjectRecord[] = [];
  const bodies = sizes.map((size, index) => bytesOf(size, index + 1));
  for (const [index, body] of bodies.entries()) {
    await world.put(`part-${index}`, bodyOf(body));
    const record = world.meta.objects.get(`part-${index}`);
    assert.ok(record);
    records.push(record);
  }
  world.meta.join(key, records);
  return Buffer.concat(bodies);
}

async function openForReading(world: World, key: string) {
  const answer = await world.clock.settle(world.running.engine.open({ bucket: 'b', key }));
  assert.ok(answer.ok);
  return answer.value;
}

test('read gives back what store took, and a missing key is an answer', async () => {
  const world = await createWorld();
  const body = bytesOf(5 * BLOCK + 17);
  await world.put('k', bodyOf(body.subarray(0, 100), body.subarray(100)));
  assert.deepEqual(await world.get('k'), body);
  const answer = await world.clock.settle(world.running.engine.open({ bucket: 'b', key: 'no' }));
  assert.deepEqual(answer, { ok: false, refusal: 'NoSuchKey' });
  assert.equal(world.running.status().running.reads, 0);
});

test('a small object is read with one call to one node', async () => {
  const world = await createWorld();
  await world.put('k', bodyOf(bytesOf(BLOCK)));
  await world.get('k');
  const gets = world.nodes.reduce((sum, node) => sum + node.calls.get, 0);
  assert.equal(gets, 1);
});

test('a range touches only the blocks and the bytes that it needs', async () => {
  const world = await createWorld();
  const body = bytesOf(10 * BLOCK);
  await world.put('k', bodyOf(body));
  const asked: unknown[] = [];
  for (const node of world.nodes) node.onGet = (key, range) => asked.push([key.index, range]);
  const range = { start: 3 * BLOCK + 10, end: 3 * BLOCK + 20 };
  assert.deepEqual(await world.get('k', range), body.subarray(range.start, range.end));
  assert.deepEqual(asked, [[3, { start: 10, end: 20 }]]);
  asked.length = 0;
  await world.get('k', { start: 5 * BLOCK - 1, end: 7 * BLOCK });
  assert.deepEqual(asked, [
    [4, { start: BLOCK - 1, end: BLOCK }],
    [5, undefined],
    [6, undefined],
  ]);
});

type Spoiling = 'none' | 'corrupt' | 'missing' | 'unavailable' | 'hang' | 'slow';

const objectShapes = fc.array(fc.integer({ min: 0, max: 3 * BLOCK }), {
  minLength: 1,
  maxLength: 9,
});

test('any object, range and part structure reads back exactly with one bad replica per block', async () => {
  await fc.assert(
    fc.asyncProperty(
      objectShapes,
      fc.boolean(),
      fc.integer({ min: 0, max: 30 * BLOCK }),
      fc.integer({ min: 0, max: 30 * BLOCK }),
      fc.array(fc.constantFrom<Spoiling>('none', 'corrupt', 'missing'), { minLength: 1 }),
      fc.constantFrom<Spoiling>('none', 'unavailable', 'hang', 'slow'),
      async (sizes, single, a, b, spoilings, nodeFault) => {
        const world = await createWorld({ nodes: 5 });
        const body = single
          ? bytesOf(sizes.reduce((sum, size) => sum + size, 0))
          : await putParts(world, 'k', sizes);
        if (single) await world.put('k', bodyOf(body));
        const names = single ? ['k'] : sizes.map((_, index) => `part-${index}`);
        const blocks = names.flatMap((name) => world.blocksOf(name));
        // A node as a whole is the bad one, or else single replicas are: never two of one block.
        if (nodeFault === 'none') {
          for (const [index, { key, nodes }] of blocks.entries()) {
            const spoiling = spoilings[index % spoilings.length];
            if (spoiling === 'corrupt') assert.ok(nodes[index % 3]?.spoil(key));
            if (spoiling === 'missing') assert.ok(nodes[index % 3]?.lose(key));
          }
        } else {
          const node = world.node(a % 5);
          node.fault = nodeFault as 'unavailable' | 'hang' | 'slow';
          node.delayMs = 5000;
        }
        assert.deepEqual(await world.get('k'), body);
        const range = { start: Math.min(a, b), end: Math.max(a, b) };
        assert.deepEqual(await world.get('k', range), body.subarray(range.start, range.end));
        await world.clock.advance(3000);
        assert.equal(world.running.status().memory.readAhead, 0);
      },
    ),
    { numRuns: 60 },
  );
});

for (const [found, repair] of [
  ['corrupt', 'restore'],
  ['missing', 'put'],
] as const) {
  test(`a ${found} replica is replaced in mid-stream, repaired on the spot and reported`, async () => {
    const world = await createWorld();
    const body = bytesOf(3 * BLOCK);
    await world.put('k', bodyOf(body));
    // Whichever replica the read prefers: two of three are bad, so at least one of them is met.
    for (const { key, nodes } of world.blocksOf('k')) {
      for (const node of nodes.slice(0, 2)) {
        if (found === 'corrupt') node.spoil(key);
        else node.lose(key);
      }
    }
    const before = world.nodes.reduce((sum, node) => sum + node.calls[repair], 0);
    assert.deepEqual(await world.get('k'), body);
    await world.clock.advance(500);
    const { repairs } = world.running.status();
    assert.ok(repairs.repaired >= 3, `${repairs.repaired} repaired`);
    assert.equal(repairs.pending, 0);
    const after = world.nodes.reduce((sum, node) => sum + node.calls[repair], 0);
    assert.equal(after - before, repairs.repaired);
    let bad = 0;
    for (const { key, nodes } of world.blocksOf('k')) {
      bad += nodes.filter((node) => !node.sound(key)).length;
    }
    assert.equal(bad, 6 - repairs.repaired);
    assert.ok(world.meta.reports.length > 0);
    assert.ok(world.meta.reports.every(({ reason }) => reason === found));
    assert.equal(world.running.status().running.reads, 0);
    assert.equal(world.running.status().memory.readAhead, 0);
  });
}

test('a bad replica met by a range is repaired with the whole block', async () => {
  const world = await createWorld();
  await world.put('k', bodyOf(bytesOf(BLOCK)));
  const [block] = world.blocksOf('k');
  assert.ok(block);
  for (const node of block.nodes.slice(0, 2)) node.spoil(block.key);
  await world.get('k', { start: 5, end: 9 });
  await world.clock.advance(500);
  const { repaired } = world.running.status().repairs;
  assert.ok(repaired > 0);
  assert.equal(block.nodes.filter((node) => node.sound(block.key)).length, 1 + repaired);
});

test('many readers of bad replicas make one repair of each', async () => {
  const world = await createWorld();
  await world.put('k', bodyOf(bytesOf(BLOCK)));
  const [block] = world.blocksOf('k');
  assert.ok(block);
  for (const node of block.nodes.slice(0, 2)) node.lose(block.key);
  const opened = await openForReading(world, 'k');
  const reads = Array.from({ length: 4 }, () => opened.read()[Symbol.asyncIterator]().next());
  await world.clock.settle(Promise.all(reads));
  await world.clock.advance(500);
  const { reads: met, repairs } = world.running.status();
  assert.ok(met.missingReplicas > 2, `${met.missingReplicas} met`);
  assert.equal(repairs.repaired, 2);
  assert.ok(block.nodes.every((node) => node.sound(block.key)));
});

test('a repair keeps the read epoch that found the fault after the read has ended', async () => {
  const world = await createWorld();
  await world.put('k', bodyOf(bytesOf(BLOCK)));
  const [block] = world.blocksOf('k');
  assert.ok(block);
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  for (const node of block.nodes.slice(0, 2)) {
    node.lose(block.key);
    node.putGate = gate;
  }
  await world.get('k');
  world.meta.readEpoch = 7;
  await world.clock.advance(2000);
  assert.equal(world.meta.writers.get(1)?.oldestRead, 1);
  open();
  await world.clock.advance(2000);
  assert.equal(world.meta.writers.get(1)?.oldestRead, 7);
});

test('reports wait until the metadata service can take them', async () => {
  const world = await createWorld();
  await world.put('k', bodyOf(bytesOf(BLOCK)));
  const opened = await openForReading(world, 'k');
  const [block] = world.blocksOf('k');
  assert.ok(block);
  for (const node of block.nodes.slice(0, 2)) node.lose(block.key);
  world.meta.outage = 'hang';
  const reader = opened.read()[Symbol.asyncIterator]();
  await world.clock.settle(reader.next());
  await world.clock.advance(1000);
  world.meta.outage = undefined;
  await world.clock.advance(20_000);
  assert.ok(world.meta.reports.length > 0);
});

test('read fails with corrupt when no replica is sound and with unavailable when one is silent', async () => {
  const world = await createWorld();
  await world.put('k', bodyOf(bytesOf(2 * BLOCK)));
  for (const { key, nodes } of world.blocksOf('k')) for (const node of nodes) node.spoil(key);
  await assert.rejects(world.get('k'), (error) => isFailure(error, 'corrupt'));
  world.node(1).fault = 'unavailable';
  await assert.rejects(world.get('k'), (error) => isFailure(error, 'unavailable'));
  assert.equal(world.running.status().memory.readAhead, 0);
});

test('a block that is longer or shorter than it should be is not served', async () => {
  const world = await createWorld();
  await world.put('k', bodyOf(bytesOf(BLOCK)));
  const record = world.meta.objects.get('k');
  assert.ok(record?.data.kind === 'blob');
  const data = { ...record.data, size: BLOCK - 1 };
  world.meta.objects.set('k', { ...record, size: BLOCK - 1, data });
  await assert.rejects(world.get('k'), (error) => isFailure(error, 'corrupt'));
  await assert.rejects(world.get('k', { start: 0, end: 5 }), (error) =>
    isFailure(error, 'corrupt'),
  );
});

test('read waits for nodes that are restarting', async () => {
  const world = await createWorld();
  const body = bytesOf(2 * BLOCK);
  await world.put('k', bodyOf(body));
  const opened = await openForReading(world, 'k');
  for (const node of world.nodes) node.fault = 'unavailable';
  const first = opened.read()[Symbol.asyncIterator]().next();
  await world.clock.advance(900);
  for (const node of world.nodes) node.fault = 'none';
  assert.deepEqual((await world.clock.settle(first)).value, body.subarray(0, BLOCK));
});

test('a replica that is silent costs one hedge, and later reads do not begin with it', async () => {
  const world = await createWorld();
  await world.put('k', bodyOf(bytesOf(BLOCK)));
  const [preferred] = world.blocksOf('k')[0]?.nodes ?? [];
  assert.ok(preferred);
  preferred.fault = 'hang';
  const before = world.clock.monotonic();
  await world.get('k');
  const took = world.clock.monotonic() - before;
  assert.ok(took >= 200 && took < 260, `took ${took} ms`);
  await world.get('k');
  assert.ok(world.clock.monotonic() - before - took < 20);
  assert.equal(world.running.status().reads.hedges, 1);
  await world.clock.advance(3000);
  const state = world.running.status().nodes.find(({ id }) => id === preferred.id)?.state;
  assert.notEqual(state, 'up');
});

test("replicas in the gateway's own zone are read first", async () => {
  const world = await createWorld({ settings: { zone: 'z2' } });
  await world.put('k', bodyOf(bytesOf(6 * BLOCK)));
  await world.get('k');
  assert.equal(world.node(2).calls.get, 6);
  assert.equal(world.node(0).calls.get + world.node(1).calls.get, 0);
});

test('a slow consumer holds few blocks, a fast one gets them ahead', async () => {
  const world = await createWorld({ settings: { readAheadBlocks: 4 } });
  await world.put('k', bodyOf(bytesOf(40 * BLOCK)));
  const opened = await openForReading(world, 'k');
  let most = 0;
  let chunks = 0;
  const slow = async () => {
    for await (const _ of opened.read()) {
      chunks++;
      await world.clock.sleep(100);
      if (chunks > 5) most = Math.max(most, world.running.status().memory.readAhead);
    }
  };
  await world.clock.settle(slow());
  assert.equal(chunks, 40);
  assert.ok(most <= BLOCK, `${most} bytes were held ahead`);

  for (const node of world.nodes) {
    node.fault = 'slow';
    node.delayMs = 10;
  }
  most = 0;
  const fast = async () => {
    for await (const _ of opened.read()) {
      most = Math.max(most, world.running.status().memory.readAhead);
    }
  };
  await world.clock.settle(fast());
  assert.equal(most, 4 * BLOCK);
  opened.close();
});

test('reads ahead of all consumers together keep to their budget, and everyone gets on', async () => {
  const world = await createWorld({ settings: { readMemoryBytes: 3 * BLOCK } });
  const body = bytesOf(12 * BLOCK);
  await world.put('k', bodyOf(body));
  let most = 0;
  for (const node of world.nodes)
    node.onGet = () => {
      most = Math.max(most, world.running.status().memory.readAhead);
    };
  const reads = Array.from({ length: 8 }, async () => {
    const answer = await world.running.engine.open({ bucket: 'b', key: 'k' });
    assert.ok(answer.ok);
    const chunks: Buffer[] = [];
    for await (const chunk of answer.value.read()) {
      await world.clock.sleep(1);
      chunks.push(chunk);
    }
    answer.value.close();
    assert.deepEqual(Buffer.concat(chunks), body);
  });
  await world.clock.settle(Promise.all(reads));
  assert.ok(most <= 3 * BLOCK, `${most} bytes`);
  assert.equal(world.running.status().memory.readAhead, 0);
});

test('nothing is fetched ahead without memory for it', async () => {
  const world = await createWorld({ settings: { readMemoryBytes: 3 * BLOCK } });
  await world.put('k', bodyOf(bytesOf(12 * BLOCK)));
  for (let index = 0; index < 8; index++) {
    const opened = await openForReading(world, 'k');
    await world.clock.settle(opened.read()[Symbol.asyncIterator]().next());
  }
  await world.clock.idle();
  const gets = world.nodes.reduce((sum, node) => sum + node.calls.get, 0);
  assert.equal(gets, 8 + 3);
});

test('a consumer that stops early ends the read, even while it waits', async () => {
  const world = await createWorld({ settings: { blockSize: 128 * 1024 } });
  await world.put('k', bodyOf(bytesOf(10 * 128 * 1024)));
  const opened = await openForReading(world, 'k');
  for await (const _ of opened.read()) break;
  assert.equal(world.running.status().memory.readAhead, 0);
  for (const node of world.nodes) node.fault = 'hang';
  const reader = opened.read()[Symbol.asyncIterator]();
  const waiting = reader.next();
  await world.clock.idle();
  await reader.return?.();
  assert.deepEqual(await waiting, { done: true, value: undefined });
  await world.clock.idle();
  const cancelled = world.nodes.reduce((sum, node) => sum + node.cancelled, 0);
  assert.equal(cancelled, 2, 'the fetches of two blocks');
  assert.equal(world.running.status().memory.readAhead, 0);
});

test('a download that was given up fails with cancelled', async () => {
  const world = await createWorld({ settings: { blockSize: 128 * 1024 } });
  await world.put('k', bodyOf(bytesOf(10 * 128 * 1024)));
  const controller = new AbortController();
  const { signal } = controller;
  const answer = await world.clock.settle(
    world.running.engine.open({ bucket: 'b', key: 'k' }, { signal }),
  );
  assert.ok(answer.ok);
  for (const node of world.nodes) node.fault = 'hang';
  const waiting = answer.value.read()[Symbol.asyncIterator]().next();
  controller.abort();
  await assert.rejects(waiting, (error) => isFailure(error, 'cancelled'));
});

test('part finds any part, on any page, and part 1 of an ordinary object', async () => {
  const world = await createWorld();
  await putParts(world, 'k', [100, 200, 0, 300, 400, 500, 600, 700]);
  const opened = await openForReading(world, 'k');
  assert.equal(opened.parts?.length, 3);
  assert.deepEqual(
    [(await opened.part(1))?.size, (await opened.part(15))?.offset, (await opened.part(7))?.size],
    [100, 2100, 300],
  );
  assert.equal(await opened.part(2), undefined);
  const plain = await openForReading(world, 'part-1');
  assert.deepEqual([(await plain.part(1))?.size, await plain.part(2)], [200, undefined]);
});

test('a range far into a multipart object reads the page that holds its start, and no other', async () => {
  const world = await createWorld();
  const body = await putParts(world, 'k', [100, 200, 300, 400, 500, 600, 700, 800, 900]);
  const asked: unknown[] = [];
  world.meta.onReadParts = (query) => asked.push(query.from);
  const range = { start: 3000, end: 3050 };
  assert.deepEqual(await world.get('k', range), body.subarray(3000, 3050));
  assert.deepEqual(asked, [{ offset: 3000 }]);
});

test('a part list that is gone breaks the read', async () => {
  const world = await createWorld();
  await putParts(world, 'k', [100, 200, 300, 400, 500]);
  const opened = await openForReading(world, 'k');
  world.meta.lists.clear();
  let bytes = 0;
  const read = async () => {
    for await (const chunk of opened.read()) bytes += chunk.length;
  };
  await assert.rejects(world.clock.settle(read()), (error) => isFailure(error, 'unavailable'));
  assert.equal(bytes, 600);
});

test('a read in progress finds its blocks at their new nodes after a layout change', async () => {
  const world = await createWorld({ nodes: 6 });
  const ids = world.nodes.map((node) => node.id);
  world.meta.view = viewOf(ids.slice(0, 3), { revision: 2, epoch: 2 });
  await world.clock.advance(1000);
  const body = bytesOf(8 * BLOCK);
  await world.put('k', bodyOf(body));
  const opened = await openForReading(world, 'k');
  const reader = opened.read()[Symbol.asyncIterator]();
  const chunks = [(await world.clock.settle(reader.next())).value];
  await world.clock.idle();
  for (const [index, node] of world.nodes.slice(0, 3).entries()) {
    for (const [name, block] of node.blocks) world.node(index + 3).blocks.set(name, block);
    node.fault = 'unavailable';
  }
  // The blocks that were fetched ahead, and one that is asked for at the old nodes.
  for (let ahead = 0; ahead < 2; ahead++) {
    chunks.push((await world.clock.settle(reader.next())).value);
  }
  const stuck = reader.next();
  await world.clock.advance(100);
  world.meta.view = viewOf(ids.slice(3), { revision: 3, epoch: 3 });
  for (let next = await world.clock.settle(stuck); next.done !== true; ) {
    chunks.push(next.value);
    next = await world.clock.settle(reader.next());
  }
  assert.deepEqual(Buffer.concat(chunks), body);
});
