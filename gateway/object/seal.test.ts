import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { inspect } from 'node:util';
import { test } from 'node:test';
import fc from 'fast-check';
import { isFailure } from '../../base/failure.ts';
import { hashBytes } from '../../base/checksum.ts';
import { makeBlobId } from '../../base/ids.ts';
import { contentPerBlock, SEAL_BYTES, sealedSize } from '../../base/sealed-size.ts';
import type { ObjectRecord } from '../../meta/protocol.ts';
import { type BlockKey, checksumOf } from '../../storage-node/protocol.ts';
import { BlobSeal } from './seal.ts';
import type { MapNode } from './testing/map-node.ts';
import {
  bodyOf,
  bytesOf,
  createWorld,
  TEST_BLOCK_SIZE as BLOCK,
  type World,
} from './testing/world.ts';

const KEY = createSecretKey(bytesOf(32, 1));
const OTHER = createSecretKey(bytesOf(32, 2));
const CONTENT = contentPerBlock(BLOCK);

/** The body belongs to the engine, so it gets a copy. */
const putSealed = (world: World, key: string, body: Buffer, dataKey = KEY) =>
  world.put(key, bodyOf(Buffer.from(body)), { dataKey, sizeHint: body.length });

/** Puts a block where another one is, with the checksum that it has there: what an attacker would do. */
function plant(node: MapNode | undefined, key: BlockKey, bytes: Buffer): void {
  for (const stored of node?.blocks.values() ?? []) {
    if (stored.key.blob !== key.blob || stored.key.index !== key.index) continue;
    stored.bytes = Buffer.from(bytes);
    stored.checksum = checksumOf(key, hashBytes(bytes));
    return;
  }
  assert.fail('the node does not hold that block');
}

function bytesAt(node: MapNode | undefined, key: BlockKey): Buffer {
  for (const { key: at, bytes } of node?.blocks.values() ?? []) {
    if (at.blob === key.blob && at.index === key.index) return bytes;
  }
  assert.fail('the node does not hold that block');
}

test('a sealed block opens to what was sealed, at every size', () => {
  const seal = new BlobSeal(KEY, makeBlobId(1, 2));
  fc.assert(
    fc.property(
      fc.oneof(fc.integer({ min: 0, max: 70_000 }), fc.integer({ min: 130_000, max: 600_000 })),
      fc.nat({ max: 2 ** 32 - 1 }),
      (size, index) => {
        const content = bytesOf(size);
        const sealed = seal.seal(index, content);
        assert.equal(sealed.length, size + SEAL_BYTES);
        assert.deepEqual(content, bytesOf(size), 'the content itself is left as it was');
        assert.deepEqual(seal.open(index, sealed), content);
      },
    ),
    { numRuns: 40 },
  );
});

test('a block that was changed, cut, moved or is of another key or blob does not open', () => {
  const seal = new BlobSeal(KEY, makeBlobId(1, 2));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(), fc.nat({ max: 7 }), (size, at, bit) => {
      const sealed = Buffer.from(seal.seal(3, bytesOf(size)));
      const flipped = Buffer.from(sealed);
      flipped[at % sealed.length] = (flipped[at % sealed.length] ?? 0) ^ (1 << bit);
      assert.equal(seal.open(3, flipped), undefined);
      assert.equal(seal.open(4, sealed), undefined);
      assert.equal(seal.open(3, sealed.subarray(0, at % sealed.length)), undefined);
      assert.equal(seal.open(3, Buffer.concat([sealed, Buffer.alloc(1)])), undefined);
      assert.equal(new BlobSeal(KEY, makeBlobId(1, 3)).open(3, sealed), undefined);
      assert.equal(new BlobSeal(OTHER, makeBlobId(1, 2)).open(3, sealed), undefined);
      assert.ok(seal.open(3, sealed));
    }),
  );
});

test('a key is shown by nothing that prints it', () => {
  const hex = KEY.export().toString('hex');
  const seal = new BlobSeal(KEY, makeBlobId(1, 2));
  for (const shown of [inspect(KEY), JSON.stringify({ KEY }), inspect(seal, { depth: 9 })]) {
    assert.ok(!shown.includes(hex) && !shown.includes(KEY.export().toString('base64')));
  }
});

test('an encrypted object is stored as blocks of the usual size, none of which shows its content', async () => {
  const world = await createWorld();
  const body = Buffer.alloc(3 * BLOCK, 'secret');
  await putSealed(world, 'k', body);
  const record = world.meta.objects.get('k');
  assert.equal(record?.size, body.length);
  assert.ok(record?.data.kind === 'blob');
  assert.equal(record.data.size, sealedSize(body.length, BLOCK));
  const blocks = [...(world.nodes[0]?.blocks.values() ?? [])];
  assert.deepEqual(
    blocks.map(({ bytes }) => bytes.length),
    [BLOCK, BLOCK, BLOCK, 4 * SEAL_BYTES],
  );
  assert.ok(blocks.every(({ bytes }) => !bytes.includes('secret')));
});

