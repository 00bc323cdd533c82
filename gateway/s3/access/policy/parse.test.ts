import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { S3Error } from '../../errors.ts';
import { REGISTRY } from '../../registry.ts';
import { ACTIONS } from './actions.ts';
import { parsePolicy, POLICY_BYTES_MAX } from './parse.ts';

const BUCKET = 'photos';
const STATEMENT = {
  Effect: 'Allow',
  Principal: '*',
  Action: 's3:GetObject',
  Resource: `arn:aws:s3:::${BUCKET}/*`,
};

type Json = Record<string, unknown>;

function policyText(statement: Json | Json[], root: Json = {}): string {
  return JSON.stringify({ Version: '2012-10-17', Statement: statement, ...root });
}

function refusedWith(text: string): string {
  try {
    parsePolicy(text, BUCKET);
  } catch (error) {
    assert.ok(error instanceof S3Error, String(error));
    assert.equal(error.code, 'MalformedPolicy');
    return error.message;
  }
  assert.fail(`accepted: ${text}`);
}

function accepted(statement: Json, root: Json = {}): void {
  parsePolicy(policyText({ ...STATEMENT, ...statement }, root), BUCKET);
}

function refused(statement: Json, message: string | RegExp): void {
  const text = refusedWith(policyText({ ...STATEMENT, ...statement }));
  if (typeof message === 'string') assert.equal(text, message);
  else assert.match(text, message);
}

/** The statement without some of its elements. */
function without(...names: string[]): Json {
  return Object.fromEntries(Object.entries(STATEMENT).filter(([name]) => !names.includes(name)));
}

test('a policy may have one statement or several, an Id, Sids with spaces, and no Version', () => {
  const one = parsePolicy(JSON.stringify({ Id: 'x', Statement: STATEMENT }), BUCKET);
  assert.equal(one.version, '2008-10-17');
  assert.equal(one.id, 'x');
  const two = parsePolicy(policyText([{ ...STATEMENT, Sid: 'all may read' }, STATEMENT]), BUCKET);
  assert.deepEqual(
    two.statements.map(({ sid }) => sid),
    ['all may read', undefined],
  );
});

test('a text that is no policy is refused', () => {
  for (const text of ['', ' {}', '[]', 'null', '"x"', '<Policy/>', '\ufeff{}']) {
    assert.match(refusedWith(text), /valid JSON and the first byte/);
  }
  assert.equal(refusedWith('{'), 'This policy contains invalid Json');
  assert.equal(refusedWith('{"Version":"2012-10-17",}'), 'This policy contains invalid Json');
  assert.equal(refusedWith('{}'), 'Missing required field Statement');
  assert.match(refusedWith('{"Statement":[]}'), /Statement is empty/);
  assert.equal(refusedWith('{"Statement":["x"]}'), 'Invalid policy syntax.');
  assert.equal(refusedWith('{"Statement":[[]]}'), 'Invalid policy syntax.');
});

test('a policy may have 20 KiB', () => {
  const filled = (bytes: number): string => {
    const bare = policyText(STATEMENT, { Id: '' });
    return policyText(STATEMENT, { Id: 'é'.repeat((bytes - bare.length) / 2) });
  };
  const most = filled(POLICY_BYTES_MAX - (policyText(STATEMENT, { Id: '' }).length % 2));
  parsePolicy(most, BUCKET);
  assert.match(
    refusedWith(filled(POLICY_BYTES_MAX + 1 + (most.length % 2) + 2)),
    /maximum allowed size/,
  );
});

test('versions other than the two that there are, and elements that are not known, are refused', () => {
  assert.match(refusedWith(policyText(STATEMENT, { Version: '2012-10-18' })), /valid version/);
  assert.match(refusedWith(policyText(STATEMENT, { Version: 20121017 })), /valid version/);
  assert.equal(refusedWith(policyText(STATEMENT, { Id: 5 })), 'Invalid policy syntax.');
  assert.equal(
    refusedWith(policyText(STATEMENT, { version: '2012-10-17' })),
    'Unknown field version',
  );
  refused({ action: 's3:GetObject' }, 'Unknown field action');
  refused({ Sid: 1 }, 'Invalid policy syntax.');
});

