/** What bad credentials are answered: the table in `README.md`, row by row. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RawRequest } from '../request.ts';
import type { AuthenticateOptions } from './authenticate.ts';
import {
  authenticateExample,
  bodyCodeOf,
  bytesOf,
  codeOf,
  EMPTY_SHA256,
  EXAMPLE,
  EXAMPLE_TIME,
  presigned,
  rawRequest,
  readAll,
  signed,
  signedChunks,
  unsignedChunks,
  withHeaders,
} from './test-support.ts';

const MINUTE = 60_000;

interface Row {
  name: string;
  request: RawRequest;
  code: string;
  options?: Partial<AuthenticateOptions>;
}

const unknownKey = { accessKey: 'AKIAIOSFODNN7NOBODYX', secretKey: 'whatever it may be' };
const wrongSecret = { ...EXAMPLE, secretKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEZ' };

function withAuthorization(authorization: string): RawRequest {
  return withHeaders(signed(), { authorization });
}

function editAuthorization(from: string | RegExp, to: string): RawRequest {
  return withAuthorization((signed().headers['authorization'] ?? '').replace(from, to));
}

const SIGNED_PUT = {
  method: 'PUT',
  path: '/examplebucket/key',
  payloadHash: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  headers: { 'x-amz-decoded-content-length': '3', 'x-amz-trailer': 'x-amz-checksum-crc32' },
};

const HEADER_ROWS: Row[] = [
  { name: 'a correct signature', request: signed(), code: 'none' },
  {
    name: '2: an unknown access key',
    request: signed({ credential: unknownKey }),
    code: 'InvalidAccessKeyId',
  },
  {
    name: '3: a wrong secret',
    request: signed({ credential: wrongSecret }),
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '3: a signature with one changed digit',
    request: editAuthorization(/.$/, '!'),
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '3: a shorter signature',
    request: editAuthorization(/.$/, ''),
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '4: another method',
    request: { ...signed(), method: 'DELETE' },
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '4: another path',
    request: { ...signed(), rawPath: '/other' },
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '4: one more query parameter',
    request: { ...signed(), rawQuery: 'acl' },
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '4: another signed header',
    request: withHeaders(signed({ headers: { range: 'bytes=0-1' } }), { range: 'bytes=0-2' }),
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '4: a signed header left out',
    request: withHeaders(signed({ headers: { range: 'bytes=0-1' } }), { range: undefined }),
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '5: host not signed',
    request: signed({ unsigned: ['host'] }),
    code: 'AccessDenied',
  },
  ...['x-amz-acl', 'x-amz-meta-a', 'x-amz-copy-source', 'x-amz-tagging'].map((name) => ({
    name: `6: ${name} not signed`,
    request: withHeaders(signed(), { [name]: 'value' }),
    code: 'AccessDenied',
  })),
  {
    name: '7: Content-Type not signed',
    request: withHeaders(signed(), { 'content-type': 'text/plain' }),
    code: 'none',
  },
  {
    name: '8: a date 15 minutes early',
    request: signed(),
    options: { now: EXAMPLE_TIME + 15 * MINUTE },
    code: 'none',
  },
  {
    name: '8: a date more than 15 minutes early',
    request: signed(),
    options: { now: EXAMPLE_TIME + 15 * MINUTE + 1 },
    code: 'RequestTimeTooSkewed',
  },
  {
    name: '8: a date more than 15 minutes late',
    request: signed(),
    options: { now: EXAMPLE_TIME - 15 * MINUTE - 1 },
    code: 'RequestTimeTooSkewed',
  },
  {
    name: '9: a scope of another day',
    request: signed({ scopeDate: '20130523' }),
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '10: no date',
    request: withHeaders(signed(), { 'x-amz-date': undefined }),
    code: 'AccessDenied',
  },
  ...['', 'yesterday', '20130231T000000Z', '2013-05-24T00:00:00Z', '20130524T000000'].map(
    (date) => ({
      name: `10: the date ${JSON.stringify(date)}`,
      request: withHeaders(signed(), { 'x-amz-date': date }),
      code: 'AccessDenied',
    }),
  ),
  {
    name: '11: another region',
    request: signed({ region: 'eu-west-1' }),
    code: 'AuthorizationHeaderMalformed',
  },
  {
    name: '12: another service',
    request: signed({ service: 'ec2' }),
    code: 'AuthorizationHeaderMalformed',
  },
  {
    name: '12: another terminator',
    request: signed({ terminator: 'aws5_request' }),
    code: 'AuthorizationHeaderMalformed',
  },
  { name: '13: garbage', request: withAuthorization('garbage'), code: 'InvalidArgument' },
  {
    name: '13: missing parts',
    request: withAuthorization('AWS4-HMAC-SHA256 Credential=HAHAHA'),
    code: 'InvalidArgument',
  },
  {
    name: '13: a part given twice',
    request: editAuthorization('Signature=', 'SignedHeaders=host, Signature='),
    code: 'InvalidArgument',
  },
  {
    name: '13: a part that nobody knows',
    request: editAuthorization('Signature=', 'Other=1, Signature='),
    code: 'InvalidArgument',
  },
  {
    name: '13: a credential of too few fields',
    request: editAuthorization('/s3/aws4_request', ''),
    code: 'AuthorizationHeaderMalformed',
  },
  {
    name: '13: signed headers in upper case',
    request: editAuthorization('SignedHeaders=host', 'SignedHeaders=Host'),
    code: 'AuthorizationHeaderMalformed',
  },
  {
    name: '13: a signed header twice',
    request: editAuthorization('SignedHeaders=host', 'SignedHeaders=host;host'),
    code: 'AuthorizationHeaderMalformed',
  },
  { name: '13: Basic', request: withAuthorization('Basic YTpi'), code: 'InvalidRequest' },
  { name: '13: Bearer', request: withAuthorization('Bearer abc'), code: 'InvalidRequest' },
  { name: '13: an empty value', request: withAuthorization(''), code: 'AccessDenied' },
  { name: '14: SigV2', request: withAuthorization('AWS key:c2ln'), code: 'InvalidRequest' },
  {
    name: '14: SigV2 that is none',
    request: withAuthorization('AWS HAHAHA'),
    code: 'InvalidArgument',
  },
  {
    name: '14: presigned SigV2',
    request: rawRequest({ target: '/b/k?AWSAccessKeyId=a&Signature=b&Expires=1' }),
    code: 'InvalidRequest',
  },
  {
    name: '15: header and query credentials together',
    request: withHeaders(presigned(), { authorization: signed().headers['authorization'] }),
    code: 'InvalidArgument',
  },
  {
    name: '15: header credentials and a SigV2 query',
    request: { ...signed(), rawQuery: 'Signature=b' },
    code: 'InvalidArgument',
  },
  {
    name: '16: no x-amz-content-sha256',
    request: withHeaders(signed(), { 'x-amz-content-sha256': undefined }),
    code: 'InvalidRequest',
  },
  ...['', 'abc', 'STREAMING', 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD', 'unsigned-payload'].map(
    (payloadHash) => ({
      name: `17: x-amz-content-sha256 ${JSON.stringify(payloadHash)}`,
      request: signed({ payloadHash }),
      code: 'InvalidArgument',
    }),
  ),
  {
    name: '19: UNSIGNED-PAYLOAD without TLS',
    request: signed({ payloadHash: 'UNSIGNED-PAYLOAD' }),
    code: 'none',
  },
  {
    name: '19: UNSIGNED-PAYLOAD without TLS where that is not allowed',
    request: signed({ payloadHash: 'UNSIGNED-PAYLOAD' }),
    options: { allowUnsignedOverHttp: false },
    code: 'AccessDenied',
  },
  {
    name: '19: UNSIGNED-PAYLOAD over TLS where it is not allowed without',
    request: { ...signed({ payloadHash: 'UNSIGNED-PAYLOAD' }), secure: true },
    options: { allowUnsignedOverHttp: false },
    code: 'none',
  },
  {
    name: '19: a presigned URL where unsigned payloads are not allowed without TLS',
    request: presigned(),
    options: { allowUnsignedOverHttp: false },
    code: 'none',
  },
  ...(['GET', 'PUT', 'POST', 'DELETE', 'HEAD'] as const).map((method) => ({
    name: `20: a ${method} with an unsigned trailer and a fake signature`,
    request: withHeaders(
      { ...signed({ ...SIGNED_PUT, method }), rawQuery: 'partNumber=1&uploadId=u' },
      {
        authorization: signed(SIGNED_PUT).headers['authorization']?.replace(
          /.{64}$/,
          'f'.repeat(64),
        ),
      },
    ),
    code: 'SignatureDoesNotMatch',
  })),
  {
    name: '33: a session token',
    request: signed({ headers: { 'x-amz-security-token': 'token' } }),
    code: 'InvalidToken',
  },
  {
    name: '34: a key that is gone',
    request: signed(),
    options: { credentials: { find: () => undefined } },
    code: 'InvalidAccessKeyId',
  },
  {
    name: '56: two Host headers',
    request: { ...signed(), repeatedHeaders: ['host'] },
    code: 'InvalidRequest',
  },
  {
    name: 'a decoded length without a streaming payload',
    request: signed({ headers: { 'x-amz-decoded-content-length': '3' } }),
    code: 'InvalidRequest',
  },
  {
    name: 'a streaming payload without its decoded length',
    request: signed({ ...SIGNED_PUT, headers: {} }),
    code: 'MissingContentLength',
  },
  {
    name: 'a decoded length that is no number',
    request: signed({ ...SIGNED_PUT, headers: { 'x-amz-decoded-content-length': '-3' } }),
    code: 'InvalidArgument',
  },
  {
    name: 'a trailer that is no checksum',
    request: signed({
      ...SIGNED_PUT,
      headers: { 'x-amz-decoded-content-length': '3', 'x-amz-trailer': 'x-amz-meta-a' },
    }),
    code: 'InvalidRequest',
  },
  {
    name: 'a trailer where the encoding has none',
    request: signed({ ...SIGNED_PUT, payloadHash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' }),
    code: 'InvalidRequest',
  },
];

/** A presigned request whose query is edited after signing. */
function editQuery(from: string | RegExp, to: string): RawRequest {
  const request = presigned();
  return { ...request, rawQuery: request.rawQuery.replace(from, to) };
}

