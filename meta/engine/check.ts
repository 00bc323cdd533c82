/**
 * The check of a store that was not closed in order. A damaged LMDB file can end the process that
 * touches it by SIGBUS, so this runs in a child: what happens to that one decides whether the
 * metadata service opens the store at all.
 *
 * Every row is read, which touches every page in use, up to a bound: a start has to take seconds,
 * however large the store is. Beyond it each kind of row is read from its beginning and its end.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import { type KeyValueStore, KV_LIMITS } from './kv.ts';
import { openLmdbStore } from './lmdb.ts';

export interface CheckOptions {
  /** The environment's folder. */
  folder: string;
  mapSizeBytes: number;
  /** Rows to read at most, more or less. */
  rowsMax: number;
}

/**
 * Runs the check in a process of its own; resolves with the number of rows that were read. Failure
 * `corrupt` when that one dies or cannot read the store: then this process must not open it either.
 */
export async function checkStoreInChild(options: CheckOptions): Promise<number> {
  const { folder, mapSizeBytes, rowsMax } = options;
  const script = fileURLToPath(import.meta.url);
  const args = [script, folder, String(mapSizeBytes), String(rowsMax)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout });
  reader.on('line', (line) => lines.push(line));
  const ended = new Promise<void>((resolve) => reader.once('close', () => resolve()));
  const how = await new Promise<string>((resolve) => {
    child.once('error', (failure) => resolve(failure.message));
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  await ended;
  const rows = /^rows (\d+)$/.exec(lines.at(-1) ?? '')?.[1];
  if (rows !== undefined) return Number(rows);
  throw new Failure(
    'corrupt',
    `the metadata store in ${folder} is damaged: its check ended with ` +
      `${lines.at(-1) ?? how}. Do not delete it: move the folder away and make the store anew ` +
      'from the storage nodes with `ashlar meta rebuild`, or from a backup.',
  );
}

/** Reads the rows of the store; returns how many. */
async function readRows(store: KeyValueStore, total: number, rowsMax: number): Promise<number> {
  if (total <= rowsMax) return await readRange(store, Buffer.alloc(0), END, total + 1, false);
  const share = Math.ceil(rowsMax / 16);
  let seen = 0;
  for (let kind = 0; kind < 0xff; kind++) {
    const [start, end] = [Buffer.from([kind]), Buffer.from([kind + 1])];
    const read = await readRange(store, start, end, share, false);
    seen += read < share ? read : read + (await readRange(store, start, end, share, true));
  }
  return seen;
}

const END = Buffer.alloc(KV_LIMITS.keyBytes, 0xff);

async function readRange(
  store: KeyValueStore,
  first: Buffer,
  last: Buffer,
  rowsMax: number,
  reverse: boolean,
): Promise<number> {
  let [start, end] = [first, last];
  for (let seen = 0; ; ) {
    const page = await store.range({ start, end, limit: KV_LIMITS.rangeRows, reverse });
    seen += page.length;
    const next = page.at(-1)?.key;
    if (next === undefined || seen >= rowsMax) return seen;
    if (reverse) end = next;
    else start = Buffer.concat([next, Buffer.from([0])]);
  }
}

/** The child. Arguments: folder, map size, rows to read. */
async function main(): Promise<void> {
  const [folder = '', mapSize, rowsMax] = process.argv.slice(2);
  // The parent is gone: nobody waits for the result.
  process.stdout.on('error', () => process.exit(1));
  try {
    const store = openLmdbStore({
      folder,
      mapSizeBytes: Number(mapSize),
      watchdogMs: 60_000,
      clock: systemClock,
      die: () => process.kill(process.pid, 'SIGKILL'),
    });
    const { rows } = store.usage();
    const seen = await readRows(store, rows, Number(rowsMax));
    await store.close();
    if (rows <= Number(rowsMax) && seen !== rows)
      throw new Error(`${seen} rows instead of ${rows}`);
    process.stdout.write(`rows ${seen}\n`);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    process.stdout.write(`${text.replaceAll('\n', ' ')}\n`);
    process.exitCode = 1;
  }
}

if (import.meta.main) await main();
