/** The garbage job as operators see it: its rounds are held while it is paused, over restarts too. */
import type { Clock } from '../../base/clock.ts';
import type { JobStatus } from '../admin-protocol.ts';
import type { GarbageStats } from './garbage.ts';
import { type Job, type JobRows, NEW_JOB } from './job.ts';

const NAME = 'garbage';
/** Span over which the rate is measured. */
const RATE_MS = 10_000;

interface Collector {
  round(): Promise<boolean>;
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
  #samples: { atMs: number; blocks: number }[] = [];

  constructor(options: {
    job: Collector;
    rows: Pick<JobRows, 'setting' | 'putSetting'>;
    clock: Clock;
  }) {
    this.#job = options.job;
    this.#rows = options.rows;
    this.#clock = options.clock;
  }

  /** For the loop: a round of the job, unless it is paused. True: there is more to do at once. */
  async round(): Promise<boolean> {
    this.#setting ??= await this.#rows.setting(NAME);
    if (this.#setting.paused) return false;
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
      this.#sample();
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
      rate: this.#rate(),
      etaMs: undefined,
      lastFinishedMs: this.#finishedMs,
      counts: { removedBlobs: blobsRemoved, held, waitingForReaders: waiting, nodeFailures },
      problem: this.#problem,
    };
  }

  /** The loop comes by at least twice a second: it does what it finds then. */
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

  #sample(): void {
    const atMs = this.#clock.monotonic();
    this.#samples.push({ atMs, blocks: this.#job.stats().blocksRemoved });
    while ((this.#samples[0]?.atMs ?? atMs) < atMs - RATE_MS) this.#samples.shift();
  }

  #rate(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return ((last.blocks - first.blocks) * 1000) / (last.atMs - first.atMs);
  }
}
