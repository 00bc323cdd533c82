/**
 * How much is in a bucket: counters that change in the same commit as the objects, so that they are
 * exact, in one lane per metadata server, so that no two servers fight for a row.
 */
import { type KeyValueStore, KV_LIMITS } from '../engine/kv.ts';
import { type BucketUsage, OBJECT_LOCK_CONFIG, type Versioning } from '../protocol.ts';
import type { Draft } from './draft.ts';
import type { EventScope } from './event-scope.ts';
import { usageBounds, usageBoundsAll, usageKey, usageKindOf } from './keyspace.ts';
import type { BucketRow } from './records.ts';

/** What steps need to know besides their rows. */
export interface Scope {
  bucketId: number;
  /** The counters of this metadata server. */
  lane: number;
  /** Of the bucket; absent: it never had any. */
  versioning?: Versioning | undefined;
  /** Of the bucket, and of the delete markers in it. */
  owner?: string | undefined;
  /** Of its outbox; absent: nobody wants to know what happens in the bucket. */
  events?: EventScope | undefined;
  /** The bucket has object lock. */
  locks?: boolean | undefined;
  /** What is under GOVERNANCE may go. */
  bypassGovernance?: boolean | undefined;
}

/** What steps in a bucket need to know of it. */
export function scopeOf({ id, versioning, owner, configs }: BucketRow, lane: number): Scope {
  return { bucketId: id, lane, versioning, owner, locks: configs.includes(OBJECT_LOCK_CONFIG) };
}

/** Counts objects and bytes that come and go with the draft's commit. */
export function countUsage(draft: Draft, scope: Scope, objects: number, bytes: number): void {
  if (objects !== 0) draft.add(usageKey(scope.bucketId, scope.lane, 'objects'), objects);
  if (bytes !== 0) draft.add(usageKey(scope.bucketId, scope.lane, 'bytes'), bytes);
}

/** The sum over all lanes, in one snapshot (there are fewer lanes than rows in a range). */
export async function usageOf(
  store: Pick<KeyValueStore, 'range'>,
  bucketId: number,
): Promise<BucketUsage> {
  const { start, end } = usageBounds(bucketId);
  const usage: BucketUsage = { objects: 0, bytes: 0 };
  for (const entry of await store.range({ start, end, limit: KV_LIMITS.rangeRows })) {
    usage[usageKindOf(entry.key)] += Number(entry.value.readBigInt64BE(0));
  }
  return usage;
}

/** The sum over all buckets, page by page: exact when nothing is written meanwhile. */
export async function usageOfAll(store: KeyValueStore): Promise<BucketUsage> {
  const usage: BucketUsage = { objects: 0, bytes: 0 };
  const bounds = usageBoundsAll();
  let { start } = bounds;
  for (;;) {
    const page = await store.range({ start, end: bounds.end, limit: KV_LIMITS.rangeRows });
    for (const entry of page) {
      usage[usageKindOf(entry.key)] += Number(entry.value.readBigInt64BE(0));
    }
    const last = page.at(-1);
    if (last === undefined || page.length < KV_LIMITS.rangeRows) return usage;
    start = Buffer.concat([last.key, Buffer.from([0])]);
  }
}
