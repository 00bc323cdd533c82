/**
 * Streaming digests of object content: MD5 for ETags and the S3 checksums. All are synchronous, so
 * that hashing a chunk never costs a turn of the event loop.
 *
 * MD5 and SHA come from node:crypto, CRC32 and CRC32C from `@node-rs/crc32` (twice the speed of
 * `zlib.crc32`), CRC64NVME from WebAssembly in `hash-wasm`. All CRCs are big endian, as S3 writes
 * them (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html).
 */
import { createHash, hash as hashOnce } from 'node:crypto';
import { crc32, crc32c } from '@node-rs/crc32';
import { createCRC64, type IHasher } from 'hash-wasm';
import { combineCrc } from './crc-combine.ts';
import { Failure } from './failure.ts';
import { CHECKSUM_BYTES, type ChecksumAlgorithm, type ChecksumType } from './object-checksum.ts';

export type DigestAlgorithm = ChecksumAlgorithm | 'MD5';

export interface Digest {
  /** The bytes are read before this returns; the chunk stays the caller's. */
  update(chunk: Uint8Array): void;
  /** The digest, big endian for the CRCs. Call it once, at the end; no `update` after it. */
  digest(): Buffer;
}

const CRYPTO_NAMES = { MD5: 'md5', SHA1: 'sha1', SHA256: 'sha256' } as const;

/** CRC-64/NVME, reflected (check value of `123456789`: ae8b14860a799888). */
const CRC64NVME_POLYNOMIAL = '9a6c9329ac4bc9b5';

/**
 * One WebAssembly instance serves all CRC64NVME streams of the process: its whole state is 8 bytes,
 * which are put aside when another stream has its turn (0.4 µs) and forgotten with their stream.
 */
let crc64: IHasher | undefined;
let crc64Turn: Crc64State | undefined;

interface Crc64State {
  /** Set while another stream has its turn. */
  aside: Uint8Array | undefined;
}

/** Makes CRC64NVME ready. Every process awaits it once at start; later calls do nothing. */
export async function loadDigests(): Promise<void> {
  crc64 ??= await createCRC64(CRC64NVME_POLYNOMIAL);
}

function crc64Hasher(): IHasher {
  if (crc64 === undefined) throw new Failure('internal', 'loadDigests was not awaited at start');
  return crc64;
}

/** The shared instance, in the state of this stream. */
function takeTurn(state: Crc64State): IHasher {
  const hasher = crc64Hasher();
  if (crc64Turn === state) return hasher;
  if (crc64Turn !== undefined) crc64Turn.aside = hasher.save();
  crc64Turn = state;
  return state.aside === undefined ? hasher.init() : hasher.load(state.aside);
}

class Crc64Digest implements Digest {
  readonly #state: Crc64State = { aside: undefined };

  update(chunk: Uint8Array): void {
    takeTurn(this.#state).update(chunk);
  }

  digest(): Buffer {
    const hasher = takeTurn(this.#state);
    crc64Turn = undefined;
    return Buffer.from(hasher.digest('binary').buffer);
  }
}

class Crc32Digest implements Digest {
  readonly #step: typeof crc32;
  #value = 0;

  constructor(step: typeof crc32) {
    this.#step = step;
  }

  update(chunk: Uint8Array): void {
    this.#value = this.#step(chunk, this.#value);
  }

  digest(): Buffer {
    return fromUint32(this.#value);
  }
}

class CryptoDigest implements Digest {
  readonly #hash: ReturnType<typeof createHash>;

  constructor(name: string) {
    this.#hash = createHash(name);
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
  }

  digest(): Buffer {
    return this.#hash.digest();
  }
}

function fromUint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

/** A digest over chunks. Any number may run at once. CRC64NVME needs `loadDigests` first. */
export function createDigest(algorithm: DigestAlgorithm): Digest {
  switch (algorithm) {
    case 'CRC32':
      return new Crc32Digest(crc32);
    case 'CRC32C':
      return new Crc32Digest(crc32c);
    case 'CRC64NVME':
      crc64Hasher();
      return new Crc64Digest();
    default:
      return new CryptoDigest(CRYPTO_NAMES[algorithm]);
  }
}

/** The digest of bytes that are all there: faster than `createDigest` for small buffers. */
export function digestOf(algorithm: DigestAlgorithm, bytes: Uint8Array): Buffer {
  switch (algorithm) {
    case 'CRC32':
      return fromUint32(crc32(bytes));
    case 'CRC32C':
      return fromUint32(crc32c(bytes));
    case 'CRC64NVME': {
      const digest = new Crc64Digest();
      digest.update(bytes);
      return digest.digest();
    }
    default:
      return hashOnce(CRYPTO_NAMES[algorithm], bytes, 'buffer');
  }
}

/** A checksum of one part: base64 of the digest. Throws Failure `invalid` for any other length. */
function decodeChecksum(algorithm: ChecksumAlgorithm, value: string): Buffer {
  const bytes = Buffer.from(value, 'base64');
  if (bytes.length !== CHECKSUM_BYTES[algorithm]) {
    throw new Failure('invalid', `not a ${algorithm} checksum: ${value}`);
  }
  return bytes;
}

/**
 * The checksum of a multipart object from those of its parts (base64, size in bytes), in order.
 * COMPOSITE: the digest of the parts' concatenated raw digests, with `-N`. FULL_OBJECT: the CRC of
 * the whole content. As in S3, SHA is COMPOSITE only, CRC64NVME is FULL_OBJECT only; the other pair,
 * a malformed value or no part at all is Failure `invalid`.
 */
export function multipartChecksum(
  algorithm: ChecksumAlgorithm,
  type: ChecksumType,
  parts: readonly { value: string; size: number }[],
): string {
  const [first, ...rest] = parts;
  if (first === undefined) throw new Failure('invalid', 'a multipart object has at least one part');
  if (type === 'COMPOSITE') {
    if (algorithm === 'CRC64NVME') throw new Failure('invalid', 'CRC64NVME is never COMPOSITE');
    const digests = parts.map((part) => decodeChecksum(algorithm, part.value));
    const digest = digestOf(algorithm, Buffer.concat(digests));
    return `${digest.toString('base64')}-${parts.length}`;
  }
  if (algorithm === 'SHA1' || algorithm === 'SHA256') {
    throw new Failure('invalid', `${algorithm} is never FULL_OBJECT`);
  }
  let whole = decodeChecksum(algorithm, first.value);
  for (const part of rest) {
    whole = combineCrc(algorithm, whole, decodeChecksum(algorithm, part.value), part.size);
  }
  return whole.toString('base64');
}
