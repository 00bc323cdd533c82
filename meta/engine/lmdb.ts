/**
 * The key-value contract over LMDB. The only file of this room that knows lmdb.
 *
 * What is kept of a row is in `seal.ts`. Settings and why (field measurements): `overlappingSync`
 * off, because with it a value can be read before it is on disk; never `noSync`, `noMetaSync` or
 * `useWritemap`; 8 KiB pages, because a 1,024-byte S3 key may take 2,048 bytes escaped and the page
 * size can never be changed; one big preset map. Batches are written with `batch`: its writes are
 * queued in one piece and applied off this thread in one transaction (22 µs of processor time per
 * commit at 64 in flight, 9 of them on this thread; lmdb's `transaction(callback)` did not settle
 * with these settings).
 */
import { mkdirSync, statfsSync } from 'node:fs';
import * as lmdb from 'lmdb';
import type { Clock } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import { type CommitLog, GroupCommit, type Write } from './group-commit.ts';
import type { Entry, KeyValueStore, Range } from './kv.ts';
import { STAMP_BYTES } from './kv.ts';
import { checkCommit, checkGet, checkRange } from './limits.ts';
import { seal, unseal } from './seal.ts';
import { createSpace, type SpaceUsage } from './space.ts';

const PAGE_BYTES = 8192;
/** lmdb starts writing when this many operations are queued: never, before a batch is complete. */
const NO_EARLY_START = 1_000_000_000;
/** Without a start an lmdb range begins here, before every key that is not empty. */
const FIRST_KEY = Buffer.from([0]);

export interface LmdbStoreOptions {
  /** Folder of the environment; created when it is missing. */
  folder: string;
  /** Address space to reserve: the most that the file can grow to. Costs no memory and no disk. */
  mapSizeBytes: number;
  /** Longest time for a commit to become durable, in milliseconds. */
  watchdogMs: number;
  clock: Clock;
  /** Must end the process at once, without any more work on the store: SIGKILL to itself. */
  die: (reason: string, cause?: unknown) => void;
  /** See `defaultFloorBytes`. */
  floorBytes?: number | undefined;
}

export interface LmdbStore extends KeyValueStore {
  /** Every batch from now on goes to `log` first. To be called before the first commit. */
  useLog(log: CommitLog): void;
  /** Writes stored rows as they are, without checks and without the log. Durable when it resolves. */
  applyRaw(rows: readonly Write[]): Promise<void>;
  /** Rows, and how much room the file has. */
  usage(): SpaceUsage & { rows: number };
}

type Database = lmdb.RootDatabase<Buffer, Uint8Array>;

/** Opens or creates. Throws Failure `internal` when the durable flags are not in force. */
export function openLmdbStore(options: LmdbStoreOptions): LmdbStore {
  mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  const database = lmdb.open<Buffer, Uint8Array>({
    path: options.folder,
    encoding: 'binary',
    keyEncoding: 'binary',
    pageSize: PAGE_BYTES,
    mapSize: options.mapSizeBytes,
    overlappingSync: false,
    noMemInit: true,
    maxReaders: 64,
    eventTurnBatching: false,
    batchStartThreshold: NO_EARLY_START,
  } as lmdb.RootDatabaseOptionsWithPath);
  assertDurable(database);
  return new LmdbKeyValueStore(database, options);
}

class LmdbKeyValueStore implements LmdbStore {
  readonly #database: Database;
  readonly #group: GroupCommit;
  readonly #space: ReturnType<typeof createSpace>;
  #closing: Promise<void> | undefined;

