/**
 * The scrub of the journal: every copy of it on every node that follows is read and verified, its
 * records link by link, its snapshots chunk by chunk. Nobody reads these copies otherwise until they
 * are all that is left.
 *
 * A damaged record is sent again (a node replaces one that is damaged, and only with the one that the
 * next one names), a damaged chunk is copied from another node. What no node has good any more makes a
 * fresh snapshot due at once, which needs neither.
 */
import type { Effects } from '../../base/clock.ts';
import { isFailure, toFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import {
  decodeJournalRecords,
  type JournalNode,
  type JournalState,
  type SnapshotName,
  type StoredSnapshot,
} from '../../storage-node/protocol.ts';
import type { JobStatus } from '../admin-protocol.ts';
import { type Job, type JobRows, PacedControl } from '../jobs/job.ts';
import { Meter } from '../jobs/rate.ts';
import type { MetaJournal } from './journal.ts';
import type { Peer } from './peer.ts';
import { decodeManifest, MANIFEST_INDEX, verifyChunk } from './snapshot-format.ts';
import { nodesSource } from './source.ts';

const NAME = 'journal';
const CALL_TIMEOUT_MS = 20_000;
const PAGE_BYTES = 1024 ** 2;

export interface JournalScrubLimits {
  /** From the end of one pass to the next one, in milliseconds. */
  everyMs: number;
  /** From the start of the service to the first one. */
  firstMs: number;
  bytesPerSecond: number;
}

export const JOURNAL_SCRUB_LIMITS: JournalScrubLimits = {
  everyMs: 3_600_000,
  firstMs: 300_000,
  bytesPerSecond: 16 * 1024 * 1024,
};

export interface JournalScrubOptions {
  journal: Pick<MetaJournal, 'state' | 'claim' | 'live' | 'records' | 'gap'>;
  jobRows: JobRows;
  effects: Effects;
  log: Log;
  limits?: Partial<JournalScrubLimits> | undefined;
}

export class JournalScrub implements Job {
  readonly #options: JournalScrubOptions;
  readonly #limits: JournalScrubLimits;
  readonly #control: PacedControl;
  readonly #meter: Meter;
  readonly #ending = new AbortController();
  #dueAt: number;
  #running = false;
  #finishedMs: number | undefined;
  #problem: string | undefined;
  readonly #counts = {
    records: 0,
    chunks: 0,
    bytes: 0,
    damaged: 0,
    repaired: 0,
    lost: 0,
    unanswered: 0,
  };

  constructor(options: JournalScrubOptions) {
    this.#options = options;
    this.#limits = { ...JOURNAL_SCRUB_LIMITS, ...options.limits };
    const { clock } = options.effects;
    const { bytesPerSecond } = this.#limits;
    this.#control = new PacedControl(NAME, options.jobRows, clock, bytesPerSecond);
    this.#meter = new Meter(clock);
    this.#dueAt = clock.monotonic() + this.#limits.firstMs;
  }

  load(): Promise<void> {
    return this.#control.load();
  }

  status(): JobStatus {
    return {
      name: NAME,
      state: this.#control.paused ? 'paused' : this.#running ? 'running' : 'idle',
      done: this.#counts.bytes,
      total: undefined,
      unit: 'bytes',
      rate: this.#running ? this.#meter.perSecond() : 0,
      etaMs: undefined,
      lastFinishedMs: this.#finishedMs,
      counts: { ...this.#counts },
      problem: this.#problem,
    };
  }

  run(): void {
    this.#dueAt = Number.NEGATIVE_INFINITY;
  }

  pause(): Promise<void> {
    return this.#control.pause();
  }

  resume(): Promise<void> {
    return this.#control.resume();
  }

  setRate(bytesPerSecond: number): Promise<void> {
    return this.#control.setRate(bytesPerSecond);
  }

  /** Before the loop is stopped: a pass under way is given up. */
  end(): void {
    this.#ending.abort();
  }

  /** A pass over all nodes, when one is due. */
  async round(): Promise<void> {
    const { journal, effects, log } = this.#options;
    const { clock } = effects;
    if (this.#control.paused || journal.state !== 'open' || clock.monotonic() < this.#dueAt) return;
    this.#dueAt = clock.monotonic() + this.#limits.everyMs;
    this.#running = true;
    this.#problem = undefined;
    try {
      for (const peer of journal.live()) await this.#node(peer);
      this.#finishedMs = clock.now();
      log.info({ ...this.#counts }, 'the copies of the metadata journal are verified');
    } finally {
      this.#running = false;
    }
  }

  async #node(peer: Peer): Promise<void> {
    try {
      await this.#records(peer);
      for (const snapshot of await peer.journal.snapshots(this.#call())) {
        await this.#snapshot(peer, snapshot);
      }
    } catch (error) {
      if (this.#ending.signal.aborted) throw error;
      this.#counts.unanswered += 1;
      const { message } = toFailure(error);
      this.#problem = `the copy on node ${peer.id} was not verified to its end: ${message}`;
    }
  }

  #call(): { timeoutMs: number; signal: AbortSignal } {
    return { timeoutMs: CALL_TIMEOUT_MS, signal: this.#ending.signal };
  }

  async #spend(bytes: number): Promise<void> {
    this.#counts.bytes += bytes;
    this.#meter.add(bytes);
    await this.#control.limit.take(bytes, this.#ending.signal);
  }

  #damaged(peer: Peer, what: string): void {
    this.#counts.damaged += 1;
    this.#options.log.warn({ node: peer.id, what }, 'a copy of the metadata journal is damaged');
  }

  /** No node has it good any more: a new snapshot is needed, which makes it needless. */
  #lost(peer: Peer, what: string): void {
    const { journal, log } = this.#options;
    this.#counts.lost += 1;
    this.#problem = `${what} on node ${peer.id} is good on no other node: a fresh snapshot is made`;
    log.error({ node: peer.id, what }, 'no node has it good any more: a fresh snapshot is due');
    journal.gap();
  }

  /* ---------------------------------------------------------------- records */

  async #records(peer: Peer): Promise<void> {
    const before = await peer.journal.state(this.#call());
    const missing = await this.#missing(peer.journal, before);
    if (missing.length === 0) return;
    const { base, generation } = await peer.journal.state(this.#call());
    // Opened anew meanwhile: what was dropped is not damaged.
    if (generation !== before.generation) return;
    // From the back: the record after it, when that is good, tells what it has to be.
    for (const sequence of missing.reverse()) {
      if (sequence <= base.sequence) continue;
      this.#damaged(peer, `record ${sequence}`);
      await this.#mendRecord(peer, sequence);
    }
  }

  /** Sequences whose record is not there, not readable, or not the one that the next one follows. */
  async #missing(node: JournalNode, { base, last }: JournalState): Promise<number[]> {
    const good = new Map<number, { checksum: bigint; previous: bigint }>();
    for (let from: number | undefined = base.sequence + 1; from !== undefined; ) {
      if (from > last.sequence) break;
      const query: { from: number; bytesMax: number } = { from, bytesMax: PAGE_BYTES };
      const page = await node.read(query, this.#call());
      for (const { sequence, checksum, previous } of decodeJournalRecords(page.records)) {
        if (sequence > last.sequence) break;
        good.set(sequence, { checksum, previous });
        this.#counts.records += 1;
      }
      await this.#spend(page.records.length);
      from = page.next;
    }
    const missing: number[] = [];
    let follows: bigint | undefined = last.checksum;
    for (let sequence = last.sequence; sequence > base.sequence; sequence--) {
      const record = good.get(sequence);
      if (record === undefined || (follows !== undefined && record.checksum !== follows)) {
        missing.unshift(sequence);
      }
      follows = record?.previous;
    }
    return missing;
  }

  async #mendRecord(peer: Peer, sequence: number): Promise<void> {
    const { journal } = this.#options;
    const found = await journal.records(sequence, 1);
    const [record] = found === undefined ? [] : decodeJournalRecords(found);
    if (record?.sequence !== sequence) {
      this.#lost(peer, `record ${sequence} of the metadata journal`);
      return;
    }
    await peer.journal.append({ claim: journal.claim, records: record.bytes }, this.#call());
    const query = { from: sequence, bytesMax: 1 };
    const { records } = await peer.journal.read(query, this.#call());
    const [now] = decodeJournalRecords(records);
    if (now?.checksum === record.checksum) this.#counts.repaired += 1;
    else this.#lost(peer, `record ${sequence} of the metadata journal`);
  }

  /* ---------------------------------------------------------------- snapshots */

  async #snapshot(peer: Peer, { chunks, ...name }: StoredSnapshot): Promise<void> {
    // Without its manifest it is being written, or what is left of one.
    if (!chunks.includes(MANIFEST_INDEX)) return;
    const manifest = await this.#chunk(peer, { ...name }, MANIFEST_INDEX);
    if (manifest === undefined) return;
    const { chunks: count } = decodeManifest(name, manifest);
    for (let index = 0; index < count; index++) await this.#chunk(peer, { ...name }, index);
  }

  /** Reads and verifies a chunk, and replaces it when it is damaged. Undefined: it is gone, or lost. */
  async #chunk(peer: Peer, snapshot: SnapshotName, index: number): Promise<Buffer | undefined> {
    const { journal } = this.#options;
    try {
      const bytes = await peer.journal.chunk({ snapshot, index }, this.#call());
      this.#counts.chunks += 1;
      await this.#spend(bytes.length);
      verifyChunk(snapshot, index, bytes);
      return bytes;
    } catch (error) {
      if (!isFailure(error, 'corrupt', 'not-found')) throw error;
    }
    // Dropped meanwhile: it is an old one.
    const present = await peer.journal.snapshots(this.#call());
    if (!present.some((one) => sameName(one, snapshot) && one.chunks.includes(MANIFEST_INDEX))) {
      return undefined;
    }
    const what = `chunk ${index} of the snapshot at ${snapshot.sequence}`;
    this.#damaged(peer, what);
    const others = journal.live().filter(({ id }) => id !== peer.id);
    try {
      const bytes = await nodesSource(others).chunk(snapshot, index);
      await peer.journal.putChunk({ claim: journal.claim, snapshot, index, bytes }, this.#call());
      this.#counts.repaired += 1;
      return bytes;
    } catch (error) {
      if (!isFailure(error, 'corrupt')) throw error;
      this.#lost(peer, what);
      return undefined;
    }
  }
}

const sameName = (one: SnapshotName, other: SnapshotName): boolean =>
  one.sequence === other.sequence && one.generation === other.generation;
