/**
 * The environment of a block store over LMDB. The only file of this room that knows lmdb.
 * Settings and why (field measurements): `overlappingSync` off, because with it a value can be read
 * before it is on disk; never `noSync`, `noMetaSync` or `useWritemap`; no memory initialization of
 * pages, which doubles the cost of large values; one big preset map, so that it never moves.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import * as lmdb from 'lmdb';
import { Failure } from '../base/failure.ts';
import type { Environment, EnvironmentUsage, KeyRange, Table } from './environment.ts';

/** LMDB's data file inside the folder given to `openEnvironment`. */
export function dataFile(folder: string): string {
  return join(folder, 'data.mdb');
}

type Database = lmdb.Database<Buffer, Buffer>;
type Root = lmdb.RootDatabase<Buffer, Buffer>;

const BINARY = { encoding: 'binary', keyEncoding: 'binary' } as const;

export interface EnvironmentOptions {
  folder: string;
  /** Address space to reserve: the most that the file can grow to. Costs no memory and no disk. */
  mapSizeBytes: number;
}

/** Opens or creates. Throws Failure `internal` when the durable flags are not in force. */
export function openEnvironment(options: EnvironmentOptions): Environment {
  mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  const root = lmdb.open<Buffer, Buffer>({
    ...BINARY,
    path: options.folder,
    mapSize: options.mapSizeBytes,
    overlappingSync: false,
    noMemInit: true,
    maxDbs: 4,
    maxReaders: 64,
  });
  assertDurable(root);
  const commits = new Commits();
  const blocks = root.openDB<Buffer, Buffer>('blocks', BINARY);
  const contents = root.openDB<Buffer, Buffer>('contents', BINARY);
  return {
    blocks: new LmdbTable(blocks, commits),
    contents: new LmdbTable(contents, commits),
    refresh: () => root.resetReadTxn(),
    usage: () => usageOf(root, blocks, contents),
    close: () => root.close(),
  };
}

/* Flags of an environment, from lmdb.h; the first is lmdb-js's own overlapping sync. */
const FORBIDDEN_FLAGS = { overlappingSync: 0x1000, noSync: 0x10000, noMetaSync: 0x40000 };
const NO_WRITE_MAP = { useWritemap: 0x80000, mapAsync: 0x100000 };

/** Asks LMDB itself which flags are in force: a put must mean "on stable storage". */
function assertDurable(root: Root): void {
  const addon = Reflect.get(lmdb, 'nativeAddon') as { getEnvFlags(address: unknown): number };
  const { address } = Reflect.get(root, 'env') as { address: unknown };
  const flags = addon.getEnvFlags(address);
  for (const [name, bit] of Object.entries({ ...FORBIDDEN_FLAGS, ...NO_WRITE_MAP })) {
    if ((flags & bit) !== 0) {
      throw new Failure('internal', `the store was opened with ${name}: it would not be durable`);
    }
  }
}

/** lmdb hands out one promise per batch; this keeps one of ours per promise of lmdb's. */
class Commits {
  #theirs: Promise<unknown> | undefined;
  #ours: Promise<unknown> | undefined;

  settled(theirs: Promise<unknown>): Promise<unknown> {
    if (theirs !== this.#theirs || this.#ours === undefined) {
      this.#theirs = theirs;
      this.#ours = theirs.catch(explain);
    }
    return this.#ours;
  }
}

/**
 * The real reason of a failed commit is in a second promise, which lmdb rejects at the same time and
 * which ends the process as an unhandled rejection unless somebody looks at it.
 */
async function explain(error: unknown): Promise<never> {
  if (error instanceof Error && 'commitError' in error) await error.commitError;
  throw error;
}

class LmdbTable implements Table {
  readonly #database: Database;
  readonly #commits: Commits;

  constructor(database: Database, commits: Commits) {
    this.#database = database;
    this.#commits = commits;
  }

  read(key: Uint8Array): Buffer | undefined {
    // Copied by lmdb into one buffer for the whole process, which is longer than the value.
    const bytes = this.#database.getBinaryFast(key as Buffer);
    return bytes?.subarray(0, bytes.length);
  }

  put(key: Uint8Array, value: Uint8Array): Promise<unknown> {
    return this.#commits.settled(this.#database.put(key as Buffer, value as Buffer));
  }

  remove(key: Uint8Array): Promise<unknown> {
    return this.#commits.settled(this.#database.remove(key as Buffer));
  }

  keys(range: KeyRange): Buffer[] {
    return [
      ...this.#database.getKeys({
        start: range.start,
        end: range.end,
        inclusiveEnd: true,
        exclusiveStart: range.afterStart === true,
        limit: range.limit,
      }),
    ];
  }

  prefetch(keys: readonly Uint8Array[]): Promise<void> {
    return this.#database.prefetch(keys as Buffer[]);
  }
}

/** Pages that no tree uses are free. LMDB keeps two meta pages at the beginning. */
function usageOf(root: Root, blocks: Database, contents: Database): EnvironmentUsage {
  const rootStats = statsOf(root.getStats());
  const free = statsOf(rootStats.free);
  const blockStats = statsOf(blocks.getStats());
  const contentStats = statsOf(contents.getStats());
  const used = 2 + pagesOf(rootStats) + pagesOf(free) + pagesOf(blockStats) + pagesOf(contentStats);
  const pages = rootStats.lastPageNumber + 1;
  return {
    blocks: blockStats.entryCount,
    fileBytes: pages * rootStats.pageSize,
    reusableBytes: Math.max(0, pages - used) * rootStats.pageSize,
    limitBytes: rootStats.mapSize,
  };
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
