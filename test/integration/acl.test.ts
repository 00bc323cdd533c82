/** ACLs of buckets and objects between two accounts and nobody, and who owns what. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  BucketCannedACL,
  GetObjectAclCommandOutput,
  Grant,
  ObjectCannedACL,
  ObjectOwnership,
  S3,
} from '@aws-sdk/client-s3';
import { ANNA, BERT, person, useClient } from '../support/people.ts';
import { codeOf, refusedWith, useInspectedServer } from '../support/server.ts';

const CLEO = person('cleo');
const server = useInspectedServer({
  config: { accounts: [ANNA, BERT, CLEO], newBuckets: 'open' },
});

const anna = useClient(server, ANNA);
const bert = useClient(server, BERT);
const cleo = useClient(server, CLEO);
const nobody = useClient(server, undefined);

let buckets = 0;
async function bucketOf(
  client: S3,
  options: { ACL?: BucketCannedACL; ObjectOwnership?: ObjectOwnership } = {},
): Promise<string> {
  const Bucket = `acl-${++buckets}`;
  await client.createBucket({ Bucket, ...options });
  return Bucket;
}

const ALL = 'http://acs.amazonaws.com/groups/global/AllUsers';
const SIGNED = 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers';
const LOGS = 'http://acs.amazonaws.com/groups/s3/LogDelivery';

/** `anna FULL_CONTROL`, `AllUsers READ`, sorted. */
function shown({ Grants = [] }: { Grants?: Grant[] | undefined }): string[] {
  return Grants.map(({ Grantee, Permission }) => {
    const who = Grantee?.DisplayName ?? Grantee?.URI?.split('/').at(-1) ?? Grantee?.ID?.slice(0, 8);
    return `${who} ${Permission}`;
  }).sort();
}

test('whoever makes something owns it, and nobody else has anything of it', async () => {
  const Bucket = await bucketOf(anna);
  await anna.putObject({ Bucket, Key: 'a', Body: 'x' });
  for (const answer of [
    await anna.getBucketAcl({ Bucket }),
    await anna.getObjectAcl({ Bucket, Key: 'a' }),
  ]) {
    assert.deepEqual(answer.Owner, { ID: ANNA.id, DisplayName: 'anna' });
    assert.deepEqual(answer.Grants, [
      {
        Grantee: { ID: ANNA.id, DisplayName: 'anna', Type: 'CanonicalUser' },
        Permission: 'FULL_CONTROL',
      },
    ]);
  }
  for (const other of [bert, nobody]) {
    const requests = [
      () => other.getBucketAcl({ Bucket }),
      () => other.listObjectsV2({ Bucket }),
      () => other.getObject({ Bucket, Key: 'a' }),
      () => other.getObjectAcl({ Bucket, Key: 'a' }),
      () => other.putObject({ Bucket, Key: 'b', Body: 'x' }),
      () => other.deleteObject({ Bucket, Key: 'a' }),
      () => other.putObjectAcl({ Bucket, Key: 'a', ACL: 'public-read' }),
      () => other.putBucketAcl({ Bucket, ACL: 'public-read' }),
      () => other.deleteBucket({ Bucket }),
    ];
    for (const request of requests) await refusedWith('AccessDenied', request());
    await refusedWith(403, other.headObject({ Bucket, Key: 'a' }));
    await refusedWith(403, other.headBucket({ Bucket }));
  }
});

test('buckets are listed to their owner, and a name is taken for everybody', async () => {
  const Bucket = await bucketOf(anna);
  const names = async (client: S3) =>
    (await client.listBuckets({})).Buckets?.map(({ Name }) => Name) ?? [];
  assert.ok((await names(anna)).includes(Bucket));
  assert.deepEqual((await anna.listBuckets({})).Owner, { ID: ANNA.id, DisplayName: 'anna' });
  assert.ok(!(await names(bert)).includes(Bucket));
  assert.deepEqual(await names(nobody), []);
  await refusedWith('BucketAlreadyExists', bert.createBucket({ Bucket }));
  await anna.createBucket({ Bucket });
  await refusedWith('BucketAlreadyExists', anna.createBucket({ Bucket, ACL: 'public-read' }));
  await refusedWith('AccessDenied', nobody.createBucket({ Bucket: 'of-nobody' }));
  await server.s3.deleteBucket({ Bucket });
});

