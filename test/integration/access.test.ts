/** New buckets as AWS makes them, and what each setting of the public access block blocks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PublicAccessBlockConfiguration, S3 } from '@aws-sdk/client-s3';
import { ANNA, arnOf, BERT, useClient } from '../support/people.ts';
import { codeOf, refusedWith, useInspectedServer } from '../support/server.ts';

const server = useInspectedServer({ config: { accounts: [ANNA, BERT] } });
const anna = useClient(server, ANNA);
const bert = useClient(server, BERT);
const nobody = useClient(server, undefined);

let buckets = 0;
/** With ACLs that count, and this much blocked. */
async function bucket(blocked: PublicAccessBlockConfiguration | undefined): Promise<string> {
  const Bucket = `access-${++buckets}`;
  await anna.createBucket({ Bucket, ObjectOwnership: 'ObjectWriter' });
  await block(Bucket, blocked);
  await anna.putObject({ Bucket, Key: 'a', Body: 'x' });
  return Bucket;
}

async function block(
  Bucket: string,
  blocked: PublicAccessBlockConfiguration | undefined,
): Promise<void> {
  if (blocked === undefined) await anna.deletePublicAccessBlock({ Bucket });
  else await anna.putPublicAccessBlock({ Bucket, PublicAccessBlockConfiguration: blocked });
}

const policyFor = (Bucket: string, Principal: unknown): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: {
      Effect: 'Allow',
      Principal,
      Action: ['s3:GetObject', 's3:ListBucket'],
      Resource: [`arn:aws:s3:::${Bucket}`, `arn:aws:s3:::${Bucket}/*`],
    },
  });

const reads = (client: S3, Bucket: string): Promise<string> =>
  codeOf(client.getObject({ Bucket, Key: 'a' }));

test('a new bucket has no ACLs and no public access, unless it is asked for otherwise', async () => {
  const Bucket = 'as-made';
  await anna.createBucket({ Bucket });
  const { OwnershipControls } = await anna.getBucketOwnershipControls({ Bucket });
  assert.deepEqual(OwnershipControls?.Rules, [{ ObjectOwnership: 'BucketOwnerEnforced' }]);
  const blocked = await anna.getPublicAccessBlock({ Bucket });
  assert.deepEqual(blocked.PublicAccessBlockConfiguration, {
    BlockPublicAcls: true,
    IgnorePublicAcls: true,
    BlockPublicPolicy: true,
    RestrictPublicBuckets: true,
  });
  await refusedWith(
    'AccessControlListNotSupported',
    anna.putObject({ Bucket, Key: 'a', Body: 'x', ACL: 'public-read' }),
  );
  await refusedWith(
    'AccessDenied',
    anna.putBucketPolicy({ Bucket, Policy: policyFor(Bucket, '*') }),
  );
  await refusedWith(
    'InvalidBucketAclWithObjectOwnership',
    anna.createBucket({ Bucket: 'not-so', ACL: 'public-read' }),
  );
  await refusedWith(
    'InvalidBucketAclWithBlockPublicAccessError',
    anna.createBucket({ Bucket: 'not-so', ACL: 'public-read', ObjectOwnership: 'ObjectWriter' }),
  );
  await anna.deletePublicAccessBlock({ Bucket });
  await refusedWith('NoSuchPublicAccessBlockConfiguration', anna.getPublicAccessBlock({ Bucket }));
});

test('BlockPublicAcls refuses public ACLs and lets those stand that are there', async () => {
  const Bucket = await bucket(undefined);
  await anna.putObjectAcl({ Bucket, Key: 'a', ACL: 'public-read' });
  await block(Bucket, { BlockPublicAcls: true });
  assert.equal(await reads(nobody, Bucket), 'ok');
  const Body = 'x';
  for (const ACL of ['public-read', 'public-read-write', 'authenticated-read'] as const) {
    await refusedWith('AccessDenied', anna.putBucketAcl({ Bucket, ACL }));
    await refusedWith('AccessDenied', anna.putObjectAcl({ Bucket, Key: 'a', ACL }));
    await refusedWith('AccessDenied', anna.putObject({ Bucket, Key: 'b', Body, ACL }));
    await refusedWith('AccessDenied', anna.createMultipartUpload({ Bucket, Key: 'b', ACL }));
    const copy = { Bucket, Key: 'b', CopySource: `${Bucket}/a`, ACL };
    await refusedWith('AccessDenied', anna.copyObject(copy));
  }
  await anna.putObject({ Bucket, Key: 'b', Body, GrantRead: `id=${BERT.id}` });
  await anna.putObject({ Bucket, Key: 'b', Body, ACL: 'private' });
  await anna.putBucketPolicy({ Bucket, Policy: policyFor(Bucket, '*') });
});

