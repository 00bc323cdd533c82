/**
 * Nodes 4 and 5 come, node 1 goes, a disk is replaced: with real processes and the `ashlar` command,
 * under uploads and downloads of which none may fail, and with processes killed in the middle of it.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { type RunningCommand, runCommand, startCommand } from '../support/command.ts';
import { seededBytes } from '../support/files.ts';

const MIB = 1024 * 1024;
const BUCKET = 'layout-change';
const SIZES = [10, 4096, 100_000, MIB - 1, 3 * MIB + 5];
const DONE_MS = 120_000;

let cluster: Cluster;
let client: S3Client;
const extra = new Map<string, RunningCommand>();

interface NodeRow {
  id: string;
  condition: string;
  inLayout: boolean;
  groups: number;
}

const dataFolder = (): string => join(cluster.folder, 'data');

/** Runs a verb for operators; what it prints as JSON. */
async function ashlar(...words: string[]): Promise<unknown> {
  const { code, output } = await runCommand([...words, '--data', dataFolder(), '--json']);
  assert.equal(code, 0, `ashlar ${words.join(' ')}: ${output}`);
  return JSON.parse(output);
}

const nodes = async (): Promise<NodeRow[]> => (await ashlar('node', 'list')) as NodeRow[];

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + DONE_MS;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `waited in vain for ${what}`);
    await sleep(300);
  }
}

async function settled(): Promise<void> {
  await until('the layout change to be complete', async () => {
    const state = (await ashlar('layout', 'show')) as { previousEpochs: number[] };
    return state.previousEpochs.length === 0;
  });
}

function startNode(id: string): void {
  const { meta } = JSON.parse(readFileSync(join(dataFolder(), 'endpoint.json'), 'utf8')) as {
    meta: string;
  };
  const flags = ['--node-id', id, '--node-listen', '127.0.0.1:0', '--meta-address', meta];
  const folder = join(cluster.folder, id);
  const env = { ASHLAR_CLUSTER_SECRET_FILE: join(dataFolder(), 'cluster.key') };
  extra.set(id, startCommand(['node', ...flags, '--node-data', folder], { env }));
}

async function stopNode(id: string): Promise<void> {
  const running = extra.get(id);
  running?.process.kill('SIGTERM');
  await running?.exited;
  extra.delete(id);
}

const sha256 = (bytes: Uint8Array | undefined): string =>
  createHash('sha256')
    .update(bytes ?? '')
    .digest('hex');

async function put(key: string, body: Buffer): Promise<void> {
  await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: body }));
}

async function hashOf(key: string): Promise<string> {
  const answer = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }));
  return sha256(await answer.Body?.transformToByteArray());
}

/** Keys with the hash of what they hold. */
const live = new Map<string, string>();
let requests = 0;

/** Uploads, downloads, overwrites and deletions for as long as `work` takes. */
async function under(name: string, work: () => Promise<void>): Promise<void> {
  const over = new AbortController();
  const worker = async (id: number): Promise<void> => {
    for (let round = 0; !over.signal.aborted; round++) {
      const key = `${name}/${id}/${round % 20}`;
      if (live.has(key) && round % 4 === 0) {
        live.delete(key);
        await client.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: key }));
      } else {
        const body = seededBytes(`${key}#${round}`, SIZES[(id + round) % SIZES.length] ?? 0);
        live.delete(key);
        await put(key, body);
        live.set(key, sha256(body));
        assert.equal(await hashOf(key), live.get(key), key);
      }
      requests += 2;
    }
  };
  const reader = async (): Promise<void> => {
    for (let round = 0; !over.signal.aborted; round++) {
      const settledKeys = [...live.keys()].filter((key) => !key.startsWith(`${name}/`));
      const key = settledKeys[round % Math.max(1, settledKeys.length)];
      if (key === undefined) await sleep(20);
      else assert.equal(await hashOf(key), live.get(key), key);
      requests += 1;
    }
  };
  const slow = async (): Promise<void> => {
    // Parts that were written by one layout, completed under another.
    const body = seededBytes(`${name}/slow`, 12 * MIB);
    const params = { Bucket: BUCKET, Key: `${name}/slow`, Body: body };
    await new Upload({ client, params, partSize: 5 * MIB, queueSize: 1 }).done();
    live.set(`${name}/slow`, sha256(body));
  };
  const load = Promise.all([0, 1, 2].map(worker).concat(reader(), slow()));
  load.catch(() => over.abort());
  try {
    await sleep(500);
    await work();
  } finally {
    over.abort();
  }
  await load;
}

async function checkAll(): Promise<void> {
  for (const [key, hash] of live) assert.equal(await hashOf(key), hash, key);
}

async function assertBalanced(count: number): Promise<void> {
  const placed = (await nodes()).filter(({ inLayout, groups }) => inLayout && groups > 0);
  assert.equal(placed.length, count);
  const share = placed.reduce((sum, { groups }) => sum + groups, 0) / count;
  for (const { id, groups } of placed) {
    assert.ok(Math.abs(groups - share) <= share * 0.2, `${id}: ${groups} of ${share}`);
  }
}

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
  for (const id of extra.keys()) await stopNode(id);
  await cluster?.stop();
});

describe('the layout of a running cluster', () => {
  test('takes in two nodes, and a node is killed while data is moved', async () => {
    for (const id of ['node-4', 'node-5']) startNode(id);
    await until('two spares', async () => {
      return (await nodes()).filter(({ condition }) => condition === 'spare').length === 2;
    });
    await under('added', async () => {
      await ashlar('layout', 'stage', 'add', 'node-4', 'node-5');
      await ashlar('layout', 'apply', '--yes');
      const victim = cluster.processes('node')[1];
      assert.ok(victim);
      process.kill(victim.pid, 'SIGKILL');
      await settled();
    });
    await assertBalanced(5);
    await checkAll();
  });

  test('drains and removes a node, and the metadata service is killed meanwhile', async () => {
    await under('drained', async () => {
      await ashlar('node', 'drain', 'node-1', '--yes');
      await settled();
      await ashlar('node', 'remove', 'node-1', '--yes');
      await settled();
    });
    assert.ok((await nodes()).every(({ id }) => id !== 'node-1'));
    await assertBalanced(4);
    const meta = cluster.processes('meta')[0];
    assert.ok(meta);
    process.kill(meta.pid, 'SIGKILL');
    await cluster.until(
      ({ processes }) => processes.some(({ role, pid }) => role === 'meta' && pid !== meta.pid),
      'the metadata service to come back',
    );
    await until('its answers', async () => (await runStatus()) === 0);
    await checkAll();
  });

  test('fills the new disk of a node again', async () => {
    await stopNode('node-4');
    rmSync(join(cluster.folder, 'node-4'), { recursive: true });
    await until('node-4 to be down', async () => {
      return (await nodes()).some(({ id, condition }) => id === 'node-4' && condition === 'down');
    });
    startNode('node-4');
    await extra.get('node-4')?.prints(/its disk is blank/);
    await under('replaced', async () => {
      await ashlar('node', 'replace', 'node-4', '--yes');
      await settled();
    });
    await checkAll();
    assert.ok(existsSync(join(cluster.folder, 'node-4', 'blocks')));
    assert.ok(readdirSync(join(cluster.folder, 'node-4')).includes('node.json'));
  });

  test('has failed no request', (context) => {
    context.diagnostic(`${requests} requests, none failed`);
    assert.ok(requests > 100);
  });
});

async function runStatus(): Promise<number | null> {
  return (await runCommand(['node', 'list', '--data', dataFolder(), '--json'])).code;
}
