import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCode } from '../operations/testing-context.ts';
import { checkPostPolicy, parsePostPolicy } from './post-policy.ts';

const NOW = Date.UTC(2026, 10, 20, 8);
const LATER = '2026-11-20T09:00:00Z';
const encode = (document: unknown): string =>
  Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)).toString(
    'base64',
  );

type Fields = Record<string, string>;

/** Holds fields against conditions; bucket and key are always there and always covered. */
function check(conditions: readonly unknown[], fields: Fields = {}) {
  const all = [{ bucket: 'photos' }, ['starts-with', '$key', ''], ...conditions];
  const policy = parsePostPolicy(encode({ expiration: LATER, conditions: all }));
  return checkPostPolicy(
    policy,
    new Map(Object.entries({ bucket: 'photos', key: 'a', ...fields })),
    NOW,
  );
}

const denied = (message: RegExp) => isCode('AccessDenied', message);
const invalid = (message: RegExp) => isCode('InvalidPolicyDocument', message);

test("AWS's worked example of a policy is read and met by its form", () => {
  // https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html
  const policy = parsePostPolicy(
    encode(`{ "expiration": "2015-12-30T12:00:00.000Z",
  "conditions": [
    {"bucket": "sigv4examplebucket"},
    ["starts-with", "$key", "user/user1/"],
    {"acl": "public-read"},
    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},
    ["starts-with", "$Content-Type", "image/"],
    {"x-amz-meta-uuid": "14365123651274"},
    {"x-amz-server-side-encryption": "AES256"},
    ["starts-with", "$x-amz-meta-tag", ""],
    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},
    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
    {"x-amz-date": "20151229T000000Z" }
  ]
}`),
  );
  const fields: Fields = {
    bucket: 'sigv4examplebucket',
    key: 'user/user1/a.jpg',
    acl: 'public-read',
    success_action_redirect: 'http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html',
    'content-type': 'image/jpeg',
    'x-amz-meta-uuid': '14365123651274',
    'x-amz-server-side-encryption': 'AES256',
    'x-amz-meta-tag': '',
    'x-amz-credential': 'AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request',
    'x-amz-algorithm': 'AWS4-HMAC-SHA256',
    'x-amz-date': '20151229T000000Z',
    'x-amz-signature': 'x',
    policy: 'x',
  };
  const now = Date.UTC(2015, 11, 29);
  assert.equal(checkPostPolicy(policy, new Map(Object.entries(fields)), now), undefined);
  for (const name of Object.keys(fields)) {
    if (['x-amz-signature', 'policy'].includes(name)) continue;
    const changed = new Map(Object.entries({ ...fields, [name]: 'X' }));
    const what = `${name} may be anything`;
    if (name === 'x-amz-meta-tag') checkPostPolicy(policy, changed, now);
    else
      assert.throws(() => checkPostPolicy(policy, changed, now), denied(/Condition failed/), what);
  }
  const end = Date.UTC(2015, 11, 30, 12);
  assert.throws(
    () => checkPostPolicy(policy, new Map(Object.entries(fields)), end),
    denied(/Invalid according to Policy: Policy expired\./),
  );
});

test('eq is exact, starts-with a prefix, and the message names the condition', () => {
  check([['eq', '$acl', 'private']], { acl: 'private' });
  check([{ acl: 'private' }], { acl: 'private' });
  check([['starts-with', '$acl', 'pri']], { acl: 'private' });
  check([['starts-with', '$acl', '']], { acl: 'anything' });
  assert.throws(
    () => check([['eq', '$acl', 'private']], { acl: 'Private' }),
    denied(/Policy Condition failed: \["eq","\$acl","private"\]/),
  );
  assert.throws(() => check([['starts-with', '$acl', 'pri']], { acl: 'xpri' }), denied(/failed/));
  assert.throws(() => check([['eq', '$acl', '']], { acl: 'x' }), denied(/failed/));
});

test('a field that is not in the form counts as empty', () => {
  check([['starts-with', '$x-amz-server-side-encryption', '']]);
  assert.throws(() => check([['starts-with', '$x-amz-meta-foo', 'bar']]), denied(/failed/));
});

test('names of fields and operators are taken in any case, expiration and conditions are not', () => {
  check([['StArTs-WiTh', '$CoNtEnT-TyPe', 'text/'], { AcL: 'private' }], {
    'content-type': 'text/plain',
    acl: 'private',
  });
  const conditions: unknown[] = [];
  for (const document of [
    { EXPIRATION: LATER, conditions },
    { expiration: LATER, CONDITIONS: conditions },
    { expiration: LATER, conditions, version: 1 },
  ]) {
    assert.throws(() => parsePostPolicy(encode(document)), invalid(/Unexpected/));
  }
});

