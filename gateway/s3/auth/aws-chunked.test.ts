import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { S3Error } from '../errors.ts';
import type { RawRequest } from '../request.ts';
import { ChunkDecoder, SIGNED_CHUNK_BYTES_MAX } from './aws-chunked.ts';
import {
  authenticateExample,
  bodyCodeOf,
  bytesOf,
  readAll,
  signed,
  signedChunks,
  unsignedChunks,
} from './test-support.ts';

const TRAILER = { name: 'x-amz-checksum-crc32', value: 'NSRBwg==' };

const MODES = {
  signed: { payloadHash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', trailer: undefined },
  'signed with a trailer': {
    payloadHash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
    trailer: TRAILER,
  },
  'unsigned with a trailer': {
    payloadHash: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
    trailer: TRAILER,
  },
  'unsigned, no trailer declared': {
    payloadHash: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
    trailer: undefined,
  },
} as const;
type Mode = keyof typeof MODES;
const MODE_NAMES = Object.keys(MODES) as Mode[];

function uploadOf(
  mode: Mode,
  chunks: readonly Uint8Array[],
  decodedLength = Buffer.concat(chunks).length,
): { request: RawRequest; encoded: Buffer } {
  const { payloadHash, trailer } = MODES[mode];
  const request = signed({
    method: 'PUT',
    path: '/b/k',
    payloadHash,
    headers: {
      'x-amz-decoded-content-length': String(decodedLength),
      ...(trailer === undefined ? {} : { 'x-amz-trailer': trailer.name }),
    },
  });
  const encoded = mode.startsWith('signed')
    ? signedChunks(request, chunks, trailer)
    : unsignedChunks(chunks, trailer);
  return { request, encoded };
}

function decode(request: RawRequest, ...pieces: Uint8Array[]) {
  return authenticateExample({ ...request, body: bytesOf(...pieces) });
}

/** Cuts at the given positions, wherever they are. */
function cut(bytes: Buffer, positions: readonly number[]): Uint8Array[] {
  const sorted = positions.map((position) => position % (bytes.length + 1)).sort((a, b) => a - b);
  const ends = [...sorted, bytes.length];
  return ends.map((end, index) => Uint8Array.from(bytes.subarray(ends[index - 1] ?? 0, end)));
}

const contents = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 4 });
const positions = fc.array(fc.nat({ max: 2000 }), { maxLength: 12 });

for (const mode of MODE_NAMES) {
  test(`${mode}: however the stream is cut, the content is the same`, async () => {
    await fc.assert(
      fc.asyncProperty(contents, positions, async (chunks, where) => {
        const { request, encoded } = uploadOf(mode, chunks);
        const { body, trailer } = decode(request, ...cut(encoded, where));
        assert.deepEqual(await readAll(body), Buffer.concat(chunks));
        assert.equal(trailer?.value(), MODES[mode].trailer?.value);
      }),
    );
  });

  test(`${mode}: a stream that ends early is IncompleteBody wherever it ends`, async () => {
    const { request, encoded } = uploadOf(mode, [Buffer.from('abc'), Buffer.from('de')]);
    for (let end = 0; end < encoded.length; end++) {
      const { body } = decode(request, encoded.subarray(0, end));
      const code = await bodyCodeOf(body);
      assert.equal(code, 'IncompleteBody', `after ${end} of ${encoded.length} bytes`);
    }
  });

  test(`${mode}: a changed byte is never accepted with other content`, async () => {
    await fc.assert(
      fc.asyncProperty(
        contents,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (chunks, at, flip) => {
          const { request, encoded } = uploadOf(mode, chunks);
          const index = at % encoded.length;
          encoded[index] = (encoded[index] ?? 0) ^ flip;
          const { body, trailer } = decode(request, encoded);
          const content = await readAll(body).catch((error: unknown) => {
            assert.ok(error instanceof S3Error, String(error));
          });
          if (content === undefined || mode.startsWith('unsigned')) return;
          assert.deepEqual(content, Buffer.concat(chunks));
          assert.equal(trailer?.value(), MODES[mode].trailer?.value);
        },
      ),
    );
  });

  test(`${mode}: bytes after the end are InvalidRequest, one more CRLF is not`, async () => {
    const { request, encoded } = uploadOf(mode, [Buffer.from('abc')]);
    const read = (more: string) => bodyCodeOf(decode(request, encoded, Buffer.from(more)).body);
    assert.equal(await read('\r\n'), 'none');
    assert.equal(await read('\r\n\r\n'), 'InvalidRequest');
    assert.equal(await read('x\r\n'), 'InvalidRequest');
    assert.equal(await read('x'), 'IncompleteBody');
  });

  test(`${mode}: more or less content than announced is IncompleteBody`, async () => {
    for (const announced of [0, 4, 6, 1000]) {
      const { request, encoded } = uploadOf(
        mode,
        [Buffer.from('abc'), Buffer.from('de')],
        announced,
      );
      assert.equal(await bodyCodeOf(decode(request, encoded).body), 'IncompleteBody');
    }
  });
}

