import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeBlobId } from '../../base/ids.ts';
import type { WriteCondition } from '../protocol.ts';
import { createMemoryStore } from '../engine/memory.ts';
import { judgeDelete, judgeWrite } from './conditions.ts';
import { nextVersion } from './ids.ts';
import {
  checkInvariants,
  createWorld,
  endLease,
  interrupted,
  OWNER,
  refusal,
  rowsOf,
  value,
  WRITER,
  type World,
} from './test-support.ts';

async function world(): Promise<World> {
  const made = await createWorld();
  value(await made.catalogue.createBucket({ name: 'photos', owner: OWNER, region: 'r' }));
  return made;
}

function put(
  { catalogue }: World,
  key: string,
  object: Awaited<ReturnType<World['put']>>,
  condition?: WriteCondition,
) {
  return catalogue.putObject({
    writer: WRITER,
    bucket: 'photos',
    key,
    object,
    missing: [],
    ...(condition === undefined ? {} : { condition }),
  });
}

const current = {
  version: 'ab'.repeat(16),
  size: 5,
  etag: 'e1',
  modifiedMs: 1_000_900,
  owner: OWNER,
  data: { kind: 'none' as const },
  system: {},
  user: {},
};

const no = (condition: string) => ({
  ok: false,
  refusal: 'PreconditionFailed',
  detail: { Condition: condition },
});
const noSuchKey = { ok: false, refusal: 'NoSuchKey' };

const writeCases: [string, WriteCondition | undefined, typeof current | null, unknown][] = [
  ['no condition, no object', undefined, null, undefined],
  ['no condition, an object', undefined, current, undefined],
  ['If-None-Match * without an object', { ifNoneMatch: '*' }, null, undefined],
  ['If-None-Match * on an object', { ifNoneMatch: '*' }, current, no('If-None-Match')],
  ['If-None-Match of an ETag without an object', { ifNoneMatch: 'e1' }, null, undefined],
  ['If-None-Match of another ETag', { ifNoneMatch: 'e2' }, current, undefined],
  ['If-None-Match of the ETag', { ifNoneMatch: 'e1' }, current, no('If-None-Match')],
  ['If-Match of the ETag', { ifMatch: 'e1' }, current, undefined],
  ['If-Match of another ETag', { ifMatch: 'e2' }, current, no('If-Match')],
  ['If-Match * on an object', { ifMatch: '*' }, current, undefined],
  ['If-Match * without an object', { ifMatch: '*' }, null, noSuchKey],
  ['If-Match of an ETag without an object', { ifMatch: 'e1' }, null, noSuchKey],
];

for (const [title, condition, object, expected] of writeCases) {
  test(`conditions of writes and deletes: ${title}`, () => {
    assert.deepEqual(judgeWrite(condition, object), expected);
    assert.deepEqual(judgeDelete(condition, object), expected);
  });
}

const deleteCases: [string, WriteCondition, typeof current | null, unknown][] = [
  ['the size', { ifMatchSize: 5 }, current, undefined],
  ['another size', { ifMatchSize: 6 }, current, no('x-amz-if-match-size')],
  ['a size without an object', { ifMatchSize: 6 }, null, undefined],
  ['the time to the second', { ifMatchModifiedMs: 1_000_000 }, current, undefined],
  [
    'another second',
    { ifMatchModifiedMs: 1_001_000 },
    current,
    no('x-amz-if-match-last-modified-time'),
  ],
  ['a time without an object', { ifMatchModifiedMs: 1 }, null, undefined],
];

for (const [title, condition, object, expected] of deleteCases) {
  test(`conditions of deletes: ${title}`, () => {
    assert.deepEqual(judgeDelete(condition, object), expected);
  });
}

test('conditions of deletes: a delete marker has a size and a time, and no ETag', () => {
  const marker = { ...current, size: 0, modifiedMs: 2_000_000 };
  assert.deepEqual(judgeDelete({ ifMatch: 'e1' }, null, marker), noSuchKey);
  assert.deepEqual(judgeDelete({ ifMatchSize: 5 }, null, marker), no('x-amz-if-match-size'));
  assert.equal(judgeDelete({ ifMatchSize: 0 }, null, marker), undefined);
  assert.deepEqual(
    judgeDelete({ ifMatchModifiedMs: 1_000_000 }, null, marker),
    no('x-amz-if-match-last-modified-time'),
  );
});

test('versions of a key sort newest first, even within a millisecond and after the clock stepped back', () => {
  const random = Buffer.alloc(8, 5);
  let version: string | undefined;
  const made: string[] = [];
  for (const ms of [1000, 1000, 1000, 900, 2000]) {
    version = nextVersion(version, ms, random);
    made.push(version);
  }
  assert.deepEqual([...made].sort().reverse(), made);
  // A counter that is used up moves the time on.
  let last = nextVersion(undefined, 1, random);
  for (let index = 0; index < 70_000; index++) {
    const next = nextVersion(last, 1, random);
    assert.ok(next < last);
    last = next;
  }
});

