/**
 * Which blocks are probably in memory. A read of a cold page blocks the event loop; prefetching
 * avoids that but doubles the cost of a read that would have been warm. So: what this process has
 * touched among the last `bytes` bytes is taken for warm, everything else is prefetched first. A
 * wrong guess costs time, never correctness.
 *
 * One table of fixed size, a slot per key by hash: the upper bits name the key, the lowest eight say
 * in which generation it was touched. A generation ends after half of `bytes`; slots of the present
 * and the last one are warm.
 */
const SLOTS_MAX = 2 ** 20;
/** Not fewer than the upper bits of a hash leave open. */
const SLOTS_MIN = 2 ** 10;
/** Bytes of memory per slot: no blocks are smaller but the last ones of objects. */
const BYTES_PER_SLOT = 4096;
const GENERATIONS = 256;

export class WarmBlocks {
  readonly #slots: Uint32Array;
  readonly #generationBytes: number;
  /** Zero is never used: an untouched slot is cold. */
  #generation = 1;
  #touchedBytes = 0;

  /** `bytes`: how much of the store the operating system can be expected to keep in memory. */
  constructor(bytes: number) {
    this.#generationBytes = Math.max(1, bytes / 2);
    let slots = SLOTS_MIN;
    while (slots < SLOTS_MAX && slots * BYTES_PER_SLOT < bytes) slots *= 2;
    this.#slots = new Uint32Array(slots);
  }

  isWarm(key: Buffer): boolean {
    const hash = hashOf(key);
    const slot = this.#slots[hash % this.#slots.length] ?? 0;
    if (slot >>> 8 !== hash >>> 8) return false;
    const generation = slot % GENERATIONS;
    return generation === this.#generation || generation === previous(this.#generation);
  }

  touch(key: Buffer, length: number): void {
    const hash = hashOf(key);
    this.#slots[hash % this.#slots.length] = ((hash >>> 8) << 8) | this.#generation;
    this.#touchedBytes += length;
    if (this.#touchedBytes < this.#generationBytes) return;
    this.#touchedBytes = 0;
    this.#generation = this.#generation === GENERATIONS - 1 ? 1 : this.#generation + 1;
  }
}

const previous = (generation: number): number =>
  generation === 1 ? GENERATIONS - 1 : generation - 1;

/** Mixes sequence and index, which differ, more than group and writer, which hardly do. */
function hashOf(key: Buffer): number {
  let hash = Math.imul(key.readUInt32BE(14) ^ 0x9e3779b9, 0x85ebca6b);
  hash = Math.imul((hash ^ (hash >>> 13)) + key.readUInt32BE(18), 0xc2b2ae35);
  hash = Math.imul((hash ^ (hash >>> 16)) + key.readUInt32BE(6), 0x27d4eb2f);
  return (hash ^ (hash >>> 15)) >>> 0;
}
