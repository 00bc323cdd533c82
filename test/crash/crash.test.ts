/**
 * kill -9 of every process in turn, under load: no acknowledged write is lost, no deleted key comes
 * back, no byte is wrong, and the cluster heals without a hand. `CRASH_CYCLES=n` for more,
 * `CRASH_SEED=text` to replay the same requests.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startCluster, TEST_KEYS } from '../support/cluster.ts';
import { signedClient } from '../support/http.ts';
import { createLedger } from '../support/ledger.ts';

const CYCLES = Number(process.env['CRASH_CYCLES'] ?? 100);
const SEED = process.env['CRASH_SEED'] ?? String(Date.now());
const WORKERS = 8;
/** Full verifications during the run; one more stands at its end. */
const VERIFY_EVERY = 25;

test(`kill -9 of every process in turn, ${CYCLES} times, loses nothing (seed ${SEED})`, async (context) => {
  const cluster = await startCluster({ args: ['--gateways', '2'] });
  const client = signedClient(() => cluster.ready().s3, TEST_KEYS);
  try {
    const made = await client.send({ method: 'PUT', path: '/crash' });
    assert.equal(made.status, 200, made.body.toString());
    const ledger = createLedger({
      client,
      bucket: 'crash',
      workers: WORKERS,
      keysPerWorker: 40,
      sizes: [0, 1, 4096, 70_000, 1_048_577, 2_500_000],
      seed: SEED,
    });
    let running = true;
    let rounds = 0;
    const failures: unknown[] = [];
    const startLoad = (): Promise<unknown> =>
      Promise.all(
        Array.from({ length: WORKERS }, async (_, worker) => {
          while (running) await ledger.step(worker, rounds++);
        }),
      ).catch((error: unknown) => failures.push(error));
    let load = startLoad();
    /** Stops the load, reads every key back, and goes on. */
    const verify = async (): Promise<void> => {
      running = false;
      await load;
      assert.deepEqual(failures, []);
      assert.deepEqual(await ledger.verify(), []);
      running = true;
    };

    const killed: Record<string, number> = {};
    for (let cycle = 0; cycle < CYCLES && failures.length === 0; cycle++) {
      const victims = cluster.ready().processes;
      const victim = victims[cycle % victims.length];
      assert.ok(victim, 'no processes in the ready file');
      await sleep((cycle * 37) % 300);
      process.kill(victim.pid, 'SIGKILL');
      killed[victim.role] = (killed[victim.role] ?? 0) + 1;
      await cluster.until(
        ({ processes }) =>
          processes.some((one) => one.name === victim.name && one.pid !== victim.pid) &&
          processes.length === victims.length,
        `${victim.name} to come back after kill -9`,
      );
      if (cycle % VERIFY_EVERY === VERIFY_EVERY - 1) {
        await verify();
        load = startLoad();
      }
    }
    await verify();
    const { acknowledged, unknown, verified } = ledger.counts;
    context.diagnostic(
      `${CYCLES} kills (${JSON.stringify(killed)}), ${acknowledged} acknowledged writes, ${unknown} without an answer, ${verified} reads checked, 0 lost`,
    );
    assert.ok(acknowledged > CYCLES, `only ${acknowledged} writes were acknowledged`);
  } finally {
    client.close();
    await cluster.stop();
  }
});
