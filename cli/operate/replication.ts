/** `ashlar replication status|resync`: what waits for its replica, and what was there before. */
import { systemClock } from '../../base/clock.ts';
import { isFailure } from '../../base/failure.ts';
import { EXIT } from '../../base/lifecycle.ts';
import { resyncBucket } from '../../gateway/main.ts';
import type { EventBacklog } from '../../meta/protocol.ts';
import type { Operator } from './connect.ts';
import { eventScreen } from './events.ts';
import { VerbError } from './exit.ts';
import { count } from './format.ts';
import type { Screen } from './screen.ts';

const BUCKETS_MAX = 1000;
const POLL_MS = 500;

async function backlogs({ meta, call }: Operator): Promise<EventBacklog[]> {
  const all = await meta.eventStatus({ limit: BUCKETS_MAX }, call);
  return all.filter(({ queue }) => queue === 'replication');
}

export async function showReplication(operator: Operator, screen: Screen): Promise<void> {
  const found = await backlogs(operator);
  screen.show(found, () => eventScreen(found, screen.paint, systemClock.now()));
}

export async function resync(
  operator: Operator,
  screen: Screen,
  options: { bucket: string; all: boolean; wait: boolean },
): Promise<void> {
  const { bucket, all, wait } = options;
  const { meta } = operator;
  try {
    const done = await resyncBucket({
      meta,
      clock: systemClock,
      bucket,
      all,
      progress: ({ seen, queued }) =>
        screen.progress(`${count(seen)} objects looked at, ${count(queued)} queued`),
    });
    screen.progressDone();
    if (wait) await drained(operator, screen, bucket);
    screen.show(done, () => [
      `${count(done.seen)} objects looked at, ${count(done.queued)} queued, ${count(done.waiting)} were waiting already.`,
    ]);
  } catch (error) {
    if (!isFailure(error, 'not-found')) throw error;
    throw new VerbError(`${error.message}.`, EXIT.failed);
  }
}

async function drained(operator: Operator, screen: Screen, bucket: string): Promise<void> {
  for (;;) {
    const mine = (await backlogs(operator)).find((one) => one.bucket === bucket);
    if (mine === undefined || mine.waiting === 0) break;
    screen.progress(`${count(mine.waiting)} wait for their replica`);
    await systemClock.sleep(POLL_MS);
  }
  screen.progressDone();
}