async function putParts(world: World, sizes: readonly number[]): Promise<Buffer> {
  const bodies = sizes.map((size, index) => bytesOf(size, index + 1));
  const records: ObjectRecord[] = [];
  for (const [index, body] of bodies.entries()) {
    await putSealed(world, `part-${index}`, body);
    const record = world.meta.objects.get(`part-${index}`);
    assert.ok(record);
    records.push(record);
  }
  world.meta.join('k', records);
  return Buffer.concat(bodies);
}

const aroundBlocks = fc
  .tuple(fc.nat({ max: 4 }), fc.integer({ min: -2, max: 2 }))
  .map(([blocks, delta]) => Math.max(0, blocks * CONTENT + delta));
const sizes = fc.oneof(aroundBlocks, fc.nat({ max: 5 * CONTENT }));

test('any encrypted object, part structure and range reads back exactly, with a bad replica per block', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(sizes, { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      fc.nat({ max: 20 * CONTENT }),
      fc.oneof(fc.nat({ max: 20 * CONTENT }), fc.nat({ max: 3 })),
      fc.constantFrom('none', 'corrupt', 'missing', 'planted'),
      async (lengths, single, start, length, fault) => {
        const world = await createWorld();
        const total = lengths.reduce((sum, size) => sum + size, 0);
        const body = single ? bytesOf(total) : await putParts(world, lengths);
        if (single) await putSealed(world, 'k', body);
        const names = single ? ['k'] : lengths.map((_, index) => `part-${index}`);
        for (const { key, nodes } of names.flatMap((name) => world.blocksOf(name))) {
          const node = nodes[key.index % 3];
          if (fault === 'corrupt') assert.ok(node?.spoil(key));
          if (fault === 'missing') assert.ok(node?.lose(key));
          if (fault === 'planted') plant(node, key, bytesOf(bytesAt(node, key).length, 99));
        }
        const key = total === 0 ? undefined : KEY;
        const unlock = world.meta.objects.get('k')?.encryption === undefined ? undefined : KEY;
        assert.deepEqual(await world.get('k', undefined, unlock ?? key), body);
        const range = { start, end: start + length };
        const part = body.subarray(range.start, range.end);
        assert.deepEqual(await world.get('k', range, unlock ?? key), part);
        await world.clock.advance(3000);
        assert.equal(world.running.status().memory.readAhead, 0);
      },
    ),
    { numRuns: 60 },
  );
});

test('a range of an encrypted object reads only the blocks that hold it', async () => {
  const world = await createWorld();
  const body = bytesOf(10 * CONTENT);
  await putSealed(world, 'k', body);
  const asked: unknown[] = [];
  for (const node of world.nodes) node.onGet = (key, range) => asked.push([key.index, range]);
  const range = { start: 3 * CONTENT + 10, end: 3 * CONTENT + 20 };
  assert.deepEqual(await world.get('k', range, KEY), body.subarray(range.start, range.end));
  assert.deepEqual(asked, [[3, undefined]]);
});

test('blocks that were swapped on all nodes, checksums and all, are an error and never bytes', async () => {
  const world = await createWorld();
  const [a, b] = [bytesOf(2 * CONTENT, 1), bytesOf(2 * CONTENT, 2)];
  await putSealed(world, 'a', a);
  await putSealed(world, 'b', b);
  const ofA = world.blocksOf('a');
  const ofB = world.blocksOf('b');
  const [a0, a1] = ofA;
  const [b0] = ofB;
  assert.ok(a0 && a1 && b0);
  const original = bytesAt(a0.nodes[0], a0.key);
  const attacks: [string, Buffer][] = [
    ['another object of the same key', bytesAt(b0.nodes[0], b0.key)],
    ['another place of the same object', bytesAt(a1.nodes[0], a1.key)],
    ['zeros', Buffer.alloc(original.length)],
    ['the content without a seal', a.subarray(0, BLOCK)],
  ];
  for (const [what, bytes] of attacks) {
    for (const node of a0.nodes) plant(node, a0.key, bytes);
    await assert.rejects(
      world.get('a', undefined, KEY),
      (error) => isFailure(error, 'corrupt'),
      what,
    );
  }
  for (const node of a0.nodes) plant(node, a0.key, original);
  assert.deepEqual(await world.get('a', undefined, KEY), a);
  const cut = original.subarray(0, original.length - 1);
  for (const node of a0.nodes) plant(node, a0.key, cut);
  await assert.rejects(world.get('a', undefined, KEY), (error) => isFailure(error, 'corrupt'));
});

test('an encrypted object is not read without its data key, nor with another one', async () => {
  const world = await createWorld();
  await putSealed(world, 'k', bytesOf(10));
  await world.put('plain', bodyOf(bytesOf(10)));
  await assert.rejects(world.get('k'), (error) => isFailure(error, 'internal'));
  await assert.rejects(world.get('k', undefined, OTHER), (error) => isFailure(error, 'corrupt'));
  await assert.rejects(world.get('plain', undefined, KEY), (error) => isFailure(error, 'internal'));
});
