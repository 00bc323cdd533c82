/**
 * The metadata held against themselves: do the reference counts of blobs and part lists, and the
 * usage of the buckets, equal a recount? The store goes on working meanwhile, so what a first count
 * finds wrong is only suspected; it is a finding when a second count says the same and the row in
 * question was not written in between.
 *
 * Memory is bounded: references are counted for a part of all blobs and lists at a time, in as many
 * passes over the rows as it takes.
 */
import type { Entry, KeyValueStore } from '../engine/kv.ts';
import { isUsed } from './complete.ts';
import type { GarbageQueue } from './garbage.ts';
import {
  allVersionBounds,
  blobBounds,
  blobKey,
  blobOfKey,
  bucketBounds,
  type Bounds,
  justAfter,
  numberOfPart,
  objectBounds,
  pageOfKey,
  partListKey,
  rowsOfKind,
  uploadOfPart,
} from './keyspace.ts';
import {
  blobCodec,
  bucketCodec,
  objectCodec,
  partCodec,
  partListCodec,
  partPageCodec,
} from './records.ts';
import { usageOf } from './usage.ts';

const PAGE_ROWS = 1000;
/** References counted in one pass. */
const TARGETS_MAX = 500_000;
/** Suspects that are looked at again. */
const SUSPECTS_MAX = 10_000;
/** Tries to count a bucket while nobody writes to it. */
const USAGE_TRIES = 3;

export interface RecountParts {
  store: Pick<KeyValueStore, 'get' | 'range'>;
  garbage: Pick<GarbageQueue, 'next'>;
  /** Blobs whose references are counted in one pass. */
  targetsMax?: number | undefined;
  /** A sentence for each contradiction. */
  found: (sentence: string) => void;
  /** Called between pages; throws to end the count. */
  turn: () => void;
}

type Store = RecountParts['store'];

/** Everything that is referred to: a blob's id, or `list:` and a part list's. */
type Target = string;
const listTarget = (list: string): Target => `list:${list}`;

/** Returns how many blobs there were when it began. */
export async function recount(parts: RecountParts): Promise<number> {
  let blobs = 0;
  for await (const _ of rowsIn(parts, blobBounds())) blobs += 1;
  const passes = Math.max(1, Math.ceil(blobs / (parts.targetsMax ?? TARGETS_MAX)));
  for (let pass = 0; pass < passes; pass++) {
    await recountReferences(parts, (target) => partitionOf(target, passes) === pass);
  }
  await recountUsage(parts);
  return blobs;
}

function partitionOf(target: Target, passes: number): number {
  return passes === 1 ? 0 : Number.parseInt(target.slice(-6), 16) % passes;
}

async function* rowsIn(
  { store, turn }: Pick<RecountParts, 'store' | 'turn'>,
  bounds: Bounds,
): AsyncGenerator<Entry> {
  let { start } = bounds;
  for (;;) {
    turn();
    const page = await store.range({ start, end: bounds.end, limit: PAGE_ROWS });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE_ROWS) return;
    start = justAfter(last.key);
  }
}

/* ------------------------------------------------------------------ references */

async function recountReferences(
  parts: RecountParts,
  mine: (target: Target) => boolean,
): Promise<void> {
  const first = await countReferences(parts, mine);
  const suspects = new Set<Target>();
  const suspect = (target: Target, refs: number): void => {
    if (refs !== (first.get(target) ?? 0)) suspects.add(target);
    first.delete(target);
  };
  for await (const { key, value } of rowsIn(parts, blobBounds())) {
    const blob = blobOfKey(key);
    if (mine(blob)) suspect(blob, blobCodec.decode(value).refs);
  }
  for await (const { key, value } of rowsIn(parts, rowsOfKind('part list'))) {
    const { list, page } = pageOfKey(key);
    const target = listTarget(list);
    if (page === 0 && mine(target)) suspect(target, partListCodec.decode(value).refs);
  }
  // What is left is referred to and has no row.
  for (const target of first.keys()) suspects.add(target);
  if (suspects.size > 0) await confirm(parts, [...suspects].slice(0, SUSPECTS_MAX));
}

async function confirm(parts: RecountParts, suspects: readonly Target[]): Promise<void> {
  const wanted = new Set(suspects);
  const before = await countedIn(parts.store, suspects);
  const counts = await countReferences(parts, (target) => wanted.has(target));
  const after = await countedIn(parts.store, suspects);
  for (const target of suspects) {
    const was = before.get(target);
    const is = after.get(target);
    // Every reference that comes or goes rewrites the row of what it refers to.
    if (was?.stamp !== is?.stamp) continue;
    const count = counts.get(target) ?? 0;
    if (is === undefined && count > 0) {
      parts.found(`${nameOf(target)} is referred to ${count} times and has no row`);
    } else if (is !== undefined && is.refs !== count) {
      parts.found(`${nameOf(target)} counts ${is.refs} references, there are ${count}`);
    }
  }
}

