/** What an operator does with a cluster of real processes: look, wait, add a disk, replace one. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { GetObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import type { AdminStatus, NodeInfo } from '../../meta/admin-protocol.ts';
import { type Cluster, startCluster } from '../support/cluster.ts';
import { runCommand } from '../support/command.ts';
import { seededBytes } from '../support/files.ts';

const BUCKET = 'operate';
const OBJECTS = 40;

const folder = mkdtempSync(join(tmpdir(), 'ashlar-operate-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const disk = (number: number): string => join(folder, `disk-${number}`);
const disks = (...numbers: number[]): string[] =>
  numbers.flatMap((number) => ['--disk', disk(number)]);

let cluster: Cluster;
let client: S3Client;

async function start(args: readonly string[]): Promise<void> {
  cluster = await startCluster({
    folder,
    args: ['--bucket', BUCKET, '--gateways', '2', ...args],
    startTimeoutMs: 60_000,
  });
  client = cluster.client();
}

async function stop(): Promise<void> {
  client.destroy();
  await cluster.stop();
}

/** Runs a verb that must end with `code`. */
async function ashlar(code: number, ...args: string[]): Promise<string> {
  const result = await cluster.ashlar(...args);
  assert.equal(result.code, code, `ashlar ${args.join(' ')}: ${result.output}`);
  return result.output;
}

async function json<T>(...args: string[]): Promise<T> {
  return JSON.parse(await ashlar(0, ...args, '--json')) as T;
}

const keys = Array.from({ length: OBJECTS }, (_, index) => `object-${index}`);
const contentOf = (key: string): Buffer => seededBytes(key, 20_000);

async function checkAll(): Promise<void> {
  for (const Key of keys) {
    const answer = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key }));
    const body = (await answer.Body?.transformToByteArray()) ?? new Uint8Array();
    assert.ok(contentOf(Key).equals(body), Key);
  }
}