const CANNED: [BucketCannedACL, string[]][] = [
  ['private', []],
  ['public-read', ['AllUsers READ']],
  ['public-read-write', ['AllUsers READ', 'AllUsers WRITE']],
  ['authenticated-read', ['AuthenticatedUsers READ']],
];

test('canned ACLs of a bucket say and give what S3 has them give', async () => {
  for (const [ACL, grants] of CANNED) {
    const made = await bucketOf(anna, { ACL });
    const Bucket = await bucketOf(anna);
    await anna.putBucketAcl({ Bucket, ACL });
    for (const name of [made, Bucket]) {
      const found = shown(await anna.getBucketAcl({ Bucket: name }));
      assert.deepEqual(found, [...grants, 'anna FULL_CONTROL'].sort(), ACL);
    }
    const reads = ACL !== 'private';
    assert.equal(await codeOf(bert.listObjectsV2({ Bucket })), reads ? 'ok' : 'AccessDenied', ACL);
    assert.equal(
      await codeOf(nobody.listObjectsV2({ Bucket })),
      ACL.startsWith('public') ? 'ok' : 'AccessDenied',
      ACL,
    );
    const writes = ACL === 'public-read-write' ? 'ok' : 'AccessDenied';
    assert.equal(await codeOf(bert.putObject({ Bucket, Key: 'b', Body: 'x' })), writes, ACL);
    assert.equal(await codeOf(nobody.putObject({ Bucket, Key: 'n', Body: 'x' })), writes, ACL);
    assert.equal(await codeOf(bert.getBucketAcl({ Bucket })), 'AccessDenied', ACL);
    await anna.putBucketAcl({ Bucket, ACL: 'private' });
    assert.equal(await codeOf(bert.listObjectsV2({ Bucket })), 'AccessDenied', 'and takes it back');
  }
  const Bucket = await bucketOf(anna);
  await anna.putBucketAcl({ Bucket, ACL: 'log-delivery-write' as BucketCannedACL });
  const { Grants = [] } = await anna.getBucketAcl({ Bucket });
  assert.deepEqual(
    Grants.filter(({ Grantee }) => Grantee?.URI === LOGS).map(({ Permission }) => Permission),
    ['WRITE', 'READ_ACP'],
  );
});

test('canned ACLs of an object say and give what S3 has them give', async () => {
  const Bucket = await bucketOf(anna, { ACL: 'public-read-write' });
  const canned: [ObjectCannedACL, string[]][] = [
    ...(CANNED as [ObjectCannedACL, string[]][]),
    ['aws-exec-read', ['6aa5a366 READ']],
    ['bucket-owner-read', ['anna READ']],
    ['bucket-owner-full-control', ['anna FULL_CONTROL']],
  ];
  for (const [ACL, grants] of canned) {
    const name = { Bucket, Key: ACL };
    await bert.putObject({ ...name, Body: 'x', ACL });
    const put = { Bucket, Key: `${ACL} later` };
    await bert.putObject({ ...put, Body: 'x' });
    await bert.putObjectAcl({ ...put, ACL });
    const copy = { Bucket, Key: `${ACL} copied` };
    await bert.copyObject({ ...copy, CopySource: `${Bucket}/${ACL}`, ACL });
    for (const one of [name, put, copy]) {
      const found = await bert.getObjectAcl(one);
      assert.equal(found.Owner?.ID, BERT.id);
      assert.deepEqual(shown(found), [...grants, 'bert FULL_CONTROL'].sort(), one.Key);
      const open = ACL.startsWith('public') ? 'ok' : 'AccessDenied';
      const signed = open === 'ok' || ACL === 'authenticated-read' ? 'ok' : 'AccessDenied';
      const owner = signed === 'ok' || ACL.startsWith('bucket-owner') ? 'ok' : 'AccessDenied';
      assert.equal(await codeOf(nobody.getObject(one)), open, one.Key);
      assert.equal(await codeOf(cleo.getObject(one)), signed, one.Key);
      assert.equal(await codeOf(anna.getObject(one)), owner, `the bucket's owner: ${one.Key}`);
      assert.equal(await codeOf(bert.getObject(one)), 'ok');
    }
  }
});