test('every field needs a condition, but for those of the signature, x-ignore- and checksums', () => {
  check([], {
    policy: 'p',
    signature: 's',
    awsaccesskeyid: 'a',
    'x-amz-signature': 's',
    'x-ignore-me': 'x',
    'x-amz-checksum-sha256': 'x',
  });
  for (const name of ['acl', 'x-amz-meta-a', 'submit', 'x-amz-algorithm', 'tagging']) {
    assert.throws(
      () => check([], { [name]: 'x' }),
      denied(new RegExp(`Invalid according to Policy: Extra input fields: ${name}`)),
    );
  }
  const bare = parsePostPolicy(encode({ expiration: LATER, conditions: [{ key: 'a' }] }));
  const fields = new Map([
    ['key', 'a'],
    ['bucket', 'photos'],
  ]);
  assert.throws(() => checkPostPolicy(bare, fields, NOW), denied(/Extra input fields: bucket/));
});

test('a list of content types meets a condition when each of it does', () => {
  const condition = ['starts-with', '$Content-Type', 'image/'];
  check([condition], { 'content-type': 'image/jpeg, image/png' });
  assert.throws(
    () => check([condition], { 'content-type': 'image/jpeg,text/html' }),
    denied(/failed/),
  );
});

test('content-length-range is handed on; several are one', () => {
  assert.deepEqual(check([['content-length-range', 1, 10]]), { min: 1, max: 10 });
  assert.deepEqual(check([['Content-Length-Range', '1', '10']]), { min: 1, max: 10 });
  const twice = [
    ['content-length-range', 1, 10],
    ['content-length-range', 0, 5],
  ];
  assert.deepEqual(check(twice), { min: 1, max: 5 });
  assert.equal(check([]), undefined);
  const bad = [
    ['content-length-range', 0],
    ['content-length-range', 0, 1, 2],
    ['content-length-range', -1, 0],
    ['content-length-range', 2, 1],
    ['content-length-range', 0.5, 1],
    ['content-length-range', 'a', 'b'],
    ['content-length-range', null, 1],
    ['content-length-range', 0, 1e300],
  ];
  for (const one of bad) assert.throws(() => check([one]), invalid(/./), JSON.stringify(one));
});

test('a dollar sign may be escaped as S3 writes it, and stays as it is in plain JSON', () => {
  const policy = parsePostPolicy(
    encode(`{"expiration":"${LATER}","conditions":[["eq","$key","\\$a"],{"bucket":"b"}]}`),
  );
  const form = (key: string) =>
    new Map([
      ['key', key],
      ['bucket', 'b'],
    ]);
  checkPostPolicy(policy, form('$a'), NOW);
  check([['starts-with', '$x-amz-meta-a', '\\$foo']], { 'x-amz-meta-a': '\\$foo.txt' });
});

test('a comma behind the last item is taken, as in an example of AWS, and one in a text stays', () => {
  const policy = parsePostPolicy(
    encode(`{"expiration":"${LATER}","conditions":[{"key":",]"}, ["eq","$bucket","b" , ],\n ],}`),
  );
  const form = new Map([
    ['key', ',]'],
    ['bucket', 'b'],
  ]);
  checkPostPolicy(policy, form, NOW);
  assert.throws(() => parsePostPolicy(encode('{"expiration":,}')), invalid(/Invalid JSON/));
});

test('what is no policy is InvalidPolicyDocument and says why', () => {
  const conditions: unknown[] = [];
  const table: [unknown, RegExp][] = [
    ['', /Invalid JSON/],
    ['{', /Invalid JSON/],
    ['[]', /must be an object/],
    ['null', /must be an object/],
    [{ conditions }, /missing expiration/],
    [{ expiration: LATER }, /missing conditions/],
    [{ expiration: LATER, conditions: {} }, /must be a list/],
    [{ expiration: '2026-11-20 09:00:00', conditions }, /Invalid 'expiration'/],
    [{ expiration: '2026-11-20T09:00:00+00:00', conditions }, /Invalid 'expiration'/],
    [{ expiration: '2026-13-20T09:00:00Z', conditions }, /Invalid 'expiration'/],
    [{ expiration: 1, conditions }, /Invalid 'expiration'/],
    [{ expiration: LATER, conditions: [{}] }, /exactly one property/],
    [{ expiration: LATER, conditions: [{ acl: 'a', key: 'b' }] }, /exactly one property/],
    [{ expiration: LATER, conditions: [{ acl: 1 }] }, /must be text/],
    [{ expiration: LATER, conditions: ['eq'] }, /no object and no list/],
    [{ expiration: LATER, conditions: [[]] }, /wrong number/],
    [{ expiration: LATER, conditions: [['eq', '$acl']] }, /wrong number/],
    [{ expiration: LATER, conditions: [['eq', 'acl', 'a']] }, /needs a \$field/],
    [{ expiration: LATER, conditions: [['eq', '$acl', 1]] }, /needs a \$field/],
    [{ expiration: LATER, conditions: [['ends-with', '$acl', 'a']] }, /unknown operation/],
    [{ expiration: LATER, conditions: [[1, '$acl', 'a']] }, /unknown operation/],
  ];
  for (const [document, message] of table) {
    assert.throws(() => parsePostPolicy(encode(document)), invalid(message), String(message));
  }
  assert.throws(() => parsePostPolicy('not base64!'), invalid(/base64/));
  assert.throws(() => parsePostPolicy('/////w=='), invalid(/Invalid JSON/));
});
