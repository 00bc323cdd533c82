import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { hashBytes } from '../base/checksum.ts';
import { systemEffects } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { createRpcChannel } from '../base/rpc/client.ts';
import { createStorageNodeClient, STORAGE_NODE_RPC_LIMITS } from './client.ts';
import { openEnvironment } from './block-store.ts';
import { storageNodeConfigSchema } from './config.ts';
import { exitCodeOf, type RunningStorageNode, startStorageNode } from './main.ts';
import type { Registrar } from './registrar.ts';
import {
  bytesOf,
  childJob,
  contentOf,
  keyOf,
  kind,
  recordingLog,
  temporaryFolder,
} from './test-support.ts';

const secret = 'a secret of the tests, long enough';
const CHECKED = 'the store was not closed in order: checking it first';

const registrar: Registrar = {
  registerNode: async () => ({ clusterId: 'cluster-1', heartbeatMs: 1000 }),
  heartbeat: async () => null,
};

/** Call it before the folders are made: the nodes have to stop before these go. */
function starter(context: TestContext) {
  const { log, messages } = recordingLog();
  const deaths: string[] = [];
  const started: RunningStorageNode[] = [];
  context.after(async () => {
    for (const running of started) await running.close();
    assert.deepEqual(deaths, []);
  });
  const start = async (settings: object): Promise<RunningStorageNode> => {
    const running = await startStorageNode(storageNodeConfigSchema.parse(settings), {
      effects: systemEffects,
      log,
      secret,
      registrar: 'listen' in settings ? registrar : undefined,
      die: (reason) => deaths.push(reason),
    });
    started.push(running);
    return running;
  };
  return { start, messages };
}

/** As after a kill: nobody said that the store was closed in order. */
function removeCleanMarker(folder: string): void {
  rmSync(join(folder, 'clean'));
}

/** Half of the file is gone: reading a page of that half is a SIGBUS. */
function truncate(file: string): void {
  truncateSync(file, Math.floor(statSync(file).size / 2));
}

/** The meta pages at the beginning are no longer LMDB's. */
function fillWithRubbish(file: string): void {
  const handle = openSync(file, 'r+');
  writeSync(handle, bytesOf(16_384, 1), 0, 16_384, 0);
  closeSync(handle);
}

test('a storage node serves, registers, stops in order and starts again without a check', async (context) => {
  const { start, messages } = starter(context);
  const folder = temporaryFolder(context);
  const settings = { folder, id: 'node-1', listen: '127.0.0.1:0' };
  const running = await start(settings);
  assert.equal(await running.registered, 'cluster-1');
  assert.match(running.address ?? '', /^127\.0\.0\.1:\d+$/);
  const channel = createRpcChannel({
    address: running.address ?? '',
    secret,
    limits: STORAGE_NODE_RPC_LIMITS,
    effects: systemEffects,
    log: silentLog,
  });
  const client = createStorageNodeClient(channel);
  const content = contentOf(bytesOf(100_000, 1));
  await client.put(keyOf(1), content);
  assert.deepEqual((await running.node.get(keyOf(1))).bytes, content.bytes);
  await channel.close();
  await running.close();

  const again = await start(settings);
  assert.deepEqual((await again.node.get(keyOf(1))).bytes, content.bytes);
  const health = await again.node.health();
  assert.equal(health.id, 'node-1');
  assert.equal(health.clusterId, 'cluster-1');
  assert.ok(!messages.includes(CHECKED));
});

test('a storage node refuses to start twice in one folder', async (context) => {
  const { start } = starter(context);
  const folder = temporaryFolder(context);
  await start({ folder });
  await assert.rejects(start({ folder }), (error) => {
    assert.ok(kind('unavailable')(error));
    assert.equal(exitCodeOf(error), 75);
    return true;
  });
});

test('a start that fails after the store was opened leaves it in order', async (context) => {
  const { start, messages } = starter(context);
  const folder = temporaryFolder(context);
  const first = await start({ folder: temporaryFolder(context), listen: '127.0.0.1:0' });
  const taken = { folder, listen: first.address };
  await assert.rejects(start(taken), kind('unavailable'));
  await assert.rejects(start(taken), kind('unavailable'));
  await start({ folder });
  assert.ok(!messages.includes(CHECKED));
});