test('an upload of several parts carries its ACL, its owner and who began it', async () => {
  const Bucket = await bucketOf(anna, { ACL: 'public-read-write' });
  const Key = 'parts';
  const { UploadId } = await bert.createMultipartUpload({ Bucket, Key, ACL: 'public-read' });
  const who = { ID: BERT.id, DisplayName: 'bert' };
  const { Uploads = [] } = await anna.listMultipartUploads({ Bucket });
  assert.deepEqual([Uploads[0]?.Owner, Uploads[0]?.Initiator], [who, who]);
  const part = { Bucket, Key, UploadId };
  const { ETag } = await bert.uploadPart({ ...part, PartNumber: 1, Body: 'x' });
  const listed = await bert.listParts(part);
  assert.deepEqual([listed.Owner, listed.Initiator], [who, who]);
  await refusedWith('AccessDenied', cleo.listParts(part));
  await refusedWith('AccessDenied', cleo.abortMultipartUpload(part));
  await refusedWith('AccessDenied', nobody.abortMultipartUpload(part));
  const Parts = [{ PartNumber: 1, ETag }];
  await bert.completeMultipartUpload({ ...part, MultipartUpload: { Parts } });
  assert.deepEqual(shown(await bert.getObjectAcl({ Bucket, Key })), [
    'AllUsers READ',
    'bert FULL_CONTROL',
  ]);
  await nobody.getObject({ Bucket, Key });
  const again = await bert.createMultipartUpload({ Bucket, Key });
  await bert.abortMultipartUpload({ Bucket, Key, UploadId: again.UploadId });
});

test('grants by header and by document reach those whom they name', async () => {
  const Bucket = await bucketOf(anna);
  const name = { Bucket, Key: 'a' };
  await anna.putObject({
    ...name,
    Body: 'x',
    GrantRead: `id="${BERT.id}", uri="${SIGNED}"`,
    GrantReadACP: `emailAddress="${CLEO.email}"`,
    GrantFullControl: `id=${ANNA.id}`,
  });
  assert.deepEqual(shown(await anna.getObjectAcl(name)), [
    'AuthenticatedUsers READ',
    'anna FULL_CONTROL',
    'bert READ',
    'cleo READ_ACP',
  ]);
  await bert.getObject(name);
  await refusedWith('AccessDenied', bert.getObjectAcl(name));
  await cleo.getObjectAcl(name);
  await refusedWith('AccessDenied', cleo.putObjectAcl({ ...name, ACL: 'private' }));

  const { Owner } = await anna.getObjectAcl(name);
  const to = (ID: string, Permission: Grant['Permission']): Grant => ({
    Grantee: { Type: 'CanonicalUser', ID },
    Permission,
  });
  await anna.putObjectAcl({
    ...name,
    AccessControlPolicy: { Owner, Grants: [to(BERT.id, 'WRITE_ACP')] },
  });
  await refusedWith('AccessDenied', bert.getObject(name));
  await bert.putObjectAcl({
    ...name,
    AccessControlPolicy: { Owner, Grants: [to(BERT.id, 'READ'), to(ANNA.id, 'FULL_CONTROL')] },
  });
  await bert.getObject(name);
  const { Grants } = await anna.getObjectAcl(name);
  await refusedWith(
    'AccessDenied',
    anna.putObjectAcl({ ...name, AccessControlPolicy: { Owner: { ID: BERT.id }, Grants } }),
  );
  // The owner keeps what he needs to put things right.
  await anna.putObjectAcl({ ...name, AccessControlPolicy: { Owner, Grants: [] } });
  assert.deepEqual(shown(await anna.getObjectAcl(name)), []);
  await anna.getObject(name);
  await refusedWith('AccessDenied', bert.getObject(name));
});

