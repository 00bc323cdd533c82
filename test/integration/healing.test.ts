/**
 * Three replicas, always, with real processes: a node that was away catches up when it returns, rotten
 * bytes are never served and are replaced, and what uploads left behind disappears.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3 } from '@aws-sdk/client-s3';
import { hashBytes } from '../../base/checksum.ts';
import { systemEffects } from '../../base/clock.ts';
import { makeBlobId } from '../../base/ids.ts';
import { silentLog } from '../../base/log.ts';
import { createRpcChannel } from '../../base/rpc/client.ts';
import { createMetaAdminClient, META_RPC_LIMITS } from '../../meta/admin-client.ts';
import type {
  AdminStatus,
  FsckReport,
  LocatedBlock,
  MetaAdmin,
} from '../../meta/admin-protocol.ts';
import { createStorageNodeClient, STORAGE_NODE_RPC_LIMITS } from '../../storage-node/client.ts';
import type { StorageNode } from '../../storage-node/protocol.ts';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { seededBytes } from '../support/files.ts';

const BUCKET = 'healing';
const KIB = 1024;
/** Small enough for a record, big enough for a row of its own, and several blocks. */
const SIZES = [700, 9 * KIB, 300 * KIB, 2300 * KIB];
/** Longest time for the cluster to be whole again, in milliseconds: far above what it takes. */
const HEALED_MS = 60_000;

const folder = mkdtempSync(join(tmpdir(), 'ashlar-healing-'));
const data = join(folder, 'data');
let cluster: Cluster;
let s3: S3;

const contentOf = (key: string): Buffer =>
  seededBytes(key, SIZES[Number(key.split('-').at(-1)) % SIZES.length] ?? 0);

async function start(): Promise<void> {
  cluster = await startCluster({
    folder,
    args: ['--bucket', BUCKET],
    // Round and round, so that what only they can find is found within the test.
    env: { ASHLAR_META_SCRUB_EVERY: '1s', ASHLAR_META_ORPHANS_EVERY: '1s' },
    startTimeoutMs: 60_000,
  });
  s3 = new S3({
    endpoint: cluster.ready().s3,
    region: 'us-east-1',
    forcePathStyle: true,
    // A retry by the SDK would hide a failed request.
    maxAttempts: 1,
    credentials: { accessKeyId: TEST_KEYS.accessKey, secretAccessKey: TEST_KEYS.secretKey },
  });
}

async function stop(): Promise<void> {
  s3.destroy();
  assert.equal(await cluster.stop(), 0);
}

