/** The chaos run's history tells good stores from bad ones. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLinearizable } from '../simulation/linearizable.ts';
import { type Entry, toOperation } from './history.ts';

/** An operation that takes the time from `call` to `call + 1.5`. */
function entry(op: Entry['op'], call: number, rest: Partial<Entry> = {}): Entry {
  const base: Entry = {
    client: 0,
    op,
    key: 'key',
    value: null,
    condition: undefined,
    call,
    return: call + 1.5,
    outcome: 'ok',
  };
  return { ...base, ...rest };
}

const verdict = (...entries: Entry[]): string => checkLinearizable(entries.map(toOperation));

test('of two creations at once one is refused', () => {
  const first = entry('put', 0, { value: 'v1', condition: '*' });
  const second = entry('put', 1, { value: 'v2', condition: '*' });
  assert.equal(verdict(first, second), 'violation');
  assert.equal(verdict(first, { ...second, outcome: 'refused' }), 'ok');
});

test('of two replacements of one value one is refused', () => {
  const made = entry('put', 0, { value: 'v1' });
  const first = entry('put', 2, { value: 'v2', condition: 'v1' });
  const second = entry('put', 3, { value: 'v3', condition: 'v1' });
  assert.equal(verdict(made, first, second), 'violation');
  assert.equal(verdict(made, { ...first, outcome: 'refused' }, second), 'ok');
});

test('what was written or deleted stays so', () => {
  const made = entry('put', 0, { value: 'v1' });
  const gone = entry('delete', 2);
  assert.equal(verdict(made, entry('get', 4)), 'violation');
  assert.equal(verdict(made, gone, entry('get', 4, { value: 'v1' })), 'violation');
  assert.equal(verdict(made, gone, entry('get', 4)), 'ok');
});

test('a write without an answer may have happened, even late, but only once', () => {
  const lost = entry('put', 0, { value: 'v1', outcome: 'unknown' });
  const seen = (call: number) => entry('get', call, { value: 'v1' });
  const nothing = (call: number) => entry('get', call);
  assert.equal(verdict(lost, nothing(2), seen(4)), 'ok');
  assert.equal(verdict(lost, nothing(2)), 'ok');
  assert.equal(verdict(lost, seen(2), nothing(4), seen(6)), 'violation');
});
