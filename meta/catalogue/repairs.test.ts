import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkInvariants, worldWithBucket } from './test-support.ts';

async function worldWithRepairs(blobs: number) {
  const world = await worldWithBucket();
  const { repairs } = world.catalogue;
  for (let n = 0; n < blobs; n++) {
    const { data } = await world.put('b', `k${n}`);
    assert.ok(data.kind === 'blob');
    const reports = ['node-1', 'node-2'].map((node) => ({
      blob: data.blob,
      node,
      reason: 'missing' as const,
    }));
    await repairs.report(n % 2 === 0 ? reports : reports.slice(1));
  }
  return { ...world, repairs };
}

test('the repair queue is read page by page and entries are taken off, each once', async () => {
  const { repairs, store } = await worldWithRepairs(20);
  const seen: string[] = [];
  let after: Buffer | undefined;
  do {
    const { entries, next } = await repairs.next(7, after);
    seen.push(...entries.map(({ blob, node }) => `${blob} ${node}`));
    await Promise.all([repairs.drop(entries.slice(1)), repairs.drop(entries.slice(1))]);
    after = next;
  } while (after !== undefined);
  assert.equal(seen.length, 30);
  assert.deepEqual(seen, [...new Set(seen)].sort());
  assert.equal(await repairs.depth(), 5);
  assert.equal((await repairs.next(1000)).entries.length, 5);
  await checkInvariants(store);
});

test('a repair that is reported again while it is worked on stays in the queue', async () => {
  const { repairs } = await worldWithRepairs(2);
  const { entries } = await repairs.next(100);
  const [first] = entries;
  assert.ok(first);
  await repairs.report([{ blob: first.blob, node: first.node, reason: first.reason }]);
  await repairs.drop(entries);
  const left = (await repairs.next(100)).entries;
  assert.deepEqual(
    left.map(({ blob, node, reason }) => [blob, node, reason]),
    [[first.blob, first.node, 'missing']],
  );
});

test('blobs are read in pages, in order, and by name', async () => {
  const { catalogue, put } = await worldWithBucket();
  for (let n = 0; n < 9; n++) await put('b', `k${n}`, 10 + n);
  const first = await catalogue.blobs.page(5);
  const rest = await catalogue.blobs.page(5, first.at(-1)?.blob);
  assert.deepEqual([first.length, rest.length], [5, 4]);
  assert.deepEqual(
    [...first, ...rest].map(({ size }) => size).sort((a, b) => a - b),
    [10, 11, 12, 13, 14, 15, 16, 17, 18],
  );
  const names = [...first, ...rest].map(({ blob }) => blob);
  assert.deepEqual(names, [...names].sort());
  assert.deepEqual(await catalogue.blobs.get(names), [...first, ...rest]);
  const [gone] = first;
  assert.ok(gone);
  await catalogue.deleteObject({ bucket: 'b', key: `k${gone.size - 10}` });
  assert.equal(await catalogue.blobs.stands(gone.blob), false);
});