test('grantees that do not exist, and ACLs that are none, are refused', async () => {
  const Bucket = await bucketOf(anna);
  const put = (more: object) => anna.putObject({ Bucket, Key: 'a', Body: 'x', ...more });
  await refusedWith('InvalidArgument', put({ GrantRead: `id=${'0'.repeat(64)}` }));
  await refusedWith('InvalidArgument', put({ GrantRead: 'uri="http://example.com/everybody"' }));
  await refusedWith('InvalidArgument', put({ GrantRead: 'everybody' }));
  await refusedWith('InvalidArgument', put({ ACL: 'everybody' }));
  await refusedWith(
    'UnresolvableGrantByEmailAddress',
    put({ GrantRead: 'emailAddress="no@example.com"' }),
  );
  await refusedWith('InvalidRequest', put({ ACL: 'private', GrantRead: `id=${BERT.id}` }));
  const Grants = Array.from({ length: 101 }, () => ({
    Grantee: { Type: 'CanonicalUser' as const, ID: BERT.id },
    Permission: 'READ' as const,
  }));
  await refusedWith(
    'MalformedACLError',
    anna.putBucketAcl({ Bucket, AccessControlPolicy: { Owner: { ID: ANNA.id }, Grants } }),
  );
  await refusedWith(404, anna.headObject({ Bucket, Key: 'a' }));
  await anna.putBucketAcl({
    Bucket,
    AccessControlPolicy: { Owner: { ID: ANNA.id }, Grants: Grants.slice(1) },
  });
});

test('each version has its own ACL', async () => {
  const Bucket = await bucketOf(anna);
  const Key = 'a';
  const VersioningConfiguration = { Status: 'Enabled' } as const;
  await anna.putBucketVersioning({ Bucket, VersioningConfiguration });
  const { VersionId: first } = await anna.putObject({ Bucket, Key, Body: 'one' });
  const { VersionId: second } = await anna.putObject({ Bucket, Key, Body: 'two' });
  await anna.putObjectAcl({ Bucket, Key, VersionId: first, ACL: 'public-read' });
  const acl = (VersionId: string | undefined): Promise<GetObjectAclCommandOutput> =>
    anna.getObjectAcl({ Bucket, Key, VersionId });
  assert.deepEqual(shown(await acl(first)), ['AllUsers READ', 'anna FULL_CONTROL']);
  assert.deepEqual(shown(await acl(second)), ['anna FULL_CONTROL']);
  assert.deepEqual(shown(await acl(undefined)), ['anna FULL_CONTROL']);
  await nobody.getObject({ Bucket, Key, VersionId: first });
  await refusedWith('AccessDenied', nobody.getObject({ Bucket, Key, VersionId: second }));
  await refusedWith('AccessDenied', nobody.getObject({ Bucket, Key }));
  await anna.putObjectAcl({ Bucket, Key, ACL: 'public-read' });
  await nobody.getObject({ Bucket, Key });
  await anna.putObject({ Bucket, Key, Body: 'three' });
  await refusedWith('AccessDenied', nobody.getObject({ Bucket, Key }));
  await refusedWith('NoSuchVersion', acl('0'.repeat(32)));
  await anna.deleteObject({ Bucket, Key });
  await refusedWith('NoSuchKey', acl(undefined));
  await refusedWith('NoSuchKey', anna.putObjectAcl({ Bucket, Key, ACL: 'private' }));
});

