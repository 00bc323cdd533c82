/** How the cluster half of the metadata writes: one change after the other, each one commit. */
import type { Effects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import { type Commit, type Entry, type KeyValueStore, STAMP_BYTES } from '../engine/kv.ts';

const PAGE_ROWS = 1000;

export class ClusterStore {
  readonly #store: KeyValueStore;
  readonly #effects: Effects;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(store: KeyValueStore, effects: Effects) {
    this.#store = store;
    this.#effects = effects;
  }

  async get(key: Uint8Array): Promise<Entry | null> {
    const [entry] = await this.#store.get([key]);
    return entry ?? null;
  }

  /** A commit that only another metadata server on the same store could make fail. */
  async must(parts: Partial<Commit>): Promise<void> {
    const id = this.#effects.random.bytes(STAMP_BYTES);
    const commit = { checks: [], set: [], del: [], add: [], ...parts, id, reserve: true };
    const result = await this.#store.commit(commit);
    if (!result.committed) throw new Failure('unavailable', 'the cluster changed: try again');
  }

  async rows(bounds: { start: Buffer; end: Buffer }): Promise<Entry[]> {
    const rows: Entry[] = [];
    let { start } = bounds;
    for (;;) {
      const page = await this.#store.range({ start, end: bounds.end, limit: PAGE_ROWS });
      rows.push(...page);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_ROWS) return rows;
      start = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  /** Changes of the cluster are made one after the other. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work);
    this.#turn = mine.catch(() => {});
    return mine;
  }
}
