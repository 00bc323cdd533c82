/**
 * Writer leases, as pure state. The row in the store says that a lease stands; what a gateway reports
 * with its renewals (the marks) and when it last did is kept here, in memory only. Time is monotonic
 * milliseconds of this process, and durations only: no clock is compared with another machine's.
 *
 * A lease ends in two steps. First it is `ending`: nothing is renewed any more, but its marks still
 * hold, because commits under it can still succeed. Only when its row is deleted (the fence) is it
 * forgotten. After a restart of the metadata service the leases whose rows stand get a whole new time
 * to live, and their marks are unknown until the first renewal; what depends on marks waits.
 */
import type { BlobId } from '../../base/ids.ts';
import { sequenceOf, writerOf } from '../../base/ids.ts';
import type { WriterMarks } from '../protocol.ts';

interface Lease {
  name: string;
  renewedAt: number;
  marks: WriterMarks | undefined;
  ending: boolean;
}

export class Leases {
  readonly #ttlMs: number;
  readonly #leases = new Map<number, Lease>();

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
  }

  /** Leases whose rows stand. */
  get count(): number {
    return this.#leases.size;
  }

  /** A lease whose row is committed: a new one, or one from before a restart. */
  opened(writer: number, name: string, nowMs: number): void {
    this.#leases.set(writer, { name, renewedAt: nowMs, marks: undefined, ending: false });
  }

  /** False: there is no such lease, or it is ending. */
  renew(writer: number, marks: WriterMarks, nowMs: number): boolean {
    const lease = this.#leases.get(writer);
    if (lease === undefined || lease.ending) return false;
    lease.renewedAt = nowMs;
    lease.marks = marks;
    return true;
  }

  /** No renewal from now on. False: there is no such lease. */
  end(writer: number): boolean {
    const lease = this.#leases.get(writer);
    if (lease !== undefined) lease.ending = true;
    return lease !== undefined;
  }

  /** Its row is gone. */
  forget(writer: number): void {
    this.#leases.delete(writer);
  }

  /** Marks all that were not renewed in time as ending; returns every lease that is ending. */
  expire(nowMs: number): { writer: number; name: string }[] {
    const ending: { writer: number; name: string }[] = [];
    for (const [writer, lease] of this.#leases) {
      if (nowMs - lease.renewedAt >= this.#ttlMs) lease.ending = true;
      if (lease.ending) ending.push({ writer, name: lease.name });
    }
    return ending;
  }

  /** This process stood still for `ms`: renewals that came meanwhile are yet to be read. */
  forgive(ms: number): void {
    for (const lease of this.#leases.values()) lease.renewedAt += ms;
  }

  /**
   * Every read that runs under a lease began its metadata read at this read epoch or later.
   * Undefined: nobody can tell yet. Infinity: there are no leases.
   */
  oldestRead(): number | undefined {
    return this.#least((marks) => marks.oldestRead);
  }

  /** The oldest layout epoch that a gateway still uses; see `oldestRead`. */
  oldestLayout(): number | undefined {
    return this.#least((marks) => marks.oldestLayout);
  }

  /** Whether no commit of this blob by its writer can come any more. */
  isSettled(blob: BlobId): boolean {
    const lease = this.#leases.get(writerOf(blob));
    if (lease === undefined) return true;
    return lease.marks !== undefined && sequenceOf(blob) < lease.marks.lowestSequence;
  }

  #least(mark: (marks: WriterMarks) => number): number | undefined {
    let least = Number.POSITIVE_INFINITY;
    for (const { marks } of this.#leases.values()) {
      if (marks === undefined) return undefined;
      least = Math.min(least, mark(marks));
    }
    return least;
  }
}