test('IgnorePublicAcls makes them count for nothing, and for something again without it', async () => {
  const Bucket = await bucket({ IgnorePublicAcls: true });
  await anna.putBucketAcl({ Bucket, ACL: 'public-read' });
  await anna.putObjectAcl({ Bucket, Key: 'a', GrantRead: `id=${BERT.id}` });
  await anna.putObject({ Bucket, Key: 'b', Body: 'x', ACL: 'authenticated-read' });
  assert.equal(await codeOf(nobody.listObjectsV2({ Bucket })), 'AccessDenied');
  assert.equal(await codeOf(bert.getObject({ Bucket, Key: 'b' })), 'AccessDenied');
  assert.equal(await reads(bert, Bucket), 'ok', 'a grant to one account is not public');
  await block(Bucket, {});
  assert.equal(await codeOf(nobody.listObjectsV2({ Bucket })), 'ok');
  assert.equal(await codeOf(bert.getObject({ Bucket, Key: 'b' })), 'ok');
});

test('BlockPublicPolicy refuses public policies and no others', async () => {
  const Bucket = await bucket({ BlockPublicPolicy: true });
  const put = (Principal: unknown) =>
    anna.putBucketPolicy({ Bucket, Policy: policyFor(Bucket, Principal) });
  await refusedWith('AccessDenied', put('*'));
  await put({ AWS: arnOf(BERT) });
  assert.equal(await reads(bert, Bucket), 'ok');
  assert.equal(await reads(nobody, Bucket), 'AccessDenied');
});

test('RestrictPublicBuckets leaves a public policy to the owner alone', async () => {
  const Bucket = await bucket(undefined);
  await anna.putBucketPolicy({ Bucket, Policy: policyFor(Bucket, '*') });
  assert.equal(await reads(nobody, Bucket), 'ok');
  await block(Bucket, { RestrictPublicBuckets: true });
  assert.equal(await reads(nobody, Bucket), 'AccessDenied');
  assert.equal(await reads(bert, Bucket), 'AccessDenied');
  assert.equal(await reads(anna, Bucket), 'ok');
  await anna.putBucketPolicy({ Bucket, Policy: policyFor(Bucket, { AWS: arnOf(BERT) }) });
  assert.equal(await reads(bert, Bucket), 'ok', 'one that names accounts is not public');
});

test('a website and a form of nobody see no more than everybody may', async () => {
  const Bucket = await bucket(undefined);
  await anna.putObjectAcl({ Bucket, Key: 'a', ACL: 'public-read' });
  const url = `${server.endpoint}/${Bucket}`;
  assert.equal((await fetch(`${url}/a`)).status, 200);
  assert.equal((await fetch(`${url}/b`)).status, 403);
  assert.equal((await fetch(`${url}/a?tagging`)).status, 403);
  assert.equal((await fetch(`${url}/a?acl`)).status, 403);
  assert.equal((await fetch(url)).status, 403);
  const form = new FormData();
  form.set('key', 'f');
  form.set('file', new Blob(['x']));
  assert.equal((await fetch(url, { method: 'POST', body: form })).status, 403);
  await anna.putBucketAcl({ Bucket, ACL: 'public-read-write' });
  assert.equal((await fetch(url, { method: 'POST', body: form })).status, 204);
});

test('the policy decides by the tags of the very version that is read', async () => {
  const Bucket = await bucket(undefined);
  const VersioningConfiguration = { Status: 'Enabled' } as const;
  await anna.putBucketVersioning({ Bucket, VersioningConfiguration });
  const Statement = {
    Effect: 'Allow',
    Principal: { AWS: arnOf(BERT) },
    Action: ['s3:GetObject', 's3:GetObjectVersion', 's3:GetObjectTagging', 's3:PutObjectTagging'],
    Resource: `arn:aws:s3:::${Bucket}/*`,
    Condition: { StringEquals: { 's3:ExistingObjectTag/open': 'yes' } },
  };
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
  await anna.putBucketPolicy({ Bucket, Policy });
  const Key = 't';
  const { VersionId } = await anna.putObject({ Bucket, Key, Body: 'x', Tagging: 'open=yes' });
  await bert.getObject({ Bucket, Key });
  await anna.putObject({ Bucket, Key, Body: 'x', Tagging: 'open=no' });
  await refusedWith('AccessDenied', bert.getObject({ Bucket, Key }));
  await refusedWith('AccessDenied', bert.getObjectTagging({ Bucket, Key }));
  await refusedWith(
    'AccessDenied',
    bert.putObjectTagging({ Bucket, Key, Tagging: { TagSet: [{ Key: 'open', Value: 'yes' }] } }),
  );
  await bert.getObject({ Bucket, Key, VersionId });
});

test('a policy is asked what the body of a request says', async () => {
  const Bucket = await bucket(undefined);
  const Statement = {
    Effect: 'Allow',
    Principal: { AWS: arnOf(BERT) },
    Action: 's3:PutObjectTagging',
    Resource: `arn:aws:s3:::${Bucket}/*`,
    Condition: { 'ForAllValues:StringEquals': { 's3:RequestObjectTagKeys': ['team'] } },
  };
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
  await anna.putBucketPolicy({ Bucket, Policy });
  const tag = (Key: string) =>
    bert.putObjectTagging({ Bucket, Key: 'a', Tagging: { TagSet: [{ Key, Value: 'x' }] } });
  await tag('team');
  await refusedWith('AccessDenied', tag('owner'));
});
