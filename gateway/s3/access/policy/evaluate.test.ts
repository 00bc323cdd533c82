import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isFailure } from '../../../../base/failure.ts';
import { evaluate } from './evaluate.ts';
import { parsePolicy } from './parse.ts';
import type { BucketPolicy, PolicyDecision, PolicyPrincipal, PolicyRequest } from './policy.ts';

const ARN = 'arn:aws:s3:::photos';

function account(number: string, id: string): PolicyPrincipal {
  const arn = `arn:aws:iam::${number}:root`;
  return {
    canonicalId: id.repeat(64),
    accountNumber: number,
    arn,
    userName: undefined,
    userId: number,
  };
}

const ANN = account('111122223333', 'a');
const BOB = account('444455556666', 'b');
const CARL: PolicyPrincipal = {
  ...ANN,
  arn: 'arn:aws:iam::111122223333:user/carl',
  userName: 'carl',
  userId: 'AIDACARL',
};

type Json = Record<string, unknown>;

function policy(...statements: Json[]): BucketPolicy {
  const Statement = statements.map((statement) => ({
    Effect: 'Allow',
    ...('NotPrincipal' in statement ? {} : { Principal: '*' }),
    ...('NotAction' in statement ? {} : { Action: 's3:*' }),
    ...('NotResource' in statement ? {} : { Resource: [ARN, `${ARN}/*`] }),
    ...statement,
  }));
  return parsePolicy(JSON.stringify({ Version: '2012-10-17', Statement }), 'photos');
}

interface Ask {
  who?: PolicyPrincipal | undefined;
  action?: string;
  key?: string;
  context?: Record<string, string | string[]>;
}

function request({
  who,
  action = 's3:GetObject',
  key = 'cat.jpg',
  context = {},
}: Ask): PolicyRequest {
  return {
    principal: who,
    action,
    resource: key === '' ? ARN : `${ARN}/${key}`,
    condition(name) {
      const value = context[name];
      return typeof value === 'string' ? [value] : value;
    },
  };
}

function says(of: BucketPolicy, ask: Ask, expected: PolicyDecision, why?: string): void {
  assert.equal(evaluate(of, request(ask)), expected, why);
}

test('an explicit deny beats every allow, and silence is no allow', () => {
  const mixed = policy({ Action: 's3:Get*' }, { Effect: 'Deny', Resource: `${ARN}/secret/*` });
  says(mixed, {}, 'allow');
  says(mixed, { key: 'secret/x' }, 'deny');
  says(mixed, { action: 's3:PutObject' }, 'none');
});

test('principals: everyone, accounts with their users, single users, canonical ids, services', () => {
  says(policy({ Principal: '*' }), { who: undefined }, 'allow');
  says(policy({ Principal: { AWS: '*' } }), { who: undefined }, 'allow');
  for (const Principal of [
    { AWS: '111122223333' },
    { AWS: ANN.arn },
    { CanonicalUser: ANN.canonicalId },
  ]) {
    says(policy({ Principal }), { who: ANN }, 'allow');
    says(policy({ Principal }), { who: CARL }, 'allow', 'a user is of its account');
    says(policy({ Principal }), { who: BOB }, 'none');
    says(policy({ Principal }), { who: undefined }, 'none');
  }
  const user = policy({ Principal: { AWS: CARL.arn } });
  says(user, { who: CARL }, 'allow');
  says(user, { who: ANN }, 'none', 'an account is not its user');
  const service = policy({ Principal: { Service: 'logging.s3.amazonaws.com' } });
  says(service, { who: { ...ANN, service: 'logging.s3.amazonaws.com' } }, 'allow');
  says(service, { who: ANN }, 'none');
  says(
    policy({ Principal: { AWS: ANN.arn } }),
    { who: { ...ANN, service: 'logging.s3.amazonaws.com' } },
    'none',
  );
});

test('NotPrincipal denies everyone else, the anonymous too', () => {
  const deny = policy({}, { Effect: 'Deny', NotPrincipal: { AWS: ANN.arn } });
  says(deny, { who: ANN }, 'allow');
  says(deny, { who: BOB }, 'deny');
  says(deny, { who: undefined }, 'deny');
});

test('a deny for one principal does not touch another', () => {
  const deny = policy({}, { Effect: 'Deny', Principal: { AWS: BOB.arn } });
  says(deny, { who: ANN }, 'allow');
  says(deny, { who: BOB }, 'deny');
});

