/**
 * The check of a store that was not closed in order. A damaged LMDB file can end the process that
 * touches it by SIGBUS, so this runs in a child: what happens to that one decides whether the node
 * opens the store at all.
 *
 * Every key of both tables is walked, which touches every page of both trees, and the newest blocks
 * are read and verified. The rest is left to reads and to scrubbing, which verify each block anyway:
 * a start has to take seconds, not as long as reading the disk.
 */
import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Failure } from '../base/failure.ts';
import { decodeRecord, describeKey, inlineContent, verifiedHash } from './block-format.ts';
import { dataFile, openEnvironment } from './block-store.ts';
import type { Environment, Table } from './environment.ts';
import { BLOCK_KEY_BYTES } from './protocol.ts';

export interface CheckReport {
  /** Blocks found. */
  blocks: number;
  /** Blocks read and compared with their checksum. */
  verified: number;
  /** Of those, the ones that did not match; reads answer `corrupt` and repair replaces them. */
  corrupt: number;
  /** Content rows that no record names: records have been lost. */
  stray: number;
  /** A few of the corrupt ones, for the log. */
  examples: string[];
}

export interface CheckOptions {
  /** The environment's folder. */
  folder: string;
  mapSizeBytes: number;
  /** How much content to verify, newest first. */
  verifyBytes: number;
}

const KEYS_PER_STEP = 1000;
/** Newest blocks kept in mind while walking. */
const NEWEST_MAX = 16_384;
const EXAMPLES_MAX = 10;

/* ------------------------------------------------------------------ the check itself */

/** Walks and verifies. `progress` is called every few thousand keys. */
export function checkEnvironment(
  environment: Environment,
  verifyBytes: number,
  progress: (blocks: number) => void,
): CheckReport {
  const report: CheckReport = { blocks: 0, verified: 0, corrupt: 0, stray: 0, examples: [] };
  let newest: Buffer[] = [];
  const contentKeys = allKeys(environment.contents);
  let content = contentKeys.next();
  for (const key of allKeys(environment.blocks)) {
    while (!content.done && content.value.compare(key) < 0) {
      report.stray += 1;
      content = contentKeys.next();
    }
    if (!content.done && content.value.equals(key)) content = contentKeys.next();
    report.blocks += 1;
    if (report.blocks % 50_000 === 0) progress(report.blocks);
    newest.push(key);
    if (newest.length >= 2 * NEWEST_MAX) newest = newestOf(newest);
  }
  while (!content.done) {
    report.stray += 1;
    content = contentKeys.next();
  }
  let bytes = 0;
  const chosen = Number.isFinite(verifyBytes) ? newestOf(newest) : allKeys(environment.blocks);
  for (const key of chosen) {
    if (bytes >= verifyBytes) break;
    const length = soundLength(environment, key);
    report.verified += 1;
    bytes += length ?? 0;
    if (length !== undefined) continue;
    report.corrupt += 1;
    if (report.examples.length < EXAMPLES_MAX) report.examples.push(describeKey(key));
  }
  return report;
}

function* allKeys(table: Table): Generator<Buffer> {
  const end = Buffer.alloc(BLOCK_KEY_BYTES + 1, 0xff);
  let keys = table.keys({ start: Buffer.alloc(1), end, limit: KEYS_PER_STEP });
  for (;;) {
    yield* keys;
    const last = keys.at(-1);
    if (last === undefined || keys.length < KEYS_PER_STEP) return;
    keys = table.keys({ start: last, afterStart: true, end, limit: KEYS_PER_STEP });
  }
}

/** Blob ids grow with time (writer, then sequence), so the greatest are the newest. */
function newestOf(keys: Buffer[]): Buffer[] {
  return keys.sort((a, b) => b.compare(a, 2, a.length, 2, b.length)).slice(0, NEWEST_MAX);
}

/** The block's length when it matches its checksum. */
function soundLength(environment: Environment, key: Buffer): number | undefined {
  const record = environment.blocks.read(key);
  const header = record === undefined ? undefined : decodeRecord(key, record);
  if (record === undefined || header === undefined) return undefined;
  const content = header.apart ? environment.contents.read(key) : inlineContent(record);
  if (content === undefined || verifiedHash(key, header, content) === undefined) return undefined;
  return header.length;
}

/** Touches every page of the metadata journal's trees; with `values` those of its rows, too. */
function checkJournal(environment: Environment, values: boolean): CheckReport {
  const report: CheckReport = { blocks: 0, verified: 0, corrupt: 0, stray: 0, examples: [] };
  for (const table of [environment.blocks, environment.contents]) {
    for (const key of allKeys(table)) {
      report.blocks += 1;
      if (values && table.read(key) !== undefined) report.verified += 1;
    }
  }
  return report;
}

