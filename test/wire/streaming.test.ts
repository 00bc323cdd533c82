/** aws-chunked bodies made by hand: rows 22 to 27 of the table of bad input, and odd but right ones. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { digestOf, loadDigests } from '../../base/digest.ts';
import { CHECKSUM_ALGORITHMS } from '../../base/object-checksum.ts';
import { ChunkSigner, type Crafted } from '../support/craft.ts';
import { seededBytes } from '../support/files.ts';
import { exchange, type RawAnswer, requestHead } from '../support/raw.ts';
import { bytesOf, refusedWith, sameBytes, SERVER_KEYS } from '../support/server.ts';
import { useWireServer } from '../support/wire.ts';

const server = useWireServer();
before(() => loadDigests());

const SIGNED = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD';
const SIGNED_TRAILER = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER';
const UNSIGNED_TRAILER = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';
const CONTENT = seededBytes('streaming', 200_000);

function answers(answer: RawAnswer, status: number, code: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], answer.body);
}

/** Cuts `bytes` into pieces of these sizes; what is left is the last one. */
function cut(bytes: Buffer, ...sizes: number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  if (at < bytes.length) pieces.push(bytes.subarray(at));
  return pieces;
}

interface Upload {
  path: string;
  payloadHash: string;
  decodedLength?: number | string;
  headers?: Record<string, string>;
  method?: string;
  query?: string;
  /** The encoded body, given the signed request. */
  encode(crafted: Crafted): readonly (Buffer | string)[];
}

/** Sends the encoded body with its own length; each piece as a write of its own. */
async function upload(request: Upload): Promise<RawAnswer> {
  const method = request.method ?? 'PUT';
  const crafted = server.sign({
    method,
    path: request.path,
    ...(request.query === undefined ? {} : { query: request.query }),
    payloadHash: request.payloadHash,
    headers: {
      'content-encoding': 'aws-chunked',
      'x-amz-decoded-content-length': String(request.decodedLength ?? CONTENT.length),
      ...request.headers,
    },
  });
  const body = request.encode(crafted).map((piece) => Buffer.from(piece));
  const length = body.reduce((sum, piece) => sum + piece.length, 0);
  const headers = { ...crafted.headers, 'content-length': String(length) };
  const query = request.query === undefined ? '' : `?${request.query}`;
  return exchange(server.endpoint, requestHead(method, request.path + query, headers), ...body);
}

/** Signed chunks and the last one, before anything is done to them. */
function signedChunks(crafted: Crafted, pieces: readonly Buffer[]): Buffer[] {
  const signer = new ChunkSigner(SERVER_KEYS, crafted);
  return [...pieces, Buffer.alloc(0)].map((piece) => signer.chunk(piece));
}

async function stored(bucket: string): Promise<Buffer> {
  return bytesOf(await server.s3.getObject({ Bucket: bucket, Key: 'a' }));
}

async function nothingStored(bucket: string): Promise<void> {
  await refusedWith(404, server.s3.headObject({ Bucket: bucket, Key: 'a' }));
}

for (const sizes of [[], [65_536, 65_536], [1, 8191, 8192, 8193], [100_000], Array(50).fill(17)]) {
  const title = sizes.length > 5 ? '50 × 17' : sizes.join(', ') || 'one';
  test(`Signed chunks of odd sizes (${title}) are taken`, async () => {
    const bucket = await server.bucket();
    const answer = await upload({
      path: `/${bucket}/a`,
      payloadHash: SIGNED,
      encode: (crafted) => signedChunks(crafted, cut(CONTENT, ...(sizes as number[]))),
    });
    assert.equal(answer.status, 200, answer.body);
    sameBytes(await stored(bucket), CONTENT);
    const { ContentEncoding } = await server.s3.headObject({ Bucket: bucket, Key: 'a' });
    assert.equal(ContentEncoding, undefined);
  });
}

test('Signed chunks that arrive byte by byte, or all at once, are taken', async () => {
  const bucket = await server.bucket();
  const content = CONTENT.subarray(0, 300);
  for (const split of [true, false]) {
    const answer = await upload({
      path: `/${bucket}/a`,
      payloadHash: SIGNED,
      decodedLength: content.length,
      encode(crafted) {
        const whole = Buffer.concat(signedChunks(crafted, cut(content, 100, 1)));
        return split ? cut(whole, ...Array<number>(whole.length).fill(1)) : [whole];
      },
    });
    assert.equal(answer.status, 200, answer.body);
    sameBytes(await stored(bucket), content);
  }
});

test('An empty body in signed chunks is an empty object', async () => {
  const bucket = await server.bucket();
  const answer = await upload({
    path: `/${bucket}/a`,
    payloadHash: SIGNED,
    decodedLength: 0,
    encode: (crafted) => signedChunks(crafted, []),
  });
  assert.equal(answer.status, 200, answer.body);
  assert.equal((await stored(bucket)).length, 0);
});

