/** A storage node that stops in the middle of things: no request fails, no byte is wrong. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { seededBytes } from '../support/files.ts';

const MIB = 1024 * 1024;
const BUCKET = 'node-stopped';

let cluster: Cluster;
let client: S3Client;

before(async () => {
  cluster = await startCluster({ args: ['--bucket', BUCKET] });
  // One attempt each: a retry by the SDK would hide a failed request.
  client = new S3Client({
    endpoint: cluster.ready().s3,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: TEST_KEYS.accessKey, secretAccessKey: TEST_KEYS.secretKey },
  });
});

after(async () => {
  client?.destroy();
  await cluster?.stop();
});

async function put(key: string, size: number): Promise<void> {
  await client.send(
    new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: seededBytes(key, size) }),
  );
}

async function check(key: string, size: number): Promise<void> {
  const answer = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }));
  const body = await answer.Body?.transformToByteArray();
  const hash = (bytes: Uint8Array | undefined): string =>
    createHash('sha256')
      .update(bytes ?? '')
      .digest('hex');
  assert.equal(hash(body), hash(seededBytes(key, size)), key);
}

/** Uploads and downloads of all sizes, until `stopped` and a little longer. */
async function traffic(name: string, whileStopped: () => Promise<void>): Promise<number> {
  let running = true;
  let requests = 0;
  const sizes = [10, 4096, MIB - 1, 3 * MIB + 5];
  const worker = async (id: number): Promise<void> => {
    for (let round = 0; running; round++) {
      const size = sizes[(id + round) % sizes.length] ?? 0;
      const key = `${name}/${id}/${round}`;
      await put(key, size);
      await check(key, size);
      requests += 2;
    }
  };
  const big = async (): Promise<void> => {
    const key = `${name}/big`;
    const body = seededBytes(key, 40 * MIB);
    const upload = new Upload({
      client,
      params: { Bucket: BUCKET, Key: key, Body: body },
      partSize: 5 * MIB,
      queueSize: 2,
    });
    await upload.done();
    await check(key, body.length);
    requests += 10;
  };
  const work = Promise.all([0, 1, 2, 3].map(worker));
  work.catch(() => {});
  await sleep(300);
  await Promise.all([whileStopped(), big()]);
  running = false;
  await work;
  return requests;
}

describe('a storage node that', () => {
  test('is frozen by SIGSTOP during uploads and downloads fails no request', async (context) => {
    const node = cluster.processes('node')[1];
    assert.ok(node);
    const requests = await traffic('frozen', async () => {
      process.kill(node.pid, 'SIGSTOP');
      try {
        await sleep(4000);
      } finally {
        process.kill(node.pid, 'SIGCONT');
      }
      await sleep(500);
    });
    context.diagnostic(`${requests} requests, none failed`);
  });

  test('is killed again and again during uploads and downloads fails no request', async (context) => {
    const requests = await traffic('killed', async () => {
      for (let kill = 0; kill < 6; kill++) {
        const before = cluster.processes('node')[2];
        assert.ok(before);
        process.kill(before.pid, 'SIGKILL');
        await cluster.until(
          ({ processes }) => processes.some((p) => p.name === before.name && p.pid !== before.pid),
          `${before.name} to come back`,
        );
        await sleep(300);
      }
    });
    context.diagnostic(`${requests} requests, none failed`);
  });

  test('was away is not needed to read what was written before', async () => {
    await put('all/one', 2 * MIB);
    for (const node of cluster.processes('node')) {
      process.kill(node.pid, 'SIGSTOP');
      try {
        await check('all/one', 2 * MIB);
      } finally {
        process.kill(node.pid, 'SIGCONT');
      }
    }
  });
});
