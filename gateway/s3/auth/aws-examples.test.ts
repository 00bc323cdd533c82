/**
 * The worked examples of AWS's documentation: sig-v4-header-based-auth, sigv4-query-string-auth,
 * sigv4-streaming, sigv4-streaming-trailers. Signatures stand here as AWS printed them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  authenticateExample,
  bodyCodeOf,
  bytesOf,
  codeOf,
  EMPTY_SHA256,
  EXAMPLE,
  rawRequest,
  readAll,
} from './test-support.ts';

const SCOPE = 'AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request';

function authorization(signedHeaders: string, signature: string): string {
  return `AWS4-HMAC-SHA256 Credential=${SCOPE},SignedHeaders=${signedHeaders},Signature=${signature}`;
}

const COMMON = {
  host: 'examplebucket.s3.amazonaws.com',
  'x-amz-date': '20130524T000000Z',
  'x-amz-content-sha256': EMPTY_SHA256,
};

const HEADER_EXAMPLES = [
  {
    name: 'GET Object',
    method: 'GET',
    target: '/test.txt',
    headers: {
      ...COMMON,
      range: 'bytes=0-9',
      authorization: authorization(
        'host;range;x-amz-content-sha256;x-amz-date',
        'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
      ),
    },
  },
  {
    name: 'PUT Object',
    method: 'PUT',
    target: '/test$file.text',
    headers: {
      ...COMMON,
      date: 'Fri, 24 May 2013 00:00:00 GMT',
      'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
      authorization: authorization(
        'date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class',
        '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
      ),
    },
  },
  {
    name: 'GET Bucket lifecycle',
    method: 'GET',
    target: '/?lifecycle',
    headers: {
      ...COMMON,
      authorization: authorization(
        'host;x-amz-content-sha256;x-amz-date',
        'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
      ),
    },
  },
  {
    name: 'List Objects',
    method: 'GET',
    target: '/?max-keys=2&prefix=J',
    headers: {
      ...COMMON,
      authorization: authorization(
        'host;x-amz-content-sha256;x-amz-date',
        '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
      ),
    },
  },
];

for (const { name, ...example } of HEADER_EXAMPLES) {
  test(`the example ${name} of AWS is accepted`, () => {
    const { account, accessKey } = authenticateExample(rawRequest(example));
    assert.deepEqual(account, EXAMPLE.account);
    assert.equal(accessKey, EXAMPLE.accessKey);
  });
}

test('the presigned example of AWS is accepted for a day and no longer', () => {
  const target =
    '/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404';
  const request = rawRequest({ target, headers: { host: 'examplebucket.s3.amazonaws.com' } });
  const end = Date.UTC(2013, 4, 25);
  assert.equal(authenticateExample(request, { now: end }).accessKey, EXAMPLE.accessKey);
  assert.equal(
    codeOf(() => authenticateExample(request, { now: end + 1 })),
    'AccessDenied',
  );
});

const A = (count: number) => Buffer.alloc(count, 'a');
const CONTENT = A(66_560);

function chunkedBody(signatures: [string, string, string], end: string): Buffer {
  return Buffer.concat([
    Buffer.from(`10000;chunk-signature=${signatures[0]}\r\n`),
    A(65_536),
    Buffer.from(`\r\n400;chunk-signature=${signatures[1]}\r\n`),
    A(1024),
    Buffer.from(`\r\n0;chunk-signature=${signatures[2]}\r\n${end}\r\n`),
  ]);
}

const CHUNKED_HEADERS = {
  host: 's3.amazonaws.com',
  'x-amz-date': '20130524T000000Z',
  'x-amz-storage-class': 'REDUCED_REDUNDANCY',
  'content-encoding': 'aws-chunked',
  'x-amz-decoded-content-length': '66560',
};

const SIGNED_BODY = chunkedBody(
  [
    'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
    '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
    'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
  ],
  '',
);

function signedExample(body: Buffer) {
  return rawRequest({
    method: 'PUT',
    target: '/examplebucket/chunkObject.txt',
    contentLength: body.length,
    headers: {
      ...CHUNKED_HEADERS,
      'content-length': '66824',
      'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
      authorization: authorization(
        'content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class',
        '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
      ),
    },
    body: bytesOf(body),
  });
}

test('the chunked example of AWS is decoded', async () => {
  const { body, decodedLength, trailer } = authenticateExample(signedExample(SIGNED_BODY));
  assert.equal(decodedLength, 66_560);
  assert.equal(trailer, undefined);
  assert.deepEqual(await readAll(body), CONTENT);
});

test('no byte of a chunk is yielded before its signature is verified', async () => {
  const changed = Buffer.from(SIGNED_BODY);
  changed[66_000] = 0x62;
  const pieces = Array.from({ length: 67 }, (_, i) => changed.subarray(i * 1000, (i + 1) * 1000));
  const request = { ...signedExample(changed), body: bytesOf(...pieces) };
  const received: Uint8Array[] = [];
  await assert.rejects(
    async () => {
      for await (const chunk of authenticateExample(request).body) received.push(chunk);
    },
    { code: 'SignatureDoesNotMatch' },
  );
  assert.deepEqual(Buffer.concat(received), A(65_536), 'the first chunk and nothing of the second');
});

for (const form of ['as the SDKs send it', 'as AWS prints it'] as const) {
  test(`the example with a trailer, ${form}, is decoded`, async () => {
    const gap = form === 'as AWS prints it' ? '\n\r\n' : '\r\n';
    const body = chunkedBody(
      [
        'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2',
        '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7',
        '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992',
      ],
      `x-amz-checksum-crc32c:sOO8/Q==${gap}x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n`,
    );
    const request = (encoded: Buffer) =>
      rawRequest({
        method: 'PUT',
        target: '/examplebucket/chunkObject.txt',
        headers: {
          ...CHUNKED_HEADERS,
          'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
          'x-amz-trailer': 'x-amz-checksum-crc32c',
          authorization: authorization(
            'content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer',
            '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e',
          ),
        },
        body: bytesOf(encoded),
      });
    const { body: decoded, trailer } = authenticateExample(request(body));
    assert.deepEqual(await readAll(decoded), CONTENT);
    assert.equal(trailer?.algorithm, 'CRC32C');
    assert.equal(trailer?.value(), 'sOO8/Q==');
    const changed = Buffer.from(body.toString('latin1').replace('sOO8', 'sOO9'), 'latin1');
    const other = authenticateExample(request(changed));
    assert.equal(await bodyCodeOf(other.body), 'SignatureDoesNotMatch');
  });
}
