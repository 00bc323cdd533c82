/**
 * What a storage node offers: checksummed blocks under flat keys, durable when acknowledged.
 * `service.ts` implements it over LMDB, `client.ts` over the wire; callers cannot tell which.
 */
import type { CallOptions } from '../base/call.ts';
import { blockChecksum } from '../base/checksum.ts';
import { Failure } from '../base/failure.ts';
import { BLOB_ID_BYTES, type BlobId, parseBlobId } from '../base/ids.ts';
import type { JournalPosition } from './journal-record.ts';

export {
  decodeJournalRecords,
  encodeJournalRecord,
  type JournalPosition,
  type JournalRecord,
} from './journal-record.ts';

/** Largest block content in bytes. The default block size is 1 MiB; a blob names its own. */
export const BLOCK_BYTES_MAX = 4 * 1024 * 1024;
/** Smallest block size that a blob may name. */
export const BLOCK_SIZE_BYTES_MIN = 4 * 1024;
/** Keys per `has` or `delete` call. */
export const KEYS_PER_CALL_MAX = 1000;
/** Entries per `list` page. */
export const LIST_PAGE_MAX = 1000;
/** Most bytes that one `verify` call may be asked to read. */
export const VERIFY_BYTES_MAX = 64 * 1024 * 1024;

/** An encoded block key: PG (u16) ‖ blob id (16 bytes) ‖ index (u32), big endian. */
export const BLOCK_KEY_BYTES = 2 + BLOB_ID_BYTES + 4;

export interface BlockKey {
  /** Placement group, 0 … 65,535. */
  group: number;
  blob: BlobId;
  /** Position of the block in its blob, from 0. */
  index: number;
}

export function encodeBlockKey(key: BlockKey): Buffer {
  const bytes = Buffer.allocUnsafe(BLOCK_KEY_BYTES);
  bytes.writeUInt16BE(key.group, 0);
  bytes.write(key.blob, 2, BLOB_ID_BYTES, 'hex');
  bytes.writeUInt32BE(key.index, 2 + BLOB_ID_BYTES);
  return bytes;
}

/** Throws Failure `invalid` unless `bytes` is 22 bytes long. */
export function decodeBlockKey(bytes: Uint8Array): BlockKey {
  if (bytes.length !== BLOCK_KEY_BYTES) throw new Failure('invalid', 'a block key has 22 bytes');
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    group: view.readUInt16BE(0),
    blob: parseBlobId(view.toString('hex', 2, 2 + BLOB_ID_BYTES)),
    index: view.readUInt32BE(2 + BLOB_ID_BYTES),
  };
}

/** The checksum that a block must be stored and served with. */
export function checksumOf(key: BlockKey, contentHash: bigint): bigint {
  return blockChecksum(encodeBlockKey(key), contentHash);
}

/** Content to store. */
export interface BlockContent {
  /** 1 … BLOCK_BYTES_MAX bytes; unchanged by the caller until the call has settled. */
  bytes: Uint8Array;
  /** XXH64 of `bytes`. */
  hash: bigint;
}

/** A half-open byte range inside a block. */
export interface BlockRange {
  start: number;
  end: number;
}

export interface ReadBlock {
  /**
   * The whole content, or the range asked for (cut to the block's length). Private to the caller, who
   * may recycle it (`base/buffer-pool.ts`).
   */
  bytes: Buffer;
  /** XXH64 of `bytes`, verified on the way. */
  hash: bigint;
  /** Length of the whole block in bytes. */
  length: number;
  /**
   * The stored checksum over key and whole content. A whole block is right exactly when
   * `checksumOf(key, hash) === checksum`: the reader checks this itself. For a range the node
   * has verified the whole block before it cut.
   */
  checksum: bigint;
}

export interface ListedBlock {
  key: BlockKey;
  length: number;
  checksum: bigint;
}

export interface VerifiedPage {
  /** Blocks and content bytes that were read, good and bad. */
  blocks: number;
  bytes: number;
  /** Stored, but not matching their checksum. */
  corrupt: BlockKey[];
  /** The last key read; undefined when the group has been read to its end. */
  next: BlockKey | undefined;
}

/** How full a store is, apart from its disk: its address space is reserved when it is opened. */
export interface StoreFill {
  usedBytes: number;
  limitBytes: number;
}

export interface NodeStats {
  /** Blocks stored. */
  blocks: number;
  /** Bytes that the store's file takes on disk. */
  fileBytes: number;
  /** Size of the filesystem in bytes. */
  capacityBytes: number;
  /** Bytes free for this node on the filesystem, plus free pages inside the store. */
  freeBytes: number;
  /** Bytes of the store's file that are in use, and what it can grow to. */
  store?: StoreFill | undefined;
  /** True when the free-space floor is reached: puts are refused with `full`, deletes work. */
  full: boolean;
}

export interface NodeHealth {
  id: string;
  clusterId: string | undefined;
  /** Milliseconds since the process opened its store. */
  uptimeMs: number;
  stats: NodeStats;
}

/** Who writes the metadata journal: one opening of it by one process. Later ones have higher numbers. */
export interface JournalClaim {
  clusterId: string;
  generation: number;
  /** Random, in hex: two processes that took the same number are still two. */
  token: string;
}

