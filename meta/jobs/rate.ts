/** How fast background jobs go: a limit that they keep, and a meter that tells. */
import type { Clock } from '../../base/clock.ts';

/** Unused time that may be made up for at once, in milliseconds. */
const BURST_MS = 1000;
/** How soon a change of the limit reaches those who wait. */
const SLICE_MS = 500;

/** A token bucket in bytes. Those who take wait for their turn in the order of their calls. */
export class RateLimit {
  readonly #clock: Clock;
  #rate: number;
  /** When the next taker may go. */
  #free: number;
  /** Grows when the limit changes: who waits gets a new turn. */
  #generation = 0;

  /** `bytesPerSecond`: 0 for no limit. */
  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#rate = bytesPerSecond;
    this.#free = clock.monotonic();
  }

  get rate(): number {
    return this.#rate;
  }

  set(bytesPerSecond: number): void {
    this.#rate = bytesPerSecond;
    this.#free = this.#clock.monotonic();
    this.#generation += 1;
  }

  /** Resolves when `bytes` may be moved. Rejects with Failure `cancelled` when `signal` aborts. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    for (;;) {
      if (this.#rate === 0) return;
      const generation = this.#generation;
      const now = this.#clock.monotonic();
      const turn = Math.max(this.#free, now - BURST_MS);
      this.#free = turn + (bytes * 1000) / this.#rate;
      for (;;) {
        const wait = turn - this.#clock.monotonic();
        if (wait <= 0) return;
        await this.#clock.sleep(Math.min(wait, SLICE_MS), signal);
        if (generation !== this.#generation) break;
      }
    }
  }
}

const WINDOW_SECONDS = 10;

/** A mean over the last ten seconds. */
export class Meter {
  readonly #clock: Clock;
  readonly #startedAt: number;
  #seconds: { second: number; amount: number }[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
  }

  add(amount: number): void {
    const second = Math.floor(this.#clock.monotonic() / 1000);
    const last = this.#seconds.at(-1);
    if (last?.second === second) last.amount += amount;
    else this.#seconds.push({ second, amount });
    if (this.#seconds.length > WINDOW_SECONDS + 1) this.#seconds.shift();
  }

  perSecond(): number {
    const now = this.#clock.monotonic();
    const from = Math.floor(now / 1000) - WINDOW_SECONDS;
    let sum = 0;
    for (const { second, amount } of this.#seconds) if (second > from) sum += amount;
    const elapsed = Math.min(now - this.#startedAt, WINDOW_SECONDS * 1000);
    return sum === 0 ? 0 : (sum * 1000) / Math.max(1000, elapsed);
  }
}

/** Runs `work` on all `items`, `width` at a time; rejects with the first error after all have ended. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (;;) {
      const item = items[next++];
      if (item === undefined) return;
      await work(item);
    }
  };
  const lanes = Array.from({ length: Math.min(width, items.length) }, lane);
  const results = await Promise.allSettled(lanes);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
