import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, describe, it } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { isFailure } from '../../base/failure.ts';
import { createManualClock } from '../../base/testing-clock.ts';
import { GroupCommit, type Write } from './group-commit.ts';
import { type Commit, STAMP_BYTES } from './kv.ts';
import { type LmdbStoreOptions, openLmdbStore } from './lmdb.ts';

const folder = mkdtempSync(join(tmpdir(), 'ashlar-lmdb-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function open(name: string, options: Partial<LmdbStoreOptions> = {}) {
  return openLmdbStore({
    folder: join(folder, name),
    mapSizeBytes: 1024 ** 3,
    watchdogMs: 10_000,
    clock: systemClock,
    floorBytes: 0,
    die: (reason) => assert.fail(reason),
    ...options,
  });
}

let stamps = 0;
function set(key: string, value: string): Commit {
  const id = Buffer.alloc(STAMP_BYTES);
  id.writeUInt32BE(++stamps, 0);
  const rows = [{ key: Buffer.from(key), value: Buffer.from(value) }];
  return { id, checks: [], set: rows, del: [], add: [] };
}

describe('the LMDB engine', () => {
  it('keeps rows and stamps over a reopening', async () => {
    const first = open('reopen');
    const commit = set('a', '1');
    await first.commit(commit);
    await first.close();
    const second = open('reopen');
    const [entry] = await second.get([Buffer.from('a')]);
    assert.ok(entry?.stamp.equals(commit.id));
    assert.equal(entry?.value.toString(), '1');
    assert.equal(second.usage().rows, 1);
    await second.close();
  });

  it('settles commits that were under way before it closes', async () => {
    const first = open('closing');
    const commits = Array.from({ length: 50 }, (_, index) => first.commit(set(`k${index}`, 'v')));
    await first.close();
    assert.ok((await Promise.all(commits)).every((result) => result.committed));
    const second = open('closing');
    assert.equal(second.usage().rows, 50);
    await second.close();
  });

  it('refuses commits that only add at the free-space floor, and takes those that delete', async () => {
    const filled = open('floor');
    await filled.commit(set('a', '1'));
    await filled.close();
    const { bavail, bsize } = (await import('node:fs')).statfsSync(folder);
    // Less than the whole floor is free, but more than its last quarter.
    const store = open('floor', { mapSizeBytes: 1024 ** 4, floorBytes: bavail * bsize * 1.2 });
    await assert.rejects(store.commit(set('b', '1')), (error) => isFailure(error, 'full'));
    const deletion = { ...set('b', '1'), del: [Buffer.from('a')] };
    assert.ok((await store.commit(deletion)).committed);
    assert.ok((await store.commit({ ...set('c', '1'), reserve: true })).committed);
    await store.close();
  });

  it('stops for good when somebody else has written to its files', async () => {
    const reasons: string[] = [];
    const store = open('strangers', { die: (reason) => reasons.push(reason) });
    await store.commit(set('a', '1'));
    const stranger = new URL('./test-support-writer.ts', import.meta.url);
    const child = spawn(process.execPath, [stranger.pathname, join(folder, 'strangers'), '1']);
    await once(child, 'exit');
    await store.commit(set('b', '1')).catch(() => {});
    assert.deepEqual(reasons, ['another process has written to the store']);
    await assert.rejects(store.get([Buffer.from('a')]), (error) => isFailure(error, 'unavailable'));
  });

  it('loses nothing acknowledged and applies nothing by half when it is killed', async () => {
    for (let round = 0; round < 4; round++) await killAndCheck(`kill-${round}`, 60 + round * 90);
  });

  it('ends its process at the first write that fails, with everything acknowledged in place', async () => {
    // A limit on the size of files makes writes fail as a full or broken disk does.
    const command = `ulimit -f 1500; exec "${process.execPath}" "${SCRIPT}" "${join(folder, 'eio')}"`;
    const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'ignore'] });
    const ended = once(child, 'exit');
    const acknowledged: number[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged.push(Number(line));
    }
    assert.deepEqual(await ended, [null, 'SIGKILL']);
    assert.ok(acknowledged.length > 100);
    await checkPairs('eio', acknowledged);
  });
});

