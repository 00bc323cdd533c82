/**
 * `npm run bench:heal`: how long until everything has three copies again after a disk was lost. Fills
 * three nodes, loses the disk of one for good, has it replaced, and measures under a light load: once
 * as configured by default, once with the rate limits of repair and rebalance lifted.
 *
 *   npm run bench:heal -- [--gib 10] [--size 8MiB in bytes: 8388608] [--load 20] [--folder DIR]
 *
 * `--gib`: what the lost disk holds; the fill takes three times as much space. `--load`: requests per
 * second meanwhile, half reads and half writes of 16 KiB. Exit code 1 when healing took longer than a
 * minute per GiB by default, which is the promise (10 GiB in 10 minutes), or when a request failed.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { AdminStatus, FsckReport } from '../../meta/admin-protocol.ts';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { seededBytes } from '../support/files.ts';
import { type SignedClient, signedClient } from '../support/http.ts';

const GIB = 1024 ** 3;
const KIB = 1024;
const MINUTE_MS = 60_000;
const BUCKET = 'heal';
const UPLOADS = 6;
/** Objects that the light load reads and writes. */
const SMALL_OBJECTS = 200;
const SMALL_BYTES = 16 * KIB;

const { values: options } = parseArgs({
  options: {
    gib: { type: 'string', default: '1' },
    size: { type: 'string', default: String(8 * 1024 * KIB) },
    load: { type: 'string', default: '20' },
    folder: { type: 'string', default: tmpdir() },
  },
});
const gib = Number(options.gib);
const size = Number(options.size);
const perSecond = Number(options.load);

async function put(client: SignedClient, key: string, body: Buffer): Promise<void> {
  const answer = await client.send({ method: 'PUT', path: `/${BUCKET}/${key}`, body });
  if (answer.status !== 200)
    throw new Error(`PUT ${key}: ${answer.status} ${answer.body.toString()}`);
}

/** Writes `gib` of objects; returns seconds. */
async function fill(client: SignedClient): Promise<number> {
  const count = Math.max(1, Math.ceil((gib * GIB) / size));
  const body = seededBytes('heal', size);
  const began = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: UPLOADS }, async () => {
      for (let index = next++; index < count; index = next++) {
        body.writeUInt32LE(index, 0);
        await put(client, `big/${index}`, Buffer.from(body));
      }
    }),
  );
  for (let index = 0; index < SMALL_OBJECTS; index++) {
    await put(client, `small/${index}`, seededBytes(String(index), SMALL_BYTES));
  }
  return (performance.now() - began) / 1000;
}

interface Load {
  stop(): Promise<{ requests: number; failed: number; p99Ms: number }>;
}

function startLoad(client: SignedClient): Load {
  const times: number[] = [];
  const running = new Set<Promise<void>>();
  let failed = 0;
  let count = 0;
  const one = async (index: number): Promise<void> => {
    const began = performance.now();
    const key = `small/${(index * 7919) % SMALL_OBJECTS}`;
    try {
      if (index % 2 === 0) await put(client, key, seededBytes(String(index), SMALL_BYTES));
      else {
        const answer = await client.send({ method: 'GET', path: `/${BUCKET}/${key}` });
        if (answer.status !== 200) throw new Error(`GET ${key}: ${answer.status}`);
      }
      times.push(performance.now() - began);
    } catch (error) {
      failed += 1;
      console.log(`a request failed: ${String(error)}`);
    }
  };
  const timer = setInterval(() => {
    const request = one(count++).finally(() => running.delete(request));
    running.add(request);
  }, 1000 / perSecond);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(running);
      const sorted = times.sort((a, b) => a - b);
      const p99Ms = sorted[Math.floor(sorted.length * 0.99)] ?? 0;
      return { requests: count, failed, p99Ms };
    },
  };
}

async function verb(cluster: Cluster, ...args: string[]): Promise<string> {
  const { code, output } = await cluster.ashlar(...args);
  if (code !== 0) throw new Error(`ashlar ${args.join(' ')}: ${code}: ${output}`);
  return output;
}

