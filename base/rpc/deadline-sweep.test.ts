import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DeadlineSweep } from './deadline-sweep.ts';
import { createManualClock } from '../testing-clock.ts';

test('no deadline is missed by more than the granularity, none comes early, one timer is enough', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(300), fc.integer({ min: 1, max: 20_000 })), { maxLength: 50 }),
      async (calls) => {
        const clock = createManualClock();
        const open = new Set<{ deadline: number }>();
        const sweep = new DeadlineSweep(clock, (dueMs) => {
          let earliest = Number.POSITIVE_INFINITY;
          for (const call of open) {
            if (call.deadline > dueMs) earliest = Math.min(earliest, call.deadline);
            else {
              const late = clock.monotonic() - call.deadline;
              assert.ok(late >= -1 && late <= 11, `late by ${late} ms`);
              open.delete(call);
            }
          }
          return earliest;
        });
        for (const [pauseMs, timeoutMs] of calls) {
          await clock.advance(pauseMs);
          const call = { deadline: clock.monotonic() + timeoutMs };
          open.add(call);
          sweep.cover(call.deadline);
          assert.equal(clock.pending, 1);
        }
        await clock.advance(20_011);
        assert.equal(open.size, 0);
        assert.equal(clock.pending, 0);
      },
    ),
  );
});

test('a deadline further away than a timer reaches is still kept', async () => {
  const clock = createManualClock();
  const deadline = clock.monotonic() + 90 * 24 * 3_600_000;
  let due: number | undefined;
  const sweep = new DeadlineSweep(clock, (dueMs) => {
    if (deadline > dueMs) return deadline;
    due = clock.monotonic();
    return Number.POSITIVE_INFINITY;
  });
  sweep.cover(deadline);
  await clock.advance(91 * 24 * 3_600_000);
  assert.equal(due, deadline);
});
