/**
 * Every process is restarted in turn, as for an upgrade, while clients with the SDK's default retries
 * read and write: no request fails, no byte is wrong.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { type Cluster, type ReadyProcess, startCluster } from '../support/cluster.ts';
import { seededBytes } from '../support/files.ts';

const BUCKET = 'rolling';
const MIB = 1024 * 1024;
const WORKERS = 6;

let cluster: Cluster;
let clients: S3Client[] = [];

before(async () => {
  cluster = await startCluster({ args: ['--bucket', BUCKET, '--gateways', '2'] });
  clients = Array.from({ length: WORKERS }, () => cluster.client());
});

after(async () => {
  for (const client of clients) client.destroy();
  await cluster?.stop();
});

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

interface Load {
  requests: number;
  retries: number;
  slowestMs: number;
  failures: string[];
  stop(): Promise<void>;
}

/** Every worker writes, reads back, lists and deletes keys of its own, one request after the other. */
function startLoad(): Load {
  let running = true;
  const load: Load = { requests: 0, retries: 0, slowestMs: 0, failures: [], stop };
  const sizes = [100, 4096, 300_000, 3 * MIB + 7];

  async function timed<T extends { $metadata: { attempts?: number | undefined } }>(
    what: string,
    request: Promise<T>,
  ): Promise<T | undefined> {
    const began = performance.now();
    try {
      const answer = await request;
      load.retries += (answer.$metadata.attempts ?? 1) - 1;
      return answer;
    } catch (error) {
      load.failures.push(`${what}: ${String(error)}`);
      return undefined;
    } finally {
      load.requests++;
      load.slowestMs = Math.max(load.slowestMs, performance.now() - began);
    }
  }

  async function worker(client: S3Client, id: number): Promise<void> {
    for (let round = 0; running; round++) {
      const Key = `${id}/${round}`;
      const body = seededBytes(Key, sizes[round % sizes.length] ?? 0);
      const name = { Bucket: BUCKET, Key };
      await timed('PUT', client.send(new PutObjectCommand({ ...name, Body: body })));
      const read = await timed('GET', client.send(new GetObjectCommand(name)));
      try {
        const bytes = await read?.Body?.transformToByteArray();
        if (bytes !== undefined && hash(bytes) !== hash(body)) load.failures.push(`${Key}: bytes`);
      } catch (error) {
        load.failures.push(`GET body: ${String(error)}`);
      }
      const list = await timed(
        'LIST',
        client.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix: `${id}/` })),
      );
      if (list !== undefined && !list.Contents?.some((entry) => entry.Key === Key)) {
        load.failures.push(`${Key}: not listed`);
      }
      await timed('DELETE', client.send(new DeleteObjectCommand(name)));
    }
  }

  const work = Promise.all(clients.map((client, id) => worker(client, id)));
  async function stop(): Promise<void> {
    running = false;
    await work;
  }
  return load;
}

async function restart({ name, pid }: ReadyProcess): Promise<void> {
  process.kill(pid, 'SIGTERM');
  await cluster.until(
    ({ processes }) => processes.some((one) => one.name === name && one.pid !== pid),
    `${name} to come back`,
  );
  // The gate of a rolling upgrade: the next one only when all is well.
  const { code, output } = await cluster.ashlar('health', '--wait', '30s');
  assert.equal(code, 0, `not well again after ${name}: ${output}`);
}

test('the metadata service killed under load starts once, and no request fails', async (context) => {
  const load = startLoad();
  const kills = 3;
  const endings = () => cluster.output().split('"process":"meta"').length - 1;
  const before = endings();
  try {
    for (let round = 0; round < kills; round++) {
      const [{ pid } = assert.fail('there is none')] = cluster.processes('meta');
      process.kill(pid, 'SIGKILL');
      await cluster.until(
        ({ processes }) => processes.some((one) => one.role === 'meta' && one.pid !== pid),
        'the metadata service to come back',
      );
      const { code, output } = await cluster.ashlar('health', '--wait', '30s');
      assert.equal(code, 0, output);
    }
  } finally {
    await load.stop();
  }
  const { requests, retries, slowestMs, failures } = load;
  context.diagnostic(
    `${requests} requests, ${retries} retried by the SDK, slowest ${slowestMs.toFixed(0)} ms`,
  );
  assert.deepEqual(failures, []);
  // Each kill: ended, ready again. What was on its way then is found before the service is up.
  assert.equal(endings() - before, 2 * kills);
});

describe('a rolling restart of', () => {
  for (const role of ['gateway', 'node', 'meta'] as const) {
    test(`each ${role} under load fails no request`, async (context) => {
      const load = startLoad();
      try {
        for (let round = 0; round < 2; round++) {
          for (const one of cluster.processes(role)) {
            await restart(one);
          }
        }
      } finally {
        await load.stop();
      }
      const { requests, retries, slowestMs, failures } = load;
      context.diagnostic(
        `${requests} requests, ${retries} retried by the SDK, slowest ${slowestMs.toFixed(0)} ms`,
      );
      assert.deepEqual(failures, []);
      assert.ok(requests > 20, 'there was load');
    });
  }
});
