import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isFailure } from '../../base/failure.ts';
import { ByteBudget } from './byte-budget.ts';

test('the budget is never exceeded and everyone is served in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 10 }), { maxLength: 50 }),
      async (sizes) => {
        const budget = new ByteBudget(10);
        const served: number[] = [];
        const work = sizes.map(async (bytes, index) => {
          await budget.acquire(bytes);
          served.push(index);
          assert.ok(budget.used <= 10);
          await Promise.resolve();
          budget.release(bytes);
        });
        await Promise.all(work);
        assert.deepEqual(served, [...sizes.keys()]);
        assert.equal(budget.used, 0);
      },
    ),
  );
});

test('a request that is over the whole budget is served alone', async () => {
  const budget = new ByteBudget(10);
  assert.ok(budget.tryAcquire(1));
  let served = false;
  const big = budget.acquire(100).then(() => {
    served = true;
  });
  await Promise.resolve();
  assert.equal(served, false);
  budget.release(1);
  await big;
  assert.equal(budget.tryAcquire(1), false);
});

test('nobody overtakes those who wait', async () => {
  const budget = new ByteBudget(10);
  assert.ok(budget.tryAcquire(8));
  const waiting = budget.acquire(5);
  assert.equal(budget.tryAcquire(1), false);
  budget.release(8);
  await waiting;
  assert.ok(budget.tryAcquire(1));
});

test('giving up a place in the queue lets the next ones through', async () => {
  const budget = new ByteBudget(10);
  assert.ok(budget.tryAcquire(5));
  const controller = new AbortController();
  const big = budget.acquire(9, controller.signal);
  const small = budget.acquire(2);
  controller.abort();
  await assert.rejects(big, (error) => isFailure(error, 'cancelled'));
  await small;
  assert.equal(budget.used, 7);
});
