/**
 * Memory for payloads that is used again. A fresh ArrayBuffer per megabyte makes V8 collect all
 * garbage every few dozen of them and the kernel clear every page anew: half of the processor time
 * of a large transfer.
 *
 * Whoever takes a buffer owns it, and ownership moves with the bytes: from the RPC codec to the
 * handler or caller that gets the payload, from there to the store or to the socket. The last owner
 * may recycle it, once nothing reads or writes it any more: every write of it to a disk or a socket
 * has settled, and settled well. Nobody has to. A buffer that is not recycled is garbage like any
 * other, so in doubt it is dropped: whenever something failed, timed out or was given up.
 */

/** Longest and shortest buffers that are kept. Others come and go as usual. */
const SLAB_BYTES_MAX = 4 * 1024 * 1024;
const SLAB_BYTES_MIN = 4 * 1024;
/** Between a power of two and the next lie this many sizes: at most a fifth of a buffer is idle. */
const SIZES_PER_DOUBLING = 4;

/** The memory behind a buffer of a pool. `pool` is set while it is out. */
class Slab extends ArrayBuffer {
  pool: BufferPool | undefined;
}

export class BufferPool {
  readonly #capacity: number;
  /** By length of the slab. The last one given back is the first one taken: it is in the cache. */
  readonly #free = new Map<number, Slab[]>();
  #freeBytes = 0;

  /** `capacity`: bytes kept for later, at most. What is out is not counted. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Bytes kept for later. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** `length` bytes of whatever content. Nobody else has them until they are recycled. */
  take(length: number): Buffer {
    if (length < SLAB_BYTES_MIN || length > SLAB_BYTES_MAX) return Buffer.allocUnsafeSlow(length);
    const size = slabSize(length);
    let slab = this.#free.get(size)?.pop();
    if (slab === undefined) slab = new Slab(size);
    else this.#freeBytes -= size;
    slab.pool = this;
    return Buffer.from(slab, 0, length);
  }

  /**
   * Gives back the memory behind `bytes`, which may be any part of a buffer taken here. From now on
   * nobody may touch that buffer. Does nothing for memory of other origin, given back before or kept.
   */
  recycle(bytes: Uint8Array): void {
    const slab = bytes.buffer;
    if (!(slab instanceof Slab) || slab.pool !== this) return;
    slab.pool = undefined;
    const size = slab.byteLength;
    if (this.#freeBytes + size > this.#capacity) return;
    this.#freeBytes += size;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [slab]);
    else free.push(slab);
  }

  /** The memory behind `bytes` has a second owner: it is never used again, whoever recycles it. */
  keep(bytes: Uint8Array): void {
    const slab = bytes.buffer;
    if (slab instanceof Slab) slab.pool = undefined;
  }
}

/** The next size up of those that are kept. */
function slabSize(length: number): number {
  const step = 2 ** (31 - Math.clz32(length - 1)) / SIZES_PER_DOUBLING;
  return Math.ceil(length / step) * step;
}

/** Kept for later by the whole process, at most. */
const PROCESS_CAPACITY_BYTES = 32 * 1024 * 1024;

/** The pool of this process, for payloads and blocks. */
export const payloadBuffers = new BufferPool(PROCESS_CAPACITY_BYTES);

/**
 * Frees the memory of a chunk that came from a socket, whose bytes have all been used or copied: nobody
 * may touch it any more. Each chunk has a buffer of its own, and waiting for the garbage collector costs
 * more than all else that happens to it. Leaves alone what is small, and what is only part of a buffer.
 */
export function freeChunk(chunk: Uint8Array): void {
  const { buffer, length } = chunk;
  if (length < CHUNK_BYTES_MIN || length !== buffer.byteLength) return;
  if (buffer instanceof ArrayBuffer && !(buffer instanceof Slab)) buffer.transfer(0);
}

/** Below it garbage is cheap. */
const CHUNK_BYTES_MIN = 16 * 1024;
