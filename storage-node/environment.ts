/**
 * The small transactional store under a block store: two ordered tables, writes in batches that
 * become durable and visible together. `block-store.ts` opens it over LMDB; `memory-environment.ts`
 * is its twin for tests and simulation, which can lose what was not yet durable.
 */
export interface KeyRange {
  /** First key, inclusive unless `afterStart`. */
  start: Uint8Array;
  afterStart?: boolean;
  /** Last key, inclusive. */
  end: Uint8Array;
  limit: number;
}

export interface Table {
  /**
   * What is stored under `key`, as of the last commit. The bytes are valid only until the next call
   * on the environment: use or copy them before anything else, never after an await.
   */
  read(key: Uint8Array): Buffer | undefined;
  /**
   * Queues a write. Writes happen in the order of their calls, those of one event turn together.
   * Resolves when they are on stable storage, and not before they are visible to `read`; rejects when
   * the commit failed, after which the environment is not to be used any more. `value` must not
   * change until then. All writes of a batch may return the same promise.
   */
  put(key: Uint8Array, value: Uint8Array): Promise<unknown>;
  /** Like `put`; removing what is not there is fine. */
  remove(key: Uint8Array): Promise<unknown>;
  /** Keys in byte order; reads no values. */
  keys(range: KeyRange): Buffer[];
  /** Brings what `keys` name into memory without blocking the event loop. */
  prefetch(keys: readonly Uint8Array[]): Promise<void>;
}

export interface EnvironmentUsage {
  /** Rows in the table of blocks. */
  blocks: number;
  /** Bytes that the file has grown to. */
  fileBytes: number;
  /** Bytes of that which hold nothing at present and will be used again. */
  reusableBytes: number;
  /** Bytes that the file can grow to, whatever the disk has. */
  limitBytes: number;
}

export interface Environment {
  /** Records: header, and short content. */
  readonly blocks: Table;
  /** Content that is too long for its record. */
  readonly contents: Table;
  /** Makes `read` see everything committed so far. */
  refresh(): void;
  usage(): EnvironmentUsage;
  /** Waits for queued writes. */
  close(): Promise<void>;
}
