/**
 * The repair queue: replicas that were never written, are missing or are corrupt. One row per blob
 * and node, so that any number of reports of the same fault is one repair. Only blobs that something
 * refers to are repaired.
 */
import { Failure } from '../../base/failure.ts';
import { type BlobId, parseBlobId } from '../../base/ids.ts';
import type { KeyValueStore, Stamp } from '../engine/kv.ts';
import type { Answer, ReplicaReport } from '../protocol.ts';
import { rawCodec, type Draft } from './draft.ts';
import { queueLength } from './garbage.ts';
import { allRepairBounds, blobKey, repairKey, repairOfKey } from './keyspace.ts';
import { repairCodec } from './queue-records.ts';
import { countQueue } from './references.ts';
import { PENDING, type Runner } from './runner.ts';

/** Reports in one commit. */
const REPORT_BATCH = 200;
/** Entries that one commit takes off. */
const DROP_BATCH = 500;

export interface RepairEntry {
  blob: BlobId;
  node: string;
  reason: 'missing' | 'corrupt';
  /** When it was queued. */
  sinceMs: number;
  /** Of the row as it was read: changes with every report of the same replica. */
  stamp: Stamp;
}

export interface RepairPage {
  entries: RepairEntry[];
  /** To go on with; undefined at the end of the queue. */
  next: Buffer | undefined;
}

export interface Repairs {
  /** Queues repairs; repeating a report is harmless, one of an unknown blob is dropped. */
  report(reports: readonly ReplicaReport[]): Promise<void>;
  /** Entries by blob and node, 1 … 1,000 of them; all entries of a blob lie together. */
  next(limit: number, after?: Buffer): Promise<RepairPage>;
  /** Takes entries off; one that was reported again since it was read stays. */
  drop(entries: readonly RepairEntry[]): Promise<void>;
  depth(): Promise<number>;
}

/** Bytes that are wrong are the stronger reason: the replica is there and must be replaced. */
function reportStep(draft: Draft, lane: number, reports: readonly ReplicaReport[]): Answer<null> {
  let read = true;
  for (const { blob, node, reason } of reports) {
    const blobRow = draft.row(blobKey(blob), rawCodec);
    const row = draft.row(repairKey(blob, node), repairCodec);
    if (blobRow === undefined || row === undefined) {
      read = false;
      continue;
    }
    if (blobRow.value === null) continue;
    if (row.value === null) {
      draft.check(blobRow);
      draft.put(row, { reason, sinceMs: draft.nowMs });
      countQueue(draft, { lane }, 'repair', 1);
    } else {
      // Written even when nothing changes: a repair that is under way may have passed this fault.
      draft.put(row, { ...row.value, reason: reason === 'corrupt' ? reason : row.value.reason });
    }
  }
  return read ? { ok: true, value: null } : PENDING;
}

function dropStep(draft: Draft, lane: number, entries: readonly RepairEntry[]): Answer<null> {
  let read = true;
  let dropped = 0;
  for (const { blob, node, stamp } of entries) {
    const row = draft.row(repairKey(blob, node), repairCodec);
    if (row === undefined) read = false;
    else if (row.stamp?.equals(stamp) === true && row.value !== null) {
      draft.remove(row);
      dropped += 1;
    }
  }
  if (!read) return PENDING;
  countQueue(draft, { lane }, 'repair', -dropped);
  return { ok: true, value: null };
}

export function createRepairs(settings: {
  store: KeyValueStore;
  runner: Runner;
  lane: number;
}): Repairs {
  const { store, runner, lane } = settings;
  return {
    async report(reports) {
      for (const { blob } of reports) parseBlobId(blob);
      for (let from = 0; from < reports.length; from += REPORT_BATCH) {
        const batch = reports.slice(from, from + REPORT_BATCH);
        const keys = batch.flatMap(({ blob, node }) => [blobKey(blob), repairKey(blob, node)]);
        const answer = await runner.run(keys, (draft) => reportStep(draft, lane, batch));
        if (!answer.ok) throw new Failure('unavailable', 'the repair queue lost too many races');
      }
    },
    async next(limit, after) {
      const rows = await store.range({ ...allRepairBounds(after), limit });
      const entries = rows.map(({ key, value, stamp }) => ({
        ...repairOfKey(key),
        ...repairCodec.decode(value),
        stamp,
      }));
      return { entries, next: rows.length < limit ? undefined : rows.at(-1)?.key };
    },
    async drop(entries) {
      for (let from = 0; from < entries.length; from += DROP_BATCH) {
        const batch = entries.slice(from, from + DROP_BATCH);
        const keys = batch.map(({ blob, node }) => repairKey(blob, node));
        const answer = await runner.run(keys, (draft) => dropStep(draft, lane, batch));
        if (!answer.ok) throw new Failure('unavailable', 'the repair queue lost too many races');
      }
    },
    depth: () => queueLength(store, 'repair'),
  };
}