test('a key that is not there is that for whoever may list, and denied to others', async () => {
  const Bucket = await bucketOf(anna);
  await anna.putObject({ Bucket, Key: 'open', Body: 'x', ACL: 'public-read' });
  await nobody.getObject({ Bucket, Key: 'open' });
  for (const other of [bert, nobody]) {
    await refusedWith('AccessDenied', other.getObject({ Bucket, Key: 'none' }));
    await refusedWith(403, other.headObject({ Bucket, Key: 'none' }));
    await refusedWith('AccessDenied', other.getObjectAcl({ Bucket, Key: 'none' }));
    await refusedWith(
      'AccessDenied',
      anna.copyObject({ Bucket, Key: 'c', CopySource: `${await bucketOf(bert)}/none` }),
    );
  }
  await refusedWith('NoSuchKey', anna.getObject({ Bucket, Key: 'none' }));
  await anna.putBucketAcl({ Bucket, ACL: 'public-read' });
  for (const other of [bert, nobody]) {
    await refusedWith('NoSuchKey', other.getObject({ Bucket, Key: 'none' }));
    await refusedWith(404, other.headObject({ Bucket, Key: 'none' }));
  }
  await refusedWith('NoSuchBucket', nobody.getObject({ Bucket: 'no-such-bucket', Key: 'none' }));
});

test('where the owner of the bucket owns everything, ACLs neither count nor are taken', async () => {
  const Bucket = await bucketOf(anna, { ACL: 'public-read-write' });
  await bert.putObject({ Bucket, Key: 'berts', Body: 'x', ACL: 'public-read' });
  const enforce = (ObjectOwnership: ObjectOwnership) =>
    anna.putBucketOwnershipControls({
      Bucket,
      OwnershipControls: { Rules: [{ ObjectOwnership }] },
    });
  await refusedWith('InvalidBucketAclWithObjectOwnership', enforce('BucketOwnerEnforced'));
  await anna.putBucketAcl({ Bucket, ACL: 'private' });
  await enforce('BucketOwnerEnforced');
  const controls = await anna.getBucketOwnershipControls({ Bucket });
  assert.deepEqual(controls.OwnershipControls?.Rules, [{ ObjectOwnership: 'BucketOwnerEnforced' }]);
  // What was given before does not count, and the bucket's owner has everything.
  await anna.getObject({ Bucket, Key: 'berts' });
  for (const other of [bert, nobody]) {
    await refusedWith('AccessDenied', other.getObject({ Bucket, Key: 'berts' }));
  }
  const acl = await anna.getObjectAcl({ Bucket, Key: 'berts' });
  assert.equal(acl.Owner?.ID, ANNA.id);
  assert.deepEqual(shown(acl), ['anna FULL_CONTROL']);
  const put = (more: object) => anna.putObject({ Bucket, Key: 'a', Body: 'x', ...more });
  const refused = [
    () => put({ ACL: 'public-read' }),
    () => put({ GrantRead: `id=${BERT.id}` }),
    () => anna.putObjectAcl({ Bucket, Key: 'berts', ACL: 'public-read' }),
    () => anna.putBucketAcl({ Bucket, ACL: 'authenticated-read' }),
    () => anna.putBucketAcl({ Bucket, ACL: 'private' }),
    () => anna.putObjectAcl({ Bucket, Key: 'berts', ACL: 'bucket-owner-full-control' }),
    () => anna.createMultipartUpload({ Bucket, Key: 'a', ACL: 'public-read' }),
    () => anna.copyObject({ Bucket, Key: 'c', CopySource: `${Bucket}/berts`, ACL: 'public-read' }),
  ];
  for (const request of refused) {
    await refusedWith('AccessControlListNotSupported', request());
  }
  // What is read there can be put there, as clients do that copy lists; it changes nothing.
  const { Owner, Grants } = acl;
  await anna.putObjectAcl({ Bucket, Key: 'berts', AccessControlPolicy: { Owner, Grants } });
  await anna.putBucketAcl({ Bucket, AccessControlPolicy: { Owner, Grants } });
  const shared = [
    ...(Grants ?? []),
    { Grantee: { Type: 'CanonicalUser' as const, ID: BERT.id }, Permission: 'READ' as const },
  ];
  const more = { Bucket, Key: 'berts', AccessControlPolicy: { Owner, Grants: shared } };
  await refusedWith('AccessControlListNotSupported', anna.putObjectAcl(more));
  // Of somebody else even `private` would not be true; that he hands over is.
  const Statement = {
    Effect: 'Allow',
    Principal: { AWS: BERT.number },
    Action: 's3:PutObject',
    Resource: `arn:aws:s3:::${Bucket}/*`,
  };
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
  await anna.putBucketPolicy({ Bucket, Policy });
  const byBert = (ACL?: ObjectCannedACL) => bert.putObject({ Bucket, Key: 'b', Body: 'x', ACL });
  await refusedWith('AccessControlListNotSupported', byBert('private'));
  await byBert();
  await byBert('bucket-owner-full-control');
  assert.equal((await anna.getObjectAcl({ Bucket, Key: 'b' })).Owner?.ID, ANNA.id);
  await put({ ACL: 'bucket-owner-full-control' });
  await put({ ACL: 'private' });
  // Back again: what was given counts again.
  await anna.deleteBucketOwnershipControls({ Bucket });
  await refusedWith('OwnershipControlsNotFoundError', anna.getBucketOwnershipControls({ Bucket }));
  await nobody.getObject({ Bucket, Key: 'berts' });
});

