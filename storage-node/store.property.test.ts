/** Random commands against the block store and a plain Map. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { isFailure } from '../base/failure.ts';
import { INLINE_BYTES_MAX } from './block-format.ts';
import { createMemoryDisk, createMemoryEnvironment } from './memory-environment.ts';
import { encodeBlockKey } from './protocol.ts';
import type { BlockStore } from './store.ts';
import {
  bytesOf,
  contentOf,
  keyOf,
  lmdbStore,
  storeOver,
  temporaryFolder,
} from './test-support.ts';

type Command =
  | { do: 'put' | 'restore'; key: number; length: number; seed: number }
  | { do: 'get'; key: number; start: number; end: number }
  | { do: 'delete'; keys: number[] }
  | { do: 'reopen' };

const key = fc.nat({ max: 9 });
const length = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.integer({ min: INLINE_BYTES_MAX - 1, max: INLINE_BYTES_MAX + 2 }),
  fc.integer({ min: 60_000, max: 70_000 }),
);
const write = { key, length, seed: fc.nat({ max: 2 }) };
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('put', 'restore'), ...write }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('get'),
      key,
      start: fc.nat({ max: 70_000 }),
      end: fc.nat({ max: 70_000 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('delete'), keys: fc.array(key, { maxLength: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen') }) },
);

const encoded = (index: number): Buffer => encodeBlockKey(keyOf(index, index % 3));

async function outcomeOf<T>(work: Promise<T>): Promise<T | string> {
  try {
    return await work;
  } catch (error) {
    if (isFailure(error)) return error.kind;
    throw error;
  }
}

type Model = Map<number, Buffer>;

async function apply(store: BlockStore, model: Model, step: Command): Promise<void> {
  if (step.do === 'put' || step.do === 'restore') {
    const bytes = bytesOf(step.length, step.seed);
    const known = model.get(step.key);
    const expected = known === undefined || known.equals(bytes) ? undefined : 'conflict';
    if (expected === undefined) model.set(step.key, bytes);
    assert.equal(await outcomeOf(store[step.do](encoded(step.key), contentOf(bytes))), expected);
  } else if (step.do === 'get') {
    const known = model.get(step.key);
    const { start, end } = step;
    const found = await outcomeOf(store.get(encoded(step.key), { start, end }));
    const whole = await outcomeOf(store.get(encoded(step.key)));
    if (known === undefined) {
      assert.equal(found, 'not-found');
      assert.equal(whole, 'not-found');
    } else {
      const inside = start < end && start < known.length;
      const bytes = typeof found === 'string' ? found : found.bytes;
      assert.deepEqual(bytes, inside ? known.subarray(start, end) : 'invalid');
      assert.deepEqual(typeof whole === 'string' ? whole : whole.bytes, known);
    }
  } else if (step.do === 'delete') {
    for (const one of step.keys) model.delete(one);
    await store.delete(step.keys.map(encoded));
  }
}

async function compareAll(store: BlockStore, model: Model): Promise<void> {
  for (const group of [0, 1, 2]) {
    const listed = await store.list({ group, limit: 1000 });
    const expected = [...model].filter(([index]) => index % 3 === group).sort(([a], [b]) => a - b);
    assert.deepEqual(
      listed.map((block) => [block.key, block.length]),
      expected.map(([index, bytes]) => [encoded(index), bytes.length]),
    );
  }
  assert.equal(store.stats().blocks, model.size);
}

/** Runs the steps; overlapping ones in bursts, as connections would send them. */
async function check(open: () => BlockStore, commands: Command[]): Promise<void> {
  const model: Model = new Map();
  let store = open();
  try {
    for (const step of commands) {
      if (step.do !== 'reopen') await apply(store, model, step);
      else {
        await store.close();
        store = open();
      }
    }
    await compareAll(store, model);
  } finally {
    await store.close();
  }
}

const commands = fc.array(command, { maxLength: 60 });

test('a block store over LMDB does what a Map would', async (context) => {
  const folder = temporaryFolder(context);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(commands, async (steps) => {
      const place = join(folder, String(run++));
      await check(() => lmdbStore(place), steps);
    }),
    { numRuns: 30 },
  );
});

test('a block store over memory does what a Map would', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (steps) => {
      const disk = createMemoryDisk();
      await check(() => storeOver(createMemoryEnvironment({ disk })), steps);
    }),
    { numRuns: 200 },
  );
});

test('a block store that lost power has every acknowledged block and no half of another', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ key, length, delete: fc.boolean() }), { minLength: 1, maxLength: 30 }),
      fc.nat({ max: 8 }),
      loseSomeWrites,
    ),
    { numRuns: 200 },
  );
});

interface Write {
  key: number;
  length: number;
  delete: boolean;
}

/** Commits `commits` batches of a burst of writes, then cuts the power. */
async function loseSomeWrites(writes: Write[], commits: number): Promise<void> {
  const disk = createMemoryDisk();
  const queued: (() => void)[] = [];
  const environment = createMemoryEnvironment({ disk, schedule: (one) => queued.push(one) });
  const store = storeOver(environment);
  const acknowledged = new Map<number, number | undefined>();
  const tried = new Map<number, Set<number | undefined>>();
  for (const [at, one] of writes.entries()) {
    const length = one.delete ? undefined : one.length;
    tried.set(one.key, (tried.get(one.key) ?? new Set()).add(length));
    const work = one.delete
      ? store.delete([encoded(one.key)])
      : store.put(encoded(one.key), contentOf(bytesOf(one.length, one.length)));
    work.then(
      () => acknowledged.set(one.key, length),
      () => {},
    );
    if (at % 4 === 3 && queued.length > 0 && commits-- > 0) {
      queued.shift()?.();
      await new Promise(setImmediate);
    }
  }
  await new Promise(setImmediate);
  environment.crash();
  const after = storeOver(createMemoryEnvironment({ disk }));
  for (const [index, lengths] of tried) {
    const found = await outcomeOf(after.get(encoded(index)));
    const length = typeof found === 'string' ? undefined : found.length;
    if (typeof found === 'string') assert.equal(found, 'not-found');
    else assert.deepEqual(found.bytes, bytesOf(found.length, found.length));
    if (acknowledged.has(index)) assert.equal(length, acknowledged.get(index));
    else assert.ok(length === undefined || lengths.has(length));
  }
}
