/** Lifecycle rules through the SDK, with days of a second where something is to expire. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LifecycleRule, S3 } from '@aws-sdk/client-s3';
import { startCluster, TEST_KEYS } from '../support/cluster.ts';
import { uploadParts } from '../support/multipart.ts';
import { refusedWith, useServer } from '../support/server.ts';

const DAY_MS = 1000;
const server = useServer({ lifecycleDayMs: DAY_MS });

const rule = (given: Partial<LifecycleRule>): LifecycleRule => ({
  ID: 'r',
  Status: 'Enabled',
  Filter: {},
  ...given,
});

async function setRules(Bucket: string, ...Rules: LifecycleRule[]): Promise<void> {
  await server.s3.putBucketLifecycleConfiguration({ Bucket, LifecycleConfiguration: { Rules } });
}

/** Versions and delete markers, `key` and `key marker`, in order. */
async function versions(s3: S3, Bucket: string): Promise<string[]> {
  const { Versions = [], DeleteMarkers = [] } = await s3.listObjectVersions({ Bucket });
  return [
    ...Versions.map(({ Key }) => Key ?? ''),
    ...DeleteMarkers.map(({ Key }) => `${Key} marker`),
  ].sort();
}

/** Looks until it holds; what it was last, when it never does. */
async function becomes(look: () => Promise<unknown>, expected: unknown): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const found = await look();
    try {
      assert.deepEqual(found, expected);
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await sleep(100);
  }
}

/* ------------------------------------------------------------------ the configuration */

test('rules come back as they were put, and go', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await refusedWith('NoSuchLifecycleConfiguration', s3.getBucketLifecycleConfiguration({ Bucket }));
  await s3.deleteBucketLifecycle({ Bucket });
  const Rules: LifecycleRule[] = [
    rule({ ID: '1', Expiration: { Days: 3000 } }),
    { ID: '2', Status: 'Disabled', Prefix: 'old', Expiration: { Date: new Date('2099-01-01') } },
    rule({
      ID: '3',
      Filter: {
        And: { Prefix: 'x', Tags: [{ Key: 'a', Value: 'b' }], ObjectSizeGreaterThan: 10 },
      },
      NoncurrentVersionExpiration: { NoncurrentDays: 3000, NewerNoncurrentVersions: 2 },
    }),
    rule({
      ID: '4',
      Expiration: { ExpiredObjectDeleteMarker: true },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: 3000 },
    }),
  ];
  await setRules(Bucket, ...Rules);
  const read = await s3.getBucketLifecycleConfiguration({ Bucket });
  assert.deepEqual(read.Rules, Rules);
  assert.equal(read.TransitionDefaultMinimumObjectSize, 'all_storage_classes_128K');
  const [first] = Rules;
  assert.ok(first);
  await s3.putBucketLifecycleConfiguration({
    Bucket,
    LifecycleConfiguration: { Rules: [first] },
    TransitionDefaultMinimumObjectSize: 'varies_by_storage_class',
  });
  const again = await s3.getBucketLifecycleConfiguration({ Bucket });
  assert.deepEqual(again.Rules, [first]);
  assert.equal(again.TransitionDefaultMinimumObjectSize, 'varies_by_storage_class');
  await s3.deleteBucketLifecycle({ Bucket });
  await refusedWith('NoSuchLifecycleConfiguration', s3.getBucketLifecycleConfiguration({ Bucket }));
});

test('a thousand rules are kept, transitions are refused', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const many = Array.from({ length: 1000 }, (_, index) =>
    rule({ ID: `rule-${index}`, Filter: { Prefix: `p${index}/` }, Expiration: { Days: 3000 } }),
  );
  await setRules(Bucket, ...many);
  const { Rules = [] } = await s3.getBucketLifecycleConfiguration({ Bucket });
  assert.deepEqual(Rules, many);
  const Transitions = [{ Days: 1, StorageClass: 'GLACIER' as const }];
  await refusedWith('NotImplemented', setRules(Bucket, rule({ Transitions })));
  await refusedWith('MalformedXML', setRules(Bucket));
  await refusedWith('InvalidArgument', setRules(Bucket, rule({ Expiration: { Days: 0 } })));
  assert.equal((await s3.getBucketLifecycleConfiguration({ Bucket })).Rules?.length, 1000);
});

