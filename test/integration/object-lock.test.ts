/** Object lock, through the SDK. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectLockConfiguration, ObjectLockRetention } from '@aws-sdk/client-s3';
import { signedV4 } from '../support/form.ts';
import { putMultipart } from '../support/multipart.ts';
import { digest, refusedWith, SERVER_KEYS, useServer } from '../support/server.ts';

const server = useServer();
const DAY_MS = 86_400_000;
let buckets = 0;

const inDays = (days: number) => new Date(Date.now() + days * DAY_MS);
const governance = (days: number) => ({
  Mode: 'GOVERNANCE' as const,
  RetainUntilDate: inDays(days),
});
const compliance = (days: number) => ({
  Mode: 'COMPLIANCE' as const,
  RetainUntilDate: inDays(days),
});

async function lockedBucket(Retention?: { Mode: 'GOVERNANCE' | 'COMPLIANCE'; Days: number }) {
  const Bucket = `locked-${++buckets}`;
  await server.s3.createBucket({ Bucket, ObjectLockEnabledForBucket: true });
  if (Retention !== undefined) await configure(Bucket, { DefaultRetention: Retention });
  return Bucket;
}

async function configure(Bucket: string, Rule?: ObjectLockConfiguration['Rule']) {
  const ObjectLockConfiguration = { ObjectLockEnabled: 'Enabled' as const, Rule };
  await server.s3.putObjectLockConfiguration({ Bucket, ObjectLockConfiguration });
}

/** A version of the object `a`. */
async function version(Bucket: string, Retention?: ObjectLockRetention) {
  const { VersionId } = await server.s3.putObject({ Bucket, Key: 'a', Body: 'x' });
  const name = { Bucket, Key: 'a', VersionId };
  if (Retention !== undefined) await server.s3.putObjectRetention({ ...name, Retention });
  return name;
}

test('a bucket made with object lock has versioning, for ever', async () => {
  const { s3 } = server;
  const Bucket = await lockedBucket();
  assert.equal((await s3.getBucketVersioning({ Bucket })).Status, 'Enabled');
  const { ObjectLockConfiguration } = await s3.getObjectLockConfiguration({ Bucket });
  assert.deepEqual(ObjectLockConfiguration, { ObjectLockEnabled: 'Enabled' });
  const suspend = { Bucket, VersioningConfiguration: { Status: 'Suspended' as const } };
  const error = await refusedWith('InvalidBucketState', s3.putBucketVersioning(suspend));
  assert.equal(error.$metadata.httpStatusCode, 409);
  // Again by its owner: it is what was asked for. A bucket that is not must not look so.
  await s3.createBucket({ Bucket, ObjectLockEnabledForBucket: true });
  const plain = await server.bucket();
  await refusedWith(
    'BucketAlreadyOwnedByYou',
    s3.createBucket({ Bucket: plain, ObjectLockEnabledForBucket: true }),
  );
});

test('object lock is turned on later, where versioning is enabled', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await refusedWith(
    'ObjectLockConfigurationNotFoundError',
    s3.getObjectLockConfiguration({ Bucket }),
  );
  const Rule = { DefaultRetention: { Mode: 'COMPLIANCE' as const, Years: 1 } };
  await refusedWith('InvalidBucketState', configure(Bucket, Rule));
  const on = { Bucket, VersioningConfiguration: { Status: 'Enabled' as const } };
  await s3.putBucketVersioning(on);
  await configure(Bucket, Rule);
  const read = await s3.getObjectLockConfiguration({ Bucket });
  assert.deepEqual(read.ObjectLockConfiguration, { ObjectLockEnabled: 'Enabled', Rule });
  await configure(Bucket);
  const cleared = await s3.getObjectLockConfiguration({ Bucket });
  assert.deepEqual(cleared.ObjectLockConfiguration, { ObjectLockEnabled: 'Enabled' });
});

test('a default retention is that of every new version, and no delete marker', async () => {
  const { s3 } = server;
  const Bucket = await lockedBucket({ Mode: 'GOVERNANCE', Days: 2 });
  const before = Date.now();
  const name = await version(Bucket);
  const head = await s3.headObject(name);
  assert.equal(head.ObjectLockMode, 'GOVERNANCE');
  assert.equal(head.ObjectLockLegalHoldStatus, undefined);
  const until = head.ObjectLockRetainUntilDate?.getTime() ?? 0;
  assert.ok(until >= before + 2 * DAY_MS - 5000 && until <= Date.now() + 2 * DAY_MS + 5000);
  const body = await s3.getObject(name);
  assert.equal(body.ObjectLockMode, 'GOVERNANCE');
  const CopySource = `${Bucket}/a`;
  await s3.copyObject({ Bucket, Key: 'copy', CopySource });
  assert.equal((await s3.headObject({ Bucket, Key: 'copy' })).ObjectLockMode, 'GOVERNANCE');
  const marker = await s3.deleteObject({ Bucket, Key: 'a' });
  assert.equal(marker.DeleteMarker, true);
  await s3.deleteObject({ Bucket, Key: 'a', VersionId: marker.VersionId });
  await refusedWith('AccessDenied', s3.deleteObject(name));
  await s3.deleteObject({ ...name, BypassGovernanceRetention: true });
});

