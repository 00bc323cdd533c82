import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { digestOf, loadDigests } from '../../base/digest.ts';
import { CHECKSUM_ALGORITHMS } from '../../base/object-checksum.ts';
import type { Authenticated } from './auth/identity.ts';
import { S3Error } from './errors.ts';
import { checksumHeader, ingest, type IngestOptions, type IngestResult } from './ingest.ts';
import type { HeaderMap } from './request.ts';

before(loadDigests);

const CONTENT = Buffer.from('the bytes of an object');
const MD5 = createHash('md5').update(CONTENT).digest('base64');

interface Sent {
  chunks?: readonly Uint8Array[];
  headers?: HeaderMap;
  contentLength?: number | undefined;
  trailer?: Authenticated['trailer'];
  options?: Partial<IngestOptions>;
}

async function* each(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function take(sent: Sent): Promise<IngestResult> {
  const payload: Authenticated = {
    account: undefined,
    accessKey: undefined,
    body: each(sent.chunks ?? [CONTENT]),
    decodedLength: undefined,
    trailer: sent.trailer,
  };
  const contentLength = 'contentLength' in sent ? sent.contentLength : CONTENT.length;
  const upload = ingest(
    payload,
    { headers: sent.headers ?? {}, contentLength },
    { maxBytes: 1000, ...sent.options },
  );
  const received: Uint8Array[] = [];
  for await (const chunk of upload.body) received.push(chunk);
  assert.deepEqual(Buffer.concat(received), Buffer.concat(sent.chunks ?? [CONTENT]));
  return upload.result();
}

async function codeOf(sent: Sent): Promise<string> {
  try {
    await take(sent);
    return 'none';
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
}

test('however a body is cut, its digests are those of the whole', async () => {
  const cuts = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(
      cuts,
      fc.option(fc.constantFrom(...CHECKSUM_ALGORITHMS), { nil: undefined }),
      fc.boolean(),
      async (chunks, algorithm, announced) => {
        const whole = Buffer.concat(chunks);
        const result = await take({
          chunks,
          contentLength: announced ? whole.length : undefined,
          options: { defaultAlgorithm: algorithm },
        });
        assert.deepEqual(result, {
          size: whole.length,
          md5: createHash('md5').update(whole).digest('hex'),
          checksum: algorithm && {
            algorithm,
            value: digestOf(algorithm, whole).toString('base64'),
          },
        });
      },
    ),
  );
});

test('Content-MD5 must be one and must be right', async () => {
  assert.equal(await codeOf({ headers: { 'content-md5': MD5 } }), 'none');
  const other = createHash('md5').update('x').digest('base64');
  assert.equal(await codeOf({ headers: { 'content-md5': other } }), 'BadDigest');
  for (const bad of ['', 'x', MD5.slice(0, -4), `${MD5}AAAA`, MD5.slice(0, -2)]) {
    assert.equal(await codeOf({ headers: { 'content-md5': bad } }), 'InvalidDigest', bad);
  }
});

for (const algorithm of CHECKSUM_ALGORITHMS) {
  const name = checksumHeader(algorithm);

  test(`${name} is verified as a header and as a trailer, and kept`, async () => {
    const right = digestOf(algorithm, CONTENT).toString('base64');
    const wrong = digestOf(algorithm, Buffer.from('x')).toString('base64');
    const kept = await take({ headers: { [name]: right } });
    assert.deepEqual(kept.checksum, { algorithm, value: right });
    assert.equal(await codeOf({ headers: { [name]: wrong } }), 'BadDigest');
    assert.equal(await codeOf({ headers: { [name]: 'AAAA' } }), 'BadDigest');
    const trailer = (text: string) => ({ trailer: { algorithm, value: () => text } });
    assert.deepEqual((await take(trailer(right))).checksum, { algorithm, value: right });
    assert.equal(await codeOf(trailer(wrong)), 'BadDigest');
    assert.equal(await codeOf(trailer('AAAA')), 'BadDigest');
    assert.equal(await codeOf({ headers: { [name]: right }, ...trailer(right) }), 'InvalidRequest');
  });
}

test('two checksums, or one that nobody knows, are InvalidRequest', async () => {
  const crc32 = digestOf('CRC32', CONTENT).toString('base64');
  const sha1 = digestOf('SHA1', CONTENT).toString('base64');
  const both = { 'x-amz-checksum-crc32': crc32, 'x-amz-checksum-sha1': sha1 };
  assert.equal(await codeOf({ headers: both }), 'InvalidRequest');
  assert.equal(await codeOf({ headers: { 'x-amz-checksum-md4': 'AAAA' } }), 'InvalidRequest');
  const others = { 'x-amz-checksum-mode': 'ENABLED', 'x-amz-checksum-type': 'FULL_OBJECT' };
  assert.equal(await codeOf({ headers: others }), 'none');
});

test('x-amz-sdk-checksum-algorithm must agree with the checksum that is there', async () => {
  const crc32 = digestOf('CRC32', CONTENT).toString('base64');
  const named = (algorithm: string, more: HeaderMap = {}) => ({
    headers: { 'x-amz-sdk-checksum-algorithm': algorithm, ...more },
  });
  assert.equal(await codeOf(named('CRC32', { 'x-amz-checksum-crc32': crc32 })), 'none');
  assert.equal(await codeOf(named('crc32', { 'x-amz-checksum-crc32': crc32 })), 'none');
  assert.equal(await codeOf(named('SHA1', { 'x-amz-checksum-crc32': crc32 })), 'InvalidRequest');
  assert.equal(await codeOf(named('CRC32')), 'InvalidRequest');
  assert.equal(await codeOf(named('ROT13')), 'InvalidRequest');
});

test('a body has the length that was announced and no more than is allowed', async () => {
  assert.equal(await codeOf({ contentLength: CONTENT.length + 1 }), 'IncompleteBody');
  assert.equal(await codeOf({ contentLength: CONTENT.length - 1 }), 'IncompleteBody');
  assert.equal(await codeOf({ contentLength: undefined }), 'none');
  assert.equal(await codeOf({ contentLength: 1001 }), 'EntityTooLarge');
  const chunks = [Buffer.alloc(600), Buffer.alloc(600)];
  assert.equal(await codeOf({ chunks, contentLength: undefined }), 'EntityTooLarge');
  const options = { tooLarge: 'MaxMessageLengthExceeded' } as const;
  assert.equal(
    await codeOf({ chunks, contentLength: undefined, options }),
    'MaxMessageLengthExceeded',
  );
});

test('checksum headers that speak of the object are left alone', async () => {
  const options = { checksumHeaders: 'object' } as const;
  const headers = { 'x-amz-checksum-crc32': 'AAAAAA==' };
  assert.equal(await codeOf({ headers, options }), 'none');
});
