/**
 * The production code in a simulated world, seed by seed (README.md).
 *
 *   npm run test:sim                 the seeds 1 … 1,000
 *   SEEDS=10000 npm run test:sim     more of them
 *   SEED=17 npm run test:sim         one, with everything that happens in it
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runAll } from './pool.ts';
import { runSeed, type SeedResult } from './run-seed.ts';

const SEEDS = 1000;
/** Seeds that are run twice. */
const TWICE = 20;

const one = process.env['SEED'];
const count = Number(process.env['SEEDS'] ?? SEEDS);

function assertSound({ seed, violations, undecided }: SeedResult): void {
  const hint = `replay with SEED=${seed} npm run test:sim`;
  assert.deepEqual(violations, [], hint);
  assert.equal(undecided, 0, `a history took too long to check: ${hint}`);
}

describe('the simulated cluster', () => {
  if (one !== undefined) {
    it(`keeps every promise in seed ${one}`, async () => {
      const trace = (line: string) => void process.stdout.write(`${line}\n`);
      const result = await runSeed({ seed: Number(one), trace });
      console.log(result);
      assertSound(result);
    });
    return;
  }

  it(`keeps every promise in the seeds 1 to ${count}`, async () => {
    const failed: SeedResult[] = [];
    const total = { events: 0, operations: 0, undecided: 0, answered: 0, faults: 0 };
    const started = performance.now();
    const tasks = Array.from({ length: count }, (_, index) => ({ seed: index + 1 }));
    await runAll(tasks, (result) => {
      total.events += result.events;
      total.operations += result.operations;
      total.answered += result.counts.answered;
      total.faults += Object.values(result.faults).reduce((sum, faults) => sum + faults, 0);
      if (result.violations.length > 0 || result.undecided > 0) failed.push(result);
      return failed.length >= 5;
    });
    const perSecond = (count / ((performance.now() - started) / 1000)).toFixed(0);
    console.log(
      `${count} seeds (${perSecond}/s), ${total.events} events, ${total.faults} faults, ` +
        `${total.operations} operations checked, ${total.answered} requests answered`,
    );
    for (const result of failed.slice(1)) {
      console.log(`also seed ${result.seed}: ${result.violations[0] ?? 'undecided'}`);
    }
    if (failed[0] !== undefined) assertSound(failed[0]);
    // A world in which nothing happens proves nothing.
    assert.ok(total.answered > count * 20, 'requests are answered');
    assert.ok(total.faults > count * 3, 'things go wrong');
  });

  it('does the same again for the same seed', async () => {
    const hashes = new Map<number, number>();
    const seeds = Array.from({ length: TWICE }, (_, index) => ({ seed: index + 1 }));
    await runAll([...seeds, ...seeds], ({ seed, hash }) => {
      assert.equal(hashes.get(seed) ?? hash, hash, `seed ${seed}`);
      hashes.set(seed, hash);
    });
    assert.equal(hashes.size, TWICE);
    assert.equal(new Set(hashes.values()).size, TWICE, 'every seed is a run of its own');
  });
});
