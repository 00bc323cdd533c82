/**
 * The record of the metadata journal, as far as a storage node looks into it. Its body means nothing
 * here. Integers are big endian.
 *
 *   format u8 ‖ 0 u24 ‖ body length u32 ‖ sequence u64 ‖ generation u64 ‖ time u64 ‖ previous u64 ‖ body ‖ checksum u64
 *
 * The checksum (XXH64) covers everything before it, and with `previous` the checksum of the record
 * before: two journals that agree in one checksum agree in everything up to there.
 */
import { hashBytes } from '../base/checksum.ts';
import { Failure } from '../base/failure.ts';

const FORMAT = 1;
const HEADER_BYTES = 40;
const CHECKSUM_BYTES = 8;

/** A place in the journal: the record with this sequence, which has this checksum. */
export interface JournalPosition {
  sequence: number;
  checksum: bigint;
}

export interface JournalRecord extends JournalPosition {
  /** The opening of the journal that the record was written under. */
  generation: number;
  /** When it was written, in milliseconds since the epoch; for people, it orders nothing. */
  atMs: number;
  /** Checksum of the record before. */
  previous: bigint;
  body: Buffer;
  /** The whole record, encoded. */
  bytes: Buffer;
}

export function encodeJournalRecord(record: {
  sequence: number;
  generation: number;
  atMs: number;
  previous: bigint;
  body: Uint8Array;
}): JournalRecord {
  const { sequence, generation, atMs, previous, body } = record;
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + body.length + CHECKSUM_BYTES);
  bytes.writeUInt32BE(FORMAT << 24, 0);
  bytes.writeUInt32BE(body.length, 4);
  bytes.writeBigUInt64BE(BigInt(sequence), 8);
  bytes.writeBigUInt64BE(BigInt(generation), 16);
  bytes.writeBigUInt64BE(BigInt(atMs), 24);
  bytes.writeBigUInt64BE(previous, 32);
  bytes.set(body, HEADER_BYTES);
  const end = HEADER_BYTES + body.length;
  const checksum = hashBytes(bytes.subarray(0, end));
  bytes.writeBigUInt64BE(checksum, end);
  return { ...record, body: bytes.subarray(HEADER_BYTES, end), checksum, bytes };
}

/** The record at the beginning of `bytes`. Failures: `corrupt`; `invalid` for a newer format. */
export function decodeJournalRecord(bytes: Buffer): JournalRecord {
  if (bytes.length < HEADER_BYTES + CHECKSUM_BYTES) throw corrupt('is cut short');
  const end = HEADER_BYTES + bytes.readUInt32BE(4);
  if (bytes.length < end + CHECKSUM_BYTES) throw corrupt('is cut short');
  const checksum = bytes.readBigUInt64BE(end);
  if (hashBytes(bytes.subarray(0, end)) !== checksum) throw corrupt('has a wrong checksum');
  const format = bytes.readUInt32BE(0) >>> 24;
  if (format !== FORMAT) {
    throw new Failure(
      'invalid',
      `a journal record has format ${format}, this version knows ${FORMAT}: use the newer version`,
    );
  }
  return {
    sequence: Number(bytes.readBigUInt64BE(8)),
    generation: Number(bytes.readBigUInt64BE(16)),
    atMs: Number(bytes.readBigUInt64BE(24)),
    previous: bytes.readBigUInt64BE(32),
    body: bytes.subarray(HEADER_BYTES, end),
    checksum,
    bytes: bytes.subarray(0, end + CHECKSUM_BYTES),
  };
}

/** All records of `bytes`, one after the other. Failures as for one. */
export function decodeJournalRecords(bytes: Buffer): JournalRecord[] {
  const records: JournalRecord[] = [];
  for (let at = 0; at < bytes.length; ) {
    const record = decodeJournalRecord(bytes.subarray(at));
    records.push(record);
    at += record.bytes.length;
  }
  return records;
}

const corrupt = (what: string): Failure => new Failure('corrupt', `a journal record ${what}`);
