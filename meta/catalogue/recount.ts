/**
 * The metadata held against themselves: do the reference counts of blobs and part lists, and the
 * usage of the buckets (`recount-usage.ts`), equal a recount? The store goes on working meanwhile, so
 * what a first count finds wrong is only suspected; it is a finding when a second count says the same
 * and what was counted did not change in between:
 *  - a reference that comes or goes rewrites the row of what it refers to, which changes its stamp;
 *  - one that only moves to another row (an older version, a part that went into an object) does not,
 *    but it is written there, and `watched-store.ts` sees that.
 * A count that neither has spoiled is exact, and stays so until the stamp changes: so the repair is a
 * commit that checks the stamp (`mend.ts`).
 *
 * Memory is bounded: references are counted for a part of all blobs and lists at a time, in as many
 * passes over the rows as it takes.
 */
import { isUsed } from './complete.ts';
import {
  blobBounds,
  blobOfKey,
  numberOfPart,
  pageOfKey,
  rowsOfKind,
  uploadOfPart,
} from './keyspace.ts';
import {
  blobCodec,
  objectCodec,
  partCodec,
  partListCodec,
  partPageCodec,
  type PartRow,
} from './records.ts';
import { mendReferences, type Miscounted } from './mend.ts';
import { recountUsage } from './recount-usage.ts';
import {
  keyOfTarget,
  listOfTarget,
  nameOfTarget,
  type Target,
  targetOf,
  targetOfBlob,
  targetOfList,
} from './targets.ts';
import { passBarrier, type RecountParts, rowsIn } from './recount-parts.ts';

const PAGE_ROWS = 1000;
/** References counted in one pass. */
const TARGETS_MAX = 500_000;
/** Suspects that are looked at again. */
const SUSPECTS_MAX = 10_000;
/** Tries to count suspects while nobody moves references to them. */
const CONFIRM_TRIES = 3;

type Store = RecountParts['store'];

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

/* ------------------------------------------------------------------ references */

async function recountReferences(
  parts: RecountParts,
  mine: (target: Target) => boolean,
): Promise<void> {
  const first = await countReferences(parts, mine);
  const suspects = new Set<Target>();
  const suspect = (target: Target, refs: number): void => {
    if (refs !== (first.get(target)?.count ?? 0)) suspects.add(target);
    first.delete(target);
  };
  for await (const { key, value } of rowsIn(parts, blobBounds())) {
    const blob = targetOfBlob(blobOfKey(key));
    if (mine(blob)) suspect(blob, blobCodec.decode(value).refs);
  }
  for await (const { key, value } of rowsIn(parts, rowsOfKind('part list'))) {
    const { list, page } = pageOfKey(key);
    const target = targetOfList(list);
    if (page === 0 && mine(target)) suspect(target, partListCodec.decode(value).refs);
  }
  // What is left is referred to and has no row.
  for (const target of first.keys()) suspects.add(target);
  if (suspects.size > 0) await confirm(parts, [...suspects].slice(0, SUSPECTS_MAX));
}

async function confirm(parts: RecountParts, suspects: readonly Target[]): Promise<void> {
  let open = suspects;
  for (let attempt = 0; attempt < CONFIRM_TRIES && open.length > 0; attempt++) {
    open = await confirmOnce(parts, open);
  }
}

/** Judges what was not moved meanwhile; returns the others. */
async function confirmOnce(parts: RecountParts, suspects: readonly Target[]): Promise<Target[]> {
  const wanted = new Set(suspects);
  const watch = parts.watched.watch(wanted);
  try {
    await passBarrier(parts);
    const before = await countedIn(parts.store, suspects);
    const counts = await countReferences(parts, (target) => wanted.has(target));
    const after = await countedIn(parts.store, suspects);
    const wrong: Miscounted[] = [];
    const open: Target[] = [];
    for (const target of suspects) {
      const was = before.get(target);
      const is = after.get(target);
      if (watch.moved(target) || was?.stamp !== is?.stamp) {
        open.push(target);
        continue;
      }
      const counted = counts.get(target);
      const count = counted?.count ?? 0;
      if (count === (is?.refs ?? 0)) continue;
      const stamp = is === undefined ? null : Buffer.from(is.stamp, 'hex');
      wrong.push({ target, stamp, count, ref: counted?.ref });
      parts.found(
        is === undefined
          ? `${nameOfTarget(target)} is referred to ${count} times and has no row`
          : `${nameOfTarget(target)} counts ${is.refs} references, there are ${count}`,
      );
    }
    if (parts.mend !== undefined) parts.mend.mended(await mendReferences(parts, wrong));
    return open;
  } finally {
    watch.end();
  }
}

/** What the rows say, with their stamps in hex. */
async function countedIn(
  store: Store,
  targets: readonly Target[],
): Promise<Map<Target, { refs: number; stamp: string }>> {
  const counted = new Map<Target, { refs: number; stamp: string }>();
  for (let from = 0; from < targets.length; from += PAGE_ROWS) {
    const batch = targets.slice(from, from + PAGE_ROWS);
    const rows = await store.get(batch.map(keyOfTarget));
    for (const [index, target] of batch.entries()) {
      const row = rows[index];
      if (row == null) continue;
      const codec = listOfTarget(target) === undefined ? blobCodec : partListCodec;
      const { refs } = codec.decode(row.value);
      counted.set(target, { refs, stamp: row.stamp.toString('hex') });
    }
  }
  return counted;
}

/** References to a target, and what one of them says of its blob. */
interface Counted {
  count: number;
  ref: { size: number; blockSize: number } | undefined;
}

async function countReferences(
  parts: RecountParts,
  mine: (target: Target) => boolean,
): Promise<Map<Target, Counted>> {
  const counts = new Map<Target, Counted>();
  const add = (target: Target, ref?: Counted['ref']): void => {
    if (!mine(target)) return;
    const known = counts.get(target);
    if (known === undefined) counts.set(target, { count: 1, ref });
    else known.count += 1;
  };
  const addPart = ({ data, size }: PartRow): void => {
    if (data !== undefined) add(targetOfBlob(data.blob), { size, blockSize: data.blockSize });
  };
  for (const kind of ['object', 'version'] as const) {
    for await (const { value } of rowsIn(parts, rowsOfKind(kind))) {
      const { data } = objectCodec.decode(value);
      const target = targetOf(data);
      if (target !== undefined) add(target, data.kind === 'blob' ? data : undefined);
    }
  }
  const ended = await endedUploads(parts);
  for await (const { key, value } of rowsIn(parts, rowsOfKind('part'))) {
    // A part that went into an object has handed its reference on.
    const used = ended.get(uploadOfPart(key));
    if (used !== undefined && isUsed(used, numberOfPart(key))) continue;
    addPart(partCodec.decode(value));
  }
  for await (const { key, value } of rowsIn(parts, rowsOfKind('part list'))) {
    if (pageOfKey(key).page === 0) continue;
    for (const part of partPageCodec.decode(value).parts) addPart(part);
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
