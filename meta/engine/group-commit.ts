/**
 * Group commit: commits that arrive while a transaction is being made durable are packed into the
 * next one. Their checks are decided here, one after the other, on the committed state and what the
 * commits before them in the same batch have written; the engine then applies the batch as a whole.
 * That is sound because nothing else writes to the store, and one batch is on its way at a time.
 *
 * With a log, a batch goes there first and is applied when the log has it: nothing is visible that
 * could be lost with this disk. (The next batch could go to the log meanwhile; that was measured to
 * bring nothing at 64 requests in flight, since it makes two small batches of one.)
 */
import type { Clock, Timer } from '../../base/clock.ts';
import { Failure, isFailure, toFailure } from '../../base/failure.ts';
import type { Commit, CommitResult } from './kv.ts';
import { isOver, STAMP_BYTES } from './kv.ts';

/** Commits of one batch. */
const BATCH_COMMITS_MAX = 512;
/** Rows of one batch with what frames them, unless a single commit is larger: a journal record. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
/** Stamp and lengths of a row in a journal record. */
const ROW_OVERHEAD_BYTES = 32;
const COUNTER_BYTES = 8;

/** A row of a batch: stamp ‖ value, or undefined for a row that goes. */
export interface Write {
  key: Uint8Array;
  stored: Buffer | undefined;
}

/** Where batches go before they are applied. */
export interface CommitLog {
  /** Why commits are not taken at present; undefined when they are. */
  refusal(early: boolean): Failure | undefined;
  /**
   * Gets every batch that writes, in order. Resolves when it may be applied, with rows to write along;
   * rejects with the Failure of all commits in it: it is not applied.
   */
  record(writes: readonly Write[], early: boolean): Promise<readonly Write[]>;
}

export interface GroupCommitOptions {
  clock: Clock;
  /** Stamp ‖ value as of the last batch; the bytes are used before the next call. */
  read: (key: Uint8Array) => Uint8Array | undefined;
  /** Applies all writes in one transaction; resolves when it is durable and visible to `read`. */
  write: (writes: Iterable<Write>) => Promise<unknown>;
  /** Longest time for a batch to become durable, in milliseconds. */
  watchdogMs: number;
  /** Called once, with the first failure; after it nothing is acknowledged any more. */
  die: (reason: string, cause?: unknown) => void;
}

