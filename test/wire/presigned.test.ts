/** Presigned URLs made by hand: rows 29 to 32 of the table of bad input. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RawAnswer } from '../support/raw.ts';
import { refusedWith } from '../support/server.ts';
import { useWireServer } from '../support/wire.ts';

const server = useWireServer();
const HOUR = 3_600_000;

function answers(answer: RawAnswer, status: number, code: string, what?: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], what ?? answer.body);
}

async function bucketWithObject(): Promise<string> {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  return bucket;
}

test('A URL presigned by hand is good for what it was signed for', async () => {
  const path = `/${await bucketWithObject()}/a`;
  const query = server.presign({ method: 'GET', path });
  const answer = await server.sendUnsigned('GET', `${path}?${query}`);
  assert.deepEqual([answer.status, answer.body], [200, 'x']);
  // Headers that nobody signed but that change nothing do no harm.
  const ranged = await server.sendUnsigned('GET', `${path}?${query}`, { range: 'bytes=0-0' });
  assert.equal(ranged.status, 206);
});

test('row 29: an expired URL and one from the future are AccessDenied and say so', async () => {
  const path = `/${await bucketWithObject()}/a`;
  const get = (now: number, expires: string): Promise<RawAnswer> =>
    server.sendUnsigned('GET', `${path}?${server.presign({ method: 'GET', path, now, expires })}`);
  const expired = await get(Date.now() - HOUR, '3599');
  answers(expired, 403, 'AccessDenied');
  assert.match(expired.body, /Request has expired/);
  const early = await get(Date.now() + HOUR, '60');
  answers(early, 403, 'AccessDenied');
  assert.match(early.body, /not valid yet/);
  assert.equal((await get(Date.now() - HOUR, '3660')).status, 200);
});

test('row 30: X-Amz-Expires out of bounds is AccessDenied, what is no number is malformed', async () => {
  const path = `/${await bucketWithObject()}/a`;
  const get = (expires: string): Promise<RawAnswer> =>
    server.sendUnsigned('GET', `${path}?${server.presign({ method: 'GET', path, expires })}`);
  for (const expires of ['0', '-7', '604801', '609901', '99999999999999']) {
    answers(await get(expires), 403, 'AccessDenied', expires);
  }
  for (const expires of ['', 'soon', '1e3', '60s', '1.5']) {
    answers(await get(expires), 400, 'AuthorizationQueryParametersError', expires);
  }
  for (const expires of ['1', '604800']) assert.equal((await get(expires)).status, 200);
});

test('row 31: parameters given twice, misspelled, missing or malformed are refused', async () => {
  const path = `/${await bucketWithObject()}/a`;
  const query = server.presign({ method: 'GET', path });
  const pairs = query.split('&');
  const names = pairs.map((pair) => pair.slice(0, pair.indexOf('=')));
  const bad = [
    ...pairs.map((pair) => `${query}&${pair}`),
    ...names.map((name) => query.replace(name, name.toLowerCase())),
    ...names.map((name) => `${query}&${name.toLowerCase()}=x`),
    ...pairs.map((pair) => pairs.filter((other) => other !== pair).join('&')),
    query.replace('AWS4-HMAC-SHA256', 'AWS4-HMAC-MD5'),
    query.replace(/X-Amz-Date=[^&]*/, 'X-Amz-Date=yesterday'),
    query.replace(/X-Amz-Credential=[^&]*/, 'X-Amz-Credential=a'),
    query.replace('us-east-1', 'eu-west-1'),
    query.replace('%2Fs3%2F', '%2Fec2%2F'),
    query.replace('SignedHeaders=host', 'SignedHeaders=Host'),
  ];
  for (const one of bad) {
    const answer = await server.sendUnsigned('GET', `${path}?${one}`);
    answers(answer, 400, 'AuthorizationQueryParametersError', one);
  }
});

test('row 31: a URL that does not sign its host is AccessDenied', async () => {
  const path = `/${await bucketWithObject()}/a`;
  const query = server
    .presign({ method: 'GET', path })
    .replace('SignedHeaders=host', 'SignedHeaders=accept');
  answers(await server.sendUnsigned('GET', `${path}?${query}`), 403, 'AccessDenied');
});

test('row 32: a URL for GET cannot PUT, DELETE, or reach another key, version or parameter', async () => {
  const bucket = await bucketWithObject();
  const path = `/${bucket}/a`;
  const query = server.presign({ method: 'GET', path });
  const requests: [string, string, string?][] = [
    ['PUT', `${path}?${query}`, 'stolen'],
    ['DELETE', `${path}?${query}`],
    ['HEAD', `${path}?${query}`],
    ['GET', `/${bucket}/b?${query}`],
    ['GET', `/${bucket}?${query}`],
    ['GET', `${path}?versionId=null&${query}`],
    ['GET', `${path}?${query}&partNumber=1`],
    ['GET', `${path}?attributes&${query}`],
    ['DELETE', `/${bucket}?${query}`],
  ];
  for (const [method, target, body] of requests) {
    const answer = await server.sendUnsigned(method, target, {}, body);
    assert.equal(answer.status, 403, `${method} ${target}`);
    if (method !== 'HEAD') assert.equal(answer.code, 'SignatureDoesNotMatch');
  }
  const { ContentLength } = await server.s3.headObject({ Bucket: bucket, Key: 'a' });
  assert.equal(ContentLength, 1);
});

test('row 32: an x-amz-* header that was not signed with the URL is AccessDenied', async () => {
  const bucket = await bucketWithObject();
  const path = `/${bucket}/b`;
  const query = server.presign({ method: 'PUT', path });
  const headers = { 'x-amz-copy-source': `/${bucket}/a` };
  answers(await server.sendUnsigned('PUT', `${path}?${query}`, headers), 403, 'AccessDenied');
  await refusedWith(404, server.s3.headObject({ Bucket: bucket, Key: 'b' }));
});

test('A presigned PUT keeps the promises of its headers: Content-MD5 is verified', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  const query = server.presign({ method: 'PUT', path });
  const headers = { 'content-md5': 'AAAAAAAAAAAAAAAAAAAAAA==' };
  answers(await server.sendUnsigned('PUT', `${path}?${query}`, headers, 'x'), 400, 'BadDigest');
  await refusedWith(404, server.s3.headObject({ Bucket: bucket, Key: 'a' }));
});

test('row 75: presigned query strings are not in the log', () => {
  server.assertLogHoldsNoSecrets();
});
