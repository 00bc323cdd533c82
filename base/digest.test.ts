import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { CRC_ALGORITHMS, combineCrc } from './crc-combine.ts';
import {
  type DigestAlgorithm,
  createDigest,
  digestOf,
  loadDigests,
  multipartChecksum,
} from './digest.ts';
import { Failure } from './failure.ts';
import { CHECKSUM_ALGORITHMS } from './object-checksum.ts';

const ALGORITHMS: DigestAlgorithm[] = [...CHECKSUM_ALGORITHMS, 'MD5'];

before(loadDigests);

/** Digests of `123456789`: the CRC catalogue's check values, and FIPS 180 / RFC 1321 tools. */
const CHECK_VALUES: Record<DigestAlgorithm, string> = {
  CRC32: 'cbf43926',
  CRC32C: 'e3069283',
  CRC64NVME: 'ae8b14860a799888',
  SHA1: 'f7c3bc1d808e04732adf679965ccc34ca7ae3441',
  SHA256: '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225',
  MD5: '25f9e794323b453885f5181f1b624d0b',
};

const EMPTY_VALUES: Record<DigestAlgorithm, string> = {
  CRC32: '00000000',
  CRC32C: '00000000',
  CRC64NVME: '0000000000000000',
  SHA1: 'da39a3ee5e6b4b0d3255bfef95601890afd80709',
  SHA256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  MD5: 'd41d8cd98f00b204e9800998ecf8427e',
};

for (const algorithm of ALGORITHMS) {
  test(`${algorithm} gives the published check values`, () => {
    assert.equal(
      digestOf(algorithm, Buffer.from('123456789')).toString('hex'),
      CHECK_VALUES[algorithm],
    );
    assert.equal(digestOf(algorithm, Buffer.alloc(0)).toString('hex'), EMPTY_VALUES[algorithm]);
    assert.equal(createDigest(algorithm).digest().toString('hex'), EMPTY_VALUES[algorithm]);
  });

  test(`${algorithm} does not depend on how the content is cut`, () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40_000, size: 'max' }), { maxLength: 6 }),
        (chunks) => {
          const digest = createDigest(algorithm);
          for (const chunk of chunks) digest.update(chunk);
          assert.deepEqual(digest.digest(), digestOf(algorithm, Buffer.concat(chunks)));
        },
      ),
      { numRuns: 30 },
    );
  });

  test(`${algorithm} keeps interleaved streams apart`, () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: 3 }), fc.uint8Array({ maxLength: 50 })), { maxLength: 40 }),
        (steps) => {
          const digests = [0, 1, 2, 3].map(() => createDigest(algorithm));
          const contents: Uint8Array[][] = [[], [], [], []];
          for (const [stream, chunk] of steps) {
            digests[stream]?.update(chunk);
            contents[stream]?.push(chunk);
            digestOf(algorithm, chunk);
          }
          for (const [stream, digest] of digests.entries()) {
            const content = Buffer.concat(contents[stream] ?? []);
            assert.deepEqual(digest.digest(), digestOf(algorithm, content));
          }
        },
      ),
    );
  });
}

for (const algorithm of CRC_ALGORITHMS) {
  test(`${algorithm} of a concatenation is combined from the CRCs of its halves`, () => {
    const bytes = fc.uint8Array({ maxLength: 5_000, size: 'max' });
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        const combined = combineCrc(
          algorithm,
          digestOf(algorithm, a),
          digestOf(algorithm, b),
          b.length,
        );
        assert.deepEqual(combined, digestOf(algorithm, Buffer.concat([a, b])));
      }),
    );
  });

  test(`${algorithm} combines lengths far beyond 32 bits`, () => {
    // Appending 2^43 bytes at once is the same as appending 2^42 bytes of zeros twice.
    const start = digestOf(algorithm, Buffer.from('start'));
    const none = Buffer.alloc(start.length);
    const half = combineCrc(algorithm, start, none, 2 ** 42);
    assert.deepEqual(
      combineCrc(algorithm, half, none, 2 ** 42),
      combineCrc(algorithm, start, none, 2 ** 43),
    );
  });

  test(`${algorithm} refuses to combine values of a wrong size or length`, () => {
    const good = digestOf(algorithm, Buffer.alloc(1));
    const invalid = { name: 'Failure', kind: 'invalid' };
    assert.throws(() => combineCrc(algorithm, good.subarray(1), good, 1), invalid);
    assert.throws(() => combineCrc(algorithm, good, Buffer.alloc(20), 1), invalid);
    assert.throws(() => combineCrc(algorithm, good, good, -1), invalid);
    assert.throws(() => combineCrc(algorithm, good, good, 1.5), invalid);
  });

  test(`a FULL_OBJECT ${algorithm} of parts is the checksum of the whole`, () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 100 }), { minLength: 1, maxLength: 8 }),
        (chunks) => {
          const parts = chunks.map((chunk) => ({
            value: digestOf(algorithm, chunk).toString('base64'),
            size: chunk.length,
          }));
          assert.equal(
            multipartChecksum(algorithm, 'FULL_OBJECT', parts),
            digestOf(algorithm, Buffer.concat(chunks)).toString('base64'),
          );
        },
      ),
    );
  });
}

for (const algorithm of ['CRC32', 'CRC32C', 'SHA1', 'SHA256'] as const) {
  test(`a COMPOSITE ${algorithm} is the digest of the digests, with the number of parts`, () => {
    const chunks = [Buffer.from('one'), Buffer.from('two'), Buffer.from('three')];
    const digests = chunks.map((chunk) => digestOf(algorithm, chunk));
    const parts = digests.map((digest) => ({ value: digest.toString('base64'), size: 3 }));
    const expected = digestOf(algorithm, Buffer.concat(digests)).toString('base64');
    assert.equal(multipartChecksum(algorithm, 'COMPOSITE', parts), `${expected}-3`);
  });
}

test('multipartChecksum refuses what S3 does not define', () => {
  const part = (algorithm: DigestAlgorithm) => [
    { value: digestOf(algorithm, Buffer.from('a')).toString('base64'), size: 1 },
  ];
  const refused = [
    () => multipartChecksum('SHA1', 'FULL_OBJECT', part('SHA1')),
    () => multipartChecksum('SHA256', 'FULL_OBJECT', part('SHA256')),
    () => multipartChecksum('CRC64NVME', 'COMPOSITE', part('CRC64NVME')),
    () => multipartChecksum('CRC32', 'COMPOSITE', []),
    () => multipartChecksum('CRC32', 'FULL_OBJECT', []),
    () => multipartChecksum('CRC32', 'FULL_OBJECT', part('SHA1')),
    () => multipartChecksum('SHA256', 'COMPOSITE', part('MD5')),
  ];
  for (const call of refused) {
    assert.throws(call, (error) => error instanceof Failure && error.kind === 'invalid');
  }
});
