/** What bucket policies allow and deny: to the owner, to another account, to nobody in particular. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { GetObjectCommand, S3 } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import {
  encodePublicAccessBlock,
  PUBLIC_ACCESS_BLOCK_CONFIG,
} from '../../gateway/s3/access/public-access-block.ts';
import { ENCRYPTION } from '../support/encryption.ts';
import { bytesOf, codeOf, refusedWith, useInspectedServer } from '../support/server.ts';

const ANN = {
  displayName: 'ann',
  number: '111111111111',
  accessKey: 'ASHLANNANNANNANNANN1',
  secretKey: 'a'.repeat(40),
};
const BOB = {
  displayName: 'bob',
  number: '222222222222',
  accessKey: 'ASHLBOBBOBBOBBOBBOB1',
  secretKey: 'b'.repeat(40),
};
const CARA = {
  displayName: 'cara',
  number: '333333333333',
  accessKey: 'ASHLCARACARACARACAR1',
  secretKey: 'c'.repeat(40),
};
const BOB_ARN = 'arn:aws:iam::222222222222:root';

const server = useInspectedServer({
  config: {
    newBuckets: 'aws',
    accounts: [ANN, BOB, CARA],
    encryption: ENCRYPTION,
  },
});

let ann: S3;
let bob: S3;

const clientOf = ({ accessKey, secretKey }: typeof ANN): S3 =>
  new S3({
    endpoint: server.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
  });

after(() => {
  ann?.destroy();
  bob?.destroy();
});

let buckets = 0;

/** A bucket of Ann's with the objects `public/a`, `public/b` and `private/a`. */
async function bucketOfAnn(): Promise<string> {
  ann ??= clientOf(ANN);
  bob ??= clientOf(BOB);
  const Bucket = `policy-access-${++buckets}`;
  await ann.createBucket({ Bucket });
  for (const Key of ['public/a', 'public/b', 'private/a'])
    await ann.putObject({ Bucket, Key, Body: Key });
  return Bucket;
}

type Json = Record<string, unknown>;

/** Puts a policy of these statements: by default Bob may do what is said with all objects. */
async function allow(Bucket: string, ...statements: Json[]): Promise<void> {
  const Statement = statements.map((statement) => ({
    Effect: 'Allow',
    Principal: { AWS: BOB_ARN },
    Resource: `arn:aws:s3:::${Bucket}/*`,
    ...statement,
  }));
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
  await ann.putBucketPolicy({ Bucket, Policy });
}

