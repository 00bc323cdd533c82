/**
 * Identifiers of the data path. A BlobId is writer ‖ sequence (two u64), kept in memory as 32
 * lower-case hex digits: it sorts like its bytes, prints as itself and works as a Map key.
 */
import { xxh64 } from '@node-rs/xxhash';
import { Failure } from './failure.ts';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** 32 lower-case hex digits: writer id (u64) then sequence (u64), both below 2^53. */
export type BlobId = Branded<'BlobId'>;

export const BLOB_ID_BYTES = 16;

export function makeBlobId(writer: number, sequence: number): BlobId {
  return (writer.toString(16).padStart(16, '0') +
    sequence.toString(16).padStart(16, '0')) as BlobId;
}

const BLOB_ID_PATTERN = /^[0-9a-f]{32}$/;

/** Checks and brands; throws Failure `invalid`. */
export function parseBlobId(text: string): BlobId {
  if (!BLOB_ID_PATTERN.test(text)) throw new Failure('invalid', `not a blob id: ${text}`);
  return text as BlobId;
}

/** The writer id inside a blob id. */
export function writerOf(blob: BlobId): number {
  return Number.parseInt(blob.slice(0, 16), 16);
}

/** The sequence inside a blob id. */
export function sequenceOf(blob: BlobId): number {
  return Number.parseInt(blob.slice(16), 16);
}

/**
 * Where a blob's first block hashes to; block `index` lives in group `(start + index) % groups`.
 * Every gateway computes placement from this and the cached layout, without asking anyone.
 */
export function placementStart(blob: BlobId, groups: number): number {
  return Number(xxh64(blob) % BigInt(groups));
}

/** The placement group (0 … groups − 1) of block `index` of `blob`. */
export function placementGroup(blob: BlobId, index: number, groups: number): number {
  return (placementStart(blob, groups) + index) % groups;
}