test('uploads bring their own locks in headers', async () => {
  const { s3 } = server;
  const Bucket = await lockedBucket({ Mode: 'GOVERNANCE', Days: 2 });
  const ObjectLockRetainUntilDate = new Date(Math.floor(Date.now() / 1000) * 1000 + DAY_MS);
  const lock = { ObjectLockMode: 'COMPLIANCE' as const, ObjectLockRetainUntilDate };
  const held = { ...lock, ObjectLockLegalHoldStatus: 'ON' as const };
  await s3.putObject({ Bucket, Key: 'put', Body: 'x', ...held });
  await s3.copyObject({ Bucket, Key: 'copy', CopySource: `${Bucket}/put`, ...held });
  await putMultipart(s3, { Bucket, Key: 'parts', ...held }, ['x']);
  for (const Key of ['put', 'copy', 'parts']) {
    const head = await s3.headObject({ Bucket, Key });
    assert.equal(head.ObjectLockMode, 'COMPLIANCE', Key);
    assert.deepEqual(head.ObjectLockRetainUntilDate, ObjectLockRetainUntilDate, Key);
    assert.equal(head.ObjectLockLegalHoldStatus, 'ON', Key);
  }
  const past = { ...lock, ObjectLockRetainUntilDate: inDays(-1) };
  const asked = { Bucket, Key: 'past', Body: 'x' };
  await refusedWith('InvalidArgument', s3.putObject({ ...asked, ...past }));
  await refusedWith('InvalidArgument', s3.createMultipartUpload({ Bucket, Key: 'past', ...past }));
  const plain = await server.bucket();
  await refusedWith('InvalidRequest', s3.putObject({ ...asked, Bucket: plain, ...lock }));
  await refusedWith(
    'InvalidRequest',
    s3.createMultipartUpload({ Bucket: plain, Key: 'a', ...lock }),
  );
  const copy = { Bucket: plain, Key: 'a', CopySource: `${Bucket}/put` };
  await refusedWith('InvalidRequest', s3.copyObject({ ...copy, ...lock }));
  await s3.copyObject(copy);
  assert.equal((await s3.headObject({ Bucket: plain, Key: 'a' })).ObjectLockMode, undefined);
});

test('forms bring locks in their fields', async () => {
  const { s3 } = server;
  const Bucket = await lockedBucket();
  const until = '2099-01-01T00:00:00.000Z';
  const post = (fields: readonly (readonly [string, string])[]) => {
    const form = new FormData();
    const conditions = [{ bucket: Bucket }, ...fields.map(([name, value]) => ({ [name]: value }))];
    const signed = signedV4({ keys: SERVER_KEYS, conditions });
    for (const [name, value] of [...fields, ...signed]) form.append(name, value);
    form.append('file', new Blob(['x']), 'x');
    return fetch(`${server.endpoint}/${Bucket}`, { method: 'POST', body: form });
  };
  const lock = [
    ['key', 'form'],
    ['x-amz-object-lock-mode', 'GOVERNANCE'],
    ['x-amz-object-lock-retain-until-date', until],
    ['x-amz-object-lock-legal-hold', 'ON'],
  ] as const;
  const bare = await post(lock);
  assert.equal(bare.status, 400, await bare.text());
  const sum = ['x-amz-checksum-sha256', digest('sha256', 'x', 'base64')] as const;
  const done = await post([...lock, sum]);
  assert.equal(done.status, 204, await done.text());
  const head = await s3.headObject({ Bucket, Key: 'form' });
  assert.equal(head.ObjectLockMode, 'GOVERNANCE');
  assert.deepEqual(head.ObjectLockRetainUntilDate, new Date(until));
  assert.equal(head.ObjectLockLegalHoldStatus, 'ON');
});

