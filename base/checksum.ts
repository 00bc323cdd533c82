/**
 * XXH64, the checksum of frames and blocks (13 GB/s here; it guards against faults, not against
 * attackers: peers are authenticated). One pass over the content per process: the frame codec hashes
 * a payload once, and a block's checksum is made from that hash and the block's key, so that a block
 * that turns up under another key is as wrong as one with a flipped bit.
 */
import { xxh32, xxh64 } from '@node-rs/xxhash';

/** XXH64 (seed 0) of `bytes`. */
export function hashBytes(bytes: Uint8Array): bigint {
  return xxh64(bytes);
}

/** XXH32 over a row's key and its stored bytes: a row that turns up under another key is wrong. */
export function rowChecksum(key: Uint8Array, stored: Uint8Array): number {
  return xxh32(stored, xxh32(key));
}

/** XXH64 of no bytes at all. */
export const HASH_OF_NOTHING: bigint = xxh64(Buffer.alloc(0));

const scratch = Buffer.alloc(64);

/**
 * The checksum of a block: XXH64 over its encoded key (22 bytes) and the XXH64 of its content
 * (8 bytes, little endian). Covers key and content in one value without copying the content.
 */
export function blockChecksum(encodedKey: Uint8Array, contentHash: bigint): bigint {
  scratch.set(encodedKey, 0);
  scratch.writeBigUInt64LE(contentHash, encodedKey.length);
  return xxh64(scratch.subarray(0, encodedKey.length + 8));
}
