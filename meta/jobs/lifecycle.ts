/**
 * The lifecycle job: walks through every bucket that has rules, four times a day, and has done what is
 * due. Where it has come to is stored; after a restart it goes on there. To meet something twice does
 * no harm: each commit looks for itself (`../catalogue/lifecycle.ts`).
 */
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { JobStatus } from '../admin-protocol.ts';
import type {
  DueItem,
  LifecycleWork,
  Outcome,
  RuledBucket,
  WalkPlace,
} from '../catalogue/lifecycle.ts';
import { DAY_MS } from '../lifecycle-protocol.ts';
import { type Job, JobControl, type JobRows } from './job.ts';
import { inParallel, Meter } from './rate.ts';

export interface LifecycleJobOptions {
  work: LifecycleWork;
  rows: JobRows;
  clock: Clock;
  log: Log;
  /** Length of a day: DAY_MS but in tests. */
  dayMs: number;
  /** How often the place that the pass has come to is stored. */
  saveMs?: number | undefined;
}

/** Commits under way at once. */
const WIDTH = 16;
/** Rows per second of a pass, where a day is a day; one that is due counts as many. */
const ROWS_PER_SECOND = 20_000;
const DUE_ROWS = 20;
/** Rules that are held against a row for nothing. */
const RULES_PER_ROW = 50;
const SAVE_MS = 5000;

/** How long after the beginning of one pass the next one begins, in milliseconds. */
export function passMs(dayMs: number): number {
  return dayMs === DAY_MS ? DAY_MS / 4 : Math.max(250, dayMs / 8);
}

/** The walk through one bucket. */
interface Walk {
  bucket: string;
  /** Tells a bucket from the next one of its name. */
  id: number;
  place: WalkPlace;
}

type Counts = Record<'expired' | 'marked' | 'noncurrent' | 'aborted' | 'locked', number>;

export class LifecycleJob implements Job {
  readonly #options: LifecycleJobOptions;
  readonly #control: JobControl;
  readonly #meter: Meter;
  readonly #counts: Counts = { expired: 0, marked: 0, noncurrent: 0, aborted: 0, locked: 0 };
  /** Wall clock: it holds over restarts. */
  #beganMs: number | undefined;
  #finishedMs: number | undefined;
  #walking = false;
  #asked = false;
  /** Buckets of the pass that are known and not begun, and where to look for more. */
  #names: string[] = [];
  #listed: { after: string | undefined } | undefined;
  #walk: Walk | undefined;
  #rows = 0;
  #dueAt = 0;
  #savedAt: number;

  constructor(options: LifecycleJobOptions) {
    this.#options = options;
    this.#control = new JobControl('lifecycle', options.rows);
    this.#meter = new Meter(options.clock);
    this.#savedAt = options.clock.monotonic();
  }

  /** Reads what operators have said, and where the pass had come to. */
  async restore(): Promise<void> {
    await this.#control.load();
    const state = await this.#options.rows.state('lifecycle');
    if (state === undefined) return;
    const { beganMs, finishedMs, walking, bucket, id, part, after } = state;
    if (typeof finishedMs === 'number') this.#finishedMs = finishedMs;
    if (typeof beganMs === 'number') this.#beganMs = beganMs;
    if (walking !== true) return;
    this.#walking = true;
    this.#listed = { after: undefined };
    if (typeof bucket !== 'string' || typeof id !== 'number') return;
    this.#listed = { after: bucket };
    const place: WalkPlace = { part: part === 'uploads' ? 'uploads' : 'objects' };
    if (typeof after === 'string') place.after = after;
    this.#walk = { bucket, id, place };
  }

