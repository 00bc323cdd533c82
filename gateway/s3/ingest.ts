/**
 * A payload on its way in: hashed for the ETag and the object checksum, and held against everything
 * the client promised about it. All promises are checked before the body ends, so that whoever
 * consumes it to its end may commit.
 */
import { createHash, type Hash, hash } from 'node:crypto';
import { createDigest, type Digest, digestOf } from '../../base/digest.ts';
import {
  CHECKSUM_ALGORITHMS,
  CHECKSUM_BYTES,
  type ChecksumAlgorithm,
} from '../../base/object-checksum.ts';
import type { Authenticated } from './auth/identity.ts';
import { type ErrorCode, S3Error } from './errors.ts';
import type { HeaderMap } from './request.ts';

export interface IngestOptions {
  /** EntityTooLarge above. */
  maxBytes: number;
  /** Instead of EntityTooLarge. */
  tooLarge?: ErrorCode | undefined;
  /** `object`: checksum headers speak of an object, not of this body, and are left alone. */
  checksumHeaders?: 'body' | 'object' | undefined;
  /** Computed when the client names no algorithm; without it no checksum is kept. */
  defaultAlgorithm?: ChecksumAlgorithm | undefined;
}

export interface IngestResult {
  size: number;
  /** MD5 in hex: the ETag. */
  md5: string;
  checksum: { algorithm: ChecksumAlgorithm; value: string } | undefined;
}

export interface Ingest {
  /** Throws an S3Error at its end, at the latest, when a promise was broken. */
  body: AsyncIterable<Uint8Array>;
  /** Known once `body` has ended. */
  result(): IngestResult;
}

/** What the client says the checksum is, before the body is read. */
interface Promised {
  algorithm: ChecksumAlgorithm | undefined;
  /** Undefined when it comes as a trailer, or not at all. */
  value: string | undefined;
}

const NOTHING_PROMISED: Promised = { algorithm: undefined, value: undefined };

const CHECKSUM_PREFIX = 'x-amz-checksum-';
/** Headers of the same prefix that are no checksums. */
const OTHER_CHECKSUM_HEADERS: ReadonlySet<string> = new Set(['algorithm', 'type', 'mode']);

const ALGORITHM_OF: ReadonlyMap<string, ChecksumAlgorithm> = new Map(
  CHECKSUM_ALGORITHMS.map((algorithm) => [algorithm.toLowerCase(), algorithm]),
);

/** `crc32` → CRC32; undefined when there is no such algorithm. Any case. */
export function checksumAlgorithm(name: string): ChecksumAlgorithm | undefined {
  return ALGORITHM_OF.get(name.toLowerCase());
}

/** The response header of an algorithm: `x-amz-checksum-crc32`. */
export function checksumHeader(algorithm: ChecksumAlgorithm): string {
  return CHECKSUM_PREFIX + algorithm.toLowerCase();
}

/**
 * The one `x-amz-checksum-*` header of a request. Throws InvalidRequest when there are several or an
 * unknown one, BadDigest for one that is no base64 of the right length.
 */
export function parseChecksumHeader(
  headers: HeaderMap,
): { algorithm: ChecksumAlgorithm; value: string } | undefined {
  let found: { algorithm: ChecksumAlgorithm; value: string } | undefined;
  for (const header in headers) {
    if (!header.startsWith(CHECKSUM_PREFIX)) continue;
    const name = header.slice(CHECKSUM_PREFIX.length);
    if (OTHER_CHECKSUM_HEADERS.has(name)) continue;
    const algorithm = ALGORITHM_OF.get(name);
    if (algorithm === undefined) {
      throw invalid('The algorithm type you specified in x-amz-checksum- header is invalid.');
    }
    if (found !== undefined) throw severalChecksums();
    const value = headers[header] ?? '';
    if (!isChecksumValue(algorithm, value)) {
      throw noDigest(`Value for ${header} header is invalid.`);
    }
    found = { algorithm, value };
  }
  return found;
}

