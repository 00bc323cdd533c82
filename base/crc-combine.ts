/**
 * The CRC of a concatenation from the CRCs of its halves, without the bytes: appending `n` bytes
 * multiplies the first CRC by x^(8n) modulo the CRC's polynomial over GF(2). The same idea as
 * zlib's `crc32_combine` (Mark Adler, crc32.c since zlib 1.2.12), for 32 and 64 bits at once.
 *
 * Polynomials are reflected (the highest bit is x^0), as the CRCs themselves are, and kept as two
 * 32-bit words: BigInt would cost 50 times as much, and an upload can have 10,000 parts.
 */
import { Failure } from './failure.ts';

export const CRC_ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME'] as const;
export type CrcAlgorithm = (typeof CRC_ALGORITHMS)[number];

/** A polynomial of degree below 64; for the 32-bit CRCs `high` is 0. Words may be negative. */
interface Polynomial {
  high: number;
  low: number;
}

interface Field {
  bits: 32 | 64;
  modulus: Polynomial;
  /** `powers[k]` is x^(2^k), grown when first needed. */
  powers: Polynomial[];
  /** The last multiplier and its length: nearly all parts of an upload have one size. */
  lastBytes: number;
  lastMultiplier: Polynomial;
}

/** x^exponent for exponents 0 and 1. */
function monomial(bits: 32 | 64, exponent: 0 | 1): Polynomial {
  const word = 1 << (31 - exponent);
  return bits === 64 ? { high: word, low: 0 } : { high: 0, low: word };
}

function field(bits: 32 | 64, high: number, low: number): Field {
  return {
    bits,
    modulus: { high, low },
    powers: [monomial(bits, 1)],
    lastBytes: 0,
    lastMultiplier: monomial(bits, 0),
  };
}

/** Reflected polynomials: CRC-32/ISO-HDLC, CRC-32/ISCSI, CRC-64/NVME. */
const FIELDS: Record<CrcAlgorithm, Field> = {
  CRC32: field(32, 0, 0xedb88320),
  CRC32C: field(32, 0, 0x82f63b78),
  CRC64NVME: field(64, 0x9a6c9329, 0xac4bc9b5),
};

/** a × b modulo the polynomial of `within`. */
function multiply(a: Polynomial, b: Polynomial, within: Field): Polynomial {
  const { modulus } = within;
  let high = 0;
  let low = 0;
  let shiftedHigh = b.high;
  let shiftedLow = b.low;
  for (let power = 0; power < within.bits; power++) {
    const position = within.bits - 1 - power;
    const word = position >= 32 ? a.high : a.low;
    if (((word >>> (position & 31)) & 1) === 1) {
      high ^= shiftedHigh;
      low ^= shiftedLow;
    }
    // b becomes b × x: one step to the right, because the highest bit stands for x^0.
    const carry = shiftedLow & 1;
    shiftedLow = (shiftedLow >>> 1) | (shiftedHigh << 31);
    shiftedHigh >>>= 1;
    if (carry === 1) {
      shiftedHigh ^= modulus.high;
      shiftedLow ^= modulus.low;
    }
  }
  return { high, low };
}

/** x^(2^exponent). */
function powerOfTwo(exponent: number, within: Field): Polynomial {
  let last = within.powers.at(-1);
  while (within.powers.length <= exponent && last !== undefined) {
    last = multiply(last, last, within);
    within.powers.push(last);
  }
  const power = within.powers[exponent];
  if (power === undefined) throw new Failure('internal', 'no such power of x');
  return power;
}

/** x^(8 × bytes). */
function multiplierFor(bytes: number, within: Field): Polynomial {
  if (within.lastBytes === bytes) return within.lastMultiplier;
  let product = monomial(within.bits, 0);
  let exponent = 3;
  for (let rest = bytes; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) product = multiply(product, powerOfTwo(exponent, within), within);
    exponent++;
  }
  within.lastBytes = bytes;
  within.lastMultiplier = product;
  return product;
}

function read(crc: Uint8Array, within: Field): Polynomial {
  if (crc.byteLength * 8 !== within.bits) throw new Failure('invalid', 'CRC of another length');
  const view = new DataView(crc.buffer, crc.byteOffset, crc.byteLength);
  return within.bits === 64
    ? { high: view.getInt32(0), low: view.getInt32(4) }
    : { high: 0, low: view.getInt32(0) };
}

/**
 * The CRC of a‖b from the CRCs of a and b (big endian, as `digest.ts` makes them) and the length
 * of b in bytes. O(log lengthB); O(1) when lengthB is the same as in the last call.
 * Throws Failure `invalid` when a CRC has the wrong size or the length is not a safe count.
 */
export function combineCrc(
  algorithm: CrcAlgorithm,
  crcA: Uint8Array,
  crcB: Uint8Array,
  lengthB: number,
): Buffer {
  const within = FIELDS[algorithm];
  if (!Number.isSafeInteger(lengthB) || lengthB < 0) throw new Failure('invalid', 'not a length');
  const moved = multiply(multiplierFor(lengthB, within), read(crcA, within), within);
  const second = read(crcB, within);
  const combined = Buffer.allocUnsafe(within.bits / 8);
  if (within.bits === 64) combined.writeInt32BE(moved.high ^ second.high, 0);
  combined.writeInt32BE(moved.low ^ second.low, within.bits === 64 ? 4 : 0);
  return combined;
}