const QUERY_ROWS: Row[] = [
  { name: 'a correct URL', request: presigned(), code: 'none' },
  {
    name: '2: an unknown access key in a URL',
    request: presigned({ credential: unknownKey }),
    code: 'InvalidAccessKeyId',
  },
  {
    name: '3: a wrong secret in a URL',
    request: presigned({ credential: wrongSecret }),
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '5: host not signed',
    request: presigned({ unsigned: ['host'], headers: { a: 'b' } }),
    code: 'AccessDenied',
  },
  {
    name: '6: an unsigned x-amz-acl beside a URL',
    request: withHeaders(presigned(), { 'x-amz-acl': 'public-read' }),
    code: 'AccessDenied',
  },
  {
    name: '6: a signed x-amz-acl beside a URL',
    request: presigned({ headers: { 'x-amz-acl': 'private' } }),
    code: 'none',
  },
  {
    name: '11: another region in a URL',
    request: presigned({ region: 'eu-west-1' }),
    code: 'AuthorizationQueryParametersError',
  },
  {
    name: '29: a URL at its last moment',
    request: presigned({ expires: '60' }),
    options: { now: EXAMPLE_TIME + MINUTE },
    code: 'none',
  },
  {
    name: '29: an expired URL',
    request: presigned({ expires: '60' }),
    options: { now: EXAMPLE_TIME + MINUTE + 1 },
    code: 'AccessDenied',
  },
  {
    name: '29: a URL that is not valid yet',
    request: presigned(),
    options: { now: EXAMPLE_TIME - 16 * MINUTE },
    code: 'AccessDenied',
  },
  { name: '30: the longest life', request: presigned({ expires: '604800' }), code: 'none' },
  ...['0', '-7', '604801', '609901'].map((expires) => ({
    name: `30: X-Amz-Expires ${expires}`,
    request: presigned({ expires }),
    code: 'AccessDenied',
  })),
  ...['', 'soon', '1.5', '1e3', '+5', '9'.repeat(40)].map((expires) => ({
    name: `30: X-Amz-Expires ${JSON.stringify(expires)}`,
    request: presigned({ expires }),
    code: 'AuthorizationQueryParametersError',
  })),
  ...[
    'X-Amz-Expires=60',
    'X-Amz-Signature=00',
    'x-amz-date=20130524T000000Z',
    'X%2DAmz-Date=1',
  ].map((parameter) => ({
    name: `31: a second ${parameter}`,
    request: editQuery(/$/, `&${parameter}`),
    code: 'AuthorizationQueryParametersError',
  })),
  ...[
    'X-Amz-Algorithm',
    'X-Amz-Credential',
    'X-Amz-Date',
    'X-Amz-Expires',
    'X-Amz-SignedHeaders',
    'X-Amz-Signature',
  ].flatMap((name) => [
    {
      name: `31: ${name} in lower case`,
      request: editQuery(name, name.toLowerCase()),
      code: 'AuthorizationQueryParametersError',
    },
    {
      name: `31: no ${name}`,
      request: editQuery(new RegExp(`&?${name}=[^&]*`), ''),
      code: 'AuthorizationQueryParametersError',
    },
  ]),
  {
    name: '31: another algorithm',
    request: editQuery('AWS4-HMAC-SHA256', 'AWS4-ECDSA-P256-SHA256'),
    code: 'AuthorizationQueryParametersError',
  },
  {
    name: '31: a date that is none',
    request: editQuery('20130524T000000Z', 'now'),
    code: 'AuthorizationQueryParametersError',
  },
  {
    name: '31: a scope of another day',
    request: presigned({ scopeDate: '20130523' }),
    code: 'AuthorizationQueryParametersError',
  },
  {
    name: '32: GET used for PUT',
    request: { ...presigned(), method: 'PUT' },
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '32: another key',
    request: { ...presigned(), rawPath: '/test.txt2' },
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '32: another version',
    request: editQuery(/$/, '&versionId=1'),
    code: 'SignatureDoesNotMatch',
  },
  {
    name: '33: a session token in a URL',
    request: presigned({ extra: [['X-Amz-Security-Token', 't']] }),
    code: 'InvalidToken',
  },
  {
    name: 'two payload hashes that differ',
    request: presigned({
      headers: { 'x-amz-content-sha256': EMPTY_SHA256 },
      extra: [['X-Amz-Content-Sha256', 'UNSIGNED-PAYLOAD']],
    }),
    code: 'AuthorizationQueryParametersError',
  },
];

