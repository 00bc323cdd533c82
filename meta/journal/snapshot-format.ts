/**
 * A snapshot: all rows of the store in chunks, and a manifest that is written last and makes it whole.
 *
 * The rows are read in key order while commits go on. What was read before a commit and what after it
 * does not matter: records hold final values, so the records after `sequence` up to `until`, applied
 * on top, give exactly the state at `until`. Without them all the snapshot is of no use.
 *
 *   chunk   format u8 ‖ XXH64 over name, index and content (u64) ‖ rows as in a record, zstd
 */
import { promisify } from 'node:util';
import { zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from 'node:zlib';
import { z } from 'zod';
import { hashBytes } from '../../base/checksum.ts';
import { Failure } from '../../base/failure.ts';
import type { JournalPosition, SnapshotName } from '../../storage-node/protocol.ts';
import type { Write } from '../engine/group-commit.ts';
import { decodeRows, encodeRows } from './rows.ts';

const FORMAT = 1;
const HEADER_BYTES = 9;
/** Rows of one chunk before compression. */
export const CHUNK_BYTES: number = 1024 ** 2;
/** A row is at most 66 KiB, so a chunk never gets near this. */
const CHUNK_BYTES_MAX = 16 * 1024 ** 2;
/** Index of the manifest among the chunks. */
export const MANIFEST_INDEX = 0xffffffff;

const compressApart = promisify(zstdCompress);
const decompressApart = promisify(zstdDecompress);
/** Bytes that are packed or unpacked sooner here than handed to another thread. */
const SMALL_BYTES = 64 * 1024;

const compress = async (bytes: Buffer): Promise<Buffer> =>
  bytes.length <= SMALL_BYTES ? zstdCompressSync(bytes) : await compressApart(bytes);

const decompress = async (bytes: Buffer): Promise<Buffer> => {
  const options = { maxOutputLength: CHUNK_BYTES_MAX };
  return bytes.length <= SMALL_BYTES
    ? zstdDecompressSync(bytes, options)
    : await decompressApart(bytes, options);
};

export interface Manifest extends SnapshotName {
  clusterId: string;
  /** Place in the journal at which reading began. */
  start: JournalPosition;
  /** Records up to this one are needed. */
  until: number;
  /** When it was complete. */
  atMs: number;
  chunks: number;
  rows: number;
  bytes: number;
  /** XXH64 over the checksums of all chunks. */
  digest: bigint;
}

const hex = z.string().regex(/^[0-9a-f]{1,16}$/);
const count = z.number().int().min(0);
const manifestSchema = z.object({
  format: z.number().int(),
  clusterId: z.string(),
  sequence: count,
  generation: count,
  checksum: hex,
  until: count,
  atMs: count,
  chunks: count,
  rows: count,
  bytes: count,
  digest: hex,
});

/** One seal for chunks and manifests: format, checksum, content. */
function sealChunk(name: SnapshotName, index: number, content: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + content.length);
  bytes[0] = FORMAT;
  bytes.set(content, HEADER_BYTES);
  bytes.writeBigUInt64BE(checksumOf(name, index, bytes.subarray(HEADER_BYTES)), 1);
  return bytes;
}

/** Failures: `corrupt`; `invalid` for a newer format. */
function unsealChunk(name: SnapshotName, index: number, bytes: Buffer): Buffer {
  if (bytes.length < HEADER_BYTES) throw new Failure('corrupt', 'a chunk is cut short');
  const content = bytes.subarray(HEADER_BYTES);
  if (checksumOf(name, index, content) !== bytes.readBigUInt64BE(1)) {
    throw new Failure('corrupt', 'a chunk of a snapshot has a wrong checksum');
  }
  if (bytes[0] !== FORMAT) {
    throw new Failure('invalid', 'a newer version wrote this snapshot: use that one');
  }
  return content;
}

function checksumOf(name: SnapshotName, index: number, content: Uint8Array): bigint {
  const head = Buffer.allocUnsafe(28);
  head.writeBigUInt64BE(BigInt(name.sequence), 0);
  head.writeBigUInt64BE(BigInt(name.generation), 8);
  head.writeUInt32BE(index, 16);
  head.writeBigUInt64BE(hashBytes(content), 20);
  return hashBytes(head);
}

/** The checksum that a chunk carries. */
export const chunkChecksum = (bytes: Buffer): bigint => bytes.readBigUInt64BE(1);

/** XXH64 over the chunks' checksums, in order. */
export function digestOf(checksums: readonly bigint[]): bigint {
  const bytes = Buffer.allocUnsafe(8 * checksums.length);
  checksums.forEach((checksum, index) => bytes.writeBigUInt64BE(checksum, 8 * index));
  return hashBytes(bytes);
}

export async function encodeChunk(
  name: SnapshotName,
  index: number,
  rows: readonly Write[],
): Promise<Buffer> {
  return sealChunk(name, index, await compress(encodeRows(rows)));
}

export async function decodeChunk(
  name: SnapshotName,
  index: number,
  bytes: Buffer,
): Promise<Write[]> {
  const packed = unsealChunk(name, index, bytes);
  return decodeRows(await decompress(packed));
}

/** Throws like `decodeChunk` when the chunk is not what was written. */
export function verifyChunk(name: SnapshotName, index: number, bytes: Buffer): void {
  unsealChunk(name, index, bytes);
}

export function encodeManifest(manifest: Manifest): Buffer {
  const { start, digest, ...rest } = manifest;
  const fields = {
    format: FORMAT,
    ...rest,
    checksum: start.checksum.toString(16),
    digest: digest.toString(16),
  };
  return sealChunk(manifest, MANIFEST_INDEX, Buffer.from(JSON.stringify(fields)));
}

export function decodeManifest(name: SnapshotName, bytes: Buffer): Manifest {
  const content = unsealChunk(name, MANIFEST_INDEX, bytes);
  const parsed = manifestSchema.safeParse(JSON.parse(content.toString('utf8')));
  if (!parsed.success) throw new Failure('corrupt', 'the manifest of a snapshot is not readable');
  const { format: _, checksum, digest, ...rest } = parsed.data;
  const start = { sequence: rest.sequence, checksum: BigInt(`0x${checksum}`) };
  return { ...rest, start, digest: BigInt(`0x${digest}`) };
}
