/**
 * Simulated processes. A process lives, dies at any moment and is started again; what belongs to one
 * life (its clock, its timers, its calls) does nothing any more once that life has ended. A frozen
 * process (SIGSTOP) makes no step; what was due meanwhile happens when it goes on.
 */
import type { Clock, Effects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import type { RpcHandler } from '../../base/rpc/rpc.ts';
import { SeededRandom } from './random.ts';
import type { Scheduled, Scheduler } from './scheduler.ts';

/** The simulated epoch of wall clocks. */
const START_MS = Date.UTC(2026, 10, 20);
/** What was held up by a stop happens within this time after it, in any order. */
const THAW_MS = 2;

export interface ProcessContext {
  scheduler: Scheduler;
  seed: number;
  logOf: (process: SimProcess) => Log;
}

export class SimProcess {
  readonly name: string;
  readonly context: ProcessContext;
  life: Life | undefined;
  frozen = false;
  /** The wall clock's error in milliseconds. */
  skewMs = 0;
  /** How fast this machine's clocks run. */
  rate = 1;
  lives = 0;
  held: (() => void)[] = [];

  constructor(name: string, context: ProcessContext) {
    this.name = name;
    this.context = context;
  }

  /** Begins a life; what `run` starts belongs to it. */
  start(run: (life: Life) => void): Life {
    if (this.life !== undefined) throw new Error(`${this.name} is running already`);
    const life = new Life(this);
    this.life = life;
    run(life);
    return life;
  }

  /** kill -9. Harmless when it is dead. */
  crash(): void {
    const life = this.life;
    if (life === undefined) return;
    this.life = undefined;
    this.frozen = false;
    this.held = [];
    life.end();
  }

  freeze(): void {
    if (this.life !== undefined) this.frozen = true;
  }

  thaw(): void {
    if (!this.frozen) return;
    this.frozen = false;
    const { scheduler } = this.context;
    const life = this.life;
    for (const run of this.held) {
      const delay = (life?.random.fraction() ?? 0) * THAW_MS;
      scheduler.at(delay, `${this.name} goes on`, () => life?.enter(run));
    }
    this.held = [];
  }
}

export class Life {
  readonly process: SimProcess;
  readonly random: SeededRandom;
  readonly clock: Clock;
  readonly log: Log;
  alive = true;
  /** Serves calls; undefined while the process is starting. */
  handler: RpcHandler | undefined;
  readonly #onEnd: (() => void)[] = [];
  readonly #monotonicBase: number;

  constructor(process: SimProcess) {
    this.process = process;
    const { context, name } = process;
    this.random = new SeededRandom(context.seed, `${name}#${process.lives++}`);
    this.#monotonicBase = this.random.int(1_000_000);
    this.clock = this.#makeClock();
    this.log = context.logOf(process);
  }

  get effects(): Effects {
    return { clock: this.clock, random: this.random };
  }

  /** Runs `run` as a step of this life: not when it has ended, later when it is frozen. */
  enter(run: () => void): void {
    if (!this.alive) return;
    if (this.process.frozen) this.process.held.push(run);
    else run();
  }

  schedule(delayMs: number, label: string, run: () => void): Scheduled {
    let cancelled = false;
    const step = () => {
      if (!cancelled) run();
    };
    const name = `${this.process.name} ${label}`;
    const event = this.process.context.scheduler.at(delayMs, name, () => this.enter(step));
    return {
      cancel: () => {
        cancelled = true;
        event.cancel();
      },
    };
  }

  onEnd(run: () => void): void {
    this.#onEnd.push(run);
  }

  end(): void {
    this.alive = false;
    this.handler = undefined;
    for (const run of this.#onEnd) run();
  }

  #makeClock(): Clock {
    const { process } = this;
    const { scheduler } = process.context;
    const after: Clock['after'] = (delayMs, run) =>
      this.schedule(delayMs / process.rate, 'timer', run);
    return {
      now: () => START_MS + Math.floor(scheduler.now * process.rate + process.skewMs),
      monotonic: () => this.#monotonicBase + scheduler.now * process.rate,
      after,
      sleep: (delayMs, signal) =>
        new Promise((resolve, reject) => {
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
        }),
    };
  }
}
