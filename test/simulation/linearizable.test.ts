/** The checker of histories is itself checked: against one that tries every order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkLinearizable, type Operation, type State } from './linearizable.ts';

/** Tries every order of every choice of what has happened. */
function naive(operations: readonly Operation[], state: State = null): boolean {
  if (operations.every((operation) => operation.optional)) return true;
  const first = Math.min(
    ...operations.map(({ optional, return: end }) => (optional ? Number.POSITIVE_INFINITY : end)),
  );
  return operations.some((operation) => {
    if (operation.call > first) return false;
    const after = operation.step(state);
    if (after === undefined) return false;
    const rest = operations.filter((other) => {
      if (other === operation) return false;
      // An optional one that had ended by then has not happened.
      return !(other.optional && other.return < operation.call);
    });
    return naive(rest, after);
  });
}

const operation = fc
  .record({
    kind: fc.constantFrom('write', 'read', 'delete', 'create', 'change'),
    value: fc.constantFrom('x', 'y'),
    call: fc.integer({ min: 0, max: 12 }),
    length: fc.integer({ min: 1, max: 6 }),
    unknown: fc.boolean(),
  })
  .map(({ kind, value, call, length, unknown }): Operation => {
    const optional = unknown && kind !== 'read';
    const step = (state: State): State | undefined => {
      switch (kind) {
        case 'write':
          return value;
        case 'read':
          return state === (value === 'y' ? null : value) ? state : undefined;
        case 'delete':
          return state === null ? undefined : null;
        case 'change':
          return state !== null && state !== value ? value : undefined;
        default:
          return state === null ? value : undefined;
      }
    };
    const end = optional && length > 3 ? Number.POSITIVE_INFINITY : call + length;
    const readOnly = kind === 'read';
    return { call, return: end, optional, step, text: `${kind} ${value}`, readOnly };
  });

test('the checker agrees with one that tries every order', () => {
  const verdicts = { ok: 0, violation: 0 };
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 8 }), (operations) => {
      const expected = naive(operations) ? 'ok' : 'violation';
      verdicts[expected]++;
      assert.equal(checkLinearizable(operations), expected);
    }),
    { numRuns: 6000 },
  );
  assert.ok(verdicts.ok > 300 && verdicts.violation > 300, JSON.stringify(verdicts));
});

test('a stale read is found', () => {
  const write = (call: number, value: string): Operation => ({
    call,
    return: call + 1,
    optional: false,
    step: () => value,
    text: `put ${value}`,
  });
  const read = (call: number, value: State): Operation => ({
    call,
    return: call + 1,
    optional: false,
    step: (state) => (state === value ? state : undefined),
    text: `read ${value}`,
  });
  assert.equal(checkLinearizable([write(0, 'x'), write(2, 'y'), read(4, 'y')]), 'ok');
  assert.equal(checkLinearizable([write(0, 'x'), write(2, 'y'), read(4, 'x')]), 'violation');
  assert.equal(checkLinearizable([write(0, 'x'), write(2, 'y'), read(4, null)]), 'violation');
});
