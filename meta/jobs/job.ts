/**
 * What every background job offers to operators, and the row that makes their word hold over
 * restarts. A job is driven by a loop (`loop.ts`) and says how it gets on.
 */
import type { Clock, Random } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import type { JobStatus } from '../admin-protocol.ts';
import { type KeyValueStore, STAMP_BYTES } from '../engine/kv.ts';
import { RateLimit } from './rate.ts';

export interface Job {
  status(): JobStatus;
  /** Begins a run now, when none is under way; what the job is for, `JobStatus.name` tells. */
  run(): void;
  /** Holds over restarts until `resume`. Resolves when it is stored and no further step begins. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Bytes per second from now on, over restarts; 0 for no limit. Absent: the job moves no bytes. */
  setRate?(bytesPerSecond: number): Promise<void>;
}

/** What operators have said about one job. */
export interface JobSetting {
  paused: boolean;
  /** Bytes per second, 0 for no limit; undefined: as configured. */
  rate: number | undefined;
}

export const NEW_JOB: JobSetting = { paused: false, rate: undefined };

/** `F j name`: beside the other facts of the store (`../cluster/rows.ts`). */
export function jobKey(name: string): Buffer {
  return Buffer.concat([Buffer.from('Fj'), Buffer.from(name)]);
}

/** `F s name`: where a job that walks along everything has come to. */
export function jobStateKey(name: string): Buffer {
  return Buffer.concat([Buffer.from('Fs'), Buffer.from(name)]);
}

const ROW_FORMAT = 1;

export function encodeJobRow(value: object): Buffer {
  return Buffer.concat([Buffer.from([ROW_FORMAT]), Buffer.from(JSON.stringify(value))]);
}

/** Throws Failure `invalid` for a newer format, `corrupt` for what is no such row. */
export function decodeJobRow(name: string, value: Buffer): Record<string, unknown> {
  if ((value[0] ?? 0) > ROW_FORMAT) {
    throw new Failure(
      'invalid',
      `the row of job ${name} has a newer format: start a newer version`,
    );
  }
  try {
    const row: unknown = JSON.parse(value.toString('utf8', 1));
    if (typeof row === 'object' && row !== null) return row as Record<string, unknown>;
  } catch (error) {
    throw new Failure('corrupt', `the row of job ${name} is not readable`, { cause: error });
  }
  throw new Failure('corrupt', `the row of job ${name} is not readable`);
}

/** Small rows of the jobs in the store: the last word counts, whoever says it. */
export class JobRows {
  readonly #store: Pick<KeyValueStore, 'get' | 'commit'>;
  readonly #random: Random;

  constructor(store: Pick<KeyValueStore, 'get' | 'commit'>, random: Random) {
    this.#store = store;
    this.#random = random;
  }

  async setting(name: string): Promise<JobSetting> {
    const row = await this.#read(name, jobKey(name));
    if (row === undefined) return { ...NEW_JOB };
    const rate = row['rate'];
    return { paused: row['paused'] === true, rate: typeof rate === 'number' ? rate : undefined };
  }

  async putSetting(name: string, setting: JobSetting): Promise<void> {
    await this.#write(jobKey(name), setting);
  }

  /** What `putState` kept, or undefined. */
  async state(name: string): Promise<Record<string, unknown> | undefined> {
    return await this.#read(name, jobStateKey(name));
  }

  /** Must be small: it is one row (64 KiB). */
  async putState(name: string, state: object): Promise<void> {
    await this.#write(jobStateKey(name), state);
  }

  async #read(name: string, key: Buffer): Promise<Record<string, unknown> | undefined> {
    const [row] = await this.#store.get([key]);
    return row === null || row === undefined ? undefined : decodeJobRow(name, row.value);
  }

  async #write(key: Buffer, value: object): Promise<void> {
    await this.#store.commit({
      id: this.#random.bytes(STAMP_BYTES),
      checks: [],
      set: [{ key, value: encodeJobRow(value) }],
      del: [],
      add: [],
      reserve: true,
    });
  }
}

/** Pause and rate of one job: in its row, and here for the job to ask at every step. */
export class JobControl {
  readonly #name: string;
  readonly #rows: JobRows;
  #setting: JobSetting = { ...NEW_JOB };

  constructor(name: string, rows: JobRows) {
    this.#name = name;
    this.#rows = rows;
  }

  get paused(): boolean {
    return this.#setting.paused;
  }

  /** As an operator has set it. */
  get rate(): number | undefined {
    return this.#setting.rate;
  }

  /** To be called once, before the job's first step. */
  async load(): Promise<void> {
    this.#setting = await this.#rows.setting(this.#name);
  }

  async change(changes: Partial<JobSetting>): Promise<void> {
    this.#setting = { ...this.#setting, ...changes };
    await this.#rows.putSetting(this.#name, this.#setting);
  }

  pause(): Promise<void> {
    return this.change({ paused: true });
  }

  resume(): Promise<void> {
    return this.change({ paused: false });
  }
}

/** The same for a job that moves bytes: what operators say of its pace reaches `limit` at once. */
export class PacedControl extends JobControl {
  readonly limit: RateLimit;
  readonly #usual: number;

  /** `usual`: bytes per second unless an operator says otherwise; 0 for no limit. */
  constructor(name: string, rows: JobRows, clock: Clock, usual: number) {
    super(name, rows);
    this.limit = new RateLimit(clock, usual);
    this.#usual = usual;
  }

  override async load(): Promise<void> {
    await super.load();
    this.limit.set(this.rate ?? this.#usual);
  }

  async setRate(bytesPerSecond: number): Promise<void> {
    await this.change({ rate: bytesPerSecond });
    this.limit.set(bytesPerSecond);
  }
}
