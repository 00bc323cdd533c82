/** Several gateways that deliver, and die while they do: nothing is lost, and in peace nothing comes twice. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  CreateBucketCommand,
  HeadObjectCommand,
  PutBucketNotificationConfigurationCommand,
  PutBucketReplicationCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { type Cluster, startCluster } from '../support/cluster.ts';
import { useReceiver } from '../support/receiver.ts';
import { SERVER_KEYS, useServer } from '../support/server.ts';

const OBJECTS = 60;

const receiver = useReceiver({ delayMs: 100 });
const far = useServer();
const folder = mkdtempSync(join(tmpdir(), 'ashlar-secret-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function withGateways(work: (cluster: Cluster, s3: S3Client) => Promise<void>) {
  const secretKeyFile = join(folder, 'far.secret');
  writeFileSync(secretKeyFile, SERVER_KEYS.secretKey);
  const hook = { name: 'hook', type: 'webhook', url: receiver.url };
  const { accessKey } = SERVER_KEYS;
  const remote = { name: 'far', endpoint: far.endpoint, accessKey, secretKeyFile };
  const cluster = await startCluster({
    args: ['--gateways', '2'],
    env: {
      ASHLAR_EVENTS_TARGETS: JSON.stringify([hook]),
      ASHLAR_REPLICATION_TARGETS: JSON.stringify([remote]),
    },
  });
  const s3 = cluster.client();
  try {
    await work(cluster, s3);
  } finally {
    s3.destroy();
    await cluster.stop();
  }
}

/** A bucket whose objects are told to the hook and replicated to another cluster. */
async function watchedBucket(s3: S3Client, Bucket: string): Promise<string> {
  const VersioningConfiguration = { Status: 'Enabled' as const };
  await s3.send(new CreateBucketCommand({ Bucket }));
  await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }));
  const QueueConfigurations = [
    { QueueArn: 'arn:aws:sqs:us-east-1:0:hook', Events: ['s3:ObjectCreated:*' as const] },
  ];
  const NotificationConfiguration = { QueueConfigurations };
  await s3.send(
    new PutBucketNotificationConfigurationCommand({ Bucket, NotificationConfiguration }),
  );
  const to = await far.bucket();
  await far.s3.putBucketVersioning({ Bucket: to, VersioningConfiguration });
  const Rules = [
    { Status: 'Enabled' as const, Prefix: '', Destination: { Bucket: `arn:aws:s3:::${to}` } },
  ];
  const ReplicationConfiguration = { Role: 'r', Rules };
  await s3.send(new PutBucketReplicationCommand({ Bucket, ReplicationConfiguration }));
  return to;
}

async function putAll(s3: S3Client, Bucket: string): Promise<string[]> {
  const keys = Array.from({ length: OBJECTS }, (_, index) => `k${index}`);
  const put = (Key: string) => s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }));
  await Promise.all(keys.map(put));
  return keys.toSorted();
}

const toldOf = (bucket: string): string[] =>
  receiver.events().flatMap(({ s3 }) => (s3.bucket.name === bucket ? [s3.object.key] : []));

async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function drained(cluster: Cluster): Promise<void> {
  await until('empty outboxes', async () => {
    const { code, output } = await cluster.ashlar('events', 'status');
    assert.equal(code, 0);
    return output.includes('No events wait');
  });
}

async function replicated(s3: S3Client, Bucket: string, to: string, keys: readonly string[]) {
  const { Versions = [] } = await far.s3.listObjectVersions({ Bucket: to });
  assert.deepEqual([...new Set(Versions.map(({ Key }) => Key))], keys);
  for (const Key of keys) {
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key }));
    assert.equal(head.ReplicationStatus, 'COMPLETED', Key);
  }
  return Versions.length;
}

test('two gateways deliver every event once, and replicate every version once', async () => {
  await withGateways(async (cluster, s3) => {
    const to = await watchedBucket(s3, 'peace');
    const keys = await putAll(s3, 'peace');
    await drained(cluster);
    assert.deepEqual(toldOf('peace').toSorted(), keys);
    assert.equal(await replicated(s3, 'peace', to, keys), OBJECTS);
    const again = await cluster.ashlar('replication', 'resync', 'peace', '--all', '--wait');
    assert.equal(again.code, 0, again.output);
    assert.match(again.output, /60 objects looked at, 60 queued, 0 were waiting already/);
    assert.equal(await replicated(s3, 'peace', to, keys), 2 * OBJECTS);
    const none = await cluster.ashlar('replication', 'resync', 'no-such-bucket');
    assert.equal(none.code, 1);
    assert.match(none.output, /there is no bucket no-such-bucket/);
  });
});

test('gateways are killed while they deliver: every event and every replica arrives', async () => {
  await withGateways(async (cluster, s3) => {
    const to = await watchedBucket(s3, 'war');
    const keys = await putAll(s3, 'war');
    await until('the first events', () => toldOf('war').length >= 5);
    const gateways = cluster.processes('gateway').map(({ pid }) => pid);
    for (const pid of gateways) process.kill(pid, 'SIGKILL');
    assert.ok(toldOf('war').length < OBJECTS, 'they were killed in the middle');
    await until('all events', () => new Set(toldOf('war')).size === OBJECTS);
    await drained(cluster);
    assert.deepEqual([...new Set(toldOf('war'))].toSorted(), keys);
    await replicated(s3, 'war', to, keys);
  });
});
