/**
 * The garbage queue: what is referred to no more and waits to be removed, in the order in which it
 * became garbage. A blob's entry is made by the commit that drops its last reference, and taken off
 * by `done` when its blocks are gone. Everything else is taken apart by `expand`, in bounded steps
 * that each commit whole, so that a crash in between costs nothing but the next call.
 *
 * When an entry may be worked on is the caller's decision (DESIGN.md section 6). `blob` and `parts`
 * wait until no read from before the entry runs any more: readers page through part lists, too. A
 * blob's blocks also wait until its sequence is below its writer's mark, or the writer is gone, so
 * that a commit of that blob can never come after its removal.
 */
import { Failure } from '../../base/failure.ts';
import type { BlobId } from '../../base/ids.ts';
import { type KeyValueStore, KV_LIMITS, readCounter } from '../engine/kv.ts';
import { type Answer, EVENT_QUEUES } from '../protocol.ts';
import { isUsed } from './complete.ts';
import { type Draft, rawCodec } from './draft.ts';
import {
  type Bounds,
  completedKey,
  eventBookBounds,
  eventBounds,
  garbageIdOf,
  garbageKeyOf,
  isTimedGarbage,
  justAfter,
  nameOfUpload,
  numberOfPart,
  partBounds,
  partListKey,
  type QueueName,
  queueLengthBounds,
  READY_GARBAGE,
  repairBounds,
  timedGarbage,
  uploadBounds,
} from './keyspace.ts';
import { type Garbage, garbageCodec, repairCodec } from './queue-records.ts';
import { completedCodec, partCodec, partListCodec, partPageCodec, uploadCodec } from './records.ts';
import { countQueue, enqueue, releaseBlob } from './references.ts';
import { PENDING, type Runner, type Step } from './runner.ts';
import { releasePart } from './uploads.ts';

export type GarbageEntry = { id: string } & Garbage;

export interface GarbageQueue {
  /**
   * Entries that are due, oldest first: 1 … 1,000 of them, from after the entry with the id `after`,
   * which need not stand any more.
   */
  next(limit: number, after?: string): Promise<GarbageEntry[]>;
  /**
   * Takes one bounded step on an entry of any kind but `blob`; true when nothing of it is left, and
   * the entry itself is off the queue. Repeating a step is harmless.
   */
  expand(entry: GarbageEntry): Promise<boolean>;
  /** Takes entries off the queue; ids that are not there are no error. */
  done(ids: readonly string[]): Promise<void>;
  /** Entries to be worked on; kept answers, which only wait for their time, are not counted. */
  depth(): Promise<number>;
}

/** Rows that one step of `expand` takes on. Each part row costs up to six operations. */
const STEP_ROWS = 200;
/** Entries that one commit takes off, with the repairs of their blobs. */
const DONE_BATCH = 200;
/** Repair rows of one blob: there are no more nodes than that in a placement group's history. */
const REPAIRS_MAX = 1000;

const DONE: Answer<boolean> = { ok: true, value: true };
const MORE: Answer<boolean> = { ok: true, value: false };

interface GarbageSettings {
  store: KeyValueStore;
  runner: Runner;
  lane: number;
}

/** The length of a queue: the sum of its counters. */
export async function queueLength(store: KeyValueStore, queue: QueueName): Promise<number> {
  const rows = await store.range({ ...queueLengthBounds(queue), limit: KV_LIMITS.rangeRows });
  return rows.reduce((sum, row) => sum + Number(readCounter(row)), 0);
}

/* ------------------------------------------------------------------ steps */

/** Takes an entry off the queue, if it is still there; false while its row has not been read. */
export function leaveQueue(draft: Draft, lane: number, id: string): boolean {
  const key = garbageKeyOf(id);
  const row = draft.row(key, garbageCodec);
  if (row === undefined) return false;
  if (row.value === null) return true;
  draft.remove(row);
  if (!isTimedGarbage(key)) countQueue(draft, { lane }, 'garbage', -1);
  return true;
}

