import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../base/failure.ts';
import { HASH_OF_NOTHING } from '../base/checksum.ts';
import type { RpcRequest } from '../base/rpc/rpc.ts';
import { encodeBlockKey } from './protocol.ts';
import { createStorageNodeHandler } from './server.ts';
import { keyOf, memoryStore } from './test-support.ts';
import {
  decodeEntries,
  decodeFlags,
  decodeFound,
  decodeGet,
  decodeHealth,
  decodeKeys,
  decodeList,
  decodeStats,
  decodeVerified,
  decodeVerify,
  encodeEntries,
  encodeFlags,
  encodeFound,
  encodeGet,
  encodeKeys,
  encodeList,
  encodeVerified,
  encodeVerify,
} from './wire.ts';

const key = fc
  .record({ group: fc.nat(0xffff), index: fc.nat(0xffffffff), sequence: fc.nat() })
  .map(({ group, index, sequence }) => ({ ...keyOf(sequence, group), index }));
const u32 = fc.nat(0xffffffff);
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

test('what a storage node and its client say to each other survives the journey', () => {
  fc.assert(
    fc.property(
      fc.array(key),
      key,
      u32,
      u32,
      u64,
      fc.array(fc.boolean()),
      (keys, one, a, b, c, f) => {
        assert.deepEqual(decodeKeys(encodeKeys(keys)), keys.map(encodeBlockKey));
        const encoded = encodeBlockKey(one);
        assert.deepEqual(decodeGet(encodeGet(one, undefined)), { key: encoded, range: undefined });
        const range = { start: a, end: b };
        assert.deepEqual(decodeGet(encodeGet(one, range)), { key: encoded, range });
        assert.deepEqual(decodeFound(encodeFound(a, c)), { length: a, checksum: c });
        assert.deepEqual(decodeFlags(encodeFlags(f), f.length), f);
        const limit = 1 + (a % 1000);
        const list = { group: one.group, limit };
        assert.deepEqual(decodeList(encodeList(one.group, limit, one)), {
          ...list,
          after: encoded,
        });
        const first = decodeList(encodeList(one.group, limit, undefined));
        assert.deepEqual(first, { ...list, after: undefined });
        const query = { group: one.group, bytesMax: 1 + (a % 1000) };
        for (const after of [one, undefined]) {
          assert.deepEqual(decodeVerify(encodeVerify(query.group, query.bytesMax, after)), {
            ...query,
            after: after === undefined ? undefined : encoded,
          });
          const page = { blocks: a, bytes: b, corrupt: keys, next: after };
          const sent = encodeVerified({
            ...page,
            corrupt: keys.map(encodeBlockKey),
            next: after === undefined ? undefined : encoded,
          });
          const payload = Buffer.from(sent.payload ?? []);
          assert.deepEqual(decodeVerified({ meta: sent.meta, payload }), page);
        }
        const entries = encodeEntries([{ key: encoded, length: b, checksum: c }]);
        assert.deepEqual(decodeEntries(entries), [{ key: one, length: b, checksum: c }]);
      },
    ),
  );
});

test('a malformed request is refused as invalid, whatever the method', async () => {
  const store = memoryStore();
  const handler = createStorageNodeHandler(store, () => {
    throw new Error('nobody asked for the health');
  });
  const meta = fc.oneof(
    fc.constantFrom(undefined, null, 7, 'text', [], {}, 7n),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  );
  const payload = fc.option(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    { nil: undefined },
  );
  const handled = new Set(['not-found', 'invalid']);
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.nat(6), fc.constant(9)),
      meta,
      payload,
      async (method, metaValue, bytes) => {
        const request: RpcRequest = {
          method,
          meta: metaValue,
          payload: bytes,
          payloadHash: HASH_OF_NOTHING,
          signal: new AbortController().signal,
        };
        try {
          await handler(request);
        } catch (error) {
          assert.ok(error instanceof Failure && handled.has(error.kind), String(error));
        }
      },
    ),
    { numRuns: 2000 },
  );
  await store.close();
});

test('a malformed answer is refused as invalid', () => {
  const answers: [string, () => unknown][] = [
    ['found', () => decodeFound(Buffer.alloc(11))],
    ['found', () => decodeFound('text')],
    ['flags', () => decodeFlags(Buffer.alloc(2), 3)],
    ['entries', () => decodeEntries(Buffer.alloc(35))],
    ['stats', () => decodeStats(undefined)],
    ['stats', () => decodeStats({ blocks: '5' })],
    ['health', () => decodeHealth({ id: 5 })],
    ['too many keys', () => encodeKeys(Array.from({ length: 1001 }, (_, index) => keyOf(index)))],
    ['range', () => encodeGet(keyOf(1), { start: 0.5, end: 1 })],
    ['list', () => encodeList(70_000, 1, undefined)],
    ['verify', () => encodeVerify(1, 2 ** 30, undefined)],
    ['verified', () => decodeVerified({ meta: Buffer.alloc(9) })],
  ];
  for (const [what, decode] of answers) {
    assert.throws(decode, (error) => error instanceof Failure && error.kind === 'invalid', what);
  }
});