/** As a browser without credentials. */
async function anonymous(
  method: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<number> {
  const answer = await fetch(`${server.endpoint}${path}`, { method, headers });
  await answer.arrayBuffer();
  return answer.status;
}

/** Lets the public in as far as policies say. */
async function unblock(bucket: string): Promise<void> {
  const answer = await server.meta.setBucketConfig({ bucket, name: PUBLIC_ACCESS_BLOCK_CONFIG });
  assert.ok(answer.ok);
}

test('without a policy a bucket is its owner’s alone', async () => {
  const Bucket = await bucketOfAnn();
  const name = { Bucket, Key: 'public/a' };
  for (const request of [
    () => bob.getObject(name),
    () => bob.putObject({ ...name, Body: 'x' }),
    () => bob.deleteObject(name),
    () => bob.listObjectsV2({ Bucket }),
    () => bob.getBucketPolicy({ Bucket }),
    () => bob.putBucketPolicy({ Bucket, Policy: '{}' }),
    () => bob.deleteBucketPolicy({ Bucket }),
    () => bob.getBucketPolicyStatus({ Bucket }),
    () => bob.getBucketCors({ Bucket }),
    () => bob.putBucketCors({ Bucket, CORSConfiguration: { CORSRules: [] } }),
    () => bob.deleteBucketCors({ Bucket }),
    () => bob.deleteBucket({ Bucket }),
  ]) {
    await refusedWith('AccessDenied', request());
  }
  await refusedWith(403, bob.headObject(name));
  await refusedWith(403, bob.headBucket({ Bucket }));
  assert.equal(await anonymous('GET', `/${Bucket}/public/a`), 403);
});

test('a policy gives another account exactly what it says, and takes it back', async () => {
  const Bucket = await bucketOfAnn();
  await allow(Bucket, { Action: 's3:GetObject', Resource: `arn:aws:s3:::${Bucket}/public/*` });
  assert.equal(
    (await bytesOf(await bob.getObject({ Bucket, Key: 'public/a' }))).toString(),
    'public/a',
  );
  await bob.headObject({ Bucket, Key: 'public/b' });
  await refusedWith('AccessDenied', bob.getObject({ Bucket, Key: 'private/a' }));
  await refusedWith('AccessDenied', bob.putObject({ Bucket, Key: 'public/c', Body: 'x' }));
  await refusedWith('AccessDenied', bob.getObjectTagging({ Bucket, Key: 'public/a' }));
  await refusedWith('AccessDenied', bob.listObjectsV2({ Bucket }));
  await ann.deleteBucketPolicy({ Bucket });
  await refusedWith('AccessDenied', bob.getObject({ Bucket, Key: 'public/a' }));
});

test('who may not list a bucket is not told that a key is not there', async () => {
  const Bucket = await bucketOfAnn();
  const none = { Bucket, Key: 'public/none' };
  await allow(Bucket, { Action: 's3:GetObject' });
  await refusedWith('AccessDenied', bob.getObject(none));
  await refusedWith(403, bob.headObject(none));
  await allow(
    Bucket,
    { Action: 's3:GetObject' },
    { Action: 's3:ListBucket', Resource: `arn:aws:s3:::${Bucket}` },
  );
  await refusedWith('NoSuchKey', bob.getObject(none));
  await refusedWith(404, bob.headObject(none));
  const Condition = { StringLike: { 's3:prefix': 'public/*' } };
  await allow(
    Bucket,
    { Action: 's3:GetObject' },
    { Action: 's3:ListBucket', Resource: `arn:aws:s3:::${Bucket}`, Condition },
  );
  await refusedWith('NoSuchKey', bob.getObject(none));
  await refusedWith('AccessDenied', bob.getObject({ Bucket, Key: 'private/none' }));
});

test('an explicit deny holds for the owner, too, who can always take the policy back', async () => {
  const Bucket = await bucketOfAnn();
  await allow(
    Bucket,
    { Action: 's3:*' },
    {
      Effect: 'Deny',
      Principal: '*',
      Action: 's3:*',
      Resource: [`arn:aws:s3:::${Bucket}`, `arn:aws:s3:::${Bucket}/*`],
    },
  );
  for (const client of [ann, bob, server.s3]) {
    await refusedWith('AccessDenied', client.getObject({ Bucket, Key: 'public/a' }));
    await refusedWith('AccessDenied', client.listObjectsV2({ Bucket }));
  }
  await refusedWith('AccessDenied', bob.deleteBucketPolicy({ Bucket }));
  await ann.getBucketPolicy({ Bucket });
  await ann.deleteBucketPolicy({ Bucket });
  await ann.getObject({ Bucket, Key: 'public/a' });
});

test('everyone means everyone, unless the public access block forbids it', async () => {
  const Bucket = await bucketOfAnn();
  const open = { Principal: '*', Action: 's3:GetObject' };
  const blocked = await refusedWith('AccessDenied', allow(Bucket, open));
  assert.match(blocked.message, /BlockPublicPolicy/);
  await unblock(Bucket);
  await allow(Bucket, open);
  assert.equal(await anonymous('GET', `/${Bucket}/public/a`), 200);
  assert.equal(await anonymous('HEAD', `/${Bucket}/private/a`), 200);
  assert.equal(await anonymous('GET', `/${Bucket}/public/none`), 403);
  assert.equal(await anonymous('GET', `/${Bucket}`), 403);
  assert.equal(await anonymous('DELETE', `/${Bucket}/public/a`), 403);
  assert.equal(await anonymous('GET', `/${Bucket}/public/a?versionId=null`), 403);
  await bob.getObject({ Bucket, Key: 'public/a' });
  const block = {
    blockPublicAcls: false,
    ignorePublicAcls: false,
    blockPublicPolicy: false,
    restrictPublicBuckets: true,
  };
  const value = encodePublicAccessBlock(block);
  await server.meta.setBucketConfig({ bucket: Bucket, name: PUBLIC_ACCESS_BLOCK_CONFIG, value });
  assert.equal(await anonymous('GET', `/${Bucket}/public/a`), 403);
  await refusedWith('AccessDenied', bob.getObject({ Bucket, Key: 'public/a' }));
  await ann.getObject({ Bucket, Key: 'public/a' });
});

test('conditions look at headers, addresses, prefixes and signatures', async () => {
  const Bucket = await bucketOfAnn();
  await unblock(Bucket);
  await allow(Bucket, {
    Principal: '*',
    Action: 's3:GetObject',
    Condition: {
      StringLike: { 'aws:Referer': 'https://example.com/*' },
      IpAddress: { 'aws:SourceIp': '127.0.0.0/8' },
    },
  });
  const path = `/${Bucket}/public/a`;
  assert.equal(await anonymous('GET', path, { referer: 'https://example.com/page' }), 200);
  assert.equal(await anonymous('GET', path, { referer: 'https://example.org/' }), 403);
  assert.equal(await anonymous('GET', path), 403);
  await allow(Bucket, {
    Principal: '*',
    Action: 's3:GetObject',
    Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } },
  });
  assert.equal(await anonymous('GET', path, { 'x-forwarded-for': '10.0.0.1' }), 403);
  await allow(Bucket, {
    Action: 's3:ListBucket',
    Resource: `arn:aws:s3:::${Bucket}`,
    Condition: {
      StringLike: { 's3:prefix': 'public/*' },
      NumericLessThanEquals: { 's3:max-keys': 1 },
    },
  });
  const page = await bob.listObjectsV2({ Bucket, Prefix: 'public/', MaxKeys: 1 });
  assert.equal(page.Contents?.length, 1);
  await refusedWith('AccessDenied', bob.listObjectsV2({ Bucket, Prefix: 'public/' }));
  await refusedWith('AccessDenied', bob.listObjectsV2({ Bucket, Prefix: 'private/', MaxKeys: 1 }));
  await refusedWith('AccessDenied', bob.listObjectsV2({ Bucket }));
  await allow(
    Bucket,
    { Action: 's3:GetObject' },
    {
      Effect: 'Deny',
      Action: 's3:GetObject',
      Condition: { NumericGreaterThan: { 's3:signatureAge': 60_000 } },
    },
  );
  const command = new GetObjectCommand({ Bucket, Key: 'public/a' });
  const signed = async (ageMs: number): Promise<number> => {
    const signingDate = new Date(Date.now() - ageMs);
    return (await fetch(await getSignedUrl(bob, command, { signingDate, expiresIn: 900 }))).status;
  };
  assert.equal(await signed(1_000), 200);
  assert.equal(await signed(120_000), 403);
  await bob.getObject({ Bucket, Key: 'public/a' });
});

