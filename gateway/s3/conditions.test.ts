import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  COPY_SOURCE_PREFIX,
  evaluateReadConditions,
  parseDeleteCondition,
  parseWriteCondition,
} from './conditions.ts';
import { S3Error } from './errors.ts';
import { formatHttpDate, parseHttpDate } from './http-date.ts';

const OBJECT = { etag: 'abc', modifiedMs: Date.UTC(2026, 10, 20, 8, 0, 0, 700) };
const AT = formatHttpDate(OBJECT.modifiedMs);
const BEFORE = formatHttpDate(OBJECT.modifiedMs - 60_000);
const AFTER = formatHttpDate(OBJECT.modifiedMs + 60_000);

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'ok';
  } catch (error) {
    if (error instanceof S3Error) return String(error.status);
    throw error;
  }
}

interface Headers {
  match?: string;
  none?: string;
  modified?: string;
  unmodified?: string;
}

function judge({ match, none, modified, unmodified }: Headers, copy = false): string {
  const prefix = copy ? COPY_SOURCE_PREFIX : '';
  const headers = {
    [`${prefix}if-match`]: match,
    [`${prefix}if-none-match`]: none,
    [`${prefix}if-modified-since`]: modified,
    [`${prefix}if-unmodified-since`]: unmodified,
  };
  return codeOf(() => evaluateReadConditions(headers, OBJECT, prefix));
}

test('read conditions are judged in the order of RFC 9110', () => {
  for (const [headers, get, copy] of [
    [{}, 'ok', 'ok'],
    [{ match: '"abc"' }, 'ok', 'ok'],
    [{ match: 'abc' }, 'ok', 'ok'],
    [{ match: '*' }, 'ok', 'ok'],
    [{ match: '"x", "abc"' }, 'ok', 'ok'],
    [{ match: '"x"' }, '412', '412'],
    [{ match: 'W/"abc"' }, '412', '412'],
    [{ none: '"abc"' }, '304', '412'],
    [{ none: 'W/"abc"' }, '304', '412'],
    [{ none: '*' }, '304', '412'],
    [{ none: '"x"' }, 'ok', 'ok'],
    [{ unmodified: AT }, 'ok', 'ok'],
    [{ unmodified: AFTER }, 'ok', 'ok'],
    [{ unmodified: BEFORE }, '412', '412'],
    [{ modified: AT }, '304', '412'],
    [{ modified: AFTER }, '304', '412'],
    [{ modified: BEFORE }, 'ok', 'ok'],
    // An ETag header makes its date twin irrelevant.
    [{ match: '"abc"', unmodified: BEFORE }, 'ok', 'ok'],
    [{ none: '"x"', modified: AFTER }, 'ok', 'ok'],
    [{ none: '"abc"', modified: BEFORE }, '304', '412'],
    // 412 comes before 304.
    [{ match: '"x"', none: '"abc"' }, '412', '412'],
    [{ unmodified: BEFORE, modified: AFTER }, '412', '412'],
    // What is no date is no condition.
    [{ modified: 'yesterday', unmodified: '2026' }, 'ok', 'ok'],
  ] as const) {
    assert.equal(judge(headers), get, JSON.stringify(headers));
    assert.equal(judge(headers, true), copy, `copy ${JSON.stringify(headers)}`);
  }
});

test('304 carries the validators, 412 names the condition', () => {
  assert.throws(
    () => evaluateReadConditions({ 'if-none-match': '*' }, OBJECT),
    (error: S3Error) => {
      assert.deepEqual(error.headers, { ETag: '"abc"', 'Last-Modified': AT });
      return true;
    },
  );
  assert.throws(
    () => evaluateReadConditions({ 'if-match': '"x"' }, OBJECT),
    (error: S3Error) => error.details['Condition'] === 'If-Match',
  );
});

test('a write takes one If-None-Match or one If-Match, and refuses what it cannot decide', () => {
  assert.equal(parseWriteCondition({}), undefined);
  assert.deepEqual(parseWriteCondition({ 'if-none-match': '*' }), { ifNoneMatch: '*' });
  assert.deepEqual(parseWriteCondition({ 'if-none-match': '"abc"' }), { ifNoneMatch: 'abc' });
  assert.deepEqual(parseWriteCondition({ 'if-match': '"abc"' }), { ifMatch: 'abc' });
  assert.deepEqual(parseWriteCondition({ 'if-match': '*' }), { ifMatch: '*' });
  for (const headers of [
    { 'if-none-match': '"a", "b"' },
    { 'if-match': '"a"', 'if-none-match': '*' },
    { 'if-match': '"a", "b"' },
    { 'if-unmodified-since': AT },
  ]) {
    assert.equal(
      codeOf(() => parseWriteCondition(headers)),
      '501',
      JSON.stringify(headers),
    );
  }
  assert.equal(
    codeOf(() => parseWriteCondition({ 'if-match': '' })),
    '400',
  );
});

test('a delete takes an ETag, a size and a time', () => {
  assert.equal(parseDeleteCondition({}), undefined);
  assert.deepEqual(
    parseDeleteCondition({
      'if-match': '"abc"',
      'x-amz-if-match-size': '12',
      'x-amz-if-match-last-modified-time': AT,
    }),
    { ifMatch: 'abc', ifMatchSize: 12, ifMatchModifiedMs: parseHttpDate(AT) },
  );
  assert.equal(
    codeOf(() => parseDeleteCondition({ 'if-none-match': '*' })),
    '501',
  );
  assert.equal(
    codeOf(() => parseDeleteCondition({ 'x-amz-if-match-size': '-1' })),
    '400',
  );
  const headers = { 'x-amz-if-match-last-modified-time': 'soon' };
  assert.equal(
    codeOf(() => parseDeleteCondition(headers)),
    '400',
  );
});

test('the three forms of an HTTP date and ISO 8601 are the same moment', () => {
  const ms = Date.UTC(1994, 10, 6, 8, 49, 37);
  for (const text of [
    'Sun, 06 Nov 1994 08:49:37 GMT',
    'Sunday, 06-Nov-94 08:49:37 GMT',
    'Sun Nov  6 08:49:37 1994',
    'Sun, 06 Nov 1994 08:49:37 -0000',
    '1994-11-06T08:49:37Z',
    '1994-11-06T09:49:37.000+01:00',
  ]) {
    assert.equal(parseHttpDate(text), ms, text);
  }
  assert.equal(formatHttpDate(ms + 999), 'Sun, 06 Nov 1994 08:49:37 GMT');
  for (const text of [
    '',
    '0',
    '1994',
    'Sun, 06 Nov 1994',
    '06 Nov 1994 08:49:37 GMT',
    'Sun, 99 Nov 1994 08:49:37 GMT',
  ]) {
    assert.equal(parseHttpDate(text), undefined, text);
  }
});
