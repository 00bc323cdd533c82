/** The worked examples of AWS's "Signing and authenticating REST requests", and what may go wrong. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import type { RawRequest } from '../request.ts';
import type { AuthenticateOptions } from './authenticate.ts';
import {
  authenticateExample,
  codeOf,
  EXAMPLE,
  rawRequest,
  readAll,
  bytesOf,
  withHeaders,
} from './test-support.ts';

const DOMAINS = { domains: ['s3.amazonaws.com', 's3.example'] };

function on(request: RawRequest, now: number, more: Partial<AuthenticateOptions> = {}) {
  return authenticateExample(request, { now, signatureV2: DOMAINS, ...more });
}

interface Example {
  name: string;
  method: string;
  target: string;
  date: string;
  headers: Record<string, string>;
  signature: string;
}

const JOHNSMITH = 'johnsmith.s3.amazonaws.com';
/** Signatures stand here as AWS printed them. */
const EXAMPLES: readonly Example[] = [
  {
    name: 'Object GET',
    method: 'GET',
    target: '/photos/puppy.jpg',
    date: 'Tue, 27 Mar 2007 19:36:42 +0000',
    headers: { host: JOHNSMITH },
    signature: 'bWq2s1WEIj+Ydj0vQ697zp+IXMU=',
  },
  {
    name: 'Object PUT',
    method: 'PUT',
    target: '/photos/puppy.jpg',
    date: 'Tue, 27 Mar 2007 21:15:45 +0000',
    headers: { host: JOHNSMITH, 'content-type': 'image/jpeg', 'content-length': '94328' },
    signature: 'MyyxeRY7whkBe+bq8fHCL/2kKUg=',
  },
  {
    name: 'List',
    method: 'GET',
    target: '/?prefix=photos&max-keys=50&marker=puppy',
    date: 'Tue, 27 Mar 2007 19:42:41 +0000',
    headers: { host: JOHNSMITH },
    signature: 'htDYFYduRNen8P9ZfE/s9SuKy0U=',
  },
  {
    name: 'Fetch',
    method: 'GET',
    target: '/?acl',
    date: 'Tue, 27 Mar 2007 19:44:46 +0000',
    headers: { host: JOHNSMITH },
    signature: 'c2WLPFtWHVgbEmeEG93a4cG37dM=',
  },
  {
    name: 'Delete',
    method: 'DELETE',
    target: '/johnsmith/photos/puppy.jpg',
    date: 'Tue, 27 Mar 2007 21:20:26 +0000',
    headers: { host: 's3.amazonaws.com' },
    signature: 'lx3byBScXR6KzyMaifNkardMwNk=',
  },
  {
    name: 'List All My Buckets',
    method: 'GET',
    target: '/',
    date: 'Wed, 28 Mar 2007 01:29:59 +0000',
    headers: { host: 's3.amazonaws.com' },
    signature: 'qGdzdERIC03wnaRNKh6OqZehG9s=',
  },
  {
    name: 'Unicode Keys',
    method: 'GET',
    target: '/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re',
    date: 'Wed, 28 Mar 2007 01:49:49 +0000',
    headers: { host: 's3.amazonaws.com' },
    signature: 'DNEZGsoieTZ92F3bUfSPQcbGmlM=',
  },
];

for (const example of EXAMPLES) {
  test(`the Version 2 example ${example.name} of AWS is accepted`, () => {
    const request = rawRequest({
      method: example.method,
      target: example.target,
      headers: {
        ...example.headers,
        date: example.date,
        authorization: `AWS ${EXAMPLE.accessKey}:${example.signature}`,
      },
    });
    assert.equal(on(request, Date.parse(example.date)).accessKey, EXAMPLE.accessKey);
  });
}

