/**
 * Chaos: real processes are killed, held and ended, their disks run full and rot, and nodes join and
 * leave, one or two of these at a time, under load. After every minute there is quiet, and then: no
 * acknowledged write is lost, no deleted key is back, what clients saw of conditional writes has an
 * order, and everything has three good replicas soon. `CHAOS_MINUTES=n` or `CHAOS_HOURS=n` for more,
 * `CHAOS_SEED=text` to replay the order of faults and requests.
 *
 * Every process is in a network namespace of its own, and ways between them are cut, in one direction or
 * both. Where there are none (not root, no `ip`), or with `CHAOS_NETWORK=0`, it is an `ashlar start` on
 * Unix sockets, without cuts and without nodes that leave for good.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FsckReport } from '../../meta/admin-protocol.ts';
import { hashText } from '../simulation/random.ts';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { seededBytes } from '../support/files.ts';
import { type SignedClient, signedClient } from '../support/http.ts';
import { createLedger } from '../support/ledger.ts';
import { type NetworkedCluster, startNetworkedCluster } from '../support/networked-cluster.ts';
import { mountSmallDisks } from '../support/small-disk.ts';
import { type Chaos, createChaos } from './faults.ts';
import { createHistoryLoad } from './history.ts';

const HOURS = Number(process.env['CHAOS_HOURS'] ?? 0);
const MINUTES = Number(process.env['CHAOS_MINUTES'] ?? (HOURS > 0 ? HOURS * 60 : 3));
const SEED = process.env['CHAOS_SEED'] ?? String(Date.now());
const BUCKET = 'chaos';
const WORKERS = 6;
const HISTORY_CLIENTS = 4;
/** Longest time until everything has three good replicas again: far above what it takes. */
const HEALED_MS = 240_000;
/** Longer than any pause: a request that was given up on could still happen after a later one. */
const REQUEST_MS = 60_000;
const NODES = 5;
/** In MiB; the others share the machine's own disk. */
const SMALL_DISKS = [1024, 1024];
const ROTTING_SIZES = [9 * 1024, 60_000, 300_000];

/** What may rot, written anew for every minute. */
function rottingContent(minute: number): Map<string, Buffer> {
  return new Map(
    Array.from({ length: 12 }, (_, index) => {
      const size = ROTTING_SIZES[index % ROTTING_SIZES.length] ?? 0;
      return [`rot/${index}`, seededBytes(`${SEED}/rot/${minute}/${index}`, size)];
    }),
  );
}

/** Starts on three disks, then again with two more: they are spares. */
async function startFive(folder: string, disks: readonly string[]): Promise<Cluster> {
  const start = (count: number): Promise<Cluster> =>
    startCluster({
      folder,
      args: ['--gateways', '2', ...disks.slice(0, count).flatMap((disk) => ['--disk', disk])],
      // So that rot which no reader meets is found within the test.
      env: { ASHLAR_META_SCRUB_EVERY: '20s' },
      startTimeoutMs: 60_000,
    });
  const first = await start(3);
  await first.stop();
  return await start(NODES);
}

interface World {
  cluster: Omit<Cluster, 'supervisor' | 'prints'>;
  hold: () => () => void;
  networked?: NetworkedCluster;
}

async function startWorld(folder: string, disks: readonly string[]): Promise<World> {
  if (process.env['CHAOS_NETWORK'] !== '0') {
    const env = { ASHLAR_META_SCRUB_EVERY: '20s' };
    const networked = await startNetworkedCluster({ folder, disks, gateways: 2, env });
    if (networked !== undefined) {
      return { cluster: networked, hold: networked.hold, networked };
    }
  }
  const cluster = await startFive(folder, disks);
  const signal = (name: NodeJS.Signals) => cluster.supervisor.kill(name);
  const hold = () => {
    signal('SIGSTOP');
    return () => void signal('SIGCONT');
  };
  return { cluster, hold };
}

/** A write without an answer returns only when it has happened or never will: see ledger.ts. */
function patient(client: SignedClient, calm: () => Promise<void>): SignedClient {
  return {
    ...client,
    async send(request) {
      try {
        const answer = await client.send({ timeoutMs: REQUEST_MS, ...request });
        if (request.method !== 'GET' && answer.status >= 500) await calm();
        return answer;
      } catch (error) {
        if (request.method !== 'GET') await calm();
        throw error;
      }
    },
  };
}

/** Waits for three good replicas of everything, made without a hand; milliseconds. */
async function healed(cluster: Omit<Cluster, 'supervisor' | 'prints'>): Promise<number> {
  const began = performance.now();
  for (;;) {
    const { output } = await cluster.ashlar('fsck', '--json');
    const report = parse(output) as FsckReport | undefined;
    const layout = parse((await cluster.ashlar('layout', 'show', '--json')).output) as
      | { previousEpochs: number[] }
      | undefined;
    const found = report?.findings;
    const whole =
      found !== undefined &&
      found.missing + found.corrupt + found.lost + found.metadata === 0 &&
      report?.unreachable.length === 0 &&
      layout?.previousEpochs.length === 0;
    const took = Math.round(performance.now() - began);
    if (whole) return took;
    assert.ok(took < HEALED_MS, `not whole after ${took} ms: ${output} ${JSON.stringify(layout)}`);
    await sleep(1000);
  }
}

