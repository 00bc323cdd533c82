/**
 * Storage nodes that are slow, silent or come and go: no request fails, and none takes long. Each
 * test prints the times it measured; the bounds hold on a busy machine, and are far below any
 * client's time-out.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3 } from '@aws-sdk/client-s3';
import { systemEffects } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { connectMeta, connectNode } from '../../cli/roles.ts';
import { startGateway, whenReady } from '../../gateway/main.ts';
import { startMeta } from '../../meta/main.ts';
import { storageNodeConfigSchema } from '../../storage-node/config.ts';
import { startStorageNode } from '../../storage-node/main.ts';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { seededBytes } from '../support/files.ts';
import { type SlowProxy, startSlowProxy } from '../support/slow-proxy.ts';

const BUCKET = 'slow';
const SECRET = 'the secret of a cluster in a test';
const MIB = 1024 * 1024;
const SIZES = [100, 4096, 200_000, 2 * MIB + 3];
/** Of one request, in milliseconds. */
const P99_MAX = 3000;

interface Times {
  count: number;
  p50: number;
  p99: number;
  max: number;
}

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function client(endpoint: string): S3 {
  return new S3({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    // A retry would hide a failed request.
    maxAttempts: 1,
    credentials: { accessKeyId: TEST_KEYS.accessKey, secretAccessKey: TEST_KEYS.secretKey },
  });
}

/** Writes and reads of four workers while `during` runs; rejects with the first request that fails. */
async function load(s3: S3, name: string, during: () => Promise<void>): Promise<Times> {
  const times: number[] = [];
  let running = true;
  async function timed<T>(request: Promise<T>): Promise<T> {
    const began = performance.now();
    const answer = await request;
    times.push(performance.now() - began);
    return answer;
  }
  const worker = async (id: number): Promise<void> => {
    for (let round = 0; running; round++) {
      const Key = `${name}/${id}/${round}`;
      const Body = seededBytes(Key, SIZES[(id + round) % SIZES.length] ?? 0);
      await timed(s3.putObject({ Bucket: BUCKET, Key, Body }));
      const read = async (): Promise<Uint8Array> => {
        const answer = await s3.getObject({ Bucket: BUCKET, Key });
        return (await answer.Body?.transformToByteArray()) ?? new Uint8Array();
      };
      assert.equal(hash(await timed(read())), hash(Body), Key);
    }
  };
  const work = Promise.all([0, 1, 2, 3].map(worker));
  work.catch(() => {});
  try {
    await during();
  } finally {
    running = false;
  }
  await work;
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor((times.length - 1) * share)] ?? 0;
  return { count: times.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

const shown = ({ count, p50, p99, max }: Times): string =>
  `${count} requests, p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, slowest ${max.toFixed(0)} ms`;

describe('a storage node behind a bad network', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-slow-'));
  const undo: (() => Promise<unknown>)[] = [];
  let proxy: SlowProxy;
  let s3: S3;

  before(async () => {
    proxy = await startSlowProxy();
    undo.push(() => proxy.close());
    const surroundings = { effects: systemEffects, log: silentLog, secret: SECRET };
    const meta = await startMeta(
      { folder: join(folder, 'meta'), listen: '127.0.0.1:0', mapSizeBytes: 2 ** 30 },
      { ...surroundings, connectNode: ({ address }) => connectNode(address, SECRET, silentLog) },
    );
    undo.push(() => meta.stop());
    for (const id of ['node-1', 'node-2', 'node-3']) {
      const registrar = connectMeta(meta.address ?? '', SECRET, silentLog);
      const node = await startStorageNode(
        {
          ...storageNodeConfigSchema.parse({ folder: join(folder, id), mapSizeBytes: 2 ** 33 }),
          id,
          listen: '127.0.0.1:0',
          ...(id === 'node-2' ? { advertise: proxy.address } : {}),
          drainMs: 1000,
        },
        { ...surroundings, registrar: registrar.meta },
      );
      if (id === 'node-2') proxy.target = node.address ?? '';
      undo.push(
        () => registrar.close(),
        () => node.close(),
      );
      await node.registered;
    }
    const link = connectMeta(meta.address ?? '', SECRET, silentLog);
    const config = {
      name: 'slow',
      version: 'test',
      s3: { host: '127.0.0.1', port: 0, sharePort: false, region: 'us-east-1', domains: [] },
      admin: undefined,
      root: TEST_KEYS,
      buckets: [BUCKET],
      objects: {},
      drainMs: 1000,
    };
    const around = {
      ...surroundings,
      meta: link.meta,
      admin: link.admin,
      connect: ({ address }: { address: string }) => connectNode(address, SECRET, silentLog),
    };
    const gateway = await startGateway(config, around);
    undo.push(
      () => link.close(),
      () => gateway.stop(),
    );
    await whenReady(gateway, config, around);
    s3 = client(gateway.s3);
  });

  after(async () => {
    s3?.destroy();
    for (const step of undo.reverse()) await step();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const delayMs of [50, 400]) {
    test(`that is ${delayMs} ms away in each direction slows requests by little`, async (context) => {
      const times = await load(s3, `late-${delayMs}`, async () => {
        await sleep(500);
        proxy.delayMs = delayMs;
        await sleep(4000);
        proxy.delayMs = 0;
        await sleep(500);
      });
      context.diagnostic(shown(times));
      assert.ok(times.p99 < P99_MAX, shown(times));
    });
  }

  test('that swallows everything fails no request', async (context) => {
    const times = await load(s3, 'hole', async () => {
      await sleep(500);
      proxy.blackHole = true;
      await sleep(5000);
      proxy.blackHole = false;
      // What was swallowed leaves gaps in the streams: connections through it are of no use any more.
      proxy.cut();
      await sleep(1000);
    });
    context.diagnostic(shown(times));
    assert.ok(times.p99 < P99_MAX, shown(times));
  });

  test('whose connections are cut again and again fails no request', async (context) => {
    const times = await load(s3, 'cut', async () => {
      for (let round = 0; round < 20; round++) {
        await sleep(200);
        proxy.cut();
      }
    });
    context.diagnostic(shown(times));
    assert.ok(times.p99 < P99_MAX, shown(times));
  });
});

describe('a storage node that', () => {
  let cluster: Cluster;
  let s3: S3;

  before(async () => {
    cluster = await startCluster({ args: ['--bucket', BUCKET, '--gateways', '1'] });
    s3 = client(cluster.ready().s3);
  });
  after(async () => {
    s3?.destroy();
    await cluster?.stop();
  });

  test('stops and goes on again and again fails no request', async (context) => {
    const node = cluster.processes('node')[1];
    assert.ok(node);
    const times = await load(s3, 'flapping', async () => {
      for (let round = 0; round < 8; round++) {
        process.kill(node.pid, 'SIGSTOP');
        try {
          await sleep(100 + 150 * round);
        } finally {
          process.kill(node.pid, 'SIGCONT');
        }
        await sleep(250);
      }
    });
    context.diagnostic(shown(times));
    assert.ok(times.p99 < P99_MAX, shown(times));
  });
});
