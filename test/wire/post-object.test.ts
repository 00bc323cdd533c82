/** Forms that are wrong in one way or another: rows 35 to 40 of the table of bad input. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  expirationIn,
  type Fields,
  FORM_TYPE,
  formBody,
  type FormFile,
  signedV2,
  signedV4,
} from '../support/form.ts';
import type { RawAnswer } from '../support/raw.ts';
import { exchange, RawConnection, requestHead } from '../support/raw.ts';
import { SERVER_KEYS } from '../support/server.ts';
import { useWireServer } from '../support/wire.ts';

const server = useWireServer();
const FILE: FormFile = { content: 'hello' };

function send(bucket: string, body: string | Uint8Array, headers = {}): Promise<RawAnswer> {
  const all = { 'content-type': FORM_TYPE, ...headers };
  return server.sendUnsigned('POST', `/${bucket}`, all, body);
}

function answers(answer: RawAnswer, status: number, code: string, what?: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], `${what}: ${answer.body}`);
}

async function isEmpty(Bucket: string): Promise<void> {
  assert.equal((await server.s3.listObjectsV2({ Bucket })).KeyCount, 0);
}

const conditionsFor = (bucket: string): unknown[] => [{ bucket }, ['starts-with', '$key', '']];
const KEY: Fields = [['key', 'k']];

/** Key and signature; `change` may replace the value of a field or take it away. */
function form(bucket: string, change: Record<string, string | undefined> = {}): [string, string][] {
  const fields = [...KEY, ...signedV4({ keys: SERVER_KEYS, conditions: conditionsFor(bucket) })];
  return fields.flatMap(([name, value]): [string, string][] => {
    const changed = Object.hasOwn(change, name) ? change[name] : value;
    return changed === undefined ? [] : [[name, changed]];
  });
}

test('a form by hand is taken, so that the refusals below have one reason each', async () => {
  const bucket = await server.bucket();
  const answer = await send(bucket, formBody(form(bucket), FILE));
  assert.deepEqual([answer.status, answer.body], [204, '']);
});

test('row 35: a wrong signature, an unknown key, another policy are refused, nothing is stored', async () => {
  const bucket = await server.bucket();
  const right = Object.fromEntries(form(bucket));
  const other = Buffer.from(JSON.stringify({ expiration: expirationIn(600), conditions: [] }));
  const signature = right['x-amz-signature'] ?? '';
  const table: [Record<string, string>, string][] = [
    [{ 'x-amz-signature': `${signature.slice(1)}0` }, 'SignatureDoesNotMatch'],
    [{ 'x-amz-signature': signature.slice(1) }, 'SignatureDoesNotMatch'],
    [{ 'x-amz-signature': signature.toUpperCase() }, 'SignatureDoesNotMatch'],
    [{ policy: other.toString('base64') }, 'SignatureDoesNotMatch'],
    [
      { 'x-amz-credential': (right['x-amz-credential'] ?? '').replace(/^\w+/, 'NOBODY') },
      'InvalidAccessKeyId',
    ],
  ];
  for (const [change, code] of table) {
    const answer = await send(bucket, formBody(form(bucket, change), FILE));
    answers(answer, 403, code, JSON.stringify(change));
  }
  await isEmpty(bucket);
});

test('row 35: what the policy does not allow is AccessDenied and says why', async () => {
  const bucket = await server.bucket();
  const elsewhere = await server.bucket();
  const bucketOnly = [{ bucket }, { key: 'k' }];
  const post = (conditions: readonly unknown[], fields: Fields, expiresIn?: number) =>
    send(
      bucket,
      formBody(
        [
          ...fields,
          ...signedV4({
            keys: SERVER_KEYS,
            conditions,
            ...(expiresIn !== undefined && { expiresIn }),
          }),
        ],
        FILE,
      ),
    );
  const table: [RawAnswer, RegExp][] = [
    [await post(bucketOnly, KEY, -60), /Policy expired/],
    [await post(bucketOnly, [['key', 'other']]), /Policy Condition failed/],
    [await post(bucketOnly, [...KEY, ['acl', 'private']]), /Extra input fields: acl/],
    [await post([{ key: 'k' }], KEY), /Extra input fields: bucket/],
    [await post([{ bucket }], KEY), /Extra input fields: key/],
    [await post([{ bucket: elsewhere }, { key: 'k' }], KEY), /Policy Condition failed/],
    [await post([...bucketOnly, ['eq', '$acl', 'private']], KEY), /Policy Condition failed/],
  ];
  for (const [answer, message] of table) {
    answers(answer, 403, 'AccessDenied', String(message));
    assert.match(answer.body, /Invalid according to Policy/);
    assert.match(answer.body, message);
  }
  await isEmpty(bucket);
});

