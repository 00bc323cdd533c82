/** Random statements against a second reading of the language, as naive as can be. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { evaluate } from './evaluate.ts';
import { parsePolicy } from './parse.ts';
import type { PolicyPrincipal } from './policy.ts';

const BUCKET = 'arn:aws:s3:::photos';

interface Written {
  Effect: 'Allow' | 'Deny';
  Principal?: unknown;
  NotPrincipal?: unknown;
  Action?: string[];
  NotAction?: string[];
  Resource?: string[];
  NotResource?: string[];
  Condition: Record<string, Record<string, string[]>>;
}

interface Asked {
  who: PolicyPrincipal | undefined;
  action: string;
  resource: string;
  context: Readonly<Record<string, readonly string[]>>;
}

const regex = (pattern: string, flags = ''): RegExp =>
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')}$`,
    `su${flags}`,
  );

function names(principal: unknown, who: PolicyPrincipal | undefined): boolean {
  if (principal === '*') return true;
  const list = Object.values(principal as Record<string, string[]>).flat();
  const known = who && [
    who.arn,
    who.accountNumber,
    who.canonicalId,
    `arn:aws:iam::${who.accountNumber}:root`,
  ];
  return list.includes('*') || list.some((name) => known?.includes(name));
}

const COMPARE: Readonly<Record<string, (actual: string, value: string) => boolean>> = {
  StringEquals: (actual, value) => actual === value,
  StringLike: (actual, value) => regex(value).test(actual),
  Bool: (actual, value) => actual.toLowerCase() === value.toLowerCase(),
  NumericLessThan: (actual, value) => Number(actual) < Number(value),
};

function holds(operator: string, actual: readonly string[] | undefined, values: string[]): boolean {
  const [, set, name = '', ifExists] = /^(?:(\w+):)?(\w+?)(IfExists)?$/.exec(operator) ?? [];
  if (name === 'Null') return (actual === undefined) === (values[0] === 'true');
  const negated = name.includes('Not');
  const compare = COMPARE[name.replace('Not', '')];
  assert.ok(compare, operator);
  const one = (text: string): boolean => values.some((value) => compare(text, value)) !== negated;
  if (actual === undefined)
    return ifExists !== undefined || set === 'ForAllValues' || (set === undefined && negated);
  if (set === 'ForAnyValue' || (set === undefined && !negated)) return actual.some(one);
  return actual.every(one);
}

function speaks(statement: Written, { who, action, resource, context }: Asked): boolean {
  const { Principal, NotPrincipal, Action, NotAction, Resource, NotResource, Condition } =
    statement;
  const fits = (list: string[], text: string, flags = ''): boolean =>
    list.some((pattern) => regex(pattern, flags).test(text));
  const checks = [
    Principal === undefined ? !names(NotPrincipal, who) : names(Principal, who),
    Action === undefined ? !fits(NotAction ?? [], action, 'i') : fits(Action, action, 'i'),
    Resource === undefined ? !fits(NotResource ?? [], resource) : fits(Resource, resource),
    ...Object.entries(Condition).flatMap(([operator, keys]) =>
      Object.entries(keys).map(([key, values]) =>
        holds(operator, context[key.toLowerCase()], values),
      ),
    ),
  ];
  return checks.every(Boolean);
}

function naive(statements: Written[], asked: Asked): string {
  const effects = statements.filter((one) => speaks(one, asked)).map(({ Effect }) => Effect);
  return effects.includes('Deny') ? 'deny' : effects.includes('Allow') ? 'allow' : 'none';
}

const principal = (digit: string, user?: string): PolicyPrincipal => {
  const accountNumber = digit.repeat(12);
  const arn = `arn:aws:iam::${accountNumber}:${user === undefined ? 'root' : `user/${user}`}`;
  return { canonicalId: digit.repeat(64), accountNumber, arn, userName: user, userId: arn };
};

const someOf = <T>(...items: T[]): fc.Arbitrary<T[]> => fc.subarray(items, { minLength: 1 });
const principals = fc.oneof(
  fc.constant('*'),
  fc.record({
    AWS: someOf(
      '111111111111',
      'arn:aws:iam::222222222222:root',
      'arn:aws:iam::111111111111:user/ann',
    ),
  }),
  fc.record({ CanonicalUser: someOf('2'.repeat(64)) }),
  fc.constant({ AWS: ['*'] }),
);
const actions = someOf(
  's3:Get*',
  'S3:getobject',
  's3:*Object',
  's3:?etObjectVersion',
  's3:PutObject',
  '*',
);
// With one resource of the bucket and one of its objects no action is out of place.
const resources = someOf(
  `${BUCKET}/a*`,
  `${BUCKET}/?/b`,
  `${BUCKET}/*b*`,
  'arn:aws:s3:::*/😀?',
).map((list) => [...list, `${BUCKET}`]);
const conditions = fc.array(
  fc.oneof(
    fc.tuple(
      fc.constantFrom(
        ...['StringEquals', 'StringNotEquals', 'StringLike', 'StringNotLike'].flatMap((name) =>
          ['', 'ForAllValues:', 'ForAnyValue:'].flatMap((set) => [
            set + name,
            `${set}${name}IfExists`,
          ]),
        ),
      ),
      fc.constantFrom('aws:UserAgent', 'aws:TagKeys'),
      someOf('a', 'a*', '?b', ''),
    ),
    fc.tuple(fc.constant('Null'), fc.constantFrom('aws:UserAgent', 'aws:TagKeys'), someOf('true')),
    fc.tuple(
      fc.constantFrom('Bool', 'BoolIfExists'),
      fc.constant('aws:SecureTransport'),
      someOf('true', 'FALSE'),
    ),
    fc.tuple(fc.constant('NumericLessThan'), fc.constant('s3:signatureAge'), someOf('10', '20.5')),
  ),
  { maxLength: 2 },
);

