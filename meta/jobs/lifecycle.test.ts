import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog } from '../../base/log.ts';
import { createWorld, OWNER, testEffects, value, type World } from '../catalogue/test-support.ts';
import type { LifecycleWork } from '../catalogue/lifecycle.ts';
import { DAY_MS, encodeLifecycle, LIFECYCLE_CONFIG } from '../lifecycle-protocol.ts';
import { JobRows } from './job.ts';
import { LifecycleJob, passMs } from './lifecycle.ts';

const place = { bucket: 'one', name: LIFECYCLE_CONFIG };
const silent = createLog({ level: 'silent' });
const rule = { id: 'r', enabled: true, filter: {}, expiration: { days: 1 }, abortDays: 1 };

async function bucket(w: World, name: string, keys: number): Promise<void> {
  value(await w.catalogue.createBucket({ name, owner: OWNER, region: 'r' }));
  const config = {
    bucket: name,
    name: LIFECYCLE_CONFIG,
    value: encodeLifecycle({ rules: [rule] }),
  };
  value(await w.catalogue.setBucketConfig(config));
  for (let n = 0; n < keys; n++) await w.put(name, `k${String(n).padStart(4, '0')}`, 0);
}

async function jobOf(w: World, work: LifecycleWork = w.catalogue.lifecycle): Promise<LifecycleJob> {
  const effects = testEffects(w.clock);
  const rows = new JobRows(w.store, effects.random);
  const job = new LifecycleJob({
    work,
    rows,
    clock: effects.clock,
    log: silent,
    dayMs: DAY_MS,
    saveMs: 0,
  });
  await job.restore();
  return job;
}

/** Rounds until the pass has ended, at the pace that the job asks for. */
async function pass(w: World, job: LifecycleJob): Promise<void> {
  for (let rounds = 0; rounds === 0 || job.status().state === 'running'; rounds++) {
    await job.round();
    w.clock.ms += 1000;
    assert.ok(rounds < 1000, 'the pass never ends');
  }
}

async function left(w: World, name: string): Promise<number> {
  return value(await w.catalogue.bucketUsage({ bucket: name })).objects;
}

test('a pass goes through every bucket with rules, page by page, and tells what it did', async () => {
  const w = await createWorld();
  await bucket(w, 'one', 600);
  await bucket(w, 'three', 10);
  value(await w.catalogue.createBucket({ name: 'two', owner: OWNER, region: 'r' }));
  await w.put('two', 'k');
  const start = { bucket: 'one', key: 'u', owner: OWNER, system: {}, user: {} };
  value(await w.catalogue.createUpload(start));
  w.clock.ms += 2 * DAY_MS;
  const job = await jobOf(w);
  await pass(w, job);
  assert.deepEqual([await left(w, 'one'), await left(w, 'two'), await left(w, 'three')], [0, 1, 0]);
  const { counts, state, done, lastFinishedMs } = job.status();
  assert.deepEqual(counts, { expired: 610, marked: 0, noncurrent: 0, aborted: 1, locked: 0 });
  assert.deepEqual([state, done], ['idle', 611]);
  assert.ok(lastFinishedMs !== undefined && lastFinishedMs <= w.clock.ms);
});

test('passes begin four times a day, at midnight among them, and when an operator asks', async () => {
  const w = await createWorld();
  await bucket(w, 'one', 1);
  const job = await jobOf(w);
  const began: number[] = [];
  const start = w.clock.ms;
  for (; w.clock.ms < start + DAY_MS; w.clock.ms += 600_000) {
    await job.round();
    if (job.status().state === 'running') began.push(w.clock.ms - start);
    while (job.status().state === 'running') {
      await job.round();
      w.clock.ms += 1;
    }
  }
  assert.equal(passMs(DAY_MS), 6 * 3_600_000);
  assert.deepEqual(
    began.map((ms) => Math.floor(ms / passMs(DAY_MS))),
    [0, 1, 2, 3],
  );
  await pass(w, job);
  const { lastFinishedMs } = job.status();
  await job.round();
  assert.equal(job.status().lastFinishedMs, lastFinishedMs);
  job.run();
  await pass(w, job);
  assert.notEqual(job.status().lastFinishedMs, lastFinishedMs);
});