test('a repeated element is refused where JSON.parse would take the last one', () => {
  const text = policyText(STATEMENT).replace(
    '"Effect":"Allow"',
    '"Effect":"Deny","Effect":"Allow"',
  );
  assert.equal(refusedWith(text), 'This policy contains invalid Json');
});

test('every statement says who, what and on which resource', () => {
  for (const name of ['Effect', 'Principal', 'Action', 'Resource']) {
    assert.equal(refusedWith(policyText(without(name))), `Missing required field ${name}`);
  }
  refused({ Effect: 'allow' }, 'Invalid effect: "allow"');
  refused({ Effect: ['Allow'] }, /^Invalid effect/);
  refused({ NotAction: 's3:PutObject' }, 'Invalid policy syntax.');
  refused({ NotResource: `arn:aws:s3:::${BUCKET}/x` }, 'Invalid policy syntax.');
  refused({ Effect: 'Deny', NotPrincipal: { AWS: '111122223333' } }, 'Invalid policy syntax.');
});

test('principals are everyone, accounts by number, ARN or canonical id, users and services', () => {
  const canonical = 'ab'.repeat(32);
  for (const Principal of [
    '*',
    { AWS: '*' },
    { AWS: ['111122223333', 'arn:aws:iam::111122223333:root'] },
    { AWS: canonical },
    { AWS: 'arn:aws:iam::111122223333:user/team/ann' },
    { CanonicalUser: canonical },
    { Service: 'logging.s3.amazonaws.com' },
    { AWS: '111122223333', CanonicalUser: [canonical] },
  ]) {
    accepted({ Principal });
  }
  for (const Principal of [
    'AWS',
    {},
    [],
    ['*'],
    null,
    { AWS: [] },
    { AWS: '' },
    { AWS: 111122223333 },
    { AWS: '11112222333' },
    { AWS: 'arn:aws:iam::*:root' },
    { AWS: 'arn:aws:iam::tenant:root' },
    { AWS: 'arn:aws:iam::111122223333:user/*' },
    { AWS: 'arn:aws:iam::111122223333:role/admin' },
    { AWS: 'arn:aws:iam::111122223333:root\n' },
    { CanonicalUser: '*' },
    { CanonicalUser: canonical.toUpperCase() },
    { CanonicalUser: '111122223333' },
    { Service: '*' },
    { Federated: 'cognito-identity.amazonaws.com' },
    { aws: '*' },
  ]) {
    refused({ Principal }, 'Invalid principal in policy');
  }
});

test('NotPrincipal is for Deny only', () => {
  const NotPrincipal = { AWS: '111122223333' };
  const deny = { ...without('Principal'), Effect: 'Deny', NotPrincipal };
  parsePolicy(policyText(deny), BUCKET);
  assert.equal(
    refusedWith(policyText({ ...deny, Effect: 'Allow' })),
    'Allow with NotPrincipal is not allowed.',
  );
});

test('actions are those of S3, with wildcards and in any case', () => {
  for (const Action of [
    's3:GetObject',
    'S3:getobject',
    's3:Get*',
    's3:*',
    '*',
    's3:?etObject',
    ['s3:Put*'],
  ]) {
    accepted({ Action });
  }
  for (const Action of [
    'GetObject',
    's3:Nonsense',
    's3:',
    '',
    'ec2:*',
    's3',
    's*:GetObject',
    [],
    ['s3:GetObject', 7],
    {},
  ]) {
    refused({ Action }, 'Policy has invalid action');
  }
});

test('resources are this bucket and its objects', () => {
  for (const Resource of [
    `arn:aws:s3:::${BUCKET}/*`,
    `arn:aws:s3:::${BUCKET}/a?c`,
    [`arn:aws:s3:::${BUCKET}`, `arn:aws:s3:::${BUCKET}/*`],
    'arn:aws:s3:::*',
    'arn:aws:s3:::ph*',
    'arn:aws:s3:::*/public/*',
    `arn:aws:s3:::${BUCKET}/\${aws:username}/*`,
    'arn:aws:s3:::photo?/x',
  ]) {
    accepted({ Resource });
  }
  for (const Resource of [
    '*',
    BUCKET,
    'arn:aws:s3:::videos/*',
    'arn:aws:s3:::photos2/*',
    'arn:aws:s3:::photo/*',
    `arn:aws:s3:::${BUCKET}/`,
    `arn:aws:s3:us-east-1::${BUCKET}/*`,
    `arn:aws:s3:::${BUCKET.toUpperCase()}/*`,
    `arn:aws:sqs:::${BUCKET}/*`,
    `arn:aws:s3:::${BUCKET}/\${aws:nonsense}`,
    [`arn:aws:s3:::${BUCKET}/*`, 'arn:aws:s3:::videos/*'],
    [],
    7,
  ]) {
    refused({ Resource }, 'Policy has invalid resource');
  }
});

