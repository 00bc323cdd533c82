/** Quotas of buckets: set by the command, kept by every write through the S3 endpoint. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { S3 } from '@aws-sdk/client-s3';
import type { BucketInfo } from '../../meta/admin-protocol.ts';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { codeOf, refusedWith } from '../support/server.ts';

let cluster: Cluster;
let s3: S3;

before(async () => {
  cluster = await startCluster({ args: ['--gateways', '2'], startTimeoutMs: 60_000 });
  s3 = new S3({
    endpoint: cluster.ready().s3,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: TEST_KEYS.accessKey, secretAccessKey: TEST_KEYS.secretKey },
  });
});

after(async () => {
  s3.destroy();
  await cluster.stop();
});

async function ashlar(code: number, ...args: string[]): Promise<string> {
  const answer = await cluster.ashlar(...args);
  assert.equal(answer.code, code, answer.output);
  return answer.output;
}

test('ashlar bucket quota bounds what a bucket takes, at once and to the byte', async () => {
  const Bucket = 'bounded';
  await s3.createBucket({ Bucket });
  assert.match(
    await ashlar(0, 'bucket', 'quota', Bucket, '--bytes', '1KiB'),
    /quota +0 % of 1\.0 KiB/,
  );
  await s3.putObject({ Bucket, Key: 'a', Body: 'x'.repeat(1000) });
  const refused = await refusedWith(
    'QuotaExceeded',
    s3.putObject({ Bucket, Key: 'b', Body: 'x'.repeat(25) }),
  );
  assert.equal(refused.$metadata.httpStatusCode, 403);
  await s3.putObject({ Bucket, Key: 'b', Body: 'x'.repeat(24) });
  await refusedWith(
    'QuotaExceeded',
    s3.copyObject({ Bucket, Key: 'c', CopySource: `${Bucket}/b` }),
  );
  const { UploadId } = await s3.createMultipartUpload({ Bucket, Key: 'c' });
  const part = { Bucket, Key: 'c', UploadId, PartNumber: 1 };
  const { ETag } = await s3.uploadPart({ ...part, Body: 'x' });
  const completed = s3.completeMultipartUpload({
    Bucket,
    Key: 'c',
    UploadId,
    MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] },
  });
  await refusedWith('QuotaExceeded', completed);
  const listed = JSON.parse(
    await ashlar(0, 'bucket', 'list', '--json', '--prefix', 'bound'),
  ) as BucketInfo[];
  assert.deepEqual(
    listed.map(({ name, usage, quota }) => ({ name, usage, quota })),
    [{ name: Bucket, usage: { objects: 2, bytes: 1024 }, quota: { bytes: 1024 } }],
  );
  await ashlar(0, 'bucket', 'quota', Bucket, '--bytes', 'none', '--objects', '3');
  await s3.putObject({ Bucket, Key: 'c', Body: 'x'.repeat(5000) });
  assert.equal(await codeOf(s3.putObject({ Bucket, Key: 'd', Body: '' })), 'QuotaExceeded');
  await s3.deleteObject({ Bucket, Key: 'a' });
  await s3.putObject({ Bucket, Key: 'd', Body: '' });
  assert.match(await ashlar(0, 'bucket', 'info', Bucket), /quota +100 % of 3 objects/);
});

test('writers through both gateways at once fill a bucket exactly', async () => {
  const Bucket = 'contended';
  await s3.createBucket({ Bucket });
  await ashlar(0, 'bucket', 'quota', Bucket, '--objects', '10');
  const codes = await Promise.all(
    Array.from({ length: 40 }, (_, at) =>
      codeOf(s3.putObject({ Bucket, Key: `k${at}`, Body: 'x' })),
    ),
  );
  assert.equal(codes.filter((code) => code === 'ok').length, 10);
  assert.equal(codes.filter((code) => code === 'QuotaExceeded').length, 30);
});

test('a quota that is none, or of a bucket that is none, is told', async () => {
  await s3.createBucket({ Bucket: 'plain' });
  assert.match(await ashlar(2, 'bucket', 'quota', 'plain'), /Say --bytes, --objects or both/);
  assert.match(await ashlar(2, 'bucket', 'quota', 'plain', '--bytes', 'much'), /expected a size/);
  assert.match(await ashlar(2, 'bucket', 'quota', 'plain', '--objects', '-1'), /--objects/);
  assert.match(await ashlar(1, 'bucket', 'info', 'nowhere'), /there is no bucket nowhere/i);
});