test('tags of the object and of the request decide', async () => {
  const Bucket = await bucketOfAnn();
  const tag = (Value: string) => ({ TagSet: [{ Key: 'class', Value }] });
  await ann.putObjectTagging({ Bucket, Key: 'public/a', Tagging: tag('open') });
  await ann.putObjectTagging({ Bucket, Key: 'public/b', Tagging: tag('closed') });
  await allow(
    Bucket,
    {
      Action: ['s3:GetObject', 's3:GetObjectTagging'],
      Condition: { StringEquals: { 's3:ExistingObjectTag/class': 'open' } },
    },
    {
      Action: ['s3:PutObject', 's3:PutObjectTagging'],
      Condition: { StringEquals: { 's3:RequestObjectTag/class': 'open' } },
    },
  );
  await bob.getObject({ Bucket, Key: 'public/a' });
  await bob.getObjectTagging({ Bucket, Key: 'public/a' });
  await bob.headObject({ Bucket, Key: 'public/a' });
  for (const Key of ['public/b', 'private/a', 'none']) {
    await refusedWith('AccessDenied', bob.getObject({ Bucket, Key }));
    await refusedWith('AccessDenied', bob.getObjectTagging({ Bucket, Key }));
  }
  await bob.putObject({ Bucket, Key: 'new', Body: 'x', Tagging: 'class=open' });
  await refusedWith(
    'AccessDenied',
    bob.putObject({ Bucket, Key: 'new', Body: 'x', Tagging: 'class=closed' }),
  );
  await refusedWith('AccessDenied', bob.putObject({ Bucket, Key: 'new', Body: 'x' }));
  await bob.putObjectTagging({ Bucket, Key: 'public/b', Tagging: tag('open') });
  await bob.getObject({ Bucket, Key: 'public/b' });
  await refusedWith(
    'AccessDenied',
    bob.putObjectTagging({ Bucket, Key: 'public/b', Tagging: tag('closed') }),
  );
  await ann.putObjectTagging({ Bucket, Key: 'public/a', Tagging: tag('closed') });
  await refusedWith('AccessDenied', bob.getObject({ Bucket, Key: 'public/a' }));
});

