/** Server access logs, from the request to the object in the target bucket. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LoggingEnabled } from '@aws-sdk/client-s3';
import { bytesOf, codeOf, refusedWith, useInspectedServer } from '../support/server.ts';

const server = useInspectedServer({ config: { accessLogFlushMs: 200 } });

/** A bucket into which the log of any bucket may be put. */
async function logBucket(): Promise<string> {
  const Bucket = await server.bucket();
  const Policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { Service: 'logging.s3.amazonaws.com' },
        Action: 's3:PutObject',
        Resource: `arn:aws:s3:::${Bucket}/*`,
      },
    ],
  });
  await server.s3.putBucketPolicy({ Bucket, Policy });
  return Bucket;
}

async function logged(target: string, more: Partial<LoggingEnabled> = {}): Promise<string> {
  const Bucket = await server.bucket();
  const LoggingEnabled = { TargetBucket: target, TargetPrefix: 'log/', ...more };
  await server.s3.putBucketLogging({ Bucket, BucketLoggingStatus: { LoggingEnabled } });
  return Bucket;
}

/** All lines in the target that contain a text, once there are so many. */
async function lines(Bucket: string, text: string, count: number): Promise<string[]> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const { Contents = [] } = await server.s3.listObjectsV2({ Bucket });
    const found: string[] = [];
    for (const { Key } of Contents) {
      const body = await bytesOf(await server.s3.getObject({ Bucket, Key }));
      found.push(...body.toString().split('\n').slice(0, -1));
    }
    const mine = found.filter((line) => line.includes(text));
    if (mine.length >= count) return mine;
    assert.ok(performance.now() < deadline, `${count} lines were expected: ${found.join('\n')}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('server access logs', () => {
  test('requests to the bucket become lines of objects in the target', async () => {
    const target = await logBucket();
    const Bucket = await logged(target);
    const put = await server.s3.putObject({ Bucket, Key: 'a b', Body: 'hello' });
    await bytesOf(await server.s3.getObject({ Bucket, Key: 'a b', Range: 'bytes=1-2' }));
    await codeOf(server.s3.getObject({ Bucket, Key: 'none' }));
    const bare = await fetch(`${server.endpoint}/${Bucket}/a%20b`, {
      headers: { Referer: 'http://from.example/', 'User-Agent': 'visitor "one"' },
    });
    assert.equal(bare.status, 403);
    await bare.arrayBuffer();
    const found = await lines(target, ` ${Bucket} [`, 4);
    const line = (text: string) => found.find((one) => one.includes(text)) ?? assert.fail(text);
    const owner = found[0]?.split(' ')[0] ?? '';
    assert.match(owner, /^[0-9a-f]{64}$/);
    const time = String.raw`\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]`;
    const head = `^${owner} ${Bucket} ${time} 127\\.0\\.0\\.1`;
    const tail = String.raw`\d+ \d+ "-" "aws-sdk-js[^"]*" - \S+ SigV4 - AuthHeader 127\.0\.0\.1:\d+ - - -$`;
    assert.match(
      line('REST.PUT.OBJECT'),
      new RegExp(
        `${head} ${owner} ${put.$metadata.requestId?.toUpperCase()} REST\\.PUT\\.OBJECT a%20b "PUT /${Bucket}/a%20b\\?x-id=PutObject HTTP/1\\.1" 200 - - 5 ${tail}`,
      ),
    );
    assert.match(
      line(' 206 '),
      new RegExp(
        `REST\\.GET\\.OBJECT a%20b "GET /${Bucket}/a%20b\\?x-id=GetObject HTTP/1\\.1" 206 - 2 5 ${tail}`,
      ),
    );
    assert.match(line('NoSuchKey'), /REST\.GET\.OBJECT none "GET [^"]*" 404 NoSuchKey \d+ - /);
    assert.match(
      line('visitor'),
      new RegExp(
        `${head} - [0-9A-F]{16} REST\\.GET\\.OBJECT a%20b "GET /${Bucket}/a%20b HTTP/1\\.1" 403 AccessDenied \\d+ - \\d+ \\d+ "http://from\\.example/" "visitor %22one%22" - \\S+ - - - 127`,
      ),
    );
    const { Contents = [] } = await server.s3.listObjectsV2({ Bucket: target });
    for (const { Key } of Contents) {
      assert.match(Key ?? '', /^log\/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}$/);
    }
  });

  test('each key of a batch and the source of a copy have lines of their own', async () => {
    const target = await logBucket();
    const Bucket = await logged(target);
    const from = await logged(target);
    await server.s3.putObject({ Bucket: from, Key: 'source', Body: 'x' });
    await server.s3.copyObject({ Bucket, Key: 'copy', CopySource: `${from}/source` });
    const Objects = [{ Key: 'copy' }, { Key: 'copy', VersionId: 'v' }];
    await server.s3.deleteObjects({ Bucket, Delete: { Objects } });
    const read = await lines(target, 'REST.COPY.OBJECT_GET', 1);
    assert.match(read[0] ?? '', new RegExp(` ${from} .* source "PUT /${Bucket}/copy[^"]*" 200 - `));
    const batch = await lines(target, 'BATCH.DELETE.OBJECT', 2);
    assert.match(batch[0] ?? '', / BATCH\.DELETE\.OBJECT copy - 204 - - - - - - - - /);
    const [whole] = await lines(target, 'REST.POST.MULTI_OBJECT_DELETE', 1);
    assert.equal(whole?.split(' ')[6], batch[0]?.split(' ')[6], 'one request, one id');
  });

  test('requests that change the bucket are logged, too', async () => {
    const target = await logBucket();
    const Bucket = await logged(target);
    const Tagging = { TagSet: [{ Key: 'a', Value: 'b' }] };
    await server.s3.putBucketTagging({ Bucket, Tagging });
    await server.s3.putBucketLogging({ Bucket, BucketLoggingStatus: {} });
    await server.s3.headBucket({ Bucket });
    const found = await lines(target, ` ${Bucket} [`, 2);
    assert.deepEqual(found.map((line) => String(/REST\.\S+/.exec(line)?.[0])).toSorted(), [
      'REST.PUT.LOGGING_STATUS',
      'REST.PUT.TAGGING',
    ]);
  });

  test('partitioned names tell account, region, bucket and day', async () => {
    const target = await logBucket();
    const PartitionedPrefix = { PartitionDateSource: 'EventTime' as const };
    const Bucket = await logged(target, { TargetObjectKeyFormat: { PartitionedPrefix } });
    await server.s3.headBucket({ Bucket });
    await lines(target, 'REST.HEAD.BUCKET', 1);
    const { Contents = [] } = await server.s3.listObjectsV2({ Bucket: target });
    const name = new RegExp(
      `^log/\\d{12}/us-east-1/${Bucket}/\\d{4}/\\d\\d/\\d\\d/\\d{4}-\\d\\d-\\d\\d-00-00-00-[0-9A-F]{16}$`,
    );
    for (const { Key } of Contents) assert.match(Key ?? '', name);
  });

  test('where ACLs count, the group of log delivery and target grants do', async () => {
    const target = 'logs-by-acl';
    await server.s3.createBucket({ Bucket: target, ObjectOwnership: 'ObjectWriter' });
    // S3 has it, the SDK's type does not.
    const ACL = 'log-delivery-write' as 'private';
    await server.s3.putBucketAcl({ Bucket: target, ACL });
    const ID = 'b'.repeat(64);
    const TargetGrants = [
      { Grantee: { Type: 'CanonicalUser' as const, ID }, Permission: 'READ' as const },
    ];
    const Bucket = await logged(target, { TargetGrants });
    await server.s3.headBucket({ Bucket });
    await lines(target, 'REST.HEAD.BUCKET', 1);
    const { Contents = [] } = await server.s3.listObjectsV2({ Bucket: target });
    const { Grants = [] } = await server.s3.getObjectAcl({ Bucket: target, Key: Contents[0]?.Key });
    assert.deepEqual(
      Grants.map(({ Permission }) => Permission),
      ['FULL_CONTROL', 'READ'],
    );
    assert.equal(Grants[1]?.Grantee?.ID, ID);
    const { LoggingEnabled } = await server.s3.getBucketLogging({ Bucket });
    assert.deepEqual(LoggingEnabled?.TargetGrants, TargetGrants);
  });

  test('nothing is delivered any more when the target does not allow it', async () => {
    const target = await logBucket();
    const Bucket = await logged(target);
    await server.s3.headBucket({ Bucket });
    await lines(target, 'REST.HEAD.BUCKET', 1);
    await server.s3.deleteBucketPolicy({ Bucket: target });
    const before = (await server.s3.listObjectsV2({ Bucket: target })).KeyCount;
    await server.s3.headBucket({ Bucket });
    const deadline = performance.now() + 10_000;
    while (!server.log().includes('may not be delivered any more')) {
      assert.ok(performance.now() < deadline);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal((await server.s3.listObjectsV2({ Bucket: target })).KeyCount, before);
  });

  test('a configuration comes back as it was sent, and goes', async () => {
    const target = await logBucket();
    const TargetObjectKeyFormat = { SimplePrefix: {} };
    const Bucket = await logged(target, { TargetObjectKeyFormat });
    const { LoggingEnabled } = await server.s3.getBucketLogging({ Bucket });
    assert.deepEqual(LoggingEnabled, {
      TargetBucket: target,
      TargetPrefix: 'log/',
      TargetObjectKeyFormat,
    });
    await server.s3.putBucketLogging({ Bucket, BucketLoggingStatus: {} });
    assert.equal((await server.s3.getBucketLogging({ Bucket })).LoggingEnabled, undefined);
  });

  test('a target that is missing or closed is refused', async () => {
    const Bucket = await server.bucket();
    const put = (TargetBucket: string, more = {}) =>
      server.s3.putBucketLogging({
        Bucket,
        BucketLoggingStatus: { LoggingEnabled: { TargetBucket, TargetPrefix: '', ...more } },
      });
    await refusedWith('InvalidTargetBucketForLogging', put('no-such-bucket'));
    await refusedWith('InvalidTargetBucketForLogging', put(await server.bucket()));
    const Grantee = { Type: 'CanonicalUser' as const, ID: 'a'.repeat(64) };
    const TargetGrants = [{ Grantee, Permission: 'READ' as const }];
    await refusedWith('InvalidArgument', put(await logBucket(), { TargetGrants }));
    assert.equal((await server.s3.getBucketLogging({ Bucket })).LoggingEnabled, undefined);
  });
});
