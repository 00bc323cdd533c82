/** Who may ask: rows 1 to 21 and 33 of the table of bad input, signed (or not) by hand. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { SUB_RESOURCES } from '../../gateway/s3/detect.ts';
import type { RawAnswer } from '../support/raw.ts';
import { refusedWith, SERVER_KEYS } from '../support/server.ts';
import { amzDate, sha256 } from '../support/sign.ts';
import { useWireServer, type WireRequest } from '../support/wire.ts';

const server = useWireServer();
const GET = { method: 'GET', path: '/' } as const;
const HOUR = 3_600_000;

function answers(answer: RawAnswer, status: number, code: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], answer.body);
}

/** A request for everything that the detection table knows, as [method, target, headers, body]. */
function everyRequest(bucket: string): [string, string, Record<string, string>, string][] {
  const object = `/${bucket}/a`;
  const copy = { 'x-amz-copy-source': `/${bucket}/b` };
  const upload = `${object}?partNumber=1&uploadId=1`;
  const plain = ['GET', 'HEAD', 'PUT', 'DELETE', 'POST'];
  const resources = (place: 'bucket' | 'object'): [string, string][] =>
    Object.entries(SUB_RESOURCES[place]).flatMap(([name, methods]) =>
      Object.keys(methods).map((method): [string, string] => [
        method,
        `${place === 'bucket' ? `/${bucket}` : object}?${name}=1`,
      ]),
    );
  return [
    ['GET', '/', {}, ''],
    ...[`/${bucket}`, object].flatMap((target) =>
      plain.map((method): [string, string, Record<string, string>, string] => [
        method,
        target,
        {},
        method === 'PUT' || method === 'POST' ? 'x' : '',
      ]),
    ),
    ['GET', `/${bucket}?list-type=2`, {}, ''],
    ['PUT', object, copy, ''],
    ['PUT', upload, {}, 'x'],
    ['PUT', upload, copy, ''],
    ...[...resources('bucket'), ...resources('object')].map(
      ([method, target]): [string, string, Record<string, string>, string] => [
        method,
        // A part needs a number before it is anybody's business.
        target.includes('uploadId') && method === 'PUT' ? `${target}&partNumber=1` : target,
        {},
        method === 'PUT' || method === 'POST' ? '<x/>' : '',
      ],
    ),
  ];
}

/** Nobody has no buckets, and is told of each key that he may not delete it: both are answers. */
const ANSWERED = (bucket: string): string[] => ['GET /', `POST /${bucket}?delete=1`];

test('row 1: without credentials every request is AccessDenied, of what is not there nobody is told more', async () => {
  for (const bucket of [await server.bucket(), 'no-such-bucket']) {
    const all = everyRequest(bucket);
    assert.ok(all.length > 80);
    for (const [method, target, headers, body] of all) {
      const what = `${method} ${target}`;
      if (ANSWERED(bucket).includes(what)) continue;
      const answer = await server.sendUnsigned(method, target, headers, body);
      const absent = bucket === 'no-such-bucket' && answer.status === 404;
      assert.equal(answer.status, absent ? 404 : 403, what);
      if (method !== 'HEAD') {
        assert.equal(answer.code, absent ? 'NoSuchBucket' : 'AccessDenied', what);
      }
    }
  }
  const list = await server.sendUnsigned('GET', '/');
  assert.equal(list.status, 200);
  assert.match(list.body, /<Buckets><\/Buckets>/);
});

test('without credentials nothing is deleted by DeleteObjects, key by key', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const body = '<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>';
  const md5 = createHash('md5').update(body).digest('base64');
  const headers = { 'content-md5': md5 };
  const answer = await server.sendUnsigned('POST', `/${bucket}?delete`, headers, body);
  assert.equal(answer.status, 200);
  assert.equal(answer.body.match(/<Error>.*?<Code>AccessDenied<\/Code>/g)?.length, 2);
  await server.s3.headObject({ Bucket: bucket, Key: 'a' });
});

test('row 2: an unknown access key is InvalidAccessKeyId', async () => {
  const keys = { ...SERVER_KEYS, accessKey: 'AKIDUNKNOWN' };
  answers(await server.send({ ...GET, keys }), 403, 'InvalidAccessKeyId');
});

