/**
 * Do the usage counters of the buckets equal what is in them? A bucket is counted page by page while
 * writes go on, and the count is worth something when nobody wrote to the bucket meanwhile. To mend
 * a counter of a bucket that never rests, writes to it are held for a moment. Counters change by
 * adding: writes that come between the count and the repair do not disturb it.
 */
import { bucketKey, bucketBounds, objectBounds, allVersionBounds } from './keyspace.ts';
import { passBarrier, type RecountParts, rowsIn } from './recount-parts.ts';
import { type BucketRow, bucketCodec, objectCodec } from './records.ts';
import { PENDING } from './runner.ts';
import { countUsage, usageOf } from './usage.ts';

/** Tries to count a bucket while nobody writes to it. */
const TRIES = 3;
/** How long writes to one bucket are held at most; what cannot be counted by then is not judged. */
const HOLD_MS = 500;

interface Usage {
  objects: number;
  bytes: number;
}

export async function recountUsage(parts: RecountParts): Promise<void> {
  for await (const { value } of rowsIn(parts, bucketBounds('', undefined))) {
    const bucket = bucketCodec.decode(value);
    let judged = false;
    for (let attempt = 0; attempt < TRIES && !judged; attempt++) {
      judged = await judge(parts, bucket, Number.POSITIVE_INFINITY);
    }
    if (judged || parts.mend === undefined) continue;
    const release = parts.watched.hold(bucket.id);
    try {
      await judge(parts, bucket, parts.clock.monotonic() + HOLD_MS);
    } finally {
      release();
    }
  }
}

/** False: somebody wrote to the bucket, or the time was over. */
async function judge(parts: RecountParts, bucket: BucketRow, until: number): Promise<boolean> {
  const { store, watched, clock } = parts;
  const watch = watched.watch();
  try {
    await passBarrier(parts);
    const says = await usageOf(store, bucket.id);
    const there: Usage = { objects: 0, bytes: 0 };
    for (const bounds of [objectBounds(bucket.id, ''), allVersionBounds(bucket.id)]) {
      for await (const row of rowsIn(parts, bounds)) {
        if (watch.written(bucket.id) || clock.monotonic() > until) return false;
        there.objects += 1;
        there.bytes += objectCodec.decode(row.value).size;
      }
    }
    if (watch.written(bucket.id)) return false;
    if (there.objects === says.objects && there.bytes === says.bytes) return true;
    parts.found(
      `bucket ${bucket.name} counts ${says.objects} objects of ${says.bytes} bytes, there are ` +
        `${there.objects} of ${there.bytes}`,
    );
    if (parts.mend !== undefined) parts.mend.mended(await mendUsage(parts, bucket, says, there));
    return true;
  } finally {
    watch.end();
  }
}

/** Nothing, when the bucket has gone. */
async function mendUsage(
  { runner, lane }: RecountParts,
  bucket: BucketRow,
  says: Usage,
  there: Usage,
): Promise<number> {
  const answer = await runner.run([bucketKey(bucket.name)], (draft) => {
    const row = draft.row(bucketKey(bucket.name), bucketCodec);
    if (row === undefined) return PENDING;
    if (row.value?.id !== bucket.id || row.value.deleting !== undefined) {
      return { ok: true, value: 0 };
    }
    draft.check(row);
    countUsage(
      draft,
      { bucketId: bucket.id, lane },
      there.objects - says.objects,
      there.bytes - says.bytes,
    );
    return { ok: true, value: 1 };
  });
  return answer.ok ? answer.value : 0;
}