/** Takes one page of an unreferenced part list apart, the last one with its header. */
function expandPartsStep(
  draft: Draft,
  lane: number,
  entry: { id: string; list: string },
): Answer<boolean> {
  const header = draft.row(partListKey(entry.list, 0), partListCodec);
  if (header === undefined) return PENDING;
  if (header.value === null) return leaveQueue(draft, lane, entry.id) ? DONE : PENDING;
  if (header.value.refs > 0) throw new Failure('internal', `part list ${entry.list} is in use`);
  // From the back, so that the header tells what is left.
  const pages = header.value.pages;
  const page = draft.row(partListKey(entry.list, pages.length), partPageCodec);
  if (page === undefined) return PENDING;
  let read = true;
  for (const part of page.value?.parts ?? []) {
    if (part.data !== undefined && !releaseBlob(draft, { lane }, part.data.blob)) read = false;
  }
  if (!read) return PENDING;
  if (page.value !== null) draft.remove(page);
  if (pages.length > 1) {
    draft.put(header, { ...header.value, pages: pages.slice(0, -1) });
    return MORE;
  }
  draft.remove(header);
  return leaveQueue(draft, lane, entry.id) ? DONE : PENDING;
}

/** Removes part rows of an ended upload; the parts that are in no object drop their blobs. */
function expandUploadStep(
  draft: Draft,
  lane: number,
  entry: { id: string; used: Buffer },
  parts: readonly Buffer[],
  last: boolean,
): Answer<boolean> {
  let read = true;
  for (const key of parts) {
    const row = draft.row(key, partCodec);
    if (row === undefined) read = false;
    else if (row.value !== null) {
      const kept = isUsed(entry.used, numberOfPart(key));
      if (kept || releasePart(draft, { lane }, row.value)) draft.remove(row);
      else read = false;
    }
  }
  if (!read) return PENDING;
  if (!last) return MORE;
  return leaveQueue(draft, lane, entry.id) ? DONE : PENDING;
}

/** Ends open uploads of a deleted bucket. */
function expandBucketStep(
  draft: Draft,
  lane: number,
  entry: { id: string },
  uploads: readonly Buffer[],
  last: boolean,
): Answer<boolean> {
  let read = true;
  for (const key of uploads) {
    const row = draft.row(key, uploadCodec);
    if (row === undefined) read = false;
    else if (row.value !== null) {
      draft.remove(row);
      const { uploadId } = nameOfUpload(key);
      enqueue(draft, { lane }, { kind: 'upload', uploadId, used: Buffer.alloc(0) });
    }
  }
  if (!read) return PENDING;
  if (!last) return MORE;
  return leaveQueue(draft, lane, entry.id) ? DONE : PENDING;
}

function dropRowsStep(draft: Draft, keys: readonly Buffer[]): Answer<null> {
  for (const key of keys) {
    const row = draft.row(key, rawCodec);
    if (row === undefined) return PENDING;
    if (row.value !== null) draft.remove(row);
  }
  return { ok: true, value: null };
}

/** Forgets the answer of a completed upload. */
function expandCompletedStep(
  draft: Draft,
  lane: number,
  entry: { id: string; uploadId: string },
): Answer<boolean> {
  const row = draft.row(completedKey(entry.uploadId), completedCodec);
  if (row === undefined) return PENDING;
  if (row.value !== null) draft.remove(row);
  return leaveQueue(draft, lane, entry.id) ? DONE : PENDING;
}

/** Takes entries and the repairs of their blobs off their queues. */
function doneStep(
  draft: Draft,
  lane: number,
  ids: readonly string[],
  repairs: readonly Buffer[],
): Answer<null> {
  let read = true;
  for (const id of ids) if (!leaveQueue(draft, lane, id)) read = false;
  for (const key of repairs) {
    const row = draft.row(key, repairCodec);
    if (row === undefined) read = false;
    else if (row.value !== null) {
      draft.remove(row);
      countQueue(draft, { lane }, 'repair', -1);
    }
  }
  return read ? { ok: true, value: null } : PENDING;
}

/* ------------------------------------------------------------------ with a store */