test('the Version 2 example Upload of AWS is accepted: metadata twice, a bucket as host', () => {
  const date = 'Tue, 27 Mar 2007 21:06:08 +0000';
  const request = rawRequest({
    method: 'PUT',
    target: '/db-backup.dat.gz',
    headers: {
      // The example's host is a CNAME; here the bucket has to be below a domain.
      host: 'static.johnsmith.net.s3.example:8080',
      date,
      'x-amz-acl': 'public-read',
      'content-type': 'application/x-download',
      'content-md5': '4gJE4saaMU4BqNR0kLY+lw==',
      'x-amz-meta-reviewedby': 'joe@johnsmith.net,jane@johnsmith.net',
      'x-amz-meta-filechecksum': '0x02661779',
      'x-amz-meta-checksumalgorithm': 'crc32',
      authorization: `AWS ${EXAMPLE.accessKey}:ilyl83RwaSoYIEdixDQcA4OnAnc=`,
    },
  });
  assert.equal(on(request, Date.parse(date)).accessKey, EXAMPLE.accessKey);
});

const PRESIGNED = rawRequest({
  target: `/photos/puppy.jpg?AWSAccessKeyId=${EXAMPLE.accessKey}&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620`,
  headers: { host: JOHNSMITH },
});

test('the presigned Version 2 example of AWS is accepted until it expires', () => {
  assert.equal(on(PRESIGNED, 1_175_139_620_000).accessKey, EXAMPLE.accessKey);
  assert.equal(on(PRESIGNED, 0).accessKey, EXAMPLE.accessKey);
  assert.equal(
    codeOf(() => on(PRESIGNED, 1_175_139_620_001)),
    'AccessDenied',
  );
});

const NOW = Date.UTC(2026, 10, 20, 8);
const HTTP_DATE = new Date(NOW).toUTCString();

/** Signs like a client, written apart from the code under test. */
function signedV2(parts: {
  method?: string;
  target: string;
  /** What the client signs in the place of the target. */
  resource?: string;
  headers?: Record<string, string>;
  secret?: string;
}): RawRequest {
  const headers: Record<string, string> = {
    host: '127.0.0.1:9000',
    date: HTTP_DATE,
    ...parts.headers,
  };
  const amz = Object.keys(headers)
    .filter((name) => name.startsWith('x-amz-'))
    .sort()
    .map((name) => `${name}:${headers[name]}\n`);
  const text = [
    parts.method ?? 'GET',
    headers['content-md5'] ?? '',
    headers['content-type'] ?? '',
    headers['x-amz-date'] === undefined ? headers['date'] : '',
    amz.join('') + (parts.resource ?? parts.target),
  ].join('\n');
  const signature = createHmac('sha1', parts.secret ?? EXAMPLE.secretKey)
    .update(text)
    .digest('base64');
  return rawRequest({
    method: parts.method ?? 'GET',
    target: parts.target,
    headers: { ...headers, authorization: `AWS ${EXAMPLE.accessKey}:${signature}` },
  });
}

test('without the setting, Version 2 is InvalidRequest in both forms and names the setting', () => {
  for (const request of [PRESIGNED, signedV2({ target: '/a/b' })]) {
    assert.throws(() => authenticateExample(request, { now: NOW }), {
      code: 'InvalidRequest',
      message: /s3\.signatureV2/,
    });
  }
});

