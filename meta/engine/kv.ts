/**
 * The contract between the metadata service and its store: an ordered key-value store whose commits
 * carry their checks. Keys and values are bytes, order is memcmp. Engines: `memory.ts`, `lmdb.ts`;
 * `contract.test.ts` runs one suite on all of them.
 */

/** Opaque, compared for equality only, made by the committer: 16 bytes. */
export type Stamp = Buffer;
export const STAMP_BYTES = 16;

/** Part of the contract: engines refuse what is over (Failure `invalid`), they never split. */
export const KV_LIMITS = {
  keyBytes: 2200,
  valueBytes: 65_536,
  /** Keys and values of one commit together. */
  commitBytes: 4 * 1024 * 1024,
  /** Checks, sets, deletes and adds of one commit together. */
  commitOps: 4096,
  rangeRows: 1000,
  /** Keys of one `get`. */
  getKeys: 1024,
} as const;

export interface Entry {
  key: Buffer;
  value: Buffer;
  /** The stamp of the commit that set the value last. */
  stamp: Stamp;
}

export interface Range {
  /** Inclusive. */
  start: Uint8Array;
  /** Exclusive. */
  end: Uint8Array;
  /** 1 … KV_LIMITS.rangeRows. */
  limit: number;
  reverse?: boolean | undefined;
}

export interface Commit {
  /** Becomes the stamp of every key that is set. Unique: a committer never uses one twice. */
  id: Stamp;
  /**
   * Every check must hold or nothing is applied: the key's stamp equals `stamp`, or the key is
   * absent for `null`. A check for absence must come with a `set` of the same key.
   */
  checks: { key: Uint8Array; stamp: Stamp | null }[];
  set: { key: Uint8Array; value: Uint8Array }[];
  del: Uint8Array[];
  /**
   * Adds to a signed 64-bit counter (absent is 0) without conflict; see `readCounter`. With `max`
   * nothing of the commit is applied when the counter would grow above it.
   */
  add: { key: Uint8Array; delta: bigint; max?: bigint | undefined }[];
  /**
   * May use the space kept in reserve when the disk is nearly full, like every commit that deletes
   * something. For the few rows without which the cluster cannot serve reads and deletes.
   */
  reserve?: boolean | undefined;
  /**
   * May be made before the metadata journal is open, and is journaled when it is: for the facts by
   * which a service that starts finds its storage nodes. Sets and deletes only.
   */
  early?: boolean | undefined;
}

/* Sets, then deletes, then adds are applied. An add is refused on a key that is set or deleted. */

/** `failed`: positions in `checks` that did not hold. `over`: they held, but a counter's `max` did not. */
export type CommitResult =
  | { committed: true }
  | { committed: false; failed: number[]; over?: true | undefined };

/** Whether a counter that stands at `before` must not take this. One that is over may shrink. */
export function isOver(before: bigint, { delta, max }: Commit['add'][number]): boolean {
  return max !== undefined && delta > 0n && before + delta > max;
}

export interface KeyValueStore {
  /** All keys in one snapshot that contains every commit acknowledged before the call. */
  get(keys: readonly Uint8Array[]): Promise<(Entry | null)[]>;
  /** One snapshot, likewise. */
  range(range: Range): Promise<Entry[]>;
  /**
   * Atomic, isolated and durable when it resolves. Throws Failure `unknown-outcome` when the
   * connection was lost after sending, `unavailable` when it was not sent, `invalid` over limits.
   */
  commit(commit: Commit): Promise<CommitResult>;
  close(): Promise<void>;
}

/** The value of a counter row made by `add`. */
export function readCounter(entry: Entry | null): bigint {
  return entry === null ? 0n : entry.value.readBigInt64BE(0);
}
