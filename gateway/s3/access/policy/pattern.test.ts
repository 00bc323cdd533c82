import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { normalizeKey } from './keys.ts';
import type { ConditionLookup } from './lookup.ts';
import {
  canBe,
  canContinue,
  compilePattern,
  matches,
  matchesIgnoringCase,
  PatternError,
  variablesOf,
} from './pattern.ts';

const none: ConditionLookup = () => undefined;

function like(source: string, text: string, lookup = none): boolean {
  const pattern = compilePattern(source, { wildcards: true, variables: true }, normalizeKey);
  return matches(pattern, text, lookup);
}

/** By the definition, character by character; exponential, so for short texts only. */
function naive(pattern: readonly string[], text: readonly string[]): boolean {
  const [head, ...rest] = pattern;
  if (head === undefined) return text.length === 0;
  if (head === '*') {
    return naive(rest, text) || (text.length > 0 && naive(pattern, text.slice(1)));
  }
  return text.length > 0 && (head === '?' || head === text[0]) && naive(rest, text.slice(1));
}

test('a pattern matches what a naive reading of it matches', () => {
  const letters = fc.constantFrom('a', 'b', '😀', '\ud83d\ude01', '/');
  fc.assert(
    fc.property(
      fc.array(fc.oneof(letters, fc.constantFrom('*', '?', '*')), { maxLength: 9 }),
      fc.array(letters, { maxLength: 9 }),
      (pattern, text) => {
        assert.equal(like(pattern.join(''), text.join('')), naive(pattern, text));
      },
    ),
    { numRuns: 3_000 },
  );
});

test('a pattern matches every text that is made from it', () => {
  const piece = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 5 }).map((text) => {
      const plain = text.replace(/[*?$]/g, 'x');
      return { pattern: plain, text: plain };
    }),
    fc.string({ unit: 'grapheme', maxLength: 8 }).map((text) => ({ pattern: '*', text })),
    fc
      .string({ unit: 'binary', minLength: 1, maxLength: 1 })
      .map((text) => ({ pattern: '?', text })),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const pattern = pieces.map((part) => part.pattern).join('');
      assert.ok(like(pattern, pieces.map((part) => part.text).join('')));
    }),
  );
});

test('a hostile pattern costs no more than its length times that of the text', () => {
  const text = 'a'.repeat(1_024);
  for (const pattern of [
    '*a'.repeat(500) + 'b',
    '*?a'.repeat(300) + 'b',
    '*aaaaaaaaab'.repeat(90),
  ]) {
    // With backtracking over every star this would outlive the universe.
    assert.equal(like(pattern, text), false);
  }
  assert.equal(like('*a'.repeat(1_024), text), true);
  assert.equal(like('*a'.repeat(1_025), text), false);
});

test('a variable stands for the one value of its key, and stars in that are no wildcards', () => {
  const lookup: ConditionLookup = (key) =>
    ({ 'aws:username': ['a*b'], 'aws:userid': ['1', '2'] })[key];
  assert.ok(like('home/${aws:username}/*', 'home/a*b/x', lookup));
  assert.equal(like('home/${aws:username}/*', 'home/axb/x', lookup), false);
  assert.equal(like('home/${aws:userid}', 'home/1', lookup), false, 'two values are no value');
  assert.equal(like('home/${aws:PrincipalArn}', 'home/', lookup), false, 'no value fits nothing');
  assert.ok(like("home/${aws:PrincipalArn, 'guest'}", 'home/guest', lookup));
  assert.ok(like("home/${AWS:UserName,'guest'}", 'home/a*b', lookup), 'case of keys is no matter');
});

test('${*}, ${?} and ${$} stand for themselves', () => {
  assert.ok(like('a${*}b', 'a*b'));
  assert.equal(like('a${*}b', 'axb'), false);
  assert.ok(like('a${?}${$}', 'a?$'));
  assert.ok(like('cost$5', 'cost$5'), 'a lone dollar is a dollar');
});

test('variables that cannot be are refused', () => {
  for (const source of [
    '${',
    '${aws:username',
    '${}',
    '${aws:nonsense}',
    '${s3:ExistingObjectTag/}',
  ]) {
    assert.throws(() => like(source, ''), PatternError, source);
  }
  assert.throws(() => like('\ud800', ''), PatternError);
});

test('without variables and wildcards everything is text', () => {
  const pattern = compilePattern('${*}?', { wildcards: false, variables: false }, normalizeKey);
  assert.ok(matches(pattern, '${*}?', none));
  assert.equal(matches(pattern, '*?', none), false);
});

test('comparing without case keeps wildcards and variables', () => {
  const pattern = compilePattern(
    'Tag-${aws:username}',
    { wildcards: false, variables: true },
    normalizeKey,
  );
  assert.ok(matchesIgnoringCase(pattern, 'TAG-bob', () => ['BOB']));
});

test('canBe and canContinue agree with what a pattern matches', () => {
  const letters = fc.constantFrom('a', 'b', '/');
  fc.assert(
    fc.property(
      fc.array(fc.oneof(letters, fc.constantFrom('*', '?')), { maxLength: 7 }),
      fc.array(letters, { maxLength: 4 }),
      (pattern, prefix) => {
        const source = pattern.join('');
        const start = prefix.join('');
        const compiled = compilePattern(
          source,
          { wildcards: true, variables: false },
          normalizeKey,
        );
        assert.equal(canBe(compiled, start), like(source, start));
        const more = ['a', 'b', '/'].flatMap((one) =>
          ['', 'a', 'b', '/'].flatMap((two) =>
            ['', 'a', 'b', '/', 'ab/ab/'].map((x) => one + two + x),
          ),
        );
        if (more.some((text) => like(source, start + text)))
          assert.ok(canContinue(compiled, start));
      },
    ),
    { numRuns: 2_000 },
  );
  const fixed = compilePattern('ab', { wildcards: true, variables: false }, normalizeKey);
  assert.equal(canContinue(fixed, 'ab'), false);
  assert.equal(canContinue(fixed, 'b'), false);
});

test('the variables of a pattern are known by their normalized keys', () => {
  const pattern = compilePattern(
    '${aws:UserName}/${s3:ExistingObjectTag/Team}',
    { wildcards: true, variables: true },
    normalizeKey,
  );
  assert.deepEqual(variablesOf(pattern), ['aws:username', 's3:existingobjecttag/Team']);
});
