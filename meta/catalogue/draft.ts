/**
 * A transaction in the making, without effects: a step looks at rows that were read, decides, and
 * leaves checks and mutations. A step may look at a row that was not read yet: it gets `undefined`,
 * gives up, and is run again from the start on a fresh draft when the row is there. Steps therefore
 * do nothing but read and write their draft.
 *
 * Every row that is written is checked against what was read; a row that only mattered to the
 * decision is checked by `check`.
 */
import { assert } from '../../base/failure.ts';
import type { Commit, Entry, Stamp } from '../engine/kv.ts';
import type { Codec } from './codec.ts';
import type { Ids } from './ids.ts';

/** A row as the step sees it: what was read, or what the step made of it. */
export interface Row<T> {
  readonly key: Buffer;
  /** Null when the row is absent. */
  readonly value: T | null;
  /** Null when the row was absent when it was read. */
  readonly stamp: Stamp | null;
}

type Mark = 'read' | 'check' | 'set' | 'del' | 'place';

interface State {
  readonly draft: Draft;
  readonly key: Buffer;
  readonly stamp: Stamp | null;
  value: unknown;
  mark: Mark;
  codec: Codec<unknown>;
}

/** What has been read: latin1 of the key → entry. */
export type Entries = Map<string, Entry | null>;

export function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}

/** A row whose value does not matter, only that it stands. */
export const rawCodec: Codec<Buffer> = { encode: (value) => value, decode: (bytes) => bytes };

export class Draft {
  readonly nowMs: number;
  readonly ids: Ids;
  /** Keys that the step looked at and that have not been read. */
  readonly needed: Buffer[] = [];
  readonly #entries: Entries;
  readonly #rows = new Map<string, State>();
  readonly #inserts: { key: Buffer; value: Buffer }[] = [];
  readonly #adds = new Map<string, { key: Buffer; delta: bigint; max?: bigint }>();

  constructor(entries: Entries, nowMs: number, ids: Ids) {
    this.#entries = entries;
    this.nowMs = nowMs;
    this.ids = ids;
  }

  /** The row, or undefined when it has not been read: the step then returns at once. */
  row<T>(key: Buffer, codec: Codec<T>): Row<T> | undefined {
    const name = nameOf(key);
    const known = this.#rows.get(name);
    if (known !== undefined) return known as Row<T>;
    const entry = this.#entries.get(name);
    if (entry === undefined) {
      this.needed.push(key);
      return undefined;
    }
    const state: State = {
      draft: this,
      key,
      stamp: entry === null ? null : entry.stamp,
      value: entry === null ? null : codec.decode(entry.value),
      mark: 'read',
      codec: codec as Codec<unknown>,
    };
    this.#rows.set(name, state);
    return state as Row<T>;
  }

  /** The commit happens only if the row still stands as it was read. */
  check(row: Row<unknown>): void {
    const state = this.#stateOf(row);
    assert(state.stamp !== null, 'only a row that stands can be checked without a write');
    if (state.mark === 'read') state.mark = 'check';
  }

  put<T>(row: Row<T>, value: T): void {
    const state = this.#stateOf(row);
    state.value = value;
    if (state.mark !== 'place') state.mark = 'set';
  }

  remove(row: Row<unknown>): void {
    const state = this.#stateOf(row);
    state.value = null;
    state.mark = 'del';
  }

  /**
   * Sets a row that other rows of the draft prove to be absent: it was not read and is not checked.
   * Unlike an inserted one it can be looked at and changed afterwards.
   */
  place<T>(key: Buffer, codec: Codec<T>, value: T): void {
    const name = nameOf(key);
    const known = this.#rows.get(name);
    if (known !== undefined) {
      this.put(known as Row<T>, value);
      return;
    }
    this.#rows.set(name, {
      draft: this,
      key,
      stamp: null,
      value,
      mark: 'place',
      codec: codec as Codec<unknown>,
    });
  }

  /** Sets a row under a key that was never used before. */
  insert<T>(key: Buffer, codec: Codec<T>, value: T): void {
    this.#inserts.push({ key, value: codec.encode(value) });
  }

  /** Adds to a counter. */
  add(key: Buffer, delta: number): void {
    if (delta === 0) return;
    const name = nameOf(key);
    const known = this.#adds.get(name);
    if (known === undefined) this.#adds.set(name, { key, delta: BigInt(delta) });
    else known.delta += BigInt(delta);
  }

  /** The commit is refused if it would bring the counter, to which it adds, above `max`. */
  limit(key: Buffer, max: number): void {
    const known = this.#adds.get(nameOf(key));
    if (known !== undefined && known.delta > 0n) known.max = BigInt(max);
  }

  /** True when there is nothing to commit. */
  get empty(): boolean {
    if (this.#inserts.length > 0 || this.#adds.size > 0) return false;
    for (const state of this.#rows.values()) {
      if (state.mark !== 'read' && state.mark !== 'check') return false;
    }
    return true;
  }

  /** The whole as one commit with `id` as its stamp. */
  commit(id: Stamp): Commit {
    const commit: Commit = { id, checks: [], set: this.#inserts.slice(), del: [], add: [] };
    for (const state of this.#rows.values()) {
      const { key, stamp, mark } = state;
      if (mark === 'read') continue;
      // A row that was made and removed in the same draft never existed.
      if (mark === 'del' && stamp === null) continue;
      if (mark !== 'place') commit.checks.push({ key, stamp });
      if (mark === 'set' || mark === 'place')
        commit.set.push({ key, value: state.codec.encode(state.value) });
      else if (mark === 'del') commit.del.push(key);
    }
    for (const add of this.#adds.values()) {
      if (add.delta !== 0n) commit.add.push(add);
    }
    return commit;
  }

  #stateOf(row: Row<unknown>): State {
    // The row that a step holds is the state itself, seen through its narrower type.
    const state = row as State;
    assert(state.draft === this, 'the row is of this draft');
    return state;
  }
}
