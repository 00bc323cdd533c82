import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createManualClock } from '../base/testing-clock.ts';
import type { Table } from './environment.ts';
import { createMemoryDisk, createMemoryEnvironment } from './memory-environment.ts';
import { encodeBlockKey } from './protocol.ts';
import { defaultFloorBytes, roomForBlocks } from './space.ts';
import {
  bytesOf,
  contentOf,
  keyOf,
  kind,
  lmdbStore,
  storeOver,
  temporaryFolder,
} from './test-support.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const content = contentOf(bytesOf(100_000, 1));

test('the free-space floor is 1 GiB or 1 %, but at most a tenth of a small disk', () => {
  assert.equal(defaultFloorBytes(64 * MIB), Math.floor(6.4 * MIB));
  assert.equal(defaultFloorBytes(50 * GIB), GIB);
  assert.equal(defaultFloorBytes(1000 * GIB), 10 * GIB);
});

test('room for blocks is what is free above the floor, or can be reused', () => {
  const usage = { blocks: 0, fileBytes: 800 * GIB, reusableBytes: 0, limitBytes: 16 * 1024 * GIB };
  const disk = (freeBytes: number) => ({ capacityBytes: 1000 * GIB, freeBytes });
  const room = (bytes: number, atOnceBytes: number) => ({ bytes, atOnceBytes });
  const growing = roomForBlocks(disk(50 * GIB), usage, 10 * GIB);
  assert.deepEqual(growing, room(40 * GIB, 40 * GIB));
  assert.deepEqual(roomForBlocks(disk(10 * GIB), usage, 10 * GIB), room(0, 0));
  const narrow = { ...usage, limitBytes: 800 * GIB + 100 * MIB };
  const inMap = roomForBlocks(disk(50 * GIB), narrow, 10 * GIB);
  assert.deepEqual(inMap, room(36 * MIB, 36 * MIB));
  // An eighth of the file is not counted, and what is on its way may not use up the disk.
  const scattered = { ...usage, reusableBytes: 100 * GIB };
  assert.deepEqual(roomForBlocks(disk(10 * GIB), scattered, 10 * GIB), room(0, 0));
  const half = { ...usage, reusableBytes: 400 * GIB };
  const reusing = roomForBlocks(disk(10 * GIB), half, 10 * GIB);
  assert.deepEqual(reusing, room(300 * GIB, 5 * GIB));
});

test('on a nearly full disk with room inside the file, blocks wait for each other', async () => {
  const memory = createMemoryEnvironment();
  const usage = () => ({ ...memory.usage(), fileBytes: 60 * MIB, reusableBytes: 50 * MIB });
  let onTheWay = 0;
  let most = 0;
  const blocks: Table = {
    ...memory.blocks,
    async put(key, value) {
      onTheWay += 1;
      most = Math.max(most, onTheWay);
      await memory.blocks.put(key, value);
      onTheWay -= 1;
    },
  };
  const disk = () => ({ capacityBytes: 64 * MIB, freeBytes: MIB });
  const store = storeOver({ ...memory, blocks, usage }, { disk });
  const keys = Array.from({ length: 50 }, (_, index) => encodeBlockKey(keyOf(index)));
  await Promise.all(keys.map((key) => store.put(key, content)));
  assert.equal(most, 3);
  assert.equal(store.stats().blocks, 50);
});

test('a full storage node refuses puts, serves reads and deletes, and recovers', async (context) => {
  const disk = { capacityBytes: 10 * GIB, freeBytes: 5 * GIB };
  const clock = createManualClock();
  const store = lmdbStore(temporaryFolder(context), { clock, disk: () => disk });
  context.after(() => store.close());
  const [first, second, third] = [1, 2, 3].map((index) => encodeBlockKey(keyOf(index)));
  assert.ok(first && second && third);
  await store.put(first, content);
  await store.put(second, content);
  disk.freeBytes = GIB;
  await clock.advance(1000);
  await assert.rejects(store.put(third, content), kind('full'));
  assert.equal(store.stats().full, true);
  assert.equal(store.stats().freeBytes >= GIB, true);
  await store.put(first, content);
  assert.deepEqual((await store.get(first)).bytes, content.bytes);
  await store.delete([first]);
  assert.deepEqual(store.has([first, second]), [false, true]);
  disk.freeBytes = 5 * GIB;
  await store.put(third, content);
  assert.equal(store.stats().full, false);
});

test('a burst of puts cannot pass the floor between two measurements', async () => {
  const environment = createMemoryEnvironment({ disk: createMemoryDisk() });
  const freeAtFirst = 100 * MIB;
  const disk = () => {
    const { fileBytes } = environment.usage();
    return { capacityBytes: GIB, freeBytes: freeAtFirst - fileBytes };
  };
  const floorBytes = 90 * MIB;
  const store = storeOver(environment, { disk, floorBytes });
  const puts = Array.from({ length: 500 }, (_, index) =>
    store.put(encodeBlockKey(keyOf(index)), content),
  );
  const outcomes = await Promise.allSettled(puts);
  const stored = outcomes.filter((outcome) => outcome.status === 'fulfilled').length;
  assert.ok(disk().freeBytes >= floorBytes, `${disk().freeBytes} bytes are left`);
  assert.ok(stored >= 70 && stored <= 104, `${stored} were stored`);
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') assert.ok(kind('full')(outcome.reason));
  }
});

test('deleted blocks make room again without the file shrinking', async (context) => {
  const store = lmdbStore(temporaryFolder(context));
  context.after(() => store.close());
  const keys = Array.from({ length: 100 }, (_, index) => encodeBlockKey(keyOf(index)));
  for (const key of keys) await store.put(key, content);
  const before = store.stats();
  await store.delete(keys);
  const after = store.stats();
  assert.ok(after.fileBytes >= before.fileBytes);
  assert.ok(after.freeBytes - before.freeBytes >= 90 * content.bytes.length);
});