/** Ends the node, empties its disk and has it accepted as new. */
async function loseDisk(cluster: Cluster, id: string): Promise<void> {
  const victim = cluster.processes('node').find(({ name }) => name === id);
  const { pid: supervisor } = cluster.supervisor;
  if (victim === undefined || supervisor === undefined) throw new Error(`there is no ${id}`);
  // Nobody may start it again while its folder goes.
  process.kill(supervisor, 'SIGSTOP');
  try {
    process.kill(victim.pid, 'SIGKILL');
    await sleep(500);
    const folder = join(cluster.folder, 'data', id);
    for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
  } finally {
    process.kill(supervisor, 'SIGCONT');
  }
  await waitFor(cluster, (status) => {
    return status.nodes.find((node) => node.id === id)?.condition !== 'up';
  });
  await verb(cluster, 'node', 'replace', id, '--yes');
}

/** Without the placement map. */
type Status = Omit<AdminStatus, 'view'>;

/** Fails after so long, whatever is waited for. */
const PATIENCE_MS = 60 * MINUTE_MS;

async function waitFor(
  cluster: Cluster,
  condition: (status: Status) => boolean | Promise<boolean>,
): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  while (performance.now() < until) {
    const { code, output } = await cluster.ashlar('status', '--json');
    if (code === 0 && (await condition(JSON.parse(output) as Status))) return;
    await sleep(500);
  }
  throw new Error('waited in vain');
}

/** Seconds until everything has three copies again, from the word that the disk is new. */
async function heal(cluster: Cluster, id: string): Promise<number> {
  const began = performance.now();
  let told = 0;
  await waitFor(cluster, async (status) => {
    const node = status.nodes.find((one) => one.id === id);
    const left = status.nodes.reduce((sum, { incomingBytes }) => sum + incomingBytes, 0);
    const seconds = Math.round((performance.now() - began) / 1000);
    if (seconds - told >= 15) {
      told = seconds;
      const jobs = status.jobs.filter(({ name }) => name === 'repair' || name === 'rebalance');
      const rates = jobs.map(({ name, rate, unit }) => `${name} ${rate.toFixed(1)} ${unit}/s`);
      console.log(`  ${seconds} s: ${(left / GIB).toFixed(2)} GiB left; ${rates.join(', ')}`);
    }
    const whole = status.replicas.missingOne + status.replicas.missingTwo + status.replicas.lost;
    const queued = status.queues.repair + whole;
    if (node?.condition !== 'up' || left > 0 || queued > 0) return false;
    const layout = await verb(cluster, 'layout', 'show', '--json');
    return (JSON.parse(layout) as { previousEpochs: number[] }).previousEpochs.length === 0;
  });
  return (performance.now() - began) / 1000;
}

async function check(cluster: Cluster): Promise<void> {
  const { output } = await cluster.ashlar('fsck', '--json');
  const { findings } = JSON.parse(output) as FsckReport;
  const wrong = findings.missing + findings.corrupt + findings.lost + findings.metadata;
  if (wrong > 0) throw new Error(`not whole after all: ${output}`);
}

mkdirSync(options.folder, { recursive: true });
const folder = mkdtempSync(join(options.folder, 'ashlar-heal-'));
const cluster = await startCluster({
  folder,
  args: ['--bucket', BUCKET],
  startTimeoutMs: MINUTE_MS,
});
const client = signedClient(() => cluster.ready().s3, TEST_KEYS);
try {
  console.log(`${gib} GiB on each of three nodes, ${cpus().length} processors`);
  const filled = await fill(client);
  console.log(`filled in ${filled.toFixed(0)} s (${((gib * 1024) / filled).toFixed(1)} MiB/s)`);
  const cases = [
    ['as configured by default', 'node-3', []],
    ['without a limit', 'node-2', ['--rate', '0']],
  ] as const;
  for (const [name, id, rate] of cases) {
    if (rate.length > 0) {
      for (const job of ['repair', 'rebalance']) await verb(cluster, job, 'resume', ...rate);
    }
    console.log(`the disk of ${id} is lost; ${name}:`);
    const load = startLoad(client);
    await loseDisk(cluster, id);
    const seconds = await heal(cluster, id);
    const { requests, failed, p99Ms } = await load.stop();
    await check(cluster);
    console.log(
      `  three copies again after ${seconds.toFixed(1)} s (${((gib * 1024) / seconds).toFixed(1)} MiB/s); ` +
        `${requests} requests meanwhile, ${failed} failed, p99 ${p99Ms.toFixed(0)} ms`,
    );
    if (failed > 0 || (rate.length === 0 && seconds * 1000 > gib * MINUTE_MS)) process.exitCode = 1;
  }
} finally {
  client.close();
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
}
