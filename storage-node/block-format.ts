/**
 * The stored form of a block. A record lies under the block's encoded key: a header of fixed size,
 * and behind it the content when that is short. Longer content lies under the same key in a table of
 * its own, so that listing, existence checks and the check at start never touch it, and so that it
 * goes to the store as it came from the socket, without a copy. Pure.
 *
 *   0  u8    format (1)                 24  u32  content length in bytes
 *   1  u8    flags: 1 = content apart   28  u32  zero
 *   2  22 B  encoded block key          32  u64  checksum over key and content (`checksumOf`)
 */
import { payloadBuffers } from '../base/buffer-pool.ts';
import { blockChecksum, hashBytes } from '../base/checksum.ts';
import { Failure } from '../base/failure.ts';
import { BLOCK_BYTES_MAX, BLOCK_KEY_BYTES, decodeBlockKey } from './protocol.ts';

const BLOCK_FORMAT = 1;
export const BLOCK_HEADER_BYTES = 40;
/** Longest content that is kept in the record itself: copying it is cheaper than a second row. */
export const INLINE_BYTES_MAX = 16 * 1024;

const CONTENT_APART = 1;

export interface BlockHeader {
  length: number;
  /** Over the encoded key and the content. */
  checksum: bigint;
  /** The content lies in the table of contents, not in this record. */
  apart: boolean;
}

/** Throws Failure `invalid` unless the content has 1 … BLOCK_BYTES_MAX bytes. */
export function checkContentSize(bytes: Uint8Array): void {
  if (bytes.length < 1 || bytes.length > BLOCK_BYTES_MAX) {
    throw new Failure('invalid', `a block has 1 to ${BLOCK_BYTES_MAX} bytes, not ${bytes.length}`);
  }
}

export function isInline(length: number): boolean {
  return length <= INLINE_BYTES_MAX;
}

/**
 * The record of a block: its header and, when it is short, a copy of its content. In a buffer of the
 * pool: whoever writes it may recycle it.
 */
export function encodeRecord(key: Uint8Array, content: Uint8Array, checksum: bigint): Buffer {
  const inline = isInline(content.length);
  const record = payloadBuffers.take(BLOCK_HEADER_BYTES + (inline ? content.length : 0));
  record[0] = BLOCK_FORMAT;
  record[1] = inline ? 0 : CONTENT_APART;
  record.set(key, 2);
  record.writeUInt32BE(content.length, 24);
  record.writeUInt32BE(0, 28);
  record.writeBigUInt64BE(checksum, 32);
  if (inline) record.set(content, BLOCK_HEADER_BYTES);
  return record;
}

/** Undefined when the record cannot be right: another format, another block's, or a wrong length. */
export function decodeRecord(key: Uint8Array, record: Buffer): BlockHeader | undefined {
  if (record.length < BLOCK_HEADER_BYTES || record[0] !== BLOCK_FORMAT) return undefined;
  const flags = record[1];
  if (flags !== 0 && flags !== CONTENT_APART) return undefined;
  for (let at = 0; at < BLOCK_KEY_BYTES; at++) if (record[2 + at] !== key[at]) return undefined;
  const length = record.readUInt32BE(24);
  const apart = flags === CONTENT_APART;
  if (length < 1 || length > BLOCK_BYTES_MAX || apart === isInline(length)) return undefined;
  if (record.length !== BLOCK_HEADER_BYTES + (apart ? 0 : length)) return undefined;
  return { length, checksum: record.readBigUInt64BE(32), apart };
}

/** The content inside a record that `decodeRecord` accepted; a view. */
export function inlineContent(record: Buffer): Buffer {
  return record.subarray(BLOCK_HEADER_BYTES);
}

/** The XXH64 of `content` if it is what `header` describes under `key`, else undefined. */
export function verifiedHash(
  key: Uint8Array,
  header: BlockHeader,
  content: Uint8Array,
): bigint | undefined {
  if (content.length !== header.length) return undefined;
  const hash = hashBytes(content);
  return blockChecksum(key, hash) === header.checksum ? hash : undefined;
}

/** A block's key for messages: `group 7, blob 0000…, block 3`. */
export function describeKey(key: Uint8Array): string {
  if (key.length !== BLOCK_KEY_BYTES) return `key of ${key.length} bytes`;
  const { group, blob, index } = decodeBlockKey(key);
  return `group ${group}, blob ${blob}, block ${index}`;
}
