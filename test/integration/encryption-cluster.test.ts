/**
 * Encryption with real processes: the master key that the first start makes, restarts, rotation of
 * master keys while clients write, and the repair of encrypted blocks, for which nobody needs a key.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3 } from '@aws-sdk/client-s3';
import { systemEffects } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { createRpcChannel } from '../../base/rpc/client.ts';
import { createMetaAdminClient, META_RPC_LIMITS } from '../../meta/admin-client.ts';
import type { LocatedBlock } from '../../meta/admin-protocol.ts';
import { createStorageNodeClient, STORAGE_NODE_RPC_LIMITS } from '../../storage-node/client.ts';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { customerKey, keyText, reading, saidOf, shown, writing } from '../support/encryption.ts';
import { refusedWith } from '../support/server.ts';

const folder = mkdtempSync(join(tmpdir(), 'ashlar-encryption-'));
const data = join(folder, 'data');
const keysFile = join(data, 'master.keys');
const Bucket = 'encrypted';
const MODES = ['sse-s3', 'sse-kms', 'sse-c'] as const;
const bodies = new Map<string, Buffer>();
let cluster: Cluster;
let s3: S3;

async function start(): Promise<void> {
  cluster = await startCluster({
    folder,
    args: ['--bucket', Bucket, '--gateways', '2'],
    env: { ASHLAR_ENCRYPTION_KMS_KEYS: `k1=${keyText('k1')}` },
    startTimeoutMs: 60_000,
  });
  s3 = new S3({
    endpoint: cluster.ready().s3,
    region: 'us-east-1',
    forcePathStyle: true,
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

async function put(Key: string, mode: (typeof MODES)[number], size: number): Promise<void> {
  const Body = randomBytes(size);
  await s3.putObject({ Bucket, Key, Body, ...writing(mode) });
  bodies.set(Key, Body);
}

async function checkAll(): Promise<void> {
  for (const [Key, body] of bodies) {
    const mode = MODES.find((one) => Key.startsWith(one)) ?? 'sse-s3';
    const got = await s3.getObject({ Bucket, Key, ...reading(mode) });
    assert.ok(Buffer.from((await got.Body?.transformToByteArray()) ?? []).equals(body), Key);
    assert.deepEqual(saidOf(got), shown(mode), Key);
  }
}

function channel(address: string, limits: typeof META_RPC_LIMITS) {
  const secret = readFileSync(join(data, 'cluster.key'), 'utf8').trim();
  return createRpcChannel({ address, secret, limits, effects: systemEffects, log: silentLog });
}

async function asOperator<T>(
  work: (admin: ReturnType<typeof createMetaAdminClient>) => Promise<T>,
): Promise<T> {
  const { meta } = JSON.parse(readFileSync(join(data, 'endpoint.json'), 'utf8')) as {
    meta: string;
  };
  const one = channel(meta, META_RPC_LIMITS);
  try {
    return await work(createMetaAdminClient(one));
  } finally {
    await one.close();
  }
}

async function blocksOf(key: string): Promise<LocatedBlock[]> {
  const query = { bucket: Bucket, key, from: 0, limit: 100, verify: true };
  const answer = await asOperator((admin) => admin.locateObject(query));
  assert.ok(answer.ok);
  return answer.value.blocks;
}

test('SSE-S3 works at once: the first start makes a master key that only its owner may read', async () => {
  assert.equal(statSync(keysFile).mode & 0o777, 0o600);
  for (const mode of MODES) {
    await put(`${mode}-small`, mode, 700);
    await put(`${mode}-big`, mode, 2_300_000);
  }
  await checkAll();
  const key = readFileSync(keysFile, 'utf8').trim().split('\n').at(-1) ?? '';
  assert.equal(Buffer.from(key, 'base64').length, 32);
  assert.ok(!cluster.output().includes(key));
  const status = await cluster.ashlar('encryption', 'status', '--json');
  assert.equal(status.code, 0, status.output);
  const { encrypted } = JSON.parse(status.output) as { encrypted: { count: number }[] };
  assert.deepEqual(
    encrypted.map((one) => one.count),
    [2, 2, 2],
  );
});

test('everything is readable after a restart', async () => {
  await stop();
  await start();
  await checkAll();
});

test('a rotation wraps everything anew while clients write, and the old key can go', async () => {
  const { UploadId } = await s3.createMultipartUpload({
    Bucket,
    Key: 'upload',
    ...writing('sse-s3'),
  });
  const part = { Bucket, Key: 'upload', UploadId, PartNumber: 1 };
  const Body = randomBytes(1000);
  const { ETag } = await s3.uploadPart({ ...part, Body });
  const text = readFileSync(keysFile, 'utf8');
  const old = text.trim().split('\n').at(-1) ?? '';
  const fresh = randomBytes(32).toString('base64');
  await stop();
  writeFileSync(keysFile, `${fresh}\n${old}\n`);
  await start();
  await checkAll();
  const writing2 = { going: true };
  const writer = (async () => {
    for (let n = 0; writing2.going; n++) {
      await put(`sse-s3-${n}`, 'sse-s3', 100);
      const CopySource = `${Bucket}/sse-s3-small`;
      await s3.copyObject({ Bucket, Key: `sse-s3-copy-${n}`, CopySource, ...writing('sse-s3') });
      bodies.set(`sse-s3-copy-${n}`, bodies.get('sse-s3-small') ?? Buffer.alloc(0));
    }
  })();
  const rotated = await cluster.ashlar('encryption', 'rotate', '--json');
  await sleep(100);
  writing2.going = false;
  await writer;
  assert.equal(rotated.code, 0, rotated.output);
  const result = JSON.parse(rotated.output) as { changed: number; unknownMasterKeys: number };
  assert.ok(result.changed >= 3, rotated.output);
  assert.equal(result.unknownMasterKeys, 0);
  const again = await cluster.ashlar('encryption', 'rotate', '--json');
  assert.equal((JSON.parse(again.output) as { changed: number }).changed, 0);
  await stop();
  writeFileSync(keysFile, `${fresh}\n`);
  await start();
  await s3.completeMultipartUpload({
    Bucket,
    Key: 'upload',
    UploadId,
    MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] },
  });
  bodies.set('upload', Body);
  await checkAll();
});

test('a gateway without the master key says so in its log and serves no bytes', async () => {
  const text = readFileSync(keysFile, 'utf8');
  await stop();
  writeFileSync(keysFile, `${randomBytes(32).toString('base64')}\n`);
  await start();
  await refusedWith('InternalError', s3.getObject({ Bucket, Key: 'sse-s3-small' }));
  await cluster.prints(/the master key m[0-9a-f]{16} is not among those of this gateway/);
  await s3.getObject({ Bucket, Key: 'sse-c-small', ...customerKey('mine') });
  const rotated = await cluster.ashlar('encryption', 'rotate');
  assert.equal(rotated.code, 1);
  assert.match(rotated.output, /a master key that is not here/);
  await stop();
  writeFileSync(keysFile, text);
  await start();
  await checkAll();
});

test('lost replicas of encrypted blocks are made again without any key', async () => {
  const keys = MODES.map((mode) => `${mode}-big`);
  const nodes = await asOperator((admin) => admin.nodes());
  const [victim] = nodes;
  assert.ok(victim);
  const lost = (await Promise.all(keys.map(blocksOf))).flat();
  const node = channel(victim.address, STORAGE_NODE_RPC_LIMITS);
  await createStorageNodeClient(node).delete(
    lost.map(({ blob, group, index }) => ({ blob, group, index })),
  );
  await node.close();
  const missing = (await Promise.all(keys.map(blocksOf))).flat();
  assert.ok(missing.some(({ replicas }) => replicas.some(({ state }) => state === 'missing')));
  await checkAll();
  const fsck = await cluster.ashlar('fsck', '--repair');
  assert.ok(fsck.code === 0 || fsck.code === 1, fsck.output);
  for (let tries = 0; ; tries++) {
    const found = (await Promise.all(keys.map(blocksOf))).flat();
    if (found.every(({ replicas }) => replicas.every(({ state }) => state === 'good'))) break;
    assert.ok(tries < 300, 'waited in vain for the repair');
    await sleep(100);
  }
  await checkAll();
  assert.equal((await cluster.ashlar('fsck')).code, 0);
});
