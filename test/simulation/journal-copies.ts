/** The copies of the metadata journal on the nodes' disks, looked at and damaged from outside. */
import { isFailure } from '../../base/failure.ts';
import { verifyChunk } from '../../meta/journal/snapshot-format.ts';
import { decodeJournalRecords } from '../../storage-node/protocol.ts';
import type { BlockDisk } from './block-disk.ts';
import type { SeededRandom } from './random.ts';

const RECORD = 'r';
const CHUNK_KEY_BYTES = 20;

/** Flips a bit in a record and in a chunk of a snapshot, where there are any; how many. */
export function rotJournal({ memory }: BlockDisk, random: SeededRandom): number {
  const records = [...memory.blocks.keys()].filter((name) => name.startsWith(RECORD));
  const chunks = [...memory.contents.keys()];
  let rotten = 0;
  for (const [rows, names] of [
    [memory.blocks, records],
    [memory.contents, chunks],
  ] as const) {
    const name = names[random.int(Math.max(1, names.length))];
    const row = name === undefined ? undefined : rows.get(name);
    if (name === undefined || row === undefined) continue;
    const spoiled = Buffer.from(row);
    const at = random.int(spoiled.length);
    spoiled[at] = (spoiled[at] ?? 0) ^ (1 << random.int(8));
    rows.set(name, spoiled);
    rotten += 1;
  }
  return rotten;
}

/** What is damaged on the disk, in words. */
export function damagedCopies({ name: disk, memory }: BlockDisk): string[] {
  const damaged: string[] = [];
  const check = (what: string, verify: () => unknown): void => {
    try {
      verify();
    } catch (error) {
      if (!isFailure(error, 'corrupt', 'invalid')) throw error;
      damaged.push(`a damaged ${what} on ${disk}`);
    }
  };
  for (const [name, row] of memory.blocks) {
    if (name.startsWith(RECORD)) check('record', () => decodeJournalRecords(Buffer.from(row)));
  }
  for (const [name, row] of memory.contents) {
    const key = Buffer.from(name, 'latin1');
    if (key.length !== CHUNK_KEY_BYTES) continue;
    const snapshot = {
      sequence: Number(key.readBigUInt64BE(0)),
      generation: Number(key.readBigUInt64BE(8)),
    };
    check('chunk', () => verifyChunk(snapshot, key.readUInt32BE(16), Buffer.from(row)));
  }
  return damaged;
}
