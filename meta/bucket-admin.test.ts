import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFailure } from '../base/failure.ts';
import { BUCKET_PAGE_MAX, createBucketAdmin } from './bucket-admin.ts';
import { createWorld, OWNER, value } from './catalogue/test-support.ts';

async function adminWith(...names: string[]) {
  const world = await createWorld();
  for (const name of names) {
    value(await world.catalogue.createBucket({ name, owner: OWNER, region: 'r' }));
  }
  return { world, admin: createBucketAdmin(world.catalogue) };
}

test('buckets come with what they hold and may hold', async () => {
  const { world, admin } = await adminWith('aaa', 'bbb');
  await world.put('aaa', 'k', 10);
  const info = await admin.setBucketQuota({ bucket: 'aaa', bytes: 100 });
  assert.deepEqual(info.usage, { objects: 1, bytes: 10 });
  assert.deepEqual(info.quota, { bytes: 100, objects: undefined });
  assert.deepEqual(await admin.bucketInfo({ bucket: 'aaa' }), info);
  const { buckets, next } = await admin.listBuckets({ prefix: '', limit: 10 });
  assert.deepEqual(
    buckets.map(({ name, usage, quota }) => [name, usage.bytes, quota.bytes]),
    [
      ['aaa', 10, 100],
      ['bbb', 0, undefined],
    ],
  );
  assert.equal(next, undefined);
});

test('a quota without limits is none', async () => {
  const { admin } = await adminWith('aaa');
  await admin.setBucketQuota({ bucket: 'aaa', objects: 5 });
  const info = await admin.setBucketQuota({ bucket: 'aaa' });
  assert.deepEqual([info.quota, info.configs], [{}, []]);
});

test('many buckets come in pages, in the order of their names', async () => {
  const names = Array.from(
    { length: BUCKET_PAGE_MAX + 5 },
    (_, at) => `b${String(at).padStart(3, '0')}`,
  );
  const { admin } = await adminWith(...names);
  const seen: string[] = [];
  let after: string | undefined;
  do {
    const page = await admin.listBuckets({ prefix: 'b', after, limit: 1000 });
    assert.ok(page.buckets.length <= BUCKET_PAGE_MAX);
    seen.push(...page.buckets.map(({ name }) => name));
    after = page.next;
  } while (after !== undefined);
  assert.deepEqual(seen, names);
});

test('a bucket that is not there is named', async () => {
  const { admin } = await adminWith();
  const missing = (error: unknown) =>
    isFailure(error, 'not-found') && error.message === 'there is no bucket none';
  await assert.rejects(admin.bucketInfo({ bucket: 'none' }), missing);
  await assert.rejects(admin.setBucketQuota({ bucket: 'none', bytes: 1 }), missing);
});
