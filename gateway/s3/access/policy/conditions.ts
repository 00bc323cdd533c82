/** One line of a Condition element: from its text to a function of the request. */
import { malformedPolicy } from './malformed.ts';
import { normalizeKey } from './keys.ts';
import { OPERATORS, type Operator, ValueError, type ValueTest } from './operators.ts';
import { PatternError } from './pattern.ts';
import type { ConditionLookup } from './lookup.ts';
import type { Condition } from './policy.ts';

const OPERATOR = /^(?:(ForAllValues|ForAnyValue):)?([A-Za-z]+?)(IfExists)?$/;

/** Throws MalformedPolicy for an operator, key or value that cannot be. */
export function compileCondition(
  written: string,
  writtenKey: string,
  values: readonly string[],
  variables: boolean,
): Condition {
  const match = OPERATOR.exec(written);
  const operator = match?.[2] ?? '';
  const set = match?.[1] as Condition['set'];
  const ifExists = match?.[3] !== undefined;
  const key = normalizeKey(writtenKey);
  if (operator === 'Null' && (set !== undefined || ifExists)) throw unknownOperator(written);
  const spec = OPERATORS.get(operator);
  if (spec === undefined && operator !== 'Null') throw unknownOperator(written);
  if (key === undefined) throw malformedPolicy('Policy has an invalid condition key');
  const base = { operator, set, ifExists, key, values };
  if (spec === undefined) return { ...base, variables: [], holds: nullTest(key, values) };
  const tests = values.map((value) => compiled(spec, value, variables));
  const asked = tests.flatMap((test) => test.variables ?? []);
  return {
    ...base,
    variables: asked,
    holds: valueTest({ key, set, ifExists, negated: spec.negated }, tests),
  };
}

function unknownOperator(written: string): Error {
  return malformedPolicy(`Invalid Condition type : ${written.slice(0, 100)}`);
}

function compiled(spec: Operator, value: string, variables: boolean): ValueTest {
  try {
    return spec.compile(value, variables);
  } catch (error) {
    if (!(error instanceof ValueError) && !(error instanceof PatternError)) throw error;
    throw malformedPolicy(`Invalid condition value: ${error.message}`.slice(0, 200));
  }
}

/** `Null`: true means that the key must have no value. */
function nullTest(key: string, values: readonly string[]): (lookup: ConditionLookup) => boolean {
  const wanted = values.map((value) => {
    const lower = value.toLowerCase();
    if (lower !== 'true' && lower !== 'false') {
      throw malformedPolicy(`Invalid condition value: ${value.slice(0, 100)} is not a boolean`);
    }
    return lower === 'true';
  });
  return (lookup) => wanted.includes((lookup(key) ?? []).length === 0);
}

/**
 * Without a set prefix, a request with several values is taken as a set of which one must fit, or
 * none for a negated operator. A key without a value fits nothing: false, and true when negated.
 */
function valueTest(
  rule: Pick<Condition, 'key' | 'set' | 'ifExists'> & { negated: boolean },
  tests: readonly ValueTest[],
): (lookup: ConditionLookup) => boolean {
  const { key, set, ifExists, negated } = rule;
  return (lookup) => {
    const actual = lookup(key);
    if (actual === undefined || actual.length === 0) {
      if (ifExists || set === 'ForAllValues') return true;
      return set === undefined && negated;
    }
    const fits = (value: string): boolean => tests.some(({ test }) => test(value, lookup));
    if (set === 'ForAllValues') return actual.every((value) => fits(value) !== negated);
    if (set === 'ForAnyValue') return actual.some((value) => fits(value) !== negated);
    return actual.some(fits) !== negated;
  };
}
