/** Bucket policies through the SDK: what is kept, what is refused, what is public. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusedWith, useInspectedServer } from '../support/server.ts';

const ANN = {
  displayName: 'ann',
  id: 'a'.repeat(64),
  number: '111122223333',
  accessKey: 'ASHLANNANNANNANNANN1',
  secretKey: 's'.repeat(40),
};
const server = useInspectedServer({ config: { newBuckets: 'open', accounts: [ANN] } });

type Json = Record<string, unknown>;

/** A policy that allows everyone to read, with odd white space that must come back. */
function policyOf(bucket: string, statement: Json = {}): string {
  return JSON.stringify(
    {
      Version: '2012-10-17',
      Statement: [
        {
          Sid: 'all may read',
          Effect: 'Allow',
          Principal: '*',
          Action: 's3:GetObject',
          Resource: `arn:aws:s3:::${bucket}/*`,
          ...statement,
        },
      ],
    },
    null,
    3,
  );
}

test('PutBucketPolicy, GetBucketPolicy and DeleteBucketPolicy keep the text as it was sent', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const missing = await refusedWith('NoSuchBucketPolicy', s3.getBucketPolicy({ Bucket }));
  assert.equal(missing.$metadata.httpStatusCode, 404);
  const Policy = policyOf(Bucket, {
    Sid: 'прочитать',
    Condition: { Bool: { 'aws:SecureTransport': false } },
  });
  await s3.putBucketPolicy({ Bucket, Policy });
  assert.equal((await s3.getBucketPolicy({ Bucket })).Policy, Policy);
  const other = policyOf(Bucket);
  await s3.putBucketPolicy({ Bucket, Policy: other, ConfirmRemoveSelfBucketAccess: true });
  assert.equal((await s3.getBucketPolicy({ Bucket })).Policy, other);
  await s3.deleteBucketPolicy({ Bucket });
  await s3.deleteBucketPolicy({ Bucket });
  await refusedWith('NoSuchBucketPolicy', s3.getBucketPolicy({ Bucket }));
  for (const request of [
    () => s3.getBucketPolicy({ Bucket: 'no-such' }),
    () => s3.putBucketPolicy({ Bucket: 'no-such', Policy: policyOf('no-such') }),
    () => s3.deleteBucketPolicy({ Bucket: 'no-such' }),
    () => s3.getBucketPolicyStatus({ Bucket: 'no-such' }),
  ]) {
    await refusedWith('NoSuchBucket', request());
  }
});

test('PutBucketPolicy refuses what is no policy of this bucket and leaves the one there is', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const Policy = policyOf(Bucket);
  await s3.putBucketPolicy({ Bucket, Policy });
  const wrong: [policy: string, message: RegExp][] = [
    ['{', /invalid Json/],
    [` ${Policy}`, /first byte must be/],
    [policyOf(Bucket, { Effect: 'Permit' }), /Invalid effect/],
    [policyOf(Bucket, { Action: 's3:GetObjects' }), /invalid action/],
    [policyOf(Bucket, { Resource: 'arn:aws:s3:::other-bucket/*' }), /invalid resource/],
    [policyOf(Bucket, { Principal: { AWS: 'arn:aws:iam::1:root' } }), /Invalid principal/],
    [policyOf(Bucket, { Principal: { AWS: '999999999999' } }), /Invalid principal/],
    [policyOf(Bucket, { Principal: { CanonicalUser: 'b'.repeat(64) } }), /Invalid principal/],
    [
      policyOf(Bucket, { Condition: { StringEquals: { 's3:nothing': 'x' } } }),
      /invalid condition key/,
    ],
    [
      policyOf(Bucket, { Condition: { StringIs: { 'aws:Referer': 'x' } } }),
      /Invalid Condition type/,
    ],
    [policyOf(Bucket, { Comment: 'x' }), /Unknown field/],
    [policyOf(Bucket, { Sid: 'x'.repeat(21_000) }), /maximum allowed size/],
  ];
  for (const [text, message] of wrong) {
    const error = await refusedWith(
      'MalformedPolicy',
      s3.putBucketPolicy({ Bucket, Policy: text }),
    );
    assert.equal(error.$metadata.httpStatusCode, 400);
    assert.match(error.message, message);
  }
  assert.equal((await s3.getBucketPolicy({ Bucket })).Policy, Policy);
});

test('GetBucketPolicyStatus tells whether a policy is public', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const isPublic = async (): Promise<boolean | undefined> =>
    (await s3.getBucketPolicyStatus({ Bucket })).PolicyStatus?.IsPublic;
  assert.equal(await isPublic(), false);
  await s3.putBucketPolicy({ Bucket, Policy: policyOf(Bucket) });
  assert.equal(await isPublic(), true);
  const Condition = { IpAddress: { 'aws:SourceIp': '10.0.0.0/32' } };
  await s3.putBucketPolicy({ Bucket, Policy: policyOf(Bucket, { Condition }) });
  assert.equal(await isPublic(), false);
  const Principal = { AWS: '111122223333' };
  await s3.putBucketPolicy({ Bucket, Policy: policyOf(Bucket, { Principal }) });
  assert.equal(await isPublic(), false);
  await s3.deleteBucketPolicy({ Bucket });
  assert.equal(await isPublic(), false);
});

test('the accounts that a policy names must be there', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (const Principal of [
    { AWS: [ANN.number, `arn:aws:iam::${ANN.number}:root`, `arn:aws:iam::${ANN.number}:user/x`] },
    { CanonicalUser: ANN.id },
    { AWS: ANN.id },
    { Service: 'logging.s3.amazonaws.com' },
  ]) {
    await s3.putBucketPolicy({ Bucket, Policy: policyOf(Bucket, { Principal }) });
  }
  const Principal = { AWS: [ANN.number, 'arn:aws:iam::222222222222:user/x'] };
  const unknown = s3.putBucketPolicy({ Bucket, Policy: policyOf(Bucket, { Principal }) });
  const error = await refusedWith('MalformedPolicy', unknown);
  assert.equal(error.message, 'Invalid principal in policy');
});

test('a policy goes with its bucket', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putBucketPolicy({ Bucket, Policy: policyOf(Bucket) });
  await s3.deleteBucket({ Bucket });
  await s3.createBucket({ Bucket });
  await refusedWith('NoSuchBucketPolicy', s3.getBucketPolicy({ Bucket }));
});
