/**
 * What a bucket's settings say holds on every gateway from the moment that the request which set them
 * is answered: two gateway processes share a port, and every question comes on a connection of its own.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  CreateBucketCommand,
  DeleteBucketCorsCommand,
  PutBucketCorsCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { type Cluster, startCluster } from '../support/cluster.ts';
import { exchange, type RawAnswer, requestHead } from '../support/raw.ts';

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