test('row 36: fields that a form must have and values that they cannot have are InvalidArgument', async () => {
  const bucket = await server.bucket();
  for (const name of [
    'key',
    'policy',
    'x-amz-algorithm',
    'x-amz-credential',
    'x-amz-date',
    'x-amz-signature',
  ]) {
    const answer = await send(bucket, formBody(form(bucket, { [name]: undefined }), FILE));
    answers(answer, 400, 'InvalidArgument', name);
    assert.match(answer.body, new RegExp(`must contain a field named .apos;${name}.apos;`, 'i'));
  }
  const credential = Object.fromEntries(form(bucket))['x-amz-credential'] ?? '';
  for (const change of [
    { 'x-amz-algorithm': 'AWS4-HMAC-SHA1' },
    { 'x-amz-credential': 'a/b' },
    { 'x-amz-credential': credential.replace('us-east-1', 'eu-west-1') },
    { 'x-amz-credential': credential.replace('/s3/', '/ec2/') },
    { 'x-amz-date': 'yesterday' },
    { 'x-amz-date': '20010101T000000Z' },
    { key: '' },
  ]) {
    const answer = await send(bucket, formBody(form(bucket, change), FILE));
    answers(answer, 400, 'InvalidArgument', JSON.stringify(change));
  }
  await isEmpty(bucket);
});

test('row 36: a policy that is none is InvalidPolicyDocument', async () => {
  const bucket = await server.bucket();
  const conditions = conditionsFor(bucket);
  const expiration = expirationIn(600);
  for (const document of [
    { conditions },
    { expiration },
    { expiration: new Date().toUTCString(), conditions },
    { EXPIRATION: expiration, conditions },
    { expiration, CONDITIONS: conditions },
    { expiration, conditions: [...conditions, {}] },
    { expiration, conditions: [...conditions, ['content-length-range', 0]] },
    { expiration, conditions: [...conditions, ['content-length-range', -1, 0]] },
    { expiration, conditions: 'all' },
    'everything',
    null,
  ]) {
    const fields = [
      ...KEY,
      ...signedV4({ keys: SERVER_KEYS, conditions, document: document ?? 0 }),
    ];
    const answer = await send(bucket, formBody(fields, FILE));
    answers(answer, 400, 'InvalidPolicyDocument', JSON.stringify(document));
  }
  await isEmpty(bucket);
});

test('row 37: the size is judged before anything is stored, on a body that only its end tells', async () => {
  const bucket = await server.bucket();
  const range = ['content-length-range', 2, 4];
  const fields = [
    ...KEY,
    ...signedV4({ keys: SERVER_KEYS, conditions: [...conditionsFor(bucket), range] }),
  ];
  answers(await send(bucket, formBody(fields, { content: 'x' })), 400, 'EntityTooSmall');
  answers(await send(bucket, formBody(fields, { content: 'xxxxx' })), 400, 'EntityTooLarge');
  answers(await send(bucket, formBody(fields, { content: '' })), 400, 'EntityTooSmall');
  await isEmpty(bucket);
  assert.equal((await send(bucket, formBody(fields, { content: 'xxxx' }))).status, 204);
});