before(start);
after(async () => {
  s3?.destroy();
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function channel(address: string, limits: typeof META_RPC_LIMITS) {
  const secret = readFileSync(join(data, 'cluster.key'), 'utf8').trim();
  return createRpcChannel({ address, secret, limits, effects: systemEffects, log: silentLog });
}

/** With the metadata service's interface for operators. */
async function asOperator<T>(work: (admin: MetaAdmin) => Promise<T>): Promise<T> {
  const endpoint = JSON.parse(readFileSync(join(data, 'endpoint.json'), 'utf8')) as {
    meta: string;
  };
  const one = channel(endpoint.meta, META_RPC_LIMITS);
  try {
    return await work(createMetaAdminClient(one));
  } finally {
    await one.close();
  }
}

/** With every storage node of the cluster. */
async function onNodes(work: (id: string, node: StorageNode) => Promise<void>): Promise<void> {
  const infos = await asOperator((admin) => admin.nodes());
  for (const { id, address } of infos) {
    const one = channel(address, STORAGE_NODE_RPC_LIMITS);
    try {
      await work(id, createStorageNodeClient(one));
    } finally {
      await one.close();
    }
  }
}

async function put(key: string): Promise<void> {
  await s3.putObject({ Bucket: BUCKET, Key: key, Body: contentOf(key) });
}

async function check(key: string): Promise<void> {
  const answer = await s3.getObject({ Bucket: BUCKET, Key: key });
  const body = (await answer.Body?.transformToByteArray()) ?? new Uint8Array();
  const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  assert.equal(hash(body), hash(contentOf(key)), key);
}

async function blocksOf(key: string): Promise<LocatedBlock[]> {
  const query = { bucket: BUCKET, key, from: 0, limit: 100, verify: true };
  const answer = await asOperator((admin) => admin.locateObject(query));
  assert.ok(answer.ok);
  return answer.value.blocks;
}

/** Replicas that are not good, of all `keys`; every node reads and verifies its own. */
async function badReplicas(keys: readonly string[]): Promise<number> {
  let bad = 0;
  for (const key of keys) {
    for (const { replicas } of await blocksOf(key)) {
      assert.equal(new Set(replicas.map(({ node }) => node)).size, 3);
      bad += replicas.filter(({ state }) => state !== 'good').length;
    }
  }
  return bad;
}

async function until(condition: () => Promise<boolean>, what: string): Promise<number> {
  const began = performance.now();
  while (!(await condition())) {
    assert.ok(performance.now() - began < HEALED_MS, `waited in vain for: ${what}`);
    await sleep(100);
  }
  return Math.round(performance.now() - began);
}

async function fsck(repair: boolean): Promise<FsckReport> {
  return await asOperator(async (admin) => {
    let report = await admin.startFsck({ repair });
    while (report.state === 'running') {
      await sleep(50);
      report = await admin.fsckReport();
    }
    assert.equal(report.state, 'done', report.problem);
    return report;
  });
}

describe('a cluster', () => {
  test('has all replicas of what was written while a node was away, soon after its return', async (context) => {
    const victim = cluster.processes('node')[1];
    assert.ok(victim);
    const keys: string[] = [];
    // It is killed whenever it comes back, until enough is written without it.
    const away = new AbortController();
    const killing = (async () => {
      for (let last = 0; !away.signal.aborted; await sleep(5)) {
        const pid = cluster.processes('node').find(({ name }) => name === victim.name)?.pid;
        if (pid === undefined || pid === last) continue;
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // Gone already.
        }
        last = pid;
      }
    })();
    await sleep(200);
    let before: AdminStatus;
    try {
      for (let n = 0; n < 80; n++) {
        const key = `away-${n}`;
        await put(key);
        keys.push(key);
      }
      before = await asOperator((admin) => admin.adminStatus());
    } finally {
      away.abort();
      await killing;
    }
    assert.ok(before.queues.repair > 0, 'commits have named what is missing');
    const took = await until(
      async () => (await asOperator((admin) => admin.adminStatus())).queues.repair === 0,
      'the repair queue to be empty',
    );
    assert.equal(await badReplicas(keys), 0);
    for (const key of keys) await check(key);
    const counted = new Map<string, number>();
    await onNodes(async (id, node) => {
      counted.set(id, (await node.stats()).blocks);
    });
    const blocks = (await Promise.all(keys.map(blocksOf))).flat().length;
    // Three nodes: each has every block. What cut-off writes left behind goes in time.
    for (const [id, count] of counted) assert.ok(count >= blocks, `${id}: ${count} of ${blocks}`);
    context.diagnostic(`${before.queues.repair} repairs, whole again after ${took} ms`);
  });

  test('serves no rotten bytes, and replaces them', async (context) => {
    const keys = ['rot-0', 'rot-1', 'rot-2', 'rot-3'];
    for (const key of keys) await put(key);
    const [node] = (await blocksOf('rot-0'))[0]?.replicas ?? [];
    assert.ok(node);
    await stop();
    const flipped = keys.map((key) => flipBytes(node.node, contentOf(key).subarray(300, 364)));
    assert.ok(
      flipped.every((times) => times > 0),
      `found and flipped: ${flipped.join(', ')}`,
    );
    await start();
    for (let time = 0; time < 3; time++) for (const key of keys) await check(key);
    const took = await until(async () => (await badReplicas(keys)) === 0, 'good replicas');
    context.diagnostic(`every replica is good again after ${took} ms`);
    for (const key of keys) await check(key);
  });

  test('finds a replica that a node has lost', async () => {
    await put('lost-3');
    const blocks = await blocksOf('lost-3');
    await onNodes(async (id, node) => {
      const mine = blocks.filter((_, index) => blocks[index]?.replicas[index % 3]?.node === id);
      await node.delete(mine.map(({ group, blob, index }) => ({ group, blob, index })));
    });
    assert.ok(blocks.length >= 3);
    await until(async () => (await badReplicas(['lost-3'])) === 0, 'the lost replicas');
    await check('lost-3');
  });

  test('removes what no object refers to, and gives back the space of deleted objects', async () => {
    await until(async () => {
      const { queues } = await asOperator((admin) => admin.adminStatus());
      return queues.garbage === 0;
    }, 'the garbage of before');
    // A writer that never was: as if its gateway had died long ago.
    const key = { group: 7, blob: makeBlobId(2 ** 40, 1), index: 0 };
    const bytes = Buffer.from('left over');
    await onNodes((_, node) => node.put(key, { bytes, hash: hashBytes(bytes) }));
    const { KeyCount, Contents } = await s3.listObjectsV2({ Bucket: BUCKET });
    assert.ok(KeyCount !== undefined && KeyCount > 0);
    for (const { Key } of Contents ?? []) await s3.deleteObject({ Bucket: BUCKET, Key });
    await until(async () => {
      let left = 0;
      await onNodes(async (_, node) => {
        left += (await node.stats()).blocks;
      });
      return left === 0;
    }, 'the last block to go');
  });

  test('passes fsck, and fsck mends what it finds', async () => {
    const keys = ['fsck-2', 'fsck-3'];
    await asOperator((admin) => admin.controlJob({ name: 'scrub', action: 'pause' }));
    for (const key of keys) await put(key);
    const nothing = {
      missing: 0,
      corrupt: 0,
      surplus: 0,
      orphaned: 0,
      lost: 0,
      metadata: 0,
    };
    const clean = await fsck(false);
    assert.deepEqual(clean.findings, nothing, clean.samples.join('\n'));
    assert.deepEqual(clean.unreachable, []);
    const [block] = await blocksOf('fsck-3');
    assert.ok(block);
    const { group, blob, index } = block;
    let first = true;
    await onNodes(async (_, node) => {
      if (first) await node.delete([{ group, blob, index }]);
      first = false;
    });
    const found = await fsck(true);
    assert.deepEqual(found.findings, { ...nothing, missing: 1 });
    assert.equal(found.repaired, 1);
    await until(async () => (await badReplicas(keys)) === 0, 'the repair');
    assert.deepEqual((await fsck(false)).findings, nothing);
  });
});

/** Flips a bit in every copy of `pattern` in the files of a node that does not run; how many. */
function flipBytes(node: string, pattern: Buffer): number {
  let flipped = 0;
  const files = readdirSync(data, { recursive: true, encoding: 'utf8' }).filter(
    (path) => path.includes(node) && path.endsWith('data.mdb'),
  );
  for (const file of files) {
    const path = join(data, file);
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf(pattern); at >= 0; at = bytes.indexOf(pattern, at + 1)) {
      bytes[at] = (bytes[at] ?? 0) ^ 0x40;
      flipped += 1;
    }
    if (flipped > 0) writeFileSync(path, bytes);
  }
  return flipped;
}
