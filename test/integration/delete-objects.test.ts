/** DeleteObjects through the official SDK. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { etagOf, refusedWith, useServer } from '../support/server.ts';

const server = useServer();

async function fill(Bucket: string, keys: readonly string[]): Promise<void> {
  await Promise.all(keys.map((Key) => server.s3.putObject({ Bucket, Key, Body: Key })));
}

async function keysOf(Bucket: string): Promise<string[]> {
  const { Contents = [] } = await server.s3.listObjectsV2({ Bucket });
  return Contents.map(({ Key }) => Key ?? '');
}

test('DeleteObjects deletes exactly the keys named, and reports missing ones as deleted', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const hostile = [
    '0001',
    '1',
    '1e5',
    '100000',
    ' a ',
    'a',
    '__proto__',
    'constructor',
    '&amp;',
    '&',
  ];
  await fill(Bucket, hostile);
  const named = ['0001', '1e5', ' a ', '__proto__', '&amp;', 'missing'];
  const Objects = named.map((Key) => ({ Key }));
  const { Deleted, Errors } = await s3.deleteObjects({ Bucket, Delete: { Objects } });
  assert.deepEqual(
    Deleted?.map(({ Key }) => Key),
    named,
  );
  assert.equal(Errors, undefined);
  assert.deepEqual(await keysOf(Bucket), hostile.filter((key) => !named.includes(key)).toSorted());
});

test('DeleteObjects takes 1,000 keys and refuses 1,001', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const Objects = Array.from({ length: 1001 }, (_, at) => ({ Key: `k${at}` }));
  await fill(Bucket, ['k0', 'k999', 'k1000']);
  await refusedWith('MalformedXML', s3.deleteObjects({ Bucket, Delete: { Objects } }));
  assert.equal((await keysOf(Bucket)).length, 3);
  Objects.pop();
  const { Deleted } = await s3.deleteObjects({ Bucket, Delete: { Objects } });
  assert.equal(Deleted?.length, 1000);
  assert.deepEqual(await keysOf(Bucket), ['k1000']);
});

test('DeleteObjects in quiet mode reports errors only', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await fill(Bucket, ['a', 'b']);
  const Objects = [{ Key: 'a' }, { Key: 'b', VersionId: 'no id' }];
  const answer = await s3.deleteObjects({ Bucket, Delete: { Objects, Quiet: true } });
  assert.equal(answer.Deleted, undefined);
  assert.deepEqual(
    answer.Errors?.map(({ Key, Code }) => [Key, Code]),
    [['b', 'InvalidArgument']],
  );
  assert.deepEqual(await keysOf(Bucket), ['b']);
});

test('DeleteObjects judges the conditions of each key by itself', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await fill(Bucket, ['a', 'b', 'c', 'd']);
  const answer = await s3.deleteObjects({
    Bucket,
    Delete: {
      Objects: [
        { Key: 'a', ETag: etagOf('a') },
        { Key: 'b', ETag: etagOf('a') },
        { Key: 'c', Size: 1 },
        { Key: 'd', Size: 2 },
      ],
    },
  });
  assert.deepEqual(
    answer.Deleted?.map(({ Key }) => Key),
    ['a', 'c'],
  );
  assert.deepEqual(
    answer.Errors?.map(({ Key, Code }) => [Key, Code]),
    [
      ['b', 'PreconditionFailed'],
      ['d', 'PreconditionFailed'],
    ],
  );
  assert.deepEqual(await keysOf(Bucket), ['b', 'd']);
});

test('DeleteObjects of one key named twice deletes it once', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await fill(Bucket, ['a']);
  const Objects = [{ Key: 'a' }, { Key: 'a' }];
  const { Deleted } = await s3.deleteObjects({ Bucket, Delete: { Objects } });
  assert.equal(Deleted?.length, 2);
  assert.deepEqual(await keysOf(Bucket), []);
});

test('DeleteObjects empties a bucket while others write, without an error', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const batches = Array.from({ length: 4 }, (_, batch) =>
    Array.from({ length: 40 }, (_unused, at) => `${batch}/${at}`),
  );
  await fill(Bucket, batches.flat());
  await Promise.all([
    ...batches.map(async (keys) => {
      const Objects = keys.map((Key) => ({ Key }));
      const { Errors } = await s3.deleteObjects({ Bucket, Delete: { Objects } });
      assert.equal(Errors, undefined);
    }),
    fill(Bucket, ['kept/1', 'kept/2']),
  ]);
  assert.deepEqual(await keysOf(Bucket), ['kept/1', 'kept/2']);
});
