/** The garbage job as operators see it: its rounds are held while it is paused, over restarts too. */
import type { Clock } from '../../base/clock.ts';
import type { JobStatus } from '../admin-protocol.ts';
import type { GarbageStats } from './garbage.ts';
import { type Job, type JobRows, NEW_JOB } from './job.ts';
import { Meter } from './rate.ts';

const NAME = 'garbage';

interface Collector {
  round(): Promise<boolean>;
  /** The next round begins anew with everything. */
  rewalk(): void;
  stats(): GarbageStats;
}

export class GarbageControl implements Job {
  readonly #job: Collector;
  readonly #rows: Pick<JobRows, 'setting' | 'putSetting'>;
  readonly #clock: Clock;
  #setting: { paused: boolean; rate: number | undefined } | undefined;
  #busy = false;
  #running: Promise<boolean> | undefined;
  #asked = false;
  #problem: string | undefined;
  #finishedMs: number | undefined;
  readonly #meter: Meter;
  #metered = 0;

  constructor(options: {
    job: Collector;
    rows: Pick<JobRows, 'setting' | 'putSetting'>;
    clock: Clock;
  }) {
    this.#job = options.job;
    this.#rows = options.rows;
    this.#clock = options.clock;
    this.#meter = new Meter(options.clock);
  }

  /** For the loop: a round of the job, unless it is paused. True: there is more to do at once. */
  async round(): Promise<boolean> {
    this.#setting ??= await this.#rows.setting(NAME);
    if (this.#setting.paused) return false;
    if (this.#asked) this.#job.rewalk();
    this.#asked = false;
    this.#running = this.#job.round();
    try {
      this.#busy = await this.#running;
      this.#problem = undefined;
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      this.#running = undefined;
      const { blocksRemoved } = this.#job.stats();
      this.#meter.add(blocksRemoved - this.#metered);
      this.#metered = blocksRemoved;
    }
    if (!this.#busy) this.#finishedMs = this.#clock.now();
    return this.#busy || this.#asked;
  }

  status(): JobStatus {
    const { held, waiting, blobsRemoved, blocksRemoved, nodeFailures } = this.#job.stats();
    const working = this.#busy || this.#running !== undefined;
    return {
      name: NAME,
      state: this.#setting?.paused === true ? 'paused' : working ? 'running' : 'idle',
      done: blocksRemoved,
      total: undefined,
      unit: 'blocks',
      rate: this.#meter.perSecond(),
      etaMs: undefined,
      lastFinishedMs: this.#finishedMs,
      counts: { removedBlobs: blobsRemoved, held, waitingForReaders: waiting, nodeFailures },
      problem: this.#problem,
    };
  }

  /** Walks the queue from its beginning at once, also what a node held up the last time. */
  run(): void {
    this.#asked = true;
  }

  async pause(): Promise<void> {
    await this.#set(true);
    await this.#running?.catch(() => {});
  }

  async resume(): Promise<void> {
    await this.#set(false);
  }

  async #set(paused: boolean): Promise<void> {
    const setting = { ...(this.#setting ?? NEW_JOB), paused };
    await this.#rows.putSetting(NAME, setting);
    this.#setting = setting;
  }
}