test('a Version 2 header is good for what it was signed for and for nothing else', () => {
  const request = signedV2({
    method: 'PUT',
    target: '/a/b',
    headers: { 'x-amz-acl': 'private', 'content-type': 'text/plain' },
  });
  assert.equal(on(request, NOW).accessKey, EXAMPLE.accessKey);
  const changed: [string, RawRequest][] = [
    ['method', { ...request, method: 'DELETE' }],
    ['path', { ...request, rawPath: '/a/c' }],
    ['sub-resource', { ...request, rawQuery: 'acl' }],
    ['a sub-resource that came after Version 2', { ...request, rawQuery: 'encryption' }],
    ['version', { ...request, rawQuery: 'versionId=1' }],
    ['override', { ...request, rawQuery: 'response-content-type=text/html' }],
    ['x-amz- header', withHeaders(request, { 'x-amz-acl': 'public-read' })],
    ['one more x-amz- header', withHeaders(request, { 'x-amz-tagging': 'a=b' })],
    ['x-amz- parameter', { ...request, rawQuery: 'X-Amz-Tagging=a' }],
    ['content type', withHeaders(request, { 'content-type': 'text/html' })],
    ['digest', withHeaders(request, { 'content-md5': '4gJE4saaMU4BqNR0kLY+lw==' })],
    ['date', withHeaders(request, { date: new Date(NOW + 1000).toUTCString() })],
    ['secret', signedV2({ method: 'PUT', target: '/a/b', secret: 'another secret' })],
  ];
  for (const [what, one] of changed) {
    assert.equal(
      codeOf(() => on(one, NOW)),
      'SignatureDoesNotMatch',
      what,
    );
  }
  assert.equal(on({ ...request, rawQuery: 'x-id=PutObject' }, NOW).accessKey, EXAMPLE.accessKey);
});

test('an unknown key is InvalidAccessKeyId, whatever its signature is', () => {
  const request = signedV2({ target: '/a/b' });
  const authorization = 'AWS AKIAIGR7ZNNBHC5BKSUB:FWeDfwojDSdS2Ztmpfeubhd9isU=';
  assert.equal(
    codeOf(() => on(withHeaders(request, { authorization }), NOW)),
    'InvalidAccessKeyId',
  );
  const target = PRESIGNED.rawQuery.replace(EXAMPLE.accessKey, 'nobody');
  assert.equal(
    codeOf(() => on({ ...PRESIGNED, rawQuery: target }, 0)),
    'InvalidAccessKeyId',
  );
});

test('x-amz-date takes the place of Date, in every form that clients write', () => {
  const forms = [
    HTTP_DATE,
    HTTP_DATE.replace('GMT', '+0000'),
    '20261120T080000Z',
    '2026-11-20T08:00:00Z',
  ];
  for (const date of forms) {
    const request = signedV2({ target: '/a', headers: { 'x-amz-date': date, date: 'nonsense' } });
    assert.equal(on(request, NOW).accessKey, EXAMPLE.accessKey, date);
  }
});

test('a Version 2 date that is missing or none is AccessDenied, one that is off is too skewed', () => {
  const codes = (date: string): string =>
    codeOf(() => on(signedV2({ target: '/a', headers: { 'x-amz-date': date } }), NOW));
  for (const date of ['', 'Bad Date', 'Tue, 07 Jul 1950 21:53:04 GMT', '2026']) {
    assert.equal(codes(date), 'AccessDenied', date);
  }
  for (const date of ['Tue, 07 Jul 2010 21:53:04 GMT', 'Tue, 07 Jul 9999 21:53:04 GMT']) {
    assert.equal(codes(date), 'RequestTimeTooSkewed', date);
  }
  const request = signedV2({ target: '/a' });
  assert.equal(
    codeOf(() => on(withHeaders(request, { date: undefined }), NOW)),
    'AccessDenied',
  );
  assert.equal(on(request, NOW + 15 * 60_000).accessKey, EXAMPLE.accessKey);
  assert.equal(
    codeOf(() => on(request, NOW + 15 * 60_000 + 1)),
    'RequestTimeTooSkewed',
  );
});

test('sub-resources are signed sorted and decoded, with `=` only when they have a value', () => {
  const target =
    '/a/b?response-content-type=text%2Fplain%3B%20x&uploads&prefix=p&partNumber=1&uploadId=a%2Bb';
  const resource = '/a/b?partNumber=1&response-content-type=text/plain; x&uploadId=a+b&uploads';
  assert.ok(on(signedV2({ target, resource }), NOW));
  // botocore unescapes without taking `+` for a blank; `uploads=` may be signed either way.
  assert.ok(on(signedV2({ target: '/a?versionId=x+y', resource: '/a?versionId=x+y' }), NOW));
  assert.ok(on(signedV2({ target: '/a?versionId=x+y', resource: '/a?versionId=x y' }), NOW));
  assert.ok(on(signedV2({ target: '/a?uploads=', resource: '/a?uploads' }), NOW));
  assert.ok(on(signedV2({ target: '/a?uploads=', resource: '/a?uploads=' }), NOW));
});

