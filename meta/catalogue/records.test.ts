import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { makeBlobId } from '../../base/ids.ts';
import { CHECKSUM_ALGORITHMS } from '../../base/object-checksum.ts';
import type { ObjectRecord } from '../protocol.ts';
import type { Codec } from './codec.ts';
import { garbageCodec, repairCodec } from './queue-records.ts';
import {
  blobCodec,
  bucketCodec,
  completedCodec,
  objectCodec,
  partCodec,
  partListCodec,
  partPageCodec,
  settingCodec,
  uploadCodec,
} from './records.ts';

const hexOf = (bytes: number) =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map((raw) => Buffer.from(raw).toString('hex'));
const size = fc.integer({ min: 1, max: 5 * 1024 ** 4 });
const time = fc.integer({ min: 0, max: 2 ** 48 });
const name = fc.string({ unit: 'grapheme', maxLength: 20 });

const user = fc
  .array(fc.tuple(fc.oneof(name, fc.constant('__proto__')), name), { maxLength: 4 })
  .map((pairs) => Object.fromEntries(pairs));
const system = fc.record(
  { contentType: name, cacheControl: name, expires: name, storageClass: name },
  { requiredKeys: [], noNullPrototype: true },
);
const checksum = fc.record(
  {
    algorithm: fc.constantFrom(...CHECKSUM_ALGORITHMS),
    type: fc.constantFrom('COMPOSITE' as const, 'FULL_OBJECT' as const),
    value: fc.base64String({ minLength: 4, maxLength: 44 }),
  },
  { noNullPrototype: true },
);
const etag = fc.oneof(
  hexOf(16),
  hexOf(16).map((hex) => `${hex}-12`),
  name,
);
const owner = fc.oneof(hexOf(32), name, hexOf(8), hexOf(40));

const object = fc
  .tuple(
    fc.record({ version: hexOf(16), etag, modifiedMs: time, owner, system, user }),
    fc.option(checksum, { nil: undefined }),
    size,
    fc.integer({ min: 0, max: 2 }),
    hexOf(16),
  )
  .map(([base, sum, bytes, kind, id]): ObjectRecord => {
    const data: ObjectRecord['data'] =
      kind === 0
        ? { kind: 'none' }
        : kind === 1
          ? { kind: 'blob', blob: id as never, size: bytes, blockSize: 1 << 20 }
          : { kind: 'parts', list: id, size: bytes, count: 3 };
    const record = { ...base, size: kind === 0 ? 0 : bytes, data };
    return sum === undefined ? record : { ...record, checksum: sum };
  });

test('an object row reads back as it was written', () => {
  fc.assert(
    fc.property(object, (record) => {
      assert.deepEqual(objectCodec.decode(objectCodec.encode(record)), record);
    }),
  );
});

test('an object row from before versioning reads as a version that goes by null', () => {
  const fields = [Buffer.alloc(16, 0xab), 0, 7, 'e', 'o', 0, null, 0, null, null, null];
  const body = new Packr({ useRecords: false }).pack(fields);
  const row = Buffer.concat([Buffer.from([1]), body]);
  const record = objectCodec.decode(row);
  assert.equal(record.named, undefined);
  assert.equal(record.marker, undefined);
  assert.deepEqual(objectCodec.encode(record), row, 'and is written as it was');
});