test('versions need the actions on versions', async () => {
  const Bucket = await bucketOfAnn();
  await ann.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: 'Enabled' } });
  const name = { Bucket, Key: 'public/a' };
  const { VersionId } = await ann.putObject({ ...name, Body: 'second' });
  await allow(Bucket, { Action: ['s3:GetObject', 's3:DeleteObject'] });
  assert.equal((await bytesOf(await bob.getObject(name))).toString(), 'second');
  await refusedWith('AccessDenied', bob.getObject({ ...name, VersionId }));
  await refusedWith('AccessDenied', bob.getObject({ ...name, VersionId: 'null' }));
  await refusedWith('AccessDenied', bob.deleteObject({ ...name, VersionId }));
  await refusedWith('AccessDenied', bob.listObjectVersions({ Bucket }));
  await bob.deleteObject(name);
  await allow(Bucket, { Action: ['s3:GetObjectVersion', 's3:DeleteObjectVersion'] });
  await bob.getObject({ ...name, VersionId });
  await bob.deleteObject({ ...name, VersionId });
  await refusedWith('AccessDenied', bob.deleteObject(name));
});

test('a copy needs the right to read its source and the right to write its target', async () => {
  const source = await bucketOfAnn();
  const target = await bucketOfAnn();
  const own = `policy-access-${++buckets}`;
  await bob.createBucket({ Bucket: own });
  const copy = (Bucket: string): Promise<string> =>
    codeOf(bob.copyObject({ Bucket, Key: 'copy', CopySource: `${source}/public/a` }));
  assert.equal(await copy(own), 'AccessDenied');
  await allow(source, { Action: 's3:GetObject', Resource: `arn:aws:s3:::${source}/public/*` });
  assert.equal(await copy(own), 'ok');
  assert.equal(await copy(target), 'AccessDenied');
  const when = { StringLike: { 's3:x-amz-copy-source': `${source}/public/*` } };
  await allow(target, { Action: 's3:PutObject', Condition: when });
  assert.equal(await copy(target), 'ok');
  await refusedWith('AccessDenied', bob.putObject({ Bucket: target, Key: 'copy', Body: 'x' }));
  await refusedWith(
    'AccessDenied',
    bob.copyObject({ Bucket: target, Key: 'copy', CopySource: `${own}/copy` }),
  );
  await allow(source, { Action: 's3:GetObjectVersion' });
  assert.equal(await copy(own), 'AccessDenied');
});

