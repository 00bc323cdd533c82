/**
 * A clock that only moves when a test says so. Timers fire in the order of their times, and between
 * two of them everything that is ready to run (promises, `setImmediate`) runs first, so a test with
 * hours in it takes milliseconds and gives the same result every time.
 */
import type { Clock, Effects, Random, Timer } from './clock.ts';
import { Failure } from './failure.ts';

export interface ManualClock extends Clock {
  /** Moves time on by `ms`, firing every timer that falls due on the way. */
  advance(ms: number): Promise<void>;
  /**
   * Moves time on, from timer to timer, until `work` settles, and returns its outcome. Throws
   * Failure `timeout` when `work` has not settled after `limitMs` of simulated time.
   */
  settle<T>(work: Promise<T>, limitMs?: number): Promise<T>;
  /** Moves time on without firing anything: a process that was stopped. Timers fire late, later. */
  skip(ms: number): void;
  /** Lets everything run that needs no time to pass. */
  idle(): Promise<void>;
  /** Timers that are waiting. */
  readonly pending: number;
}

interface Waiting {
  at: number;
  order: number;
  run: () => void;
}

/** Turns of the event loop that count as "everything that is ready has run". */
const IDLE_TURNS = 4;
const SETTLE_LIMIT_MS = 3_600_000;

/** A manual clock that starts at `startMs` (wall) and 0 (monotonic). */
export function createManualClock(startMs = 1_700_000_000_000): ManualClock {
  let elapsed = 0;
  let order = 0;
  const waiting = new Set<Waiting>();

  function after(delayMs: number, run: () => void): Timer {
    const entry = { at: elapsed + Math.max(0, delayMs), order: order++, run };
    waiting.add(entry);
    return { cancel: () => void waiting.delete(entry) };
  }

  function nextDue(limit: number): Waiting | undefined {
    let first: Waiting | undefined;
    for (const entry of waiting) {
      if (entry.at > limit) continue;
      const sooner = first === undefined || entry.at < first.at;
      if (sooner || (entry.at === first?.at && entry.order < first.order)) first = entry;
    }
    return first;
  }

  async function idle(): Promise<void> {
    for (let turn = 0; turn < IDLE_TURNS; turn++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** Fires the next timer up to `limit`; false when there is none. */
  function fireNext(limit: number): boolean {
    const entry = nextDue(limit);
    if (entry === undefined) return false;
    waiting.delete(entry);
    elapsed = Math.max(elapsed, entry.at);
    entry.run();
    return true;
  }

  return {
    now: () => startMs + Math.floor(elapsed),
    monotonic: () => elapsed,
    after,
    sleep(delayMs, signal) {
      return new Promise((resolve, reject) => {
        const cancelled = () => reject(new Failure('cancelled', 'sleep cancelled'));
        if (signal?.aborted) return cancelled();
        const onAbort = () => {
          timer.cancel();
          cancelled();
        };
        const timer = after(delayMs, () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        });
        signal?.addEventListener('abort', onAbort, { once: true });
      });
    },
    async advance(ms) {
      const target = elapsed + ms;
      await idle();
      while (fireNext(target)) await idle();
      elapsed = target;
    },
    async settle(work, limitMs = SETTLE_LIMIT_MS) {
      const limit = elapsed + limitMs;
      let settled = false;
      const mark = () => {
        settled = true;
      };
      work.then(mark, mark);
      await idle();
      while (!settled && fireNext(limit)) await idle();
      if (!settled) throw new Failure('timeout', 'the work did not settle in the time allowed');
      return await work;
    },
    skip(ms) {
      elapsed += ms;
    },
    idle,
    get pending() {
      return waiting.size;
    },
  };
}

/** A random stream that is the same for the same seed (mulberry32); never fit for secrets. */
export function createSeededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    fraction: next,
    bytes: (length) => Buffer.from(Array.from({ length }, () => Math.floor(next() * 256))),
  };
}

/** Effects on a manual clock and a seeded random stream. */
export function createManualEffects(seed = 1): Effects & { clock: ManualClock } {
  return { clock: createManualClock(), random: createSeededRandom(seed) };
}