const plain = {
  version: 'ab'.repeat(16),
  size: 0,
  etag: '',
  modifiedMs: 7,
  owner: 'o',
  data: { kind: 'none' },
  system: {},
  user: {},
};
const blob = makeBlobId(3, 4);
const samples: [string, Codec<never>, unknown][] = [
  [
    'bucket',
    bucketCodec as never,
    {
      id: 7,
      name: 'b',
      owner: 'me',
      region: 'r',
      createdMs: 5,
      revision: 3,
      configs: ['a', 'b'],
      deleting: 'x-1',
    },
  ],
  [
    'versioned bucket',
    bucketCodec as never,
    {
      id: 7,
      name: 'b',
      owner: 'me',
      region: 'r',
      createdMs: 5,
      revision: 9,
      configs: [],
      versioning: 'Suspended',
    },
  ],
  ['tagged object', objectCodec as never, { ...plain, tags: [{ key: 'a', value: '' }] }],
  [
    'object with ACL, lock and encryption',
    objectCodec as never,
    {
      ...plain,
      acl: [
        { grantee: { id: 'ab'.repeat(32) }, permission: 'FULL_CONTROL' },
        { grantee: { group: 'AllUsers' }, permission: 'READ' },
      ],
      lock: { mode: 'COMPLIANCE', untilMs: 1_800_000_000_000, legalHold: true },
      encryption: {
        algorithm: 'aws:kms',
        wrappedKey: Buffer.from('wrapped'),
        keyId: 'testkey-1',
        context: 'e30=',
        bucketKey: true,
      },
      replication: 'PENDING',
    },
  ],
  [
    'object whose blob is sealed',
    objectCodec as never,
    { ...plain, size: 5, data: { kind: 'blob', blob, size: 21, blockSize: 4096 } },
  ],
  [
    'part whose blob is sealed',
    partCodec as never,
    {
      size: 2 ** 32,
      etag: 'ab'.repeat(16),
      modifiedMs: 9,
      data: { blob, size: 2 ** 32 + 48, blockSize: 4096 },
    },
  ],
  ['object under legal hold', objectCodec as never, { ...plain, lock: { legalHold: true } }],
  [
    'upload with encryption',
    uploadCodec as never,
    {
      createdMs: 5,
      owner: 'me',
      system: {},
      user: {},
      encryption: { algorithm: 'customer', wrappedKey: Buffer.from('w'), keyMd5: 'bWQ1' },
    },
  ],
  ['delete marker', objectCodec as never, { ...plain, named: true, marker: true }],
  [
    'current version',
    objectCodec as never,
    { ...plain, named: true, older: 'cd'.repeat(16), olderNull: 'ef'.repeat(16) },
  ],
  [
    'older version',
    objectCodec as never,
    { ...plain, older: 'cd'.repeat(16), newer: '01'.repeat(16), tags: [{ key: 'é', value: ' ' }] },
  ],
  ['configuration', settingCodec as never, { value: '<x/>' }],
  ['blob', blobCodec as never, { size: 2 ** 40, blockSize: 4096, refs: 3 }],
  [
    'part list',
    partListCodec as never,
    {
      refs: 1,
      size: 9,
      count: 2,
      pages: [
        { number: 1, offset: 0 },
        { number: 300, offset: 2 ** 40 },
      ],
    },
  ],
  [
    'upload',
    uploadCodec as never,
    {
      createdMs: 5,
      owner: 'ab'.repeat(32),
      system: { contentType: 'a/b' },
      user: { a: 'b' },
      checksum: { algorithm: 'SHA1', type: 'COMPOSITE' },
      completing: 'x-2',
    },
  ],
  [
    "another account's upload",
    uploadCodec as never,
    { createdMs: 5, owner: 'o', initiator: 'cd'.repeat(32), system: {}, user: {} },
  ],
  [
    'tagged upload',
    uploadCodec as never,
    { createdMs: 5, owner: 'o', system: {}, user: {}, tags: [{ key: 'a', value: 'b' }] },
  ],
  [
    'part',
    partCodec as never,
    {
      size: 5,
      etag: 'ab'.repeat(16),
      modifiedMs: 9,
      checksum: 'AAAA',
      data: { blob, size: 5, blockSize: 1 },
    },
  ],
  ['empty part', partCodec as never, { size: 0, etag: 'ab'.repeat(16), modifiedMs: 9 }],
  [
    'page',
    partPageCodec as never,
    {
      parts: [
        {
          number: 4,
          size: 5,
          etag: 'ab'.repeat(16),
          modifiedMs: 0,
          data: { blob, size: 5, blockSize: 1 },
        },
      ],
    },
  ],
  [
    'completed',
    completedCodec as never,
    {
      bucketId: 2,
      key: 'k\u0000',
      result: {
        version: 'cd'.repeat(16),
        etag: 'x-1',
        modifiedMs: 4,
        size: 8,
        checksum: { algorithm: 'CRC32', type: 'FULL_OBJECT', value: 'AAAAAA==' },
      },
    },
  ],
  [
    'completed version',
    completedCodec as never,
    {
      bucketId: 2,
      key: 'k',
      result: {
        version: 'cd'.repeat(16),
        versionId: 'cd'.repeat(16),
        etag: 'x-1',
        modifiedMs: 4,
        size: 8,
      },
    },
  ],
  [
    'completed encrypted upload',
    completedCodec as never,
    {
      bucketId: 2,
      key: 'k',
      result: {
        version: 'cd'.repeat(16),
        etag: 'x-1',
        modifiedMs: 4,
        size: 8,
        encryption: { algorithm: 'aws:kms', keyId: 'k1', bucketKey: true },
      },
    },
  ],
  ['garbage blob', garbageCodec as never, { kind: 'blob', blob, size: 2 ** 33, blockSize: 4096 }],
  ['garbage parts', garbageCodec as never, { kind: 'parts', list: 'ab'.repeat(16) }],
  [
    'garbage upload',
    garbageCodec as never,
    { kind: 'upload', uploadId: 'ab'.repeat(22), used: Buffer.from([6]) },
  ],
  ['garbage bucket', garbageCodec as never, { kind: 'bucket', bucketId: 4 }],
  ['garbage completed', garbageCodec as never, { kind: 'completed', uploadId: 'ab'.repeat(22) }],
  ['repair', repairCodec as never, { reason: 'corrupt', sinceMs: 1 }],
];