/* ------------------------------------------------------------------ in a child process */

/** `again`: the error says nothing of the store, it may be tried another time. */
type FromChild =
  | { progress: number }
  | { report: CheckReport }
  | { error: string; again?: boolean };

/** How LMDB calls a file that is not as it should be. */
const DAMAGED = /MDB_(CORRUPTED|INVALID|PAGE_NOTFOUND|PAGE_FULL|CURSOR_FULL|VERSION_MISMATCH|BAD_)/;
/** How a process ends that has touched a damaged file. */
const DAMAGED_SIGNALS: readonly string[] = ['SIGBUS', 'SIGSEGV', 'SIGABRT', 'SIGILL', 'SIGFPE'];

/** Whether an error of LMDB means that its file is damaged. */
export function tellsDamage(error: unknown): boolean {
  return error instanceof Error && DAMAGED.test(error.message);
}

/**
 * Runs the check of a block store in a process of its own. Failure `corrupt` when that one dies or
 * cannot open the store: then this process must not open it either.
 */
export async function checkInChild(
  options: CheckOptions,
  progress: (blocks: number) => void,
): Promise<CheckReport> {
  const { report, how } = await runChild('blocks', options, progress);
  if (report !== undefined) return report;
  throw new Failure(
    'corrupt',
    `the store in ${options.folder} is damaged: its check ended with ${how}. ` +
      'Move the folder aside and start with an empty one; the cluster then makes its replicas anew.',
  );
}

/**
 * Likewise for the metadata journal of a node: undefined when it can be opened, else what is wrong
 * with it. Failure `unavailable`: it could not be checked.
 */
export async function checkJournalInChild(
  options: Omit<CheckOptions, 'verifyBytes'>,
): Promise<string | undefined> {
  const all = { ...options, verifyBytes: 0 };
  const { report, how, damaged } = await runChild('journal', all, () => {});
  if (report !== undefined) return undefined;
  if (damaged) return how;
  throw new Failure('unavailable', `the journal in ${options.folder} could not be checked: ${how}`);
}

interface Ended {
  report: CheckReport | undefined;
  how: string;
  damaged: boolean;
}

async function runChild(
  what: 'blocks' | 'journal',
  options: CheckOptions,
  progress: (blocks: number) => void,
): Promise<Ended> {
  const child = spawn(
    process.execPath,
    [
      fileURLToPath(import.meta.url),
      options.folder,
      String(options.mapSizeBytes),
      String(options.verifyBytes),
      what,
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let report: CheckReport | undefined;
  let said: { error: string; again?: boolean } | undefined;
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    const message = parseMessage(line);
    if (message === undefined) return;
    if ('progress' in message) progress(message.progress);
    else if ('report' in message) report = message.report;
    else said = message;
  });
  const linesEnd = new Promise<void>((resolve) => lines.once('close', () => resolve()));
  const end = await new Promise<string>((resolve) => {
    child.once('error', (failure) => resolve(failure.message));
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  await linesEnd;
  const damaged = said === undefined ? DAMAGED_SIGNALS.includes(end) : said.again !== true;
  return { report, how: said?.error ?? end, damaged };
}

function parseMessage(line: string): FromChild | undefined {
  try {
    return JSON.parse(line) as FromChild;
  } catch {
    return undefined;
  }
}

/** The child. Arguments: folder, map size, bytes to verify, what it is. */
async function main(): Promise<void> {
  const [folder = '', mapSize, verify, what] = process.argv.slice(2);
  const say = (message: FromChild): void => {
    process.stdout.write(`${JSON.stringify(message)}\n`);
  };
  // The parent is gone: nobody waits for the result.
  process.stdout.on('error', () => process.exit(1));
  try {
    const environment = openEnvironment({ folder, mapSizeBytes: Number(mapSize) });
    // A file that ends early has lost pages, or never had its last, unused ones: reading all tells.
    const whole = statSync(dataFile(folder)).size >= environment.usage().fileBytes;
    const verifyBytes = whole ? Number(verify) : Number.POSITIVE_INFINITY;
    const report =
      what === 'journal'
        ? checkJournal(environment, !whole)
        : checkEnvironment(environment, verifyBytes, (progress) => say({ progress }));
    await environment.close();
    say({ report });
  } catch (error) {
    const again = !tellsDamage(error);
    say({ error: error instanceof Error ? error.message : String(error), again });
    process.exitCode = 1;
  }
}

if (import.meta.main) await main();
