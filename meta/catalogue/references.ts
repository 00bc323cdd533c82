/**
 * Who refers to what: reference counts of blobs and part lists, and the queue entry that follows
 * when the last reference goes. Pure; every function works on a draft and returns false while a row
 * it needs has not been read.
 */
import { assert, Failure } from '../../base/failure.ts';
import type { BlobId } from '../../base/ids.ts';
import type { BlobRef, DataRef, MissingReplica } from '../protocol.ts';
import type { Draft, Row } from './draft.ts';
import {
  blobKey,
  garbageKey,
  partListKey,
  type QueueName,
  queueLengthKey,
  repairKey,
} from './keyspace.ts';
import { type Garbage, garbageCodec, repairCodec } from './queue-records.ts';
import { blobCodec, type BlobRow, partListCodec } from './records.ts';
import type { Scope } from './usage.ts';

type Lane = Pick<Scope, 'lane'>;

/**
 * Puts an entry on the garbage queue. With `dueMs` it is not due before that time, and not counted:
 * the length of the queue tells what there is to do.
 */
export function enqueue(draft: Draft, { lane }: Lane, garbage: Garbage, dueMs?: number): void {
  const id = draft.ids.stamp(dueMs ?? draft.nowMs);
  draft.insert(garbageKey(id, dueMs !== undefined), garbageCodec, garbage);
  if (dueMs === undefined) countQueue(draft, { lane }, 'garbage', 1);
}

export function countQueue(draft: Draft, { lane }: Lane, queue: QueueName, delta: number): void {
  draft.add(queueLengthKey(queue, lane), delta);
}

/**
 * Records a blob that was just written. Its row must not stand: a commit that is repeated after it
 * happened never refers twice. Throws Failure `conflict` when it stands.
 */
export function addFreshBlob(draft: Draft, blob: BlobRef): boolean {
  const row = draft.row(blobKey(blob.blob), blobCodec);
  if (row === undefined) return false;
  if (row.value !== null) {
    throw new Failure('conflict', `blob ${blob.blob} was committed before, elsewhere`);
  }
  draft.put(row, { size: blob.size, blockSize: blob.blockSize, refs: 1 });
  return true;
}

/** Adds a reference to something that stands and is referred to by a row that the draft checks. */
export function acquire(draft: Draft, data: DataRef): boolean {
  if (data.kind === 'none') return true;
  if (data.kind === 'blob') {
    const row = draft.row(blobKey(data.blob), blobCodec);
    if (row === undefined) return false;
    assert(row.value !== null, `blob ${data.blob} stands while something refers to it`);
    draft.put(row, { ...row.value, refs: row.value.refs + 1 });
    return true;
  }
  const row = draft.row(partListKey(data.list, 0), partListCodec);
  if (row === undefined) return false;
  assert(row.value !== null && row.value.refs > 0, `part list ${data.list} stands`);
  draft.put(row, { ...row.value, refs: row.value.refs + 1 });
  return true;
}

/** Drops a reference. With the last one a blob's row goes, and its bytes become garbage. */
export function release(draft: Draft, lane: Lane, data: DataRef): boolean {
  switch (data.kind) {
    case 'none':
      return true;
    case 'blob':
      return releaseBlob(draft, lane, data.blob);
    case 'parts': {
      const row = draft.row(partListKey(data.list, 0), partListCodec);
      if (row === undefined) return false;
      assert(row.value !== null && row.value.refs > 0, `part list ${data.list} stands`);
      const refs = row.value.refs - 1;
      // The rows stay for readers that page through them until the queue takes the list apart.
      draft.put(row, { ...row.value, refs });
      if (refs === 0) enqueue(draft, lane, { kind: 'parts', list: data.list });
      return true;
    }
  }
}

export function releaseBlob(draft: Draft, lane: Lane, blob: BlobId): boolean {
  const row: Row<BlobRow> | undefined = draft.row(blobKey(blob), blobCodec);
  if (row === undefined) return false;
  assert(row.value !== null, `blob ${blob} stands while something refers to it`);
  const { size, blockSize, refs } = row.value;
  if (refs > 1) {
    draft.put(row, { ...row.value, refs: refs - 1 });
  } else {
    draft.remove(row);
    enqueue(draft, lane, { kind: 'blob', blob, size, blockSize });
  }
  return true;
}

/** Queues the repair of replicas that were not written; one entry per blob and node. */
export function queueMissing(
  draft: Draft,
  lane: Lane,
  missing: readonly MissingReplica[],
): boolean {
  let read = true;
  for (const { blob, node } of missing) {
    const row = draft.row(repairKey(blob, node), repairCodec);
    if (row === undefined) read = false;
    else if (row.value === null) {
      draft.put(row, { reason: 'missing', sinceMs: draft.nowMs });
      countQueue(draft, lane, 'repair', 1);
    }
  }
  return read;
}
