import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bucket, Meta } from '../../../meta/protocol.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import { cannedGrants, encodeAcl } from '../access/acl.ts';
import type { NewBuckets } from '../access/new-buckets.ts';
import { BLOCKS_EVERYTHING, encodePublicAccessBlock } from '../access/public-access-block.ts';
import { createBucket } from './create-bucket.ts';
import { deleteBucket } from './delete-bucket.ts';
import { getBucketLocation } from './get-bucket-location.ts';
import { getBucketVersioning } from './get-bucket-versioning.ts';
import { headBucket } from './head-bucket.ts';
import { listBuckets } from './list-buckets.ts';
import {
  BUCKET,
  ok,
  OWNER,
  refused,
  run,
  runForText,
  type TestRequest,
} from './testing-context.ts';

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

function configuration(location: string): string {
  return `<CreateBucketConfiguration><LocationConstraint>${location}</LocationConstraint></CreateBucketConfiguration>`;
}

test('CreateBucket creates the bucket for the caller in the cluster region', async () => {
  const created: object[] = [];
  const reply = await run(createBucket, {
    region: 'eu-west-1',
    meta: {
      createBucket: (command) => {
        created.push(command);
        return ok(BUCKET);
      },
    },
  });
  assert.deepEqual(created, [{ name: 'photos', owner: OWNER, region: 'eu-west-1', configs: {} }]);
  assert.deepEqual(reply, { status: 200, headers: { Location: '/photos' } });
});

const LOCATIONS: [region: string, constraint: string, outcome: 'created' | ErrorCode][] = [
  ['us-east-1', 'us-east-1', 'created'],
  ['eu-west-1', 'eu-west-1', 'created'],
  ['eu-west-1', 'EU', 'created'],
  ['eu-west-1', '', 'created'],
  ['us-east-1', 'EU', 'IllegalLocationConstraintException'],
  ['us-east-1', 'eu-central-1', 'IllegalLocationConstraintException'],
  ['eu-west-1', 'us-gov-west-1', 'IllegalLocationConstraintException'],
  ['us-east-1', 'moon', 'InvalidLocationConstraint'],
  ['home', 'home', 'created'],
];

for (const [region, constraint, outcome] of LOCATIONS) {
  test(`CreateBucket with location "${constraint}" in ${region}: ${outcome}`, async () => {
    const request: TestRequest = {
      region,
      xml: configuration(constraint),
      meta: { createBucket: () => ok(BUCKET) },
    };
    if (outcome === 'created') assert.equal((await run(createBucket, request)).status, 200);
    else await assert.rejects(run(createBucket, request), isCode(outcome));
  });
}

test('CreateBucket again by the owner succeeds in us-east-1 and conflicts elsewhere', async () => {
  const values: Record<string, string> = {};
  const meta: Partial<Meta> = {
    createBucket: () => refused('BucketAlreadyOwnedByYou'),
    getBucketSettings: () => ok({ bucket: BUCKET, values }),
  };
  assert.equal((await run(createBucket, { meta })).status, 200);
  await assert.rejects(
    run(createBucket, { meta, region: 'eu-west-1' }),
    isCode('BucketAlreadyOwnedByYou'),
  );
  const publicRead = { meta, headers: { 'x-amz-acl': 'public-read' } };
  await assert.rejects(run(createBucket, publicRead), isCode('BucketAlreadyExists'));
  values['acl'] = encodeAcl(cannedGrants('public-read', { owner: OWNER, bucketOwner: OWNER }));
  assert.equal((await run(createBucket, publicRead)).status, 200);
  await assert.rejects(run(createBucket, { meta }), isCode('BucketAlreadyExists'));
});

test('CreateBucket takes ownership and an ACL that fit each other and what is blocked', async () => {
  const made: unknown[] = [];
  const meta: Partial<Meta> = {
    createBucket: ({ configs }) => {
      made.push(configs);
      return ok(BUCKET);
    },
  };
  const create = (newBuckets: NewBuckets, headers: Record<string, string>) =>
    run(createBucket, { meta, newBuckets, headers });
  await create('open', {});
  await create('aws', {});
  await create('aws', { 'x-amz-object-ownership': 'ObjectWriter', 'x-amz-acl': 'private' });
  await create('open', { 'x-amz-acl': 'public-read' });
  const block = encodePublicAccessBlock(BLOCKS_EVERYTHING);
  const acl = encodeAcl(cannedGrants('public-read', { owner: OWNER, bucketOwner: OWNER }));
  assert.deepEqual(made, [
    {},
    { ownership: '{"ownership":"BucketOwnerEnforced"}', 'public-access-block': block },
    { ownership: '{"ownership":"ObjectWriter"}', 'public-access-block': block },
    { acl },
  ]);
  const writer = { 'x-amz-object-ownership': 'ObjectWriter' };
  for (const [code, mode, headers] of [
    ['InvalidArgument', 'open', { 'x-amz-object-ownership': 'Everybody' }],
    ['InvalidArgument', 'open', { 'x-amz-acl': 'everyone' }],
    ['InvalidBucketAclWithObjectOwnership', 'aws', { 'x-amz-acl': 'public-read' }],
    [
      'InvalidBucketAclWithObjectOwnership',
      'open',
      { 'x-amz-object-ownership': 'BucketOwnerEnforced', 'x-amz-acl': 'authenticated-read' },
    ],
    [
      'InvalidBucketAclWithBlockPublicAccessError',
      'aws',
      { ...writer, 'x-amz-acl': 'public-read' },
    ],
    ['InvalidRequest', 'open', { 'x-amz-acl': 'private', 'x-amz-grant-read': `id=${OWNER}` }],
    ['UnresolvableGrantByEmailAddress', 'open', { 'x-amz-grant-read': 'emailAddress="a@b.c"' }],
  ] as const) {
    await assert.rejects(create(mode, headers), isCode(code), JSON.stringify(headers));
  }
  assert.equal(made.length, 4);
});

