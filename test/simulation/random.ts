/** Seeded randomness: every stream of a run derives from its seed and a name. */
import type { Random } from '../../base/clock.ts';

/** FNV-1a over UTF-16 units, 32 bits. */
export function hashText(text: string, start = 0x811c9dc5): number {
  let hash = start >>> 0;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  }
  return hash;
}

/** sfc32: small, fast, and long enough in its period. Never fit for secrets. */
export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, stream: string) {
    this.#a = seed >>> 0;
    this.#b = hashText(stream);
    this.#c = hashText(stream, seed >>> 0);
    for (let round = 0; round < 12; round++) this.u32();
  }

  u32(): number {
    const sum = (((this.#a + this.#b) >>> 0) + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = (this.#b ^ (this.#b >>> 9)) >>> 0;
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  fraction(): number {
    return this.u32() / 2 ** 32;
  }

  bytes(length: number): Buffer {
    const out = Buffer.allocUnsafe(length);
    let at = 0;
    for (; at + 4 <= length; at += 4) out.writeUInt32LE(this.u32(), at);
    for (; at < length; at++) out[at] = this.u32() >>> 24;
    return out;
  }

  /** 0 … `count` − 1. */
  int(count: number): number {
    return Math.floor(this.fraction() * count);
  }

  between(low: number, high: number): number {
    return low + this.fraction() * (high - low);
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** One of `list`, which is not empty. */
  pick<T>(list: readonly T[]): T {
    const picked = list[this.int(list.length)];
    if (picked === undefined) throw new Error('nothing to pick from');
    return picked;
  }

  /** Mostly near `low`, seldom near `high`: exponents are uniform. */
  skewed(low: number, high: number): number {
    return low * (high / low) ** this.fraction();
  }
}