test('a writer hands his objects over where the owner of the bucket prefers that', async () => {
  const Bucket = await bucketOf(anna, {
    ACL: 'public-read-write',
    ObjectOwnership: 'BucketOwnerPreferred',
  });
  await bert.putObject({ Bucket, Key: 'his', Body: 'x' });
  await bert.putObject({ Bucket, Key: 'hers', Body: 'x', ACL: 'bucket-owner-full-control' });
  const { Contents = [] } = await anna.listObjects({ Bucket });
  assert.deepEqual(
    Contents.map(({ Key, Owner }) => [Key, Owner?.DisplayName, Owner?.ID]),
    [
      ['hers', 'anna', ANNA.id],
      ['his', 'bert', BERT.id],
    ],
  );
  await anna.getObject({ Bucket, Key: 'hers' });
  await refusedWith('AccessDenied', bert.getObject({ Bucket, Key: 'hers' }));
  await refusedWith('AccessDenied', anna.getObject({ Bucket, Key: 'his' }));
  // What somebody else owns in her bucket she may remove.
  await anna.deleteObject({ Bucket, Key: 'his' });
});

test('nobody in particular may upload where everybody may, and owns nothing by that', async () => {
  const Bucket = await bucketOf(anna, { ACL: 'public-read-write' });
  const Body = 'x'.repeat(3_000_000);
  await nobody.putObject({ Bucket, Key: 'n', Body });
  const { Contents = [] } = await nobody.listObjectsV2({ Bucket, FetchOwner: true });
  assert.equal(Contents[0]?.Owner?.ID, '65a011a29cdf8ec533ec3d1ccaae921c');
  for (const client of [anna, bert, nobody]) {
    await refusedWith('AccessDenied', client.getObject({ Bucket, Key: 'n' }));
    await refusedWith('AccessDenied', client.putObjectAcl({ Bucket, Key: 'n', ACL: 'private' }));
  }
  await nobody.putObject({ Bucket, Key: 'n', Body, ACL: 'bucket-owner-full-control' });
  const answer = await anna.getObject({ Bucket, Key: 'n' });
  assert.equal((await answer.Body?.transformToByteArray())?.length, Body.length);
  await nobody.deleteObject({ Bucket, Key: 'n' });
});