test('Content-Encoding keeps what stands beside aws-chunked', async () => {
  const bucket = await server.bucket();
  const answer = await upload({
    path: `/${bucket}/a`,
    payloadHash: SIGNED,
    headers: { 'content-encoding': 'aws-chunked,gzip' },
    encode: (crafted) => signedChunks(crafted, [CONTENT]),
  });
  assert.equal(answer.status, 200, answer.body);
  const { ContentEncoding } = await server.s3.headObject({ Bucket: bucket, Key: 'a' });
  assert.equal(ContentEncoding, 'gzip');
});

test('Chunks may come in HTTP chunks, without a Content-Length', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  const crafted = server.sign({
    method: 'PUT',
    path,
    payloadHash: SIGNED,
    headers: { 'x-amz-decoded-content-length': String(CONTENT.length) },
  });
  const encoded = Buffer.concat(signedChunks(crafted, cut(CONTENT, 70_000, 3)));
  const pieces = cut(encoded, 10, 100_000).flatMap((piece) => [
    `${piece.length.toString(16)}\r\n`,
    piece,
    '\r\n',
  ]);
  const headers = { ...crafted.headers, 'transfer-encoding': 'chunked' };
  const answer = await exchange(
    server.endpoint,
    requestHead('PUT', path, headers),
    ...pieces,
    '0\r\n\r\n',
  );
  assert.equal(answer.status, 200, answer.body);
  sameBytes(await stored(bucket), CONTENT);
});

test('UploadPart takes signed chunks', async () => {
  const bucket = await server.bucket();
  const target = { Bucket: bucket, Key: 'a' };
  const { UploadId = '' } = await server.s3.createMultipartUpload(target);
  const answer = await upload({
    path: `/${bucket}/a`,
    query: `partNumber=1&uploadId=${UploadId}`,
    payloadHash: SIGNED,
    encode: (crafted) => signedChunks(crafted, cut(CONTENT, 8192)),
  });
  assert.equal(answer.status, 200, answer.body);
  const MultipartUpload = { Parts: [{ PartNumber: 1, ETag: answer.headers['etag'] ?? '' }] };
  await server.s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload });
  sameBytes(await stored(bucket), CONTENT);
});

test('row 22: a wrong signature in any chunk is SignatureDoesNotMatch and nothing is stored', async () => {
  const bucket = await server.bucket();
  for (const wrong of [0, 1, 2, 3]) {
    const answer = await upload({
      path: `/${bucket}/a`,
      payloadHash: SIGNED,
      encode(crafted) {
        const chunks = signedChunks(crafted, cut(CONTENT, 65_536, 65_536));
        const chunk = chunks[wrong] ?? Buffer.alloc(0);
        const at = chunk.indexOf('signature=') + 10;
        chunk[at] = chunk[at] === 0x30 ? 0x31 : 0x30;
        return chunks;
      },
    });
    answers(answer, 403, 'SignatureDoesNotMatch');
  }
  // One byte of the content changed is the same.
  const changed = await upload({
    path: `/${bucket}/a`,
    payloadHash: SIGNED,
    encode(crafted) {
      const whole = Buffer.concat(signedChunks(crafted, cut(CONTENT, 65_536)));
      whole[100_000] = (whole[100_000] ?? 0) ^ 1;
      return [whole];
    },
  });
  answers(changed, 403, 'SignatureDoesNotMatch');
  await nothingStored(bucket);
});

test('row 23: a chunk that claims more than is sent is IncompleteBody', async () => {
  const bucket = await server.bucket();
  const answer = await upload({
    path: `/${bucket}/a`,
    payloadHash: SIGNED,
    encode: (crafted) => [
      (signedChunks(crafted, [CONTENT])[0] ?? Buffer.alloc(0)).subarray(0, 150_000),
    ],
  });
  answers(answer, 400, 'IncompleteBody');
  const unsigned = await upload({
    path: `/${bucket}/a`,
    payloadHash: UNSIGNED_TRAILER,
    encode: () => [`${CONTENT.length.toString(16)}\r\n`, CONTENT.subarray(0, 100_000)],
  });
  answers(unsigned, 400, 'IncompleteBody');
  await nothingStored(bucket);
});