for (const { name, request, code, options } of [...HEADER_ROWS, ...QUERY_ROWS]) {
  test(`${name} answers ${code}`, () => {
    assert.equal(
      codeOf(() => authenticateExample(request, options)),
      code,
    );
  });
}

test('a request without credentials is anonymous and keeps its body', async () => {
  const request = rawRequest({
    method: 'PUT',
    target: '/b/k',
    body: bytesOf(Buffer.from('abc')),
    contentLength: 3,
  });
  const { account, accessKey, body, decodedLength, trailer } = authenticateExample(request);
  assert.deepEqual(
    { account, accessKey, decodedLength, trailer },
    { account: undefined, accessKey: undefined, decodedLength: 3, trailer: undefined },
  );
  assert.equal((await readAll(body)).toString(), 'abc');
});

test('an anonymous request is held to what it says about its payload', async () => {
  const put = (headers: Record<string, string>, body: Buffer) =>
    rawRequest({ method: 'PUT', target: '/b/k', headers, body: bytesOf(body) });
  const encoded = unsignedChunks([Buffer.from('abc')], {
    name: 'x-amz-checksum-crc32',
    value: 'NSRBwg==',
  });
  const chunked = { 'x-amz-decoded-content-length': '3', 'x-amz-trailer': 'x-amz-checksum-crc32' };
  for (const headers of [
    chunked,
    { ...chunked, 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' },
  ]) {
    const { account, body, trailer } = authenticateExample(put(headers, encoded));
    assert.equal(account, undefined);
    assert.equal((await readAll(body)).toString(), 'abc');
    assert.equal(trailer?.value(), 'NSRBwg==');
  }
  const hashed = authenticateExample(
    put({ 'x-amz-content-sha256': EMPTY_SHA256 }, Buffer.from('abc')),
  );
  assert.equal(await bodyCodeOf(hashed.body), 'XAmzContentSHA256Mismatch');
  const signedStream = put(
    { ...chunked, 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' },
    encoded,
  );
  assert.equal(
    codeOf(() => authenticateExample(signedStream)),
    'InvalidRequest',
  );
});

test('a body that does not have the promised SHA-256 answers XAmzContentSHA256Mismatch', async () => {
  const payloadHash = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  const request = { ...signed({ method: 'PUT', payloadHash }), contentLength: 3 };
  const read = (...chunks: string[]) =>
    bodyCodeOf(
      authenticateExample({ ...request, body: bytesOf(...chunks.map((text) => Buffer.from(text))) })
        .body,
    );
  assert.equal(await read('abc'), 'none');
  assert.equal(await read('a', '', 'bc'), 'none');
  assert.equal(await read('abd'), 'XAmzContentSHA256Mismatch');
  assert.equal(await read('a', 'bd'), 'XAmzContentSHA256Mismatch');
  assert.equal(await read('ab'), 'XAmzContentSHA256Mismatch');
  assert.equal(await read(), 'XAmzContentSHA256Mismatch');
  assert.equal(await read('abc', 'd'), 'IncompleteBody');
});

test('a presigned URL honours a payload hash, in a signed header or in its query', async () => {
  const payloadHash = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  const requests = [
    presigned({ method: 'PUT', payloadHash, headers: { 'x-amz-content-sha256': payloadHash } }),
    presigned({ method: 'PUT', payloadHash, extra: [['X-Amz-Content-Sha256', payloadHash]] }),
  ];
  for (const request of requests) {
    const read = (text: string) =>
      bodyCodeOf(authenticateExample({ ...request, body: bytesOf(Buffer.from(text)) }).body);
    assert.equal(await read('abc'), 'none');
    assert.equal(await read('abd'), 'XAmzContentSHA256Mismatch');
  }
});

test('signed chunks continue the signature of their own request only', async () => {
  const chunks = [Buffer.from('first'), Buffer.from('second')];
  const input = {
    method: 'PUT',
    payloadHash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
    headers: { 'x-amz-decoded-content-length': '11' },
  };
  const one = signed({ ...input, path: '/b/one' });
  const two = signed({ ...input, path: '/b/two' });
  const body = signedChunks(one, chunks);
  const own = authenticateExample({ ...one, body: bytesOf(body) });
  assert.equal((await readAll(own.body)).toString(), 'firstsecond');
  const replayed = authenticateExample({ ...two, body: bytesOf(body) });
  assert.equal(await bodyCodeOf(replayed.body), 'SignatureDoesNotMatch');
});

test('SignatureDoesNotMatch shows what was verified and no secret', () => {
  const request = { ...signed({ path: '/a%20b' }), method: 'PUT' };
  assert.throws(
    () => authenticateExample(request),
    (error: Error & { details?: Record<string, string> }) => {
      assert.match(error.message, /host 'examplebucket\.s3\.amazonaws\.com'/);
      assert.deepEqual(Object.keys(error.details ?? {}), [
        'AWSAccessKeyId',
        'StringToSign',
        'SignatureProvided',
        'CanonicalRequest',
      ]);
      assert.match(error.details?.['CanonicalRequest'] ?? '', /^PUT\n\/a%20b\n\nhost:/);
      assert.ok(!JSON.stringify(error.details).includes(EXAMPLE.secretKey));
      return true;
    },
  );
});

test('a wrong region is answered with the right one', () => {
  for (const request of [signed({ region: 'eu-west-1' }), presigned({ region: 'eu-west-1' })]) {
    assert.throws(() => authenticateExample(request), { details: { Region: 'us-east-1' } });
  }
});

test('a Date header stands in for x-amz-date', () => {
  const request = signed({
    unsigned: ['x-amz-date'],
    headers: { date: 'Fri, 24 May 2013 00:00:00 GMT' },
  });
  assert.equal(
    authenticateExample(withHeaders(request, { 'x-amz-date': undefined })).accessKey,
    EXAMPLE.accessKey,
  );
});

test('a replaced secret makes old signatures invalid at once', () => {
  const request = signed();
  assert.equal(authenticateExample(request).accessKey, EXAMPLE.accessKey);
  const credentials = { find: () => wrongSecret };
  assert.equal(
    codeOf(() => authenticateExample(request, { credentials })),
    'SignatureDoesNotMatch',
  );
  const renewed = signed({ credential: wrongSecret });
  assert.equal(authenticateExample(renewed, { credentials }).accessKey, EXAMPLE.accessKey);
});