test('row 38: fields twice, another bucket, a file before the policy, two files', async () => {
  const bucket = await server.bucket();
  const twice = formBody([...KEY, ...form(bucket)], FILE);
  answers(await send(bucket, twice), 400, 'InvalidArgument', 'key twice');
  const cases = formBody([['KEY', 'other'], ...form(bucket)], FILE);
  answers(await send(bucket, cases), 400, 'InvalidArgument', 'key twice, in another case');
  const elsewhere = await server.bucket();
  const fields = [
    ...KEY,
    ['bucket', elsewhere] as const,
    ...signedV4({ keys: SERVER_KEYS, conditions: conditionsFor(bucket) }),
  ];
  answers(await send(bucket, formBody(fields, FILE)), 403, 'AccessDenied', 'bucket field');
  // What stands behind the file does not count: this form is not signed, or has no key.
  const signedLate = formBody(KEY, FILE, form(bucket, { key: undefined }));
  answers(await send(bucket, signedLate), 403, 'AccessDenied', 'signed behind the file');
  answers(await send(bucket, formBody([], FILE, form(bucket))), 400, 'InvalidArgument', 'no key');
  const two = formBody(form(bucket), FILE, [['file', 'more']]);
  answers(await send(bucket, two), 400, 'IncorrectNumberOfFilesInPostRequest', 'two files');
  const none = formBody(form(bucket));
  answers(await send(bucket, none), 400, 'IncorrectNumberOfFilesInPostRequest', 'no file');
  await isEmpty(bucket);
  await isEmpty(elsewhere);
  const after = formBody(form(bucket), FILE, [
    ['acl', 'public-read'],
    ['submit', 'Upload'],
  ]);
  assert.equal((await send(bucket, after)).status, 204);
});

test('row 39: a form that is not well-formed is MalformedPOSTRequest, and the server goes on', async () => {
  const bucket = await server.bucket();
  const whole = formBody(form(bucket), FILE).toString('latin1');
  const bad = [
    whole.slice(0, -4),
    whole.slice(0, whole.indexOf('hello') + 3),
    whole.slice(0, whole.indexOf('policy') + 100),
    whole.slice(0, 10),
    '',
    'x',
    whole.replace('Content-Disposition', ' Content-Disposition'),
    whole.replace('name="key"', 'name="k"ey"'),
    whole.replace('filename="file.bin"', 'filename="fi"le.bin"'),
    whole.replace('form-data; name="key"', 'attachment; name="key"'),
    whole.replace(/\r\n/g, '\n'),
  ];
  for (const body of bad) {
    answers(await send(bucket, Buffer.from(body, 'latin1')), 400, 'MalformedPOSTRequest', body);
  }
  for (const type of ['multipart/form-data', 'multipart/form-data; boundary=other']) {
    const answer = await send(bucket, whole, { 'content-type': type });
    answers(answer, 400, 'MalformedPOSTRequest', type);
  }
  await isEmpty(bucket);
});

test('row 39: a client that goes away in the middle of its file leaves nothing', async () => {
  const bucket = await server.bucket();
  const body = formBody(form(bucket), { content: Buffer.alloc(200_000) });
  const head = requestHead('POST', `/${bucket}`, {
    host: server.host,
    'content-type': FORM_TYPE,
    'content-length': String(body.length),
  });
  const connection = await RawConnection.open(server.endpoint);
  connection.send(head);
  connection.send(body.subarray(0, 100_000));
  connection.close();
  assert.equal((await server.send({ method: 'GET', path: '/' })).status, 200);
  await isEmpty(bucket);
});

test('row 40: too many fields and too large ones are MaxPostPreDataLengthExceededError', async () => {
  const bucket = await server.bucket();
  const many: Fields = Array.from({ length: 20_000 }, (_, n) => [`x-ignore-${n}`, '']);
  const big = ['policy', 'x'.repeat(1_200_000)] as const;
  for (const fields of [
    [...form(bucket), ...many],
    [...KEY, big],
  ]) {
    const answer = await send(bucket, formBody(fields, FILE));
    answers(answer, 400, 'MaxPostPreDataLengthExceededError');
  }
  const preamble = Buffer.concat([Buffer.alloc(3_000_000, 'x'), formBody(form(bucket), FILE)]);
  answers(await send(bucket, preamble), 400, 'MaxPostPreDataLengthExceededError');
  await isEmpty(bucket);
});

test('nobody may post without a signature where nobody may put', async () => {
  const bucket = await server.bucket();
  answers(await send(bucket, formBody(KEY, FILE)), 403, 'AccessDenied');
  answers(await send('missing', formBody(KEY, FILE)), 404, 'NoSuchBucket');
  await isEmpty(bucket);
});