test('row 24: swapped and replayed chunks are SignatureDoesNotMatch, a missing end is IncompleteBody', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  const send = (change: (chunks: Buffer[]) => Buffer[]): Promise<RawAnswer> =>
    upload({
      path,
      payloadHash: SIGNED,
      encode: (crafted) => change(signedChunks(crafted, cut(CONTENT, 100_000))),
    });
  const swapped = await send(([one, two, last]) => [two, one, last].filter((c) => c !== undefined));
  answers(swapped, 403, 'SignatureDoesNotMatch');
  const replayed = await send(([one, , last]) => [one, one, last].filter((c) => c !== undefined));
  answers(replayed, 403, 'SignatureDoesNotMatch');
  answers(await send((chunks) => chunks.slice(0, -1)), 400, 'IncompleteBody');
  answers(await send(([one]) => [one ?? Buffer.alloc(0)]), 400, 'IncompleteBody');
  // All chunks of another request: the chain begins with the request's own signature.
  const stolen = await upload({
    path,
    payloadHash: SIGNED,
    encode: (crafted) => signedChunks({ ...crafted, signature: '0'.repeat(64) }, [CONTENT]),
  });
  answers(stolen, 403, 'SignatureDoesNotMatch');
  await nothingStored(bucket);
});

test('row 25: an overlong chunk header, a signed chunk over 16 MiB and a bad size are InvalidRequest', async () => {
  const bucket = await server.bucket();
  const signature = `chunk-signature=${'0'.repeat(64)}`;
  const table: [string, number][] = [
    [`4;${'x'.repeat(5000)}`, CONTENT.length],
    [`1000001;${signature}\r\n`, 17 * 1024 * 1024],
    [`zz;${signature}\r\n`, CONTENT.length],
    [`-5;${signature}\r\n`, CONTENT.length],
    [`0x5;${signature}\r\n`, CONTENT.length],
    [`;${signature}\r\n`, CONTENT.length],
    [`ffffffffffffffffffff;${signature}\r\n`, CONTENT.length],
    ['5\r\n', CONTENT.length],
    [`5;${signature}\n`, CONTENT.length],
  ];
  for (const [line, decodedLength] of table) {
    const answer = await upload({
      path: `/${bucket}/a`,
      payloadHash: SIGNED,
      decodedLength,
      encode: () => [line, CONTENT],
    });
    assert.deepEqual([answer.status, answer.code], [400, 'InvalidRequest'], line.slice(0, 20));
  }
  await nothingStored(bucket);
});

test('row 26: more or less content than x-amz-decoded-content-length is IncompleteBody', async () => {
  const bucket = await server.bucket();
  for (const decodedLength of [CONTENT.length - 1, CONTENT.length + 1, 0]) {
    for (const payloadHash of [SIGNED, UNSIGNED_TRAILER]) {
      const answer = await upload({
        path: `/${bucket}/a`,
        payloadHash,
        decodedLength,
        encode: (crafted) =>
          payloadHash === SIGNED
            ? signedChunks(crafted, [CONTENT])
            : [`${CONTENT.length.toString(16)}\r\n`, CONTENT, '\r\n0\r\n\r\n'],
      });
      answers(answer, 400, 'IncompleteBody');
    }
  }
  for (const decodedLength of ['', '-1', '1e3', 'x']) {
    const answer = await upload({
      path: `/${bucket}/a`,
      payloadHash: SIGNED,
      decodedLength,
      encode: (crafted) => signedChunks(crafted, [CONTENT]),
    });
    assert.ok(answer.status === 411 || answer.status === 400, `${decodedLength}: ${answer.status}`);
  }
  await nothingStored(bucket);
});

for (const algorithm of CHECKSUM_ALGORITHMS) {
  const name = `x-amz-checksum-${algorithm.toLowerCase()}`;

  test(`row 27: a ${algorithm} trailer is verified, in signed and in unsigned chunks`, async () => {
    const bucket = await server.bucket();
    const path = `/${bucket}/a`;
    const right = digestOf(algorithm, CONTENT).toString('base64');
    const wrong = digestOf(algorithm, Buffer.from('else')).toString('base64');
    const unsigned = (value: string): Promise<RawAnswer> =>
      upload({
        path,
        payloadHash: UNSIGNED_TRAILER,
        headers: { 'x-amz-trailer': name },
        encode: () => [
          ...cut(CONTENT, 1, 99_999).flatMap((piece) => [
            `${piece.length.toString(16)}\r\n`,
            piece,
            '\r\n',
          ]),
          `0\r\n${name}:${value}\r\n\r\n`,
        ],
      });
    const signed = (value: string): Promise<RawAnswer> =>
      upload({
        path,
        payloadHash: SIGNED_TRAILER,
        headers: { 'x-amz-trailer': name },
        encode: (crafted) => signedTrailer(crafted, name, value),
      });
    for (const send of [unsigned, signed]) {
      answers(await send(wrong), 400, 'BadDigest');
      answers(await send('no checksum'), 400, 'BadDigest');
      await nothingStored(bucket);
      const answer = await send(right);
      assert.equal(answer.status, 200, answer.body);
      assert.equal(answer.headers[name], right);
      sameBytes(await stored(bucket), CONTENT);
      await server.s3.deleteObject({ Bucket: bucket, Key: 'a' });
    }
  });
}

