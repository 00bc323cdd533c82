/**
 * The environment's twin in memory, for tests and simulation. It keeps what is durable apart from
 * what is only queued: `crash()` forgets the latter, as a power cut would, and no write that was
 * queued then ever settles.
 */
import type { Environment, KeyRange, Table } from './environment.ts';

type Rows = Map<string, Buffer>;

/** Everything durable; hand it to the next environment to "reopen" it. */
export interface MemoryDisk {
  readonly blocks: Rows;
  readonly contents: Rows;
  /** For `usage`; grows with the content. */
  limitBytes: number;
}

export function createMemoryDisk(limitBytes = 2 ** 40): MemoryDisk {
  return { blocks: new Map(), contents: new Map(), limitBytes };
}

export interface MemoryEnvironmentOptions {
  disk?: MemoryDisk | undefined;
  /** Runs `commit` later: by default at the end of the present turn of the event loop. */
  schedule?: (commit: () => void) => void;
}

export interface MemoryEnvironment extends Environment {
  readonly disk: MemoryDisk;
  /** Loses every write that is not durable yet; the environment does nothing any more. */
  crash(): void;
}

interface Batch {
  writes: (() => void)[];
  durable: Promise<void>;
  resolve: () => void;
}

export function createMemoryEnvironment(options: MemoryEnvironmentOptions = {}): MemoryEnvironment {
  const disk = options.disk ?? createMemoryDisk();
  const schedule = options.schedule ?? setImmediate;
  let open: Batch | undefined;
  let last: Promise<void> = Promise.resolve();
  let crashed = false;

  const queue = (write: () => void): Promise<void> => {
    if (open === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const batch: Batch = { writes: [], durable: promise, resolve };
      open = batch;
      last = promise;
      schedule(() => {
        if (crashed) return;
        open = undefined;
        for (const one of batch.writes) one();
        batch.resolve();
      });
    }
    open.writes.push(write);
    return open.durable;
  };

  return {
    disk,
    blocks: memoryTable(disk.blocks, queue),
    contents: memoryTable(disk.contents, queue),
    refresh: () => {},
    usage: () => ({
      blocks: disk.blocks.size,
      fileBytes: sizeOf(disk.blocks) + sizeOf(disk.contents),
      reusableBytes: 0,
      limitBytes: disk.limitBytes,
    }),
    close: () => last,
    crash() {
      crashed = true;
    },
  };
}

function memoryTable(rows: Rows, queue: (write: () => void) => Promise<void>): Table {
  return {
    read: (key) => rows.get(nameOf(key)),
    put(key, value) {
      const name = nameOf(key);
      const copy = Buffer.from(value);
      return queue(() => rows.set(name, copy));
    },
    remove(key) {
      const name = nameOf(key);
      return queue(() => rows.delete(name));
    },
    keys: (range) => keysIn(rows, range),
    prefetch: () => Promise.resolve(),
  };
}

// Latin-1 strings compare as their bytes do.
const nameOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');

function keysIn(rows: Rows, range: KeyRange): Buffer[] {
  const start = nameOf(range.start);
  const end = nameOf(range.end);
  return [...rows.keys()]
    .filter((name) => name >= start && name <= end && !(range.afterStart && name === start))
    .sort()
    .slice(0, range.limit)
    .map((name) => Buffer.from(name, 'latin1'));
}

function sizeOf(rows: Rows): number {
  let bytes = 0;
  for (const row of rows.values()) bytes += row.length;
  return bytes;
}
