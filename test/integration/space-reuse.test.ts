/**
 * Space is given back: far more than the disks hold is written and deleted, and no write is refused.
 * The whole cluster in this process (`../support/small-cluster.ts`), on disks of a few megabytes.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededBytes } from '../support/files.ts';
import { type SmallCluster, startSmallCluster } from '../support/small-cluster.ts';

const DISK_BYTES = 8 * 1024 * 1024;
const OBJECT_BYTES = 64 * 1024;
/** Three quarters of a disk; each of the three nodes has all of it. */
const OBJECTS = 96;
const TIMES = 14;
/** See `meta/jobs/garbage.ts`; far more than pauses of 20 ms and renewals of 50 ms make. */
const GONE_MS = 10_000;

let cluster: SmallCluster;

before(async () => {
  cluster = await startSmallCluster({ diskBytes: DISK_BYTES });
});
after(() => cluster?.stop());

const blocksLeft = (): number =>
  [...cluster.nodes.keys()].reduce((sum, id) => sum + cluster.blocksOn(id).length, 0);

async function emptied(): Promise<number> {
  const began = performance.now();
  while (blocksLeft() > 0) {
    assert.ok(performance.now() - began < GONE_MS, `${blocksLeft()} blocks are left`);
    await sleep(10);
  }
  return performance.now() - began;
}

test('many times the size of the disks is written and deleted', async (context) => {
  let slowest = 0;
  for (let time = 0; time < TIMES; time++) {
    for (let n = 0; n < OBJECTS; n++) {
      await cluster.put(`k${n}`, seededBytes(`${time}/${n}`, OBJECT_BYTES), n % 2);
    }
    const [n, last] = [OBJECTS - 1, seededBytes(`${time}/${OBJECTS - 1}`, OBJECT_BYTES)];
    assert.deepEqual(await cluster.get(`k${n}`), last);
    for (let n = 0; n < OBJECTS; n++) await cluster.remove(`k${n}`);
    slowest = Math.max(slowest, await emptied());
  }
  const written = (TIMES * OBJECTS * OBJECT_BYTES) / DISK_BYTES;
  context.diagnostic(`${written} disks written; empty at most ${Math.round(slowest)} ms after`);
});

test('disks that are full take no more, and take it again when something was deleted', async () => {
  const keys: string[] = [];
  await assert.rejects(async () => {
    for (let n = 0; n < 2 * OBJECTS; n++) {
      await cluster.put(`f${n}`, seededBytes(`f${n}`, OBJECT_BYTES));
      keys.push(`f${n}`);
    }
  });
  assert.ok(keys.length > OBJECTS / 2, `${keys.length} objects fit`);
  for (const key of keys) {
    assert.deepEqual(await cluster.get(key), seededBytes(key, OBJECT_BYTES));
    await cluster.remove(key);
  }
  await emptied();
  await cluster.put('again', seededBytes('again', OBJECT_BYTES));
  await cluster.remove('again');
  await emptied();
});

test('what is overwritten again and again takes the space of two versions at most', async () => {
  const half = DISK_BYTES / 4 / OBJECT_BYTES;
  for (let time = 0; time < TIMES; time++) {
    for (let n = 0; n < half; n++) {
      await cluster.put(`o${n}`, seededBytes(`${time}/${n}`, OBJECT_BYTES), n % 2);
    }
    const began = performance.now();
    while (blocksLeft() > (3 * half * OBJECT_BYTES) / 4096) {
      assert.ok(performance.now() - began < GONE_MS, 'older versions are left');
      await sleep(10);
    }
  }
  assert.deepEqual(await cluster.get('o0'), seededBytes(`${TIMES - 1}/0`, OBJECT_BYTES));
});
