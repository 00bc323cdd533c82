/**
 * Time and randomness as parameters. This is the only module that touches `Date.now`,
 * `performance.now`, timers and `randomBytes`; everything else receives an `Effects`, so that the
 * simulation can run the same code on a clock and a random stream of its own.
 */
import { randomBytes } from 'node:crypto';
import { Failure } from './failure.ts';

/** A running timer. `cancel` is idempotent and harmless after the timer fired. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall clock in milliseconds since the epoch. For display and signatures only: it may step. */
  now(): number;
  /** Monotonic milliseconds from an arbitrary origin. For every duration, deadline and time-out. */
  monotonic(): number;
  /** Calls `run` once after `delayMs`. The timer never keeps the process alive by itself. */
  after(delayMs: number, run: () => void): Timer;
  /** Resolves after `delayMs`; rejects with Failure `cancelled` when `signal` aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

export interface Random {
  /** `length` fresh random bytes, fit for identifiers and challenges. */
  bytes(length: number): Buffer;
  /** A number in [0, 1), for jitter only. */
  fraction(): number;
}

/** The effects that logic may use. Network and disk come in as their own parameters. */
export interface Effects {
  clock: Clock;
  random: Random;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, run) {
    const handle = setTimeout(run, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  sleep(delayMs, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new Failure('cancelled', 'sleep cancelled'));
      const onAbort = () => {
        clearTimeout(handle);
        reject(new Failure('cancelled', 'sleep cancelled'));
      };
      // A sleeping loop must not hold the process: shutdown is decided elsewhere.
      const handle = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, delayMs);
      handle.unref();
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  },
};

/** Keeps the process alive, which no timer of the clock does, until it is cancelled. */
export function holdProcess(): Timer {
  const handle = setInterval(() => {}, HOLD_MS);
  return { cancel: () => clearInterval(handle) };
}

/** As seldom as a timer can run. */
const HOLD_MS = 2 ** 31 - 1;

export const systemRandom: Random = {
  bytes: (length) => randomBytes(length),
  fraction: () => Math.random(),
};

export const systemEffects: Effects = { clock: systemClock, random: systemRandom };
