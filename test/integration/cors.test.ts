/** CORS rules through the SDK, and what browsers get: preflights and actual requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CORSRule } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { exchange, type RawAnswer, requestHead } from '../support/raw.ts';
import { refusedWith, useServer } from '../support/server.ts';

const server = useServer();
const ORIGIN = 'https://app.example.com';
const VARY = 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method';

async function bucketWith(...CORSRules: CORSRule[]): Promise<string> {
  const Bucket = await server.bucket();
  await server.s3.putBucketCors({ Bucket, CORSConfiguration: { CORSRules } });
  return Bucket;
}

type Sent = Record<string, string>;

/** Unsigned, as browsers ask. */
function options(target: string, headers: Sent): Promise<RawAnswer> {
  const { host } = new URL(server.endpoint);
  return exchange(server.endpoint, requestHead('OPTIONS', target, { host, ...headers }));
}

const asks = (method: string, headers?: string): Sent => ({
  origin: ORIGIN,
  'access-control-request-method': method,
  ...(headers === undefined ? {} : { 'access-control-request-headers': headers }),
});

/** The Access-Control-* headers and Vary of an answer. */
function corsOf(headers: Iterable<[string, string]>): Sent {
  return Object.fromEntries(
    [...headers].filter(([name]) => name.startsWith('access-control-') || name === 'vary'),
  );
}

const ALLOWED = {
  'access-control-allow-origin': ORIGIN,
  'access-control-allow-methods': 'GET, PUT',
  'access-control-allow-credentials': 'true',
  'access-control-expose-headers': 'ETag',
  'access-control-max-age': '600',
  vary: VARY,
};
const RULE: CORSRule = {
  AllowedOrigins: ['https://*.example.com'],
  AllowedMethods: ['GET', 'PUT'],
  AllowedHeaders: ['x-amz-*', 'content-type'],
  ExposeHeaders: ['ETag'],
  MaxAgeSeconds: 600,
};

test('PutBucketCors, GetBucketCors and DeleteBucketCors keep the rules of a bucket', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const missing = await refusedWith('NoSuchCORSConfiguration', s3.getBucketCors({ Bucket }));
  assert.equal(missing.$metadata.httpStatusCode, 404);
  const CORSRules: CORSRule[] = [
    { ...RULE, ID: 'first & <best>' },
    { AllowedOrigins: ['*'], AllowedMethods: ['HEAD', 'POST', 'DELETE'] },
  ];
  await s3.putBucketCors({ Bucket, CORSConfiguration: { CORSRules } });
  assert.deepEqual((await s3.getBucketCors({ Bucket })).CORSRules, CORSRules);
  await s3.putBucketCors({ Bucket, CORSConfiguration: { CORSRules: [RULE] } });
  assert.deepEqual((await s3.getBucketCors({ Bucket })).CORSRules, [RULE]);
  await s3.deleteBucketCors({ Bucket });
  await s3.deleteBucketCors({ Bucket });
  await refusedWith('NoSuchCORSConfiguration', s3.getBucketCors({ Bucket }));
  for (const request of [
    () => s3.getBucketCors({ Bucket: 'no-such' }),
    () => s3.putBucketCors({ Bucket: 'no-such', CORSConfiguration: { CORSRules } }),
    () => s3.deleteBucketCors({ Bucket: 'no-such' }),
  ]) {
    await refusedWith('NoSuchBucket', request());
  }
});

test('PutBucketCors refuses rules that cannot be and leaves those there are', async () => {
  const { s3 } = server;
  const Bucket = await bucketWith(RULE);
  const wrong: CORSRule[][] = [
    [{ ...RULE, AllowedMethods: ['PATCH'] }],
    [{ ...RULE, AllowedOrigins: ['*.*'] }],
    [{ ...RULE, AllowedHeaders: ['*-*'] }],
    [{ ...RULE, ExposeHeaders: ['*'] }],
    [{ ...RULE, ExposeHeaders: ['a\r\nSet-Cookie: b'] }],
    Array.from({ length: 101 }, () => RULE),
  ];
  for (const CORSRules of wrong) {
    await refusedWith(
      'InvalidRequest',
      s3.putBucketCors({ Bucket, CORSConfiguration: { CORSRules } }),
    );
  }
  await refusedWith(
    'MalformedXML',
    s3.putBucketCors({ Bucket, CORSConfiguration: { CORSRules: [] } }),
  );
  const large = Array.from({ length: 70 }, () => ({
    ...RULE,
    AllowedOrigins: ['x'.repeat(1_000)],
  }));
  await refusedWith(
    'MaxMessageLengthExceeded',
    s3.putBucketCors({ Bucket, CORSConfiguration: { CORSRules: large } }),
  );
  assert.deepEqual((await s3.getBucketCors({ Bucket })).CORSRules, [RULE]);
});

test('a preflight needs no signature, for buckets, objects that are not there and presigned URLs', async () => {
  const bucket = await bucketWith(RULE);
  const url = await getSignedUrl(server.s3, new PutObjectCommand({ Bucket: bucket, Key: 'a' }));
  const presigned = new URL(url);
  for (const target of [`/${bucket}`, `/${bucket}/none`, presigned.pathname + presigned.search]) {
    const answer = await options(target, asks('PUT', 'X-Amz-Date, Content-Type'));
    assert.equal(answer.status, 200, answer.body);
    assert.equal(answer.body, '');
    assert.equal(answer.headers['content-length'], '0');
    assert.ok(answer.headers['x-amz-request-id']);
    assert.deepEqual(corsOf(Object.entries(answer.headers)), {
      ...ALLOWED,
      'access-control-allow-headers': 'x-amz-date, content-type',
    });
  }
});

