import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { S3Error } from './errors.ts';
import { contentRange, parseRange, resolveRange } from './range.ts';

function bytes(header: string, size: number): [number, number] | 'whole' | 416 {
  const spec = parseRange(header);
  if (spec === undefined) return 'whole';
  try {
    const { start, end } = resolveRange(spec, size, header);
    return [start, end];
  } catch (error) {
    if (error instanceof S3Error && error.code === 'InvalidRange') return error.status as 416;
    throw error;
  }
}

test('a range selects bytes, an open end and a suffix reach to the last one', () => {
  for (const [header, size, expected] of [
    ['bytes=0-0', 10, [0, 1]],
    ['bytes=2-5', 10, [2, 6]],
    ['bytes=2-', 10, [2, 10]],
    ['bytes=9-9', 10, [9, 10]],
    ['bytes=5-99', 10, [5, 10]],
    ['bytes=-3', 10, [7, 10]],
    ['bytes=-99', 10, [0, 10]],
    ['BYTES = 2 - 5', 10, [2, 6]],
    ['bytes=0-99999999999999999999', 10, [0, 10]],
    ['bytes=10-', 10, 416],
    ['bytes=99999999999999999999-', 10, 416],
    ['bytes=-0', 10, 416],
    ['bytes=0-', 0, 416],
    ['bytes=-5', 0, 416],
    ['bytes=0-0', 0, 416],
  ] as const) {
    assert.deepEqual(bytes(header, size), expected, header);
  }
});

test('nonsense, other units and several ranges mean the whole object', () => {
  for (const header of [
    'bytes=5-2',
    'bytes=-',
    'bytes=a-b',
    'bytes=1-2,4-5',
    'items=0-5',
    'bytes 0-5',
    'bytes=+1-5',
    'bytes=0x1-5',
    '',
  ]) {
    assert.equal(bytes(header, 10), 'whole', header);
  }
  assert.equal(parseRange(undefined), undefined);
});

test('an unsatisfiable range says how long the object is', () => {
  assert.throws(
    () => resolveRange({ start: 7 }, 5, 'bytes=7-'),
    (error: S3Error) => {
      assert.deepEqual(error.details, { RangeRequested: 'bytes=7-', ActualObjectSize: '5' });
      assert.deepEqual(error.headers, { 'Content-Range': 'bytes */5' });
      return true;
    },
  );
});

test('a resolved range is never empty and lies inside the object', () => {
  const numbers = fc.nat(40);
  fc.assert(
    fc.property(numbers, numbers, fc.integer({ min: 1, max: 30 }), (first, last, size) => {
      for (const header of [`bytes=${first}-${last}`, `bytes=${first}-`, `bytes=-${last}`]) {
        const found = bytes(header, size);
        if (typeof found !== 'object') continue;
        assert.ok(found[0] >= 0 && found[0] < found[1] && found[1] <= size, header);
        const written = contentRange({ start: found[0], end: found[1] }, size);
        assert.deepEqual(bytes(written.replace(' ', '=').replace(/\/.*/, ''), size), found);
      }
    }),
  );
});
