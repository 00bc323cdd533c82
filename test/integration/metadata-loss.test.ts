/**
 * The disk of the metadata service is gone: the store is made anew from the storage nodes alone, and
 * nothing that was acknowledged is missing. Real processes, kill -9, under load.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { type SignedClient, signedClient } from '../support/http.ts';
import { createLedger, type Ledger } from '../support/ledger.ts';

const run = promisify(execFile);
const ENTRY = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const ashlar = async (...args: string[]): Promise<unknown> => {
  const { stdout } = await run(process.execPath, [ENTRY, ...args, '--json']);
  return JSON.parse(stdout) as unknown;
};

const root = mkdtempSync(join(tmpdir(), 'ashlar-meta-loss-'));
after(() => rmSync(root, { recursive: true, force: true }));

interface World {
  folder: string;
  data: string;
  cluster: Cluster;
  client: SignedClient;
}

async function start(world: Pick<World, 'folder'>, env?: Record<string, string>): Promise<Cluster> {
  return await startCluster({
    folder: world.folder,
    args: ['--gateways', '1'],
    ...(env === undefined ? {} : { env }),
  });
}

/** Ends all processes at once, as a power cut would. */
async function killAll(cluster: Cluster): Promise<void> {
  const pids = [cluster.supervisor.pid ?? 0, ...cluster.ready().processes.map(({ pid }) => pid)];
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  for (const pid of pids.slice(1)) {
    for (let turn = 0; turn < 200 && existsSync(`/proc/${pid}`); turn++) await sleep(20);
  }
}

async function load(ledger: Ledger, workers: number, until: () => boolean): Promise<void> {
  let round = 0;
  await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      while (!until()) await ledger.step(worker, round++);
    }),
  );
}

test('after the loss of the metadata disk everything acknowledged is there again', async (context) => {
  const world = { folder: join(root, 'loss') };
  const data = join(world.folder, 'data');
  let cluster = await start(world, { ASHLAR_META_SNAPSHOT_EVERY: '1s' });
  const client = signedClient(() => cluster.ready().s3, TEST_KEYS);
  try {
    assert.equal((await client.send({ method: 'PUT', path: '/bucket' })).status, 200);
    const ledger = createLedger({
      client,
      bucket: 'bucket',
      workers: 8,
      keysPerWorker: 30,
      sizes: [0, 1, 4096, 70_000],
      seed: 'loss',
    });
    for (let cycle = 0; cycle < 2; cycle++) {
      const end = Date.now() + 3000;
      let killed = false;
      const loading = load(ledger, 8, () => killed);
      await sleep(end - Date.now());
      await killAll(cluster);
      killed = true;
      await loading;
      rmSync(join(data, 'meta'), { recursive: true });
      // The second time one of the three nodes is gone as well.
      const [there, away] = [join(data, 'node-3'), join(data, 'gone')];
      if (cycle === 1) renameSync(there, away);
      const restored = (await ashlar('meta', 'rebuild', '--data', data)) as Record<string, unknown>;
      assert.deepEqual(restored['unread'], cycle === 1 ? ['node-3'] : []);
      assert.equal(restored['cutOff'], 0);
      if (cycle === 1) renameSync(away, there);
      cluster = await start(world, { ASHLAR_META_SNAPSHOT_EVERY: '1s' });
      assert.deepEqual(await ledger.verify(), []);
      context.diagnostic(
        `rebuilt from snapshot ${String(restored['snapshot'])} and ${String(restored['records'])} records, ${String(restored['objects'])} objects; ${ledger.counts.acknowledged} acknowledged writes, 0 lost`,
      );
    }
  } finally {
    client.close();
    await cluster.stop();
  }
});

test('the metadata goes back to a second within the journal, and a backup makes it anew elsewhere', async () => {
  const world = { folder: join(root, 'time') };
  const data = join(world.folder, 'data');
  const backups = join(root, 'backups');
  let cluster = await start(world);
  const client = signedClient(() => cluster.ready().s3, TEST_KEYS);
  const put = async (key: string, text: string): Promise<void> => {
    const answer = await client.send({
      method: 'PUT',
      path: `/time/${key}`,
      body: Buffer.from(text),
    });
    assert.equal(answer.status, 200);
  };
  const get = async (key: string): Promise<string> => {
    const answer = await client.send({ method: 'GET', path: `/time/${key}` });
    return answer.status === 200 ? answer.body.toString() : String(answer.status);
  };
  try {
    assert.equal((await client.send({ method: 'PUT', path: '/time' })).status, 200);
    await put('early', 'first');
    await sleep(20);
    const then = new Date().toISOString();
    await sleep(20);
    await put('late', 'second');
    const made = (await ashlar('backup', 'create', backups, '--data', data)) as { name: string };
    await put('later', 'third');
    assert.equal(await cluster.stop(), 0);

    // A store that is there is never overwritten.
    const backup = join(backups, made.name);
    await ashlar('backup', 'verify', backup);
    const listed = (await ashlar('backup', 'list', backups)) as { name: string }[];
    assert.deepEqual(
      listed.map(({ name }) => name),
      [made.name],
    );
    for (const refused of [
      ['backup', 'restore', backup, '--data', data],
      ['meta', 'rebuild', '--data', data],
    ]) {
      await assert.rejects(ashlar(...refused), /holds a metadata store already/);
    }

    rmSync(join(data, 'meta'), { recursive: true });
    await ashlar('meta', 'rebuild', '--data', data, '--until', then);
    cluster = await start(world);
    assert.equal(await get('early'), 'first');
    assert.equal(await get('late'), '404');
    await put('new', 'after going back');
    assert.equal(await cluster.stop(), 0);

    rmSync(join(data, 'meta'), { recursive: true });
    await ashlar('meta', 'rebuild', '--data', data);
    cluster = await start(world);
    assert.equal(await get('new'), 'after going back');
    assert.equal(await get('late'), '404');
    assert.equal(await cluster.stop(), 0);

    rmSync(join(data, 'meta'), { recursive: true });
    await ashlar('backup', 'restore', backup, '--data', data);
    cluster = await start(world);
    assert.equal(await get('late'), 'second');
    assert.equal(await get('later'), '404');
    await put('last', 'goes on');
    assert.equal(await get('last'), 'goes on');
  } finally {
    client.close();
    await cluster.stop();
  }
});
