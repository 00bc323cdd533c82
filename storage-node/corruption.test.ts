/** Damaged bytes are noticed, never served, and can be repaired. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { BLOCK_HEADER_BYTES, INLINE_BYTES_MAX } from './block-format.ts';
import { openEnvironment } from './block-store.ts';
import { checkEnvironment } from './check.ts';
import type { Environment } from './environment.ts';
import { encodeBlockKey } from './protocol.ts';
import {
  bytesOf,
  contentOf,
  keyOf,
  kind,
  lmdbStore,
  MAP_SIZE_BYTES,
  temporaryFolder,
} from './test-support.ts';

const key = encodeBlockKey(keyOf(1));
const other = encodeBlockKey(keyOf(2));
const LENGTHS = [5000, INLINE_BYTES_MAX + 1000];

/** A store with two blocks of the same length, closed, for `damage` to be done to. */
async function damaged(
  context: TestContext,
  length: number,
  damage: (environment: Environment) => Promise<unknown>,
) {
  const folder = temporaryFolder(context);
  const before = lmdbStore(folder);
  await before.put(key, contentOf(bytesOf(length, 1)));
  await before.put(other, contentOf(bytesOf(length, 2)));
  await before.close();
  const environment = openEnvironment({ folder, mapSizeBytes: MAP_SIZE_BYTES });
  await damage(environment);
  await environment.close();
  const store = lmdbStore(folder);
  context.after(() => store.close());
  return { folder, store };
}

/** Flips one bit of the row that holds the content. */
async function flip(environment: Environment, length: number, at: number): Promise<void> {
  const table = length > INLINE_BYTES_MAX ? environment.contents : environment.blocks;
  const row = Buffer.from(table.read(key) ?? []);
  const byte = at < 0 ? row.length + at : at;
  row[byte] = (row[byte] ?? 0) ^ 0x10;
  await table.put(key, row);
}

for (const length of LENGTHS) {
  test(`a flipped bit in a block of ${length} bytes is corrupt until it is restored`, async (context) => {
    const { store } = await damaged(context, length, (one) => flip(one, length, -7));
    await assert.rejects(store.get(key), kind('corrupt'));
    await assert.rejects(store.get(key, { start: 0, end: 1 }), kind('corrupt'));
    const page = await store.verify({ group: 7, bytesMax: 1_000_000 });
    assert.deepEqual(page, { blocks: 2, bytes: 2 * length, corrupt: [key], next: undefined });
    const right = contentOf(bytesOf(length, 1));
    await store.restore(key, right);
    assert.deepEqual((await store.get(key)).bytes, right.bytes);
    await assert.rejects(store.restore(key, contentOf(bytesOf(length, 3))), kind('conflict'));
  });

  test(`two swapped blocks of ${length} bytes are corrupt: the key is covered`, async (context) => {
    const { store } = await damaged(context, length, async ({ blocks, contents }) => {
      for (const table of [blocks, contents]) {
        const [mine, yours] = [key, other].map((one) => table.read(one)?.toString('latin1'));
        if (mine === undefined || yours === undefined) continue;
        await table.put(key, Buffer.from(yours, 'latin1'));
        await table.put(other, Buffer.from(mine, 'latin1'));
      }
    });
    await assert.rejects(store.get(key), kind('corrupt'));
    await assert.rejects(store.get(other), kind('corrupt'));
  });

  test(`a record of ${length} bytes is corrupt whichever bit of its header is wrong`, async (context) => {
    for (let at = 0; at < BLOCK_HEADER_BYTES; at++) {
      // The reserved bytes say nothing yet.
      if (at >= 28 && at < 32) continue;
      const { store } = await damaged(context, length, async ({ blocks }) => {
        const row = Buffer.from(blocks.read(key) ?? []);
        row[at] = (row[at] ?? 0) ^ 0x01;
        await blocks.put(key, row);
      });
      await assert.rejects(store.get(key), kind('corrupt'), `byte ${at}`);
      const page = await store.verify({ group: 7, bytesMax: 1_000_000 });
      assert.deepEqual(page.corrupt, [key], `byte ${at}`);
      await store.restore(key, contentOf(bytesOf(length, 1)));
      assert.deepEqual((await store.get(key)).bytes, bytesOf(length, 1), `byte ${at}`);
      await store.close();
    }
  });
}

