import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { BucketQuota } from '../protocol.ts';
import { decodeQuota, encodeQuota, QUOTA_CONFIG } from './quota.ts';
import {
  checkInvariants,
  complete,
  freshPart,
  MIB,
  OWNER,
  refusal,
  startUpload,
  value,
  worldWithBucket,
  type World,
  WRITER,
} from './test-support.ts';

async function worldWithQuota(quota: BucketQuota): Promise<World> {
  const w = await worldWithBucket();
  await setQuota(w, quota);
  return w;
}

async function setQuota({ catalogue }: World, quota: BucketQuota): Promise<void> {
  const command = { bucket: 'b', name: QUOTA_CONFIG };
  const encoded = encodeQuota(quota);
  value(
    await catalogue.setBucketConfig(
      encoded === undefined ? command : { ...command, value: encoded },
    ),
  );
}

const putting = (w: World, key: string, size: number) =>
  w.catalogue.putObject({ writer: WRITER, bucket: 'b', key, object: w.object(size), missing: [] });

const usage = async ({ catalogue }: World) => value(await catalogue.bucketUsage({ bucket: 'b' }));

test('a bucket takes what its quota allows, to the byte, and no more', async () => {
  const w = await worldWithQuota({ bytes: 100 });
  value(await putting(w, 'a', 60));
  value(await putting(w, 'b', 40));
  assert.equal(refusal(await putting(w, 'c', 1)), 'QuotaExceeded');
  // What is empty takes no bytes, and what replaces counts by its difference.
  value(await putting(w, 'c', 0));
  value(await putting(w, 'a', 50));
  value(await putting(w, 'c', 10));
  assert.equal(refusal(await putting(w, 'c', 11)), 'QuotaExceeded');
  assert.deepEqual(await usage(w), { objects: 3, bytes: 100 });
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'a' }));
  value(await putting(w, 'd', 50));
  await checkInvariants(w.store);
});

test('a quota of objects counts versions; deleting is always possible', async () => {
  const w = await worldWithQuota({ objects: 2 });
  value(await w.catalogue.setVersioning({ bucket: 'b', versioning: 'Enabled' }));
  const first = value(await putting(w, 'a', 1));
  value(await putting(w, 'a', 1));
  assert.equal(refusal(await putting(w, 'a', 1)), 'QuotaExceeded');
  const marker = value(await w.catalogue.deleteObject({ bucket: 'b', key: 'a' }));
  assert.equal(marker.marker, true);
  const { versionId } = first;
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'a', versionId }));
  // Two are left: the other version and the marker.
  assert.equal(refusal(await putting(w, 'a', 1)), 'QuotaExceeded');
  await checkInvariants(w.store);
});

test('a quota below what there is lets nothing grow and everything shrink', async () => {
  const w = await worldWithBucket();
  value(await putting(w, 'a', 50));
  value(await putting(w, 'b', 50));
  await setQuota(w, { bytes: 10, objects: 1 });
  assert.equal(refusal(await putting(w, 'a', 51)), 'QuotaExceeded');
  assert.equal(refusal(await putting(w, 'c', 0)), 'QuotaExceeded');
  value(await putting(w, 'a', 49));
  await setQuota(w, {});
  value(await putting(w, 'c', 1000));
});

test('copies, renames and completed uploads are bound by the quota, too', async () => {
  const w = await worldWithQuota({ bytes: 10 * MIB });
  const object = value(await putting(w, 'a', 6 * MIB));
  const copy = {
    writer: WRITER,
    source: { bucket: 'b', key: 'a', version: object.version },
    bucket: 'b',
    key: 'copy',
    owner: OWNER,
  };
  assert.equal(refusal(await w.catalogue.copyObject(copy)), 'QuotaExceeded');
  value(await w.catalogue.renameObject({ bucket: 'b', source: 'a', key: 'moved' }));
  const upload = await startUpload(w);
  const part = freshPart(w, upload, 1, 5 * MIB);
  value(await w.catalogue.putPart(part));
  const parts = [{ number: 1, etag: part.etag }];
  assert.equal(refusal(await complete(w.catalogue, upload, parts)), 'QuotaExceeded');
  // The upload is still there, and goes through when there is room.
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'moved' }));
  value(await complete(w.catalogue, upload, parts));
  await checkInvariants(w.store);
});

test('writers at once never bring a bucket above its quota, and fill it to the last object', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 20 }), async (objects) => {
      const w = await worldWithQuota({ objects });
      const answers = await Promise.all(
        Array.from({ length: 30 }, (_, at) => putting(w, `k${at}`, 1)),
      );
      assert.equal(answers.filter((answer) => answer.ok).length, objects);
      assert.deepEqual(await usage(w), { objects, bytes: objects });
    }),
    { numRuns: 20 },
  );
});

test('a quota is kept as it was set; none is no configuration', () => {
  assert.equal(encodeQuota({}), undefined);
  for (const quota of [{ bytes: 0 }, { objects: 5 }, { bytes: 2 ** 50, objects: 1 }]) {
    const kept = decodeQuota(encodeQuota(quota) ?? '');
    assert.deepEqual({ ...kept }, { bytes: undefined, objects: undefined, ...quota });
  }
  assert.throws(() => decodeQuota('7'));
  assert.throws(() => decodeQuota('{"bytes":"many"}'));
});
