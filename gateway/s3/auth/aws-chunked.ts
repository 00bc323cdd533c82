/**
 * The `aws-chunked` transfer encoding
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and …/sigv4-streaming-trailers.html):
 * chunks with or without signatures, then trailers. Each chunk's signature covers the one before it, so chunks cannot
 * be swapped, replayed or left out; no byte of a signed chunk leaves before its chunk is verified.
 *
 * Tolerated, because clients send it: `\n` instead of `\r\n` after a trailer, a blank line between
 * trailer and trailer signature (AWS's own example, minio-go), one more CRLF at the very end.
 */
import { createHash, type Hash, hash, type KeyObject } from 'node:crypto';
import { S3Error } from '../errors.ts';
import type { ByteSource } from '../request.ts';
import { type Scope, sameSignature, scopeText, sign } from './signing.ts';

/** Signed chunks are held in memory until they are verified. */
export const SIGNED_CHUNK_BYTES_MAX = 16 * 1024 * 1024;
const CHUNK_LINE_BYTES_MAX = 4096;

const LF = 0x0a;
const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const TRAILER_SIGNATURE = 'x-amz-trailer-signature';
/** So many pieces of one chunk are put together, lest a chunk sent byte by byte fills the memory. */
const LOOSE_PIECES_MAX = 1024;
/** A hexadecimal size of so many digits is still exact. */
const SIZE_DIGITS_MAX = 13;
/** Blank lines among the trailers that are not their end. */
const STRAY_BLANK_LINES_MAX = 2;

/** What chunk signatures continue: the signature of the request itself. */
export interface ChunkSeed {
  key: KeyObject;
  timestamp: string;
  scope: Scope;
  signature: string;
}

export interface ChunkedOptions {
  /** Undefined: chunks are not signed. */
  seed: ChunkSeed | undefined;
  /** Undefined: the encoding has no trailers. Otherwise the declared one, if any is. */
  trailer: { name: string | undefined } | undefined;
  /** From x-amz-decoded-content-length. */
  decodedLength: number;
}

type State = 'size' | 'data' | 'data-end' | 'trailers' | 'last-line' | 'end';

/** Push in the encoded bytes, get out the verified content. Throws S3Error. */
export class ChunkDecoder {
  readonly #options: ChunkedOptions;
  readonly #signatures: SignatureChain | undefined;
  #state: State = 'size';
  /** The line read so far, one character per byte. */
  #line = '';
  #left = 0;
  #decoded = 0;
  #chunk: SignedChunk | undefined;
  #trailers = '';
  #trailerValue: string | undefined;
  #trailerVerified: boolean;
  #blankLines = 0;

  constructor(options: ChunkedOptions) {
    this.#options = options;
    this.#signatures = options.seed && new SignatureChain(options.seed);
    this.#trailerVerified = this.#signatures === undefined;
  }