export interface JournalState {
  node: string;
  clusterId: string | undefined;
  /** The highest claim so far; 0 and an empty token when there was none. */
  generation: number;
  token: string;
  /** The records after `base` up to `last` are here without a gap; older ones may be. */
  base: JournalPosition;
  last: JournalPosition;
  /** Generation of the record at `last`. */
  lastGeneration: number;
  /** Bytes of all records since `base`. */
  bytes: number;
}

/** A copy of all metadata as of a place in the journal. */
export interface SnapshotName {
  sequence: number;
  generation: number;
}

export interface StoredSnapshot extends SnapshotName {
  /** Chunks stored here, in order. */
  chunks: number[];
}

/** Largest chunk of a snapshot in bytes, and largest journal record. */
export const JOURNAL_BYTES_MAX: number = BLOCK_BYTES_MAX + 1024 ** 2;

/**
 * The metadata service's journal and snapshots, kept beside the blocks. A node obeys the highest claim
 * it has seen: calls of an earlier one are Failure `fenced`, calls of one that it has not seen (on a
 * new disk) `conflict`. Everything is on stable storage when a call resolves.
 */
export interface JournalNode {
  state(options?: CallOptions): Promise<JournalState>;
  /** Takes the journal over. `fenced`: somebody did so with a higher number, or with this one. */
  claim(claim: JournalClaim, options?: CallOptions): Promise<JournalState>;
  /** Drops what comes after `keep`; when the record at `keep` is not here, the journal begins anew there. */
  trim(
    command: { claim: JournalClaim; keep: JournalPosition },
    options?: CallOptions,
  ): Promise<JournalState>;
  /**
   * Appends encoded records (one after the other). Those that are here already are skipped, those that
   * are damaged here are replaced; one that does not follow on `last` is Failure `conflict`.
   */
  append(
    command: { claim: JournalClaim; records: Buffer },
    options?: CallOptions,
  ): Promise<JournalPosition>;
  /** Records from sequence `from` on, about `bytesMax` of them; damaged ones are left out. */
  read(
    query: { from: number; bytesMax: number },
    options?: CallOptions,
  ): Promise<{ records: Buffer; next: number | undefined }>;
  /** Drops records up to sequence `upTo`. */
  truncate(command: { claim: JournalClaim; upTo: number }, options?: CallOptions): Promise<void>;
  putChunk(
    command: { claim: JournalClaim; snapshot: SnapshotName; index: number; bytes: Buffer },
    options?: CallOptions,
  ): Promise<void>;
  /** Failure `not-found` when it is not here. */
  chunk(query: { snapshot: SnapshotName; index: number }, options?: CallOptions): Promise<Buffer>;
  snapshots(options?: CallOptions): Promise<StoredSnapshot[]>;
  dropSnapshot(
    command: { claim: JournalClaim; snapshot: SnapshotName },
    options?: CallOptions,
  ): Promise<void>;
}

export interface StorageNode {
  /** The metadata journal on this node; a node of a test may have none. */
  readonly journal?: JournalNode | undefined;
  /**
   * Stores a block; resolves when it is on stable storage. Repeating it with the same content is
   * fine. Failures: `conflict` (the key holds other content), `corrupt` (`hash` does not match
   * `bytes`), `full`, `invalid` (size).
   */
  put(key: BlockKey, content: BlockContent, options?: CallOptions): Promise<void>;
  /**
   * Reads a block or a range of it. Failures: `not-found` (certainly not stored here), `corrupt`
   * (stored, but its bytes do not match their checksum), `invalid` (range outside the block).
   */
  get(key: BlockKey, range?: BlockRange, options?: CallOptions): Promise<ReadBlock>;
  /** Which of `keys` are stored, in order. Does not read content. */
  has(keys: readonly BlockKey[], options?: CallOptions): Promise<boolean[]>;
  /** Deletes; resolves when durable. Keys that are not stored are no error. Works on a full disk. */
  delete(keys: readonly BlockKey[], options?: CallOptions): Promise<void>;
  /**
   * Replaces a block whose stored bytes are corrupt: like `put`, but overwrites what is there when,
   * and only when, that does not match its own checksum. A sound block of other content stays:
   * `conflict`.
   */
  restore(key: BlockKey, content: BlockContent, options?: CallOptions): Promise<void>;
  /** Blocks of one placement group in key order, from after `after`. */
  list(
    query: { group: number; after?: BlockKey | undefined; limit: number },
    options?: CallOptions,
  ): Promise<ListedBlock[]>;
  /**
   * Reads and verifies blocks of one placement group from after `after`, at most about `bytesMax` of
   * them, and at most LIST_PAGE_MAX blocks, without sending any. For scrubbing: what is read counts
   * as cold and low in priority. Failure `invalid`: `bytesMax` is not 1 … VERIFY_BYTES_MAX.
   */
  verify(
    query: { group: number; after?: BlockKey | undefined; bytesMax: number },
    options?: CallOptions,
  ): Promise<VerifiedPage>;
  stats(options?: CallOptions): Promise<NodeStats>;
  health(options?: CallOptions): Promise<NodeHealth>;
}