/** Whether `value` is canonical base64 of a digest of this algorithm. */
function isChecksumValue(algorithm: ChecksumAlgorithm, value: string): boolean {
  const bytes = Buffer.from(value, 'base64');
  return bytes.length === CHECKSUM_BYTES[algorithm] && bytes.toString('base64') === value;
}

function promisedChecksum(headers: HeaderMap, payload: Authenticated): Promised {
  const header = parseChecksumHeader(headers);
  if (header !== undefined && payload.trailer !== undefined) throw severalChecksums();
  const algorithm = header?.algorithm ?? payload.trailer?.algorithm;
  const named = headers['x-amz-sdk-checksum-algorithm'];
  if (named !== undefined) {
    const wanted = checksumAlgorithm(named);
    if (wanted === undefined || (algorithm !== undefined && wanted !== algorithm)) {
      throw invalid('Value for x-amz-sdk-checksum-algorithm header is invalid.');
    }
    if (algorithm === undefined) {
      throw invalid(
        'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.',
      );
    }
  }
  return { algorithm, value: header?.value };
}

/** Hex of the Content-MD5 header. Throws InvalidDigest. */
function promisedMd5(headers: HeaderMap): string | undefined {
  const header = headers['content-md5'];
  if (header === undefined) return undefined;
  const bytes = Buffer.from(header.trim(), 'base64');
  if (bytes.length !== 16 || bytes.toString('base64') !== header.trim()) {
    throw new S3Error('InvalidDigest', {
      message: 'The Content-MD5 you specified was invalid.',
      details: { 'Content-MD5': header },
    });
  }
  return bytes.toString('hex');
}

/**
 * Wraps the payload of an upload. Throws at once what the headers alone show (InvalidDigest,
 * InvalidRequest, EntityTooLarge); the body throws BadDigest, IncompleteBody or EntityTooLarge.
 * `loadDigests()` must have settled before.
 */
export function ingest(
  payload: Authenticated,
  request: { headers: HeaderMap; contentLength: number | undefined },
  options: IngestOptions,
): Ingest {
  const expectedSize = payload.decodedLength ?? request.contentLength;
  if (expectedSize !== undefined && expectedSize > options.maxBytes) {
    throw tooLarge(expectedSize, options);
  }
  const promised =
    options.checksumHeaders === 'object'
      ? NOTHING_PROMISED
      : promisedChecksum(request.headers, payload);
  const body = new IngestBody(
    payload,
    {
      size: expectedSize,
      md5: promisedMd5(request.headers),
      checksum: promised.value,
      algorithm: promised.algorithm ?? options.defaultAlgorithm,
    },
    options,
  );
  return { body, result: () => body.result() };
}

interface Expected {
  size: number | undefined;
  md5: string | undefined;
  checksum: string | undefined;
  algorithm: ChecksumAlgorithm | undefined;
}

/** The digests of a whole body: in one call when it came as one chunk, incremental otherwise. */
class BodyDigests {
  readonly #algorithm: ChecksumAlgorithm | undefined;
  #whole: { md5: string; checksum: string | undefined } | undefined;
  #md5: Hash | undefined;
  #checksum: Digest | undefined;

  constructor(algorithm: ChecksumAlgorithm | undefined) {
    this.#algorithm = algorithm;
  }

