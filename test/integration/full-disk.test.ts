/**
 * Disks that run full, on small filesystems of their own: writes go on while two nodes have room, are
 * refused with a clear error when too few have, reads and deletes always work, and deleting is
 * enough to make writes work again.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { rmSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3, S3ServiceException } from '@aws-sdk/client-s3';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { seededBytes } from '../support/files.ts';
import { mountSmallDisks, type SmallDisks } from '../support/small-disk.ts';

const BUCKET = 'full';
const SIZE = 512 * 1024;
/** In MiB: one node is full long before the others. */
const DISKS = [48, 128, 128];
/** More objects than the disks could ever hold. */
const OBJECTS_MAX = 600;

let disks: SmallDisks | undefined;
let cluster: Cluster;
let s3: S3;
const stored: string[] = [];

before(async () => {
  disks = mountSmallDisks(DISKS);
  if (disks === undefined) return;
  cluster = await startCluster({
    args: ['--bucket', BUCKET, ...disks.folders.flatMap((folder) => ['--disk', folder])],
  });
  s3 = new S3({
    endpoint: cluster.ready().s3,
    region: 'us-east-1',
    forcePathStyle: true,
    // A retry would wait for as long as the answer says.
    maxAttempts: 1,
    credentials: { accessKeyId: TEST_KEYS.accessKey, secretAccessKey: TEST_KEYS.secretKey },
  });
});

after(async () => {
  s3?.destroy();
  await cluster?.stop();
  disks?.remove();
});

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const put = (Key: string): Promise<unknown> =>
  s3.putObject({ Bucket: BUCKET, Key, Body: seededBytes(Key, SIZE) });

async function check(Key: string): Promise<void> {
  const answer = await s3.getObject({ Bucket: BUCKET, Key });
  const body = await answer.Body?.transformToByteArray();
  assert.ok(body);
  assert.equal(hash(body), hash(seededBytes(Key, SIZE)), Key);
}

/** Names of the nodes that say they are full. */
async function fullNodes(): Promise<string[]> {
  const { output } = await cluster.ashlar('node', 'list', '--json');
  const nodes = JSON.parse(output) as { id: string; full: boolean }[];
  return nodes.filter(({ full }) => full).map(({ id }) => id);
}

