/** What must end a storage node's process, and what happens to the calls that run then. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createManualClock } from '../base/testing-clock.ts';
import type { Environment, Table } from './environment.ts';
import { createMemoryEnvironment } from './memory-environment.ts';
import { encodeBlockKey } from './protocol.ts';
import { bytesOf, contentOf, keyOf, kind, storeOver } from './test-support.ts';

const key = encodeBlockKey(keyOf(1));
const content = contentOf(bytesOf(100, 1));

/** A store over a broken environment, on a clock of its own, with its deaths. */
function broken(part: Partial<Table>) {
  const sound = createMemoryEnvironment();
  const environment: Environment = { ...sound, blocks: { ...sound.blocks, ...part } };
  const clock = createManualClock();
  const deaths: string[] = [];
  const die = (reason: string): void => {
    deaths.push(reason);
  };
  const store = storeOver(environment, { clock, watchdogMs: 10_000, die });
  return { store, clock, deaths };
}

test('a failed commit is fatal, and its write is not acknowledged', async () => {
  const { store, deaths } = broken({ put: () => Promise.reject(new Error('Input/output error')) });
  await assert.rejects(store.put(key, content), kind('unavailable'));
  assert.deepEqual(deaths, ['a commit failed: Input/output error']);
  await assert.rejects(store.put(key, content), kind('unavailable'));
  await assert.rejects(store.get(key), kind('unavailable'));
  await assert.rejects(store.delete([key]), kind('unavailable'));
  assert.throws(() => store.has([key]), kind('unavailable'));
  assert.throws(() => store.stats(), kind('unavailable'));
  assert.equal(await store.close(), false);
  assert.equal(deaths.length, 1);
});

test('a write that does not settle is fatal after the watchdog time, not before', async () => {
  const { store, clock, deaths } = broken({ put: () => new Promise(() => {}) });
  const put = store.put(key, content);
  const refused = assert.rejects(put, kind('unavailable'));
  await clock.advance(9_999);
  assert.deepEqual(deaths, []);
  await clock.advance(1_001);
  assert.deepEqual(deaths, ['a write did not settle within 10000 ms']);
  await refused;
});

test('a process that stood still is not taken for a stuck write', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { store, clock, deaths } = broken({ put: () => promise });
  const put = store.put(key, content);
  await clock.advance(10_000);
  resolve();
  await put;
  await clock.advance(60_000);
  assert.deepEqual(deaths, []);
});

test('all writes of a failing store are told, and it dies once', async () => {
  const { store, clock, deaths } = broken({ put: () => new Promise(() => {}) });
  const puts = [1, 2, 3].map((index) => store.put(encodeBlockKey(keyOf(index)), content));
  const settled = Promise.allSettled(puts);
  await clock.advance(60_000);
  for (const outcome of await settled) assert.equal(outcome.status, 'rejected');
  assert.equal(deaths.length, 1);
});

test('an error that the store reports on reading is fatal', async () => {
  const { store, deaths } = broken({
    read: () => {
      throw new Error('MDB_CORRUPTED: Located page was wrong type');
    },
  });
  await assert.rejects(store.get(key), kind('unavailable'));
  assert.deepEqual(deaths, ['a read failed']);
});

test('a prefetch that never settles delays a read but does not hold it', async () => {
  const { store, clock, deaths } = broken({ prefetch: () => new Promise(() => {}) });
  await store.put(key, content);
  const cold = encodeBlockKey(keyOf(2));
  const missing = assert.rejects(store.get(cold), kind('not-found'));
  await clock.advance(10_000);
  await missing;
  assert.deepEqual(deaths, []);
});

test('a closing store lets writes finish and takes no more', async () => {
  const { store } = broken({});
  const put = store.put(key, content);
  const closed = store.close();
  await assert.rejects(store.put(encodeBlockKey(keyOf(2)), content), kind('unavailable'));
  await put;
  assert.equal(await closed, true);
});
