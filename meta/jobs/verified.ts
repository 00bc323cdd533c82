/** When each node's replicas of each placement group were last read and found right, or reported. */
import type { JobRows } from './job.ts';

/** Groups in one row: seconds since the epoch as u32, in base64. */
const CHUNK_GROUPS = 8192;

export class VerifiedTimes {
  readonly #rows: JobRows;
  /** Seconds since the epoch, 0 for never. */
  readonly #nodes = new Map<string, Uint32Array>();
  readonly #changed = new Set<string>();

  constructor(rows: JobRows) {
    this.#rows = rows;
  }

  /** Reads what is stored of `node`. */
  async load(node: string, groups: number): Promise<void> {
    const seconds = new Uint32Array(groups);
    for (let from = 0; from < groups; from += CHUNK_GROUPS) {
      const row = await this.#rows.state(rowName(node, from));
      if (typeof row?.['seconds'] !== 'string') continue;
      const bytes = Buffer.from(row['seconds'], 'base64');
      for (let index = 0; index * 4 + 4 <= bytes.length && from + index < groups; index++) {
        seconds[from + index] = bytes.readUInt32LE(index * 4);
      }
    }
    this.#nodes.set(node, seconds);
  }

  has(node: string): boolean {
    return this.#nodes.has(node);
  }

  /** Milliseconds since the epoch; undefined: never, or not known. */
  at(node: string, group: number): number | undefined {
    const seconds = this.#nodes.get(node)?.[group] ?? 0;
    return seconds === 0 ? undefined : seconds * 1000;
  }

  set(node: string, group: number, atMs: number): void {
    const seconds = this.#nodes.get(node);
    if (seconds === undefined) return;
    seconds[group] = Math.floor(atMs / 1000);
    this.#changed.add(node);
  }

  async save(): Promise<void> {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const node of changed) {
      const seconds = this.#nodes.get(node) ?? new Uint32Array(0);
      for (let from = 0; from < seconds.length; from += CHUNK_GROUPS) {
        const part = seconds.subarray(from, from + CHUNK_GROUPS);
        const bytes = Buffer.alloc(part.length * 4);
        for (const [index, second] of part.entries()) bytes.writeUInt32LE(second, index * 4);
        await this.#rows.putState(rowName(node, from), { seconds: bytes.toString('base64') });
      }
    }
  }
}

const rowName = (node: string, from: number): string => `verified ${node} ${from}`;
