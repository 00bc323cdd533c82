/**
 * What a bucket's settings say holds on every gateway from the moment that the request which set them
 * is answered: two gateway processes share a port, and every question comes on a connection of its own.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  CreateBucketCommand,
  DeleteBucketCorsCommand,
  DeleteBucketPolicyCommand,
  PutBucketCorsCommand,
  PutBucketPolicyCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { exchange, type RawAnswer, requestHead } from '../support/raw.ts';
import { sha256, signHeaders } from '../support/sign.ts';

const BUCKET = 'everywhere';
const ORIGIN = 'https://app.example';
const ROUNDS = 12;
/** Enough that both gateways are asked: one of them gets all of a round once in 512. */
const CONNECTIONS = 10;

let cluster: Cluster;
let client: S3Client;

before(async () => {
  cluster = await startCluster({ args: ['--gateways', '2'] });
  client = cluster.client();
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
});

after(async () => {
  client?.destroy();
  await cluster?.stop();
});

/** The same unsigned request on connections of its own, at once. */
function askAll(method: string, headers: Record<string, string>): Promise<RawAnswer[]> {
  const { s3 } = cluster.ready();
  const head = requestHead(method, `/${BUCKET}/key`, {
    host: new URL(s3).host,
    origin: ORIGIN,
    ...headers,
  });
  return Promise.all(Array.from({ length: CONNECTIONS }, () => exchange(s3, head)));
}

const PREFLIGHT = { 'access-control-request-method': 'GET' };

test('CORS rules hold on every gateway at once, in preflights and in refusals', async () => {
  const hosts = new Set<string>();
  for (let round = 1; round <= ROUNDS; round++) {
    const rule = { AllowedOrigins: [ORIGIN], AllowedMethods: ['GET'], MaxAgeSeconds: round };
    await client.send(
      new PutBucketCorsCommand({ Bucket: BUCKET, CORSConfiguration: { CORSRules: [rule] } }),
    );
    for (const answer of [...(await askAll('GET', {})), ...(await askAll('OPTIONS', PREFLIGHT))]) {
      assert.equal(answer.headers['access-control-max-age'], String(round), answer.body);
      hosts.add(answer.headers['x-amz-id-2'] ?? '');
    }
    await client.send(new DeleteBucketCorsCommand({ Bucket: BUCKET }));
    for (const answer of [...(await askAll('GET', {})), ...(await askAll('OPTIONS', PREFLIGHT))]) {
      assert.equal(answer.status, 403);
      assert.equal(answer.headers['access-control-allow-origin'], undefined);
    }
  }
  assert.equal(hosts.size, 2, 'both gateways were asked');
});

test('policies hold on every gateway at once, when they deny and when they no longer do', async () => {
  const path = `/${BUCKET}`;
  const { s3 } = cluster.ready();
  const list = (): Promise<RawAnswer[]> =>
    Promise.all(
      Array.from({ length: CONNECTIONS }, () => {
        const payloadHash = sha256('');
        const headers = { host: new URL(s3).host };
        const request = { method: 'GET', path, headers, payloadHash, now: Date.now() };
        return exchange(s3, requestHead('GET', path, signHeaders(request, TEST_KEYS)));
      }),
    );
  const deny = {
    Effect: 'Deny',
    Principal: '*',
    Action: 's3:ListBucket',
    Resource: `arn:aws:s3:::${BUCKET}`,
  };
  for (let round = 1; round <= ROUNDS; round++) {
    for (const answer of await list()) assert.equal(answer.status, 200, answer.body);
    const Policy = JSON.stringify({ Statement: deny });
    await client.send(new PutBucketPolicyCommand({ Bucket: BUCKET, Policy }));
    for (const answer of await list()) assert.equal(answer.code, 'AccessDenied', answer.body);
    await client.send(new DeleteBucketPolicyCommand({ Bucket: BUCKET }));
  }
});
