/**
 * The disk of the simulated metadata service: the key-value contract under the production group
 * commit, where a batch takes its time to become durable and a crash loses what is not.
 */
import type { Clock } from '../../base/clock.ts';
import { GroupCommit, type Write } from '../../meta/engine/group-commit.ts';
import { type Entry, type KeyValueStore, STAMP_BYTES } from '../../meta/engine/kv.ts';
import { checkCommit, checkGet, checkRange } from '../../meta/engine/limits.ts';
import { createSpace } from '../../meta/engine/space.ts';
import type { JournaledStore } from '../../meta/journal/recovery.ts';
import type { DiskFaults } from './block-disk.ts';
import { CAPACITY_BYTES } from './block-disk.ts';
import type { Life } from './process.ts';
import type { SeededRandom } from './random.ts';

interface Row {
  key: Buffer;
  /** Stamp ‖ value. */
  stored: Buffer;
}

const WATCHDOG_MS = 10_000;

/** One row of a batch as it was and as it is. */
export interface Change {
  key: Buffer;
  before: Buffer | undefined;
  after: Buffer | undefined;
}

export type MetaStore = JournaledStore & { usage(): { rows: number } };

export class MetaDisk {
  readonly faults: DiskFaults = {
    latencyMs: [0.2, 2],
    full: false,
    failing: false,
    onWrite: undefined,
  };
  /** Called with every batch when it has become durable. */
  onBatch: ((changes: readonly Change[]) => void) | undefined;
  /** A planted bug: commits are acknowledged before they are durable. */
  forgetful = false;
  readonly #rows = new Map<string, Row>();
  /** Latin-1 of the keys in order: compares as the bytes do. */
  #names: string[] = [];
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** What is durable, value without its stamp. */
  read(key: Uint8Array): Buffer | undefined {
    return this.#rows.get(nameOf(key))?.stored.subarray(STAMP_BYTES);
  }

  /** Opens what is durable for one life of the service; `die` ends that life. */
  open(life: Life, die: (reason: string) => void): MetaStore {
    const pending = new Set<() => void>();
    const group = new GroupCommit({
      clock: life.clock,
      read: (key) => this.#rows.get(nameOf(key))?.stored,
      write: (writes) => this.#write(life, [...writes], pending),
      watchdogMs: WATCHDOG_MS,
      die,
    });
    life.onEnd(() => {
      // The batch under way when the process died: whole on the disk, or not at all.
      if (this.#random.chance(0.5)) for (const settle of [...pending].reverse()) settle();
    });
    return this.#store(life.clock, group);
  }

  /** Everything on it is gone. */
  lose(): void {
    this.#rows.clear();
    this.#names = [];
  }

  /** What is durable, to look at. */
  reader(): KeyValueStore {
    const refuse = () => Promise.reject(new Error('only to look at'));
    return { ...this.#reads(() => {}), commit: refuse, close: async () => {} };
  }

  #reads(ready: () => void): Pick<KeyValueStore, 'get' | 'range'> {
    return {
      get: async (keys) => {
        ready();
        checkGet(keys);
        return keys.map((key) => entryOf(this.#rows.get(nameOf(key))));
      },
      range: async (range) => {
        ready();
        checkRange(range);
        const from = lowerBound(this.#names, nameOf(range.start));
        const to = lowerBound(this.#names, nameOf(range.end));
        const names = range.reverse
          ? this.#names.slice(Math.max(from, to - range.limit), to).reverse()
          : this.#names.slice(from, Math.min(to, from + range.limit));
        return names.flatMap((name) => entryOf(this.#rows.get(name)) ?? []);
      },
    };
  }

  #store(clock: Clock, group: GroupCommit): MetaStore {
    const space = createSpace({
      clock,
      disk: () => ({
        capacityBytes: CAPACITY_BYTES,
        freeBytes: this.faults.full ? CAPACITY_BYTES / 25 : CAPACITY_BYTES / 2,
      }),
      usage: () => ({ fileBytes: 0, reusableBytes: 0, limitBytes: CAPACITY_BYTES }),
    });
    const ready = () => {
      if (group.failed !== undefined) throw group.failed;
    };
    return {
      ...this.#reads(ready),
      commit: async (commit) => {
        ready();
        const bytes = checkCommit(commit);
        space.take(bytes, commit.del.length > 0 || commit.reserve === true);
        return group.commit(commit, bytes);
      },
      close: async () => group.settled(),
      useLog: (log) => group.useLog(log),
      applyRaw: (rows) => group.applyRaw(rows),
      usage: () => ({ rows: this.#rows.size }),
    };
  }

  #write(life: Life, writes: readonly Write[], pending: Set<() => void>): Promise<void> {
    if (this.faults.failing) {
      this.faults.failing = false;
      return Promise.reject(new Error('EIO'));
    }
    const { onWrite } = this.faults;
    this.faults.onWrite = undefined;
    onWrite?.();
    const { promise, resolve } = Promise.withResolvers<void>();
    const [low, high] = this.faults.latencyMs;
    const wait = this.#random.skewed(low, high);
    if (this.forgetful) {
      const undo = this.#apply(writes);
      const settle = () => void this.#apply(undo);
      pending.add(settle);
      life.schedule(wait, 'disk', () => void pending.delete(settle));
      return Promise.resolve();
    }
    const settle = () => void this.#apply(writes);
    pending.add(settle);
    life.schedule(wait, 'disk', () => {
      pending.delete(settle);
      this.#apply(writes);
      resolve();
    });
    return promise;
  }

  /** Returns what undoes it. */
  #apply(writes: readonly Write[]): Write[] {
    const changes: Change[] = [];
    for (const { key, stored } of writes) {
      const name = nameOf(key);
      const row = this.#rows.get(name);
      const own = row?.key ?? Buffer.from(key);
      changes.push({ key: own, before: row?.stored, after: stored });
      if (stored === undefined) {
        if (row !== undefined) this.#names.splice(lowerBound(this.#names, name), 1);
        this.#rows.delete(name);
      } else {
        if (row === undefined) this.#names.splice(lowerBound(this.#names, name), 0, name);
        this.#rows.set(name, { key: own, stored: Buffer.from(stored) });
      }
    }
    this.onBatch?.(changes);
    return changes.reverse().map(({ key, before }) => ({ key, stored: before }));
  }
}

function entryOf(row: Row | undefined): Entry | null {
  if (row === undefined) return null;
  const bytes = Buffer.from(row.stored);
  return {
    key: Buffer.from(row.key),
    stamp: bytes.subarray(0, STAMP_BYTES),
    value: bytes.subarray(STAMP_BYTES),
  };
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}

/** Index of the first name that is not before `name`. */
function lowerBound(names: readonly string[], name: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((names[middle] ?? '') < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