  /** The first chunk, and no more is expected: the one-call functions are several times cheaper. */
  all(chunk: Uint8Array): void {
    this.#whole = {
      md5: hash('md5', chunk, 'hex'),
      checksum: this.#algorithm && digestOf(this.#algorithm, chunk).toString('base64'),
    };
  }

  update(chunk: Uint8Array): void {
    if (this.#md5 === undefined) {
      this.#md5 = createHash('md5');
      if (this.#algorithm !== undefined) this.#checksum = createDigest(this.#algorithm);
    }
    this.#md5.update(chunk);
    this.#checksum?.update(chunk);
  }

  finish(): { md5: string; checksum: string | undefined } {
    if (this.#md5 !== undefined) {
      return {
        md5: this.#md5.digest('hex'),
        checksum: this.#checksum?.digest().toString('base64'),
      };
    }
    if (this.#whole === undefined) this.all(NOTHING);
    return this.#whole ?? { md5: '', checksum: undefined };
  }
}

const NOTHING = new Uint8Array(0);

/** An iterator by hand: an async generator would cost several promises per chunk. */
class IngestBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #payload: Authenticated;
  readonly #expected: Expected;
  readonly #options: IngestOptions;
  readonly #digests: BodyDigests;
  #source: AsyncIterator<Uint8Array> | undefined;
  #size = 0;
  #result: IngestResult | undefined;

  constructor(payload: Authenticated, expected: Expected, options: IngestOptions) {
    this.#payload = payload;
    this.#expected = expected;
    this.#options = options;
    this.#digests = new BodyDigests(expected.algorithm);
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    this.#source ??= this.#payload.body[Symbol.asyncIterator]();
    const step = await this.#source.next();
    if (step.done === true) {
      this.#result ??= this.#finish();
      return { done: true, value: undefined };
    }
    const chunk = step.value;
    this.#size += chunk.length;
    if (this.#size > this.#options.maxBytes) throw tooLarge(this.#size, this.#options);
    if (this.#expected.size !== undefined && this.#size > this.#expected.size) {
      throw new S3Error('IncompleteBody');
    }
    if (chunk.length > 0) {
      if (chunk.length === this.#expected.size) this.#digests.all(chunk);
      else this.#digests.update(chunk);
    }
    return { done: false, value: chunk };
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    await this.#source?.return?.();
    return { done: true, value: undefined };
  }

  result(): IngestResult {
    if (this.#result === undefined) throw new Error('the body has not been read to its end');
    return this.#result;
  }

  #finish(): IngestResult {
    const { size, md5: promisedHash, algorithm } = this.#expected;
    if (size !== undefined && this.#size !== size) throw new S3Error('IncompleteBody');
    const { md5, checksum } = this.#digests.finish();
    if (promisedHash !== undefined && promisedHash !== md5) {
      throw new S3Error('BadDigest', {
        message: 'The Content-MD5 you specified did not match what we received.',
        details: { ExpectedDigest: promisedHash, CalculatedDigest: md5 },
      });
    }
    if (algorithm === undefined || checksum === undefined) {
      return { size: this.#size, md5, checksum: undefined };
    }
    const claimed = this.#claimedChecksum(algorithm);
    if (claimed !== undefined && claimed !== checksum) {
      throw new S3Error('BadDigest', {
        message: `The ${algorithm} you specified did not match the calculated checksum.`,
      });
    }
    return { size: this.#size, md5, checksum: { algorithm, value: checksum } };
  }

  #claimedChecksum(algorithm: ChecksumAlgorithm): string | undefined {
    const trailer = this.#payload.trailer;
    if (trailer === undefined) return this.#expected.checksum;
    const value = trailer.value();
    if (!isChecksumValue(algorithm, value)) {
      throw noDigest(`Value for ${checksumHeader(algorithm)} trailing header is invalid.`);
    }
    return value;
  }
}

/** The body, which `digest` sees as it passes. */
export async function* digesting(
  body: AsyncIterable<Uint8Array>,
  digest: Digest,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    digest.update(chunk);
    yield chunk;
  }
}

function tooLarge(size: number, options: IngestOptions): S3Error {
  return new S3Error(options.tooLarge ?? 'EntityTooLarge', {
    details: { ProposedSize: String(size), MaxSizeAllowed: String(options.maxBytes) },
  });
}

function severalChecksums(): S3Error {
  return invalid(
    'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
  );
}

/**
 * A value that cannot be a digest matches nothing. AWS says InvalidRequest (400, too); BadDigest is
 * what s3-tests and other stores have, and what a client can only mean by such a value.
 */
function noDigest(message: string): S3Error {
  return new S3Error('BadDigest', { message });
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidRequest', { message });
}
