/** Hostile policies, CORS rules and preflights, by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchange, type RawAnswer, requestHead } from '../support/raw.ts';
import { digest } from '../support/server.ts';
import { useWireServer, type WireRequest } from '../support/wire.ts';

const server = useWireServer({ config: { newBuckets: 'open' } });

function answers(answer: RawAnswer, status: number, code: string, what?: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], what ?? answer.body);
}

function putPolicy(
  bucket: string,
  body: string | Uint8Array,
  more: Partial<WireRequest> = {},
): Promise<RawAnswer> {
  return server.send({ method: 'PUT', path: `/${bucket}`, query: 'policy=', body, ...more });
}

const policyOf = (bucket: string): string =>
  JSON.stringify({
    Statement: {
      Effect: 'Allow',
      Principal: '*',
      Action: 's3:GetObject',
      Resource: `arn:aws:s3:::${bucket}/*`,
    },
  });

test('PutBucketPolicy: bodies that are no text, no JSON, too much or nothing', async () => {
  const bucket = await server.bucket();
  const valid = policyOf(bucket);
  answers(await putPolicy(bucket, ''), 400, 'MissingRequestBodyError');
  const broken: [string | Uint8Array, string][] = [
    [Buffer.from([0x7b, 0xff, 0x7d]), 'not UTF-8'],
    ['\u0000', 'a NUL'],
    [`${valid}\u0000`, 'a NUL behind it'],
    [`${valid}${valid}`, 'two policies'],
    ['{"Statement":'.repeat(1_000), 'deep and open'],
    [`{"Statement":${'['.repeat(5_000)}${']'.repeat(5_000)}}`, 'deep'],
    [`{"Statement":[${'{},'.repeat(5_000)}{}]}`, 'many empty statements'],
    ['<Policy/>', 'XML'],
    [valid.replace('Allow', 'Allow\\ud800'), 'half a character'],
    [valid.replace('"Effect"', '"__proto__":{},"Effect"'), 'a prototype'],
    [valid.replace('"s3:GetObject"', '["s3:GetObject",{"toString":1}]'), 'an object for a text'],
    [valid.padEnd(20_481), 'a byte too much'],
    ['x'.repeat(1_000_000), 'a megabyte'],
  ];
  for (const [body, what] of broken) {
    answers(await putPolicy(bucket, body), 400, 'MalformedPolicy', what);
  }
  answers(await putPolicy(bucket, 'x'.repeat(2_200_000)), 400, 'MaxMessageLengthExceeded');
  const none = await server.send({ method: 'GET', path: `/${bucket}`, query: 'policy=' });
  answers(none, 404, 'NoSuchBucketPolicy');
  assert.equal((await putPolicy(bucket, valid.padEnd(20_480))).status, 204);
  const kept = await server.send({ method: 'GET', path: `/${bucket}`, query: 'policy=' });
  assert.equal(kept.body, valid.padEnd(20_480), 'as it was sent');
  assert.equal(kept.headers['content-type'], 'application/json');
});

test('PutBucketPolicy: wrong digests, wrong confirmations and other places are refused', async () => {
  const bucket = await server.bucket();
  const valid = policyOf(bucket);
  const md5 = digest('md5', 'other', 'base64');
  answers(await putPolicy(bucket, valid, { headers: { 'content-md5': md5 } }), 400, 'BadDigest');
  const confirm = (value: string): Promise<RawAnswer> =>
    putPolicy(bucket, valid, { headers: { 'x-amz-confirm-remove-self-bucket-access': value } });
  answers(await confirm('maybe'), 400, 'InvalidArgument');
  assert.equal((await confirm('TRUE')).status, 204);
  answers(await putPolicy(bucket, valid, { path: `/${bucket}/key` }), 405, 'MethodNotAllowed');
  answers(await putPolicy(bucket, valid, { query: 'policy=&cors=' }), 400, 'InvalidArgument');
  answers(
    await putPolicy(bucket, valid, { query: 'policy=&versionId=null' }),
    400,
    'InvalidArgument',
  );
  answers(await server.sendUnsigned('PUT', `/${bucket}?policy`, {}, valid), 403, 'AccessDenied');
});

test('PutBucketCors: documents with types, entities, depth, other roots and repeated elements', async () => {
  const bucket = await server.bucket();
  const rule =
    '<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>';
  const valid = `<CORSConfiguration>${rule}</CORSConfiguration>`;
  const put = (body: string): Promise<RawAnswer> =>
    server.send({ method: 'PUT', path: `/${bucket}`, query: 'cors=', body });
  answers(await put(''), 400, 'MissingRequestBodyError');
  for (const xml of [
    `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>${valid.replace('*', '&e;')}`,
    valid.replace('*', '&unknown;'),
    valid.slice(0, -3),
    `${valid}${valid}`,
    valid.replace('<CORSRule>', `<CORSRule>${'<a>'.repeat(30)}${'</a>'.repeat(30)}`),
    '<CORSRules/>',
    '{}',
    valid.replace(
      '</CORSRule>',
      '<MaxAgeSeconds>1</MaxAgeSeconds><MaxAgeSeconds>2</MaxAgeSeconds></CORSRule>',
    ),
    valid.replace('</CORSRule>', '<MaxAgeSeconds>1e3</MaxAgeSeconds></CORSRule>'),
  ]) {
    answers(await put(xml), 400, 'MalformedXML', xml);
  }
  answers(await put(valid.padEnd(65_537)), 400, 'MaxMessageLengthExceeded');
  const none = await server.send({ method: 'GET', path: `/${bucket}`, query: 'cors=' });
  answers(none, 404, 'NoSuchCORSConfiguration');
  assert.equal((await put(valid.padEnd(65_536))).status, 200);
});

test('a preflight is never more than a question, whatever it carries', async () => {
  const bucket = await server.bucket();
  const rules = [
    { AllowedOrigins: ['*'], AllowedMethods: ['GET', 'DELETE'], AllowedHeaders: ['*'] },
  ];
  await server.s3.putBucketCors({ Bucket: bucket, CORSConfiguration: { CORSRules: rules } });
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const asks = { origin: 'https://x', 'access-control-request-method': 'DELETE' };
  const ask = (target: string, headers: Record<string, string>, body = ''): Promise<RawAnswer> =>
    server.sendUnsigned('OPTIONS', target, { ...asks, ...headers }, body);
  for (const target of [
    `/${bucket}/a`,
    `/${bucket}/a?acl&tagging&policy`,
    `/${bucket}/a?X-Amz-Signature=x`,
  ]) {
    const answer = await ask(target, {});
    assert.equal(answer.status, 200, `${target} ${answer.body}`);
    assert.equal(answer.headers['access-control-allow-origin'], '*');
    assert.equal(answer.headers['access-control-allow-credentials'], undefined);
  }
  assert.equal((await ask(`/${bucket}/a`, { authorization: 'nonsense' })).status, 200);
  assert.equal((await ask(`/${bucket}/a`, {}, 'a body')).status, 200);
  answers(await ask(`/${bucket}/%zz`, {}), 400, 'InvalidURI');
  answers(await ask('/UPPER/a', {}), 400, 'InvalidBucketName');
  const many = Array.from({ length: 2_000 }, (_, index) => `h${index}`).join();
  answers(
    await ask(`/${bucket}/a`, { 'access-control-request-headers': many }),
    403,
    'AccessForbidden',
  );
  await server.s3.headObject({ Bucket: bucket, Key: 'a' });
});

test('two Origin headers are one that no rule names; a forged one puts nothing into the reply', async () => {
  const bucket = await server.bucket();
  const rules = [
    { AllowedOrigins: ['https://a.example', 'https://*.b.example'], AllowedMethods: ['GET'] },
  ];
  await server.s3.putBucketCors({ Bucket: bucket, CORSConfiguration: { CORSRules: rules } });
  const head = requestHead('OPTIONS', `/${bucket}/a`, {
    host: server.host,
    origin: 'https://a.example',
    Origin: 'https://evil.example',
    'access-control-request-method': 'GET',
  });
  const answer = await exchange(server.endpoint, head);
  assert.notEqual(answer.status, 200);
  assert.equal(answer.headers['access-control-allow-origin'], undefined);
  for (const origin of [
    'https://evil.example',
    'https://a.example.evil',
    'https://b.example',
    'x\ty',
  ]) {
    const told = await server.sendUnsigned('GET', `/${bucket}/a`, { origin });
    answers(told, 403, 'AccessDenied');
    assert.equal(told.headers['access-control-allow-origin'], undefined, origin);
  }
  const quoted = 'https://"><script>.b.example';
  const told = await server.sendUnsigned('GET', `/${bucket}/a`, { origin: quoted });
  assert.equal(told.headers['access-control-allow-origin'], quoted);
  assert.doesNotMatch(told.body, /script/);
});

test('nothing secret was logged', () => {
  server.assertLogHoldsNoSecrets();
});
