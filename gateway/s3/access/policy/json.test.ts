import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseStrictJson } from './json.ts';

test('JSON without repeated names is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (text) => {
      assert.deepEqual(parseStrictJson(text), JSON.parse(text));
    }),
    { numRuns: 1_000 },
  );
});

test('a name that comes twice in an object is refused, however it is written', () => {
  for (const text of [
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"x":[{"a":1, "b":{"a":1} ,"a"\n:2}]}',
    '{"a\\"b":1,"a\\"b":1}',
    '{"":1,"":1}',
  ]) {
    assert.throws(() => parseStrictJson(text), SyntaxError, text);
  }
});

test('the same name in different objects, and as a value, is no repetition', () => {
  for (const text of [
    '{"a":{"a":{"a":["a","a"]}},"b":"a"}',
    '[{"a":1},{"a":1}]',
    '{"a":"b:","b":"\\\\"}',
  ]) {
    assert.deepEqual(parseStrictJson(text), JSON.parse(text));
  }
});

test('white space of any length before the colon hides no repetition', () => {
  const gap = ' '.repeat(500);
  assert.throws(() => parseStrictJson(`{"a"${gap}:1,"a"${gap}:2}`), SyntaxError);
});
