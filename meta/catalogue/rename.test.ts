import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RenameCondition, RenameObjectCommand } from '../protocol.ts';
import { COMPLETED_KEEP_MS } from './complete.ts';
import { judgeRename } from './rename.ts';
import {
  checkInvariants,
  complete,
  drainGarbage,
  freshPart,
  MIB,
  refusal,
  startUpload,
  value,
  worldWithBucket,
  type World,
} from './test-support.ts';

const rename = (
  { catalogue }: World,
  source: string,
  key: string,
  more: Partial<RenameObjectCommand> = {},
) => catalogue.renameObject({ bucket: 'b', source, key, ...more });

const get = ({ catalogue }: World, key: string) => catalogue.getObject({ bucket: 'b', key });

test('an object that is renamed stays what it is under another key', async () => {
  const w = await worldWithBucket();
  await w.put('b', 'a', 10);
  const before = value(await get(w, 'a')).object;
  w.clock.ms += 5000;
  const answer = value(await rename(w, 'a', 'z'));
  assert.equal(refusal(await get(w, 'a')), 'NoSuchKey');
  const { object } = value(await get(w, 'z'));
  const { version: _, ...kept } = before;
  assert.deepEqual(object, { ...kept, version: answer.version });
  assert.equal(answer.etag, before.etag);
  assert.deepEqual(value(await w.catalogue.bucketUsage({ bucket: 'b' })), {
    objects: 1,
    bytes: 10,
  });
  await checkInvariants(w.store);
  assert.deepEqual(await drainGarbage(w.catalogue), []);
});

test('what was under the new key is replaced, and its data becomes garbage', async () => {
  const w = await worldWithBucket();
  await w.put('b', 'a', 10);
  const { data } = await w.put('b', 'z', 20);
  value(await rename(w, 'a', 'z'));
  assert.deepEqual(value(await w.catalogue.bucketUsage({ bucket: 'b' })), {
    objects: 1,
    bytes: 10,
  });
  await checkInvariants(w.store);
  assert.ok(data.kind === 'blob');
  assert.deepEqual(await drainGarbage(w.catalogue), [data.blob]);
});

test('an object of parts is renamed with its part list', async () => {
  const w = await worldWithBucket();
  const upload = await startUpload(w, 'k');
  const parts = [freshPart(w, upload, 1, 5 * MIB), freshPart(w, upload, 2, 7)];
  for (const part of parts) value(await w.catalogue.putPart(part));
  const named = parts.map(({ number, etag }) => ({ number, etag }));
  value(await complete(w.catalogue, upload, named));
  value(await rename(w, 'k', 'moved'));
  const found = await w.catalogue.getObject({ bucket: 'b', key: 'moved', withParts: true });
  assert.deepEqual(
    value(found).parts?.map((part) => part.size),
    [5 * MIB, 7],
  );
  await checkInvariants(w.store);
  await drainGarbage(w.catalogue);
  assert.equal(value(await get(w, 'moved')).object.data.kind, 'parts');
});

test('with versioning the new key gets a version and the old one a delete marker', async () => {
  const w = await worldWithBucket();
  value(await w.catalogue.setVersioning({ bucket: 'b', versioning: 'Enabled' }));
  await w.put('b', 'a', 10);
  await w.put('b', 'z', 20);
  const old = value(await get(w, 'a')).object;
  w.clock.ms += 5000;
  const answer = value(await rename(w, 'a', 'z'));
  assert.equal(answer.versionId, answer.version);
  assert.equal(value(await get(w, 'z')).object.etag, old.etag);
  assert.equal(refusal(await get(w, 'a')), 'NoSuchKey');
  const { versions } = value(
    await w.catalogue.listVersions({ bucket: 'b', prefix: '', limit: 10 }),
  );
  assert.deepEqual(
    versions.map(({ key, latest, marker }) => [key, latest, marker === true]),
    [
      ['a', true, true],
      ['a', false, false],
      ['z', true, false],
      ['z', false, false],
    ],
  );
  // Older versions are noncurrent from now on, not from when the object was made.
  assert.equal(answer.modifiedMs, w.clock.ms);
  await checkInvariants(w.store);
  assert.equal(refusal(await rename(w, 'a', 'y')), 'NoSuchKey');
});

