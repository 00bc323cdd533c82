/**
 * Off-site copies of the metadata: a folder per backup, to be copied wherever one likes.
 *
 *   NAME/backup.json        what it is, and the checksum of every other file
 *   NAME/manifest           the snapshot's manifest
 *   NAME/chunk-00000        its chunks
 *   NAME/journal-00000      records after it, in order, a few MiB per file
 *
 * A backup is written under another name and renamed when everything is on stable storage.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { hashBytes } from '../../base/checksum.ts';
import type { Effects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import { decodeJournalRecords, type JournalRecord } from '../../storage-node/protocol.ts';
import type { Backup } from '../admin-protocol.ts';
import { decodeManifest, encodeManifest, type Manifest, verifyChunk } from './snapshot-format.ts';
import { chainFrom, choose, chunksOf, endOf, type JournalSource } from './source.ts';

const FORMAT = 1;
const INDEX_FILE = 'backup.json';
const MANIFEST_FILE = 'manifest';
const JOURNAL_FILE_BYTES = 8 * 1024 ** 2;

const count = z.number().int().min(0);
const indexSchema = z.object({
  format: z.number().int(),
  clusterId: z.string(),
  atMs: count,
  sequence: count,
  generation: count,
  snapshot: z.object({ sequence: count, generation: count }),
  bytes: count,
  files: z.record(z.string(), z.string()),
});
type Index = z.output<typeof indexSchema>;

const fileName = (kind: string, index: number): string =>
  `${kind}-${String(index).padStart(5, '0')}`;

const hashOf = (bytes: Uint8Array): string => hashBytes(bytes).toString(16).padStart(16, '0');

/** Writes a new backup below `folder`. Failures: as `choose`, and what the disk says. */
export async function createBackup(
  source: JournalSource,
  options: { folder: string; effects: Effects },
): Promise<Backup> {
  const { folder, effects } = options;
  const { manifest, chain } = await choose(source);
  const end = endOf(manifest, chain);
  const atMs = effects.clock.now();
  const stamp = new Date(atMs).toISOString().replace(/[-:]|\.\d+/g, '');
  const name = `${stamp}-${end.sequence}`;
  const draft = join(folder, `.${name}.new`);
  if (existsSync(join(folder, name))) throw new Failure('conflict', `${name} is there already`);
  mkdirSync(draft, { recursive: true, mode: 0o700 });
  const files: Record<string, string> = {};
  let total = 0;
  const write = (file: string, bytes: Uint8Array): void => {
    writeDurably(join(draft, file), bytes);
    files[file] = hashOf(bytes);
    total += bytes.length;
  };
  for await (const { index, bytes } of chunksOf(source, manifest)) {
    write(fileName('chunk', index), bytes);
  }
  write(MANIFEST_FILE, encodeManifest(manifest));
  filesOf(chain).forEach((bytes, index) => write(fileName('journal', index), bytes));
  const index: Index = {
    format: FORMAT,
    clusterId: manifest.clusterId,
    atMs,
    sequence: end.sequence,
    generation: Math.max(manifest.generation, chain.at(-1)?.generation ?? 0),
    snapshot: { sequence: manifest.sequence, generation: manifest.generation },
    bytes: total,
    files,
  };
  writeDurably(join(draft, INDEX_FILE), Buffer.from(`${JSON.stringify(index, null, 2)}\n`));
  syncFolder(draft);
  renameSync(draft, join(folder, name));
  syncFolder(folder);
  return { name, atMs, sequence: end.sequence, bytes: total };
}

function filesOf(chain: readonly JournalRecord[]): Buffer[] {
  const files: Buffer[] = [];
  let parts: Buffer[] = [];
  let bytes = 0;
  for (const [index, record] of chain.entries()) {
    parts.push(record.bytes);
    bytes += record.bytes.length;
    if (bytes < JOURNAL_FILE_BYTES && index < chain.length - 1) continue;
    files.push(Buffer.concat(parts));
    parts = [];
    bytes = 0;
  }
  return files;
}

