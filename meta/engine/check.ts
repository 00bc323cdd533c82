/**
 * The check of a store that was not closed in order. A damaged LMDB file can end the process that
 * touches it by SIGBUS, so this runs in a child: what happens to that one decides whether the
 * metadata service opens the store at all. Every row is read, which touches every page in use.
 */
import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import { KV_LIMITS } from './kv.ts';
import { openLmdbStore } from './lmdb.ts';

/**
 * Runs the check in a process of its own; resolves with the number of rows. Failure `corrupt` when
 * that one dies or cannot read the store: then this process must not open it either.
 */
export async function checkStoreInChild(options: {
  /** The environment's folder. */
  folder: string;
  mapSizeBytes: number;
}): Promise<number> {
  const script = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, [script, options.folder, String(options.mapSizeBytes)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
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
    `the metadata store in ${options.folder} is damaged: its check ended with ` +
      `${lines.at(-1) ?? how}. Do not delete it: restore it from a backup, or keep it for rescue.`,
  );
}

/** The child. Arguments: folder, map size. */
async function main(): Promise<void> {
  const [folder = '', mapSize] = process.argv.slice(2);
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
    const { fileBytes, rows } = store.usage();
    // LMDB may not have written its last, unused pages: only a much shorter file tells something.
    if (statSync(join(folder, 'data.mdb')).size === 0) throw new Error('the file is empty');
    let seen = 0;
    const end = Buffer.alloc(KV_LIMITS.keyBytes, 0xff);
    for (let start: Buffer = Buffer.alloc(0); ; ) {
      const page = await store.range({ start, end, limit: KV_LIMITS.rangeRows });
      seen += page.length;
      const last = page.at(-1);
      if (last === undefined || page.length < KV_LIMITS.rangeRows) break;
      start = Buffer.concat([last.key, Buffer.from([0])]);
    }
    await store.close();
    if (seen !== rows)
      throw new Error(`${rows} rows expected in ${fileBytes} bytes, ${seen} found`);
    process.stdout.write(`rows ${seen}\n`);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    process.stdout.write(`${text.replaceAll('\n', ' ')}\n`);
    process.exitCode = 1;
  }
}

if (import.meta.main) await main();