test('CreateBucket of a name that somebody else has is BucketAlreadyExists everywhere', async () => {
  const meta = { createBucket: () => refused('BucketAlreadyExists') };
  await assert.rejects(run(createBucket, { meta }), isCode('BucketAlreadyExists'));
});

test('CreateBucket refuses a body that is no configuration', async () => {
  await assert.rejects(run(createBucket, { xml: '<Bucket/>' }), isCode('MalformedXML'));
});

test('HeadBucket tells the region, DeleteBucket has no body', async () => {
  const meta = { getBucket: () => ok(BUCKET), deleteBucket: () => ok(null) };
  assert.deepEqual(await run(headBucket, { meta }), {
    status: 200,
    headers: {
      'Content-Type': 'application/xml',
      'x-amz-bucket-region': 'us-east-1',
      'x-amz-access-point-alias': 'false',
    },
  });
  assert.deepEqual(await run(deleteBucket, { meta }), { status: 204, headers: {} });
});

test('GetBucketLocation and GetBucketVersioning answer for buckets that exist', async () => {
  const meta = { getBucket: () => ok({ ...BUCKET, region: 'eu-west-1' }) };
  const location = await runForText(getBucketLocation, { meta, query: 'location' });
  assert.match(location, />eu-west-1<\/LocationConstraint>$/);
  const versioning = await runForText(getBucketVersioning, { meta, query: 'versioning' });
  assert.match(versioning, /"><\/VersioningConfiguration>$/);
});

test('Bucket operations answer NoSuchBucket with the name', async () => {
  const meta = {
    getBucket: () => refused('NoSuchBucket'),
    deleteBucket: () => refused('NoSuchBucket'),
  };
  for (const operation of [headBucket, deleteBucket, getBucketLocation, getBucketVersioning]) {
    await assert.rejects(run(operation, { meta }), (error) => {
      assert.ok(error instanceof S3Error);
      assert.equal(error.code, 'NoSuchBucket');
      assert.deepEqual(error.details, { BucketName: 'photos' });
      return true;
    });
  }
});

/** `count` buckets that are listed as the metadata service lists them. */
function listing(count: number) {
  const all: Bucket[] = Array.from({ length: count }, (_, index) => ({
    ...BUCKET,
    id: index,
    name: `b${String(index).padStart(5, '0')}`,
  }));
  const limits: number[] = [];
  return {
    limits,
    listBuckets: async (query: { prefix: string; after?: string | undefined; limit: number }) => {
      limits.push(query.limit);
      const rest = all.filter(
        ({ name }) => name.startsWith(query.prefix) && name > (query.after ?? ''),
      );
      const buckets = rest.slice(0, query.limit);
      const next = rest.length > query.limit ? buckets.at(-1)?.name : undefined;
      return { buckets, next };
    },
  };
}

function namesIn(body: string): string[] {
  return [...body.matchAll(/<Name>([^<]*)<\/Name>/g)].map(([, name]) => name ?? '');
}

test('ListBuckets without parameters gives all buckets, whatever the page size', async () => {
  const meta = listing(2500);
  const body = await runForText(listBuckets, { bucket: '', meta });
  assert.equal(namesIn(body).length, 2500);
  assert.deepEqual(meta.limits, [1000, 1000, 1000]);
  assert.doesNotMatch(body, /BucketRegion|ContinuationToken/);
});

test('ListBuckets pages with max-buckets and an opaque token', async () => {
  const meta = listing(5);
  const seen: string[] = [];
  let token = '';
  for (let page = 0; page < 3; page++) {
    const query = `max-buckets=2&continuation-token=${token}`;
    const body = await runForText(listBuckets, { bucket: '', query, meta });
    seen.push(...namesIn(body));
    token = /<ContinuationToken>([^<]*)</.exec(body)?.[1] ?? '';
    assert.equal(token === '', page === 2);
    assert.match(body, /<BucketRegion>us-east-1<\/BucketRegion>/);
  }
  assert.deepEqual(seen, ['b00000', 'b00001', 'b00002', 'b00003', 'b00004']);
});

test('ListBuckets filters by prefix and by region', async () => {
  const meta = listing(12);
  const byPrefix = await runForText(listBuckets, { bucket: '', query: 'prefix=b0001', meta });
  assert.deepEqual(namesIn(byPrefix), ['b00010', 'b00011']);
  assert.match(byPrefix, /<Prefix>b0001<\/Prefix>/);
  const here = await runForText(listBuckets, {
    bucket: '',
    query: 'bucket-region=us-east-1',
    meta,
  });
  assert.equal(namesIn(here).length, 12);
  const there = await runForText(listBuckets, {
    bucket: '',
    query: 'bucket-region=eu-west-1',
    meta,
  });
  assert.equal(namesIn(there).length, 0);
});

for (const query of [
  'max-buckets=0',
  'max-buckets=10001',
  'max-buckets=-1',
  'max-buckets=x',
  'continuation-token=***',
  'continuation-token=AA',
]) {
  test(`ListBuckets with ${query} is InvalidArgument`, async () => {
    await assert.rejects(
      run(listBuckets, { bucket: '', query, meta: listing(1) }),
      isCode('InvalidArgument'),
    );
  });
}