function parse(output: string): unknown {
  try {
    return JSON.parse(output);
  } catch {
    return undefined;
  }
}

async function putAll(client: SignedClient, contents: ReadonlyMap<string, Buffer>): Promise<void> {
  for (const [key, body] of contents) {
    const answer = await client.send({ method: 'PUT', path: `/${BUCKET}/${key}`, body });
    assert.equal(answer.status, 200, answer.body.toString());
  }
}

async function checkAll(client: SignedClient, contents: ReadonlyMap<string, Buffer>) {
  for (const [key, body] of contents) {
    const answer = await client.send({ method: 'GET', path: `/${BUCKET}/${key}` });
    assert.equal(answer.status, 200, `${key}: ${answer.body.toString()}`);
    assert.ok(answer.body.equals(body), `${key} has other bytes`);
  }
}

/** A minute of `cycle` after `cycle`, while every client goes on step by step. */
async function underLoad(
  clients: readonly (() => Promise<void>)[],
  cycle: () => Promise<void>,
): Promise<void> {
  const over = new AbortController();
  const load = Promise.all(
    clients.map(async (step) => {
      while (!over.signal.aborted) await step();
    }),
  );
  load.catch(() => over.abort());
  const until = performance.now() + 60_000;
  try {
    while (!over.signal.aborted && performance.now() < until) await cycle();
  } finally {
    over.abort();
  }
  await load;
}

async function run(context: TestContext, folder: string, mounted: readonly string[]) {
  const disks = Array.from(
    { length: NODES },
    (_, index) => mounted[index] ?? join(folder, `disk-${index + 1}`),
  );
  for (const disk of disks) mkdirSync(disk, { recursive: true });
  const { cluster, hold, networked } = await startWorld(folder, disks);
  if (networked === undefined) context.diagnostic('NO CUTS IN THIS RUN: they need namespaces');
  let rotting = rottingContent(0);
  const chaos: Chaos = createChaos({
    cluster,
    hold,
    network: networked?.network,
    revive: networked?.revive,
    seed: hashText(SEED),
    folders: new Map(disks.map((disk, index) => [`node-${index + 1}`, disk])),
    small: mounted.map((_, index) => `node-${index + 1}`),
    rotting: () => [...rotting.values()].map((bytes) => bytes.subarray(300, 364)),
  });
  const connection = signedClient(() => cluster.ready().s3, TEST_KEYS);
  const client = patient(connection, chaos.calm);
  try {
    const made = await client.send({ method: 'PUT', path: `/${BUCKET}` });
    assert.equal(made.status, 200, made.body.toString());
    const sizes = [0, 1, 4096, 70_000, 300_000, 1_048_577];
    const ledger = createLedger({
      client,
      bucket: BUCKET,
      workers: WORKERS,
      keysPerWorker: 25,
      sizes,
      seed: SEED,
    });
    const history = createHistoryLoad({ client, bucket: BUCKET, seed: hashText(SEED) });
    const everything = cluster.ready().processes.length;
    const healingMs: number[] = [];
    let round = 0;
    for (let minute = 0; minute < MINUTES; minute++) {
      rotting = rottingContent(minute);
      await putAll(client, rotting);
      await underLoad(
        [
          ...Array.from({ length: WORKERS }, (_, id) => () => ledger.step(id, round++)),
          ...Array.from({ length: HISTORY_CLIENTS }, (_, id) => () => history.step(id)),
        ],
        chaos.cycle,
      );
      await cluster.until(
        ({ processes }) => processes.length >= everything - chaos.away.size,
        'every process to be there',
        60_000,
      );
      assert.deepEqual(await ledger.verify(), []);
      assert.deepEqual(await history.verify(), []);
      await checkAll(client, rotting);
      healingMs.push(await healed(cluster));
      chaos.whole();
    }
    assert.deepEqual(await ledger.verify(), []);
    await checkAll(client, rotting);
    const { acknowledged, unknown, verified } = ledger.counts;
    context.diagnostic(`faults: ${JSON.stringify(chaos.counts)}`);
    context.diagnostic(
      `ledger: ${acknowledged} acknowledged writes, ${unknown} without an answer, ${verified} reads checked, 0 lost`,
    );
    context.diagnostic(`conditional writes: ${JSON.stringify(history.counts)}, 0 violations`);
    context.diagnostic(`three good replicas again after ${healingMs.join(', ')} ms`);
    assert.ok(acknowledged > 100, `only ${acknowledged} writes were acknowledged`);
    assert.ok(history.counts.operations > 100, 'hardly any conditional writes');
    assert.ok(history.counts.undecided * 20 <= history.counts.keys, 'too much is undecided');
  } finally {
    connection.close();
    await cluster.stop();
  }
}

test(`${MINUTES} minutes of chaos lose nothing (seed ${SEED})`, async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-chaos-'));
  const small = mountSmallDisks(SMALL_DISKS);
  if (small === undefined) {
    context.diagnostic('NO FULL DISKS IN THIS RUN: they need root and loop devices');
  }
  try {
    await run(context, folder, small?.folders ?? []);
  } finally {
    small?.remove();
    rmSync(folder, { recursive: true, force: true });
  }
});