const SCRIPT = new URL('./test-support-writer.ts', import.meta.url).pathname;

/** The child commits pairs of rows and prints each number that was acknowledged. */
async function killAndCheck(name: string, acksBeforeKill: number): Promise<void> {
  const child = spawn(process.execPath, [SCRIPT, join(folder, name)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const acknowledged: number[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(Number(line));
    if (acknowledged.length === acksBeforeKill) child.kill('SIGKILL');
  }
  assert.ok(acknowledged.length >= acksBeforeKill);
  await checkPairs(name, acknowledged);
}

/** Everything acknowledged is there, and both rows of every pair or none. */
async function checkPairs(name: string, acknowledged: readonly number[]): Promise<void> {
  const store = open(name);
  for (const number of acknowledged) {
    const found = await store.get([Buffer.from(`a${number}`), Buffer.from(`b${number}`)]);
    assert.deepEqual(
      found.map((entry) => entry?.value.toString()),
      [String(number), String(number)],
    );
  }
  const count = async (start: string, end: string): Promise<number> => {
    let rows = 0;
    let from = Buffer.from(start);
    for (;;) {
      const page = await store.range({ start: from, end: Buffer.from(end), limit: 1000 });
      rows += page.length;
      const last = page.at(-1);
      if (last === undefined) return rows;
      from = Buffer.concat([last.key, Buffer.from([0])]);
    }
  };
  assert.equal(await count('a', 'b'), await count('b', 'c'));
  await store.close();
}

describe('group commit', () => {
  const clock = createManualClock();

  it('tells everybody and dies once when a batch fails', async () => {
    const deaths: string[] = [];
    const group = new GroupCommit({
      clock,
      read: () => undefined,
      write: () => Promise.reject(new Error('Input/output error')),
      watchdogMs: 1000,
      die: (reason) => deaths.push(reason),
    });
    const first = group.commit(set('a', '1'), 2);
    const outcomes = await Promise.allSettled([first, group.commit(set('b', '1'), 2)]);
    for (const outcome of outcomes) {
      assert.ok(outcome.status === 'rejected' && isFailure(outcome.reason, 'unknown-outcome'));
    }
    assert.deepEqual(deaths, ['a commit failed: Input/output error']);
    await assert.rejects(group.commit(set('c', '1'), 2), (error) =>
      isFailure(error, 'unavailable'),
    );
  });

  it('dies when a batch does not settle in time', async () => {
    const deaths: string[] = [];
    const group = new GroupCommit({
      clock,
      read: () => undefined,
      write: () => new Promise(() => {}),
      watchdogMs: 1000,
      die: (reason) => deaths.push(reason),
    });
    const stuck = assert.rejects(group.commit(set('a', '1'), 2), (error) =>
      isFailure(error, 'unknown-outcome'),
    );
    await clock.advance(0);
    const queued = assert.rejects(group.commit(set('b', '1'), 2), (error) =>
      isFailure(error, 'unavailable'),
    );
    await clock.advance(999);
    assert.deepEqual(deaths, []);
    await clock.advance(200);
    assert.deepEqual(deaths, ['a commit did not settle within 1000 ms']);
    await Promise.all([stuck, queued]);
  });

  it('packs commits that arrive during a write into the next one, in their order', async () => {
    const batches: string[][] = [];
    const finish: (() => void)[] = [];
    const group = new GroupCommit({
      clock,
      read: () => undefined,
      write: (writes) => {
        const name = (row: Write) => `${String(row.key)}=${String(row.stored?.subarray(16))}`;
        batches.push([...writes].map(name));
        return new Promise<void>((resolve) => finish.push(resolve));
      },
      watchdogMs: 1000,
      die: (reason) => assert.fail(reason),
    });
    const all = [group.commit(set('a', '1'), 2)];
    await clock.idle();
    for (const value of ['2', '3']) all.push(group.commit(set('a', value), 2));
    all.push(group.commit(set('b', '4'), 2));
    finish[0]?.();
    await clock.idle();
    finish[1]?.();
    await Promise.all(all);
    assert.deepEqual(batches, [['a=1'], ['a=3', 'b=4']]);
  });
});
