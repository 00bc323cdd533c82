/** Who may set, see and bypass locks: rights of their own, given by bucket policies. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { S3 } from '@aws-sdk/client-s3';
import { refusedWith, useInspectedServer } from '../support/server.ts';

const accountOf = (displayName: string, digit: string) => ({
  displayName,
  number: digit.repeat(12),
  accessKey: `ASHL${displayName.toUpperCase()}`.padEnd(20, 'X'),
  secretKey: displayName.padEnd(40, '-'),
});
const ANN = accountOf('ann', '1');
const BOB = accountOf('bob', '2');
const server = useInspectedServer({ config: { newBuckets: 'aws', accounts: [ANN, BOB] } });

const clients = new Map<string, S3>();
function as({ displayName, accessKey, secretKey }: typeof ANN): S3 {
  const known = clients.get(displayName);
  if (known !== undefined) return known;
  const made = new S3({
    endpoint: server.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
  });
  clients.set(displayName, made);
  return made;
}
after(() => {
  for (const client of clients.values()) client.destroy();
});

let buckets = 0;

/** A bucket of Ann's in which Bob may do this with objects, and a version under governance. */
async function lockedFor(...actions: string[]) {
  const Bucket = `lock-access-${++buckets}`;
  await as(ANN).createBucket({ Bucket, ObjectLockEnabledForBucket: true });
  const Statement = {
    Effect: 'Allow',
    Principal: { AWS: `arn:aws:iam::${BOB.number}:root` },
    Action: actions.map((action) => `s3:${action}`),
    Resource: `arn:aws:s3:::${Bucket}/*`,
  };
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [Statement] });
  await as(ANN).putBucketPolicy({ Bucket, Policy });
  const { VersionId } = await as(ANN).putObject({
    Bucket,
    Key: 'a',
    Body: 'x',
    ObjectLockMode: 'GOVERNANCE',
    ObjectLockRetainUntilDate: new Date(Date.now() + 86_400_000),
    ObjectLockLegalHoldStatus: 'OFF',
  });
  return { Bucket, Key: 'a', VersionId };
}

test('reads show the lock to those who may see it', async () => {
  const VERSION = 'GetObjectVersion';
  for (const [actions, mode, hold] of [
    [[VERSION], undefined, undefined],
    [[VERSION, 'GetObjectRetention'], 'GOVERNANCE', undefined],
    [[VERSION, 'GetObjectLegalHold'], undefined, 'OFF'],
    [[VERSION, 'GetObjectRetention', 'GetObjectLegalHold'], 'GOVERNANCE', 'OFF'],
  ] as const) {
    const name = await lockedFor(...actions);
    const head = await as(BOB).headObject(name);
    assert.deepEqual([head.ObjectLockMode, head.ObjectLockLegalHoldStatus], [mode, hold]);
    assert.equal(head.ObjectLockRetainUntilDate === undefined, mode === undefined);
    const owners = await as(ANN).headObject(name);
    assert.deepEqual(
      [owners.ObjectLockMode, owners.ObjectLockLegalHoldStatus],
      ['GOVERNANCE', 'OFF'],
    );
  }
});

test('bypassing governance is a right beside that to delete', async () => {
  const deleting = await lockedFor('DeleteObjectVersion');
  const BypassGovernanceRetention = true;
  await refusedWith('AccessDenied', as(BOB).deleteObject(deleting));
  const bypass = { ...deleting, BypassGovernanceRetention };
  await refusedWith('AccessDenied', as(BOB).deleteObject(bypass));
  const Delete = { Objects: [{ Key: deleting.Key, VersionId: deleting.VersionId }] };
  const many = { Bucket: deleting.Bucket, Delete, BypassGovernanceRetention };
  const { Errors } = await as(BOB).deleteObjects(many);
  assert.deepEqual(
    Errors?.map(({ Code }) => Code),
    ['AccessDenied'],
  );
  await as(ANN).headObject(deleting);
  const both = await lockedFor('DeleteObjectVersion', 'BypassGovernanceRetention');
  await refusedWith('AccessDenied', as(BOB).deleteObject(both));
  await as(BOB).deleteObject({ ...both, BypassGovernanceRetention });
  await refusedWith(404, as(ANN).headObject(both));
});

test('setting a lock is a right beside that to write', async () => {
  const Retention = {
    Mode: 'GOVERNANCE' as const,
    RetainUntilDate: new Date(Date.now() + 2 * 86_400_000),
  };
  const LegalHold = { Status: 'ON' as const };
  const upload = {
    Body: 'x',
    ObjectLockMode: Retention.Mode,
    ObjectLockRetainUntilDate: Retention.RetainUntilDate,
  };
  const writing = await lockedFor('PutObject');
  const { Bucket, Key } = writing;
  await refusedWith('AccessDenied', as(BOB).putObject({ Bucket, Key, ...upload }));
  await refusedWith('AccessDenied', as(BOB).putObjectRetention({ ...writing, Retention }));
  await refusedWith('AccessDenied', as(BOB).putObjectLegalHold({ ...writing, LegalHold }));
  const locking = await lockedFor('PutObject', 'PutObjectRetention', 'PutObjectLegalHold');
  await as(BOB).putObject({ Bucket: locking.Bucket, Key, ...upload });
  await as(BOB).putObjectRetention({ ...locking, Retention });
  await as(BOB).putObjectLegalHold({ ...locking, LegalHold });
  const less = { ...Retention, RetainUntilDate: new Date(Date.now() + 3_600_000) };
  const shorten = { ...locking, Retention: less, BypassGovernanceRetention: true };
  await refusedWith('AccessDenied', as(BOB).putObjectRetention(shorten));
  await as(ANN).putObjectRetention(shorten);
});
