/**
 * Keeps a target that does not answer from being asked for every event: after a few failures in a row
 * it is left alone for a while, longer each time, and then tried with one event.
 */
import type { Effects } from '../../base/clock.ts';

const FAILURES_TO_OPEN = 3;
const WAIT_MS_FIRST = 1000;
const WAIT_MS_MAX = 60_000;

export class Circuit {
  readonly #effects: Effects;
  #failures = 0;
  #openUntilMs = 0;
  #probing = false;

  constructor(effects: Effects) {
    this.#effects = effects;
  }

  /** 0: now; otherwise how long to leave it alone, in milliseconds. The caller must report. */
  enter(): number {
    if (this.#failures < FAILURES_TO_OPEN) return 0;
    const waitMs = this.#openUntilMs - this.#effects.clock.monotonic();
    if (waitMs > 0) return waitMs;
    if (this.#probing) return WAIT_MS_FIRST;
    this.#probing = true;
    return 0;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#probing = false;
  }

  failed(): void {
    this.#failures++;
    this.#probing = false;
    const over = this.#failures - FAILURES_TO_OPEN;
    if (over < 0) return;
    const waitMs = Math.min(WAIT_MS_MAX, WAIT_MS_FIRST * 2 ** Math.min(over, 16));
    const { clock, random } = this.#effects;
    this.#openUntilMs = clock.monotonic() + waitMs * (0.75 + random.fraction() / 2);
  }

  get open(): boolean {
    return this.#failures >= FAILURES_TO_OPEN;
  }
}
