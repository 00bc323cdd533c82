/** A walk along the repair queue that picks the blobs of one kind, a bounded piece at a time. */
import type { BlobId } from '../../base/ids.ts';
import type { RepairEntry, Repairs } from '../catalogue/catalogue.ts';

const PAGE_ROWS = 1000;

/** The entries of one blob. */
export interface BlobRepairs {
  blob: BlobId;
  entries: RepairEntry[];
}

export class RepairWalk {
  readonly #repairs: Pick<Repairs, 'next'>;
  readonly #wanted: (entries: readonly RepairEntry[]) => boolean;
  #after: Buffer | undefined;
  #ended = false;
  /** The last blob of a page may go on in the next one. */
  #open: RepairEntry[] = [];
  /** Picked in a page that held more than there was room for. */
  #surplus: BlobRepairs[] = [];
  #matched = 0;
  #matchedBefore = 0;

  /** `wanted` sees all entries of a blob, also those that cannot be worked on now. */
  constructor(
    repairs: Pick<Repairs, 'next'>,
    wanted: (entries: readonly RepairEntry[]) => boolean,
  ) {
    this.#repairs = repairs;
    this.#wanted = wanted;
  }

  get ended(): boolean {
    return this.#ended && this.#surplus.length === 0;
  }

  /** Blobs of the kind that the walk met; until it has ended, at least those of the one before. */
  get matched(): number {
    return this.#ended ? this.#matched : Math.max(this.#matched, this.#matchedBefore);
  }

  restart(): void {
    this.#matchedBefore = this.matched;
    this.#after = undefined;
    this.#ended = false;
    this.#open = [];
    this.#surplus = [];
    this.#matched = 0;
  }

  /** Up to `room` blobs with entries that are `workable`, from up to `pages` pages. */
  async take(
    room: number,
    pages: number,
    workable: (entry: RepairEntry) => boolean,
  ): Promise<BlobRepairs[]> {
    for (let page = 0; page < pages && this.#surplus.length < room && !this.#ended; page++) {
      const { entries, next } = await this.#repairs.next(PAGE_ROWS, this.#after);
      for (const entry of entries) {
        if (this.#open[0] !== undefined && this.#open[0].blob !== entry.blob) this.#pick(workable);
        this.#open.push(entry);
      }
      this.#after = next;
      if (next !== undefined) continue;
      this.#pick(workable);
      this.#ended = true;
    }
    return this.#surplus.splice(0, room);
  }

  #pick(workable: (entry: RepairEntry) => boolean): void {
    const [first] = this.#open;
    if (first !== undefined && this.#wanted(this.#open)) {
      this.#matched += 1;
      const entries = this.#open.filter(workable);
      if (entries.length > 0) this.#surplus.push({ blob: first.blob, entries });
    }
    this.#open = [];
  }
}