test('DeleteObjects deletes what may be deleted and says what may not', async () => {
  const Bucket = await bucketOfAnn();
  await allow(Bucket, { Action: 's3:DeleteObject', Resource: `arn:aws:s3:::${Bucket}/public/*` });
  const Objects = [
    { Key: 'public/a' },
    { Key: 'private/a' },
    { Key: 'public/b', VersionId: 'null' },
  ];
  const { Deleted, Errors } = await bob.deleteObjects({ Bucket, Delete: { Objects } });
  assert.deepEqual(
    Deleted?.map(({ Key }) => Key),
    ['public/a'],
  );
  assert.deepEqual(
    Errors?.map(({ Key, Code }) => [Key, Code]),
    [
      ['private/a', 'AccessDenied'],
      ['public/b', 'AccessDenied'],
    ],
  );
  const { Contents } = await ann.listObjectsV2({ Bucket });
  assert.deepEqual(
    Contents?.map(({ Key }) => Key),
    ['private/a', 'public/b'],
  );
});

test('another account that may write the policy confirms before it locks itself out', async () => {
  const Bucket = await bucketOfAnn();
  const Resource = `arn:aws:s3:::${Bucket}`;
  await allow(Bucket, { Action: ['s3:PutBucketPolicy', 's3:GetBucketPolicy'], Resource });
  const policy = (Principal: Json): string =>
    JSON.stringify({ Statement: { Effect: 'Allow', Principal, Action: 's3:*Policy', Resource } });
  await bob.putBucketPolicy({ Bucket, Policy: policy({ AWS: '222222222222' }) });
  const away = policy({ AWS: CARA.number });
  const refused = await refusedWith('AccessDenied', bob.putBucketPolicy({ Bucket, Policy: away }));
  assert.match(refused.message, /x-amz-confirm-remove-self-bucket-access/);
  await bob.getBucketPolicy({ Bucket });
  await bob.putBucketPolicy({ Bucket, Policy: away, ConfirmRemoveSelfBucketAccess: true });
  await refusedWith('AccessDenied', bob.getBucketPolicy({ Bucket }));
  assert.equal((await ann.getBucketPolicy({ Bucket })).Policy, away);
});

test('a policy that demands encryption holds for parts by what their upload was begun with', async () => {
  const Bucket = await bucketOfAnn();
  const algorithm = 's3:x-amz-server-side-encryption';
  await allow(
    Bucket,
    { Action: 's3:PutObject' },
    {
      Effect: 'Deny',
      Principal: '*',
      Action: 's3:PutObject',
      Condition: { Null: { [algorithm]: true } },
    },
    {
      Effect: 'Deny',
      Principal: '*',
      Action: 's3:PutObject',
      Condition: { StringNotEqualsIfExists: { [algorithm]: 'AES256' } },
    },
  );
  const name = { Bucket, Key: 'sealed' };
  for (const client of [ann, bob]) {
    await refusedWith('AccessDenied', client.putObject({ ...name, Body: 'x' }));
    await refusedWith('AccessDenied', client.createMultipartUpload(name));
    await client.putObject({ ...name, Body: 'x', ServerSideEncryption: 'AES256' });
    const { UploadId } = await client.createMultipartUpload({
      ...name,
      ServerSideEncryption: 'AES256',
    });
    const { ETag } = await client.uploadPart({ ...name, UploadId, PartNumber: 1, Body: 'part' });
    const Parts = [{ PartNumber: 1, ETag }];
    await client.completeMultipartUpload({ ...name, UploadId, MultipartUpload: { Parts } });
  }
  assert.equal((await ann.headObject(name)).ServerSideEncryption, 'AES256');
});