test('a form is signed in its fields and in one way only', async () => {
  const bucket = await server.bucket();
  const body = formBody(form(bucket), FILE);
  const path = `/${bucket}`;
  const signed = await server.send({
    method: 'POST',
    path,
    body,
    headers: { 'content-type': FORM_TYPE },
  });
  answers(signed, 400, 'InvalidArgument');
  const query = server.presign({ method: 'POST', path });
  const presigned = await server.sendUnsigned(
    'POST',
    `${path}?${query}`,
    { 'content-type': FORM_TYPE },
    body,
  );
  answers(presigned, 400, 'InvalidArgument');
  const v2 = signedV2({ keys: SERVER_KEYS, conditions: conditionsFor(bucket) });
  const both = await send(
    bucket,
    formBody([...form(bucket), ...v2.filter(([name]) => name !== 'policy')], FILE),
  );
  answers(both, 400, 'InvalidArgument');
  const off = await send(bucket, formBody([...KEY, ...v2], FILE));
  answers(off, 400, 'InvalidRequest');
  assert.match(off.body, /s3\.signatureV2/);
  answers(
    await send(bucket, formBody([...form(bucket), ['x-amz-security-token', 't']], FILE)),
    400,
    'InvalidToken',
  );
  await isEmpty(bucket);
});

test('what a form asks for and PutObject would refuse is refused', async () => {
  const bucket = await server.bucket();
  const table: [string, string, number, string][] = [
    ['x-amz-storage-class', 'GLACIER', 400, 'InvalidStorageClass'],
    ['acl', 'everybody', 400, 'InvalidArgument'],
    ['x-amz-checksum-sha256', 'sailorjerry', 400, 'BadDigest'],
    ['Content-MD5', 'nonsense', 400, 'InvalidDigest'],
    ['Content-MD5', '1B2M2Y8AsgTpgAmY7PhCfg==', 400, 'BadDigest'],
    ['tagging', '<Tagging>', 400, 'MalformedXML'],
    ['x-amz-meta-a', 'b\r\nX-Injected: c', 400, 'InvalidArgument'],
    ['x-amz-meta-a b', 'c', 400, 'InvalidArgument'],
    ['x-amz-meta-long', 'x'.repeat(3000), 400, 'MetadataTooLarge'],
    ['x-amz-write-offset-bytes', '0', 400, 'InvalidArgument'],
    ['x-amz-copy-source', '/a/b', 400, 'InvalidArgument'],
  ];
  for (const [name, value, status, code] of table) {
    const conditions = [...conditionsFor(bucket), ['starts-with', `$${name}`, '']];
    const fields = [...KEY, [name, value] as const, ...signedV4({ keys: SERVER_KEYS, conditions })];
    answers(await send(bucket, formBody(fields, FILE)), status, code, `${name}: ${value}`);
  }
  const conditions = [{ bucket }, ['starts-with', '$key', '']];
  const long = [['key', 'k'.repeat(1025)] as const, ...signedV4({ keys: SERVER_KEYS, conditions })];
  answers(await send(bucket, formBody(long, FILE)), 400, 'KeyTooLongError');
  // Headers of the request are no part of the policy, so they must not do anything.
  const outside = { 'x-amz-acl': 'public-read', 'if-none-match': '*', 'x-amz-meta-a': 'b' };
  for (const [name, value] of Object.entries(outside)) {
    const answer = await send(bucket, formBody(form(bucket), FILE), { [name]: value });
    answers(answer, 400, 'InvalidRequest', name);
  }
  await isEmpty(bucket);
});

test('a form needs a length or chunks, and waits for 100 Continue as others do', async () => {
  const bucket = await server.bucket();
  const body = formBody(form(bucket), FILE);
  const headers = { host: server.host, 'content-type': FORM_TYPE };
  const none = await exchange(server.endpoint, requestHead('POST', `/${bucket}`, headers), '');
  answers(none, 411, 'MissingContentLength');
  const head = requestHead('POST', `/${bucket}`, {
    ...headers,
    'content-length': String(body.length),
    expect: '100-continue',
  });
  const connection = await RawConnection.open(server.endpoint);
  connection.send(head);
  assert.ok(await connection.receives('100 Continue'));
  connection.send(body);
  assert.equal((await connection.answer()).status, 204);
  connection.close();
});

test('nothing secret is in the log', () => {
  server.assertLogHoldsNoSecrets();
});
