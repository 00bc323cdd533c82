/** Commands that run at once, in an order of accesses to the store that a seed replays. */
import fc from 'fast-check';
import type { Catalogue } from './catalogue.ts';
import { COMPLETED_KEEP_MS } from './complete.ts';
import {
  checkInvariants,
  checkNothingLeft,
  createWorld,
  drainGarbage,
  OWNER,
  value,
  type World,
} from './test-support.ts';

export interface Race {
  w: World;
  /** Two metadata servers over one store. */
  servers: [Catalogue, Catalogue];
  /** Runs all of this at once, in the order of accesses that the seed says. */
  together: <T>(...work: (() => Promise<T>)[]) => Promise<T[]>;
}

/** Runs `body` under many orders of accesses, and checks the store after each. */
export async function underAllOrders(
  body: (race: Race) => Promise<void>,
  numRuns = 120,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      let racing = false;
      const pause = async () => {
        if (racing) await scheduler.schedule(Promise.resolve());
      };
      const w = await createWorld({ pause });
      value(await w.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
      const together = async <T>(...work: (() => Promise<T>)[]): Promise<T[]> => {
        racing = true;
        const done = await scheduler.waitFor(Promise.all(work.map((one) => one())));
        racing = false;
        await checkInvariants(w.store);
        return done;
      };
      await body({ w, servers: [w.catalogue, w.another(2)], together });
      w.clock.ms += COMPLETED_KEEP_MS;
      await drainGarbage(w.catalogue);
      await checkNothingLeft(w.store);
    }),
    { numRuns },
  );
}
