/** A gateway that is to stop while the other side of a replication takes everything and answers nothing. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3 } from '@aws-sdk/client-s3';
import { systemEffects } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { startEmbedded } from '../../cli/embedded.ts';
import { SERVER_KEYS } from '../support/server.ts';

test('a replica under way does not hold up a gateway that stops', async () => {
  const arrived = Promise.withResolvers<void>();
  const other = createServer((request, response) => {
    request.on('error', () => {});
    if (request.method === 'GET') {
      response.end('<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>');
    } else request.on('data', () => arrived.resolve());
  });
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
  const running = await startEmbedded(
    {
      name: 'stopping',
      version: 'test',
      s3: { host: '127.0.0.1', port: 0, sharePort: false, region: 'us-east-1', domains: [] },
      admin: undefined,
      root: SERVER_KEYS,
      buckets: [],
      objects: {},
      drainMs: 100,
      replicaTargets: [
        {
          name: 'silent',
          endpoint,
          region: 'us-east-1',
          ...SERVER_KEYS,
          markReplicas: true,
          timeoutMs: 600_000,
        },
      ],
    },
    { folder: undefined, effects: systemEffects, log: silentLog },
  );
  const s3 = new S3({
    endpoint: running.s3,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: SERVER_KEYS.accessKey, secretAccessKey: SERVER_KEYS.secretKey },
  });
  const Bucket = 'replicated';
  await s3.createBucket({ Bucket });
  await s3.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: 'Enabled' } });
  const rule = {
    Status: 'Enabled' as const,
    Prefix: '',
    Destination: { Bucket: 'arn:aws:s3:::replicas' },
  };
  await s3.putBucketReplication({
    Bucket,
    ReplicationConfiguration: { Role: 'arn:aws:iam::1:role/x', Rules: [rule] },
  });
  await s3.putObject({ Bucket, Key: 'k', Body: Buffer.alloc(100_000) });
  s3.destroy();
  await arrived.promise;
  const stopped = running.stop().then(() => 'stopped');
  assert.equal(await Promise.race([stopped, sleep(30_000, 'still running')]), 'stopped');
  other.closeAllConnections();
  other.close();
});