test('a bucket may be signed with a slash behind it, as botocore does, and a key may not', () => {
  assert.ok(on(signedV2({ target: '/a', resource: '/a/' }), NOW));
  assert.ok(on(signedV2({ target: '/a?acl', resource: '/a/?acl' }), NOW));
  const key = signedV2({ target: '/a/b', resource: '/a/b/' });
  assert.equal(
    codeOf(() => on(key, NOW)),
    'SignatureDoesNotMatch',
  );
});

test('x-amz-* parameters of a presigned URL are signed as headers', () => {
  const expires = String(NOW / 1000 + 60);
  const text = `PUT\n\ntext/plain\n${expires}\nx-amz-acl:private\n/a/b`;
  const signature = createHmac('sha1', EXAMPLE.secretKey).update(text).digest('base64');
  const query = `AWSAccessKeyId=${EXAMPLE.accessKey}&Expires=${expires}&Signature=${encodeURIComponent(signature)}`;
  const request = rawRequest({
    method: 'PUT',
    target: `/a/b?${query}&x-amz-acl=private&content-type=text%2Fplain`,
    headers: { host: 'h' },
  });
  assert.equal(on(request, NOW).accessKey, EXAMPLE.accessKey);
  const changed = { ...request, rawQuery: request.rawQuery.replace('private', 'public-read') };
  assert.equal(
    codeOf(() => on(changed, NOW)),
    'SignatureDoesNotMatch',
  );
});

test('a presigned Version 2 URL with missing, repeated or malformed parameters is AccessDenied', () => {
  const { rawQuery } = PRESIGNED;
  const pairs = rawQuery.split('&');
  const bad = [
    ...pairs.map((pair) => `${rawQuery}&${pair}`),
    pairs.slice(0, 2).join('&'),
    `${pairs[0]}&${pairs[2]}`,
    `${pairs[1]}&${pairs[2]}`,
    rawQuery.replace('1175139620', 'soon'),
    rawQuery.replace('1175139620', '-1'),
    rawQuery.replace('1175139620', '1e20'),
  ];
  for (const one of bad) {
    assert.equal(
      codeOf(() => on({ ...PRESIGNED, rawQuery: one }, 0)),
      'AccessDenied',
      one,
    );
  }
});

test('Version 2 in header and query together is InvalidArgument, a session token InvalidToken', () => {
  const authorization = `AWS ${EXAMPLE.accessKey}:x`;
  assert.equal(
    codeOf(() => on(withHeaders(PRESIGNED, { authorization }), 0)),
    'InvalidArgument',
  );
  assert.equal(
    codeOf(() => on(signedV2({ target: '/', headers: { 'x-amz-security-token': 't' } }), NOW)),
    'InvalidToken',
  );
});

test('Version 2 takes plain payloads, and no chunks that it could not verify', async () => {
  const request = { ...signedV2({ method: 'PUT', target: '/a/b' }), contentLength: 2 };
  const payload = on({ ...request, body: bytesOf(Buffer.from('hi')) }, NOW);
  assert.equal((await readAll(payload.body)).toString(), 'hi');
  const chunks = signedV2({
    method: 'PUT',
    target: '/a/b',
    headers: { 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' },
  });
  assert.equal(
    codeOf(() => on(chunks, NOW)),
    'InvalidRequest',
  );
  assert.equal(
    codeOf(() => on(request, NOW, { allowUnsignedOverHttp: false })),
    'AccessDenied',
  );
});
