/** GetBucketRequestPayment and PutBucketRequestPayment, through the SDK; who is charged is tested beside `checkPayer`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusedWith, useServer } from '../support/server.ts';

const server = useServer();

test('the owner pays until it is set otherwise, and again afterwards', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const payer = async () => (await s3.getBucketRequestPayment({ Bucket })).Payer;
  assert.equal(await payer(), 'BucketOwner');
  for (const Payer of ['Requester', 'BucketOwner'] as const) {
    await s3.putBucketRequestPayment({ Bucket, RequestPaymentConfiguration: { Payer } });
    assert.equal(await payer(), Payer);
  }
  await refusedWith(
    'MalformedXML',
    s3.putBucketRequestPayment({
      Bucket,
      RequestPaymentConfiguration: { Payer: 'Somebody' as 'Requester' },
    }),
  );
  await refusedWith('NoSuchBucket', s3.getBucketRequestPayment({ Bucket: 'none' }));
});

test('the owner of a Requester Pays bucket works as ever', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putBucketRequestPayment({
    Bucket,
    RequestPaymentConfiguration: { Payer: 'Requester' },
  });
  await s3.putObject({ Bucket, Key: 'a', Body: 'x' });
  const answer = await s3.getObject({ Bucket, Key: 'a' });
  assert.equal(answer.RequestCharged, undefined);
  await s3.getObject({ Bucket, Key: 'a', RequestPayer: 'requester' });
});
