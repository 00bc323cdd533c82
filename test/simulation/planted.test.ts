/** The checkers can see: each planted bug is found, quickly. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PLANTED } from './planted.ts';
import { runAll } from './pool.ts';

/** A bug that takes longer to find is not found. */
const SEEDS_MAX = 300;

describe('the simulation finds a planted bug', () => {
  for (const bug of Object.keys(PLANTED)) {
    it(bug, async () => {
      const tasks = Array.from({ length: SEEDS_MAX }, (_, index) => ({ seed: index + 1, bug }));
      let found: string | undefined;
      await runAll(tasks, ({ seed, violations }) => {
        const [first] = violations;
        if (first !== undefined) found ??= `seed ${seed}: ${first}`;
        return found !== undefined;
      });
      assert.ok(found !== undefined, `not found in ${SEEDS_MAX} seeds`);
    });
  }
});