test('PutObject makes the object visible with what was given, and GetObject returns it', async () => {
  const w = await world();
  const object = w.object(10, {
    system: { contentType: 'image/png', storageClass: 'STANDARD' },
    user: { __proto__x: 'y', mtime: '1' },
    checksum: { algorithm: 'CRC32', type: 'FULL_OBJECT', value: 'AAAAAA==' },
  });
  const written = value(await put(w, 'a/b', object));
  const found = value(await w.catalogue.getObject({ bucket: 'photos', key: 'a/b' }));
  assert.deepEqual(found.object, { ...object, ...written });
  assert.equal(found.bucket.name, 'photos');
  assert.equal(written.modifiedMs, w.clock.ms);
  assert.deepEqual(value(await w.catalogue.bucketUsage({ bucket: 'photos' })), {
    objects: 1,
    bytes: 10,
  });
  await checkInvariants(w.store);
});

test('GetObject and PutObject tell a missing bucket from a missing key', async () => {
  const w = await world();
  assert.equal(refusal(await w.catalogue.getObject({ bucket: 'none', key: 'k' })), 'NoSuchBucket');
  assert.equal(refusal(await w.catalogue.getObject({ bucket: 'photos', key: 'k' })), 'NoSuchKey');
  const command = { writer: WRITER, bucket: 'none', key: 'k', object: w.object(1), missing: [] };
  assert.equal(refusal(await w.catalogue.putObject(command)), 'NoSuchBucket');
});

test('PutObject over an object puts its blob on the garbage queue, once, and frees its bytes', async () => {
  const w = await world();
  const first = await w.put('photos', 'k', 10);
  await w.put('photos', 'k', 3);
  const entries = await w.catalogue.garbage.next(10);
  assert.equal(entries.length, 1);
  assert.ok(first.data.kind === 'blob' && entries[0]?.kind === 'blob');
  assert.equal(entries[0].blob, first.data.blob);
  assert.equal(entries[0].size, 10);
  assert.equal(await w.catalogue.garbage.depth(), 1);
  assert.deepEqual(value(await w.catalogue.bucketUsage({ bucket: 'photos' })), {
    objects: 1,
    bytes: 3,
  });
  await checkInvariants(w.store);
});

test('PutObject repeated after its answer was lost gives the same answer and changes nothing', async () => {
  const w = await world();
  const object = w.object(10);
  const first = value(await put(w, 'k', object, { ifNoneMatch: '*' }));
  w.clock.ms += 1000;
  assert.deepEqual(value(await put(w, 'k', object, { ifNoneMatch: '*' })), first);
  await checkInvariants(w.store);
});

test('PutObject never commits a blob twice, wherever the second commit points', async () => {
  const w = await world();
  const object = w.object(10);
  value(await put(w, 'k', object));
  await assert.rejects(put(w, 'other', object), { kind: 'conflict' });
  await w.put('photos', 'k', 2);
  await checkInvariants(w.store);
});

test('PutObject of a writer without a lease is fenced and leaves no trace', async () => {
  const w = await world();
  await endLease(w.store, WRITER);
  await assert.rejects(put(w, 'k', w.object(10)), { kind: 'fenced' });
  await assert.rejects(put(w, 'k', w.object(0)), { kind: 'fenced' });
  assert.deepEqual(await rowsOf(w.store, 'o'), []);
  assert.deepEqual(await rowsOf(w.store, 'b'), []);
});

test('PutObject refuses commands that no caller should send', async () => {
  const w = await world();
  const foreign = { kind: 'blob' as const, blob: makeBlobId(8, 1), size: 1, blockSize: 4096 };
  const wrong = [
    put(w, '', w.object(1)),
    put(w, 'é'.repeat(513), w.object(1)),
    put(w, '\ud800', w.object(1)),
    put(w, 'k', { ...w.object(1), data: { kind: 'none' } }),
    put(w, 'k', { ...w.object(2), size: 1 }),
    put(w, 'k', { ...w.object(1), data: foreign }),
  ];
  for (const answer of wrong) await assert.rejects(answer, { kind: 'invalid' });
  assert.deepEqual(await rowsOf(w.store, 'o'), []);
});

test('LastModified of a key never goes back when the clock does', async () => {
  const w = await world();
  await w.put('photos', 'k');
  const before = w.clock.ms;
  w.clock.ms -= 60_000;
  const again = value(await put(w, 'k', w.object(1)));
  assert.equal(again.modifiedMs, before);
  const copied = await copy(w, 'k', 'k');
  assert.equal(value(copied).modifiedMs, before);
});

