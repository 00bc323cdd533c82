import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFailure } from '../../base/failure.ts';
import { sealedSize } from '../../base/sealed-size.ts';
import type { DataKeyWalk } from '../admin-protocol.ts';
import type { ObjectEncryption } from '../protocol.ts';
import {
  checkInvariants,
  OWNER,
  value,
  type World,
  WRITER,
  worldWithBucket,
} from './test-support.ts';

const by = (keyId: string, algorithm: ObjectEncryption['algorithm'] = 'AES256') => ({
  algorithm,
  wrappedKey: Buffer.from(`wrapped by ${keyId}`),
  keyId,
});

async function put(world: World, key: string, encryption?: ObjectEncryption): Promise<void> {
  const { blockSize, blob } = world.blob(10);
  const size = encryption === undefined ? 10 : sealedSize(10, blockSize);
  const object = {
    size: 10,
    etag: 'e',
    owner: OWNER,
    data: { kind: 'blob' as const, blob, size, blockSize },
    system: {},
    user: {},
    tags: [{ key: 't', value: key }],
    ...(encryption && { encryption }),
  };
  value(await world.catalogue.putObject({ writer: WRITER, bucket: 'b', key, object, missing: [] }));
}

async function walkAll(world: World, active: string, limit: number): Promise<DataKeyWalk[]> {
  const steps: DataKeyWalk[] = [];
  let after: Buffer | undefined;
  do {
    const step = await world.catalogue.dataKeys.walkDataKeys({ after, active, limit });
    steps.push(step);
    after = step.next;
  } while (after !== undefined);
  return steps;
}

test('a walk meets uploads, current and older versions once, however short its steps are', async () => {
  const w = await worldWithBucket();
  await w.catalogue.setVersioning({ bucket: 'b', versioning: 'Enabled' });
  for (let index = 0; index < 7; index++) await put(w, 'k', by('m-old'));
  await put(w, 'plain');
  await put(w, 'kms', by('k1', 'aws:kms'));
  await put(w, 'new', by('m-new'));
  const create = { bucket: 'b', key: 'u', owner: OWNER, system: {}, user: {} };
  value(await w.catalogue.createUpload({ ...create, encryption: by('m-old') }));
  for (const limit of [1, 2, 3, 1000]) {
    const steps = await walkAll(w, 'm-new', limit);
    const places = steps.flatMap(({ outdated }) =>
      outdated.map((one) => one.place.toString('hex')),
    );
    assert.equal(places.length, 8);
    assert.equal(new Set(places).size, 8);
    assert.equal(
      steps.reduce((sum, step) => sum + step.rows, 0),
      11,
    );
    const counted = steps.flatMap(({ counts }) => counts);
    const total = (keyId: string) =>
      counted.reduce((sum, one) => sum + (one.keyId === keyId ? one.count : 0), 0);
    assert.deepEqual(['m-old', 'm-new', 'k1'].map(total), [8, 1, 1]);
  }
});

test('wrapping anew changes nothing but the encryption, and only what is still as it was seen', async () => {
  const w = await worldWithBucket();
  await put(w, 'a', by('m-old'));
  await put(w, 'b', by('m-old'));
  const before = value(await w.catalogue.getObject({ bucket: 'b', key: 'a' })).object;
  const [step] = (await walkAll(w, 'm-new', 1000)).filter(({ outdated }) => outdated.length > 0);
  const changes = (step?.outdated ?? []).map(({ place, encryption }) => ({
    place,
    from: encryption.wrappedKey,
    encryption: by('m-new'),
  }));
  // Replaced after it was seen.
  await put(w, 'b', by('m-newer'));
  assert.deepEqual(await w.catalogue.dataKeys.rewrapDataKeys({ changes }), { changed: 1 });
  assert.deepEqual(await w.catalogue.dataKeys.rewrapDataKeys({ changes }), { changed: 0 });
  const after = value(await w.catalogue.getObject({ bucket: 'b', key: 'a' })).object;
  assert.deepEqual(after, { ...before, encryption: by('m-new') });
  const other = value(await w.catalogue.getObject({ bucket: 'b', key: 'b' })).object;
  assert.equal(other.encryption?.keyId, 'm-newer');
  await checkInvariants(w.store);
});

test('a place that is none of an encrypted row is refused', async () => {
  const w = await worldWithBucket();
  const { dataKeys } = w.catalogue;
  const invalid = (error: unknown) => isFailure(error, 'invalid');
  const place = Buffer.from('Bucket row');
  const change = { place, from: Buffer.alloc(1), encryption: by('m-new') };
  await assert.rejects(dataKeys.rewrapDataKeys({ changes: [change] }), invalid);
  await assert.rejects(dataKeys.walkDataKeys({ after: place, limit: 1 }), invalid);
});