test('an action needs a resource of its kind', () => {
  const bucket = `arn:aws:s3:::${BUCKET}`;
  const message = 'Action does not apply to any resource(s) in statement';
  refused({ Resource: bucket }, message);
  refused({ Action: 's3:ListBucket' }, message);
  refused({ Action: ['s3:GetObject', 's3:ListBucket'] }, message);
  refused({ Action: 's3:ListAllMyBuckets', Resource: bucket }, message);
  accepted({ Action: 's3:ListBucket', Resource: [bucket, `${bucket}/*`] });
  accepted({ Action: 's3:*', Resource: bucket });
});

test('conditions have known operators, known keys and values that can be compared', () => {
  const when = (operator: string, key: string, value: unknown): Json => ({
    Condition: { [operator]: { [key]: value } },
  });
  for (const condition of [
    when('StringEquals', 'aws:UserAgent', ['a', 'b']),
    when('StringLikeIfExists', 'AWS:referer', 'http://*'),
    when('ForAllValues:StringLike', 'aws:PrincipalTag/team', 'a*'),
    when('Bool', 'aws:SecureTransport', false),
    when('NumericLessThan', 's3:signatureAge', 1000),
    when('NumericLessThan', 's3:signatureAge', '-1.5'),
    when('DateGreaterThan', 'aws:CurrentTime', '2026-11-20T08:00:00Z'),
    when('DateLessThan', 'aws:EpochTime', 1_800_000_000),
    when('IpAddress', 'aws:SourceIp', ['192.0.2.0/24', '2001:db8::/32', '198.51.100.7']),
    when('ArnLike', 'aws:PrincipalArn', 'arn:aws:iam::*:user/${aws:username}'),
    when('Null', 's3:ExistingObjectTag/secret', 'true'),
    when('BinaryEquals', 's3:ExistingObjectTag/x', 'QmluYXJ5'),
    when('StringEquals', 's3:ExistingObjectTag/a/b', 'c'),
  ]) {
    accepted(condition);
  }
  for (const operator of [
    'stringequals',
    'StringEqual',
    'Exists',
    'NullIfExists',
    'ForAllValues:Null',
    'ForAll:StringEquals',
    'ForAnyValue:',
    '',
  ]) {
    refused(when(operator, 'aws:UserAgent', 'true'), `Invalid Condition type : ${operator}`);
  }
  for (const key of [
    'aws:Nonsense',
    's3:nonsense',
    'ec2:Region',
    'prefix',
    '',
    's3:ExistingObjectTag',
    's3:ExistingObjectTag/',
    'aws:SourceIp/x',
    's3:prefix/x',
  ]) {
    refused(when('StringEquals', key, 'x'), 'Policy has an invalid condition key');
  }
  for (const [operator, value] of [
    ['NumericEquals', 'x'],
    ['NumericEquals', ''],
    ['DateEquals', 'yesterday'],
    ['DateEquals', '2026-13-01'],
    ['Bool', 'yes'],
    ['Null', 'maybe'],
    ['IpAddress', '300.0.0.1'],
    ['IpAddress', '10.0.0.0/33'],
    ['IpAddress', '10.0.0.0/'],
    ['IpAddress', '::/129'],
    ['IpAddress', '*'],
    ['ArnEquals', 'not-an-arn'],
    ['BinaryEquals', '?'],
    ['StringLike', '${aws:nonsense}'],
    ['StringLike', '\ud800'],
  ] as const) {
    refused(when(operator, 'aws:UserAgent', value), /^Invalid condition value/);
  }
  for (const value of [null, {}, [], [null], [['x']]]) {
    refused(when('StringEquals', 'aws:UserAgent', value), 'Invalid policy syntax.');
  }
  refused({ Condition: [] }, 'Invalid policy syntax.');
  refused({ Condition: { StringEquals: 'x' } }, 'Invalid policy syntax.');
  refused(
    { Condition: { StringEquals: { 'aws:SourceIp': 'x', 'AWS:SOURCEIP': 'y' } } },
    /invalid Json/,
  );
});