  status(): JobStatus {
    return {
      name: 'lifecycle',
      state: this.#control.paused ? 'paused' : this.#walking ? 'running' : 'idle',
      done: this.#rows,
      total: undefined,
      unit: 'rows',
      rate: this.#walking ? this.#meter.perSecond() : 0,
      etaMs: undefined,
      lastFinishedMs: this.#finishedMs,
      counts: { ...this.#counts },
      problem: undefined,
    };
  }

  run(): void {
    this.#asked = true;
  }

  async pause(): Promise<void> {
    await this.#control.change({ paused: true });
    await this.#save();
  }

  async resume(): Promise<void> {
    await this.#control.change({ paused: false });
  }

  /** One page. True: there is more to do at once. */
  async round(): Promise<boolean> {
    const { clock } = this.#options;
    if (this.#control.paused) return false;
    if (!this.#walking) await this.#begin();
    if (!this.#walking || clock.monotonic() < this.#dueAt) return false;
    const walk = this.#walk ?? (await this.#nextBucket());
    if (walk === undefined) {
      await this.#finish();
      return false;
    }
    await this.#step(walk);
    if (clock.monotonic() - this.#savedAt >= (this.#options.saveMs ?? SAVE_MS)) await this.#save();
    return true;
  }

  /** Passes begin at fixed times of the day: at midnight, when things fall due, among them. */
  async #begin(): Promise<void> {
    const { clock, dayMs } = this.#options;
    const now = clock.now();
    const slot = (ms: number) => Math.floor(ms / passMs(dayMs));
    const same = this.#beganMs !== undefined && slot(this.#beganMs) === slot(now);
    if (same && !this.#asked) return;
    const listed = await this.#options.work.buckets(undefined);
    const none = listed.names.length === 0 && listed.next === undefined;
    this.#asked = false;
    this.#beganMs = now;
    // Where nobody uses rules there is nothing to walk, to keep or to say.
    if (none && this.#finishedMs === undefined) return;
    this.#walking = true;
    this.#rows = 0;
    this.#names = listed.names;
    this.#listed = listed.next === undefined ? undefined : { after: listed.next };
  }

  async #finish(): Promise<void> {
    const { clock, log } = this.#options;
    this.#walking = false;
    this.#finishedMs = clock.now();
    log.debug({ ...this.#counts, rows: this.#rows }, 'lifecycle rules have been applied');
    await this.#save();
  }

  async #nextBucket(): Promise<Walk | undefined> {
    const { work } = this.#options;
    for (;;) {
      const bucket = this.#names.shift();
      if (bucket !== undefined) {
        const ruled = await work.ruled(bucket);
        if (ruled === undefined) continue;
        this.#walk = { bucket, id: ruled.id, place: { part: 'objects' } };
        return this.#walk;
      }
      if (this.#listed === undefined) return undefined;
      const { names, next } = await work.buckets(this.#listed.after);
      this.#names = names;
      this.#listed = next === undefined ? undefined : { after: next };
    }
  }

  /** The rules are read again for every page: a change of them counts from the next one on. */
  async #step(walk: Walk): Promise<void> {
    const { work, clock, dayMs } = this.#options;
    const bucket = await work.ruled(walk.bucket);
    if (bucket === undefined || bucket.id !== walk.id) {
      this.#walk = undefined;
      if (bucket !== undefined) this.#names.unshift(walk.bucket);
      return;
    }
    const { due, rows, next } = await work.page(bucket, walk.place, clock.now());
    const outcomes = await this.#expire(bucket, due);
    this.#rows += rows;
    this.#meter.add(rows);
    if (dayMs === DAY_MS) {
      const cost = rows * Math.max(1, bucket.rules.length / RULES_PER_ROW) + due.length * DUE_ROWS;
      this.#dueAt = clock.monotonic() + (cost * 1000) / ROWS_PER_SECOND;
    }
    // Other rules: the same page again.
    if (outcomes.includes('ruled')) return;
    if (next === undefined) this.#walk = undefined;
    else walk.place = next;
  }

  /** Keys side by side, the versions of one key one after the other. */
  async #expire(bucket: RuledBucket, due: readonly DueItem[]): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    const byKey = Map.groupBy(due, ({ key }) => key);
    await inParallel([...byKey.values()], WIDTH, async (items) => {
      for (const item of items) {
        const outcome = await this.#options.work.expire(bucket, item);
        outcomes.push(outcome);
        this.#count(item, outcome);
      }
    });
    return outcomes;
  }

  #count(item: DueItem, outcome: Outcome): void {
    if (outcome === 'locked') this.#counts.locked += 1;
    else if (outcome === 'marked') this.#counts.marked += 1;
    else if (outcome === 'expired') {
      if (item.kind === 'upload') this.#counts.aborted += 1;
      else if (item.kind === 'noncurrent') this.#counts.noncurrent += 1;
      else this.#counts.expired += 1;
    }
  }

  async #save(): Promise<void> {
    this.#savedAt = this.#options.clock.monotonic();
    await this.#options.rows.putState('lifecycle', {
      beganMs: this.#beganMs ?? null,
      finishedMs: this.#finishedMs ?? null,
      walking: this.#walking,
      bucket: this.#walk?.bucket ?? null,
      id: this.#walk?.id ?? null,
      part: this.#walk?.place.part ?? null,
      after: this.#walk?.place.after ?? null,
    });
  }
}