test('a pass goes on where it was when the service ended', async () => {
  const w = await createWorld();
  await bucket(w, 'one', 600);
  await bucket(w, 'two', 5);
  w.clock.ms += 2 * DAY_MS;
  const first = await jobOf(w);
  await first.round();
  w.clock.ms += 1000;
  await first.round();
  const after = await left(w, 'one');
  assert.ok(after > 0 && after < 600, `${after} left`);
  const seen: string[] = [];
  const { lifecycle } = w.catalogue;
  const second = await jobOf(w, {
    ...lifecycle,
    page(ruled, place, nowMs) {
      seen.push(`${ruled.name} ${place.part} ${place.after === undefined ? 'begin' : 'on'}`);
      return lifecycle.page(ruled, place, nowMs);
    },
  });
  assert.equal(second.status().state, 'running');
  await pass(w, second);
  assert.equal(seen[0], 'one objects on');
  assert.ok(seen.includes('two objects begin'));
  assert.deepEqual([await left(w, 'one'), await left(w, 'two')], [0, 0]);
});

test('a bucket that was made anew meanwhile is walked from its beginning', async () => {
  const w = await createWorld();
  await bucket(w, 'one', 300);
  w.clock.ms += 2 * DAY_MS;
  const first = await jobOf(w);
  await first.round();
  for (let n = 256; n < 300; n++) {
    value(await w.catalogue.deleteObject({ bucket: 'one', key: `k${String(n).padStart(4, '0')}` }));
  }
  value(await w.catalogue.deleteBucket({ bucket: 'one' }));
  await bucket(w, 'one', 3);
  w.clock.ms += 2 * DAY_MS;
  const second = await jobOf(w);
  await pass(w, second);
  assert.equal(await left(w, 'one'), 0);
});

test('a paused job does nothing, over restarts too', async () => {
  const w = await createWorld();
  await bucket(w, 'one', 3);
  w.clock.ms += 2 * DAY_MS;
  const first = await jobOf(w);
  await first.pause();
  assert.equal(await first.round(), false);
  const second = await jobOf(w);
  assert.equal(second.status().state, 'paused');
  await second.round();
  assert.equal(await left(w, 'one'), 3);
  await second.resume();
  await pass(w, second);
  assert.equal(await left(w, 'one'), 0);
});

test('after a failure the same page comes again', async () => {
  const w = await createWorld();
  await bucket(w, 'one', 20);
  w.clock.ms += 2 * DAY_MS;
  const { lifecycle } = w.catalogue;
  let calls = 0;
  const job = await jobOf(w, {
    ...lifecycle,
    expire(ruled, item) {
      calls += 1;
      if (calls === 3) return Promise.reject(new Error('the store is away'));
      return lifecycle.expire(ruled, item);
    },
  });
  await assert.rejects(job.round());
  await pass(w, job);
  assert.equal(await left(w, 'one'), 0);
});

test('rules that change in the middle of a page are obeyed at once', async () => {
  const w = await createWorld();
  await bucket(w, 'one', 20);
  w.clock.ms += 2 * DAY_MS;
  const { lifecycle } = w.catalogue;
  let calls = 0;
  const job = await jobOf(w, {
    ...lifecycle,
    async expire(ruled, item) {
      calls += 1;
      if (calls === 1) {
        const keep = encodeLifecycle({ rules: [{ ...rule, expiration: { days: 100 } }] });
        const config = { bucket: 'one', name: LIFECYCLE_CONFIG, value: keep };
        value(await w.catalogue.setBucketConfig(config));
      }
      return lifecycle.expire(ruled, item);
    },
  });
  await pass(w, job);
  // Those that were under way at that moment had gone by the rules of that moment.
  const { counts } = job.status();
  const kept = await left(w, 'one');
  assert.equal(kept + (counts['expired'] ?? 0), 20);
  assert.ok(kept > 0);
});

test('rules that are added in the middle of a page leave nothing undone', async () => {
  const w = await createWorld();
  await bucket(w, 'one', 20);
  w.clock.ms += 2 * DAY_MS;
  const { lifecycle } = w.catalogue;
  let calls = 0;
  const job = await jobOf(w, {
    ...lifecycle,
    async expire(ruled, item) {
      calls += 1;
      if (calls === 1) {
        const more = encodeLifecycle({ rules: [rule, { ...rule, id: 's' }] });
        value(await w.catalogue.setBucketConfig({ ...place, value: more }));
      }
      return lifecycle.expire(ruled, item);
    },
  });
  await pass(w, job);
  assert.equal(await left(w, 'one'), 0);
});
