/** What each step reads, checks and writes: the races that it takes part in can be read off here. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeBlobId } from '../../base/ids.ts';
import { leaseKey } from '../cluster/rows.ts';
import type { Answer, ObjectRecord, PutPartCommand } from '../protocol.ts';
import type { Codec } from './codec.ts';
import { completeStep } from './complete.ts';
import { Draft, type Entries, nameOf, rawCodec } from './draft.ts';
import { createIds } from './ids.ts';
import {
  blobKey,
  bucketKey,
  completedKey,
  objectKey,
  partKey,
  partListKey,
  uploadKey,
  versionKey,
} from './keyspace.ts';
import { copyObjectStep, deleteObjectStep, putObjectStep } from './objects.ts';
import {
  blobCodec,
  bucketCodec,
  objectCodec,
  partCodec,
  partListCodec,
  uploadCodec,
  type VersionRow,
} from './records.ts';
import { testEffects, OWNER, WRITER } from './test-support.ts';
import { abortUploadStep, putPartStep } from './uploads.ts';
import type { Scope } from './usage.ts';

const scope = { bucketId: 1, lane: 0 };
const old = makeBlobId(WRITER, 1);
const fresh = makeBlobId(WRITER, 2);
const uploadId = 'ab'.repeat(22);
const list = 'cd'.repeat(16);

const keys = {
  lease: leaseKey(WRITER),
  bucket: bucketKey('b'),
  object: objectKey(1, 'k'),
  target: objectKey(1, 'target'),
  'old blob': blobKey(old),
  'fresh blob': blobKey(fresh),
  upload: uploadKey(1, 'k', uploadId),
  part: partKey(uploadId, 1),
  list: partListKey(list, 0),
  answer: completedKey(uploadId),
  'middle version': versionKey(1, 'k', 'e1'.repeat(16)),
  'old version': versionKey(1, 'k', 'e2'.repeat(16)),
  'oldest version': versionKey(1, 'k', 'e3'.repeat(16)),
  'pushed version': versionKey(1, 'k', 'ef'.repeat(16)),
  'first version': versionKey(1, 'k', 'e0'.repeat(16)),
};
type Name = keyof typeof keys;

const record: ObjectRecord = {
  version: 'ef'.repeat(16),
  size: 10,
  etag: 'e',
  modifiedMs: 1,
  owner: OWNER,
  data: { kind: 'blob', blob: old, size: 10, blockSize: 4096 },
  system: {},
  user: {},
};
const part = {
  size: 10,
  etag: '00'.repeat(16),
  modifiedMs: 1,
  data: { blob: old, size: 10, blockSize: 4096 },
};
const upload = { createdMs: 1, owner: OWNER, system: {}, user: {} };
const bucket = {
  id: 1,
  name: 'b',
  owner: OWNER,
  region: 'r',
  createdMs: 1,
  revision: 1,
  configs: [] as string[],
};

/** A row that stands. */
function row<T>(name: Name, codec: Codec<T>, value: T): [Name, Buffer] {
  return [name, codec.encode(value)];
}

const lease = row('lease', rawCodec, Buffer.from([1]));
const withBlob = (refs: number) => row('old blob', blobCodec, { size: 10, blockSize: 4096, refs });
const withList = (refs: number) =>
  row('list', partListCodec, { refs, size: 10, count: 1, pages: [{ number: 1, offset: 0 }] });
const multi: ObjectRecord = { ...record, data: { kind: 'parts', list, size: 10, count: 1 } };

/** Runs a step on these rows (all others are absent) and names what its commit does. */
function decide(rows: [Name, Buffer][], step: (draft: Draft) => Answer<unknown>) {
  const entries: Entries = new Map();
  for (const key of Object.values(keys)) entries.set(nameOf(key), null);
  for (const [name, value] of rows) {
    entries.set(nameOf(keys[name]), { key: keys[name], value, stamp: Buffer.alloc(16, 1) });
  }
  const draft = new Draft(entries, 5000, createIds(testEffects({ ms: 5000 })));
  const answer = step(draft);
  assert.deepEqual(draft.needed, [], 'the step looks at no other rows');
  const commit = draft.commit(Buffer.alloc(16, 9));
  const names = (list_: readonly Uint8Array[]) => list_.map(nameOfKey).sort(compareNames);
  return {
    answer,
    checks: names(commit.checks.map(({ key }) => key)),
    set: names(commit.set.map(({ key }) => key)),
    del: names(commit.del),
    add: commit.add.map(({ key, delta }) => `${counterName(key)} ${delta}`).sort(compareNames),
  };
}

