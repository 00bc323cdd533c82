/**
 * Memory is used again only when nobody reads or writes it any more: gateway, RPC and nodes share one
 * pool in this process, the nodes are slow at random, so that calls time out and reads are hedged, and
 * clients are slow or leave in the middle of replies. A buffer that is recycled too early turns up as wrong
 * content, as a block that fails its check, or as a stored block that is not sound.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { payloadBuffers } from '../../base/buffer-pool.ts';
import { systemEffects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import { silentLog } from '../../base/log.ts';
import { createRpcChannel } from '../../base/rpc/client.ts';
import type { RpcHandler } from '../../base/rpc/rpc.ts';
import { createRpcServer } from '../../base/rpc/server.ts';
import { createHttpServer } from '../../gateway/http/server.ts';
import {
  createObjectEngine,
  type RunningObjectEngine,
} from '../../gateway/object/create-engine.ts';
import { createMapMeta, viewOf } from '../../gateway/object/testing/map-meta.ts';
import type { RawReply, RawRequest } from '../../gateway/s3/request.ts';
import { openEnvironment } from '../../storage-node/block-store.ts';
import { createStorageNodeClient, STORAGE_NODE_RPC_LIMITS } from '../../storage-node/client.ts';
import { createStorageNodeHandler } from '../../storage-node/server.ts';
import { type BlockStore, createBlockStore } from '../../storage-node/store.ts';
import { METHODS } from '../../storage-node/wire.ts';
import { seededBytes } from '../support/files.ts';

const SECRET = 'a secret for this test only';
const KIB = 1024;
const BLOCK_SIZE = 64 * KIB;
const GROUPS = 8;
/** More than the kernel keeps for a client that does not read: part of a block waits in the gateway. */
const LARGE_BYTES = 8 * 1024 * KIB;
const CLIENT_PAUSE_MS = 50;
const WORKERS = 12;
const ROUNDS = 25;
const CALL_TIMEOUT_MS = 150;
const NODES = ['n0', 'n1', 'n2'];

/** mulberry32: the run's choices depend on the seed, their timing does not. */
function choices(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Puts that are durable long before they say so, and reads that a hedge overtakes. */
function slowAtRandom(handler: RpcHandler, choose: (below: number) => number): RpcHandler {
  return async (request) => {
    const put = request.method === METHODS.numbers.put;
    const get = request.method === METHODS.numbers.get;
    const late = (put && choose(12) === 0) || (get && choose(5) === 0);
    const delayMs = late ? choose(put ? 2 * CALL_TIMEOUT_MS : 80) : 0;
    if (late && choose(2) === 0) await sleep(delayMs);
    const answer = await handler(request);
    if (late) await sleep(delayMs);
    return answer;
  };
}

async function startNode(
  context: TestContext,
  folder: string,
  id: string,
  choose: (below: number) => number,
): Promise<BlockStore> {
  const store = createBlockStore({
    environment: openEnvironment({ folder: join(folder, id), mapSizeBytes: 2 ** 32 }),
    clock: systemEffects.clock,
    disk: () => ({ capacityBytes: 2 ** 40, freeBytes: 2 ** 39 }),
    watchdogMs: 60_000,
    warmBytes: 2 ** 26,
    die: (reason) => assert.fail(reason),
  });
  const health = () => ({ id, clusterId: 'c', uptimeMs: 0, stats: store.stats() });
  const server = createRpcServer({
    secret: SECRET,
    limits: STORAGE_NODE_RPC_LIMITS,
    effects: systemEffects,
    log: silentLog,
    handler: slowAtRandom(createStorageNodeHandler(store, health), choose),
  });
  await server.listen(`unix:${join(folder, `${id}.sock`)}`);
  context.after(async () => {
    await server.close({ graceMs: 0 });
    await store.close();
  });
  return store;
}

/** PUT stores, GET streams, as the S3 operations do. */
function pipelineOver({ engine }: RunningObjectEngine) {
  return async (request: RawRequest): Promise<RawReply> => {
    const key = request.rawPath;
    try {
      if (request.method === 'PUT') {
        const answer = await engine.store(
          request.body,
          ({ writer, size, data, missing }) =>
            engine.meta.putObject({
              writer,
              bucket: 'b',
              key,
              object: { size, etag: 'e', owner: 'o', data, system: {}, user: {} },
              missing,
            }),
          { sizeHint: request.contentLength },
        );
        return { status: answer.ok ? 200 : 409, headers: {} };
      }
      const opened = await engine.open({ bucket: 'b', key });
      if (!opened.ok) return { status: 404, headers: {} };
      const finished = () => opened.value.close();
      const headers = { 'Content-Length': opened.value.object.size };
      return { status: 200, headers, body: opened.value.read(), finished };
    } catch (error) {
      if (error instanceof Failure) return { status: 503, headers: {}, close: true };
      throw error;
    }
  };
}

interface Client {
  put(path: string, body: Buffer): Promise<number>;
  /** Undefined when the reply was cut off, by us (after `leaveAfter` bytes) or by the server. */
  get(path: string, leaveAfter: number): Promise<Buffer | undefined>;
}

function clientOf(context: TestContext, port: number): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: WORKERS });
  context.after(() => agent.destroy());
  const ask = (method: string, path: string, body: Buffer | undefined, leaveAfter: number) =>
    new Promise<{ status: number; bytes: Buffer | undefined }>((resolve) => {
      const headers = body === undefined ? {} : { 'content-length': body.length };
      const outgoing = httpRequest({ agent, port, method, path, headers }, (answer) => {
        const status = answer.statusCode ?? 0;
        const chunks: Buffer[] = [];
        let length = 0;
        answer.on('data', (chunk: Buffer) => {
          if (length === 0) {
            answer.pause();
            setTimeout(() => answer.resume(), CLIENT_PAUSE_MS);
          }
          chunks.push(chunk);
          length += chunk.length;
          if (length >= leaveAfter) answer.destroy();
        });
        answer.on('error', () => {});
        answer.on('close', () =>
          resolve({
            status,
            bytes: answer.complete && length < leaveAfter ? Buffer.concat(chunks) : undefined,
          }),
        );
      });
      outgoing.on('error', () => resolve({ status: 0, bytes: undefined }));
      outgoing.end(body);
    });
  return {
    put: async (path, body) => (await ask('PUT', path, body, Infinity)).status,
    async get(path, leaveAfter) {
      const { status, bytes } = await ask('GET', path, undefined, leaveAfter);
      return status === 200 ? bytes : undefined;
    },
  };
}