  constructor(database: Database, options: LmdbStoreOptions) {
    this.#database = database;
    this.#group = new GroupCommit({
      clock: options.clock,
      read: (key) => {
        const sealed = database.getBinaryFast(key as Buffer);
        return sealed && unseal(key, sealed.subarray(0, sealed.length));
      },
      write: (writes) => this.#write(writes),
      watchdogMs: options.watchdogMs,
      die: options.die,
    });
    this.#space = createSpace({
      clock: options.clock,
      disk: () => diskOf(options.folder),
      usage: () => usageOf(database),
      floorBytes: options.floorBytes,
    });
    this.#watchForStrangers();
  }

  async get(keys: readonly Uint8Array[]): Promise<(Entry | null)[]> {
    this.#assertUsable();
    checkGet(keys);
    const found: (Entry | null)[] = [];
    for (const key of keys) {
      // lmdb copies into one long buffer for the whole process: copied out before the next read.
      const sealed = this.#database.getBinaryFast(key as Buffer);
      if (sealed === undefined) found.push(null);
      else {
        const stored = unseal(key, sealed.subarray(0, sealed.length));
        found.push(entryOf(Buffer.from(key), Buffer.from(stored)));
      }
    }
    return found;
  }

  async range(range: Range): Promise<Entry[]> {
    this.#assertUsable();
    checkRange(range);
    if (Buffer.compare(range.start, range.end) >= 0) return [];
    const start = range.start.length === 0 ? FIRST_KEY : Buffer.from(range.start);
    const end = Buffer.from(range.end);
    const { limit } = range;
    const query =
      range.reverse === true
        ? { start: end, exclusiveStart: true, end: start, inclusiveEnd: true, reverse: true, limit }
        : { start, end, limit };
    const found: Entry[] = [];
    for (const { key, value } of this.#database.getRange(query)) {
      found.push(entryOf(asBuffer(key), unseal(key, value)));
    }
    return found;
  }

  async commit(commit: Parameters<KeyValueStore['commit']>[0]) {
    this.#assertUsable();
    const bytes = checkCommit(commit);
    this.#space.take(bytes, commit.del.length > 0 || commit.reserve === true);
    return await this.#group.commit(commit, bytes);
  }

  useLog(log: CommitLog): void {
    this.#group.useLog(log);
  }

  async applyRaw(rows: readonly Write[]): Promise<void> {
    this.#assertUsable();
    await this.#group.applyRaw(rows);
  }

  usage(): SpaceUsage & { rows: number } {
    this.#assertUsable();
    return usageOf(this.#database);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#group.settled();
    // After a failure lmdb is not to be touched: closing has been seen to hang.
    if (this.#group.failed === undefined) await this.#database.close();
  }

  #assertUsable(): void {
    if (this.#group.failed !== undefined) throw this.#group.failed;
    if (this.#closing !== undefined) throw new Failure('unavailable', 'the store is closed');
  }

  async #write(writes: Iterable<Write>): Promise<void> {
    try {
      await this.#database.batch(() => {
        for (const { key, stored } of writes) {
          if (stored === undefined) void this.#database.remove(key as Buffer);
          else void this.#database.put(key as Buffer, seal(key, stored));
        }
      });
    } catch (error) {
      // The reason is in a second promise, which ends the process unless somebody looks at it.
      if (error instanceof Error && 'commitError' in error) await error.commitError;
      throw error;
    }
    // Reads of this turn may still have the snapshot from before.
    this.#database.resetReadTxn();
  }

  /**
   * Checks are decided on this thread, so a second process on the same files would be a disaster.
   * The folder's lock keeps it out; should it fail, transaction numbers that are not ours tell.
   */
  #watchForStrangers(): void {
    let last: number | undefined;
    this.#database.on('aftercommit', ({ txnId }: { txnId: number }) => {
      // The first notice after opening has no number of its own.
      if (last === undefined && txnId === 0) return;
      // Numbers travel as 32 bits; a batch that changed nothing takes none.
      const step = last === undefined ? 1 : (txnId - last) >>> 0;
      last = txnId;
      if (step > 1) this.#group.fail('another process has written to the store');
    });
  }
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);

/** `stored` is private to the entry. */
function entryOf(key: Buffer, stored: Uint8Array): Entry {
  const bytes = asBuffer(stored);
  return { key, stamp: bytes.subarray(0, STAMP_BYTES), value: bytes.subarray(STAMP_BYTES) };
}

/* Flags of an environment, from lmdb.h; the first is lmdb-js's own. */
const FORBIDDEN_FLAGS = {
  overlappingSync: 0x1000,
  noSync: 0x10000,
  noMetaSync: 0x40000,
  useWritemap: 0x80000,
  mapAsync: 0x100000,
};

/** Asks LMDB itself which flags are in force: a commit must mean "on stable storage". */
function assertDurable(database: Database): void {
  const addon = Reflect.get(lmdb, 'nativeAddon') as { getEnvFlags(address: unknown): number };
  const { address } = Reflect.get(database, 'env') as { address: unknown };
  const flags = addon.getEnvFlags(address);
  for (const [name, bit] of Object.entries(FORBIDDEN_FLAGS)) {
    if ((flags & bit) !== 0) {
      throw new Failure('internal', `the store was opened with ${name}: it would not be durable`);
    }
  }
  const { pageSize } = statsOf(database.getStats());
  if (pageSize !== PAGE_BYTES) {
    throw new Failure('internal', `the store has pages of ${pageSize} bytes, not ${PAGE_BYTES}`);
  }
}

function diskOf(folder: string): { capacityBytes: number; freeBytes: number } {
  const { bsize, blocks, bavail } = statfsSync(folder);
  return { capacityBytes: blocks * bsize, freeBytes: bavail * bsize };
}

interface LmdbStats {
  pageSize: number;
  entryCount: number;
  treeBranchPageCount: number;
  treeLeafPageCount: number;
  overflowPages: number;
  lastPageNumber: number;
  mapSize: number;
  free: unknown;
}

const statsOf = (stats: unknown): LmdbStats => stats as LmdbStats;

const pagesOf = (stats: LmdbStats): number =>
  stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages;

/** Pages that no tree uses are free. LMDB keeps two meta pages at the beginning. */
function usageOf(database: Database): SpaceUsage & { rows: number } {
  const stats = statsOf(database.getStats());
  const used = 2 + pagesOf(stats) + pagesOf(statsOf(stats.free));
  const pages = stats.lastPageNumber + 1;
  return {
    rows: stats.entryCount,
    fileBytes: pages * stats.pageSize,
    reusableBytes: Math.max(0, pages - used) * stats.pageSize,
    limitBytes: stats.mapSize,
  };
}