/** The backups below `folder`, newest first. What is not a whole backup is left out. */
export async function listBackups(folder: string): Promise<Backup[]> {
  if (!existsSync(folder)) return [];
  const found: Backup[] = [];
  for (const name of readdirSync(folder)) {
    if (name.startsWith('.') || !existsSync(join(folder, name, INDEX_FILE))) continue;
    const { atMs, sequence, bytes } = await readIndex(join(folder, name));
    found.push({ name, atMs, sequence, bytes });
  }
  return found.sort((a, b) => b.atMs - a.atMs);
}

export interface VerifiedBackup extends Backup {
  clusterId: string;
  generation: number;
  snapshot: number;
  records: number;
  rows: number;
}

/** Reads all of a backup. Failure `corrupt` names the first thing that is wrong. */
export async function verifyBackup(folder: string): Promise<VerifiedBackup> {
  const index = await readIndex(folder);
  for (const [file, hash] of Object.entries(index.files)) {
    const bytes = await readFile(join(folder, file)).catch(() => undefined);
    if (bytes === undefined) throw new Failure('corrupt', `${file} of the backup is missing`);
    if (hashOf(bytes) !== hash) throw new Failure('corrupt', `${file} of the backup is damaged`);
  }
  const source = await backupSource(folder);
  const { manifest, chain } = await choose(source);
  for await (const chunk of chunksOf(source, manifest)) void chunk;
  if (endOf(manifest, chain).sequence !== index.sequence) {
    throw new Failure('corrupt', 'the backup does not reach as far as it says');
  }
  const { atMs, sequence, bytes, clusterId, generation } = index;
  const name = folder.split('/').at(-1) ?? folder;
  const snapshot = manifest.sequence;
  const { rows } = manifest;
  return {
    name,
    atMs,
    sequence,
    bytes,
    clusterId,
    generation,
    snapshot,
    records: chain.length,
    rows,
  };
}

/** The backup as something that a store can be made from. */
export async function backupSource(
  folder: string,
): Promise<JournalSource & { generation: number }> {
  const index = await readIndex(folder);
  const file = (name: string): Promise<Buffer> => readFile(join(folder, name));
  const manifest: Manifest = decodeManifest(index.snapshot, await file(MANIFEST_FILE));
  return {
    generation: index.generation,
    manifests: () => Promise.resolve([manifest]),
    async chunk(snapshot, at) {
      const bytes = await file(fileName('chunk', at));
      verifyChunk(snapshot, at, bytes);
      return bytes;
    },
    async records(sequence) {
      const names = Object.keys(index.files).filter((name) => name.startsWith('journal-'));
      const records: JournalRecord[] = [];
      for (const name of names.sort()) records.push(...decodeJournalRecords(await file(name)));
      return chainFrom(manifest.start, records).filter((record) => record.sequence > sequence);
    },
  };
}

async function readIndex(folder: string): Promise<Index> {
  let text: string;
  try {
    text = await readFile(join(folder, INDEX_FILE), 'utf8');
  } catch (error) {
    throw new Failure('not-found', `there is no backup in ${folder}`, { cause: error });
  }
  let parsed: ReturnType<typeof indexSchema.safeParse>;
  try {
    parsed = indexSchema.safeParse(JSON.parse(text));
  } catch (error) {
    throw new Failure('corrupt', `${folder}/${INDEX_FILE} is not readable`, { cause: error });
  }
  if (!parsed.success) throw new Failure('corrupt', `${folder}/${INDEX_FILE} is not readable`);
  if (parsed.data.format > FORMAT) {
    throw new Failure('invalid', `a newer version wrote the backup in ${folder}: use that one`);
  }
  return parsed.data;
}

function writeDurably(path: string, bytes: Uint8Array): void {
  const file = openSync(path, 'w', 0o600);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
