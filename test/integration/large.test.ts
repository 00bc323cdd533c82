/**
 * One large object through a gateway with a small heap: its memory does not grow with the object.
 * 1 GiB by default; `BIG=5` for the largest that one PutObject takes.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { seededBytes } from '../support/files.ts';
import { signHeaders } from '../support/sign.ts';

const MIB = 1024 * 1024;
const SIZE_MIB = 1024 * Number(process.env['BIG'] ?? 1);
const HEAP_MIB = 256;
/** Heap, the budget for blocks in flight, and the process itself; far below the object. */
const RSS_MIB_MAX = 450;

let cluster: Cluster;
before(async () => {
  cluster = await startCluster({
    args: ['--gateways', '1', '--bucket', 'large'],
    env: { NODE_OPTIONS: `--max-old-space-size=${HEAP_MIB}` },
  });
});
after(() => cluster.stop());

/** `SIZE_MIB` different mebibytes, one at a time; `hash` sees them all. */
function* content(hash: ReturnType<typeof createHash>): Generator<Buffer> {
  const pattern = seededBytes('large', MIB);
  for (let count = 0; count < SIZE_MIB; count++) {
    const bytes = Buffer.from(pattern);
    bytes.writeUInt32BE(count, 0);
    hash.update(bytes);
    yield bytes;
  }
}

function signed(method: string): {
  hostname: string;
  port: string;
  headers: Record<string, string>;
} {
  const { host, hostname, port } = new URL(cluster.ready().s3);
  const headers = signHeaders(
    {
      method,
      path: '/large/object',
      headers: { host },
      payloadHash: 'UNSIGNED-PAYLOAD',
      now: Date.now(),
    },
    TEST_KEYS,
  );
  return { hostname, port, headers };
}

/** Sends the object as one PutObject; its SHA-256. */
async function upload(): Promise<string> {
  const { hostname, port, headers } = signed('PUT');
  headers['content-length'] = String(SIZE_MIB * MIB);
  const hash = createHash('sha256');
  const outgoing = request({ hostname, port, method: 'PUT', path: '/large/object', headers });
  const answered = new Promise<number>((resolve, reject) => {
    outgoing.on('error', reject);
    outgoing.on('response', (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
  });
  await pipeline(Readable.from(content(hash)), outgoing);
  assert.equal(await answered, 200);
  return hash.digest('hex');
}

/** Reads the object; its SHA-256 and size. */
async function download(): Promise<{ sha256: string; size: number }> {
  const { hostname, port, headers } = signed('GET');
  const hash = createHash('sha256');
  let size = 0;
  await new Promise<void>((resolve, reject) => {
    const outgoing = request({ hostname, port, path: '/large/object', headers }, (answer) => {
      answer.on('data', (chunk: Buffer) => {
        hash.update(chunk);
        size += chunk.length;
      });
      answer.on('error', reject);
      answer.on('end', resolve);
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
  return { sha256: hash.digest('hex'), size };
}

/** The largest resident size of the gateway while `work` runs, in MiB. */
async function peakOf(work: () => Promise<void>): Promise<number> {
  const [gateway] = cluster.processes('gateway');
  assert.ok(gateway);
  let peak = 0;
  let running = true;
  const watch = (async () => {
    while (running) {
      const status = readFileSync(`/proc/${gateway.pid}/status`, 'utf8');
      peak = Math.max(peak, Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024);
      await sleep(50);
    }
  })();
  try {
    await work();
  } finally {
    running = false;
    await watch;
  }
  assert.equal(cluster.processes('gateway')[0]?.pid, gateway.pid, 'the gateway was restarted');
  return Math.round(peak);
}

test(`${SIZE_MIB} MiB go through a gateway with ${HEAP_MIB} MiB of heap, and come back the same`, async (context) => {
  let sha256 = '';
  const uploading = await peakOf(async () => {
    sha256 = await upload();
  });
  const downloading = await peakOf(async () => {
    assert.deepEqual(await download(), { sha256, size: SIZE_MIB * MIB });
  });
  context.diagnostic(`peak memory: ${uploading} MiB uploading, ${downloading} MiB downloading`);
  assert.ok(uploading < RSS_MIB_MAX, `${uploading} MiB while uploading`);
  assert.ok(downloading < RSS_MIB_MAX, `${downloading} MiB while downloading`);
});