test('a condition key that the actions do not take is refused', () => {
  const message = 'Conditions do not apply to combination of actions and resources in statement';
  const bucket = `arn:aws:s3:::${BUCKET}`;
  const when = (key: string): Json => ({ Condition: { StringEquals: { [key]: 'x' } } });
  // As seen on AWS.
  refused({ ...when('s3:prefix') }, message);
  refused({ ...when('s3:x-amz-acl'), Action: ['s3:GetObject', 's3:PutObject'] }, message);
  refused(
    { ...when('s3:x-amz-copy-source'), Action: ['s3:GetObjectVersion', 's3:PutObject'] },
    message,
  );
  refused({ ...when('s3:ExistingObjectTag/a'), Action: 's3:PutObject' }, message);
  refused({ ...when('s3:ExistingObjectTag/a'), Action: 's3:DeleteObject' }, message);
  refused({ ...when('s3:ExistingObjectTag/a'), Action: 's3:GetObjectRetention' }, message);
  refused(
    { ...when('s3:RequestObjectTag/a'), Action: ['s3:PutObjectAcl', 's3:PutObjectTagging'] },
    message,
  );
  refused(
    {
      ...when('s3:prefix'),
      Action: ['s3:ListBucket', 's3:ListBucketMultipartUploads'],
      Resource: bucket,
    },
    message,
  );
  accepted({ ...when('s3:prefix'), Action: 's3:ListBucket', Resource: bucket });
  accepted({ ...when('s3:x-amz-acl'), Action: 's3:*' });
  accepted({
    ...when('s3:ExistingObjectTag/a'),
    Action: ['s3:GetObject', 's3:DeleteObjectTagging'],
  });
  accepted({ ...when('s3:authType'), Action: ['s3:GetObject', 's3:PutObject'] });
});

test('policy variables are text in policies of 2008', () => {
  const Resource = `arn:aws:s3:::${BUCKET}/\${aws:nonsense}`;
  accepted({ Resource }, { Version: '2008-10-17' });
});

test('the keys that a policy asks for are known, those in variables too', () => {
  const policy = parsePolicy(
    policyText({
      ...STATEMENT,
      Resource: `arn:aws:s3:::${BUCKET}/\${aws:username}`,
      Condition: { StringLike: { 'aws:Referer': '*/${s3:ExistingObjectTag/Team}' } },
    }),
    BUCKET,
  );
  assert.deepEqual([...policy.keys].sort(), [
    'aws:referer',
    'aws:username',
    's3:existingobjecttag/',
  ]);
});

test('what is mutated is either a policy or MalformedPolicy', () => {
  const sample = policyText([
    { ...STATEMENT, Sid: 'a', Condition: { IpAddress: { 'aws:SourceIp': ['10.0.0.0/8'] } } },
    { ...STATEMENT, Effect: 'Deny', Principal: { AWS: ['111122223333'] }, Action: ['s3:Get*'] },
  ]);
  const snippets = [
    '"',
    '{',
    '}',
    '[',
    ']',
    '*',
    '${',
    '}',
    ':',
    '"Effect":"Deny",',
    'null',
    '\\u0000',
    '\ud800',
    '7',
  ];
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(sample.length), fc.nat(5), fc.constantFrom(...snippets)), {
        maxLength: 4,
      }),
      (edits) => {
        let text = sample;
        for (const [at, length, put] of edits)
          text = text.slice(0, at) + put + text.slice(at + length);
        try {
          parsePolicy(text, BUCKET);
        } catch (error) {
          assert.ok(error instanceof S3Error && error.code === 'MalformedPolicy', String(error));
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

test('the permission of every operation is an action that policies can name', () => {
  for (const { name, permission } of Object.values(REGISTRY)) {
    assert.ok(ACTIONS.has(permission.toLowerCase()), `${name}: ${permission}`);
  }
});
