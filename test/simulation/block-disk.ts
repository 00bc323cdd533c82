/**
 * The disk of a simulated storage node: the store's twin in memory, with a latency per commit, and
 * everything that goes wrong with disks. What is durable outlives the process.
 */
import type { Environment, Table } from '../../storage-node/environment.ts';
import { createMemoryEnvironment, type MemoryDisk } from '../../storage-node/memory-environment.ts';
import type { Life } from './process.ts';
import type { SeededRandom } from './random.ts';

export interface DiskFaults {
  /** Of a commit, in milliseconds. */
  latencyMs: [number, number];
  full: boolean;
  /** The next commit fails with an I/O error. */
  failing: boolean;
  /** Called once, when the next write is on its way: the moment at which a crash hurts most. */
  onWrite: (() => void) | undefined;
}

export const CAPACITY_BYTES = 1024 ** 3;

/** Told of blocks, by Latin-1 of their keys, when that is durable. */
export interface DiskWatcher {
  written: (name: string) => void;
  removed: (name: string) => void;
}

class WatchedRows extends Map<string, Buffer> {
  watcher: DiskWatcher | undefined;
  override set(name: string, row: Buffer): this {
    super.set(name, row);
    this.watcher?.written(name);
    return this;
  }
  override delete(name: string): boolean {
    const had = super.delete(name);
    if (had) this.watcher?.removed(name);
    return had;
  }
}

export class BlockDisk {
  readonly name: string;
  readonly #rows = new WatchedRows();
  readonly memory: MemoryDisk = {
    blocks: this.#rows,
    contents: new Map(),
    limitBytes: CAPACITY_BYTES,
  };
  readonly faults: DiskFaults = {
    latencyMs: [0.2, 2],
    full: false,
    failing: false,
    onWrite: undefined,
  };
  /** A planted bug: writes are acknowledged when they are queued. */
  forgetful = false;
  readonly #random: SeededRandom;

  constructor(name: string, random: SeededRandom) {
    this.name = name;
    this.#random = random;
  }

  watch(watcher: DiskWatcher): void {
    this.#rows.watcher = watcher;
  }

  /** Everything on it is gone, and nobody has removed it. */
  lose(): void {
    const { watcher } = this.#rows;
    this.#rows.watcher = undefined;
    this.#rows.clear();
    this.memory.contents.clear();
    this.#rows.watcher = watcher;
  }

  get space(): { capacityBytes: number; freeBytes: number } {
    return {
      capacityBytes: CAPACITY_BYTES,
      freeBytes: this.faults.full ? 0 : CAPACITY_BYTES / 2,
    };
  }

  /** The environment of one life of the node. */
  open(life: Life): Environment {
    let waiting: (() => void) | undefined;
    const state = { broken: false };
    const inner = createMemoryEnvironment({
      disk: this.memory,
      schedule: (commit) => {
        waiting = commit;
        const [low, high] = this.faults.latencyMs;
        life.schedule(this.#random.skewed(low, high), 'disk', () => {
          if (waiting === commit) waiting = undefined;
          if (!state.broken) commit();
        });
      },
    });
    life.onEnd(() => {
      // The commit under way when the process died: whole on the disk, or not at all.
      if (waiting !== undefined && !state.broken && this.#random.chance(0.5)) waiting();
      inner.crash();
    });
    return {
      ...inner,
      blocks: this.#table(inner.blocks, state),
      contents: this.#table(inner.contents, state),
    };
  }

  /** A commit that fails does so as a whole, and is the last one. */
  #table(table: Table, state: { broken: boolean }): Table {
    const write = (queue: () => Promise<unknown>): Promise<unknown> => {
      if (this.faults.failing) {
        this.faults.failing = false;
        state.broken = true;
        return Promise.reject(new Error('EIO'));
      }
      const durable = queue();
      const { onWrite } = this.faults;
      this.faults.onWrite = undefined;
      onWrite?.();
      return this.forgetful ? Promise.resolve() : durable;
    };
    return {
      ...table,
      put: (key, value) => write(() => table.put(key, value)),
      remove: (key) => write(() => table.remove(key)),
    };
  }
}
