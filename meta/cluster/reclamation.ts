/**
 * When deleted data may be removed, without any clock: reclamation by read epochs. Pure.
 *
 * The metadata service has a read epoch, a number that only grows. Gateways learn it with every
 * renewal of their lease. A gateway tags each read, before the read's first metadata call, with the
 * newest epoch that it knows, and reports with every renewal the tag of its oldest read that still
 * runs (or the newest epoch that it knows, when none does). Both only grow.
 *
 * Deleting commits a garbage entry in the transaction that removes the last reference. Later the
 * entry is admitted here: the epoch grows to E *after* the entry was read from the store, so after
 * its commit. Take any read whose tag is E or more. Its gateway learned E before the read's metadata
 * call, E was made after the deleting commit, so the call saw the deletion and the read cannot
 * refer to the data. When every standing lease has reported an oldest read of E or more, then all
 * reads that run, and all that will ever begin under those leases, are such reads. A lease that is
 * opened later says nothing until its first report, and reports like any other. So the data is
 * unreachable and may be removed.
 *
 * A gateway that is silent holds everything back until its lease has ended; reads that it still runs
 * afterwards may find blocks gone, which they notice (a missing block, never wrong bytes).
 *
 * Restarts: epochs begin with the number of the start (`firstReadEpoch`), so they grow over
 * restarts. Nothing here is stored; entries are read again and admitted again.
 */

/** The first epoch of start number `boot` (1, 2, …). Below 2^53 for two million starts. */
export function firstReadEpoch(boot: number): number {
  return boot * 2 ** 32;
}

export class Reclamation<Entry> {
  #epoch: number;
  /** Ascending by epoch. */
  #waiting: { epoch: number; entries: readonly Entry[] }[] = [];
  #count = 0;

  constructor(firstEpoch: number) {
    this.#epoch = firstEpoch;
  }

  /** What gateways are told from now on. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Entries that wait. */
  get waiting(): number {
    return this.#count;
  }

  /**
   * Begins a new epoch and returns it: every read with this tag or a newer one begins its metadata
   * read later than this call. For those who keep what waits themselves.
   */
  begin(): number {
    this.#epoch += 1;
    return this.#epoch;
  }

  /** Takes in entries whose commits were read from the store, and begins a new epoch after them. */
  admit(entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    this.#count += entries.length;
    this.#waiting.push({ epoch: this.begin(), entries });
  }

  /**
   * Gives out the entries that no read can see. `oldestRead`: the least that any standing lease has
   * reported, Infinity without leases, undefined when one of them has not reported.
   */
  release(oldestRead: number | undefined): Entry[] {
    const free: Entry[] = [];
    if (oldestRead === undefined) return free;
    while (this.#waiting[0] !== undefined && this.#waiting[0].epoch <= oldestRead) {
      free.push(...(this.#waiting.shift()?.entries ?? []));
    }
    this.#count -= free.length;
    return free;
  }
}
