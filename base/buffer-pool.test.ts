import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BufferPool, freeChunk } from './buffer-pool.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

test('a recycled buffer is used again, at another length of the same size too', () => {
  const pool = new BufferPool(8 * MIB);
  const first = pool.take(MIB);
  assert.equal(first.length, MIB);
  pool.recycle(first);
  const second = pool.take(MIB - 100);
  assert.equal(second.buffer, first.buffer);
  assert.equal(second.length, MIB - 100);
  assert.equal(pool.freeBytes, 0);
});

test('any part of a buffer gives all of it back, once', () => {
  const pool = new BufferPool(8 * MIB);
  const whole = pool.take(MIB);
  pool.recycle(whole.subarray(10, 20));
  assert.equal(pool.freeBytes, MIB);
  pool.recycle(whole);
  assert.equal(pool.freeBytes, MIB);
  const one = pool.take(MIB);
  const other = pool.take(MIB);
  assert.notEqual(one.buffer, other.buffer);
});

test('memory of other origin is not taken in', () => {
  const pool = new BufferPool(8 * MIB);
  pool.recycle(Buffer.alloc(MIB));
  pool.recycle(new BufferPool(8 * MIB).take(MIB));
  pool.recycle(pool.take(1000));
  pool.recycle(pool.take(5 * MIB));
  assert.equal(pool.freeBytes, 0);
});

test('a kept buffer is never used again', () => {
  const pool = new BufferPool(8 * MIB);
  const bytes = pool.take(MIB);
  pool.keep(bytes.subarray(5));
  pool.recycle(bytes);
  assert.equal(pool.freeBytes, 0);
});

test('no more than the capacity is kept', () => {
  const pool = new BufferPool(3 * MIB);
  const taken = Array.from({ length: 5 }, () => pool.take(MIB));
  for (const bytes of taken) pool.recycle(bytes);
  assert.equal(pool.freeBytes, 3 * MIB);
});

test('no two owners ever share memory, whatever is taken, recycled and kept', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('take' as const), length: fc.integer({ min: 0, max: 2 * MIB }) }),
    fc.record({ kind: fc.constantFrom('recycle' as const, 'keep' as const), which: fc.nat(20) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pool = new BufferPool(4 * MIB);
      /** Buffers with an owner. A buffer that was given back may be recycled again by mistake. */
      const owned: Buffer[] = [];
      const kept: Buffer[] = [];
      for (const one of steps) {
        if (one.kind === 'take') {
          const bytes = pool.take(one.length);
          assert.equal(bytes.length, one.length);
          for (const other of [...owned, ...kept]) {
            assert.ok(bytes.length === 0 || other.buffer !== bytes.buffer);
          }
          owned.push(bytes);
        } else {
          const [bytes] = owned.splice(one.which, 1);
          if (bytes === undefined) continue;
          if (one.kind === 'keep') {
            pool.keep(bytes);
            kept.push(bytes);
          }
          pool.recycle(bytes);
        }
        assert.ok(pool.freeBytes >= 0 && pool.freeBytes <= 4 * MIB);
      }
    }),
  );
});

test('a chunk is freed when it is all of its buffer, and neither small nor of a pool', () => {
  const chunk = Buffer.allocUnsafeSlow(64 * KIB);
  freeChunk(chunk);
  assert.equal(chunk.length, 0);
  const whole = Buffer.alloc(64 * KIB, 1);
  const pooled = new BufferPool(MIB).take(64 * KIB).fill(2);
  const small = Buffer.allocUnsafeSlow(1000).fill(3);
  const shared = Buffer.from(new SharedArrayBuffer(64 * KIB)).fill(4);
  for (const bytes of [whole.subarray(1), whole.subarray(0, 32 * KIB), pooled, small, shared]) {
    const { length } = bytes;
    const [first] = bytes;
    freeChunk(bytes);
    assert.equal(bytes.length, length);
    assert.equal(bytes[0], first);
  }
});