function compareNames(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function nameOfKey(key: Uint8Array): string {
  const known = Object.entries(keys).find(([, other]) => other.equals(key));
  if (known !== undefined) return known[0];
  const head = Buffer.from(key).toString('latin1', 0, 2);
  if (head === 'qg') return 'garbage';
  if (head === 'qt') return 'later garbage';
  return head.startsWith('m') ? 'new list' : `? ${head}`;
}

function counterName(key: Uint8Array): string {
  const bytes = Buffer.from(key);
  if (bytes[0] === 0x55) return bytes[7] === 0x62 ? 'bytes' : 'objects';
  return bytes[2] === 0x67 ? 'garbage' : 'repair';
}

const put = (draft: Draft, bucketScope: Scope = scope) =>
  putObjectStep(draft, bucketScope, {
    writer: WRITER,
    bucket: 'b',
    key: 'k',
    object: {
      size: 4,
      etag: 'n',
      owner: OWNER,
      data: { kind: 'blob', blob: fresh, size: 4, blockSize: 4096 },
      system: {},
      user: {},
    },
    missing: [],
  });

const copy = (draft: Draft) =>
  copyObjectStep(draft, scope, {
    writer: WRITER,
    source: { bucket: 'b', key: 'k', version: record.version },
    bucket: 'b',
    key: 'target',
    owner: OWNER,
  });

const enabled = { ...scope, versioning: 'Enabled' as const };
const suspended = { ...scope, versioning: 'Suspended' as const };
const none = { kind: 'none' as const };
/** Four versions of one key; `at`: 0 is the current one, the one in the middle goes by null. */
function version(at: 0 | 1 | 2 | 3): VersionRow {
  const ids = ['e0', 'e1', 'e2', 'e3'].map((byte) => byte.repeat(16));
  const [id = '', newer, older] = [ids[at], ids[at - 1], ids[at + 1]];
  const row: VersionRow = { ...record, version: id, data: none, size: 1 };
  if (at !== 2) row.named = true;
  if (newer !== undefined) row.newer = newer;
  if (older !== undefined) row.older = older;
  if (at === 0) row.olderNull = ids[2];
  return row;
}
const chain: [Name, Buffer][] = [
  row('object', objectCodec, version(0)),
  row('middle version', objectCodec, version(1)),
  row('old version', objectCodec, version(2)),
  row('oldest version', objectCodec, version(3)),
];
const removeVersion = (versionId: string) => (draft: Draft) =>
  deleteObjectStep(draft, suspended, { key: 'k', versionId });

const remove = (draft: Draft) => deleteObjectStep(draft, scope, { key: 'k' });

const partCommand = (kind: 'fresh' | 'reference', blob = fresh): PutPartCommand => ({
  bucket: 'b',
  key: 'k',
  uploadId,
  writer: WRITER,
  number: 1,
  size: 10,
  etag: '11'.repeat(16),
  data: { kind, blob, size: 10, blockSize: 4096 },
  missing: [],
});

const cases: {
  title: string;
  rows: [Name, Buffer][];
  step: (draft: Draft) => Answer<unknown>;
  checks: string[];
  set: string[];
  del?: string[];
  add?: string[];
}[] = [
  {
    title: 'PutObject of a new key',
    rows: [lease],
    step: (draft) => put(draft),
    checks: ['fresh blob', 'lease', 'object'],
    set: ['fresh blob', 'object'],
    add: ['bytes 4', 'objects 1'],
  },
  {
    title: 'PutObject over the only reference to a blob',
    rows: [lease, row('object', objectCodec, record), withBlob(1)],
    step: (draft) => put(draft),
    checks: ['fresh blob', 'lease', 'object', 'old blob'],
    set: ['fresh blob', 'garbage', 'object'],
    del: ['old blob'],
    add: ['bytes -6', 'garbage 1'],
  },
  {
    title: 'PutObject over one of two references to a blob',
    rows: [lease, row('object', objectCodec, record), withBlob(2)],
    step: (draft) => put(draft),
    checks: ['fresh blob', 'lease', 'object', 'old blob'],
    set: ['fresh blob', 'object', 'old blob'],
    add: ['bytes -6'],
  },
  {
    title: 'DeleteObject of a multipart object',
    rows: [row('object', objectCodec, multi), withList(1)],
    step: remove,
    checks: ['list', 'object'],
    set: ['garbage', 'list'],
    del: ['object'],
    add: ['bytes -10', 'garbage 1', 'objects -1'],
  },
  {
    title: 'DeleteObject of a multipart object that has a copy',
    rows: [row('object', objectCodec, multi), withList(2)],
    step: remove,
    checks: ['list', 'object'],
    set: ['list'],
    del: ['object'],
    add: ['bytes -10', 'objects -1'],
  },
  {
    title: 'DeleteObject of nothing',
    rows: [],
    step: remove,
    checks: [],
    set: [],
  },
  {
    title: 'PutObject in a versioned bucket, which reads no row more',
    rows: [lease, row('object', objectCodec, record)],
    step: (draft) => put(draft, enabled),
    checks: ['fresh blob', 'lease', 'object'],
    set: ['fresh blob', 'object', 'pushed version'],
    add: ['bytes 4', 'objects 1'],
  },
  {
    title: 'DeleteObject in a suspended bucket, of a null version between others',
    rows: chain,
    step: (draft) => deleteObjectStep(draft, suspended, { key: 'k' }),
    checks: ['middle version', 'object', 'old version', 'oldest version'],
    set: ['first version', 'middle version', 'object', 'oldest version'],
    del: ['old version'],
    add: ['bytes -1'],
  },
  {
    title: 'DeleteObject of the current version by its id',
    rows: chain,
    step: removeVersion('e0'.repeat(16)),
    checks: ['middle version', 'object'],
    set: ['object'],
    del: ['middle version'],
    add: ['bytes -1', 'objects -1'],
  },
  {
    title: 'DeleteObject of a version between others, which leaves the current one alone',
    rows: chain.map(([name, value]) =>
      name === 'old version'
        ? row(name, objectCodec, { ...version(2), named: true })
        : name === 'object'
          ? row(name, objectCodec, { ...version(0), olderNull: undefined })
          : [name, value],
    ),
    step: removeVersion('e2'.repeat(16)),
    checks: ['middle version', 'old version', 'oldest version'],
    set: ['middle version', 'oldest version'],
    del: ['old version'],
    add: ['bytes -1', 'objects -1'],
  },
  {
    title: 'DeleteObject of a version that goes by null, by its own id',
    rows: chain,
    step: removeVersion('e2'.repeat(16)),
    checks: [],
    set: [],
  },
  {
    title: 'CopyObject to a new key',
    rows: [
      lease,
      row('bucket', bucketCodec, bucket),
      row('object', objectCodec, record),
      withBlob(1),
    ],
    step: copy,
    checks: ['lease', 'object', 'old blob', 'target'],
    set: ['old blob', 'target'],
    add: ['bytes 10', 'objects 1'],
  },
  {
    title: 'CopyObject of a multipart object',
    rows: [
      lease,
      row('bucket', bucketCodec, bucket),
      row('object', objectCodec, multi),
      withList(1),
    ],
    step: copy,
    checks: ['lease', 'list', 'object', 'target'],
    set: ['list', 'target'],
    add: ['bytes 10', 'objects 1'],
  },
  {
    title: 'UploadPart into an open upload',
    rows: [lease, row('upload', uploadCodec, upload)],
    step: (draft) => putPartStep(draft, scope, partCommand('fresh'), () => false),
    checks: ['fresh blob', 'lease', 'part', 'upload'],
    set: ['fresh blob', 'part'],
  },
  {
    title: 'UploadPart over a part, in an upload that a crash left frozen',
    rows: [
      lease,
      row('upload', uploadCodec, { ...upload, completing: 'dead' }),
      row('part', partCodec, part),
      withBlob(1),
    ],
    step: (draft) => putPartStep(draft, scope, partCommand('fresh'), () => false),
    checks: ['fresh blob', 'lease', 'old blob', 'part', 'upload'],
    set: ['fresh blob', 'garbage', 'part', 'upload'],
    del: ['old blob'],
    add: ['garbage 1'],
  },
  {
    title: 'UploadPartCopy that shares a blob',
    rows: [lease, row('upload', uploadCodec, upload), withBlob(1)],
    step: (draft) => putPartStep(draft, scope, partCommand('reference', old), () => false),
    checks: ['lease', 'old blob', 'part', 'upload'],
    set: ['old blob', 'part'],
  },
  {
    title: 'AbortMultipartUpload',
    rows: [row('upload', uploadCodec, upload)],
    step: (draft) => abortUploadStep(draft, scope, { bucket: 'b', key: 'k', uploadId }),
    checks: ['upload'],
    set: ['garbage'],
    del: ['upload'],
    add: ['garbage 1'],
  },
  {
    title: 'CompleteMultipartUpload over an object',
    rows: [
      row('upload', uploadCodec, { ...upload, completing: 'mine' }),
      row('object', objectCodec, multi),
      withList(1),
    ],
    step: (draft) =>
      completeStep(draft, scope, { bucket: 'b', key: 'k', uploadId, parts: [] }, 'mine', {
        parts: [{ ...part, number: 1 }],
        size: 10,
        etag: 'e-1',
        checksum: undefined,
      }),
    checks: ['answer', 'list', 'object', 'upload'],
    set: [
      'answer',
      'garbage',
      'garbage',
      'later garbage',
      'list',
      'new list',
      'new list',
      'object',
    ],
    del: ['upload'],
    add: ['garbage 2'],
  },
];

for (const { title, rows, step, checks, set, del = [], add = [] } of cases) {
  test(`the commit of ${title} checks and writes exactly its rows`, () => {
    const decided = decide(rows, step);
    assert.ok(decided.answer.ok);
    const expected = { answer: decided.answer, checks, set, del, add };
    assert.deepEqual(decided, expected);
  });
}

const frozen = row('upload', uploadCodec, { ...upload, completing: 'live' });
const refusals: [string, [Name, Buffer][], (draft: Draft) => Answer<unknown>, string][] = [
  [
    'UploadPart into an upload that is being completed',
    [lease, frozen],
    (draft) => putPartStep(draft, scope, partCommand('fresh'), (attempt) => attempt === 'live'),
    'NoSuchUpload',
  ],
  [
    'UploadPartCopy of a blob that is gone',
    [lease, row('upload', uploadCodec, upload)],
    (draft) => putPartStep(draft, scope, partCommand('reference', old), () => false),
    'SourceChanged',
  ],
  [
    'CompleteMultipartUpload that was frozen by another',
    [frozen],
    (draft) =>
      completeStep(draft, scope, { bucket: 'b', key: 'k', uploadId, parts: [] }, 'mine', {
        parts: [],
        size: 0,
        etag: '',
        checksum: undefined,
      }),
    'OperationAborted',
  ],
  [
    'CopyObject of a source that is gone',
    [lease, row('bucket', bucketCodec, bucket)],
    copy,
    'SourceChanged',
  ],
];

for (const [title, rows, step, expected] of refusals) {
  test(`${title} is refused with ${expected}`, () => {
    const { answer } = decide(rows, step);
    assert.ok(!answer.ok);
    assert.equal(answer.refusal, expected);
  });
}

test('a step that looks at a row that was not read asks for it', () => {
  const draft = new Draft(new Map(), 1, createIds(testEffects({ ms: 1 })));
  put(draft);
  assert.ok(draft.needed.some((key) => key.equals(keys.object)));
  assert.ok(draft.needed.some((key) => key.equals(keys.lease)));
});

test('a reference to a blob without a row is a fault of ours, not an answer', () => {
  assert.throws(() => decide([lease, row('object', objectCodec, record)], put), {
    kind: 'internal',
  });
});
