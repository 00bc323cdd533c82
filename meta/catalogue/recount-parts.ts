/** What a recount works with, and how it reads. */
import type { Clock } from '../../base/clock.ts';
import { type Entry, type KeyValueStore, KV_LIMITS } from '../engine/kv.ts';
import { rawCodec } from './draft.ts';
import type { GarbageQueue } from './garbage.ts';
import { type Bounds, justAfter } from './keyspace.ts';
import type { Runner } from './runner.ts';
import type { WatchedStore } from './watched-store.ts';

/** A row for the sake of its commit alone, beside the other facts (`../cluster/rows.ts`). */
const BARRIER_KEY = Buffer.from('Fr');

export interface RecountOptions {
  /** Blobs whose references are counted in one pass. */
  targetsMax?: number | undefined;
  /** Makes right what is found wrong, and says how many rows. */
  mend?: { mended: (rows: number) => void } | undefined;
  /** A sentence for each contradiction. */
  found: (sentence: string) => void;
  /** Called between pages; throws to end the count. */
  turn: () => void;
}

export interface RecountParts extends RecountOptions {
  store: Pick<KeyValueStore, 'get' | 'range'>;
  /** What all writes go through. */
  watched: Pick<WatchedStore, 'watch' | 'hold'>;
  /** Commits past `watched`. */
  runner: Runner;
  lane: number;
  clock: Clock;
  garbage: Pick<GarbageQueue, 'next'>;
}

/** Every commit that was sent before the call is done, or never will be, when this resolves. */
export async function passBarrier({ runner }: Pick<RecountParts, 'runner'>): Promise<void> {
  // Commits are decided in order, and none is taken while the fate of an earlier one is unknown.
  await runner.run([], (draft) => {
    draft.place(BARRIER_KEY, rawCodec, Buffer.from([1]));
    return { ok: true, value: null };
  });
}

export async function* rowsIn(
  { store, turn }: Pick<RecountParts, 'store' | 'turn'>,
  bounds: Bounds,
): AsyncGenerator<Entry> {
  let { start } = bounds;
  for (;;) {
    turn();
    const page = await store.range({ start, end: bounds.end, limit: KV_LIMITS.rangeRows });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < KV_LIMITS.rangeRows) return;
    start = justAfter(last.key);
  }
}