  /** Content that is complete and verified so far; its chunks are views into what was pushed. */
  push(input: Uint8Array): Uint8Array[] {
    const output: Uint8Array[] = [];
    let position = 0;
    while (position < input.length) {
      if (this.#state === 'data') {
        const end = Math.min(position + this.#left, input.length);
        this.#takeData(input.subarray(position, end), output);
        position = end;
        continue;
      }
      const newline = input.indexOf(LF, position);
      const end = newline < 0 ? input.length : newline;
      this.#appendToLine(input, position, end);
      if (newline < 0) break;
      const line = this.#line;
      this.#line = '';
      this.#takeLine(line);
      position = newline + 1;
    }
    return output;
  }

  /** The encoded body has ended. Throws IncompleteBody unless the message was complete. */
  end(): void {
    if (this.#state === 'end' && this.#line === '') return;
    if (this.#trailerVerified && this.#blankLines > 0 && this.#line === '') {
      throw malformedTrailer('A declared trailer is missing.');
    }
    throw new S3Error('IncompleteBody');
  }

  /** Value of the declared trailer. Throws until the body has ended. */
  trailerValue(): string {
    if (this.#trailerValue === undefined) throw new Error('the body has not been read to its end');
    return this.#trailerValue;
  }

  #appendToLine(input: Uint8Array, start: number, end: number): void {
    if (this.#line.length + end - start > CHUNK_LINE_BYTES_MAX) throw invalid('a line is too long');
    this.#line += Buffer.from(input.buffer, input.byteOffset + start, end - start).toString(
      'latin1',
    );
  }

  #takeLine(line: string): void {
    switch (this.#state) {
      case 'size':
        return this.#takeSize(line);
      case 'data-end':
        if (line !== '\r') throw invalid('a chunk is longer than its size');
        this.#state = 'size';
        return;
      case 'trailers':
        return this.#takeTrailer(line);
      case 'last-line':
        if (line !== '\r') throw invalid('the last chunk is not followed by a blank line');
        this.#state = 'end';
        return;
      default:
        if (line !== '\r' || this.#blankLines++ > 0) throw invalid('there is more after the end');
    }
  }

  #takeSize(line: string): void {
    const pattern = this.#signatures === undefined ? UNSIGNED_SIZE : SIGNED_SIZE;
    const [, digits, signature = ''] = pattern.exec(line) ?? [];
    if (digits === undefined || digits.length > SIZE_DIGITS_MAX) throw invalid('bad chunk header');
    const size = Number.parseInt(digits, 16);
    if (this.#signatures !== undefined && size > SIGNED_CHUNK_BYTES_MAX) {
      throw invalid(`a signed chunk has more than ${SIGNED_CHUNK_BYTES_MAX} bytes`);
    }
    if (this.#decoded + size > this.#options.decodedLength) throw new S3Error('IncompleteBody');
    this.#decoded += size;
    if (size > 0) {
      this.#left = size;
      this.#state = 'data';
      if (this.#signatures !== undefined) this.#chunk = new SignedChunk(size, signature);
      return;
    }
    if (this.#decoded !== this.#options.decodedLength) throw new S3Error('IncompleteBody');
    this.#signatures?.verifyChunk(signature, EMPTY_SHA256);
    this.#state = this.#options.trailer === undefined ? 'last-line' : 'trailers';
  }

  #takeData(piece: Uint8Array, output: Uint8Array[]): void {
    this.#left -= piece.length;
    if (this.#left === 0) this.#state = 'data-end';
    if (this.#chunk === undefined) {
      output.push(piece);
      return;
    }
    this.#chunk.add(piece);
    if (this.#left > 0) return;
    this.#signatures?.verifyChunk(this.#chunk.signature, this.#chunk.sha256());
    for (const verified of this.#chunk.pieces) output.push(verified);
    this.#chunk = undefined;
  }

  #takeTrailer(line: string): void {
    const text = line.trim();
    if (text === '') return this.#takeBlankLine();
    const colon = text.indexOf(':');
    if (colon <= 0) throw malformedTrailer('A trailer has no name.');
    const name = text.slice(0, colon).trim().toLowerCase();
    const value = text.slice(colon + 1).trim();
    if (name === TRAILER_SIGNATURE && this.#signatures !== undefined && !this.#trailerVerified) {
      this.#signatures.verifyTrailers(value, this.#trailers);
      this.#trailerVerified = true;
      return;
    }
    if (name !== this.#options.trailer?.name || this.#trailerValue !== undefined) {
      throw malformedTrailer('A trailer was not declared in x-amz-trailer, or is sent twice.');
    }
    this.#trailerValue = value;
    this.#trailers = `${name}:${value}\n`;
  }

  #takeBlankLine(): void {
    const complete =
      this.#trailerVerified &&
      (this.#options.trailer?.name === undefined || this.#trailerValue !== undefined);
    if (complete) {
      this.#blankLines = 0;
      this.#state = 'end';
    } else if (++this.#blankLines > STRAY_BLANK_LINES_MAX) {
      throw malformedTrailer('A declared trailer is missing.');
    }
  }
}

const SIGNED_SIZE = /^([0-9A-Fa-f]+);chunk-signature=([^\r]*)\r$/;
const UNSIGNED_SIZE = /^([0-9A-Fa-f]+);?\r$/;

/** A chunk that waits for its last byte. */
class SignedChunk {
  readonly signature: string;
  readonly pieces: Uint8Array[] = [];
  readonly #size: number;
  #hash: Hash | undefined;
  #loose = 0;

  constructor(size: number, signature: string) {
    this.#size = size;
    this.signature = signature;
  }

  add(piece: Uint8Array): void {
    this.pieces.push(piece);
    if (piece.length === this.#size) return;
    this.#hash ??= createHash('sha256');
    this.#hash.update(piece);
    this.#loose++;
    if (this.#loose < LOOSE_PIECES_MAX) return;
    this.pieces.push(Buffer.concat(this.pieces.splice(-LOOSE_PIECES_MAX)));
    this.#loose = 0;
  }

  sha256(): string {
    const [whole] = this.pieces;
    if (this.#hash === undefined && whole !== undefined) return hash('sha256', whole, 'hex');
    return this.#hash?.digest('hex') ?? EMPTY_SHA256;
  }
}

/** The chain of signatures; it starts with that of the request. */
class SignatureChain {
  readonly #key: KeyObject;
  readonly #context: string;
  #previous: string;

  constructor(seed: ChunkSeed) {
    this.#key = seed.key;
    this.#context = `${seed.timestamp}\n${scopeText(seed.scope)}`;
    this.#previous = seed.signature;
  }

  verifyChunk(signature: string, sha256: string): void {
    this.#verify(
      signature,
      `AWS4-HMAC-SHA256-PAYLOAD\n${this.#context}\n${this.#previous}\n${EMPTY_SHA256}\n${sha256}`,
      'a chunk',
    );
  }

  verifyTrailers(signature: string, trailers: string): void {
    const sha256 = hash('sha256', Buffer.from(trailers, 'latin1'), 'hex');
    this.#verify(
      signature,
      `AWS4-HMAC-SHA256-TRAILER\n${this.#context}\n${this.#previous}\n${sha256}`,
      'the trailers',
    );
  }

  #verify(signature: string, text: string, what: string): void {
    const expected = sign(this.#key, text);
    if (!sameSignature(signature, expected)) {
      throw new S3Error('SignatureDoesNotMatch', {
        message: `The signature of ${what} does not match what we calculated.`,
      });
    }
    this.#previous = expected;
  }
}

/** A body with the encoding undone. The source is left where it is when an error is thrown. */
export class DecodedBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #encoded: ByteSource;
  readonly #decoder: ChunkDecoder;
  #source: AsyncIterator<Uint8Array> | undefined;
  #ready: Uint8Array[] = [];
  #next = 0;

  constructor(encoded: ByteSource, decoder: ChunkDecoder) {
    this.#encoded = encoded;
    this.#decoder = decoder;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    this.#source ??= this.#encoded[Symbol.asyncIterator]();
    for (;;) {
      const value = this.#ready[this.#next];
      if (value !== undefined) {
        this.#next++;
        return { done: false, value };
      }
      const step = await this.#source.next();
      if (step.done === true) {
        this.#decoder.end();
        return { done: true, value: undefined };
      }
      this.#ready = this.#decoder.push(step.value);
      this.#next = 0;
    }
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    await this.#source?.return?.();
    return { done: true, value: undefined };
  }
}

function invalid(reason: string): S3Error {
  return new S3Error('InvalidRequest', {
    message: `The aws-chunked body is not valid: ${reason}.`,
  });
}

function malformedTrailer(message: string): S3Error {
  return new S3Error('MalformedTrailerError', { message });
}