/* ------------------------------------------------------------------ headers */

test('replies tell when the object will expire, and when the upload will be aborted', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const tags = { Tag: { Key: 'temporary', Value: 'yes' } };
  await setRules(
    Bucket,
    rule({ ID: 'a rule', Filter: tags, Expiration: { Date: new Date('2099-01-01') } }),
    rule({
      ID: 'uploads',
      Filter: { Prefix: 'u' },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: 3000 },
    }),
  );
  const expected = 'expiry-date="Thu, 01 Jan 2099 00:00:00 GMT", rule-id="a%20rule"';
  const name = { Bucket, Key: 'a' };
  const Tagging = 'temporary=yes';
  assert.equal((await s3.putObject({ ...name, Body: 'x', Tagging })).Expiration, expected);
  assert.equal((await s3.headObject(name)).Expiration, expected);
  const got = await s3.getObject(name);
  assert.equal(got.Expiration, expected);
  await got.Body?.transformToString();
  const copy = { Bucket, Key: 'copy', CopySource: `${Bucket}/a` };
  assert.equal((await s3.copyObject(copy)).Expiration, expected);
  const untagged = { ...copy, TaggingDirective: 'REPLACE' as const };
  assert.equal((await s3.copyObject(untagged)).Expiration, undefined);
  const target = { Bucket, Key: 'up' };
  const begun = await s3.createMultipartUpload({ ...target, Tagging });
  assert.equal(begun.AbortRuleId, 'uploads');
  assert.ok((begun.AbortDate?.getTime() ?? 0) > Date.now() + 2999 * 86_400_000);
  const { UploadId } = begun;
  const part = await s3.uploadPart({ ...target, UploadId, PartNumber: 1, Body: 'x' });
  const listed = await s3.listParts({ ...target, UploadId });
  assert.deepEqual([listed.AbortRuleId, listed.AbortDate], ['uploads', begun.AbortDate]);
  const MultipartUpload = { Parts: [{ PartNumber: 1, ETag: part.ETag }] };
  const done = await s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload });
  assert.equal(done.Expiration, expected);
  assert.equal((await s3.putObject({ Bucket, Key: 'b', Body: 'x' })).Expiration, undefined);
});

/* ------------------------------------------------------------------ what goes */

test('objects go when their time has come, by prefix, tag and size, and no others', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const put = (Key: string, size: number, Tagging?: string) =>
    s3.putObject({ Bucket, Key, Body: 'x'.repeat(size), Tagging });
  await put('a/1', 1);
  await put('b/tagged', 1, 'go=yes');
  await put('b/other', 1, 'go=no');
  await put('c/small', 10);
  await put('c/large', 1000);
  await put('past', 1);
  await put('kept', 1);
  await setRules(
    Bucket,
    rule({ ID: '1', Filter: { Prefix: 'a/' }, Expiration: { Days: 1 } }),
    rule({ ID: '2', Filter: { Tag: { Key: 'go', Value: 'yes' } }, Expiration: { Days: 1 } }),
    rule({
      ID: '3',
      Filter: { And: { Prefix: 'c/', ObjectSizeGreaterThan: 100 } },
      Expiration: { Days: 1 },
    }),
    rule({
      ID: '4',
      Filter: { Prefix: 'past' },
      Expiration: { Date: new Date('2020-01-01') },
    }),
    rule({ ID: '5', Status: 'Disabled', Expiration: { Days: 1 } }),
    rule({ ID: '6', Filter: { Prefix: 'kept' }, Expiration: { Days: 3000 } }),
  );
  await becomes(() => versions(s3, Bucket), ['b/other', 'c/small', 'kept']);
  await s3.deleteBucketLifecycle({ Bucket });
});

