/**
 * Cuts a stream of chunks into blocks with as few copies as possible: a body that arrives as one
 * chunk, and whole blocks inside a big chunk, are used as they are; everything else is copied once
 * into a buffer made for its block, and freed. Chunks belong to the chunker from the moment they are
 * pushed, blocks to whoever takes them: their bytes may still be on their way to a slow node long after the
 * upload has ended.
 */
import { freeChunk, payloadBuffers } from '../../base/buffer-pool.ts';

export class Chunker {
  readonly #blockSize: number;
  /** Bytes still to come according to the caller; negative or NaN when that is not known. */
  #expected: number;
  /** A chunk that is the whole block so far: copied only when more bytes follow. */
  #held: Uint8Array | undefined;
  #buffer: Buffer | undefined;
  #filled = 0;

  /** `sizeHint`: length of the whole body in bytes, when known; a wrong hint costs copies only. */
  constructor(blockSize: number, sizeHint?: number) {
    this.#blockSize = blockSize;
    this.#expected = sizeHint ?? Number.NaN;
  }

  /** True before the first byte of a block. */
  get empty(): boolean {
    return this.#filled === 0;
  }

  /** True when the block must be taken before anything more is pushed. */
  get full(): boolean {
    return this.#filled === this.#blockSize;
  }

  /** Bytes that the next block is going to need at most, as far as is known. */
  get nextBytes(): number {
    return this.#expected > 0 ? Math.min(this.#expected, this.#blockSize) : this.#blockSize;
  }

  /** Adds bytes of `chunk` from `offset` to the block; returns the offset of the first byte left. */
  push(chunk: Uint8Array, offset: number): number {
    const space = this.#blockSize - this.#filled;
    const end = Math.min(chunk.length, offset + space);
    const bytes = end - offset === chunk.length ? chunk : chunk.subarray(offset, end);
    if (this.#filled === 0) {
      // Several blocks may lie in one chunk: none of them may recycle its memory.
      payloadBuffers.keep(bytes);
      this.#held = bytes;
    } else {
      this.#reserve(this.#filled + bytes.length).set(bytes, this.#filled);
      freeChunk(bytes);
    }
    this.#filled += end - offset;
    return end;
  }

  /** The block so far: full, or the last of its body. `undefined` when there is none. */
  take(): Uint8Array | undefined {
    if (this.#filled === 0) return undefined;
    const block = this.#held ?? this.#buffer?.subarray(0, this.#filled);
    this.#expected -= this.#filled;
    this.#held = undefined;
    this.#buffer = undefined;
    this.#filled = 0;
    return block;
  }

  /** The block's own buffer, with room for `length` bytes and all bytes so far in it. */
  #reserve(length: number): Buffer {
    const current = this.#buffer;
    if (current !== undefined && current.length >= length) return current;
    const size = Math.max(length, current === undefined ? this.nextBytes : this.#blockSize);
    const buffer = payloadBuffers.take(size);
    if (this.#held !== undefined) {
      buffer.set(this.#held, 0);
      freeChunk(this.#held);
    } else if (current !== undefined) {
      buffer.set(current.subarray(0, this.#filled), 0);
    }
    this.#held = undefined;
    this.#buffer = buffer;
    return buffer;
  }
}
