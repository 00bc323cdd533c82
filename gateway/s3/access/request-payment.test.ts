import assert from 'node:assert/strict';
import { test } from 'node:test';
import { S3Error } from '../errors.ts';
import { BucketSettings } from './bucket-settings.ts';
import { checkPayer, REQUEST_PAYMENT_CONFIG } from './request-payment.ts';

const bucket = {
  id: 1,
  name: 'photos',
  owner: 'a'.repeat(64),
  region: 'us-east-1',
  createdMs: 0,
  revision: 1,
  configs: [],
};
const OWNER = { id: bucket.owner, number: '000000000001', displayName: 'owner', root: false };
const OTHER = {
  id: 'b'.repeat(64),
  number: '000000000002',
  displayName: 'other',
  root: false,
};
const PAYS = { 'x-amz-request-payer': 'requester' };

const byRequester = new BucketSettings(bucket, { [REQUEST_PAYMENT_CONFIG]: 'Requester' });
const byOwner = new BucketSettings(bucket, {});

const isDenied = (error: unknown) => error instanceof S3Error && error.code === 'AccessDenied';

test('where the owner pays nobody is asked and nobody charged', () => {
  for (const account of [OWNER, OTHER, undefined]) {
    assert.equal(checkPayer(byOwner, account, {}), false);
    assert.equal(checkPayer(byOwner, account, PAYS), false);
  }
});

test('where the requester pays others say so or are denied; the owner and root need not', () => {
  assert.equal(checkPayer(byRequester, OTHER, PAYS), true);
  assert.equal(checkPayer(byRequester, OWNER, {}), false);
  assert.equal(checkPayer(byRequester, { ...OTHER, root: true }, {}), false);
  assert.throws(() => checkPayer(byRequester, OTHER, {}), isDenied);
  assert.throws(() => checkPayer(byRequester, OTHER, { 'x-amz-request-payer': 'me' }), isDenied);
});

test('nobody pays for what nobody signed', () => {
  assert.throws(() => checkPayer(byRequester, undefined, PAYS), isDenied);
});