test('versions go under delete markers, then for good, then the markers', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: 'Enabled' } });
  for (const Body of ['1', '2', '3']) await s3.putObject({ Bucket, Key: 'a', Body });
  await s3.putObject({ Bucket, Key: 'b', Body: 'x' });
  await setRules(Bucket, rule({ Filter: { Prefix: 'a' }, Expiration: { Days: 1 } }));
  await becomes(() => versions(s3, Bucket), ['a', 'a', 'a', 'a marker', 'b']);
  await refusedWith('NoSuchKey', s3.getObject({ Bucket, Key: 'a' }));
  const NoncurrentVersionExpiration = { NoncurrentDays: 1, NewerNoncurrentVersions: 1 };
  await setRules(Bucket, rule({ Filter: { Prefix: 'a' }, NoncurrentVersionExpiration }));
  await becomes(() => versions(s3, Bucket), ['a', 'a marker', 'b']);
  await setRules(
    Bucket,
    rule({
      Filter: { Prefix: 'a' },
      Expiration: { ExpiredObjectDeleteMarker: true },
      NoncurrentVersionExpiration: { NoncurrentDays: 1 },
    }),
  );
  await becomes(() => versions(s3, Bucket), ['b']);
});

test('uploads are aborted', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await uploadParts(s3, { Bucket, Key: 'a' }, ['x']);
  await uploadParts(s3, { Bucket, Key: 'b' }, ['x']);
  await setRules(
    Bucket,
    rule({ Filter: { Prefix: 'a' }, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 } }),
  );
  const open = async () => {
    const { Uploads = [] } = await s3.listMultipartUploads({ Bucket });
    return Uploads.map(({ Key }) => Key);
  };
  await becomes(open, ['b']);
});

test('what is locked stays until it is free', async () => {
  const { s3 } = server;
  const Bucket = 'locked-rules';
  await s3.createBucket({ Bucket, ObjectLockEnabledForBucket: true });
  const held = { Bucket, Key: 'a', Body: 'x', ObjectLockLegalHoldStatus: 'ON' as const };
  const { VersionId } = await s3.putObject(held);
  await s3.putObject({ Bucket, Key: 'b', Body: 'x' });
  await setRules(
    Bucket,
    rule({ Expiration: { Days: 1 }, NoncurrentVersionExpiration: { NoncurrentDays: 1 } }),
  );
  // The markers of both, one of them alone and then gone.
  await becomes(() => versions(s3, Bucket), ['a', 'a marker']);
  const name = { Bucket, Key: 'a', VersionId };
  await s3.putObjectLegalHold({ ...name, LegalHold: { Status: 'OFF' } });
  await becomes(() => versions(s3, Bucket), []);
});

test('a pass goes on after the metadata service was killed in the middle of it', async () => {
  const cluster = await startCluster({ args: ['--meta-lifecycle-day', '1s'] });
  const credentials = { accessKeyId: TEST_KEYS.accessKey, secretAccessKey: TEST_KEYS.secretKey };
  const { s3: endpoint } = cluster.ready();
  const s3 = new S3({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
  try {
    const Bucket = 'killed';
    await s3.createBucket({ Bucket });
    const keys = Array.from({ length: 600 }, (_, index) => `${index % 2 ? 'go' : 'stay'}/${index}`);
    for (let from = 0; from < keys.length; from += 50) {
      await Promise.all(
        keys.slice(from, from + 50).map((Key) => s3.putObject({ Bucket, Key, Body: 'x' })),
      );
    }
    const Rules = [rule({ Filter: { Prefix: 'go/' }, Expiration: { Days: 1 } })];
    await s3.putBucketLifecycleConfiguration({ Bucket, LifecycleConfiguration: { Rules } });
    const left = async (Prefix: string) => (await s3.listObjectsV2({ Bucket, Prefix })).KeyCount;
    // Something has gone: the pass is under way, or just over.
    while ((await left('go/')) === 300) await sleep(5);
    const before = cluster.processes('meta')[0]?.pid ?? 0;
    process.kill(before, 'SIGKILL');
    await cluster.until(
      ({ processes }) => processes.some(({ role, pid }) => role === 'meta' && pid !== before),
      'another metadata service',
      60_000,
    );
    await becomes(() => left('go/'), 0);
    assert.equal(await left('stay/'), 300);
    for (const [verb, state] of [
      ['status', /"name": ?"lifecycle"/],
      ['pause', /"state": ?"paused"/],
      ['resume', /"state": ?"(idle|running)"/],
      ['run', /"state": ?"(idle|running)"/],
    ] as const) {
      const { code, output } = await cluster.ashlar('lifecycle', verb, '--json');
      assert.equal(code, 0, output);
      assert.match(output, state, verb);
    }
  } finally {
    s3.destroy();
    await cluster.stop();
  }
});
