/** What is acknowledged is there, whatever ends the process. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { systemEffects } from '../base/clock.ts';
import { storageNodeConfigSchema } from './config.ts';
import { startStorageNode } from './main.ts';
import { checksumOf, type StorageNode } from './protocol.ts';
import {
  bytesOf,
  CHILD_SCRIPT,
  childJob,
  contentOf,
  keyOf,
  killChild,
  kind,
  lengthOf,
  recordingLog,
  temporaryFolder,
} from './test-support.ts';

const KILLS = 6;
const ACKNOWLEDGED_PER_RUN = 400;

interface Told {
  put: Set<number>;
  deleting: Set<number>;
  deleted: Set<number>;
}

test('a storage node killed in the middle of its writes has every acknowledged one', async (context) => {
  const folder = temporaryFolder(context);
  const told: Told = { put: new Set(), deleting: new Set(), deleted: new Set() };
  for (let run = 0; run < KILLS; run++) {
    const child = childJob(context, 'write', folder, String(run * 1_000_000));
    assert.ok(child.stdout);
    let seen = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      const [what = '', index = ''] = line.split(' ');
      told[what as keyof Told].add(Number(index));
      seen += 1;
      // What the child said before it died still comes out of the pipe.
      if (seen === ACKNOWLEDGED_PER_RUN) child.kill('SIGKILL');
    }
    await killChild(child);
    const { log, messages } = recordingLog();
    const config = storageNodeConfigSchema.parse({ folder });
    const running = await startStorageNode(config, { effects: systemEffects, log, secret: '' });
    assert.ok(messages.includes('the store is sound'), 'checked after the unclean stop');
    await verifyAll(running.node, told);
    await running.close();
  }
  assert.ok(told.put.size >= (KILLS * ACKNOWLEDGED_PER_RUN) / 2);
});

async function verifyAll(node: StorageNode, told: Told): Promise<void> {
  for (const index of told.put) {
    const key = keyOf(index);
    if (told.deleted.has(index)) {
      await assert.rejects(node.get(key), kind('not-found'));
    } else if (!told.deleting.has(index)) {
      const content = contentOf(bytesOf(lengthOf(index), index));
      const found = await node.get(key);
      assert.equal(found.hash, content.hash, `block ${index}`);
      assert.equal(found.checksum, checksumOf(key, content.hash));
    }
  }
}

const TRACER = 'strace';
const DELAY_MS = 300;

test('a write can be read only when it is on stable storage, and is acknowledged after that', (context) => {
  const folder = temporaryFolder(context);
  const command = [process.execPath, CHILD_SCRIPT];
  const inject = ['-e', 'trace=fdatasync', '-e', `inject=fdatasync:delay_enter=${DELAY_MS * 1000}`];
  const trace = (...traced: string[]) =>
    spawnSync(TRACER, ['-f', '-qq', '-o', '/dev/null', ...inject, ...traced], { encoding: 'utf8' });
  // Only the machine's inability is a reason to skip: a child that fails is a failure.
  if (trace('true').status !== 0) return context.skip('strace is missing or may not trace here');
  const traced = trace(...command, 'read-early', folder);
  assert.equal(traced.status, 0, traced.stderr);
  const { readableAt, acknowledgedAt } = JSON.parse(traced.stdout) as {
    readableAt: number;
    acknowledgedAt: number;
  };
  assert.ok(readableAt >= DELAY_MS, `readable after ${readableAt} ms`);
  assert.ok(acknowledgedAt >= readableAt, `acknowledged after ${acknowledgedAt} ms`);
});