const statements: fc.Arbitrary<Written> = fc
  .record({
    Effect: fc.constantFrom('Allow' as const, 'Deny' as const),
    principal: principals,
    action: actions,
    resource: resources,
    conditions,
    not: fc.record({ principal: fc.boolean(), action: fc.boolean(), resource: fc.boolean() }),
  })
  .map(({ Effect, principal: who, action, resource, conditions: lines, not }) => ({
    Effect,
    [not.principal && Effect === 'Deny' ? 'NotPrincipal' : 'Principal']: who,
    [not.action ? 'NotAction' : 'Action']: action,
    [not.resource ? 'NotResource' : 'Resource']: resource,
    Condition: Object.fromEntries(
      lines.map(([operator, key, values]) => [operator, { [key]: values }]),
    ),
  }));

const asks: fc.Arbitrary<Asked> = fc.record({
  who: fc.constantFrom(
    undefined,
    principal('1'),
    principal('2'),
    principal('3'),
    principal('1', 'ann'),
    principal('1', 'bob'),
  ),
  action: fc.constantFrom('s3:GetObject', 's3:GetObjectVersion', 's3:PutObject', 's3:DeleteObject'),
  resource: fc.constantFrom('a', 'a/b', 'x/b', 'b', '😀😀', 'A').map((key) => `${BUCKET}/${key}`),
  context: fc.constantFrom<Asked['context']>(
    {},
    { 'aws:useragent': ['a'], 'aws:securetransport': ['true'], 's3:signatureage': ['15'] },
    { 'aws:useragent': ['b'], 'aws:tagkeys': ['a', 'xb'], 'aws:securetransport': ['false'] },
    { 'aws:tagkeys': ['ab', 'c'], 's3:signatureage': ['10'] },
  ),
});

test('policies decide as a naive reading of them does', () => {
  const seen = { allow: 0, deny: 0, none: 0 };
  fc.assert(
    fc.property(fc.array(statements, { minLength: 1, maxLength: 4 }), asks, (list, asked) => {
      const policy = parsePolicy(
        JSON.stringify({ Version: '2012-10-17', Statement: list }),
        'photos',
      );
      const { who, action, resource, context } = asked;
      const decision = evaluate(policy, {
        principal: who,
        action,
        resource,
        condition: (key) => context[key],
      });
      seen[decision]++;
      assert.equal(decision, naive(list, asked));
    }),
    { numRuns: 5_000 },
  );
  assert.ok(Math.min(...Object.values(seen)) > 200, JSON.stringify(seen));
});