interface Waiting {
  commit: Commit;
  /** Rows to be written as they are, without the log: instead of a commit. */
  raw?: readonly Write[] | undefined;
  bytes: number;
  resolve: (result: CommitResult) => void;
  reject: (failure: Failure) => void;
}

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  #queue: Waiting[] = [];
  #batch: Waiting[] = [];
  #log: CommitLog | undefined;
  #pump: Promise<void> | undefined;
  #failed: Failure | undefined;
  #timer: Timer | undefined;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** Set after the first failure. */
  get failed(): Failure | undefined {
    return this.#failed;
  }

  /** `bytes`: keys and values, as `checkCommit` counts them. */
  commit(commit: Commit, bytes: number): Promise<CommitResult> {
    const refusal = this.#failed ?? this.#log?.refusal(commit.early === true);
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#enqueue({ commit, bytes });
  }

  /** Every batch from now on goes to `log` first. To be called before the first commit. */
  useLog(log: CommitLog): void {
    this.#log = log;
  }

  /** Writes rows as they are, in a batch of their own that the log does not see. */
  async applyRaw(rows: readonly Write[]): Promise<void> {
    if (this.#failed !== undefined) throw this.#failed;
    await this.#enqueue({ commit: NO_COMMIT, raw: rows, bytes: 0 });
  }

  #enqueue(entry: Omit<Waiting, 'resolve' | 'reject'>): Promise<CommitResult> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...entry, resolve, reject });
      this.#pump ??= this.#run();
    });
  }

  /** Resolves when everything that was committed so far is settled. */
  async settled(): Promise<void> {
    await this.#pump;
  }

  /** Ends everything: see `die`. What is on its way may have happened or not. */
  fail(reason: string, cause?: unknown): void {
    if (this.#failed !== undefined) return;
    this.#timer?.cancel();
    this.#failed = new Failure('unavailable', `the store has failed: ${reason}`, { cause });
    const unknown = new Failure('unknown-outcome', `the store has failed: ${reason}`, { cause });
    for (const waiting of this.#batch) waiting.reject(unknown);
    for (const waiting of this.#queue) waiting.reject(this.#failed);
    this.#batch = [];
    this.#queue = [];
    this.#options.die(reason, cause);
  }

  async #run(): Promise<void> {
    // What else comes at the same moment goes into the first batch.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      try {
        await this.#runBatch();
      } catch (error) {
        this.fail(`a read for a commit failed: ${messageOf(error)}`, error);
      }
      // Let those who were just answered send their next commit into the next batch.
      await Promise.resolve();
    }
    this.#pump = undefined;
  }

  async #runBatch(): Promise<void> {
    const batch = this.#takeBatch();
    this.#batch = batch;
    const overlay = new Overlay(this.#options.read);
    const outcomes = batch.map(({ commit, raw }) =>
      raw === undefined ? outcomeOf(overlay, commit) : overlay.putAll(raw),
    );
    if (overlay.size > 0) {
      const along = await this.#record(batch, overlay);
      if (along === undefined || this.#failed !== undefined) return;
      overlay.putAll(along);
      if (!(await this.#write(overlay))) return;
    }
    this.#batch = [];
    settle(batch, outcomes);
  }

  /** Rows to write along; undefined: the log does not have the batch, and everybody has been told. */
  async #record(batch: Waiting[], overlay: Overlay): Promise<readonly Write[] | undefined> {
    if (this.#log === undefined || batch[0]?.raw !== undefined) return [];
    try {
      const early = batch.every(({ commit }) => commit.early === true);
      return await this.#log.record([...overlay.writes()], early);
    } catch (error) {
      for (const waiting of batch) waiting.reject(toFailure(error));
      this.#batch = [];
      return undefined;
    }
  }

  #takeBatch(): Waiting[] {
    let bytes = 0;
    let count = 0;
    if (this.#queue[0]?.raw !== undefined) return this.#queue.splice(0, 1);
    for (const waiting of this.#queue) {
      if (waiting.raw !== undefined) break;
      const { set, del, add } = waiting.commit;
      bytes += waiting.bytes + ROW_OVERHEAD_BYTES * (set.length + del.length + add.length);
      if (count > 0 && (bytes > BATCH_BYTES_MAX || count === BATCH_COMMITS_MAX)) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  /** False: the store has failed and every caller has been told. */
  async #write(overlay: Overlay): Promise<boolean> {
    const { clock, watchdogMs } = this.#options;
    this.#timer = clock.after(watchdogMs, () => this.#overdue());
    try {
      await this.#options.write(overlay.writes());
    } catch (error) {
      this.fail(`a commit failed: ${messageOf(error)}`, error);
    }
    this.#timer.cancel();
    return this.#failed === undefined;
  }

  /**
   * The timer may fire because this process itself stood still (stopped, swapped out) while the
   * commit went through: its notice is then right behind in the queue, and gets a moment to arrive.
   */
  #overdue(): void {
    const { clock, watchdogMs } = this.#options;
    this.#timer = clock.after(Math.min(1000, watchdogMs / 10), () => {
      this.fail(`a commit did not settle within ${watchdogMs} ms`);
    });
  }
}

const NO_COMMIT: Commit = { id: Buffer.alloc(STAMP_BYTES), checks: [], set: [], del: [], add: [] };