test('a damaged store ends its check, not the storage node', async (context) => {
  for (const damage of [truncate, fillWithRubbish]) {
    const { start, messages } = starter(context);
    const folder = temporaryFolder(context);
    const running = await start({ folder });
    for (let index = 0; index < 40; index++) {
      await running.node.put(keyOf(index), contentOf(bytesOf(100_000, index)));
    }
    await running.close();
    removeCleanMarker(folder);
    damage(join(folder, 'blocks', 'data.mdb'));
    await assert.rejects(start({ folder }), (error) => {
      assert.ok(kind('corrupt')(error), String(error));
      assert.match(String(error), /is damaged: its check ended with .*Move the folder aside/);
      assert.equal(exitCodeOf(error), 78);
      return true;
    });
    assert.ok(messages.includes(CHECKED));
  }
});

/** Starts a node in a process of its own, which that does not survive. */
async function expectDeath(context: TestContext, folder: string): Promise<void> {
  const [, signal] = await once(childJob(context, 'write', folder, '0'), 'exit');
  assert.match(String(signal), /^SIG/);
}

test('a damaged metadata journal is set aside, and the blocks are served', async (context) => {
  const damages: [(file: string) => void, 'killed' | 'in order'][] = [
    [truncate, 'killed'],
    [fillWithRubbish, 'killed'],
    [fillWithRubbish, 'in order'],
  ];
  for (const [damage, stopped] of damages) {
    const { start, messages } = starter(context);
    const folder = temporaryFolder(context);
    const settings = { folder, id: 'node-1' };
    const running = await start(settings);
    const content = contentOf(bytesOf(100_000, 1));
    await running.node.put(keyOf(1), content);
    const claim = { clusterId: 'c', generation: 7, token: 'aa' };
    const { journal } = running.node;
    assert.ok(journal);
    await journal.claim(claim);
    const snapshot = { sequence: 1, generation: 7 };
    for (let index = 0; index < 10; index++) {
      await journal.putChunk({ claim, snapshot, index, bytes: bytesOf(100_000, index) });
    }
    await running.close();
    if (stopped === 'killed') removeCleanMarker(folder);
    damage(join(folder, 'journal', 'data.mdb'));
    // Opening it ends the process, once: the next start looks first.
    if (stopped === 'in order') await expectDeath(context, folder);
    const again = await start(settings);
    assert.deepEqual((await again.node.get(keyOf(1))).bytes, content.bytes);
    assert.equal((await again.node.journal?.state())?.generation, 0);
    assert.deepEqual(await again.node.journal?.snapshots(), []);
    assert.ok(messages.some((message) => /metadata journal is damaged: it is set/.test(message)));
    assert.ok(existsSync(join(folder, 'journal.damaged', 'data.mdb')));
    await again.close();
    await (await start(settings)).close();
    assert.equal(messages.filter((message) => /is set aside/.test(message)).length, 1);
  }
});

test('a metadata journal whose state is damaged is set aside, one of a newer version is not', async (context) => {
  const { start, messages } = starter(context);
  const folder = temporaryFolder(context);
  await (await start({ folder })).close();
  const rewrite = async (value: Buffer): Promise<void> => {
    const environment = openEnvironment({ folder: join(folder, 'journal'), mapSizeBytes: 2 ** 30 });
    await environment.blocks.put(Buffer.from('s'), value);
    await environment.close();
  };
  await rewrite(bytesOf(80, 1));
  await (await start({ folder })).close();
  assert.equal(messages.filter((message) => /is set aside/.test(message)).length, 1);
  const newer = Buffer.alloc(73);
  newer[0] = 99;
  newer.writeBigUInt64BE(hashBytes(newer.subarray(0, 65)), 65);
  await rewrite(newer);
  await assert.rejects(start({ folder }), kind('invalid'));
});