test('NotAction and NotResource speak of everything but', () => {
  const read = policy({ NotAction: ['s3:Put*', 's3:Delete*'] });
  says(read, { action: 's3:GetObject' }, 'allow');
  says(read, { action: 's3:DeleteObjectVersion' }, 'none');
  const rest = policy({}, { Effect: 'Deny', NotResource: `${ARN}/public/*` });
  says(rest, { key: 'public/x' }, 'allow');
  says(rest, { key: 'private/x' }, 'deny');
  says(rest, { key: '', action: 's3:ListBucket' }, 'deny');
});

test('an action without a version is another than the one with', () => {
  const current = policy({ Action: 's3:GetObject' });
  says(current, { action: 's3:GetObjectVersion' }, 'none');
  says(policy({ Action: 's3:GetObject*' }), { action: 's3:GetObjectVersion' }, 'allow');
});

test('resources are compared as they are: case, dots, slashes and escapes', () => {
  const some = policy({ Action: 's3:GetObject', Resource: `${ARN}/a/*` });
  says(some, { key: 'a/' }, 'allow');
  says(some, { key: 'a/../b' }, 'allow');
  says(some, { key: 'A/b' }, 'none');
  says(some, { key: 'a%2Fb' }, 'none');
  says(some, { key: '/a/b' }, 'none');
});

test('variables give each user a folder', () => {
  const homes = policy({ Action: 's3:GetObject', Resource: `${ARN}/home/\${aws:username}/*` });
  const context = { 'aws:username': 'carl' };
  says(homes, { key: 'home/carl/x', context }, 'allow');
  says(homes, { key: 'home/ann/x', context }, 'none');
  says(homes, { key: 'home//x' }, 'none', 'no name, no folder');
  says(homes, { key: 'home/ann/x', context: { 'aws:username': '*' } }, 'none');
});

test('an action that S3 does not have is a fault of ours', () => {
  assert.throws(() => evaluate(policy({}), request({ action: 's3:Nonsense' })), isFailure);
});

/** What a condition of one value makes of a request: decided by an Allow. */
function holds(
  operator: string,
  key: string,
  values: unknown,
  actual?: string | string[],
): boolean {
  const of = policy({ Condition: { [operator]: { [key]: values } } });
  const context = actual === undefined ? {} : { [key.toLowerCase()]: actual };
  return evaluate(of, request({ context })) === 'allow';
}

const UA = 'aws:UserAgent';

test('each operator compares as its name says', () => {
  const table: [operator: string, values: unknown, actual: string, expected: boolean][] = [
    ['StringEquals', ['a', 'b'], 'b', true],
    ['StringEquals', 'a*', 'ab', false],
    ['StringEquals', 'a', 'A', false],
    ['StringNotEquals', ['a', 'b'], 'b', false],
    ['StringNotEquals', ['a', 'b'], 'c', true],
    ['StringEqualsIgnoreCase', 'Ab', 'aB', true],
    ['StringNotEqualsIgnoreCase', 'Ab', 'aB', false],
    ['StringLike', 'a?c*', 'abcd', true],
    ['StringLike', 'a?c', 'ac', false],
    ['StringNotLike', 'a*', 'abc', false],
    ['StringNotLike', 'a*', 'b', true],
    ['NumericEquals', 10, '10.0', true],
    ['NumericEquals', '10', 'ten', false],
    ['NumericNotEquals', 10, '11', true],
    ['NumericNotEquals', 10, 'ten', true],
    ['NumericLessThan', 10, '9', true],
    ['NumericLessThan', 10, '10', false],
    ['NumericLessThanEquals', 10, '10', true],
    ['NumericGreaterThan', 10, '10', false],
    ['NumericGreaterThanEquals', 10, '10', true],
    ['DateEquals', '2026-11-20T08:00:00Z', '2026-11-20T09:00:00+01:00', true],
    ['DateNotEquals', '2026-11-20', '2026-11-20T00:00:01Z', true],
    ['DateLessThan', '2026-11-20T08:00:00Z', '2026-11-20T07:59:59.999Z', true],
    ['DateLessThan', 1_000, '999', true],
    ['DateLessThanEquals', 1_000, '1970-01-01T00:16:40Z', true],
    ['DateGreaterThan', 1_000, '1000', false],
    ['DateGreaterThanEquals', 1_000, '1000', true],
    ['DateGreaterThan', 1_000, 'tomorrow', false],
    ['Bool', true, 'True', true],
    ['Bool', 'true', 'false', false],
    ['BinaryEquals', 'QUI=', 'QUI=', true],
    ['BinaryEquals', 'QUI=', 'QUJD', false],
    ['IpAddress', '192.0.2.0/24', '192.0.2.255', true],
    ['IpAddress', '192.0.2.0/24', '192.0.3.0', false],
    ['IpAddress', '192.0.2.7', '192.0.2.7', true],
    ['IpAddress', '0.0.0.0/0', '203.0.113.9', true],
    ['IpAddress', '0.0.0.0/0', '2001:db8::1', false],
    ['IpAddress', '192.0.2.0/24', '::ffff:192.0.2.1', true],
    ['IpAddress', '2001:db8::/32', '2001:DB8:0:1::', true],
    ['IpAddress', '2001:db8::/32', '2001:db9::', false],
    ['IpAddress', '::/0', '192.0.2.1', false],
    ['IpAddress', 'fe80::/10', 'fe80::1%eth0', true],
    ['IpAddress', '192.0.2.0/24', 'nonsense', false],
    ['NotIpAddress', '192.0.2.0/24', '192.0.2.1', false],
    ['NotIpAddress', ['192.0.2.0/24', '10.0.0.0/8'], '203.0.113.9', true],
    ['ArnEquals', 'arn:aws:iam::*:root', 'arn:aws:iam::111122223333:root', true],
    ['ArnLike', 'arn:aws:iam::1111*:user/*', 'arn:aws:iam::111122223333:user/a:b/c', true],
    ['ArnNotEquals', 'arn:aws:iam::*:root', 'arn:aws:iam::111122223333:root', false],
    ['ArnNotLike', 'arn:aws:iam::*:root', 'no-arn', true],
  ];
  for (const [operator, values, actual, expected] of table) {
    assert.equal(
      holds(operator, UA, values, actual),
      expected,
      `${operator} ${String(values)} ${actual}`,
    );
  }
});

