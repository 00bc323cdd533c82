/**
 * The payload of a request as x-amz-content-sha256 describes it: plain, hashed, or aws-chunked
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html).
 */
import { createHash, type Hash, hash } from 'node:crypto';
import { CHECKSUM_ALGORITHMS, type ChecksumAlgorithm } from '../../../base/object-checksum.ts';
import { S3Error } from '../errors.ts';
import type { ByteSource, RawRequest } from '../request.ts';
import { ChunkDecoder, type ChunkSeed, DecodedBody } from './aws-chunked.ts';
import { headerValue } from './canonical-request.ts';
import type { Authenticated } from './identity.ts';

type Payload = Pick<Authenticated, 'body' | 'decodedLength' | 'trailer'>;

const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD';
const STREAMING_SIGNED = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD';
const STREAMING_SIGNED_TRAILER = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER';
export const STREAMING_UNSIGNED_TRAILER = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';

const SHA256_HEX = /^[0-9A-Fa-f]{64}$/;

const TRAILER_ALGORITHMS: ReadonlyMap<string, ChecksumAlgorithm> = new Map(
  CHECKSUM_ALGORITHMS.map((algorithm) => [`x-amz-checksum-${algorithm.toLowerCase()}`, algorithm]),
);

/** Whether the payload's bytes are outside the signature. */
export function isUnsigned(payloadHash: string): boolean {
  return payloadHash === UNSIGNED_PAYLOAD || payloadHash === STREAMING_UNSIGNED_TRAILER;
}

/**
 * The payload of `request`, to be read as the client meant it. `payloadHash` is
 * x-amz-content-sha256, or what stands for it; undefined for anonymous requests that send none.
 * `seed` is what signed chunks continue; undefined when nothing is signed.
 * Throws InvalidArgument, InvalidRequest or MissingContentLength.
 */
export function decodePayload(
  request: RawRequest,
  payloadHash: string | undefined,
  seed: ChunkSeed | undefined,
): Payload {
  switch (payloadHash) {
    case STREAMING_SIGNED:
    case STREAMING_SIGNED_TRAILER:
      if (seed === undefined) {
        throw invalidRequest(`${payloadHash} needs a signed request.`);
      }
      return chunkedPayload(request, seed, payloadHash === STREAMING_SIGNED_TRAILER);
    case STREAMING_UNSIGNED_TRAILER:
      return chunkedPayload(request, undefined, true);
    default:
      return plainPayload(request, payloadHash);
  }
}

function plainPayload(request: RawRequest, payloadHash: string | undefined): Payload {
  // Stored as it is, the chunk headers would become part of the object: silent corruption.
  for (const name of ['x-amz-decoded-content-length', 'x-amz-trailer']) {
    if (headerValue(request.headers, name) !== undefined) {
      throw invalidRequest(`${name} needs a STREAMING value in x-amz-content-sha256.`);
    }
  }
  const decodedLength = request.contentLength;
  if (payloadHash === undefined || payloadHash === UNSIGNED_PAYLOAD) {
    return { body: request.body, decodedLength, trailer: undefined };
  }
  if (!SHA256_HEX.test(payloadHash)) {
    throw new S3Error('InvalidArgument', {
      message:
        'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING value, or a valid sha256 value.',
      details: { ArgumentName: 'x-amz-content-sha256', ArgumentValue: payloadHash },
    });
  }
  const body = new HashedBody(request.body, payloadHash.toLowerCase(), decodedLength);
  return { body, decodedLength, trailer: undefined };
}

function chunkedPayload(
  request: RawRequest,
  seed: ChunkSeed | undefined,
  hasTrailers: boolean,
): Payload {
  const decodedLength = parseDecodedLength(
    headerValue(request.headers, 'x-amz-decoded-content-length'),
  );
  const declared = headerValue(request.headers, 'x-amz-trailer');
  if (!hasTrailers && declared !== undefined) {
    throw invalidRequest('x-amz-trailer needs a TRAILER value in x-amz-content-sha256.');
  }
  const name = declared?.trim().toLowerCase();
  const algorithm = name === undefined ? undefined : TRAILER_ALGORITHMS.get(name);
  if (name !== undefined && algorithm === undefined) {
    throw invalidRequest('The value specified in the x-amz-trailer header is not supported.');
  }
  const decoder = new ChunkDecoder({
    seed,
    trailer: hasTrailers ? { name } : undefined,
    decodedLength,
  });
  return {
    body: new DecodedBody(request.body, decoder),
    decodedLength,
    trailer: algorithm && { algorithm, value: () => decoder.trailerValue() },
  };
}

function parseDecodedLength(text: string | undefined): number {
  if (text === undefined || text === '') {
    throw new S3Error('MissingContentLength', {
      message: 'You must provide the x-amz-decoded-content-length header.',
    });
  }
  const length = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(length)) {
    throw new S3Error('InvalidArgument', {
      message: 'x-amz-decoded-content-length must be a number of bytes.',
      details: { ArgumentName: 'x-amz-decoded-content-length', ArgumentValue: text },
    });
  }
  return length;
}

/** A body whose SHA-256 was promised; throws XAmzContentSHA256Mismatch at its end. */
class HashedBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #plain: ByteSource;
  readonly #expected: string;
  readonly #length: number | undefined;
  #source: AsyncIterator<Uint8Array> | undefined;
  #hash: Hash | undefined;
  #whole: string | undefined;

  constructor(plain: ByteSource, expected: string, length: number | undefined) {
    this.#plain = plain;
    this.#expected = expected;
    this.#length = length;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    this.#source ??= this.#plain[Symbol.asyncIterator]();
    const step = await this.#source.next();
    if (step.done === true) {
      this.#check();
      return { done: true, value: undefined };
    }
    if (step.value.length > 0) this.#update(step.value);
    return { done: false, value: step.value };
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    await this.#source?.return?.();
    return { done: true, value: undefined };
  }

  #update(chunk: Uint8Array): void {
    if (this.#whole !== undefined) throw new S3Error('IncompleteBody');
    if (this.#hash === undefined && chunk.length === this.#length) {
      // A small body comes in one piece, and hashing it in one call is cheaper.
      this.#whole = hash('sha256', chunk, 'hex');
      return;
    }
    this.#hash ??= createHash('sha256');
    this.#hash.update(chunk);
  }

  #check(): void {
    const actual = this.#whole ?? (this.#hash ?? createHash('sha256')).digest('hex');
    if (actual === this.#expected) return;
    throw new S3Error('XAmzContentSHA256Mismatch', {
      details: {
        ClientComputedContentSHA256: this.#expected,
        S3ComputedContentSHA256: actual,
      },
    });
  }
}

function invalidRequest(message: string): S3Error {
  return new S3Error('InvalidRequest', { message });
}
