/** The newest records of the journal in memory, for nodes that are a little behind. */
import type { JournalPosition, JournalRecord } from '../../storage-node/protocol.ts';

const TAIL_BYTES_MAX = 32 * 1024 ** 2;

export class Tail {
  #records: JournalRecord[] = [];
  #bytes = 0;
  /** The record before the first one. */
  #base: JournalPosition;

  constructor(base: JournalPosition) {
    this.#base = base;
  }

  get base(): JournalPosition {
    return this.#base;
  }

  get last(): JournalPosition {
    return this.#records.at(-1) ?? this.#base;
  }

  /** Records that come first go when it gets too long, but none after `needed`. */
  push(record: JournalRecord, needed: number): void {
    this.#records.push(record);
    this.#bytes += record.bytes.length;
    let count = 0;
    for (const { bytes, sequence } of this.#records) {
      if (this.#bytes <= TAIL_BYTES_MAX || sequence > needed) break;
      this.#bytes -= bytes.length;
      count += 1;
    }
    if (count > 0) this.#base = this.#records.splice(0, count).at(-1) ?? this.#base;
  }

  /** Undefined: not in memory. */
  checksum(sequence: number): bigint | undefined {
    if (sequence === this.#base.sequence) return this.#base.checksum;
    return this.#records[sequence - this.#base.sequence - 1]?.checksum;
  }

  /** Records from `sequence` on, at least one and about `bytesMax`; undefined: not in memory. */
  from(sequence: number, bytesMax: number): Buffer | undefined {
    const first = sequence - this.#base.sequence - 1;
    if (first < 0) return undefined;
    const found: Buffer[] = [];
    let bytes = 0;
    for (let at = first; at < this.#records.length; at++) {
      const record = this.#records[at];
      if (record === undefined) break;
      bytes += record.bytes.length;
      if (found.length > 0 && bytes > bytesMax) break;
      found.push(record.bytes);
    }
    return found.length === 1 ? found[0] : Buffer.concat(found);
  }

  /** Drops what comes after `sequence`. */
  cut(sequence: number): void {
    while ((this.#records.at(-1)?.sequence ?? 0) > sequence) {
      this.#bytes -= this.#records.pop()?.bytes.length ?? 0;
    }
  }
}
