import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFailure } from '../../base/failure.ts';
import { sealedSize } from '../../base/sealed-size.ts';
import type { ObjectEncryption, PutObjectCommand } from '../protocol.ts';
import {
  checkInvariants,
  complete,
  freshPart,
  MIB,
  OWNER,
  value,
  type World,
  WRITER,
  worldWithBucket,
} from './test-support.ts';

const ENCRYPTION: ObjectEncryption = {
  algorithm: 'AES256',
  wrappedKey: Buffer.from('wrapped'),
  keyId: 'm-1',
};

const invalid = (error: unknown) => isFailure(error, 'invalid');

function put(
  world: World,
  key: string,
  size: number,
  stored: number,
  encryption?: ObjectEncryption,
): PutObjectCommand {
  const blob = { ...world.blob(size), size: stored };
  const data = { kind: 'blob' as const, ...blob };
  const object = { size, etag: 'e', owner: OWNER, data, system: {}, user: {} };
  return {
    writer: WRITER,
    bucket: 'b',
    key,
    object: encryption === undefined ? object : { ...object, encryption },
    missing: [],
  };
}

test('an encrypted object has the size of its content, and its blob that of the sealed blocks', async () => {
  const w = await worldWithBucket();
  const size = 3 * MIB;
  const stored = sealedSize(size, w.blob(size).blockSize);
  value(await w.catalogue.putObject(put(w, 'k', size, stored, ENCRYPTION)));
  const { object } = value(await w.catalogue.getObject({ bucket: 'b', key: 'k' }));
  assert.equal(object.size, size);
  assert.ok(object.data.kind === 'blob' && object.data.size === stored);
  assert.deepEqual(object.encryption, ENCRYPTION);
  assert.deepEqual(value(await w.catalogue.bucketUsage({ bucket: 'b' })), {
    objects: 1,
    bytes: size,
  });
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  const [garbage] = await w.catalogue.garbage.next(1);
  assert.ok(garbage?.kind === 'blob' && garbage.size === stored, 'all of its blocks are removed');
  await checkInvariants(w.store);
});

test('a blob of another length than the encryption says is refused', async () => {
  const w = await worldWithBucket();
  const stored = sealedSize(10, w.blob(10).blockSize);
  await assert.rejects(w.catalogue.putObject(put(w, 'k', 10, 10, ENCRYPTION)), invalid);
  await assert.rejects(w.catalogue.putObject(put(w, 'k', 10, stored + 1, ENCRYPTION)), invalid);
  await assert.rejects(w.catalogue.putObject(put(w, 'k', 10, stored)), invalid);
});

test('parts of an encrypted upload are sealed, those of another are not, and none shares a blob', async () => {
  const w = await worldWithBucket();
  const create = { bucket: 'b', key: 'k', owner: OWNER, system: {}, user: {} };
  const sealed = value(await w.catalogue.createUpload({ ...create, encryption: ENCRYPTION }));
  const plain = value(await w.catalogue.createUpload(create));
  const size = 5 * MIB;
  const part = freshPart(w, sealed, 1, size);
  assert.ok(part.data.kind === 'fresh');
  const stored = sealedSize(size, part.data.blockSize);
  await assert.rejects(w.catalogue.putPart(part), invalid);
  const right = { ...part, data: { ...part.data, size: stored } };
  await assert.rejects(
    w.catalogue.putPart({ ...right, uploadId: plain.uploadId }),
    invalid,
    'a sealed part of a plain upload',
  );
  value(await w.catalogue.putPart(right));
  await assert.rejects(
    w.catalogue.putPart({ ...right, number: 2, data: { ...right.data, kind: 'reference' } }),
    invalid,
  );
  const last = freshPart(w, sealed, 7, 3);
  assert.ok(last.data.kind === 'fresh');
  const lastStored = sealedSize(3, last.data.blockSize);
  value(await w.catalogue.putPart({ ...last, data: { ...last.data, size: lastStored } }));
  const listed = [part, last].map(({ number, etag }) => ({ number, etag }));
  const done = value(await complete(w.catalogue, sealed, listed));
  assert.equal(done.size, size + 3);
  const found = value(await w.catalogue.getObject({ bucket: 'b', key: 'k', withParts: true }));
  assert.deepEqual(found.object.encryption, ENCRYPTION);
  assert.deepEqual(
    found.parts?.map((one) => [one.number, one.offset, one.size, one.data?.size]),
    [
      [1, 0, size, stored],
      [7, size, 3, lastStored],
    ],
  );
  await checkInvariants(w.store);
});

test('a copy that shares blocks may wrap the data key anew, but not drop or invent encryption', async () => {
  const w = await worldWithBucket();
  const stored = sealedSize(10, w.blob(10).blockSize);
  const written = value(await w.catalogue.putObject(put(w, 'k', 10, stored, ENCRYPTION)));
  const plain = value(await w.catalogue.putObject(put(w, 'plain', 10, 10)));
  const copy = (key: string, version: string, encryption?: ObjectEncryption) =>
    w.catalogue.copyObject({
      writer: WRITER,
      source: { bucket: 'b', key, version },
      bucket: 'b',
      key: 'copy',
      owner: OWNER,
      ...(encryption && { extras: { encryption } }),
    });
  value(await copy('k', written.version));
  const same = value(await w.catalogue.getObject({ bucket: 'b', key: 'copy' }));
  assert.deepEqual(same.object.encryption, ENCRYPTION);
  const anew = { ...ENCRYPTION, wrappedKey: Buffer.from('anew'), keyId: 'm-2' };
  value(await copy('k', written.version, anew));
  const { object } = value(await w.catalogue.getObject({ bucket: 'b', key: 'copy' }));
  assert.deepEqual(object.encryption, anew);
  assert.ok(object.data.kind === 'blob' && object.data.size === stored);
  await assert.rejects(copy('plain', plain.version, ENCRYPTION), invalid);
  await checkInvariants(w.store);
});
