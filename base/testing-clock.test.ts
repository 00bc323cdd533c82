import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFailure } from './failure.ts';
import { createManualClock, createSeededRandom } from './testing-clock.ts';

test('timers fire in the order of their times, and in order of making when they are equal', async () => {
  const clock = createManualClock();
  const fired: string[] = [];
  clock.after(20, () => fired.push(`late ${clock.monotonic()}`));
  clock.after(10, () => fired.push(`early ${clock.monotonic()}`));
  clock.after(10, () => fired.push(`second ${clock.monotonic()}`));
  clock.after(10, () => fired.push('never')).cancel();
  await clock.advance(15);
  assert.deepEqual(fired, ['early 10', 'second 10']);
  assert.equal(clock.monotonic(), 15);
  await clock.advance(5);
  assert.deepEqual(fired, ['early 10', 'second 10', 'late 20']);
  assert.equal(clock.pending, 0);
});

test('what a timer causes happens before the next timer fires', async () => {
  const clock = createManualClock();
  const events: string[] = [];
  void clock.sleep(10).then(async () => {
    await clock.sleep(5);
    events.push('slept');
  });
  clock.after(16, () => events.push('timer'));
  await clock.advance(100);
  assert.deepEqual(events, ['slept', 'timer']);
});

test('settle moves time only as far as the work needs', async () => {
  const clock = createManualClock();
  assert.equal(await clock.settle(clock.sleep(500).then(() => 7)), 7);
  assert.equal(clock.monotonic(), 500);
  const endless = clock.settle(new Promise(() => {}), 1000);
  await assert.rejects(endless, (error) => isFailure(error, 'timeout'));
});

test('a sleep ends with cancelled when its signal aborts', async () => {
  const clock = createManualClock();
  const controller = new AbortController();
  const sleep = clock.sleep(100, controller.signal);
  controller.abort();
  await assert.rejects(sleep, (error) => isFailure(error, 'cancelled'));
  assert.equal(clock.pending, 0);
});

test('the same seed gives the same random stream, in [0, 1)', () => {
  const [a, b, c] = [createSeededRandom(5), createSeededRandom(5), createSeededRandom(6)];
  assert.deepEqual(a.bytes(16), b.bytes(16));
  assert.notDeepEqual(a.bytes(16), c.bytes(16));
  for (let i = 0; i < 1000; i++) assert.ok(a.fraction() >= 0 && a.fraction() < 1);
});
