import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { systemEffects } from '../base/clock.ts';
import { isFailure } from '../base/failure.ts';
import { silentLog } from '../base/log.ts';
import { createRpcChannel } from '../base/rpc/client.ts';
import { createMetaClient, META_RPC_LIMITS } from './client.ts';
import { startMeta } from './main.ts';
import type { Meta } from './protocol.ts';
import { deletingNode, prepare, put, SECRET } from './test-support.ts';

const root = mkdtempSync(join(tmpdir(), 'ashlar-meta-'));
after(() => rmSync(root, { recursive: true, force: true }));

const deleted = new Set<string>();
const surroundings = {
  effects: systemEffects,
  log: silentLog,
  secret: SECRET,
  connectNode: () => deletingNode(deleted),
  die: (reason: string) => assert.fail(reason),
};

function start(name: string, listen?: string) {
  const folder = join(root, name);
  return startMeta(
    { folder, listen, mapSizeBytes: 2 ** 30, garbagePauseMs: 20, journal: 'off' },
    surroundings,
  );
}

const found = async (meta: Meta, key: string): Promise<boolean> =>
  (await meta.getObject({ bucket: 'bucket', key })).ok;

describe('the running metadata service', () => {
  it('keeps what was acknowledged over an orderly restart, and every part of its identity', async () => {
    const first = await start('restart');
    const { writer } = await prepare(first.meta);
    await first.meta.putObject(put(writer, 'bucket', 'key', 1));
    const before = await first.meta.status();
    await first.stop();
    const second = await start('restart');
    const status = await second.meta.status();
    assert.ok(await found(second.meta, 'key'));
    assert.equal(status.clusterId, before.clusterId);
    assert.deepEqual(status.view.layout, before.view.layout);
    assert.equal(status.writers, 1);
    assert.ok((await second.meta.openWriter({ name: 'g' })).writer > writer);
    await second.stop();
  });

  it('serves over TCP and Unix sockets, and refuses calls after it has stopped', async () => {
    for (const listen of ['127.0.0.1:0', `unix:${join(root, 'socket')}`]) {
      const running = await start(listen.startsWith('unix') ? 'unix' : 'tcp', listen);
      assert.ok(running.address);
      const channel = createRpcChannel({
        ...surroundings,
        address: running.address,
        limits: META_RPC_LIMITS,
        connectTimeoutMs: 200,
      });
      const meta = createMetaClient(channel);
      const { writer } = await prepare(meta);
      assert.ok((await meta.putObject(put(writer, 'bucket', 'key', 1))).ok);
      await running.stop();
      await assert.rejects(meta.getBucket({ bucket: 'bucket' }, { timeoutMs: 500 }), (error) =>
        isFailure(error, 'unavailable', 'timeout'),
      );
      await channel.close();
    }
  });

  it('refuses a folder that another one uses', async () => {
    const running = await start('locked');
    await assert.rejects(start('locked'), (error) => isFailure(error, 'unavailable'));
    await running.stop();
    await (await start('locked')).stop();
  });

  it('checks a store that was left behind by a kill, and goes on with all that was acknowledged', async () => {
    const folder = join(root, 'killed');
    const script = new URL('./test-support-process.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [script, folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let acknowledged = 0;
    for await (const chunk of child.stdout) {
      acknowledged += String(chunk).split('\n').length - 1;
      if (acknowledged > 100) child.kill('SIGKILL');
    }
    const running = await start('killed');
    for (let n = 0; n < acknowledged; n++) assert.ok(await found(running.meta, `key-${n}`));
    await running.stop();
  });

  it('does not open a damaged store, and says so', async () => {
    const first = await start('damaged');
    await prepare(first.meta);
    await first.stop();
    const folder = join(root, 'damaged');
    rmSync(join(folder, 'clean'));
    truncateSync(join(folder, 'store', 'data.mdb'), 20_000);
    await assert.rejects(start('damaged'), (error) => isFailure(error, 'corrupt'));
  });

  it('refuses a folder whose store is gone or of another cluster', async () => {
    for (const name of ['one', 'two']) {
      const running = await start(name);
      await running.stop();
    }
    rmSync(join(root, 'one', 'store'), { recursive: true });
    await assert.rejects(start('one'), (error) => isFailure(error, 'corrupt'));
    cpSync(join(root, 'two', 'store'), join(root, 'one', 'store'), { recursive: true });
    await assert.rejects(start('one'), /the files of two clusters have been mixed/);
    writeFileSync(join(root, 'two', 'meta.json'), JSON.stringify({ format: 9, generation: 1 }));
    await assert.rejects(start('two'), /written by a newer version/);
  });

  it('removes the blocks of an overwritten object when its readers and its writer have moved on', async () => {
    const running = await start('garbage');
    const { meta } = running;
    const { writer } = await prepare(meta);
    let known = 0;
    const renew = async (): Promise<void> => {
      const marks = { lowestSequence: 4, oldestRead: known, oldestLayout: 1 };
      known = (await meta.renewWriter({ writer, marks, revision: 0 })).readEpoch;
    };
    for (const sequence of [1, 2, 3]) {
      await meta.putObject(put(writer, 'bucket', 'key', sequence, 2 ** 20 + 1));
    }
    for (let turn = 0; turn < 500 && running.stats().garbage.blobsRemoved < 2; turn++) {
      await renew();
      await systemEffects.clock.sleep(10);
    }
    // The same two blocks of two blobs on all three nodes, which share one set here.
    assert.equal(deleted.size, 4);
    const { queues } = await meta.status();
    assert.equal(queues.garbage, 0);
    await running.stop();
  });
});