test('in a suspended bucket the null versions give way on both sides', async () => {
  const w = await worldWithBucket();
  await w.put('b', 'a', 10);
  await w.put('b', 'z', 20);
  value(await w.catalogue.setVersioning({ bucket: 'b', versioning: 'Suspended' }));
  value(await rename(w, 'a', 'z'));
  assert.equal(value(await get(w, 'z')).object.size, 10);
  await checkInvariants(w.store);
  await drainGarbage(w.catalogue);
  assert.equal(value(await get(w, 'z')).object.size, 10);
  await checkInvariants(w.store);
});

test('a token makes a rename happen once, whatever became of the keys since', async () => {
  const w = await worldWithBucket();
  await w.put('b', 'a', 10);
  const first = value(await rename(w, 'a', 'z', { token: 't1' }));
  assert.deepEqual(value(await rename(w, 'a', 'z', { token: 't1' })), first);
  await w.put('b', 'a', 30);
  assert.deepEqual(value(await rename(w, 'a', 'z', { token: 't1' })), first);
  assert.equal(value(await get(w, 'a')).object.size, 30);
  assert.equal(refusal(await rename(w, 'a', 'y', { token: 't1' })), 'IdempotencyParameterMismatch');
  // A refused one leaves its token free.
  assert.equal(refusal(await rename(w, 'missing', 'y', { token: 't2' })), 'NoSuchKey');
  value(await rename(w, 'a', 'y', { token: 't2' }));
  w.clock.ms += COMPLETED_KEEP_MS + 1;
  await drainGarbage(w.catalogue);
  await w.put('b', 'a', 40);
  value(await rename(w, 'a', 'z', { token: 't1' }));
  assert.equal(value(await get(w, 'z')).object.size, 40);
  await checkInvariants(w.store);
});

test('of renames and writes of one object at once each happens wholly or not at all', async () => {
  const w = await worldWithBucket();
  const other = w.another(2);
  for (let round = 0; round < 20; round++) {
    const [a, b, c] = [`a${round}`, `b${round}`, `c${round}`];
    await w.put('b', a, 10);
    const answers = await Promise.all([
      w.catalogue.renameObject({ bucket: 'b', source: a, key: b }),
      other.renameObject({ bucket: 'b', source: a, key: c }),
    ]);
    assert.equal(answers.filter((answer) => answer.ok).length, 1);
    const found = await Promise.all([get(w, b), get(w, c)]);
    assert.equal(found.filter((answer) => answer.ok).length, 1);
  }
  await checkInvariants(w.store);
});

const object = {
  version: '00'.repeat(16),
  size: 1,
  etag: 'e1',
  modifiedMs: 10_500,
  owner: 'o',
  data: { kind: 'none' as const },
  system: {},
  user: {},
};

const judged: [string, RenameCondition, boolean, string | undefined][] = [
  ['the ETag', { ifMatch: 'e1' }, true, undefined],
  ['another ETag', { ifMatch: 'e2' }, true, 'If-Match'],
  ['an ETag of nothing', { ifMatch: '*' }, false, 'If-Match'],
  ['none may be there, one is', { ifNoneMatch: '*' }, true, 'If-None-Match'],
  ['none may be there, none is', { ifNoneMatch: '*' }, false, undefined],
  ['not this ETag', { ifNoneMatch: 'e2' }, true, undefined],
  ['modified in a later second', { ifModifiedSinceMs: 9_999 }, true, undefined],
  ['not modified since its own second', { ifModifiedSinceMs: 10_000 }, true, 'If-Modified-Since'],
  ['nothing is not modified', { ifModifiedSinceMs: 0 }, false, 'If-Modified-Since'],
  ['unmodified since its own second', { ifUnmodifiedSinceMs: 10_000 }, true, undefined],
  ['modified since', { ifUnmodifiedSinceMs: 9_999 }, true, 'If-Unmodified-Since'],
];

for (const [title, condition, there, failed] of judged) {
  test(`conditions of a rename: ${title}`, () => {
    const answer = judgeRename(condition, there ? object : null);
    assert.equal(answer?.ok === false ? answer.detail?.['Condition'] : undefined, failed);
  });
}

test('conditions of a rename hold for either object, and a failed one changes nothing', async () => {
  const w = await worldWithBucket();
  await w.put('b', 'a', 10);
  await w.put('b', 'z', 20);
  for (const more of [{ sourceCondition: { ifMatch: 'x' } }, { condition: { ifNoneMatch: '*' } }]) {
    assert.equal(refusal(await rename(w, 'a', 'z', more)), 'PreconditionFailed');
  }
  assert.equal(value(await get(w, 'a')).object.size, 10);
  assert.equal(value(await get(w, 'z')).object.size, 20);
});
