/**
 * The condition operators: how a value of a policy is compared with one of a request.
 *
 * Source: IAM User Guide, "IAM JSON policy elements: Condition operators".
 */
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { compilePattern, matches, matchesIgnoringCase, variablesOf } from './pattern.ts';
import { normalizeKey } from './keys.ts';
import type { ConditionLookup } from './lookup.ts';

/** Compares one value of a request with the value of the policy that it was made of. */
export interface ValueTest {
  /** Keys of the variables in it. */
  variables?: readonly string[];
  test(actual: string, lookup: ConditionLookup): boolean;
}

export interface Operator {
  /** `…Not…`: holds when no value fits. */
  negated: boolean;
  /** Throws ValueError for a value that cannot be compared with. */
  compile(value: string, variables: boolean): ValueTest;
}

/** A value that an operator cannot take. */
export class ValueError extends Error {}

type Compile = Operator['compile'];

const text =
  (wildcards: boolean): Compile =>
  (value, variables) => {
    const pattern = compilePattern(value, { wildcards, variables }, normalizeKey);
    return {
      variables: variablesOf(pattern),
      test: (actual, lookup) => matches(pattern, actual, lookup),
    };
  };

const textIgnoringCase: Compile = (value, variables) => {
  const pattern = compilePattern(value, { wildcards: false, variables }, normalizeKey);
  return {
    variables: variablesOf(pattern),
    test: (actual, lookup) => matchesIgnoringCase(pattern, actual, lookup),
  };
};

const ARN_PARTS = 6;

/** Each of the six parts is compared by itself; ArnEquals and ArnLike are the same. */
const arn: Compile = (value, variables) => {
  const patterns = splitArn(value).map((part) =>
    compilePattern(part, { wildcards: true, variables }, normalizeKey),
  );
  if (patterns.length !== ARN_PARTS) throw new ValueError(`${value} is not an ARN`);
  return {
    variables: patterns.flatMap(variablesOf),
    test(actual, lookup) {
      const parts = splitArn(actual);
      return (
        parts.length === ARN_PARTS &&
        patterns.every((pattern, index) => matches(pattern, parts[index] ?? '', lookup))
      );
    },
  };
};

/** At the first five colons outside variables: the last part may hold more of them. */
function splitArn(value: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (let at = 0; at < value.length && parts.length < ARN_PARTS - 1; at++) {
    if (value.startsWith('${', at)) {
      const end = value.indexOf('}', at);
      if (end > 0) at = end;
    } else if (value[at] === ':') {
      parts.push(value.slice(start, at));
      start = at + 1;
    }
  }
  return [...parts, value.slice(start)];
}

const NUMBER = /^[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})$/;

const numeric =
  (holds: (actual: number, value: number) => boolean): Compile =>
  (value) => {
    if (!NUMBER.test(value)) throw new ValueError(`${value} is not a number`);
    const number = Number(value);
    return { test: (actual) => NUMBER.test(actual) && holds(Number(actual), number) };
  };

const ISO_DATE =
  /^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:[0-9]{2}))?$/;

/** Milliseconds since the epoch of an ISO 8601 date or of seconds since then. */
function dateOf(value: string): number {
  if (ISO_DATE.test(value)) return Date.parse(value);
  return /^[0-9]{1,13}(?:\.[0-9]{1,9})?$/.test(value) ? Number(value) * 1_000 : Number.NaN;
}

const date =
  (holds: (actual: number, value: number) => boolean): Compile =>
  (value) => {
    const time = dateOf(value);
    if (Number.isNaN(time)) throw new ValueError(`${value} is not a date`);
    // Comparing with what is no number is always false.
    return {
      test(actual) {
        const other = dateOf(actual);
        return !Number.isNaN(other) && holds(other, time);
      },
    };
  };

