/**
 * The object engine: turns byte streams into replicated blocks and back. It knows nothing of HTTP
 * or XML; the S3 operations call it and the metadata service's interface, and nothing else.
 */
import type { KeyObject } from 'node:crypto';
import type {
  Answer,
  BlobRef,
  Meta,
  MissingReplica,
  ObjectRecord,
  PartRef,
  VersionName,
} from '../../meta/protocol.ts';
import type { Bucket } from '../../meta/protocol.ts';

/** Half-open byte range of an object. */
export interface ByteRange {
  start: number;
  end: number;
}

/** A body whose blocks are durable on enough nodes, not yet visible to anyone. */
export interface StoredBody {
  /** The writer lease that the commit must name. */
  writer: number;
  /** Of the content; where it is encrypted, the blob is longer. */
  size: number;
  /** `none` for an empty body. */
  data: { kind: 'none' } | ({ kind: 'blob' } & BlobRef);
  /** To be named in the commit. */
  missing: MissingReplica[];
}

export interface OpenedObject {
  bucket: Bucket;
  object: ObjectRecord;
  /** First page of the part list of a multipart object. */
  parts: PartRef[] | undefined;
  /**
   * Gives the data key of an encrypted object, without which it is not read. With a wrong one no
   * block opens.
   */
  unlock(dataKey: KeyObject): void;
  /**
   * The bytes of `range` (the whole object by default), verified block by block. Throws before the
   * first chunk when no replica can serve it, and at any later point when all replicas of a block
   * fail: the reader must then break its own reply, never pad it. Each chunk is private to the
   * reader, who may recycle it (`base/buffer-pool.ts`).
   */
  read(range?: ByteRange): AsyncIterable<Buffer>;
  /**
   * Bytes of one part of a multipart object (or of part 1 of an ordinary one). `undefined` when
   * there is no such part.
   */
  part(number: number): Promise<PartRef | undefined>;
  /** Ends the read lease. Idempotent; must be called once the object is not read any more. */
  close(): void;
}

export interface StoreOptions {
  signal?: AbortSignal | undefined;
  /** Size in bytes, when known: sizes the first buffers. */
  sizeHint?: number | undefined;
  /** Encrypts the blocks; the commit must say how this key is kept (`ObjectExtras.encryption`). */
  dataKey?: KeyObject | undefined;
}

export interface ObjectEngine {
  readonly meta: Meta;
  /**
   * Writes `body`, whose chunks it may free, to blocks and, when all of them are durable, calls `commit` once. If the body
   * source throws, nothing is committed and the error comes back unchanged. A refused commit leaves
   * nothing behind. Throws Failure `unavailable` when a block reached fewer than two nodes, `full`
   * when that is for lack of space.
   */
  store<T>(
    body: AsyncIterable<Uint8Array>,
    commit: (stored: StoredBody) => Promise<Answer<T>>,
    options?: StoreOptions,
  ): Promise<Answer<T>>;
  /**
   * The bytes of a body that was stored and is not committed yet: for a `commit` that finds that they
   * must be stored otherwise. `dataKey`: what they were stored with.
   */
  reread(stored: StoredBody, dataKey: KeyObject | undefined): AsyncIterable<Buffer>;
  /** The writer id for commits that write no blob (copies by reference). Throws `unavailable`. */
  writer(): number;
  /**
   * Looks an object up under a read lease, so that its blocks stay until `close`, whatever happens
   * to the key meanwhile.
   */
  open(
    query: VersionName,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<Answer<OpenedObject>>;
}