test('row 3: a wrong secret, or a signature with one character changed, is SignatureDoesNotMatch', async () => {
  const keys = { ...SERVER_KEYS, secretKey: `${SERVER_KEYS.secretKey}x` };
  const answer = await server.send({ ...GET, keys });
  answers(answer, 403, 'SignatureDoesNotMatch');
  const right = server.sign(GET);
  for (const at of [0, 31, 63]) {
    const changed = right.signature[at] === '0' ? '1' : '0';
    const signature = right.signature.slice(0, at) + changed + right.signature.slice(at + 1);
    const Authorization = (right.headers['Authorization'] ?? '').replace(
      right.signature,
      signature,
    );
    const changedAnswer = await server.sendUnsigned('GET', '/', {
      ...right.headers,
      Authorization,
    });
    answers(changedAnswer, 403, 'SignatureDoesNotMatch');
    // The answer says what was signed, never what the signature should have been.
    assert.match(changedAnswer.body, /<StringToSign>AWS4-HMAC-SHA256/);
    assert.ok(!changedAnswer.body.includes(right.signature));
    assert.ok(!changedAnswer.body.includes(SERVER_KEYS.secretKey));
  }
  for (const signature of ['', 'x', '0'.repeat(63), '0'.repeat(65), '0'.repeat(10_000)]) {
    const Authorization = (right.headers['Authorization'] ?? '').replace(
      right.signature,
      signature,
    );
    const short = await server.sendUnsigned('GET', '/', { ...right.headers, Authorization });
    assert.ok(['SignatureDoesNotMatch', 'InvalidArgument'].includes(short.code), short.code);
  }
});

test('row 4: a changed method, path, query or signed header is SignatureDoesNotMatch', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const signed: WireRequest = {
    method: 'GET',
    path: `/${bucket}/a`,
    headers: { 'x-amz-checksum-mode': 'ENABLED' },
  };
  const { headers } = server.sign(signed);
  const changes: [string, string, Record<string, string>][] = [
    ['DELETE', `/${bucket}/a`, headers],
    ['GET', `/${bucket}/b`, headers],
    ['GET', `/${bucket}/a?versionId=null`, headers],
    ['GET', `/${bucket}/a`, { ...headers, 'x-amz-checksum-mode': 'enabled' }],
    ['GET', `/${bucket}/a`, { ...headers, host: 'localhost' }],
    ['GET', `/${bucket}/a`, { ...headers, 'x-amz-date': amzDate(Date.now() + 60_000) }],
    ['GET', `/${bucket}/a`, { ...headers, 'x-amz-content-sha256': sha256('x') }],
  ];
  for (const [method, target, changed] of changes) {
    const answer = await server.sendUnsigned(method, target, changed);
    answers(answer, 403, 'SignatureDoesNotMatch');
  }
  assert.equal((await server.sendUnsigned('GET', `/${bucket}/a`, headers)).status, 200);
});

test('row 5: a request that does not sign its host is AccessDenied', async () => {
  const signed = ['x-amz-content-sha256', 'x-amz-date'];
  const answer = await server.send({ ...GET, signed });
  answers(answer, 403, 'AccessDenied');
  assert.match(answer.body, /<HeadersNotSigned>host</);
});

test('row 6: an x-amz-* header that is not signed is AccessDenied', async () => {
  const bucket = await server.bucket();
  const names = [
    'acl',
    'meta-colour',
    'copy-source',
    'tagging',
    'checksum-crc32',
    'security-token',
  ];
  for (const name of names) {
    const request: WireRequest = { method: 'PUT', path: `/${bucket}/a`, body: 'x' };
    const { headers } = server.sign(request);
    const extra = { ...headers, [`x-amz-${name}`]: `${bucket}/b` };
    const answer = await server.sendUnsigned('PUT', `/${bucket}/a`, extra, 'x');
    assert.ok(
      [403, 400].includes(answer.status) && ['AccessDenied', 'InvalidToken'].includes(answer.code),
      `${name}: ${answer.status} ${answer.code}`,
    );
  }
  await refusedWith(404, server.s3.headObject({ Bucket: bucket, Key: 'a' }));
});

test('row 7: Content-Type need not be signed', async () => {
  const bucket = await server.bucket();
  const { headers } = server.sign({ method: 'PUT', path: `/${bucket}/a`, body: 'x' });
  const sent = { ...headers, 'content-type': 'text/plain' };
  assert.equal((await server.sendUnsigned('PUT', `/${bucket}/a`, sent, 'x')).status, 200);
  const { ContentType } = await server.s3.headObject({ Bucket: bucket, Key: 'a' });
  assert.equal(ContentType, 'text/plain');
});