/** Signed chunks, one trailer, its signature. */
function signedTrailer(
  crafted: Crafted,
  name: string,
  value: string,
  change = (signature: string): string => signature,
): (Buffer | string)[] {
  const signer = new ChunkSigner(SERVER_KEYS, crafted);
  const chunks = cut(CONTENT, 66_000).map((piece) => signer.chunk(piece));
  const last = `0;chunk-signature=${signer.sign(Buffer.alloc(0))}\r\n`;
  const signature = change(signer.signTrailers(`${name}:${value}\n`));
  return [...chunks, `${last}${name}:${value}\r\nx-amz-trailer-signature:${signature}\r\n\r\n`];
}

test('row 27: a wrong trailer signature is SignatureDoesNotMatch and nothing is stored', async () => {
  const bucket = await server.bucket();
  const name = 'x-amz-checksum-crc32';
  const value = digestOf('CRC32', CONTENT).toString('base64');
  const changes = [
    (): string => '0'.repeat(64),
    (): string => '',
    (s: string): string => s.slice(1),
  ];
  for (const change of changes) {
    const answer = await upload({
      path: `/${bucket}/a`,
      payloadHash: SIGNED_TRAILER,
      headers: { 'x-amz-trailer': name },
      encode: (crafted) => signedTrailer(crafted, name, value, change),
    });
    answers(answer, 403, 'SignatureDoesNotMatch');
  }
  // A trailer that was changed after it was signed.
  const changed = await upload({
    path: `/${bucket}/a`,
    payloadHash: SIGNED_TRAILER,
    headers: { 'x-amz-trailer': name },
    encode: (crafted) =>
      signedTrailer(crafted, name, value).map((piece) =>
        typeof piece === 'string' ? piece.replace(value, 'AAAAAA==') : piece,
      ),
  });
  answers(changed, 403, 'SignatureDoesNotMatch');
  await nothingStored(bucket);
});

test('row 27: an undeclared, repeated, missing or nameless trailer is MalformedTrailerError', async () => {
  const bucket = await server.bucket();
  const crc = digestOf('CRC32', CONTENT).toString('base64');
  const declared = { 'x-amz-trailer': 'x-amz-checksum-crc32' };
  const table: [Record<string, string>, string][] = [
    [{}, `x-amz-checksum-crc32:${crc}\r\n`],
    [declared, `x-amz-checksum-sha1:${crc}\r\n`],
    [declared, `x-amz-meta-colour:red\r\nx-amz-checksum-crc32:${crc}\r\n`],
    [declared, `x-amz-checksum-crc32:${crc}\r\nx-amz-checksum-crc32:${crc}\r\n`],
    [declared, `:${crc}\r\n`],
    [declared, ''],
  ];
  for (const [headers, trailers] of table) {
    const answer = await upload({
      path: `/${bucket}/a`,
      payloadHash: UNSIGNED_TRAILER,
      headers,
      encode: () => [`${CONTENT.length.toString(16)}\r\n`, CONTENT, `\r\n0\r\n${trailers}\r\n`],
    });
    assert.deepEqual([answer.status, answer.code], [400, 'MalformedTrailerError'], trailers);
  }
  await nothingStored(bucket);
});

test('Headers of aws-chunked without its payload hash are refused, as the framing would be stored', async () => {
  const bucket = await server.bucket();
  for (const headers of [
    { 'x-amz-decoded-content-length': '1' },
    { 'x-amz-trailer': 'x-amz-checksum-crc32' },
  ]) {
    const path = `/${bucket}/a`;
    const body = '1\r\nx\r\n0\r\n\r\n';
    const answer = await server.send({
      method: 'PUT',
      path,
      headers,
      body,
      payloadHash: 'UNSIGNED-PAYLOAD',
    });
    answers(answer, 400, 'InvalidRequest');
  }
  await nothingStored(bucket);
});

test('DeleteObjects takes its XML in unsigned chunks with a trailer, as SDKs may send it', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const xml = Buffer.from('<Delete><Object><Key>a</Key></Object></Delete>');
  const crc = digestOf('CRC32', xml).toString('base64');
  const answer = await upload({
    method: 'POST',
    path: `/${bucket}`,
    query: 'delete=',
    payloadHash: UNSIGNED_TRAILER,
    decodedLength: xml.length,
    headers: { 'x-amz-trailer': 'x-amz-checksum-crc32' },
    encode: () => [
      `${xml.length.toString(16)}\r\n`,
      xml,
      `\r\n0\r\nx-amz-checksum-crc32:${crc}\r\n\r\n`,
    ],
  });
  assert.equal(answer.status, 200, answer.body);
  await nothingStored(bucket);
});

test('row 75: neither secrets nor signatures are in the log', () => {
  server.assertLogHoldsNoSecrets();
});