function settle(batch: readonly Waiting[], outcomes: readonly (CommitResult | Failure)[]): void {
  for (const [index, waiting] of batch.entries()) {
    const outcome = outcomes[index];
    if (outcome instanceof Failure) waiting.reject(outcome);
    else if (outcome !== undefined) waiting.resolve(outcome);
  }
}

/** A row that is damaged fails those who look at it, and nobody else. */
function outcomeOf(overlay: Overlay, commit: Commit): CommitResult | Failure {
  try {
    return decide(overlay, commit);
  } catch (error) {
    if (isFailure(error, 'corrupt')) return error;
    throw error;
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** What the commits of one batch have written so far, over the committed state. */
class Overlay {
  readonly #read: GroupCommitOptions['read'];
  readonly #rows = new Map<string, Write>();

  constructor(read: GroupCommitOptions['read']) {
    this.#read = read;
  }

  get size(): number {
    return this.#rows.size;
  }

  writes(): Iterable<Write> {
    return this.#rows.values();
  }

  /** Undefined: the batch does not write it. */
  find(key: Uint8Array): Write | undefined {
    return this.#rows.size === 0 ? undefined : this.#rows.get(nameOf(key));
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const row = this.find(key);
    return row === undefined ? this.#read(key) : row.stored;
  }

  putAll(rows: readonly Write[]): CommitResult {
    for (const { key, stored } of rows) this.put(key, stored);
    return { committed: true };
  }

  put(key: Uint8Array, stored: Buffer | undefined): void {
    this.#rows.set(nameOf(key), { key, stored });
  }
}

function nameOf(key: Uint8Array): string {
  const bytes = Buffer.isBuffer(key) ? key : Buffer.from(key.buffer, key.byteOffset, key.length);
  return bytes.toString('latin1');
}

/** Checks one commit and, when all holds, adds its writes to the overlay. */
function decide(overlay: Overlay, commit: Commit): CommitResult | Failure {
  const { id, checks, set, del, add } = commit;
  let failed: number[] | undefined;
  for (const [index, { key, stamp }] of checks.entries()) {
    const stored = overlay.get(key);
    const holds =
      stamp === null ? stored === undefined : stored !== undefined && hasStamp(stored, stamp);
    if (!holds) failed = [...(failed ?? []), index];
  }
  if (failed !== undefined) return { committed: false, failed };
  for (const one of add) {
    const stored = overlay.get(one.key);
    if (stored !== undefined && stored.length !== STAMP_BYTES + COUNTER_BYTES) {
      return new Failure('invalid', 'an add on a row that is not a counter');
    }
    if (one.max !== undefined && isOver(counterOf(stored), one)) {
      return { committed: false, failed: [], over: true };
    }
  }
  for (const { key, value } of set) {
    const stored = Buffer.allocUnsafe(STAMP_BYTES + value.length);
    stored.set(id, 0);
    stored.set(value, STAMP_BYTES);
    overlay.put(key, stored);
  }
  for (const key of del) overlay.put(key, undefined);
  for (const { key, delta } of add) overlay.put(key, sumOf(id, overlay.get(key), delta));
  return { committed: true };
}

function hasStamp(stored: Uint8Array, stamp: Uint8Array): boolean {
  for (let index = 0; index < STAMP_BYTES; index++) {
    if (stored[index] !== stamp[index]) return false;
  }
  return true;
}

function counterOf(stored: Uint8Array | undefined): bigint {
  if (stored === undefined) return 0n;
  const view = new DataView(stored.buffer, stored.byteOffset, STAMP_BYTES + COUNTER_BYTES);
  return view.getBigInt64(STAMP_BYTES);
}

function sumOf(id: Uint8Array, stored: Uint8Array | undefined, delta: bigint): Buffer {
  const before = counterOf(stored);
  const sum = Buffer.allocUnsafe(STAMP_BYTES + COUNTER_BYTES);
  sum.set(id, 0);
  sum.writeBigInt64BE(BigInt.asIntN(64, before + delta), STAMP_BYTES);
  return sum;
}