test('row 8: a clock more than 15 minutes off is RequestTimeTooSkewed', async () => {
  for (const off of [-16 * 60_000, 16 * 60_000, -24 * HOUR]) {
    const answer = await server.send({ ...GET, now: Date.now() + off });
    answers(answer, 403, 'RequestTimeTooSkewed');
    assert.match(answer.body, /<ServerTime>/);
  }
  for (const off of [-14 * 60_000, 14 * 60_000]) {
    assert.equal((await server.send({ ...GET, now: Date.now() + off })).status, 200);
  }
});

test('row 9: a scope of another day is SignatureDoesNotMatch', async () => {
  const day = amzDate(Date.now() - 48 * HOUR).slice(0, 8);
  answers(await server.send({ ...GET, scope: { day } }), 403, 'SignatureDoesNotMatch');
});

test('row 10: without a date, or with a malformed one, the request is AccessDenied', async () => {
  const { scope } = server.sign(GET);
  answers(await server.send({ ...GET, date: null, scope }), 403, 'AccessDenied');
  for (const date of ['', 'yesterday', '2026-11-20T00:00:00Z', '20261320T000000Z', '1795000000']) {
    answers(await server.send({ ...GET, date, scope }), 403, 'AccessDenied');
  }
});

test('row 11: a wrong region is AuthorizationHeaderMalformed, and the answer names the right one', async () => {
  const answer = await server.send({ ...GET, scope: { region: 'eu-west-1' } });
  answers(answer, 400, 'AuthorizationHeaderMalformed');
  assert.match(answer.body, /<Region>us-east-1<\/Region>/);
});

test('row 12: a wrong service or terminator is AuthorizationHeaderMalformed', async () => {
  for (const scope of [{ service: 'ec2' }, { terminator: 'aws5_request' }]) {
    answers(await server.send({ ...GET, scope }), 400, 'AuthorizationHeaderMalformed');
  }
});

test('row 13: garbage, missing parts, other mechanisms and an empty value are told apart', async () => {
  const right = server.sign(GET).headers;
  const authorization = right['Authorization'] ?? '';
  const table: [string, number, string][] = [
    ['garbage', 400, 'InvalidArgument'],
    ['AWS4-HMAC-SHA256', 400, 'InvalidArgument'],
    ['AWS4-HMAC-SHA256 Credential=a', 400, 'InvalidArgument'],
    [authorization.replace(/SignedHeaders=[^,]*, /, ''), 400, 'InvalidArgument'],
    [authorization.replace(/, Signature=.*/, ''), 400, 'InvalidArgument'],
    [`${authorization}, Signature=${'0'.repeat(64)}`, 400, 'InvalidArgument'],
    [
      authorization.replace(/Credential=[^,]*/, 'Credential=a/b'),
      400,
      'AuthorizationHeaderMalformed',
    ],
    ['Basic dXNlcjpwYXNz', 400, 'InvalidRequest'],
    ['Bearer token', 400, 'InvalidRequest'],
    ['', 403, 'AccessDenied'],
  ];
  for (const [Authorization, status, code] of table) {
    const answer = await server.sendUnsigned('GET', '/', { ...right, Authorization });
    assert.deepEqual([answer.status, answer.code], [status, code], Authorization);
  }
});

test('row 14: Signature Version 2 is InvalidRequest, as header and as query', async () => {
  const Authorization = `AWS ${SERVER_KEYS.accessKey}:bm8gc2lnbmF0dXJl`;
  const header = await server.sendUnsigned('GET', '/', { Authorization });
  answers(header, 400, 'InvalidRequest');
  const query = `AWSAccessKeyId=${SERVER_KEYS.accessKey}&Expires=1999999999&Signature=bm8%3D`;
  const presigned = await server.sendUnsigned('GET', `/?${query}`);
  answers(presigned, 400, 'InvalidRequest');
  for (const { body } of [header, presigned]) assert.match(body, /s3\.signatureV2/);
});

test('row 15: credentials in header and query together are InvalidArgument', async () => {
  const query = server.presign(GET);
  answers(await server.send({ ...GET, query }), 400, 'InvalidArgument');
  const { headers } = server.sign(GET);
  answers(await server.sendUnsigned('GET', `/?${query}`, headers), 400, 'InvalidArgument');
});

test('row 16: a header-signed request without x-amz-content-sha256 is InvalidRequest', async () => {
  answers(await server.send({ ...GET, payloadHash: null }), 400, 'InvalidRequest');
});

