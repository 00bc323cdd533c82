/**
 * One coarse timer for everything that is in flight. A request that goes well never makes a timer of
 * its own: it is in the set while it runs, and only what is still there at the next tick looks at
 * the time at all.
 */
import type { Clock } from '../../base/clock.ts';

/** Granularity of hedges, stragglers, retries and time-outs, in milliseconds. */
const TICK_MS = 20;

export interface Ticking {
  /** Called about every TICK_MS with the monotonic time while it is in the set. */
  onTick(now: number): void;
}

export class Ticker {
  readonly #clock: Clock;
  readonly #members = new Set<Ticking>();
  #armed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(member: Ticking): void {
    this.#members.add(member);
    if (!this.#armed) this.#arm();
  }

  /** Harmless when it is not a member. */
  delete(member: Ticking): void {
    this.#members.delete(member);
  }

  #arm(): void {
    this.#armed = true;
    this.#clock.after(TICK_MS, () => this.#tick());
  }

  #tick(): void {
    // An empty set stops the timer here and not at the last delete: under load it never stops.
    this.#armed = false;
    if (this.#members.size === 0) return;
    this.#arm();
    const now = this.#clock.monotonic();
    for (const member of this.#members) member.onTick(now);
  }
}
