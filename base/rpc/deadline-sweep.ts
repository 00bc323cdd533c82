/**
 * One timer for many deadlines: an operating-system timer per call would cost more than a small
 * call itself. The timer stands at the earliest deadline it was told of; when it fires, the owner
 * ends what is overdue and names the earliest deadline that is left.
 */
import type { Clock, Timer } from '../clock.ts';

/** A later sweep may be late by this much. */
const GRANULARITY_MS = 10;
/** A timer of Node holds 24 days; a sweep that comes too early only reschedules itself. */
const DELAY_MS_MAX = 3_600_000;

export class DeadlineSweep {
  readonly #clock: Clock;
  readonly #expire: (dueMs: number) => number;
  #at = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;

  /**
   * `expire(dueMs)` ends everything whose deadline (monotonic milliseconds) is at or before `dueMs`
   * and returns the earliest deadline that is left, Infinity when there is none.
   */
  constructor(clock: Clock, expire: (dueMs: number) => number) {
    this.#clock = clock;
    this.#expire = expire;
  }

  /** Sees to it that `deadline` is not missed. Cheap when an earlier one is covered already. */
  cover(deadline: number): void {
    if (deadline < this.#at) this.#schedule(deadline, this.#clock.monotonic());
  }

  /** Forgets everything. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#at = Number.POSITIVE_INFINITY;
  }

  #schedule(at: number, now: number): void {
    this.#timer?.cancel();
    this.#at = at;
    this.#timer = this.#clock.after(Math.min(Math.max(0, at - now), DELAY_MS_MAX), this.#sweep);
  }

  readonly #sweep = (): void => {
    this.#timer = undefined;
    this.#at = Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonic();
    // Timers may fire a fraction of a millisecond early.
    const next = this.#expire(now + 1);
    if (next < this.#at) this.#schedule(Math.max(next, now + GRANULARITY_MS), now);
  };
}