const bool: Compile = (value) => {
  const wanted = value.toLowerCase();
  if (wanted !== 'true' && wanted !== 'false') throw new ValueError(`${value} is not a boolean`);
  return { test: (actual) => actual.toLowerCase() === wanted };
};

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const binary: Compile = (value) => {
  if (!BASE64.test(value)) throw new ValueError(`${value} is not base64`);
  return { test: (actual) => actual === value };
};

/** A CIDR range or a single address, RFC 4632 and RFC 4291. */
const address: Compile = (value) => {
  const list = new BlockList();
  const { network, family, prefix } = parseCidr(value);
  list.addSubnet(network, prefix, family);
  return {
    test(actual) {
      const plain = plainAddress(actual);
      if (isIPv4(plain)) return family === 'ipv4' && list.check(plain, 'ipv4');
      return isIPv6(plain) && family === 'ipv6' && list.check(plain, 'ipv6');
    },
  };
};

/** Throws ValueError. */
export function parseCidr(value: string): {
  network: string;
  family: 'ipv4' | 'ipv6';
  prefix: number;
} {
  const slash = value.indexOf('/');
  const network = slash < 0 ? value : value.slice(0, slash);
  const family = isIPv4(network) ? 'ipv4' : isIPv6(network) ? 'ipv6' : undefined;
  if (family === undefined || network.includes('%')) {
    throw new ValueError(`${value} is not an IP address`);
  }
  const bits = family === 'ipv4' ? 32 : 128;
  const length = slash < 0 ? String(bits) : value.slice(slash + 1);
  if (!/^[0-9]{1,3}$/.test(length) || Number(length) > bits) {
    throw new ValueError(`${value} is not a CIDR block`);
  }
  return { network, family, prefix: Number(length) };
}

/** A socket of both families shows IPv4 peers as `::ffff:192.0.2.1`; a scope is no part of it. */
export function plainAddress(address: string): string {
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const scope = address.indexOf('%');
  return scope < 0 ? address : address.slice(0, scope);
}

const is = (compile: Compile): Operator => ({ negated: false, compile });
const isNot = (compile: Compile): Operator => ({ negated: true, compile });

const equal = (actual: number, value: number): boolean => actual === value;
const less = (actual: number, value: number): boolean => actual < value;
const notMore = (actual: number, value: number): boolean => actual <= value;
const more = (actual: number, value: number): boolean => actual > value;
const notLess = (actual: number, value: number): boolean => actual >= value;

/** All but `Null`, which asks whether there is a value at all. */
export const OPERATORS: ReadonlyMap<string, Operator> = new Map([
  ['StringEquals', is(text(false))],
  ['StringNotEquals', isNot(text(false))],
  ['StringEqualsIgnoreCase', is(textIgnoringCase)],
  ['StringNotEqualsIgnoreCase', isNot(textIgnoringCase)],
  ['StringLike', is(text(true))],
  ['StringNotLike', isNot(text(true))],
  ['NumericEquals', is(numeric(equal))],
  ['NumericNotEquals', isNot(numeric(equal))],
  ['NumericLessThan', is(numeric(less))],
  ['NumericLessThanEquals', is(numeric(notMore))],
  ['NumericGreaterThan', is(numeric(more))],
  ['NumericGreaterThanEquals', is(numeric(notLess))],
  ['DateEquals', is(date(equal))],
  ['DateNotEquals', isNot(date(equal))],
  ['DateLessThan', is(date(less))],
  ['DateLessThanEquals', is(date(notMore))],
  ['DateGreaterThan', is(date(more))],
  ['DateGreaterThanEquals', is(date(notLess))],
  ['Bool', is(bool)],
  ['BinaryEquals', is(binary)],
  ['IpAddress', is(address)],
  ['NotIpAddress', isNot(address)],
  ['ArnEquals', is(arn)],
  ['ArnLike', is(arn)],
  ['ArnNotEquals', isNot(arn)],
  ['ArnNotLike', isNot(arn)],
]);
