/**
 * What a store has missed: records that the nodes have and it has not, because this process ended
 * between journaling and applying them, or because the disk is an old copy. They are applied, or the
 * store is refused.
 */
import type { Clock } from '../../base/clock.ts';
import { toFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import {
  decodeJournalRecords,
  JOURNAL_BYTES_MAX,
  type JournalNode,
  type JournalPosition,
  type JournalRecord,
  type JournalState,
} from '../../storage-node/protocol.ts';
import type { CommitLog, Write } from '../engine/group-commit.ts';
import type { KeyValueStore } from '../engine/kv.ts';
import { CALL_TIMEOUT_MS } from './peer.ts';
import {
  decodeRows,
  EARLY_KEY,
  POSITION_KEY,
  positionRow,
  readEarly,
  readPosition,
} from './rows.ts';

/** Openings of one start: generations of different starts never meet. */
export const OPENINGS_PER_BOOT: number = 2 ** 24;

export interface JournaledStore extends KeyValueStore {
  useLog(log: CommitLog): void;
  applyRaw(rows: readonly Write[]): Promise<void>;
}

export const nameOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');

/** Start `boot`, a later one, or another one with the same number has claimed this node. */
export function isForeign(
  { generation, token }: JournalState,
  boot: number,
  own: string | undefined,
): boolean {
  return Math.floor(generation / OPENINGS_PER_BOOT) >= boot && token !== own;
}

export interface Source {
  journal: JournalNode;
  state: JournalState;
}

/**
 * Applies the records of `sources` that follow on `from`, the store's place, up to the newest. Rows in
 * `spared` (Latin-1 names of their keys) stay as they are. `fits`: false when what the nodes have does
 * not continue this store.
 */
export async function replay(options: {
  store: JournaledStore;
  from: JournalPosition;
  sources: readonly Source[];
  spared: ReadonlySet<string>;
}): Promise<{ at: JournalPosition; fits: boolean }> {
  const { store, sources, spared } = options;
  let settled = options.from;
  const best = [...sources].sort(
    (a, b) =>
      b.state.lastGeneration - a.state.lastGeneration ||
      b.state.last.sequence - a.state.last.sequence,
  )[0];
  while (best !== undefined && settled.sequence < best.state.last.sequence) {
    let next = await readRecords(best.journal, settled.sequence + 1);
    if (next[0]?.previous !== settled.checksum) {
      next = await recordsTo(best.state.last, settled, sources);
    }
    const rows: Write[] = [];
    let at = settled;
    for (const { sequence, previous, checksum, body } of next) {
      if (sequence !== at.sequence + 1 || previous !== at.checksum) break;
      rows.push(...decodeRows(body).filter(({ key }) => !spared.has(nameOf(key))));
      at = { sequence, checksum };
    }
    if (at === settled) return { at: settled, fits: false };
    await store.applyRaw([...rows, positionRow(at)]);
    settled = at;
  }
  return { at: settled, fits: true };
}

/**
 * The records after `from` up to `end`, from whichever nodes have them: the best one may have been given
 * an empty disk meanwhile, or has lost a record. Nothing, when they begin somewhere else.
 */
async function recordsTo(
  end: JournalPosition,
  from: JournalPosition,
  sources: readonly Source[],
): Promise<JournalRecord[]> {
  const found = new Map<bigint, JournalRecord>();
  for (const { journal } of sources) {
    let next = from.sequence + 1;
    while (next <= end.sequence) {
      const page = await readRecords(journal, next);
      for (const record of page) found.set(record.checksum, record);
      const last = page.at(-1);
      if (last === undefined || last.sequence < next) break;
      next = last.sequence + 1;
    }
  }
  const records: JournalRecord[] = [];
  let { sequence, checksum } = end;
  for (; sequence > from.sequence; sequence--) {
    const record = found.get(checksum);
    if (record?.sequence !== sequence) return [];
    records.unshift(record);
    checksum = record.previous;
  }
  return records;
}

async function readRecords(journal: JournalNode, from: number): Promise<JournalRecord[]> {
  const query = { from, bytesMax: JOURNAL_BYTES_MAX };
  const { records } = await journal.read(query, { timeoutMs: CALL_TIMEOUT_MS });
  return decodeJournalRecords(records);
}

/** How long a start looks for records before anything else; the opening of the journal looks again. */
const CATCH_UP_MS = 1500;

/**
 * After a stop without order, before anything is read from the store: the batch that was on its way
 * when the process ended may be on the nodes and not in the store. Found only when the journal is
 * opened, it would mean another start. Nothing is claimed, and nothing is decided: what cannot be
 * told here, the opening tells. Returns the records applied.
 */
export async function catchUp(options: {
  store: JournaledStore;
  clusterId: string;
  /** Starts of the service that the store knows of. */
  boot: number;
  nodes: readonly { id: string; journal: JournalNode }[];
  clock: Clock;
  log: Log;
}): Promise<number> {
  const { store, clusterId, boot, nodes, clock, log } = options;
  const from = await readPosition(store);
  if (from === undefined || nodes.length === 0) return 0;
  const spared = await readEarly(store);
  const sources = await statesIn(nodes, clock);
  const ours = sources.filter(({ state }) => state.clusterId === clusterId);
  // Of a later start: this disk is an old copy.
  if (ours.some(({ state }) => isForeign(state, boot + 1, undefined))) return 0;
  try {
    const { at } = await replay({ store, from, sources: ours, spared });
    const records = at.sequence - from.sequence;
    if (records > 0) log.info({ records }, 'the store has caught up with the metadata journal');
    return records;
  } catch (error) {
    log.debug({ error: toFailure(error) }, 'the metadata journal could not be read yet');
    return 0;
  }
}

/** Of all nodes but one, as any record of two nodes is on one of those; or of those that answer in time. */
async function statesIn(
  nodes: readonly { id: string; journal: JournalNode }[],
  clock: Clock,
): Promise<Source[]> {
  const found: Source[] = [];
  const enough = Promise.withResolvers<void>();
  const asking = nodes.map(async ({ journal }) => {
    const state = await journal.state({ timeoutMs: CATCH_UP_MS });
    found.push({ journal, state });
    if (found.length >= Math.max(2, nodes.length - 1)) enough.resolve();
  });
  const ending = new AbortController();
  const late = clock.sleep(CATCH_UP_MS, ending.signal).catch(() => {});
  await Promise.race([Promise.allSettled(asking), enough.promise, late]);
  ending.abort();
  return [...found];
}

/** What is committed from now on is not journaled: the store has no place in the journal any more. */
export async function leaveJournal(store: JournaledStore): Promise<void> {
  if ((await readPosition(store)) === undefined) return;
  await store.applyRaw([POSITION_KEY, EARLY_KEY].map((key) => ({ key, stored: undefined })));
}

export const OLD_COPY =
  'the metadata store is not the newest: the storage nodes have been written to by a later start of ' +
  'the metadata service, so this folder is an old copy of its disk. Start the service on the newest ' +
  'disk; if that is lost, make the store anew from the nodes: `ashlar meta rebuild --meta-data FOLDER ' +
  '--node ADDRESS ...` with an empty folder.';