test('a key without a value fits nothing: false, true for negated operators and IfExists', () => {
  for (const operator of [
    'StringEquals',
    'StringLike',
    'ArnLike',
    'Bool',
    'NumericEquals',
    'DateEquals',
    'IpAddress',
  ]) {
    const value = {
      ArnLike: 'arn:aws:iam::1:root',
      Bool: 'true',
      NumericEquals: 1,
      DateEquals: 1,
      IpAddress: '::/0',
    }[operator];
    assert.equal(holds(operator, UA, value ?? '*'), false, operator);
    assert.equal(holds(`${operator}IfExists`, UA, value ?? '*'), true, operator);
  }
  assert.equal(holds('StringNotEquals', UA, 'x'), true);
  assert.equal(holds('StringNotLike', UA, '*'), true);
  assert.equal(holds('NotIpAddress', UA, '10.0.0.0/8'), true);
  assert.equal(holds('StringNotEqualsIfExists', UA, 'x', 'x'), false);
  assert.equal(holds('StringLikeIfExists', UA, 'a*', 'b'), false);
});

test('Null asks whether there is a value', () => {
  assert.equal(holds('Null', UA, true), true);
  assert.equal(holds('Null', UA, 'false'), false);
  assert.equal(holds('Null', UA, 'true', 'x'), false);
  assert.equal(holds('Null', UA, false, ''), true, 'an empty text is a value');
  assert.equal(holds('Null', UA, true, []), true, 'an empty list is none');
});

test('sets: all values of the request, or any of them', () => {
  const keys = 'aws:TagKeys';
  assert.equal(holds('ForAllValues:StringEquals', keys, ['a', 'b'], ['a', 'b', 'a']), true);
  assert.equal(holds('ForAllValues:StringEquals', keys, ['a', 'b'], ['a', 'c']), false);
  assert.equal(holds('ForAllValues:StringEquals', keys, ['a']), true, 'nothing to be wrong');
  assert.equal(holds('ForAnyValue:StringEquals', keys, ['a', 'b'], ['c', 'b']), true);
  assert.equal(holds('ForAnyValue:StringEquals', keys, ['a'], ['c']), false);
  assert.equal(holds('ForAnyValue:StringEquals', keys, ['a']), false);
  assert.equal(holds('ForAllValues:StringNotEquals', keys, ['a', 'b'], ['c', 'd']), true);
  assert.equal(holds('ForAllValues:StringNotEquals', keys, ['a', 'b'], ['c', 'a']), false);
  assert.equal(holds('ForAnyValue:StringNotEquals', keys, ['a', 'b'], ['a', 'c']), true);
  assert.equal(holds('ForAnyValue:StringNotEquals', keys, ['a', 'b'], ['a', 'b']), false);
  assert.equal(holds('ForAnyValue:StringNotEquals', keys, ['a']), false);
  assert.equal(holds('ForAnyValue:StringEqualsIfExists', keys, ['a']), true);
  // Without a prefix: one that fits is enough, and none may for a negated operator.
  assert.equal(holds('StringEquals', keys, 'a', ['a', 'b']), true);
  assert.equal(holds('StringNotEquals', keys, 'a', ['a', 'b']), false);
});

