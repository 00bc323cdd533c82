import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KV_LIMITS } from '../engine/kv.ts';
import {
  afterPrefix,
  afterUploadsOf,
  cutBound,
  garbageIdOf,
  garbageKey,
  garbageKeyOf,
  isVersion,
  justAfter,
  keyOfObject,
  nameOfUpload,
  numberOfPart,
  objectBounds,
  objectKey,
  partBounds,
  partKey,
  uploadKey,
  versionBounds,
  versionKey,
} from './keyspace.ts';

const HOSTILE = ['a', '/', '..', 'é', '😀', '\uffff', '\ue000', '\u0001', '\u0000', '\u0002', ' '];
const key = fc
  .array(fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'grapheme' })), {
    minLength: 1,
    maxLength: 6,
  })
  .map((pieces) => pieces.join(''))
  .filter((text) => text.length > 0 && text.isWellFormed());

const sign = (number: number) => Math.sign(number);

test('object keys sort as the UTF-8 bytes of the S3 keys and read back exactly', () => {
  fc.assert(
    fc.property(key, key, (left, right) => {
      assert.equal(keyOfObject(objectKey(9, left)), left);
      assert.equal(
        sign(Buffer.compare(objectKey(9, left), objectKey(9, right))),
        sign(Buffer.compare(Buffer.from(left), Buffer.from(right))),
      );
    }),
  );
});

test('the bounds of a prefix hold exactly the keys that begin with it', () => {
  fc.assert(
    fc.property(key, fc.oneof(key, fc.constant('')), (text, prefix) => {
      for (const candidate of [text, prefix + text]) {
        const row = objectKey(9, candidate);
        const { start, end } = objectBounds(9, prefix);
        const inside = Buffer.compare(start, row) <= 0 && Buffer.compare(row, end) < 0;
        assert.equal(inside, candidate.startsWith(prefix));
      }
    }),
  );
});

test('the bounds of a bucket with the highest number do not reach into other rows', () => {
  const { start, end } = objectBounds(0xffff_ffff, '');
  const row = objectKey(0xffff_ffff, '\uffff');
  assert.ok(Buffer.compare(start, row) <= 0 && Buffer.compare(row, end) < 0);
  assert.ok(Buffer.compare(end, Buffer.from('p')) <= 0);
  assert.deepEqual(afterPrefix(Buffer.from([1, 0xff])), Buffer.from([2]));
});

test('the worst key of 1,024 bytes stays within the limits of the store', () => {
  const worst = '\u0000'.repeat(1024);
  const uploadId = 'f'.repeat(44);
  assert.ok(objectKey(1, worst).length <= KV_LIMITS.keyBytes);
  const row = uploadKey(1, worst, uploadId);
  assert.ok(row.length <= KV_LIMITS.keyBytes);
  assert.ok(justAfter(row).length < 2150, 'a bound is cut behind every row');
  assert.ok(versionKey(1, worst, 'f'.repeat(32)).length <= KV_LIMITS.keyBytes);
  assert.deepEqual(nameOfUpload(row), { key: worst, uploadId });
});

test('a marker longer than any key is cut without moving any key to its other side', () => {
  fc.assert(
    fc.property(key, fc.integer({ min: 0, max: 3 }), (text, extra) => {
      const long = text.repeat(Math.ceil(1024 / Buffer.byteLength(text)) + extra);
      const bound = objectKey(1, long.repeat(3));
      const row = objectKey(1, text);
      assert.ok(cutBound(bound).length <= 2150);
      assert.equal(sign(Buffer.compare(row, cutBound(bound))), sign(Buffer.compare(row, bound)));
    }),
  );
});

test('uploads sort by key, then by id, and a longer key comes after all uploads of a shorter one', () => {
  fc.assert(
    fc.property(key, key, (text, more) => {
      const first = uploadKey(1, text, '0'.repeat(44));
      const last = uploadKey(1, text, 'f'.repeat(44));
      const longer = uploadKey(1, text + more, '0'.repeat(44));
      const after = afterUploadsOf(1, text);
      assert.ok(Buffer.compare(first, last) < 0 && Buffer.compare(last, after) < 0);
      assert.ok(Buffer.compare(after, longer) <= 0);
      assert.deepEqual(nameOfUpload(longer), { key: text + more, uploadId: '0'.repeat(44) });
    }),
  );
});

test('versions sort by key, then newest first, and their bounds hold those of one key', () => {
  fc.assert(
    fc.property(key, key, (text, more) => {
      const [newest, middle, oldest] = ['0', '7', 'f'].map((digit) =>
        versionKey(1, text, digit.repeat(32)),
      );
      assert.ok(newest !== undefined && middle !== undefined && oldest !== undefined);
      const inside = (row: Buffer, after?: string) => {
        const { start, end } = versionBounds(1, text, after);
        return Buffer.compare(start, row) <= 0 && Buffer.compare(row, end) < 0;
      };
      assert.deepEqual(
        [newest, middle, oldest].map((row) => inside(row)),
        [true, true, true],
      );
      const after = [newest, middle, oldest].map((row) => inside(row, '7'.repeat(32)));
      assert.deepEqual(after, [false, false, true]);
      assert.ok(!inside(versionKey(1, text + more, '0'.repeat(32))));
      assert.ok(Buffer.compare(oldest, versionKey(1, text + more, '0'.repeat(32))) < 0);
      assert.ok(!inside(versionKey(2, text, '0'.repeat(32))));
    }),
  );
  for (const wrong of ['', 'null', 'F'.repeat(32), '0'.repeat(31), '0'.repeat(33)]) {
    assert.equal(isVersion(wrong), false);
  }
});

test('part keys sort by number', () => {
  const id = 'ab'.repeat(22);
  const numbers = [1, 2, 255, 256, 9999, 10_000];
  const rows = numbers.map((number) => partKey(id, number));
  assert.deepEqual(
    [...rows].sort((left, right) => Buffer.compare(left, right)).map(numberOfPart),
    numbers,
  );
  const { start, end } = partBounds(id, 255);
  const inside = rows.filter(
    (row) => Buffer.compare(start, row) <= 0 && Buffer.compare(row, end) < 0,
  );
  assert.deepEqual(inside.map(numberOfPart), [256, 9999, 10_000]);
});

test('a garbage id names its key, and nothing else is taken for one', () => {
  const row = garbageKey(Buffer.alloc(16, 3), true);
  assert.deepEqual(garbageKeyOf(garbageIdOf(row)), row);
  for (const wrong of ['', 'zz', '42'.repeat(17), `${garbageIdOf(row)}00`]) {
    assert.throws(() => garbageKeyOf(wrong), { kind: 'invalid' });
  }
});
