/** Whatever a client sends, the answer is an identity or an S3Error: nothing else is ever thrown. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { S3Error } from '../errors.ts';
import type { RawRequest } from '../request.ts';
import {
  authenticateExample,
  bytesOf,
  EMPTY_SHA256,
  presigned,
  rawRequest,
  readAll,
  signed,
} from './test-support.ts';

/** Any bytes, one character each, as Node hands headers and targets over. */
const latin1 = fc
  .uint8Array({ maxLength: 30 })
  .map((bytes) => Buffer.from(bytes).toString('latin1'));

const FRAGMENTS = [
  'AWS4-HMAC-SHA256',
  'Credential=',
  'SignedHeaders=',
  'Signature=',
  ', ',
  ',',
  '=',
  ';',
  '/',
  ' ',
  'AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request',
  'host',
  'host;x-amz-date',
  'constructor',
  '__proto__',
  'hasOwnProperty',
  'a'.repeat(64),
  '20130524T000000Z',
  '%',
  '%zz',
  '%2F',
  '+',
  '&',
  '?',
  'X-Amz-Signature',
  'X-Amz-Expires',
  'x-amz-date',
  EMPTY_SHA256,
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  'UNSIGNED-PAYLOAD',
  'x-amz-checksum-crc32',
  '3',
  '0',
  '-1',
  '9'.repeat(30),
  'AWS ',
  'Basic ',
  '\u0000',
  '\ufeff',
];
const texts = fc.oneof(
  latin1,
  fc
    .array(fc.oneof(fc.constantFrom(...FRAGMENTS), latin1), { maxLength: 10 })
    .map((parts) => parts.join('')),
);

const HEADERS = [
  'host',
  'authorization',
  'date',
  'x-amz-date',
  'x-amz-content-sha256',
  'x-amz-trailer',
  'x-amz-decoded-content-length',
  'x-amz-security-token',
  'content-encoding',
  'x-amz-acl',
  'constructor',
  'toString',
];
const headers = fc.dictionary(fc.constantFrom(...HEADERS), texts, { noNullPrototype: true });

const QUERY_NAMES = [
  'X-Amz-Algorithm',
  'X-Amz-Credential',
  'X-Amz-Date',
  'X-Amz-Expires',
  'X-Amz-SignedHeaders',
  'X-Amz-Signature',
  'X-Amz-Content-Sha256',
  'x-amz-signature',
  'AWSAccessKeyId',
  'prefix',
  '',
];
const queries = fc
  .array(fc.tuple(fc.oneof(fc.constantFrom(...QUERY_NAMES), latin1), texts), { maxLength: 8 })
  .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join('&'));

const overrides = fc.record(
  {
    method: fc.constantFrom('GET', 'PUT', 'POST', 'OPTIONS', 'BREW'),
    rawPath: texts,
    rawQuery: queries,
    repeatedHeaders: fc.array(fc.constantFrom(...HEADERS), { maxLength: 2 }),
  },
  { requiredKeys: [] },
);

async function answer(request: RawRequest): Promise<'identity' | 'anonymous' | 'error'> {
  try {
    const { account, body } = authenticateExample(request);
    await readAll(body);
    return account === undefined ? 'anonymous' : 'identity';
  } catch (error) {
    assert.ok(error instanceof S3Error, error instanceof Error ? error.stack : String(error));
    return 'error';
  }
}

test('a request of random parts is anonymous or an S3Error, never someone', async () => {
  await fc.assert(
    fc.asyncProperty(overrides, headers, texts, async (parts, sent, body) => {
      const request = rawRequest({
        ...parts,
        headers: sent,
        body: bytesOf(Buffer.from(body, 'latin1')),
      });
      assert.notEqual(await answer(request), 'identity');
    }),
    { numRuns: 2000 },
  );
});

test('a well-signed request with random parts replaced throws nothing but S3Error', async () => {
  const bases = [signed({ headers: { 'x-amz-acl': 'private' } }), presigned()];
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...bases), overrides, headers, async (base, parts, sent) => {
      const request = { ...base, ...parts, headers: { ...base.headers, ...sent }, body: bytesOf() };
      await answer(request);
    }),
    { numRuns: 2000 },
  );
});

test('a random edit of the Authorization header makes no one of it', async () => {
  const base = signed();
  const original = base.headers['authorization'] ?? '';
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.nat({ max: 20 }), texts, async (at, length, insert) => {
      const start = at % original.length;
      const authorization = original.slice(0, start) + insert + original.slice(start + length);
      const result = await answer({
        ...base,
        headers: { ...base.headers, authorization },
        body: bytesOf(),
      });
      // Blanks and the order of the fields mean nothing; all else does.
      const canonical = (text: string) => text.replaceAll(/\s/g, '');
      if (canonical(authorization) !== canonical(original)) assert.equal(result, 'error');
    }),
    { numRuns: 2000 },
  );
});