test('missing replicas of a commit are queued for repair, once per blob and node', async () => {
  const w = await world();
  const object = w.object(10);
  assert.ok(object.data.kind === 'blob');
  const { blob } = object.data;
  const missing = [
    { blob, node: 'node-1' },
    { blob, node: 'node-1' },
    { blob, node: 'node-2' },
  ];
  value(
    await w.catalogue.putObject({ writer: WRITER, bucket: 'photos', key: 'k', object, missing }),
  );
  assert.equal(await w.catalogue.repairs.depth(), 2);
  await checkInvariants(w.store);
});

/* ------------------------------------------------------------------ delete */

test('DeleteObject removes the object, tells whether it existed, and can be repeated', async () => {
  const w = await world();
  await w.put('photos', 'k');
  const command = { bucket: 'photos', key: 'k' };
  assert.deepEqual(value(await w.catalogue.deleteObject(command)), { existed: true });
  assert.deepEqual(value(await w.catalogue.deleteObject(command)), { existed: false });
  assert.equal(refusal(await w.catalogue.getObject(command)), 'NoSuchKey');
  assert.deepEqual(value(await w.catalogue.bucketUsage({ bucket: 'photos' })), {
    objects: 0,
    bytes: 0,
  });
  await checkInvariants(w.store);
});

test('DeleteObject keeps the object when a condition fails', async () => {
  const w = await world();
  const { etag } = await w.put('photos', 'k');
  const command = { bucket: 'photos', key: 'k' };
  const failed = await w.catalogue.deleteObject({ ...command, condition: { ifMatch: 'other' } });
  assert.equal(refusal(failed), 'PreconditionFailed');
  value(await w.catalogue.getObject(command));
  value(await w.catalogue.deleteObject({ ...command, condition: { ifMatch: etag } }));
  const gone = await w.catalogue.deleteObject({ ...command, condition: { ifMatch: etag } });
  assert.equal(refusal(gone), 'NoSuchKey');
});

test('DeleteObjects answers for each key in order, whatever shares a blob or is named twice', async () => {
  const w = await world();
  const keys: string[] = [];
  for (let index = 0; index < 700; index++) {
    keys.push(`k${index}`);
    if (index % 100 === 1) value(await copy(w, 'k0', `k${index}`));
    else await w.put('photos', `k${index}`);
  }
  const commands = [
    { key: 'k0', condition: { ifMatch: 'other' } },
    ...keys.map((key) => ({ key })),
    { key: 'k5' },
    { key: 'absent' },
    { key: 'absent', condition: { ifMatch: '*' } },
  ];
  const answers = value(await w.catalogue.deleteObjects({ bucket: 'photos', keys: commands }));
  assert.equal(answers.length, commands.length);
  assert.equal(refusal(answers[0] ?? assert.fail()), 'PreconditionFailed');
  for (const answer of answers.slice(1, 701)) assert.deepEqual(value(answer), { existed: true });
  assert.deepEqual(value(answers[701] ?? assert.fail()), { existed: false });
  assert.deepEqual(value(answers[702] ?? assert.fail()), { existed: false });
  assert.equal(refusal(answers[703] ?? assert.fail()), 'NoSuchKey');
  assert.deepEqual(await rowsOf(w.store, 'o'), []);
  await checkInvariants(w.store);
});

test('DeleteObjects of a missing bucket is refused as a whole, and of no keys is empty', async () => {
  const w = await world();
  assert.equal(
    refusal(await w.catalogue.deleteObjects({ bucket: 'none', keys: [{ key: 'k' }] })),
    'NoSuchBucket',
  );
  assert.deepEqual(value(await w.catalogue.deleteObjects({ bucket: 'photos', keys: [] })), []);
});

/* ------------------------------------------------------------------ copy */

async function copy(
  w: World,
  from: string,
  to: string,
  changes: Partial<Parameters<World['catalogue']['copyObject']>[0]> = {},
) {
  const source = value(await w.catalogue.getObject({ bucket: 'photos', key: from })).object;
  return w.catalogue.copyObject({
    writer: WRITER,
    source: { bucket: 'photos', key: from, version: source.version },
    bucket: 'photos',
    key: to,
    owner: OWNER,
    ...changes,
  });
}

test('CopyObject shares the blob: the last of the copies that goes makes it garbage', async () => {
  const w = await world();
  const { data } = await w.put('photos', 'a');
  value(await copy(w, 'a', 'b'));
  value(await copy(w, 'b', 'c'));
  for (const key of ['a', 'c']) value(await w.catalogue.deleteObject({ bucket: 'photos', key }));
  assert.equal(await w.catalogue.garbage.depth(), 0);
  const found = value(await w.catalogue.getObject({ bucket: 'photos', key: 'b' }));
  assert.deepEqual(found.object.data, data);
  value(await w.catalogue.deleteObject({ bucket: 'photos', key: 'b' }));
  assert.equal(await w.catalogue.garbage.depth(), 1);
  await checkInvariants(w.store);
});