/** Every block of every node matches its checksum. */
async function assertSound(stores: readonly BlockStore[]): Promise<void> {
  for (const store of stores) {
    for (let group = 0; group < GROUPS; group++) {
      const blocks = await store.list({ group, limit: 1000 });
      for (const { key } of blocks) await store.get(key); // rejects as `corrupt`
    }
  }
}

test('content stays right while its memory is used again, whatever times out, is hedged or given up', async (context) => {
  const seed = Number(process.env['SEED'] ?? 20_261_120);
  context.diagnostic(`seed ${seed}`);
  const choose = choices(seed);
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-memory-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const stores = await Promise.all(NODES.map((id) => startNode(context, folder, id, choose)));
  const running = createObjectEngine({
    meta: createMapMeta(viewOf(NODES, { groups: GROUPS })),
    connect: ({ id }) => {
      const channel = createRpcChannel({
        address: `unix:${join(folder, `${id}.sock`)}`,
        secret: SECRET,
        limits: STORAGE_NODE_RPC_LIMITS,
        effects: systemEffects,
        log: silentLog,
      });
      return { ...createStorageNodeClient(channel), close: () => channel.close() };
    },
    effects: systemEffects,
    log: silentLog,
    settings: {
      blockSize: BLOCK_SIZE,
      hedgeMs: 20,
      stragglerMs: 40,
      callTimeoutMs: CALL_TIMEOUT_MS,
    },
  });
  await running.start();
  context.after(() => running.stop());
  const server = createHttpServer({
    pipeline: pipelineOver(running),
    effects: systemEffects,
    log: silentLog,
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  context.after(() => server.close({ deadlineMs: 100 }));
  const client = clientOf(context, port);

  let stored = 0;
  let compared = 0;
  let cut = 0;
  const worker = async (name: number): Promise<void> => {
    const objects = new Map<string, Buffer>();
    for (let round = 0; round < ROUNDS; round++) {
      const path = `/${name}-${round}`;
      const large = round === 0 && name % 4 === 0;
      const body = seededBytes(path, large ? LARGE_BYTES : 1 + choose(6 * BLOCK_SIZE));
      if ((await client.put(path, body)) === 200) {
        stored++;
        objects.set(path, body);
      }
      const names = [...objects.keys()];
      const asked = names[choose(Math.max(1, names.length))];
      const expected = asked === undefined ? undefined : objects.get(asked);
      if (asked === undefined || expected === undefined) continue;
      const leaveAfter = choose(4) === 0 ? choose(expected.length) : Infinity;
      const bytes = await client.get(asked, leaveAfter);
      if (bytes === undefined) {
        cut++;
        continue;
      }
      compared++;
      assert.ok(bytes.equals(expected), `${asked} of ${expected.length} bytes reads as it was put`);
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, (_, name) => worker(name)));

  const { reads, nodes } = running.status();
  context.diagnostic(JSON.stringify({ stored, compared, cut, reads, nodes: nodes.length }));
  assert.equal(reads.corruptReplicas, 0, 'no block failed its check on the way');
  assert.ok(payloadBuffers.freeBytes > 0, 'memory was recycled');
  await assertSound(stores);
  // Otherwise this test shows nothing.
  assert.ok(stored > 100 && compared > 100 && cut > 10 && reads.hedges > 10);
});