test('governance is extended by all, shortened and taken off by those who bypass it', async () => {
  const { s3 } = server;
  const name = await version(await lockedBucket(), governance(5));
  await s3.putObjectRetention({ ...name, Retention: governance(6) });
  const less = { ...name, Retention: governance(1) };
  await refusedWith('AccessDenied', s3.putObjectRetention(less));
  await refusedWith('AccessDenied', s3.putObjectRetention({ ...name, Retention: compliance(9) }));
  await refusedWith('AccessDenied', s3.putObjectRetention({ ...name, Retention: {} }));
  await refusedWith(
    'InvalidArgument',
    s3.putObjectRetention({ ...name, Retention: governance(-1) }),
  );
  const Retention = governance(1);
  await s3.putObjectRetention({ ...name, Retention, BypassGovernanceRetention: true });
  const read = await s3.getObjectRetention(name);
  assert.deepEqual(read.Retention, Retention);
  await s3.putObjectRetention({ ...name, Retention: {}, BypassGovernanceRetention: true });
  await refusedWith('NoSuchObjectLockConfiguration', s3.getObjectRetention(name));
  await s3.deleteObject(name);
});

test('compliance is extended and never anything else', async () => {
  const { s3 } = server;
  const name = await version(await lockedBucket(), compliance(5));
  const BypassGovernanceRetention = true;
  for (const Retention of [compliance(4), governance(6), {}]) {
    const change = { ...name, Retention, BypassGovernanceRetention };
    await refusedWith('AccessDenied', s3.putObjectRetention(change));
  }
  await refusedWith('AccessDenied', s3.deleteObject({ ...name, BypassGovernanceRetention }));
  await s3.putObjectRetention({ ...name, Retention: compliance(6) });
  assert.equal((await s3.headObject(name)).ObjectLockMode, 'COMPLIANCE');
});

test('a legal hold keeps a version until it is taken off', async () => {
  const { s3 } = server;
  const name = await version(await lockedBucket());
  await refusedWith('NoSuchObjectLockConfiguration', s3.getObjectLegalHold(name));
  await s3.putObjectLegalHold({ ...name, LegalHold: { Status: 'ON' } });
  assert.equal((await s3.getObjectLegalHold(name)).LegalHold?.Status, 'ON');
  await refusedWith('AccessDenied', s3.deleteObject({ ...name, BypassGovernanceRetention: true }));
  await s3.putObjectLegalHold({ ...name, LegalHold: { Status: 'OFF' } });
  assert.equal((await s3.getObjectLegalHold(name)).LegalHold?.Status, 'OFF');
  assert.equal((await s3.headObject(name)).ObjectLockLegalHoldStatus, 'OFF');
  await s3.deleteObject(name);
});

test('DeleteObjects tells which versions are locked and deletes the others', async () => {
  const { s3 } = server;
  const Bucket = await lockedBucket();
  const locked = await version(Bucket, governance(1));
  const free = await version(Bucket);
  const Objects = [locked, free].map(({ Key, VersionId }) => ({ Key, VersionId }));
  const first = await s3.deleteObjects({ Bucket, Delete: { Objects } });
  assert.deepEqual(
    [first.Deleted?.map(({ VersionId }) => VersionId), first.Errors?.map(({ Code }) => Code)],
    [[free.VersionId], ['AccessDenied']],
  );
  const again = { Bucket, Delete: { Objects }, BypassGovernanceRetention: true };
  assert.equal((await s3.deleteObjects(again)).Errors, undefined);
  await s3.deleteBucket({ Bucket });
});

test('locks belong to buckets with object lock, and to versions', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const name = { Bucket, Key: 'a' };
  await s3.putObject({ ...name, Body: 'x' });
  const LegalHold = { Status: 'ON' as const };
  for (const request of [
    () => s3.putObjectRetention({ ...name, Retention: governance(1) }),
    () => s3.getObjectRetention(name),
    () => s3.putObjectLegalHold({ ...name, LegalHold }),
    () => s3.getObjectLegalHold(name),
  ]) {
    await refusedWith('InvalidRequest', request());
  }
  const locked = await version(await lockedBucket());
  const { VersionId: _, ...current } = locked;
  const marker = await s3.deleteObject(current);
  await refusedWith('NoSuchKey', s3.putObjectLegalHold({ ...current, LegalHold }));
  const byId = { ...current, VersionId: marker.VersionId };
  await refusedWith('MethodNotAllowed', s3.putObjectLegalHold({ ...byId, LegalHold }));
  const none = { ...current, VersionId: 'ab'.repeat(16) };
  await refusedWith('NoSuchVersion', s3.putObjectRetention({ ...none, Retention: governance(1) }));
});
