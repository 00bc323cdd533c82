/**
 * Watches commits. After a failed one, or one that does not settle, LMDB is not to be trusted again
 * (field measurements: values reported as rejected that are there, puts that hang for ever, a
 * corrupted heap), so the first of either ends the process: `die` is called once and nothing is
 * acknowledged any more.
 */
import type { Clock, Timer } from '../base/clock.ts';
import { Failure } from '../base/failure.ts';

export interface CommitWatchOptions {
  clock: Clock;
  /** Longest time for a commit, in milliseconds. */
  watchdogMs: number;
  /** Called with every commit that succeeded, before its writes are acknowledged. */
  committed: () => void;
  die: (reason: string, cause?: unknown) => void;
}

interface Outstanding {
  raw: Promise<unknown>;
  acknowledged: Promise<void>;
  reject: (failure: Failure) => void;
  timer: Timer;
}

export class CommitWatch {
  readonly #options: CommitWatchOptions;
  readonly #outstanding = new Set<Outstanding>();
  #last: Outstanding | undefined;
  #failed = false;

  constructor(options: CommitWatchOptions) {
    this.#options = options;
  }

  /** True after the first failure: nothing works any more. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Commits on their way. */
  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** Resolves when `raw`, the promise of a batch, does. One watch per batch, however many writes. */
  watch(raw: Promise<unknown>): Promise<void> {
    if (this.#last?.raw === raw) return this.#last.acknowledged;
    const { clock, watchdogMs, committed } = this.#options;
    let reject: Outstanding['reject'] = () => {};
    let resolve: () => void = () => {};
    const acknowledged = new Promise<void>((onResolve, onReject) => {
      resolve = onResolve;
      reject = onReject;
    });
    const timer = clock.after(watchdogMs, () => this.#overdue(entry));
    const entry: Outstanding = { raw, acknowledged, reject, timer };
    this.#outstanding.add(entry);
    this.#last = entry;
    // Callers wait for `acknowledged`; without one, a failure is told by `die` alone.
    acknowledged.catch(() => {});
    raw.then(
      () => {
        entry.timer.cancel();
        this.#outstanding.delete(entry);
        if (this.#last === entry) this.#last = undefined;
        if (this.#failed) return;
        committed();
        resolve();
      },
      (error: unknown) => this.fail(`a commit failed: ${messageOf(error)}`, error),
    );
    return acknowledged;
  }

  /** Ends everything: what is outstanding rejects with Failure `unavailable`, `die` is called once. */
  fail(reason: string, cause?: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    for (const entry of this.#outstanding) {
      entry.timer.cancel();
      entry.reject(new Failure('unavailable', `the store has failed: ${reason}`, { cause }));
    }
    this.#outstanding.clear();
    this.#options.die(reason, cause);
  }

  /**
   * The timer may fire because this process itself stood still (stopped, swapped out) while the
   * commit went through: its notice is then right behind in the queue, and gets a moment to arrive.
   */
  #overdue(entry: Outstanding): void {
    const { clock, watchdogMs } = this.#options;
    entry.timer = clock.after(Math.min(1000, watchdogMs / 10), () => {
      if (this.#outstanding.has(entry)) {
        this.fail(`a write did not settle within ${watchdogMs} ms`);
      }
    });
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
