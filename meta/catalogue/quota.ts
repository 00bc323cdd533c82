/**
 * Quotas of buckets: how many bytes and objects there may be. They bound the counters of the usage in
 * the commit that adds to them, so that a bucket never holds more than its quota: not for a moment,
 * and with however many writers. All versions count, older ones too; parts of uploads that are not
 * completed do not. Deleting is always possible, delete markers included.
 */
import { Failure } from '../../base/failure.ts';
import type { BucketQuota } from '../protocol.ts';
import type { Draft } from './draft.ts';
import { settingKey, usageKey } from './keyspace.ts';
import { type BucketRow, settingCodec } from './records.ts';

/** The configuration that holds it. */
export const QUOTA_CONFIG = 'quota';

/** Undefined when nothing is bounded. */
export function encodeQuota({ bytes, objects }: BucketQuota): string | undefined {
  return bytes === undefined && objects === undefined
    ? undefined
    : JSON.stringify({ bytes, objects });
}

export function decodeQuota(value: string): BucketQuota {
  const quota: unknown = JSON.parse(value);
  if (typeof quota !== 'object' || quota === null) {
    throw new Failure('corrupt', 'a quota is no record');
  }
  const { bytes, objects } = quota as Record<string, unknown>;
  return { bytes: bound(bytes), objects: bound(objects) };
}

function bound(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value)) throw new Failure('corrupt', 'a quota is no number');
  return value as number;
}

/**
 * Bounds what the draft adds to the usage of the bucket. False: the quota has not been read. The
 * counters are those of one lane: with several metadata servers each would count its own.
 */
export function boundByQuota(draft: Draft, bucket: BucketRow, lane: number): boolean {
  if (!bucket.configs.includes(QUOTA_CONFIG)) return true;
  const row = draft.row(settingKey(bucket.id, QUOTA_CONFIG), settingCodec);
  if (row === undefined) return false;
  if (row.value === null) return true;
  const quota = decodeQuota(row.value.value);
  for (const kind of ['bytes', 'objects'] as const) {
    const max = quota[kind];
    if (max !== undefined) draft.limit(usageKey(bucket.id, lane, kind), max);
  }
  return true;
}
