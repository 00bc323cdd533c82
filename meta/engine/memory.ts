/**
 * The key-value contract in memory, for tests and simulation: rows in key order in a list of short
 * sorted chunks, so that 100,000 rows stay quick without a tree to balance.
 */
import { Failure } from '../../base/failure.ts';
import {
  type Commit,
  type CommitResult,
  type Entry,
  isOver,
  type KeyValueStore,
  type Range,
} from './kv.ts';
import { checkCommit, checkGet, checkRange } from './limits.ts';

const CHUNK_ROWS_MAX = 256;

interface Row {
  key: Buffer;
  value: Buffer;
  stamp: Buffer;
}

/** A store that forgets everything when it is dropped. Same behaviour as the LMDB engine. */
export function createMemoryStore(): KeyValueStore {
  const rows = new SortedRows();
  let closed = false;
  const assertOpen = () => {
    if (closed) throw new Failure('unavailable', 'the store is closed');
  };
  return {
    async get(keys) {
      assertOpen();
      checkGet(keys);
      return keys.map((key) => {
        const row = rows.find(key);
        return row === undefined ? null : copyOf(row);
      });
    },
    async range(range) {
      assertOpen();
      checkRange(range);
      return rows.range(range).map(copyOf);
    },
    async commit(commit) {
      assertOpen();
      checkCommit(commit);
      return apply(rows, commit);
    },
    async close() {
      closed = true;
    },
  };
}

function copyOf(row: Row): Entry {
  return { key: Buffer.from(row.key), value: Buffer.from(row.value), stamp: row.stamp };
}

function apply(rows: SortedRows, commit: Commit): CommitResult {
  const failed: number[] = [];
  for (const [index, { key, stamp }] of commit.checks.entries()) {
    const row = rows.find(key);
    const holds = stamp === null ? row === undefined : row?.stamp.equals(stamp);
    if (holds !== true) failed.push(index);
  }
  if (failed.length > 0) return { committed: false, failed };
  for (const { key } of commit.add) {
    const row = rows.find(key);
    if (row !== undefined && row.value.length !== 8) {
      throw new Failure('invalid', 'an add on a row that is not a counter');
    }
  }
  for (const add of commit.add) {
    const before = rows.find(add.key)?.value.readBigInt64BE(0) ?? 0n;
    if (isOver(before, add)) return { committed: false, failed: [], over: true };
  }
  const stamp = Buffer.from(commit.id);
  for (const { key, value } of commit.set) {
    rows.put({ key: Buffer.from(key), value: Buffer.from(value), stamp });
  }
  for (const key of commit.del) rows.remove(key);
  for (const { key, delta } of commit.add) {
    const before = rows.find(key)?.value.readBigInt64BE(0) ?? 0n;
    const value = Buffer.alloc(8);
    value.writeBigInt64BE(BigInt.asIntN(64, before + delta));
    rows.put({ key: Buffer.from(key), value, stamp });
  }
  return { committed: true };
}

/** Invariant: no chunk is empty, and the concatenation of all chunks is sorted without duplicates. */
class SortedRows {
  readonly #chunks: Row[][] = [];

  find(key: Uint8Array): Row | undefined {
    const chunk = this.#chunks[this.#chunkOf(key)];
    if (chunk === undefined) return undefined;
    const row = chunk[lowerBound(chunk, key)];
    return row !== undefined && Buffer.compare(row.key, key) === 0 ? row : undefined;
  }

  put(row: Row): void {
    const at = this.#chunkOf(row.key);
    const chunk = this.#chunks[at];
    if (chunk === undefined) {
      this.#chunks.push([row]);
      return;
    }
    const index = lowerBound(chunk, row.key);
    const found = chunk[index];
    if (found !== undefined && found.key.equals(row.key)) {
      chunk[index] = row;
      return;
    }
    chunk.splice(index, 0, row);
    if (chunk.length > CHUNK_ROWS_MAX) {
      this.#chunks.splice(at + 1, 0, chunk.splice(CHUNK_ROWS_MAX >> 1));
    }
  }

  remove(key: Uint8Array): void {
    const at = this.#chunkOf(key);
    const chunk = this.#chunks[at];
    if (chunk === undefined) return;
    const index = lowerBound(chunk, key);
    const found = chunk[index];
    if (found === undefined || Buffer.compare(found.key, key) !== 0) return;
    chunk.splice(index, 1);
    if (chunk.length === 0) this.#chunks.splice(at, 1);
  }

  range({ start, end, limit, reverse }: Range): Row[] {
    return reverse === true ? this.#backward(start, end, limit) : this.#forward(start, end, limit);
  }

  #forward(start: Uint8Array, end: Uint8Array, limit: number): Row[] {
    const found: Row[] = [];
    let at = this.#chunkOf(start);
    let index = lowerBound(this.#chunks[at] ?? [], start);
    for (; at < this.#chunks.length; at++, index = 0) {
      const chunk = this.#chunks[at] ?? [];
      for (; index < chunk.length; index++) {
        const row = chunk[index];
        if (row === undefined || Buffer.compare(row.key, end) >= 0) return found;
        found.push(row);
        if (found.length === limit) return found;
      }
    }
    return found;
  }

  #backward(start: Uint8Array, end: Uint8Array, limit: number): Row[] {
    const found: Row[] = [];
    let at = this.#chunkOf(end);
    let index = lowerBound(this.#chunks[at] ?? [], end) - 1;
    for (; at >= 0; at--, index = (this.#chunks[at]?.length ?? 0) - 1) {
      const chunk = this.#chunks[at] ?? [];
      for (; index >= 0; index--) {
        const row = chunk[index];
        if (row === undefined || Buffer.compare(row.key, start) < 0) return found;
        found.push(row);
        if (found.length === limit) return found;
      }
    }
    return found;
  }

  /** The last chunk that begins at or before `key`; 0 when none does. */
  #chunkOf(key: Uint8Array): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const first = this.#chunks[middle]?.[0];
      if (first !== undefined && Buffer.compare(first.key, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}

/** Index of the first row whose key is not before `key`. */
function lowerBound(chunk: readonly Row[], key: Uint8Array): number {
  let low = 0;
  let high = chunk.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = chunk[middle];
    if (row !== undefined && Buffer.compare(row.key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