const nameOf = (target: Target): string =>
  target.startsWith('list:') ? `part list ${target.slice(5)}` : `blob ${target}`;

/** What the rows say, with their stamps in hex. */
async function countedIn(
  store: Store,
  targets: readonly Target[],
): Promise<Map<Target, { refs: number; stamp: string }>> {
  const counted = new Map<Target, { refs: number; stamp: string }>();
  for (let from = 0; from < targets.length; from += PAGE_ROWS) {
    const batch = targets.slice(from, from + PAGE_ROWS);
    const rows = await store.get(batch.map(keyOf));
    for (const [index, target] of batch.entries()) {
      const row = rows[index];
      if (row == null) continue;
      const codec = target.startsWith('list:') ? partListCodec : blobCodec;
      const { refs } = codec.decode(row.value);
      counted.set(target, { refs, stamp: row.stamp.toString('hex') });
    }
  }
  return counted;
}

function keyOf(target: Target): Buffer {
  if (target.startsWith('list:')) return partListKey(target.slice(5), 0);
  return blobKey(target as Parameters<typeof blobKey>[0]);
}

async function countReferences(
  parts: RecountParts,
  mine: (target: Target) => boolean,
): Promise<Map<Target, number>> {
  const counts = new Map<Target, number>();
  const add = (target: Target): void => {
    if (mine(target)) counts.set(target, (counts.get(target) ?? 0) + 1);
  };
  for (const kind of ['object', 'version'] as const) {
    for await (const { value } of rowsIn(parts, rowsOfKind(kind))) {
      const { data } = objectCodec.decode(value);
      if (data.kind === 'blob') add(data.blob);
      if (data.kind === 'parts') add(listTarget(data.list));
    }
  }
  const ended = await endedUploads(parts);
  for await (const { key, value } of rowsIn(parts, rowsOfKind('part'))) {
    // A part that went into an object has handed its reference on.
    const used = ended.get(uploadOfPart(key));
    if (used !== undefined && isUsed(used, numberOfPart(key))) continue;
    const { data } = partCodec.decode(value);
    if (data !== undefined) add(data.blob);
  }
  for await (const { key, value } of rowsIn(parts, rowsOfKind('part list'))) {
    if (pageOfKey(key).page === 0) continue;
    for (const { data } of partPageCodec.decode(value).parts) {
      if (data !== undefined) add(data.blob);
    }
  }
  return counts;
}

/** Uploads whose parts wait to be taken apart, with the parts that went into an object. */
async function endedUploads({ garbage, turn }: RecountParts): Promise<Map<string, Buffer>> {
  const ended = new Map<string, Buffer>();
  let after: string | undefined;
  for (;;) {
    turn();
    const page = await garbage.next(PAGE_ROWS, after);
    for (const entry of page) if (entry.kind === 'upload') ended.set(entry.uploadId, entry.used);
    after = page.at(-1)?.id;
    if (after === undefined || page.length < PAGE_ROWS) return ended;
  }
}

/* ------------------------------------------------------------------ usage */

async function recountUsage(parts: RecountParts): Promise<void> {
  for await (const { value } of rowsIn(parts, bucketBounds('', undefined))) {
    const { id, name } = bucketCodec.decode(value);
    for (let attempt = 0; attempt < USAGE_TRIES; attempt++) {
      const before = await usageOf(parts.store, id);
      const counted = { objects: 0, bytes: 0 };
      for (const bounds of [objectBounds(id, ''), allVersionBounds(id)]) {
        for await (const row of rowsIn(parts, bounds)) {
          counted.objects += 1;
          counted.bytes += objectCodec.decode(row.value).size;
        }
      }
      const after = await usageOf(parts.store, id);
      // Somebody wrote: the count is worth nothing. A bucket that never rests is not judged.
      if (before.objects !== after.objects || before.bytes !== after.bytes) continue;
      const same = counted.objects === after.objects && counted.bytes === after.bytes;
      if (same) break;
      // An overwrite of the same size moves no counter: only a second count tells.
      if (attempt === 0) continue;
      parts.found(
        `bucket ${name} counts ${after.objects} objects of ${after.bytes} bytes, there are ` +
          `${counted.objects} of ${counted.bytes}`,
      );
      break;
    }
  }
}
