/**
 * Appending: records get their place in the line, stay in memory for the nodes, and count when two
 * nodes have them (`sync`), or at once (`async`). What the line is, and when it is open, is decided in
 * `journal.ts`.
 */
import type { Clock, Timer } from '../../base/clock.ts';
import type { Failure } from '../../base/failure.ts';
import {
  decodeJournalRecords,
  encodeJournalRecord,
  type JournalPosition,
} from '../../storage-node/protocol.ts';
import type { Write } from '../engine/group-commit.ts';
import { CALL_TIMEOUT_MS, type Peer } from './peer.ts';
import { encodeRows } from './rows.ts';
import { Tail } from './tail.ts';

/** Nodes that must have a record. */
export const COPIES = 2;

export interface AppenderOptions {
  mode: 'sync' | 'async';
  clock: Clock;
  /** Longest wait for two nodes to have a record, in milliseconds. */
  ackMs: number;
  /** Peers that follow. */
  live: () => Peer[];
  /** Of the present opening. */
  generation: () => number;
  /** A record was not on two nodes in time: its waiter is to be failed. */
  late: () => void;
}

interface Waiter {
  sequence: number;
  resolve: () => void;
  reject: (failure: Failure) => void;
  timer: Timer;
}

export class Appender {
  readonly #options: AppenderOptions;
  #tail = new Tail({ sequence: 0, checksum: 0n });
  #settled: JournalPosition = { sequence: 0, checksum: 0n };
  #waiter: Waiter | undefined;
  /** Of the records on the nodes, more or less, and what they begin after. */
  #bytes = 0;
  #first = 0;
  /** The oldest place from which everything is known: a snapshot. */
  floor: JournalPosition | undefined;

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  /** The newest record. */
  get head(): JournalPosition {
    return this.#tail.last;
  }

  /** Newest record that counts: it is, or is about to be, in the store. */
  get settled(): JournalPosition {
    return this.#settled;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Newest record that two nodes or more have. */
  get journaled(): number {
    const acked = this.#options.live().map((peer) => peer.acked);
    return acked.sort((a, b) => b - a)[COPIES - 1] ?? 0;
  }

  /** The line begins, or goes on, after this place; nothing before it is in memory. */
  begin(at: JournalPosition): void {
    this.#settled = at;
    this.#tail = new Tail(at);
  }

  /** Records up to there are in the store. */
  settle(at: JournalPosition): void {
    this.#settled = at;
  }

  /** Gives up what does not count yet. */
  cut(): void {
    this.#tail.cut(this.#settled.sequence);
  }

  /** What the nodes have. */
  measured(bytes: number, first: number): void {
    this.#bytes = bytes;
    this.#first = first;
  }

  /** Records up to `sequence` are gone from the nodes. */
  truncated(sequence: number): void {
    const { sequence: last } = this.head;
    const share = (last - sequence) / Math.max(1, last - this.#first);
    this.#bytes *= Math.min(1, share);
    this.#first = sequence;
  }

  /** Resolves when the record counts. */
  async append(writes: readonly Write[]): Promise<JournalPosition> {
    const { mode, clock, live, generation } = this.#options;
    const { sequence, checksum } = this.head;
    const record = encodeJournalRecord({
      sequence: sequence + 1,
      generation: generation(),
      atMs: clock.now(),
      previous: checksum,
      body: encodeRows(writes),
    });
    this.#bytes += record.bytes.length;
    const peers = live();
    const slowest = Math.min(...peers.map((peer) => peer.acked), sequence);
    this.#tail.push(record, mode === 'sync' ? sequence : slowest);
    const acknowledged = mode === 'sync' ? this.#acknowledgement(record.sequence) : undefined;
    for (const peer of peers) peer.wake();
    await acknowledged;
    this.#settled = { sequence: record.sequence, checksum: record.checksum };
    return this.#settled;
  }

  #acknowledgement(sequence: number): Promise<void> {
    const { clock, ackMs, late } = this.#options;
    return new Promise((resolve, reject) => {
      const timer = clock.after(ackMs, late);
      this.#waiter = { sequence, resolve, reject, timer };
    });
  }

  acknowledged(): void {
    const waiter = this.#waiter;
    if (waiter === undefined || this.journaled < waiter.sequence) return;
    this.#waiter = undefined;
    waiter.timer.cancel();
    waiter.resolve();
  }

  /** Whoever waits for a record to count is told this. */
  fail(failure: Failure): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.timer.cancel();
    waiter?.reject(failure);
  }

  /** See `PeerSource`. */
  async checksum(sequence: number): Promise<bigint | undefined> {
    const known = this.#tail.checksum(sequence);
    if (known !== undefined) return known;
    if (sequence === this.floor?.sequence) return this.floor.checksum;
    for (const peer of this.#sourcesOf(sequence)) {
      const [record] = decodeJournalRecords(await readFrom(peer, sequence, 1));
      if (record?.sequence === sequence) return record.checksum;
    }
    return undefined;
  }

  /** See `PeerSource`. */
  async records(sequence: number, bytesMax: number): Promise<Buffer | undefined> {
    const known = this.#tail.from(sequence, bytesMax);
    if (known !== undefined) return known;
    for (const peer of this.#sourcesOf(sequence)) {
      const records = decodeJournalRecords(await readFrom(peer, sequence, bytesMax));
      const gapless = records.filter((record, index) => record.sequence === sequence + index);
      if (gapless.length > 0) return Buffer.concat(gapless.map(({ bytes }) => bytes));
    }
    return undefined;
  }

  #sourcesOf(sequence: number): Peer[] {
    const live = this.#options.live();
    return live.filter((peer) => peer.base < sequence && peer.acked >= sequence);
  }
}

async function readFrom(peer: Peer, from: number, bytesMax: number): Promise<Buffer> {
  try {
    const query = { from, bytesMax };
    return (await peer.journal.read(query, { timeoutMs: CALL_TIMEOUT_MS })).records;
  } catch {
    return Buffer.alloc(0);
  }
}
