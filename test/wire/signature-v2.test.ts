/** Signature Version 2 against a server that accepts it, signed by hand as old clients sign. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import type { RawAnswer } from '../support/raw.ts';
import { SERVER_KEYS } from '../support/server.ts';
import { useWireServer } from '../support/wire.ts';

const server = useWireServer({ signatureV2: true, domains: ['s3.test'] });

const hmac = (text: string, secret = SERVER_KEYS.secretKey): string =>
  createHmac('sha1', secret).update(text).digest('base64');

interface Request {
  method: string;
  target: string;
  /** Signed in the place of the target. */
  resource?: string;
  headers?: Record<string, string>;
  body?: string;
  secret?: string;
}

/** Headers in lower case, with Date unless x-amz-date is given. */
function send({ method, target, resource, headers = {}, body, secret }: Request) {
  const all: Record<string, string> = { date: new Date().toUTCString(), ...headers };
  const amz = Object.keys(all)
    .filter((name) => name.startsWith('x-amz-'))
    .sort()
    .map((name) => `${name}:${all[name]}\n`);
  const text = [
    method,
    all['content-md5'] ?? '',
    all['content-type'] ?? '',
    all['x-amz-date'] === undefined ? all['date'] : '',
    amz.join('') + (resource ?? target),
  ].join('\n');
  const authorization = `AWS ${SERVER_KEYS.accessKey}:${hmac(text, secret)}`;
  return server.sendUnsigned(method, target, { ...all, authorization }, body);
}

function presign(method: string, path: string, expires: number, more = ''): string {
  const text = `${method}\n\n\n${expires}\n${path}${more === '' ? '' : `?${more}`}`;
  const query = `AWSAccessKeyId=${SERVER_KEYS.accessKey}&Expires=${expires}&Signature=${encodeURIComponent(hmac(text))}`;
  return `${path}?${more === '' ? '' : `${more}&`}${query}`;
}

function answers(answer: RawAnswer, status: number, code: string, what?: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], what ?? answer.body);
}

test('Version 2 writes, reads, lists and deletes', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/fran%C3%A7ais/a%20b`;
  const put = await send({
    method: 'PUT',
    target: path,
    headers: { 'content-type': 'text/plain', 'x-amz-meta-colour': 'blue' },
    body: 'hello',
  });
  assert.equal(put.status, 200, put.body);
  const found = await server.s3.getObject({ Bucket: bucket, Key: 'français/a b' });
  assert.equal(await found.Body?.transformToString(), 'hello');
  assert.deepEqual(found.Metadata, { colour: 'blue' });
  const got = await send({ method: 'GET', target: path });
  assert.equal(got.body, 'hello');
  const listed = await send({
    method: 'GET',
    target: `/${bucket}?list-type=2&prefix=fran`,
    resource: `/${bucket}`,
  });
  assert.match(listed.body, /<KeyCount>1<\/KeyCount>/);
  const versions = await send({ method: 'GET', target: `/${bucket}?versions` });
  assert.match(versions.body, /<ListVersionsResult/);
  assert.equal((await send({ method: 'DELETE', target: path })).status, 204);
});

test('Version 2 signs the bucket of a virtual host, though it is not in the path', async () => {
  const bucket = await server.bucket();
  const host = `${bucket}.s3.test:9000`;
  const put = await send({
    method: 'PUT',
    target: '/key',
    resource: `/${bucket}/key`,
    headers: { host },
    body: 'x',
  });
  assert.equal(put.status, 200, put.body);
  const without = await send({ method: 'GET', target: '/key', headers: { host } });
  answers(without, 403, 'SignatureDoesNotMatch');
});

test('a URL presigned by Version 2 is good for its method, key and overrides until it expires', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const later = Math.floor(Date.now() / 1000) + 60;
  const path = `/${bucket}/a`;
  const get = (target: string, method = 'GET') => server.sendUnsigned(method, target);
  assert.equal((await get(presign('GET', path, later))).body, 'x');
  const override = 'response-content-type=text/html';
  const overridden = await get(presign('GET', path, later, override));
  assert.equal(overridden.headers['content-type'], 'text/html');
  answers(
    await get(`${presign('GET', path, later)}&${override}`),
    403,
    'SignatureDoesNotMatch',
    'an override that nobody signed',
  );
  answers(await get(presign('GET', path, later), 'DELETE'), 403, 'SignatureDoesNotMatch');
  answers(
    await get(presign('GET', path, later).replace('/a?', '/b?')),
    403,
    'SignatureDoesNotMatch',
  );
  const expired = await get(presign('GET', path, later - 120));
  answers(expired, 403, 'AccessDenied');
  assert.match(expired.body, /Request has expired/);
});

test('a wrong secret is SignatureDoesNotMatch, and nothing is stored', async () => {
  const bucket = await server.bucket();
  const target = `/${bucket}/a`;
  answers(
    await send({ method: 'PUT', target, body: 'x', secret: 'wrong' }),
    403,
    'SignatureDoesNotMatch',
  );
  answers(await send({ method: 'GET', target }), 404, 'NoSuchKey');
});

test('a plain request cannot be turned into one of its sub-resources', async () => {
  const bucket = await server.bucket();
  for (const sub of ['versioning', 'tagging', 'policy', 'encryption', 'ownershipControls']) {
    const target = `/${bucket}?${sub}`;
    answers(
      await send({ method: 'PUT', target, resource: `/${bucket}` }),
      403,
      'SignatureDoesNotMatch',
      sub,
    );
  }
  // Nor can a header come in through the query.
  const target = `/${bucket}/a?X-Amz-Storage-Class=STANDARD_IA`;
  answers(
    await send({ method: 'PUT', target, resource: `/${bucket}/a` }),
    403,
    'SignatureDoesNotMatch',
  );
});

test('Version 4 goes on beside it, and the mechanisms do not mix', async () => {
  assert.equal((await server.send({ method: 'GET', path: '/' })).status, 200);
  const query = presign('GET', '/', Math.floor(Date.now() / 1000) + 60).slice(2);
  answers(await server.send({ method: 'GET', path: '/', query }), 400, 'InvalidArgument');
  answers(
    await server.sendUnsigned('GET', '/', { authorization: 'AWS HAHAHA' }),
    400,
    'InvalidArgument',
  );
});

test('nothing secret is in the log', () => {
  server.assertLogHoldsNoSecrets();
});