test('DeleteObjects asks for each key by itself', async () => {
  const Bucket = await bucketOf(anna);
  for (const Key of ['a', 'b', 'kept']) await anna.putObject({ Bucket, Key, Body: 'x' });
  const Statement = {
    Effect: 'Allow',
    Principal: { AWS: BERT.number },
    Action: 's3:DeleteObject',
    Resource: [`arn:aws:s3:::${Bucket}/a`, `arn:aws:s3:::${Bucket}/b`],
  };
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
  await anna.putBucketPolicy({ Bucket, Policy });
  const Objects = ['a', 'kept', 'b', 'never was'].map((Key) => ({ Key }));
  const answer = await bert.deleteObjects({ Bucket, Delete: { Objects } });
  assert.deepEqual(
    answer.Deleted?.map(({ Key }) => Key),
    ['a', 'b'],
  );
  assert.deepEqual(
    answer.Errors?.map(({ Key, Code }) => [Key, Code]),
    [
      ['kept', 'AccessDenied'],
      ['never was', 'AccessDenied'],
    ],
  );
  const { Contents = [] } = await anna.listObjectsV2({ Bucket });
  assert.deepEqual(
    Contents.map(({ Key }) => Key),
    ['kept'],
  );
});

test('a copy needs the right to its source and to its target, each of its own bucket', async () => {
  const from = await bucketOf(anna);
  const to = await bucketOf(bert);
  const CopySource = `${from}/a`;
  await anna.putObject({ Bucket: from, Key: 'a', Body: 'x' });
  const copy = (client: S3) => client.copyObject({ Bucket: to, Key: 'c', CopySource });
  await refusedWith('AccessDenied', copy(bert));
  await refusedWith('AccessDenied', copy(anna));
  await anna.putObjectAcl({ Bucket: from, Key: 'a', ACL: 'authenticated-read' });
  await copy(bert);
  await refusedWith('AccessDenied', copy(nobody));
  assert.deepEqual(shown(await bert.getObjectAcl({ Bucket: to, Key: 'c' })), ['bert FULL_CONTROL']);
  const { UploadId } = await bert.createMultipartUpload({ Bucket: to, Key: 'p' });
  const part = { Bucket: to, Key: 'p', UploadId, PartNumber: 1, CopySource };
  await bert.uploadPartCopy(part);
  await anna.putObjectAcl({ Bucket: from, Key: 'a', ACL: 'private' });
  await refusedWith('AccessDenied', copy(bert));
  await refusedWith('AccessDenied', bert.uploadPartCopy(part));
});

test('the expected owner of a bucket is its id or its number, of target and source', async () => {
  const Bucket = await bucketOf(anna);
  await anna.putObject({ Bucket, Key: 'a', Body: 'x' });
  for (const ExpectedBucketOwner of [ANNA.id, ANNA.number]) {
    await anna.getObject({ Bucket, Key: 'a', ExpectedBucketOwner });
  }
  for (const ExpectedBucketOwner of [BERT.id, BERT.number, 'nonsense']) {
    await refusedWith('AccessDenied', anna.getObject({ Bucket, Key: 'a', ExpectedBucketOwner }));
    await refusedWith(
      'AccessDenied',
      anna.copyObject({
        Bucket,
        Key: 'c',
        CopySource: `${Bucket}/a`,
        ExpectedSourceBucketOwner: ExpectedBucketOwner,
      }),
    );
  }
});

test('the group of everybody does not reach beyond what it is granted', async () => {
  const Bucket = await bucketOf(anna);
  await anna.putBucketAcl({ Bucket, GrantRead: `uri="${ALL}"`, GrantFullControl: `id=${ANNA.id}` });
  await nobody.listObjectsV2({ Bucket });
  await nobody.listObjectVersions({ Bucket });
  await nobody.listMultipartUploads({ Bucket });
  await nobody.headBucket({ Bucket });
  await refusedWith('AccessDenied', nobody.getBucketAcl({ Bucket }));
  await refusedWith('AccessDenied', nobody.getBucketVersioning({ Bucket }));
  await refusedWith('AccessDenied', nobody.getBucketLocation({ Bucket }));
});