/** Waits until all data is where the layout wants it. */
async function moved(): Promise<void> {
  const until = performance.now() + 120_000;
  for (;;) {
    const state = await json<{ movingGroups: number }>('layout', 'show');
    if (state.movingGroups === 0) return;
    assert.ok(performance.now() < until, `${state.movingGroups} groups are still being moved`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

describe('an operator', () => {
  before(async () => {
    await start(disks(1, 2, 3));
    for (const Key of keys) {
      await client.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body: contentOf(Key) }));
    }
  });
  after(() => stop());

  test('sees everything on one screen, and every verb speaks JSON', async () => {
    assert.match(await ashlar(0, 'health', '--wait', '30s'), /^Healthy: 3 of 3 nodes/);
    const screen = await ashlar(0, 'status');
    assert.match(screen, /^Healthy/);
    assert.match(screen, /node-2 +node-2 +up/);
    assert.match(screen, /Objects +40 in 1 buckets/);
    const status = await json<AdminStatus>('status');
    assert.equal(status.healthy, true);
    assert.deepEqual(status.usage, { objects: OBJECTS, bytes: OBJECTS * 20_000 });
    for (const verb of [
      'node list',
      'node info node-1',
      'layout show',
      'repair status',
      'scrub status',
      'gc status',
      'rebalance status',
      `object locate ${BUCKET}/object-1`,
      `object verify ${BUCKET}/object-1`,
      'gc run',
      'health',
    ]) {
      assert.ok(await json(...verb.split(' ')), verb);
    }
  });

  test('finds every replica of an object, and nothing wrong with the store', async () => {
    const located = await json<{ blocks: { replicas: { state: string }[] }[] }>(
      'object',
      'verify',
      `${BUCKET}/object-7`,
    );
    assert.deepEqual(
      located.blocks.map(({ replicas }) => replicas.map(({ state }) => state)),
      [['good', 'good', 'good']],
    );
    assert.match(await ashlar(1, 'object', 'locate', `${BUCKET}/nothing`), /There is no object/);
    assert.match(await ashlar(0, 'fsck'), /Nothing is wrong/);
  });

  test('is told what is wrong with a command, by exit code and by a sentence', async () => {
    await ashlar(2, 'object', 'locate', 'no-key');
    await ashlar(2, 'layout', 'stage', 'explode', 'node-1');
    await ashlar(2, 'health', '--wait', 'long');
    await ashlar(2, 'no-such-verb');
    assert.match(await ashlar(1, 'node', 'info', 'node-9'), /Known nodes: node-1, node-2, node-3/);
    assert.match(await ashlar(1, 'layout', 'apply', '--yes'), /Nothing is staged/);
    await ashlar(1, 'layout', 'diff');
  });

  test('may name the metadata service instead of the folder', async () => {
    const data = join(folder, 'data');
    const { meta } = JSON.parse(readFileSync(join(data, 'endpoint.json'), 'utf8')) as {
      meta: string;
    };
    const key = join(data, 'cluster.key');
    const asked = (args: string[], env: Record<string, string>) =>
      runCommand(args, { env: { XDG_DATA_HOME: join(folder, 'nowhere'), ...env } });
    const named = { ASHLAR_META_ADDRESS: meta, ASHLAR_CLUSTER_SECRET_FILE: key };
    assert.equal((await asked(['health'], named)).code, 0);
    const flag = await asked(['node', 'list', '--meta-address', meta], {
      ASHLAR_CLUSTER_SECRET_FILE: key,
    });
    assert.equal(flag.code, 0, flag.output);
    assert.equal((await asked(['health'], { ASHLAR_META_ADDRESS: meta })).code, 2);
    const wrong = { ASHLAR_META_ADDRESS: meta, ASHLAR_CLUSTER_SECRET: 'x'.repeat(32) };
    const stranger = await asked(['health'], wrong);
    assert.equal(stranger.code, 1);
    assert.match(stranger.output, /does not accept the cluster secret/);
    const nobody = await asked(['status'], {});
    assert.equal(nobody.code, 69);
    assert.match(nobody.output, /No Ashlar has been started/);
    const away = await asked(['status'], { ...named, ASHLAR_META_ADDRESS: '127.0.0.1:1' });
    assert.equal(away.code, 69, away.output);
    assert.match(away.output, /does not answer/);
  });

  test('sees a node that is stopped, in the sentence and on every gateway’s metrics', async () => {
    const node = cluster.processes('node').find(({ name }) => name === 'node-2');
    assert.ok(node);
    const { admins, s3 } = cluster.ready();
    assert.equal(admins.length, 2);
    process.kill(node.pid, 'SIGSTOP');
    try {
      const deadline = performance.now() + 20_000;
      while ((await cluster.ashlar('health')).code === 0) {
        assert.ok(performance.now() < deadline, 'the node is never missed');
      }
      assert.match(await ashlar(1, 'health'), /^Degraded: node-2 is down/);
      for (const admin of admins) {
        const until = performance.now() + 10_000;
        for (;;) {
          const text = await (await fetch(`${admin}/metrics`)).text();
          if (/^ashlar_node_up\{node="node-2"\} 0$/m.test(text)) {
            assert.match(text, /^ashlar_cluster_nodes\{state="up"\} 2$/m);
            assert.match(text, /^ashlar_cluster_healthy 0$/m);
            assert.match(text, /^ashlar_cluster_writable 1$/m);
            break;
          }
          assert.ok(performance.now() < until, text);
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
      }
      assert.equal((await fetch(`${s3}/_ashlar/health/cluster`)).status, 200);
    } finally {
      process.kill(node.pid, 'SIGCONT');
    }
    await ashlar(0, 'health', '--wait', '60s');
  });

  test('holds the repair job, over a restart of the metadata service, until it is resumed', async () => {
    await ashlar(0, 'repair', 'pause');
    assert.match(await ashlar(1, 'health'), /Repair is paused/);
    const before = cluster.processes('meta')[0];
    assert.ok(before);
    process.kill(before.pid, 'SIGTERM');
    await cluster.until(
      ({ processes }) => processes.some(({ role, pid }) => role === 'meta' && pid !== before.pid),
      'the metadata service to come back',
    );
    const [repair] = await json<{ state: string }[]>('repair', 'status');
    assert.equal(repair?.state, 'paused');
    await ashlar(0, 'repair', 'resume');
    await ashlar(0, 'health', '--wait', '60s');
  });
});

describe('an operator of the same cluster, later,', () => {
  after(() => stop());

  test('adds a fourth disk: it is a spare until the layout names it', async () => {
    // Another order than before: nodes know their names.
    await start(disks(4, 3, 2, 1));
    const nodes = await json<NodeInfo[]>('node', 'list');
    assert.deepEqual(
      nodes.map(({ id, condition }) => `${id} ${condition}`),
      ['node-1 up', 'node-2 up', 'node-3 up', 'node-4 spare'],
    );
    assert.match(await ashlar(0, 'status'), /ashlar layout stage add node-4/);
    assert.match(await ashlar(0, 'layout', 'stage', 'add', 'node-4'), /To move: \d+ replicas/);
    assert.match(await ashlar(2, 'layout', 'apply'), /--yes/);
    assert.match(await ashlar(0, 'layout', 'apply', '--yes'), /Layout 2 is in force/);
    await moved();
    const after = await json<NodeInfo[]>('node', 'list');
    const groups = after.map((node) => node.groups);
    assert.equal(
      groups.reduce((sum, count) => sum + count, 0),
      3 * 1024,
    );
    assert.ok(Math.max(...groups) - Math.min(...groups) <= 2, groups.join(' '));
    await checkAll();
  });

  test('starts without a disk that is blank, which serves again once it is replaced', async () => {
    await stop();
    renameSync(disk(2), join(folder, 'taken-out'));
    // No --disk: what was used before is used again.
    await start([]);
    await checkAll();
    await cluster.prints(/replace node-2/);
    assert.match(await ashlar(1, 'health'), /node-2 (is down|holds)/);
    assert.match(await ashlar(0, 'node', 'replace', 'node-2', '--yes'), /replace node-2/);
    await moved();
    assert.match(await ashlar(0, 'health', '--wait', '120s'), /^Healthy: 4 of 4/);
    await checkAll();
    assert.match(await ashlar(0, 'fsck'), /Nothing is wrong/);
  });
});