async function clusterHealth(): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${cluster.ready().s3}/_ashlar/health/cluster`);
  return { status: answer.status, text: await answer.text() };
}

async function eventually(what: string, seconds: number, done: () => Promise<boolean>) {
  const until = performance.now() + seconds * 1000;
  while (!(await done())) {
    assert.ok(performance.now() < until, `waited in vain for ${what}`);
    await sleep(250);
  }
}

describe('a disk that is full', () => {
  test('of one node stops no write: two replicas are kept and the third is owed', async (context) => {
    if (disks === undefined) return context.skip('needs root and loop devices');
    for (let index = 0; (await fullNodes()).length === 0; index += 10) {
      assert.ok(index < OBJECTS_MAX, 'no node ever became full');
      for (let step = index; step < index + 10; step++) {
        await put(`object-${step}`);
        stored.push(`object-${step}`);
      }
    }
    assert.deepEqual(await fullNodes(), ['node-1']);
    for (let step = 0; step < 20; step++) {
      await put(`degraded-${step}`);
      stored.push(`degraded-${step}`);
    }
    assert.equal((await clusterHealth()).status, 200);
    const { output, code } = await cluster.ashlar('health');
    assert.equal(code, 1);
    assert.match(output, /node-1|replica too few/);
    for (const key of stored) await check(key);
    context.diagnostic(`${stored.length} objects, 20 of them with node-1 full`);
  });

  test('of every node refuses writes with a clear error; reads and deletes work', async (context) => {
    if (disks === undefined) return context.skip('needs root and loop devices');
    let refusal: unknown;
    for (let step = 0; refusal === undefined; step++) {
      assert.ok(step < OBJECTS_MAX, 'the disks never became full');
      try {
        await put(`more-${step}`);
        stored.push(`more-${step}`);
      } catch (error) {
        refusal = error;
      }
    }
    assert.ok(refusal instanceof S3ServiceException);
    assert.equal(refusal.$metadata.httpStatusCode, 503);
    assert.equal(refusal.name, 'ServiceUnavailable');
    assert.match(refusal.message, /no space/);
    await eventually('the health check to tell', 15, async () => {
      const { status, text } = await clusterHealth();
      return status === 503 && /refused/.test(text);
    });
    for (const key of stored) await check(key);
    // Refused does not mean half there.
    const { Contents = [] } = await s3.listObjectsV2({ Bucket: BUCKET });
    assert.equal(Contents.length, stored.length);
    context.diagnostic(`${stored.length} objects when the disks were full`);
  });

  test('takes writes again once something was deleted, without a restart', async (context) => {
    if (disks === undefined) return context.skip('needs root and loop devices');
    const pids = cluster.ready().processes.map(({ pid }) => pid);
    const doomed = stored.splice(0, Math.floor(stored.length * 0.7));
    for (const Key of doomed) await s3.deleteObject({ Bucket: BUCKET, Key });
    const began = performance.now();
    await eventually('a write to succeed', 60, async () => {
      try {
        await put('after');
        return true;
      } catch (error) {
        assert.ok(error instanceof S3ServiceException, String(error));
        assert.equal(error.$metadata.httpStatusCode, 503);
        return false;
      }
    });
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    stored.push('after');
    for (const key of stored) await check(key);
    await eventually('the health check to be well', 30, async () => {
      return (await clusterHealth()).status === 200;
    });
    assert.deepEqual(
      cluster.ready().processes.map(({ pid }) => pid),
      pids,
    );
    context.diagnostic(`${doomed.length} objects deleted; a write succeeded after ${seconds} s`);
  });
});

test('of one of four nodes stops nothing: what has its place elsewhere gets all its replicas', async (context) => {
  const four = mountSmallDisks([96, 96, 96, 96]);
  if (four === undefined) return context.skip('needs root and loop devices');
  const [first = ''] = four.folders;
  const ballast = join(dirname(first), 'ballast');
  const own = await startCluster({
    args: ['--bucket', BUCKET, ...four.folders.flatMap((folder) => ['--disk', folder])],
  });
  const client = new S3({
    endpoint: own.ready().s3,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: TEST_KEYS.accessKey, secretAccessKey: TEST_KEYS.secretKey },
  });
  const asked = async <T>(...words: string[]): Promise<T> =>
    JSON.parse((await own.ashlar(...words, '--json')).output) as T;
  type Located = { blocks: { replicas: { node: string; state: string }[] }[] };
  const keys = Array.from({ length: 12 }, (_, index) => `four-${index}`);
  try {
    const { bavail, bsize } = statfsSync(first);
    spawnSync('fallocate', ['-l', String(bavail * bsize - 1024 * 1024), ballast]);
    await eventually('node-1 to say that it is full', 20, async () => {
      const nodes = await asked<{ id: string; full: boolean }[]>('node', 'list');
      return nodes.some(({ id, full }) => id === 'node-1' && full);
    });
    for (const Key of keys) {
      await client.putObject({ Bucket: BUCKET, Key, Body: seededBytes(Key, SIZE) });
    }
    let elsewhere = 0;
    for (const key of keys) {
      const { blocks } = await asked<Located>('object', 'locate', `${BUCKET}/${key}`);
      for (const { replicas } of blocks) {
        assert.equal(replicas.length, 3);
        for (const { node, state } of replicas) assert.equal(state === 'good', node !== 'node-1');
        if (replicas.every(({ node }) => node !== 'node-1')) elsewhere += 1;
      }
    }
    assert.ok(elsewhere > 0 && elsewhere < keys.length, `${elsewhere} of ${keys.length}`);
    rmSync(ballast);
    // What was owed is made up for, without a hand and without a restart.
    await eventually('three replicas of everything', 60, async () => {
      const { output, code } = await own.ashlar('fsck', '--json');
      const { findings } = JSON.parse(output) as { findings: Record<string, number> };
      return code === 0 && findings['missing'] === 0;
    });
    context.diagnostic(`${elsewhere} of ${keys.length} blocks had no place on the full node`);
  } finally {
    client.destroy();
    await own.stop();
    four.remove();
  }
});
