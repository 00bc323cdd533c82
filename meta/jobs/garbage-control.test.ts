import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { GarbageControl } from './garbage-control.ts';
import type { JobSetting } from './job.ts';

function setUp(kept: { setting: JobSetting } = { setting: { paused: false, rate: undefined } }) {
  let rounds = 0;
  let rewalks = 0;
  let outcome: boolean | Error = false;
  const job = {
    rewalk(): void {
      rewalks++;
    },
    round(): Promise<boolean> {
      rounds++;
      return outcome instanceof Error ? Promise.reject(outcome) : Promise.resolve(outcome);
    },
    stats: () => ({
      held: 0,
      waiting: 0,
      blobsRemoved: 0,
      blocksRemoved: rounds * 10,
      nodeFailures: 0,
    }),
  };
  const rows = {
    setting: () => Promise.resolve({ ...kept.setting }),
    putSetting(_: string, setting: JobSetting): Promise<void> {
      kept.setting = setting;
      return Promise.resolve();
    },
  };
  const control = new GarbageControl({ job, rows, clock: systemClock });
  const counts = { rounds: () => rounds, rewalks: () => rewalks };
  return { control, kept, ...counts, set: (next: boolean | Error) => (outcome = next) };
}

test('rounds are held while the job is paused, over a restart too', async () => {
  const { control, kept, rounds } = setUp();
  await control.round();
  await control.pause();
  assert.equal(await control.round(), false);
  assert.equal(rounds(), 1);
  const restarted = setUp(kept);
  await restarted.control.round();
  assert.equal(restarted.rounds(), 0);
  assert.equal(restarted.control.status().state, 'paused');
  await restarted.control.resume();
  await restarted.control.round();
  assert.equal(restarted.rounds(), 1);
});

test('the status tells work from rest and keeps the newest problem', async () => {
  const { control, set } = setUp();
  set(true);
  assert.equal(await control.round(), true);
  assert.equal(control.status().state, 'running');
  assert.equal(control.status().lastFinishedMs, undefined);
  assert.ok(control.status().rate > 0);
  set(new Error('the store is away'));
  await assert.rejects(control.round());
  assert.equal(control.status().problem, 'the store is away');
  set(false);
  assert.equal(await control.round(), false);
  const { state, problem, lastFinishedMs, done } = control.status();
  assert.deepEqual({ state, problem, done }, { state: 'idle', problem: undefined, done: 30 });
  assert.notEqual(lastFinishedMs, undefined);
});

test('run makes the loop come back at once, and the job begin anew with everything', async () => {
  const { control, rewalks } = setUp();
  await control.round();
  const round = control.round();
  control.run();
  assert.equal(await round, true);
  assert.equal(rewalks(), 0);
  assert.equal(await control.round(), false);
  assert.equal(rewalks(), 1);
  await control.round();
  assert.equal(rewalks(), 1);
});