const PARTS = ['first', 'second', 'third'].map((text) => Buffer.from(text));

/** The encoded chunks of a signed upload, each with its header and its CRLF. */
function chunksOf(encoded: Buffer): Buffer[] {
  return encoded
    .toString('latin1')
    .split(/(?=[0-9a-f];chunk-signature=)/)
    .map((text) => Buffer.from(text, 'latin1'));
}

test('swapped, repeated or missing chunks are SignatureDoesNotMatch or IncompleteBody', async () => {
  const { request, encoded } = uploadOf('signed', PARTS);
  const [one, two, three, last] = chunksOf(encoded);
  assert.ok(one && two && three && last);
  const read = (...chunks: Buffer[]) => bodyCodeOf(decode(request, ...chunks).body);
  assert.equal(await read(one, two, three, last), 'none');
  assert.equal(await read(two, one, three, last), 'SignatureDoesNotMatch');
  assert.equal(await read(one, one, three, last), 'SignatureDoesNotMatch');
  assert.equal(await read(one, three, last), 'SignatureDoesNotMatch');
  assert.equal(await read(one, two, last), 'IncompleteBody');
  assert.equal(await read(one, two, three), 'IncompleteBody');
});

test('a wrong chunk signature is SignatureDoesNotMatch, in each chunk and in the trailers', async () => {
  const { request, encoded } = uploadOf('signed with a trailer', PARTS);
  const text = encoded.toString('latin1');
  const ends = [...text.matchAll(/signature[=:][0-9a-f]{63}/g)].map((m) => m.index + m[0].length);
  assert.equal(ends.length, 5);
  for (const end of ends) {
    const wrong = `${text.slice(0, end)}${text[end] === '0' ? '1' : '0'}${text.slice(end + 1)}`;
    const { body } = decode(request, Buffer.from(wrong, 'latin1'));
    assert.equal(await bodyCodeOf(body), 'SignatureDoesNotMatch');
  }
});

const BAD_HEADERS = [
  'zz\r\n',
  '-3\r\n',
  '+3\r\n',
  '0x3\r\n',
  ' 3\r\n',
  '\r\n',
  '3\n',
  '3;name=value\r\n',
  '10000000000000\r\n',
  `${'0'.repeat(5000)}3\r\n`,
];

test('a chunk header that is none is InvalidRequest', async () => {
  const { request } = uploadOf('unsigned, no trailer declared', [], 3);
  for (const header of BAD_HEADERS) {
    const { body } = decode(request, Buffer.from(`${header}abc\r\n0\r\n\r\n`));
    assert.equal(await bodyCodeOf(body), 'InvalidRequest', JSON.stringify(header.slice(0, 20)));
  }
});

test('a signed stream without chunk signatures is InvalidRequest', async () => {
  const { request } = uploadOf('signed', [Buffer.from('abc')]);
  assert.equal(
    await bodyCodeOf(decode(request, unsignedChunks([Buffer.from('abc')])).body),
    'InvalidRequest',
  );
});

test('a chunk longer than its size is InvalidRequest', async () => {
  const { request } = uploadOf('unsigned, no trailer declared', [], 5);
  const { body } = decode(request, Buffer.from('3\r\nabcd\r\n1\r\ne\r\n0\r\n\r\n'));
  assert.equal(await bodyCodeOf(body), 'InvalidRequest');
});