test('CopyObject onto itself replaces the metadata and keeps the data', async () => {
  const w = await world();
  const { data } = await w.put('photos', 'a');
  const metadata = { system: { contentType: 'b/c' }, user: { x: 'y' } };
  const checksum = { algorithm: 'SHA1' as const, type: 'FULL_OBJECT' as const, value: 'AA==' };
  const copied = value(await copy(w, 'a', 'a', { metadata, checksum }));
  assert.deepEqual(copied.checksum, checksum);
  const { object } = value(await w.catalogue.getObject({ bucket: 'photos', key: 'a' }));
  assert.deepEqual({ system: object.system, user: object.user }, metadata);
  assert.deepEqual(object.data, data);
  assert.deepEqual(object.checksum, checksum);
  assert.equal(await w.catalogue.garbage.depth(), 0);
  await checkInvariants(w.store);
});

test('CopyObject back over its own source keeps both', async () => {
  const w = await world();
  await w.put('photos', 'a');
  value(await copy(w, 'a', 'b'));
  value(await copy(w, 'b', 'a'));
  value(await copy(w, 'a', 'b'));
  await checkInvariants(w.store);
  assert.equal(await w.catalogue.garbage.depth(), 0);
});

test('CopyObject between buckets and of an empty object counts in the target', async () => {
  const w = await world();
  value(await w.catalogue.createBucket({ name: 'other', owner: OWNER, region: 'r' }));
  await w.put('photos', 'a', 10);
  await w.put('photos', 'empty', 0);
  value(await copy(w, 'a', 'x', { bucket: 'other' }));
  value(await copy(w, 'empty', 'y', { bucket: 'other' }));
  assert.deepEqual(value(await w.catalogue.bucketUsage({ bucket: 'other' })), {
    objects: 2,
    bytes: 10,
  });
  await checkInvariants(w.store);
});

test('CopyObject is refused when the source is not the one that was read', async () => {
  const w = await world();
  await w.put('photos', 'a');
  const { version } = value(await w.catalogue.getObject({ bucket: 'photos', key: 'a' })).object;
  const source = { bucket: 'photos', key: 'a', version };
  await w.put('photos', 'a');
  const changed = await copy(w, 'a', 'b', { source });
  assert.equal(refusal(changed), 'SourceChanged');
  value(await w.catalogue.deleteObject({ bucket: 'photos', key: 'a' }));
  const command = { writer: WRITER, bucket: 'photos', key: 'b', owner: OWNER };
  assert.equal(refusal(await w.catalogue.copyObject({ ...command, source })), 'SourceChanged');
  const elsewhere = { ...source, bucket: 'none' };
  assert.equal(
    refusal(await w.catalogue.copyObject({ ...command, source: elsewhere })),
    'SourceChanged',
  );
  assert.equal(
    refusal(await w.catalogue.copyObject({ ...command, bucket: 'none', source })),
    'NoSuchBucket',
  );
});

test('CopyObject judges its condition on the target, and needs a lease', async () => {
  const w = await world();
  await w.put('photos', 'a');
  await w.put('photos', 'b');
  const refused = await copy(w, 'a', 'b', { condition: { ifNoneMatch: '*' } });
  assert.equal(refusal(refused), 'PreconditionFailed');
  value(await copy(w, 'a', 'c', { condition: { ifNoneMatch: '*' } }));
  await endLease(w.store, WRITER);
  await assert.rejects(copy(w, 'a', 'd'), { kind: 'fenced' });
  await checkInvariants(w.store);
});

test('CopyObject is refused when the source changes between its reading and its commit', async () => {
  const { store, beforeNextCommit } = interrupted(createMemoryStore());
  const w = await createWorld({ store });
  value(await w.catalogue.createBucket({ name: 'photos', owner: OWNER, region: 'r' }));
  for (const size of [0, 10]) {
    await w.put('photos', 'a', size);
    const other = w.another(2);
    const { version } = value(await w.catalogue.getObject({ bucket: 'photos', key: 'a' })).object;
    const command = { writer: WRITER, bucket: 'photos', key: 'b', owner: OWNER };
    const source = { bucket: 'photos', key: 'a', version };
    beforeNextCommit(() => other.deleteObject({ bucket: 'photos', key: 'a' }));
    assert.equal(refusal(await w.catalogue.copyObject({ ...command, source })), 'SourceChanged');
  }
  await checkInvariants(w.store);
});
