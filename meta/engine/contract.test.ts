/** One suite on every engine, and the engines against each other. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../base/clock.ts';
import { isFailure } from '../../base/failure.ts';
import {
  type Commit,
  type Entry,
  KV_LIMITS,
  type KeyValueStore,
  readCounter,
  STAMP_BYTES,
} from './kv.ts';
import { openLmdbStore } from './lmdb.ts';
import { createMemoryStore } from './memory.ts';

let stamps = 0;
function stamp(): Buffer {
  const id = Buffer.alloc(STAMP_BYTES);
  id.writeUInt32BE(++stamps, 12);
  return id;
}

function commit(parts: Partial<Commit>): Commit {
  return { id: stamp(), checks: [], set: [], del: [], add: [], ...parts };
}

const bytes = (text: string): Buffer => Buffer.from(text);
const row = (key: string, value: string) => ({ key: bytes(key), value: bytes(value) });
const textOf = (entry: Entry | null | undefined): string | undefined => entry?.value.toString();

const folders: string[] = [];
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-kv-'));
  folders.push(folder);
  return folder;
}

function openTestLmdb(folder: string) {
  return openLmdbStore({
    folder,
    mapSizeBytes: 1024 ** 3,
    watchdogMs: 10_000,
    clock: systemClock,
    floorBytes: 0,
    die: (reason) => assert.fail(reason),
  });
}

after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

const engines: Record<string, () => KeyValueStore> = {
  memory: createMemoryStore,
  lmdb: () => openTestLmdb(temporaryFolder()),
};

for (const [name, open] of Object.entries(engines)) {
  describe(`the key-value contract on the ${name} engine`, () => {
    it('shows what was committed with the stamp of its commit', async () => {
      const store = open();
      const first = commit({ set: [row('a', '1'), row('b', '')] });
      assert.deepEqual(await store.commit(first), { committed: true });
      const [a, b, none] = await store.get([bytes('a'), bytes('b'), bytes('c')]);
      assert.equal(textOf(a), '1');
      assert.equal(textOf(b), '');
      assert.ok(a?.stamp.equals(first.id));
      assert.deepEqual(a?.key, bytes('a'));
      assert.equal(none, null);
      await store.close();
    });

    it('applies nothing when a check fails and names the checks that failed', async () => {
      const store = open();
      const first = commit({ set: [row('a', '1'), row('b', '1')] });
      await store.commit(first);
      const result = await store.commit(
        commit({
          checks: [
            { key: bytes('a'), stamp: first.id },
            { key: bytes('b'), stamp: stamp() },
            { key: bytes('a'), stamp: null },
            { key: bytes('c'), stamp: first.id },
          ],
          set: [row('a', '2'), row('c', '2')],
          del: [bytes('b')],
          add: [{ key: bytes('n'), delta: 1n }],
        }),
      );
      assert.deepEqual(result, { committed: false, failed: [1, 2, 3] });
      const found = await store.get(['a', 'b', 'c', 'n'].map(bytes));
      assert.deepEqual(found.map(textOf), ['1', '1', undefined, undefined]);
      await store.close();
    });

    it('lets a check for a stamp guard a key that the commit does not write', async () => {
      const store = open();
      const lease = commit({ set: [row('lease', '')] });
      await store.commit(lease);
      const checks = [{ key: bytes('lease'), stamp: lease.id }];
      assert.ok((await store.commit(commit({ checks, set: [row('a', '1')] }))).committed);
      assert.ok((await store.commit(commit({ checks, set: [row('a', '2')] }))).committed);
      await store.commit(commit({ del: [bytes('lease')] }));
      assert.ok(!(await store.commit(commit({ checks, set: [row('a', '3')] }))).committed);
      await store.commit(commit({ set: [row('lease', '')] }));
      assert.ok(!(await store.commit(commit({ checks, set: [row('a', '4')] }))).committed);
      assert.equal(textOf((await store.get([bytes('a')]))[0]), '2');
      await store.close();
    });

    it('adds to counters without conflict, also below zero', async () => {
      const store = open();
      const key = bytes('n');
      await Promise.all(
        Array.from({ length: 100 }, () => store.commit(commit({ add: [{ key, delta: 3n }] }))),
      );
      await store.commit(
        commit({
          add: [
            { key, delta: -500n },
            { key, delta: 1n },
          ],
        }),
      );
      assert.equal(readCounter((await store.get([key]))[0] ?? null), -199n);
      assert.equal(readCounter(null), 0n);
      await store.close();
    });

    it('refuses an add on a row that is not a counter and applies nothing', async () => {
      const store = open();
      await store.commit(commit({ set: [row('a', 'text')] }));
      const bad = commit({ set: [row('b', '1')], add: [{ key: bytes('a'), delta: 1n }] });
      await assert.rejects(store.commit(bad), (error) => isFailure(error, 'invalid'));
      assert.equal((await store.get([bytes('b')]))[0], null);
      await store.close();
    });

    it('applies nothing of a commit that would bring a counter above its bound', async () => {
      const store = open();
      const key = bytes('n');
      const upTo = (delta: bigint, max: bigint) =>
        store.commit(commit({ set: [row('a', String(delta))], add: [{ key, delta, max }] }));
      assert.deepEqual(await upTo(10n, 10n), { committed: true });
      assert.deepEqual(await upTo(1n, 10n), { committed: false, failed: [], over: true });
      assert.equal(textOf((await store.get([bytes('a')]))[0]), '10');
      // A bound that came later: what shrinks passes, what grows does not.
      assert.deepEqual(await upTo(-3n, 5n), { committed: true });
      assert.deepEqual(await upTo(1n, 5n), { committed: false, failed: [], over: true });
      // A check that fails comes first: the commit may be tried again.
      const stale = commit({
        checks: [{ key: bytes('a'), stamp: stamp() }],
        add: [{ key, delta: 1n, max: 0n }],
      });
      assert.deepEqual(await store.commit(stale), { committed: false, failed: [0] });
      await store.close();
    });

    it('keeps the bound of a counter among commits of one batch', async () => {
      const store = open();
      const key = bytes('n');
      const results = await Promise.all(
        Array.from({ length: 50 }, () =>
          store.commit(commit({ add: [{ key, delta: 2n, max: 33n }] })),
        ),
      );
      assert.equal(results.filter((result) => result.committed).length, 16);
      assert.equal(readCounter((await store.get([key]))[0] ?? null), 32n);
      await store.close();
    });

    it('gives a range its start, not its end, and at most its limit, in both directions', async () => {
      const store = open();
      await store.commit(commit({ set: ['a', 'b', 'c', 'd'].map((key) => row(key, key)) }));
      const keys = async (start: string, end: string, limit: number, reverse: boolean) =>
        (await store.range({ start: bytes(start), end: bytes(end), limit, reverse })).map((entry) =>
          entry.key.toString(),
        );
      assert.deepEqual(await keys('b', 'd', 10, false), ['b', 'c']);
      assert.deepEqual(await keys('b', 'd', 10, true), ['c', 'b']);
      assert.deepEqual(await keys('', 'zz', 2, false), ['a', 'b']);
      assert.deepEqual(await keys('', 'zz', 2, true), ['d', 'c']);
      assert.deepEqual(await keys('bb', 'cc', 10, true), ['c']);
      assert.deepEqual(await keys('c', 'c', 10, false), []);
      assert.deepEqual(await keys('d', 'a', 10, true), []);
      await store.close();
    });

    it('refuses what is over the limits', async () => {
      const store = open();
      const invalid = (error: unknown) => isFailure(error, 'invalid');
      const longKey = Buffer.alloc(KV_LIMITS.keyBytes + 1, 1);
      const value = Buffer.alloc(KV_LIMITS.valueBytes + 1);
      const many = (count: number) =>
        Array.from({ length: count }, (_, index) => row(String(index), ''));
      const big = Array.from({ length: 70 }, (_, index) => ({
        key: bytes(`big${index}`),
        value: Buffer.alloc(KV_LIMITS.valueBytes),
      }));
      const bad: Partial<Commit>[] = [
        { set: [{ key: longKey, value: bytes('') }] },
        { set: [row('', 'empty key')] },
        { set: [{ key: bytes('a'), value }] },
        { set: many(KV_LIMITS.commitOps + 1) },
        { set: big },
        { id: Buffer.alloc(15) },
        { checks: [{ key: bytes('a'), stamp: null }], set: [row('b', '')] },
        { set: [row('a', '')], add: [{ key: bytes('a'), delta: 1n }] },
        { del: [bytes('a')], add: [{ key: bytes('a'), delta: 1n }] },
      ];
      for (const parts of bad) await assert.rejects(store.commit(commit(parts)), invalid);
      const start = bytes('a');
      for (const limit of [0, 1.5, KV_LIMITS.rangeRows + 1]) {
        await assert.rejects(store.range({ start, end: bytes('b'), limit }), invalid);
      }
      const keys = Array.from({ length: KV_LIMITS.getKeys + 1 }, () => start);
      await assert.rejects(store.get(keys), invalid);
      await assert.rejects(store.get([longKey]), invalid);
      assert.deepEqual(await store.range({ start, end: bytes('z'), limit: 1000 }), []);
      await store.close();
    });

    it('takes what is exactly at the limits', async () => {
      const store = open();
      const key = Buffer.alloc(KV_LIMITS.keyBytes, 7);
      const value = Buffer.alloc(KV_LIMITS.valueBytes, 9);
      await store.commit(commit({ set: [{ key, value }] }));
      const ops = Array.from({ length: KV_LIMITS.commitOps }, (_, index) => row(`k${index}`, 'v'));
      await store.commit(commit({ set: ops }));
      assert.deepEqual((await store.get([key]))[0]?.value, value);
      const page = await store.range({ start: bytes('k'), end: bytes('l'), limit: 1000 });
      assert.equal(page.length, 1000);
      await store.close();
    });

    it('hands out bytes that later calls never change', async () => {
      const store = open();
      await store.commit(commit({ set: [row('a', 'aaaa'), row('b', 'bbbb')] }));
      const [a] = await store.get([bytes('a')]);
      const [, b] = await store.range({ start: bytes('a'), end: bytes('c'), limit: 10 });
      await store.commit(commit({ set: [row('a', 'cccc'), row('b', 'dddd')] }));
      await store.get([bytes('b'), bytes('a')]);
      await store.range({ start: bytes('a'), end: bytes('c'), limit: 10 });
      assert.deepEqual([textOf(a), textOf(b)], ['aaaa', 'bbbb']);
      await store.close();
    });

    it('lets exactly one of many racing creations win', async () => {
      const store = open();
      for (let round = 0; round < 20; round++) {
        const key = bytes(`key${round}`);
        const results = await Promise.all(
          Array.from({ length: 32 }, (_, index) =>
            store.commit(
              commit({
                checks: [{ key, stamp: null }],
                set: [{ key, value: bytes(String(index)) }],
              }),
            ),
          ),
        );
        const winners = results.flatMap((result, index) => (result.committed ? [index] : []));
        assert.equal(winners.length, 1);
        assert.equal(textOf((await store.get([key]))[0]), String(winners[0]));
      }
      await store.close();
    });

    it('loses no increment of concurrent workers that check and set', async () => {
      const store = open();
      const keys = [bytes('x'), bytes('y')];
      let successes = 0;
      let conflicts = 0;
      const worker = async (): Promise<void> => {
        for (let turn = 0; turn < 25; turn++) {
          const [x, y] = await store.get(keys);
          // Both keys are always written together: one snapshot must show them equal.
          assert.equal(textOf(x), textOf(y));
          const value = bytes(String(Number(textOf(x) ?? 0) + 1));
          const result = await store.commit(
            commit({
              checks: [
                { key: bytes('x'), stamp: x?.stamp ?? null },
                { key: bytes('y'), stamp: y?.stamp ?? null },
              ],
              set: keys.map((key) => ({ key, value })),
            }),
          );
          if (result.committed) successes += 1;
          else conflicts += 1;
        }
      };
      await Promise.all(Array.from({ length: 16 }, worker));
      assert.equal(textOf((await store.get(keys))[0]), String(successes));
      assert.equal(successes + conflicts, 16 * 25);
      await store.close();
    });

    it('shows an acknowledged commit to every read that begins later', async () => {
      const store = open();
      const worker = async (name: string): Promise<void> => {
        for (let turn = 0; turn < 50; turn++) {
          await store.commit(commit({ set: [row(name, String(turn))] }));
          assert.equal(textOf((await store.get([bytes(name)]))[0]), String(turn));
          const [entry] = await store.range({
            start: bytes(name),
            end: bytes(`${name}\0`),
            limit: 1,
          });
          assert.equal(textOf(entry), String(turn));
        }
      };
      await Promise.all(['a', 'b', 'c', 'd'].map(worker));
      await store.close();
    });

    it('answers unavailable after it was closed', async () => {
      const store = open();
      await store.close();
      const closed = (error: unknown) => isFailure(error, 'unavailable');
      await assert.rejects(store.get([bytes('a')]), closed);
      await assert.rejects(store.commit(commit({ set: [row('a', '')] })), closed);
    });
  });
}

/* ------------------------------------------------------------------ the engines agree */