test('signed chunks end at 16 MiB; unsigned ones, which are not held, may be any size', () => {
  const seed = {
    key: createSecretKey(Buffer.alloc(32)),
    timestamp: '20130524T000000Z',
    scope: { date: '20130524', region: 'us-east-1' },
    signature: '0'.repeat(64),
  };
  const decodedLength = 5 * 2 ** 40;
  const header = (size: number) =>
    Buffer.from(`${size.toString(16)};chunk-signature=${'0'.repeat(64)}\r\n`);
  const decoder = () => new ChunkDecoder({ seed, trailer: undefined, decodedLength });
  assert.deepEqual(decoder().push(header(SIGNED_CHUNK_BYTES_MAX)), []);
  assert.throws(() => decoder().push(header(SIGNED_CHUNK_BYTES_MAX + 1)), {
    code: 'InvalidRequest',
  });
  const unsigned = new ChunkDecoder({ seed: undefined, trailer: undefined, decodedLength });
  const output = unsigned.push(Buffer.from(`${decodedLength.toString(16)}\r\nabc`));
  assert.equal(Buffer.concat(output).toString(), 'abc');
});

test('a large signed chunk that arrives byte by byte is put together in few pieces', async () => {
  const content = Buffer.alloc(10_000, 'abcdefg');
  const { request, encoded } = uploadOf('signed', [content]);
  const pieces = Array.from(encoded, (byte) => Uint8Array.of(byte));
  const received: Uint8Array[] = [];
  for await (const chunk of decode(request, ...pieces).body) received.push(chunk);
  assert.deepEqual(Buffer.concat(received), content);
  assert.ok(received.length < 2000, `${received.length} pieces`);
});

const TRAILER_ROWS: [body: string, code: string][] = [
  ['0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n', 'none'],
  ['0\r\nX-Amz-Checksum-CRC32: NSRBwg== \r\n\r\n', 'none'],
  ['0\r\nx-amz-checksum-crc32:NSRBwg==\n\r\n\r\n', 'none'],
  ['0\r\n\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n', 'none'],
  ['0\r\nx-amz-checksum-crc32c:NSRBwg==\r\n\r\n', 'MalformedTrailerError'],
  ['0\r\nx-amz-meta-a:1\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n', 'MalformedTrailerError'],
  ['0\r\nx-amz-checksum-crc32:a\r\nx-amz-checksum-crc32:a\r\n\r\n', 'MalformedTrailerError'],
  ['0\r\nx-amz-trailer-signature:00\r\n\r\n', 'MalformedTrailerError'],
  ['0\r\nno colon\r\n\r\n', 'MalformedTrailerError'],
  ['0\r\n:value\r\n\r\n', 'MalformedTrailerError'],
  ['0\r\n\r\n', 'MalformedTrailerError'],
  ['0\r\n\r\n\r\n\r\n', 'MalformedTrailerError'],
  [`0\r\nx-amz-checksum-crc32:${'a'.repeat(5000)}\r\n\r\n`, 'InvalidRequest'],
];

test('trailers are those that were declared, once, or MalformedTrailerError', async () => {
  const { request } = uploadOf('unsigned with a trailer', []);
  for (const [encoded, code] of TRAILER_ROWS) {
    const { body } = decode(request, Buffer.from(encoded));
    assert.equal(await bodyCodeOf(body), code, JSON.stringify(encoded.slice(0, 80)));
  }
});

test('an undeclared trailer is refused where none was declared', async () => {
  const { request } = uploadOf('unsigned, no trailer declared', []);
  const { body } = decode(request, unsignedChunks([], TRAILER));
  assert.equal(await bodyCodeOf(body), 'MalformedTrailerError');
});

test('signed trailers without their signature are never accepted', async () => {
  const { request, encoded } = uploadOf('signed with a trailer', PARTS);
  const text = encoded.toString('latin1').replace(/x-amz-trailer-signature:.*\r\n/, '');
  assert.equal(
    await bodyCodeOf(decode(request, Buffer.from(text, 'latin1')).body),
    'IncompleteBody',
  );
});

test('the value of a trailer is not there before the body has ended', async () => {
  const { request, encoded } = uploadOf('unsigned with a trailer', PARTS);
  const { body, trailer } = decode(request, encoded);
  assert.throws(() => trailer?.value(), /has not been read to its end/);
  await readAll(body);
  assert.equal(trailer?.value(), TRAILER.value);
});

test('giving up on a decoded body gives up on its source', async () => {
  const { request, encoded } = uploadOf('unsigned with a trailer', PARTS);
  let closed = false;
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      yield encoded;
      yield encoded;
    } finally {
      closed = true;
    }
  }
  for await (const chunk of authenticateExample({ ...request, body: source() }).body) {
    assert.equal(Buffer.from(chunk).toString(), 'first');
    break;
  }
  assert.ok(closed);
});