export function createGarbage({ store, runner, lane }: GarbageSettings): GarbageQueue {
  async function must<T>(keys: readonly Buffer[], step: Step<T>): Promise<T> {
    const answer = await runner.run(keys, step);
    if (answer.ok) return answer.value;
    throw new Failure('unavailable', `the garbage queue lost too many races: ${answer.refusal}`);
  }

  /** One step over the rows of a range: the rows, and whether they are the last. */
  async function overRows(
    bounds: Bounds,
    step: (draft: Draft, keys: readonly Buffer[], last: boolean) => Answer<boolean>,
  ): Promise<boolean> {
    const rows = await store.range({ ...bounds, limit: STEP_ROWS });
    const keys = rows.map((row) => row.key);
    return must(keys, (draft) => step(draft, keys, rows.length < STEP_ROWS));
  }

  async function repairsOf(blobs: readonly BlobId[]): Promise<Buffer[]> {
    const keys: Buffer[] = [];
    for (const blob of blobs) {
      const rows = await store.range({ ...repairBounds(blob), limit: REPAIRS_MAX });
      keys.push(...rows.map((row) => row.key));
    }
    return keys;
  }

  /** Removes rows of a deleted bucket's outbox, counters last; true when none is left. */
  async function dropEvents(bucketId: number): Promise<boolean> {
    const bounds = [
      ...EVENT_QUEUES.map((queue) => eventBounds(queue, bucketId)),
      eventBookBounds(bucketId),
    ];
    for (const { start, end } of bounds) {
      const rows = await store.range({ start, end, limit: STEP_ROWS });
      if (rows.length === 0) continue;
      const keys = rows.map((row) => row.key);
      await must(keys, (draft) => dropRowsStep(draft, keys));
      return false;
    }
    return true;
  }

  return {
    async next(limit, after) {
      const wanted = Math.max(1, Math.min(limit, KV_LIMITS.rangeRows));
      const entries: GarbageEntry[] = [];
      const start = after === undefined ? undefined : justAfter(garbageKeyOf(after));
      for (const bounds of [READY_GARBAGE, timedGarbage(runner.ids.nowMs())]) {
        const from =
          start !== undefined && Buffer.compare(start, bounds.start) > 0 ? start : bounds.start;
        const room = wanted - entries.length;
        if (room === 0 || Buffer.compare(from, bounds.end) >= 0) continue;
        for (const row of await store.range({ start: from, end: bounds.end, limit: room })) {
          entries.push({ id: garbageIdOf(row.key), ...garbageCodec.decode(row.value) });
        }
      }
      return entries;
    },

    async expand(entry) {
      switch (entry.kind) {
        case 'blob':
          throw new Failure('invalid', 'a blob is removed from the nodes, then done');
        case 'parts':
          return must([partListKey(entry.list, 0)], (draft) => expandPartsStep(draft, lane, entry));
        case 'upload':
          return overRows(partBounds(entry.uploadId, -1), (draft, keys, last) =>
            expandUploadStep(draft, lane, entry, keys, last),
          );
        case 'bucket':
          // What its outbox still holds has nobody any more who could want it.
          if (!(await dropEvents(entry.bucketId))) return false;
          return overRows(uploadBounds(entry.bucketId, ''), (draft, keys, last) =>
            expandBucketStep(draft, lane, entry, keys, last),
          );
        case 'completed':
          return must([completedKey(entry.uploadId)], (draft) =>
            expandCompletedStep(draft, lane, entry),
          );
      }
    },

    async done(ids) {
      for (let from = 0; from < ids.length; from += DONE_BATCH) {
        const batch = [...new Set(ids.slice(from, from + DONE_BATCH))];
        const keys = batch.map(garbageKeyOf);
        // Mostly nothing waits for repair, and then nothing has to be looked for.
        const repairing = (await queueLength(store, 'repair')) > 0;
        const repairs = repairing ? await repairsOf(await blobsOf(store, keys)) : [];
        await must([...keys, ...repairs], (draft) => doneStep(draft, lane, batch, repairs));
      }
    },

    depth: () => queueLength(store, 'garbage'),
  };
}

/** The blobs among entries of the queue. */
async function blobsOf(store: KeyValueStore, keys: readonly Buffer[]): Promise<BlobId[]> {
  const blobs: BlobId[] = [];
  for (const entry of await store.get(keys)) {
    if (entry === null) continue;
    const garbage = garbageCodec.decode(entry.value);
    if (garbage.kind === 'blob') blobs.push(garbage.blob);
  }
  return blobs;
}
