/** A store made anew from snapshots and records, in an empty folder. */
import type { Effects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import type { JournalPosition } from '../../storage-node/protocol.ts';
import {
  BOOT_KEY,
  decodeCount,
  decodeFacts,
  decodeNode,
  encodeCount,
  FACTS_KEY,
  NEXT_WRITER_KEY,
} from '../cluster/rows.ts';
import { openMetaFolder } from '../engine/folder.ts';
import { type Entry, STAMP_BYTES } from '../engine/kv.ts';
import type { Write } from '../engine/group-commit.ts';
import { openLmdbStore } from '../engine/lmdb.ts';
import { type JournaledStore, OPENINGS_PER_BOOT } from './recovery.ts';
import { decodeRows, positionRow } from './rows.ts';
import { decodeChunk, type Manifest } from './snapshot-format.ts';
import { choose, type Chosen, chunksOf, endOf, type JournalSource } from './source.ts';

export interface RestoreOptions {
  /** Of the new store; must not hold one. */
  folder: string;
  mapSizeBytes: number;
  effects: Effects;
  /** Leaves out what was committed later, in milliseconds since the epoch. */
  untilMs?: number | undefined;
  /** The highest generation of the journal that is known; the next start must be above it. */
  generation: number;
  /** Starts of the service that nobody knows of are assumed to be fewer than this. */
  startsSkipped: number;
  /**
   * The records that the nodes have beyond this store are not to be applied to it: it goes back in
   * time, or is not made from the nodes.
   */
  newLine: boolean;
  /** For people. */
  progress?: ((rows: number, total: number) => void) | undefined;
}

export interface Restored {
  clusterId: string;
  /** The last record that is in the store. */
  sequence: number;
  /** When that was written, or when the snapshot was complete. */
  atMs: number;
  snapshot: number;
  /** Records applied on top of it. */
  records: number;
  /** Newer records that were found and are of no use: others before them are missing. */
  cutOff: number;
  /** The cluster's storage nodes, by the restored store. */
  nodes: string[];
  rows: number;
  objects: number;
  buckets: number;
}

/**
 * Failures: `conflict` (the folder holds a store), `not-found`, `corrupt` (see `choose`), `invalid`
 * (written by a newer version). What was begun in the folder stays there when it fails.
 */
export async function restoreStore(
  source: JournalSource,
  options: RestoreOptions,
): Promise<Restored> {
  const chosen = await choose(source, options.untilMs);
  const folder = openMetaFolder(options.folder);
  let clean = false;
  try {
    const store = openLmdbStore({
      folder: folder.store,
      mapSizeBytes: options.mapSizeBytes,
      watchdogMs: 60_000,
      clock: options.effects.clock,
      die: (reason, cause) => {
        throw new Failure('internal', reason, { cause });
      },
    });
    if (store.usage().rows > 0) {
      await store.close();
      throw new Failure(
        'conflict',
        `${options.folder} holds a metadata store already: nothing is overwritten. ` +
          'Name an empty folder, or move that one away.',
      );
    }
    folder.opened();
    const restored = await fillStore(source, chosen, store, options);
    folder.belongsTo(restored.clusterId);
    await store.close();
    clean = true;
    return restored;
  } finally {
    folder.release({ clean });
  }
}

/** Writes everything to a store that is empty. Failures as those of `restoreStore`. */
export async function fillStore(
  source: JournalSource,
  { manifest, chain, cutOff }: Chosen,
  store: JournaledStore,
  options: Omit<RestoreOptions, 'folder' | 'mapSizeBytes'>,
): Promise<Restored> {
  await writeSnapshot(source, manifest, store, options.progress);
  for (const record of chain) await store.applyRaw(decodeRows(record.body));
  const end = endOf(manifest, chain);
  const generation = Math.max(
    options.generation,
    manifest.generation,
    ...chain.map((r) => r.generation),
  );
  const boot = Math.floor(generation / OPENINGS_PER_BOOT) + options.startsSkipped;
  const skipped = options.effects.random.bytes(4).readUInt32BE();
  await writeOwnRows(store, boot, skipped, options.newLine ? undefined : end);
  const counts = await verifyRows(store, manifest.clusterId);
  return {
    clusterId: manifest.clusterId,
    sequence: end.sequence,
    atMs: chain.at(-1)?.atMs ?? manifest.atMs,
    snapshot: manifest.sequence,
    records: chain.length,
    cutOff,
    ...counts,
  };
}

async function writeSnapshot(
  source: JournalSource,
  manifest: Manifest,
  store: JournaledStore,
  progress: RestoreOptions['progress'],
): Promise<void> {
  let done = 0;
  for await (const { index, bytes } of chunksOf(source, manifest)) {
    const rows = await decodeChunk(manifest, index, bytes);
    await store.applyRaw(rows);
    done += rows.length;
    progress?.(done, manifest.rows);
  }
  if (done !== manifest.rows) {
    throw new Failure('corrupt', `the snapshot has ${done} rows instead of ${manifest.rows}`);
  }
}

/**
 * The next start of the service is above every start that the nodes have seen, and goes on with the
 * journal at `end`, or begins a new line. Ids of writers that may have been given without a trace in
 * what is left must not be given again, nor those of another store that was made from the same: a
 * random number of them is skipped.
 */
async function writeOwnRows(
  store: JournaledStore,
  lowestBoot: number,
  writersSkipped: number,
  end: JournalPosition | undefined,
): Promise<void> {
  const [boot, writer] = await store.get([BOOT_KEY, NEXT_WRITER_KEY]);
  const starts = Math.max(decodeCount(boot ?? null), lowestBoot);
  const next = decodeCount(writer ?? null) + writersSkipped;
  const rows: Write[] = [
    { key: BOOT_KEY, stored: storedRow(boot ?? null, encodeCount(starts)) },
    { key: NEXT_WRITER_KEY, stored: storedRow(writer ?? null, encodeCount(next)) },
  ];
  if (end !== undefined) rows.push(positionRow(end));
  await store.applyRaw(rows);
}

const storedRow = (before: Entry | null, value: Buffer): Buffer =>
  Buffer.concat([before?.stamp ?? Buffer.alloc(STAMP_BYTES), value]);

const OBJECT_KIND = 0x6f;
const BUCKET_KIND = 0x42;
const NODE_KIND = 0x4e;

/** Reads every row back, whose checksum is looked at on the way. */
async function verifyRows(
  store: JournaledStore,
  clusterId: string,
): Promise<Pick<Restored, 'rows' | 'objects' | 'buckets' | 'nodes'>> {
  const [facts] = await store.get([FACTS_KEY]);
  if (!facts || decodeFacts(facts.value).clusterId !== clusterId) {
    throw new Failure('corrupt', 'what was restored is not the store of that cluster');
  }
  const counts = { rows: 0, objects: 0, buckets: 0, nodes: new Array<string>() };
  const end = Buffer.alloc(2200, 0xff);
  for (let start: Buffer = Buffer.alloc(0); ; ) {
    const page = await store.range({ start, end, limit: 1000 });
    for (const { key, value } of page) {
      if (key[0] === NODE_KIND && decodeNode(value).removal !== 'gone') {
        counts.nodes.push(key.toString('utf8', 1));
      }
      counts.rows += 1;
      if (key[0] === OBJECT_KIND) counts.objects += 1;
      if (key[0] === BUCKET_KIND && key[1] !== 0) counts.buckets += 1;
    }
    const last = page.at(-1);
    if (last === undefined || page.length < 1000) return counts;
    start = Buffer.concat([last.key, Buffer.from([0])]);
  }
}