for (const [title, codec, record] of samples) {
  test(`a ${title} row reads back as it was written`, () => {
    assert.deepEqual(codec.decode(codec.encode(record as never)), record);
  });
}

test('a row of a newer format is refused with what to do', () => {
  const row = blobCodec.encode({ size: 1, blockSize: 1, refs: 1 });
  row[0] = 2;
  assert.throws(() => blobCodec.decode(row), /blob row has format 2.*formats up to 1: upgrade it/);
});

test('fields that a newer version appended are kept when the row is rewritten', () => {
  const body = new Packr({ useRecords: false }).pack([10, 4096, 1, 'later', 42]);
  const row = Buffer.concat([Buffer.from([1]), body]);
  const record = blobCodec.decode(row);
  const rewritten = blobCodec.encode({ ...record, refs: 2 });
  const expected = new Packr({ useRecords: false }).pack([10, 4096, 2, 'later', 42]);
  assert.deepEqual(rewritten, Buffer.concat([Buffer.from([1]), expected]));
});

test('rows that are cut off, empty or of other types are corrupt, not something else', () => {
  const whole = objectCodec.encode({
    version: 'ab'.repeat(16),
    size: 0,
    etag: 'e',
    modifiedMs: 1,
    owner: 'o',
    data: { kind: 'none' },
    system: {},
    user: {},
  });
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => objectCodec.decode(whole.subarray(0, length)), { kind: 'corrupt' });
  }
  assert.throws(() => blobCodec.decode(whole), { kind: 'corrupt' });
});

test('an ordinary object row takes 150 to 250 bytes', () => {
  const row = objectCodec.encode({
    version: 'ab'.repeat(16),
    size: 4096,
    etag: 'cd'.repeat(16),
    modifiedMs: 1_795_149_584_890,
    owner: 'ef'.repeat(32),
    data: { kind: 'blob', blob, size: 4096, blockSize: 1 << 20 },
    checksum: { algorithm: 'CRC64NVME', type: 'FULL_OBJECT', value: 'AAAAAAAAAAA=' },
    system: { contentType: 'application/octet-stream' },
    user: { mtime: '1795149584.890123456' },
  });
  assert.ok(row.length >= 150 && row.length <= 250, `${row.length} bytes`);
});
