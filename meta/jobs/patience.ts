/** Which nodes not to bother for a while, because they did not answer: each time for longer. */
import type { Clock } from '../../base/clock.ts';

const FIRST_MS = 1000;
const LONGEST_MS = 60_000;

export class NodePatience {
  readonly #clock: Clock;
  readonly #silent = new Map<string, { times: number; until: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  mayAsk(id: string): boolean {
    const known = this.#silent.get(id);
    return known === undefined || known.until <= this.#clock.monotonic();
  }

  answered(id: string): void {
    this.#silent.delete(id);
  }

  silent(id: string): void {
    const known = this.#silent.get(id);
    const now = this.#clock.monotonic();
    // Several calls that were under way together are one silence.
    if (known !== undefined && known.until > now) return;
    const times = (known?.times ?? 0) + 1;
    const pause = Math.min(LONGEST_MS, FIRST_MS * 2 ** (times - 1));
    this.#silent.set(id, { times, until: now + pause });
  }

  /** Everybody may be asked at once. */
  forget(): void {
    this.#silent.clear();
  }
}
