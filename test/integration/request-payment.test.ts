/** Requester Pays, through the SDK, by the owner, by others and by nobody. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANNA, BERT, useClient } from '../support/people.ts';
import { refusedWith, useInspectedServer } from '../support/server.ts';

const server = useInspectedServer({ config: { accounts: [ANNA, BERT], newBuckets: 'open' } });
const anna = useClient(server, ANNA);
const bert = useClient(server, BERT);
const nobody = useClient(server, undefined);

let buckets = 0;
const REQUESTER = { RequestPaymentConfiguration: { Payer: 'Requester' as const } };
const PAYS = { RequestPayer: 'requester' as const };

async function bucketOf(owner: typeof anna): Promise<string> {
  const Bucket = `paid-${++buckets}`;
  await owner.createBucket({ Bucket });
  return Bucket;
}

/** A bucket of Anna's that everybody may read, and write to, at his own expense. */
async function publicBucket(): Promise<string> {
  const Bucket = await bucketOf(anna);
  await anna.putBucketAcl({ Bucket, ACL: 'public-read-write' });
  await anna.putObject({ Bucket, Key: 'a', Body: 'x', ACL: 'public-read' });
  await anna.putBucketRequestPayment({ Bucket, ...REQUESTER });
  return Bucket;
}

test('the owner pays until it is set otherwise, and again afterwards', async () => {
  const Bucket = await bucketOf(anna);
  const payer = async () => (await anna.getBucketRequestPayment({ Bucket })).Payer;
  assert.equal(await payer(), 'BucketOwner');
  for (const Payer of ['Requester', 'BucketOwner'] as const) {
    await anna.putBucketRequestPayment({ Bucket, RequestPaymentConfiguration: { Payer } });
    assert.equal(await payer(), Payer);
  }
  await refusedWith(
    'MalformedXML',
    anna.putBucketRequestPayment({
      Bucket,
      RequestPaymentConfiguration: { Payer: 'Somebody' as 'Requester' },
    }),
  );
  await refusedWith('NoSuchBucket', anna.getBucketRequestPayment({ Bucket: 'none' }));
  await refusedWith('AccessDenied', bert.putBucketRequestPayment({ Bucket, ...REQUESTER }));
});

test('the owner of a Requester Pays bucket works as ever', async () => {
  const Bucket = await publicBucket();
  const answer = await anna.getObject({ Bucket, Key: 'a' });
  assert.equal(answer.RequestCharged, undefined);
  assert.equal((await anna.getObject({ Bucket, Key: 'a', ...PAYS })).RequestCharged, undefined);
});

test('others say that they pay, or are denied; the reply says that they did', async () => {
  const Bucket = await publicBucket();
  await refusedWith('AccessDenied', bert.getObject({ Bucket, Key: 'a' }));
  await refusedWith('AccessDenied', bert.listObjectsV2({ Bucket }));
  await refusedWith('AccessDenied', bert.putObject({ Bucket, Key: 'b', Body: 'y' }));
  for (const answer of [
    await bert.getObject({ Bucket, Key: 'a', ...PAYS }),
    await bert.headObject({ Bucket, Key: 'a', ...PAYS }),
    await bert.listObjectsV2({ Bucket, ...PAYS }),
    await bert.putObject({ Bucket, Key: 'b', Body: 'y', ...PAYS }),
  ]) {
    assert.equal(answer.RequestCharged, 'requester');
  }
  await anna.putBucketRequestPayment({
    Bucket,
    RequestPaymentConfiguration: { Payer: 'BucketOwner' },
  });
  assert.equal((await bert.getObject({ Bucket, Key: 'a' })).RequestCharged, undefined);
});

test('who copies from such a bucket pays, too', async () => {
  const Bucket = await publicBucket();
  const own = await bucketOf(bert);
  const copy = { Bucket: own, Key: 'copy', CopySource: `${Bucket}/a` };
  await refusedWith('AccessDenied', bert.copyObject(copy));
  assert.equal((await bert.copyObject({ ...copy, ...PAYS })).RequestCharged, 'requester');
});

test('nobody pays for what nobody signed, and a right is needed beside the payment', async () => {
  const Bucket = await publicBucket();
  await refusedWith('AccessDenied', nobody.getObject({ Bucket, Key: 'a', ...PAYS }));
  await anna.putObject({ Bucket, Key: 'private', Body: 'x' });
  await refusedWith('AccessDenied', bert.getObject({ Bucket, Key: 'private', ...PAYS }));
});
