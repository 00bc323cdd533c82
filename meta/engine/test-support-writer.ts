/**
 * A process that writes to the store in the folder of its first argument: pairs of rows `aN`, `bN`,
 * 32 commits in flight, and prints every N that was acknowledged. With a second argument it stops
 * after that many; otherwise it is there to be killed.
 */
import { systemClock } from '../../base/clock.ts';
import { STAMP_BYTES } from './kv.ts';
import { openLmdbStore } from './lmdb.ts';

const [folder = '', limit = 'Infinity'] = process.argv.slice(2);
const store = openLmdbStore({
  folder,
  mapSizeBytes: 1024 ** 3,
  watchdogMs: 10_000,
  clock: systemClock,
  floorBytes: 0,
  die: () => process.kill(process.pid, 'SIGKILL'),
});

let next = 1_000_000;
const last = next + Number(limit);

async function write(): Promise<void> {
  while (next < last) {
    const number = next++;
    const id = Buffer.alloc(STAMP_BYTES);
    id.writeUInt32BE(number, 0);
    const value = Buffer.from(String(number));
    const set = ['a', 'b'].map((name) => ({ key: Buffer.from(`${name}${number}`), value }));
    await store.commit({ id, checks: [], set, del: [], add: [] });
    process.stdout.write(`${number}\n`);
  }
}

await Promise.all(Array.from({ length: 32 }, write));
await store.close();
