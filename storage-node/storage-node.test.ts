/** One suite for everything that claims to be a storage node. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { HASH_OF_NOTHING, hashBytes } from '../base/checksum.ts';
import { systemClock, systemEffects } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { createRpcChannel } from '../base/rpc/client.ts';
import { createRpcServer } from '../base/rpc/server.ts';
import { INLINE_BYTES_MAX } from './block-format.ts';
import { createStorageNodeClient, STORAGE_NODE_RPC_LIMITS } from './client.ts';
import {
  BLOCK_BYTES_MAX,
  type BlockKey,
  checksumOf,
  type StorageNode,
  VERIFY_BYTES_MAX,
} from './protocol.ts';
import { createStorageNodeHandler } from './server.ts';
import { createStorageNode, healthOf } from './service.ts';
import type { BlockStore } from './store.ts';
import {
  bytesOf,
  contentOf,
  keyOf,
  kind,
  lmdbStore,
  memoryStore,
  temporaryFolder,
} from './test-support.ts';

const SECRET = 'a secret of the tests, long enough';

function serviceOver(store: BlockStore) {
  return {
    store,
    clock: systemClock,
    identity: () => ({ id: 'node-1', clusterId: 'cluster-1' }),
  };
}

function inProcess(context: TestContext, store: BlockStore): StorageNode {
  context.after(() => store.close());
  return createStorageNode(serviceOver(store));
}

async function overTheWire(context: TestContext, store: BlockStore): Promise<StorageNode> {
  const common = { secret: SECRET, limits: STORAGE_NODE_RPC_LIMITS, log: silentLog };
  const handler = createStorageNodeHandler(store, healthOf(serviceOver(store)));
  const server = createRpcServer({ ...common, handler, effects: systemEffects });
  const address = await server.listen('127.0.0.1:0');
  const channel = createRpcChannel({ ...common, address, effects: systemEffects });
  context.after(async () => {
    await channel.close();
    await server.close({ graceMs: 1000 });
    await store.close();
  });
  return createStorageNodeClient(channel);
}

const implementations: Record<
  string,
  (context: TestContext) => StorageNode | Promise<StorageNode>
> = {
  'over LMDB in process': (context) => inProcess(context, lmdbStore(temporaryFolder(context))),
  'over memory in process': (context) => inProcess(context, memoryStore()),
  'over LMDB and the wire': (context) => overTheWire(context, lmdbStore(temporaryFolder(context))),
};

const LENGTHS = [1, 4096, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 1024 * 1024, BLOCK_BYTES_MAX];

for (const [name, open] of Object.entries(implementations)) {
  describe(`a storage node ${name}`, () => {
    test('returns what was put, with a checksum over key and content', async (context) => {
      const node = await open(context);
      for (const [index, length] of LENGTHS.entries()) {
        const key = keyOf(index);
        const content = contentOf(bytesOf(length, index));
        await node.put(key, content);
        const found = await node.get(key);
        assert.deepEqual(found.bytes, content.bytes);
        assert.equal(found.hash, content.hash);
        assert.equal(found.length, length);
        assert.equal(found.checksum, checksumOf(key, content.hash));
        assert.notEqual(found.checksum, checksumOf(keyOf(index + 1), content.hash));
      }
    });

    test('cuts ranges, and only those inside the block', async (context) => {
      const node = await open(context);
      for (const length of [1000, INLINE_BYTES_MAX * 2]) {
        const key = keyOf(length);
        const bytes = bytesOf(length, 1);
        await node.put(key, contentOf(bytes));
        const part = await node.get(key, { start: 10, end: 20 });
        assert.deepEqual(part.bytes, bytes.subarray(10, 20));
        assert.equal(part.hash, hashBytes(bytes.subarray(10, 20)));
        assert.equal(part.length, length);
        const tail = await node.get(key, { start: length - 5, end: length + 100 });
        assert.deepEqual(tail.bytes, bytes.subarray(length - 5));
        const wrong = [
          { start: length, end: length + 1 },
          { start: 5, end: 5 },
          { start: -1, end: 5 },
          { start: 0.5, end: 5 },
        ];
        for (const range of wrong) await assert.rejects(node.get(key, range), kind('invalid'));
      }
    });

    test('takes the same block again and refuses another under the same key', async (context) => {
      const node = await open(context);
      const key = keyOf(1);
      const content = contentOf(bytesOf(5000, 1));
      const other = contentOf(bytesOf(5000, 2));
      await Promise.all([node.put(key, content), node.put(key, content)]);
      await node.put(key, content);
      await assert.rejects(node.put(key, other), kind('conflict'));
      await assert.rejects(node.restore(key, other), kind('conflict'));
      await node.restore(key, content);
      assert.deepEqual((await node.get(key)).bytes, content.bytes);
      assert.equal((await node.stats()).blocks, 1);
    });

    test('lets one of two different blocks under one key win, whole', async (context) => {
      const node = await open(context);
      const key = keyOf(1);
      const contents = [1, 2].map((seed) => contentOf(bytesOf(40_000, seed)));
      const outcomes = await Promise.allSettled(contents.map((one) => node.put(key, one)));
      assert.deepEqual(outcomes.map((outcome) => outcome.status).sort(), ['fulfilled', 'rejected']);
      const winner = contents[outcomes.findIndex((outcome) => outcome.status === 'fulfilled')];
      assert.deepEqual((await node.get(key)).bytes, winner?.bytes);
    });

    test('refuses content that is empty, too long, or not what its hash says', async (context) => {
      const node = await open(context);
      const key = keyOf(1);
      const long = Buffer.alloc(BLOCK_BYTES_MAX + 1);
      await assert.rejects(node.put(key, contentOf(long)), kind('invalid'));
      const empty = { bytes: Buffer.alloc(0), hash: HASH_OF_NOTHING };
      await assert.rejects(node.put(key, empty), kind('invalid'));
      const bytes = bytesOf(100, 1);
      const lying = { bytes, hash: hashBytes(bytes) + 1n };
      await assert.rejects(node.put(key, lying), kind('corrupt'));
      await assert.rejects(node.get(key), kind('not-found'));
    });

    test('says which blocks it has', async (context) => {
      const node = await open(context);
      await node.put(keyOf(1), contentOf(bytesOf(10, 1)));
      await node.put(keyOf(3), contentOf(bytesOf(100_000, 3)));
      assert.deepEqual(await node.has([keyOf(3), keyOf(2), keyOf(1)]), [true, false, true]);
      assert.deepEqual(await node.has([]), []);
      const many = Array.from({ length: 1001 }, (_, index) => keyOf(index));
      await assert.rejects(node.has(many), kind('invalid'));
    });

    test('deletes what is there and does not mind what is not', async (context) => {
      const node = await open(context);
      const keys = [1, 2, 3].map((index) => keyOf(index));
      for (const key of keys) await node.put(key, contentOf(bytesOf(20_000, key.index)));
      await node.delete([keyOf(1), keyOf(9), keyOf(3)]);
      assert.deepEqual(await node.has(keys), [false, true, false]);
      await assert.rejects(node.get(keyOf(1)), kind('not-found'));
      await node.delete([]);
      assert.equal((await node.stats()).blocks, 1);
    });

    test('keeps the order of a delete and a put that follows it at once', async (context) => {
      const node = await open(context);
      const key = keyOf(1);
      const content = contentOf(bytesOf(30_000, 1));
      await node.put(key, content);
      await Promise.all([node.delete([key]), node.put(key, content)]);
      assert.deepEqual((await node.get(key)).bytes, content.bytes);
      await Promise.all([node.delete([key]), node.put(key, contentOf(bytesOf(50, 2)))]);
      assert.deepEqual((await node.get(key)).bytes, bytesOf(50, 2));
    });

    test('lists one placement group in key order, page by page', async (context) => {
      const node = await open(context);
      const groups = [0, 7, 8, 0xffff];
      const puts = groups.flatMap((group) =>
        [5, 1, 3, 2, 4].map((index) =>
          node.put(keyOf(index, group), contentOf(bytesOf(index * 7000, index))),
        ),
      );
      await Promise.all(puts);
      for (const group of groups) {
        const first = await node.list({ group, limit: 2 });
        const rest = await node.list({ group, after: first.at(-1)?.key, limit: 1000 });
        const all = [...first, ...rest];
        assert.deepEqual(
          all.map(({ key, length }) => ({ key, length })),
          [1, 2, 3, 4, 5].map((index) => ({ key: keyOf(index, group), length: index * 7000 })),
        );
        for (const { key, checksum } of all) {
          assert.equal(checksum, (await node.get(key)).checksum);
        }
      }
      assert.deepEqual(await node.list({ group: 9, limit: 10 }), []);
      await assert.rejects(node.list({ group: 7, limit: 0 }), kind('invalid'));
      await assert.rejects(node.list({ group: 7, limit: 1001 }), kind('invalid'));
      const foreign = { group: 7, after: keyOf(1, 8), limit: 10 };
      await assert.rejects(node.list(foreign), kind('invalid'));
    });

    test('verifies one placement group, page by page, and counts what it reads', async (context) => {
      const node = await open(context);
      const lengths = [1, 4096, INLINE_BYTES_MAX + 1, 100_000, 7, 100_000, 5000, 9, 100_000];
      for (const [index, length] of lengths.entries()) {
        await node.put(keyOf(index, 12), contentOf(bytesOf(length, index)));
      }
      await node.put(keyOf(99, 13), contentOf(bytesOf(10, 1)));
      const read = { blocks: 0, bytes: 0 };
      let after: BlockKey | undefined;
      let pages = 0;
      do {
        const page = await node.verify({ group: 12, after, bytesMax: 50_000 });
        assert.deepEqual(page.corrupt, []);
        read.blocks += page.blocks;
        read.bytes += page.bytes;
        after = page.next;
        pages += 1;
      } while (after !== undefined);
      const bytes = lengths.reduce((sum, length) => sum + length, 0);
      assert.deepEqual(read, { blocks: lengths.length, bytes });
      assert.ok(pages > 1, String(pages));
      assert.equal((await node.verify({ group: 14, bytesMax: 1 })).blocks, 0);
      for (const bytesMax of [0, VERIFY_BYTES_MAX + 1]) {
        await assert.rejects(node.verify({ group: 12, bytesMax }), kind('invalid'));
      }
      const wrong = node.verify({ group: 12, after: keyOf(1, 13), bytesMax: 1 });
      await assert.rejects(wrong, kind('invalid'));
    });

    test('tells its health', async (context) => {
      const node = await open(context);
      await node.put(keyOf(1), contentOf(bytesOf(100_000, 1)));
      const health = await node.health();
      assert.equal(health.id, 'node-1');
      assert.equal(health.clusterId, 'cluster-1');
      assert.ok(health.uptimeMs >= 0);
      assert.deepEqual(health.stats, await node.stats());
      assert.equal(health.stats.blocks, 1);
      assert.equal(health.stats.full, false);
      assert.ok(health.stats.fileBytes >= 100_000);
    });

    test('stops waiting when the caller gives up', async (context) => {
      const node = await open(context);
      const aborted = AbortSignal.abort();
      await assert.rejects(node.get(keyOf(1), undefined, { signal: aborted }), kind('cancelled'));
      const controller = new AbortController();
      const put = node.put(keyOf(1), contentOf(bytesOf(10, 1)), { signal: controller.signal });
      controller.abort();
      await assert.rejects(put, kind('cancelled'));
    });
  });
}