test('all lines of a condition must hold', () => {
  const of = policy({
    Condition: {
      Bool: { 'aws:SecureTransport': true },
      StringLike: { [UA]: 'a*', 'aws:Referer': 'b*' },
    },
  });
  const context = { 'aws:securetransport': 'true', 'aws:useragent': 'a', 'aws:referer': 'b' };
  says(of, { context }, 'allow');
  for (const key of Object.keys(context))
    says(of, { context: { ...context, [key]: 'x' } }, 'none', key);
});

test('variables in conditions compare with the request itself', () => {
  const of = policy({
    Condition: { StringEquals: { 's3:ExistingObjectTag/owner': '${aws:username}' } },
    Action: 's3:GetObject',
  });
  const context = { 'aws:username': 'carl', 's3:existingobjecttag/owner': 'carl' };
  says(of, { context }, 'allow');
  says(of, { context: { ...context, 'aws:username': 'bob' } }, 'none');
  says(of, { context: { 's3:existingobjecttag/owner': '' } }, 'none');
});

/* ------------------------------------------------------------------ properties */

const principals = fc.constantFrom<unknown>(
  '*',
  { AWS: ANN.arn },
  { AWS: ['444455556666', ANN.arn] },
);
const statements = fc.record({
  Effect: fc.constantFrom('Allow', 'Deny'),
  Principal: principals,
  Action: fc.subarray(['s3:Get*', 's3:PutObject', 's3:*', 's3:DeleteObject'], { minLength: 1 }),
  Resource: fc
    .subarray([ARN, `${ARN}/*`, `${ARN}/a/*`, `${ARN}/?`], { minLength: 1 })
    .map((list) => [...list, `${ARN}/*`]),
  Condition: fc.constantFrom<Json>(
    {},
    { Bool: { 'aws:SecureTransport': 'true' } },
    { StringNotEquals: { [UA]: 'x' } },
  ),
});
const asks = fc.record({
  who: fc.constantFrom(undefined, ANN, BOB, CARL),
  action: fc.constantFrom('s3:GetObject', 's3:PutObject', 's3:DeleteObject'),
  key: fc.constantFrom('a', 'a/b', 'b/a'),
  context: fc.constantFrom<Record<string, string>>(
    {},
    { 'aws:securetransport': 'true' },
    { 'aws:useragent': 'x' },
  ),
});

test('the order of statements never matters', () => {
  fc.assert(
    fc.property(
      fc.array(statements, { minLength: 1, maxLength: 6 }),
      asks,
      fc.nat(5),
      (list, ask, by) => {
        const turned = [
          ...list.slice(by % list.length),
          ...list.slice(0, by % list.length),
        ].reverse();
        assert.equal(
          evaluate(policy(...list), request(ask)),
          evaluate(policy(...turned), request(ask)),
        );
      },
    ),
  );
});

test('a policy decides as its statements do alone, a deny first, then an allow', () => {
  fc.assert(
    fc.property(fc.array(statements, { minLength: 1, maxLength: 6 }), asks, (list, ask) => {
      const alone = list.map((statement) => evaluate(policy(statement), request(ask)));
      const expected = alone.includes('deny') ? 'deny' : alone.includes('allow') ? 'allow' : 'none';
      assert.equal(evaluate(policy(...list), request(ask)), expected);
    }),
  );
});

test('adding a statement never turns a deny into anything else', () => {
  fc.assert(
    fc.property(
      fc.array(statements, { minLength: 1, maxLength: 4 }),
      statements,
      asks,
      (list, more, ask) => {
        fc.pre(evaluate(policy(...list), request(ask)) === 'deny');
        assert.equal(evaluate(policy(...list, more), request(ask)), 'deny');
      },
    ),
  );
});