test('a preflight that is not allowed is AccessForbidden, one that cannot be is BadRequest', async () => {
  const bucket = await bucketWith(RULE);
  const plain = await server.bucket();
  const table: [target: string, headers: Sent, status: number, message: RegExp][] = [
    [
      `/${bucket}/a`,
      asks('DELETE'),
      403,
      /This CORS request is not allowed.*<Method>DELETE<.*<ResourceType>OBJECT</,
    ],
    [`/${bucket}`, asks('GET', 'authorization'), 403, /<Method>GET<.*<ResourceType>BUCKET</],
    [`/${bucket}/a`, { ...asks('GET'), origin: 'https://example.com' }, 403, /not allowed/],
    [`/${bucket}/a`, { ...asks('GET'), origin: 'null' }, 403, /not allowed/],
    [`/${plain}/a`, asks('GET'), 403, /CORS is not enabled for this bucket/],
    ['/no-such-bucket/a', asks('GET'), 403, /Bucket not found/],
    ['/', asks('GET'), 403, /CORS is not enabled/],
    [`/${bucket}/a`, {}, 400, /Origin request header needed/],
    [`/${bucket}/a`, { origin: ORIGIN }, 400, /Invalid Access-Control-Request-Method: null/],
    [`/${bucket}/a`, asks('TRACE'), 400, /Invalid Access-Control-Request-Method: TRACE/],
  ];
  for (const [target, headers, status, message] of table) {
    const answer = await options(target, headers);
    assert.equal(answer.status, status, `${target} ${answer.body}`);
    assert.equal(answer.code, status === 403 ? 'AccessForbidden' : 'BadRequest');
    assert.match(answer.body, message);
    assert.deepEqual(corsOf(Object.entries(answer.headers)), {}, target);
  }
});

test('an actual request of an allowed origin says so, also when it is refused or has no body', async () => {
  const Bucket = await bucketWith(RULE);
  await server.s3.putObject({ Bucket, Key: 'a', Body: 'content' });
  const url = await getSignedUrl(server.s3, new GetObjectCommand({ Bucket, Key: 'a' }));
  const none = await getSignedUrl(server.s3, new GetObjectCommand({ Bucket, Key: 'none' }));
  const ask = async (
    target: string,
    init: Omit<RequestInit, 'headers'> & { headers?: Sent } = {},
  ): Promise<[number, Sent]> => {
    const answer = await fetch(target, { ...init, headers: { origin: ORIGIN, ...init.headers } });
    await answer.arrayBuffer();
    return [answer.status, corsOf(answer.headers)];
  };
  assert.deepEqual(await ask(url), [200, ALLOWED]);
  assert.deepEqual(await ask(url, { headers: { range: 'bytes=0-1' } }), [206, ALLOWED]);
  const etag = (await server.s3.headObject({ Bucket, Key: 'a' })).ETag ?? '';
  assert.deepEqual(await ask(url, { headers: { 'if-none-match': etag } }), [304, ALLOWED]);
  assert.deepEqual(await ask(url, { headers: { range: 'bytes=99-' } }), [416, ALLOWED]);
  assert.deepEqual(await ask(none), [404, ALLOWED]);
  assert.deepEqual(await ask(`${url}x`), [403, ALLOWED]);
  assert.deepEqual(await ask(`${server.endpoint}/${Bucket}/a`), [403, ALLOWED]);
  // What is refused before the bucket is looked at is shown, too.
  assert.deepEqual(await ask(`${server.endpoint}/${Bucket}/a?acl&tagging`), [400, ALLOWED]);
  assert.deepEqual(await ask(url, { method: 'PUT', body: 'x' }), [403, ALLOWED]);
  assert.deepEqual(await ask(url, { method: 'DELETE' }), [403, { vary: VARY }]);
  assert.deepEqual(await ask(url, { headers: { origin: 'https://evil.com' } }), [
    200,
    { vary: VARY },
  ]);
});

test('a form that a page posts is answered for its origin, also when it is refused', async () => {
  const bucket = await bucketWith({ AllowedOrigins: [ORIGIN], AllowedMethods: ['POST'] });
  const form = new FormData();
  form.set('key', 'a');
  form.set('file', new Blob(['content']));
  const url = `${server.endpoint}/${bucket}`;
  const answer = await fetch(url, { method: 'POST', body: form, headers: { origin: ORIGIN } });
  assert.equal(answer.status, 403, await answer.text());
  assert.deepEqual(corsOf(answer.headers), {
    'access-control-allow-origin': ORIGIN,
    'access-control-allow-methods': 'POST',
    'access-control-allow-credentials': 'true',
    vary: VARY,
  });
});

test('without an Origin, without rules and after DeleteBucketCors nothing is said', async () => {
  const Bucket = await bucketWith(RULE);
  await server.s3.putObject({ Bucket, Key: 'a', Body: 'x' });
  const url = await getSignedUrl(server.s3, new GetObjectCommand({ Bucket, Key: 'a' }));
  assert.deepEqual(corsOf((await fetch(url)).headers), {});
  const asked = async (): Promise<Sent> =>
    corsOf((await fetch(url, { headers: { origin: ORIGIN } })).headers);
  assert.deepEqual(await asked(), ALLOWED);
  await server.s3.deleteBucketCors({ Bucket });
  assert.deepEqual(await asked(), {});
  await server.s3.deleteObject({ Bucket, Key: 'a' });
  await server.s3.deleteBucket({ Bucket });
  assert.deepEqual(await asked(), {});
});
