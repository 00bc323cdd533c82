import assert from 'node:assert/strict';
import { closeSync, openSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { systemEffects } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { createRpcChannel } from '../base/rpc/client.ts';
import { createStorageNodeClient, STORAGE_NODE_RPC_LIMITS } from './client.ts';
import { storageNodeConfigSchema } from './config.ts';
import { exitCodeOf, type RunningStorageNode, startStorageNode } from './main.ts';
import type { Registrar } from './registrar.ts';
import { bytesOf, contentOf, keyOf, kind, recordingLog, temporaryFolder } from './test-support.ts';

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