const keyArbitrary = fc
  .uint8Array({ minLength: 1, maxLength: 3, max: 3 })
  .map((key) => Buffer.from(key));
const boundArbitrary = fc
  .uint8Array({ minLength: 0, maxLength: 3, max: 3 })
  .map((key) => Buffer.from(key));

type Action =
  | { kind: 'get'; key: Buffer }
  | { kind: 'range'; start: Buffer; end: Buffer; limit: number; reverse: boolean }
  | {
      kind: 'commit';
      check: 'fresh' | 'stale' | 'absent' | 'none';
      keys: Buffer[];
      del: Buffer[];
      add: Buffer[];
    };

const actionArbitrary: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant('get' as const), key: keyArbitrary }),
  fc.record({
    kind: fc.constant('range' as const),
    start: boundArbitrary,
    end: boundArbitrary,
    limit: fc.integer({ min: 1, max: 6 }),
    reverse: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('commit' as const),
    check: fc.constantFrom('fresh', 'stale', 'absent', 'none'),
    keys: fc.array(keyArbitrary, { minLength: 1, maxLength: 3 }),
    del: fc.array(keyArbitrary, { maxLength: 2 }),
    add: fc.array(keyArbitrary, { maxLength: 2 }),
  }),
);

/** Commits of one step arrive together, so that LMDB packs them into one batch. */
async function play(store: KeyValueStore, steps: Action[][]): Promise<unknown[]> {
  let made = 0;
  const lastStamp = new Map<string, Buffer>();
  const outcome = async (action: Action): Promise<unknown> => {
    if (action.kind === 'get') return await store.get([action.key]);
    if (action.kind === 'range') return await store.range(action);
    const id = Buffer.alloc(STAMP_BYTES);
    id.writeUInt32BE(++made, 0);
    const checks = action.keys.flatMap((key): Commit['checks'] => {
      const known = lastStamp.get(key.toString('hex'));
      if (action.check === 'none') return [];
      if (action.check === 'absent' || known === undefined) return [{ key, stamp: null }];
      return [{ key, stamp: action.check === 'fresh' ? known : Buffer.alloc(STAMP_BYTES) }];
    });
    const set = action.keys.map((key) => ({ key, value: Buffer.from(id) }));
    for (const key of action.keys) lastStamp.set(key.toString('hex'), id);
    const add = action.add.map((key) => ({
      key: Buffer.concat([bytes('counter'), key]),
      delta: BigInt(made),
    }));
    return await store.commit({ id, checks, set, del: action.del, add });
  };
  const outcomes: unknown[] = [];
  for (const step of steps) outcomes.push(await Promise.all(step.map(outcome)));
  const end = Buffer.from([255]);
  outcomes.push(await store.range({ start: Buffer.alloc(0), end, limit: 1000 }));
  return outcomes;
}

/** Reads and commits never share a step: which of them goes first is open. */
const stepArbitrary = fc.oneof(
  fc.array(
    actionArbitrary.filter((action) => action.kind === 'commit'),
    { minLength: 1, maxLength: 5 },
  ),
  fc.array(
    actionArbitrary.filter((action) => action.kind !== 'commit'),
    { minLength: 1, maxLength: 5 },
  ),
);

describe('the LMDB engine against the memory engine', () => {
  it('gives the same answers to the same calls, also for commits that share a batch', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(stepArbitrary, { maxLength: 20 }), async (steps) => {
        const folder = temporaryFolder();
        const lmdb = openTestLmdb(folder);
        const memory = createMemoryStore();
        assert.deepEqual(await play(lmdb, steps), await play(memory, steps));
        await lmdb.close();
        rmSync(folder, { recursive: true, force: true });
      }),
      { numRuns: 60 },
    );
  });
});