test('row 17: x-amz-content-sha256 that is neither a hash nor a known word is InvalidArgument', async () => {
  const bucket = await server.bucket();
  for (const payloadHash of [
    'abc',
    'unsigned-payload',
    'STREAMING-AWS4-HMAC-SHA512',
    'g'.repeat(64),
  ]) {
    const answer = await server.send({
      method: 'PUT',
      path: `/${bucket}/a`,
      body: 'x',
      payloadHash,
    });
    answers(answer, 400, 'InvalidArgument');
  }
});

test('row 18: a body with another hash is XAmzContentSHA256Mismatch and nothing is stored', async () => {
  const bucket = await server.bucket();
  const payloadHash = sha256('something else');
  for (const body of ['x', 'y'.repeat(2_000_000)]) {
    const answer = await server.send({ method: 'PUT', path: `/${bucket}/a`, body, payloadHash });
    answers(answer, 400, 'XAmzContentSHA256Mismatch');
  }
  const body = '<Delete><Object><Key>a</Key></Object></Delete>';
  const path = `/${bucket}`;
  const posted = await server.send({ method: 'POST', path, query: 'delete=', body, payloadHash });
  answers(posted, 400, 'XAmzContentSHA256Mismatch');
  await refusedWith(404, server.s3.headObject({ Bucket: bucket, Key: 'a' }));
});

test('row 19: UNSIGNED-PAYLOAD is accepted on this endpoint', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  const payloadHash = 'UNSIGNED-PAYLOAD';
  assert.equal((await server.send({ method: 'PUT', path, body: 'x', payloadHash })).status, 200);
  assert.equal((await server.send({ method: 'GET', path, payloadHash })).body, 'x');
});

test('row 20: unsigned chunks with a fake signature are SignatureDoesNotMatch on every route', async () => {
  const bucket = await server.bucket();
  const keys = { ...SERVER_KEYS, secretKey: 'not the secret of this server' };
  const payloadHash = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';
  const body = '1\r\nx\r\n0\r\n\r\n';
  for (const [method, target, headers] of everyRequest(bucket)) {
    const [path = '', query = ''] = target.split('?');
    const answer = await server.send({
      method,
      path,
      query,
      headers: { ...headers, 'x-amz-decoded-content-length': '1' },
      body,
      payloadHash,
      keys,
    });
    assert.equal(answer.status, 403, `${method} ${target}`);
    if (method !== 'HEAD')
      assert.equal(answer.code, 'SignatureDoesNotMatch', `${method} ${target}`);
    // Without any signature it is nobody, who may do nothing.
    const anonymous = await server.sendUnsigned(
      method,
      target,
      { ...headers, 'x-amz-content-sha256': payloadHash, 'x-amz-decoded-content-length': '1' },
      body,
    );
    if (!ANSWERED(bucket).includes(`${method} ${target}`)) {
      assert.equal(anonymous.status, 403, `${method} ${target}`);
    }
  }
  await server.s3.headBucket({ Bucket: bucket });
  assert.equal((await server.s3.listObjectsV2({ Bucket: bucket })).KeyCount, 0);
});

test('row 21: a form without credentials is AccessDenied on every route', async () => {
  const bucket = await server.bucket();
  const part = (name: string) =>
    `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\na\r\n`;
  const body = `${part('key')}${part('file')}--b--\r\n`;
  const form = { 'content-type': 'multipart/form-data; boundary=b' };
  for (const target of ['/', `/${bucket}`, `/${bucket}/a?uploads`, `/${bucket}/a`]) {
    const answer = await server.sendUnsigned('POST', target, form, body);
    answers(answer, 403, 'AccessDenied');
  }
});

test('row 33: a session token is InvalidToken, as header and as query', async () => {
  const headers = { 'x-amz-security-token': 'token' };
  answers(await server.send({ ...GET, headers }), 400, 'InvalidToken');
  const query = server.presign({ ...GET, query: 'X-Amz-Security-Token=token' });
  answers(await server.sendUnsigned('GET', `/?${query}`), 400, 'InvalidToken');
});

test('A header on which authentication rests, sent twice, is refused', async () => {
  const { headers } = server.sign(GET);
  for (const name of ['host', 'x-amz-date', 'x-amz-content-sha256', 'Authorization']) {
    const twice = {
      ...headers,
      [name.toUpperCase() === name ? name.toLowerCase() : name.toUpperCase()]: headers[name] ?? '',
    };
    const answer = await server.sendUnsigned('GET', '/', twice);
    assert.equal(answer.status, 400, name);
  }
});

test('row 75: neither secrets nor signatures are in the log', () => {
  server.assertLogHoldsNoSecrets();
});