test('swapped content alone is corrupt, too', async (context) => {
  const length = INLINE_BYTES_MAX + 1;
  const { store } = await damaged(context, length, async ({ contents }) => {
    await contents.put(key, Buffer.from(contents.read(other) ?? []));
  });
  await assert.rejects(store.get(key), kind('corrupt'));
  assert.deepEqual((await store.get(other)).bytes, bytesOf(length, 2));
});

test('content that is gone is corrupt, and restoring it with an inline block leaves nothing behind', async (context) => {
  const length = INLINE_BYTES_MAX + 1;
  const gone = await damaged(context, length, ({ contents }) => contents.remove(key));
  await assert.rejects(gone.store.get(key), kind('corrupt'));
  await gone.store.restore(key, contentOf(bytesOf(length, 1)));
  assert.deepEqual((await gone.store.get(key)).bytes, bytesOf(length, 1));

  const torn = await damaged(context, length, (one) => flip(one, length, 0));
  await torn.store.restore(key, contentOf(bytesOf(10, 9)));
  await torn.store.close();
  const environment = openEnvironment({ folder: torn.folder, mapSizeBytes: MAP_SIZE_BYTES });
  assert.equal(environment.contents.read(key), undefined);
  assert.equal(checkEnvironment(environment, Number.POSITIVE_INFINITY, () => {}).corrupt, 0);
  await environment.close();
});

test('a put replaces a record that cannot be right', async (context) => {
  const { store } = await damaged(context, 5000, async ({ blocks }) => {
    await blocks.put(key, Buffer.from('rubbish'));
  });
  await assert.rejects(store.get(key), kind('corrupt'));
  const [listed] = await store.list({ group: 7, limit: 1 });
  assert.deepEqual(listed, { key, length: 0, checksum: 0n });
  await store.put(key, contentOf(bytesOf(60, 5)));
  assert.deepEqual((await store.get(key)).bytes, bytesOf(60, 5));
});

test('the check finds corrupt blocks and content without a record', async (context) => {
  const length = INLINE_BYTES_MAX + 1;
  const { store, folder } = await damaged(context, length, async (environment) => {
    await flip(environment, length, 3);
    await environment.contents.put(encodeBlockKey(keyOf(0)), Buffer.alloc(9));
    await environment.contents.put(encodeBlockKey(keyOf(99)), Buffer.alloc(9));
  });
  await store.close();
  const environment = openEnvironment({ folder, mapSizeBytes: MAP_SIZE_BYTES });
  const report = checkEnvironment(environment, 2 ** 20, () => {});
  await environment.close();
  const examples = [`group 7, blob ${keyOf(1).blob}, block 0`];
  assert.deepEqual(report, { blocks: 2, verified: 2, corrupt: 1, stray: 2, examples });
});

test('the check verifies the newest blocks first, up to its limit', async (context) => {
  const folder = temporaryFolder(context);
  const store = lmdbStore(folder);
  for (let index = 0; index < 10; index++) {
    // Groups in the opposite order of age.
    await store.put(encodeBlockKey(keyOf(index, 10 - index)), contentOf(bytesOf(1000, index)));
  }
  await store.close();
  const environment = openEnvironment({ folder, mapSizeBytes: MAP_SIZE_BYTES });
  const oldest = encodeBlockKey(keyOf(0, 10));
  const newest = encodeBlockKey(keyOf(9, 1));
  await environment.blocks.put(oldest, Buffer.alloc(50));
  assert.equal(checkEnvironment(environment, 5000, () => {}).corrupt, 0);
  assert.equal(checkEnvironment(environment, 5000, () => {}).verified, 5);
  await environment.blocks.put(newest, Buffer.alloc(50));
  assert.equal(checkEnvironment(environment, 5000, () => {}).corrupt, 1);
  await environment.close();
});
