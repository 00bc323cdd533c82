/**
 * Wrong reference counts made right. A count that was found by `recount.ts` holds as long as the row
 * has the stamp that it had; so every repair is a commit that checks it, and one that lost a race
 * changes nothing: the next check will look again.
 *
 *  - a wrong count is replaced by the right one;
 *  - what nothing refers to becomes garbage, as if its last reference had just gone;
 *  - a blob that is referred to and has no row gets one. When it waits as garbage it is taken off the
 *    queue; what the nodes may have removed by then, the rest of the check finds missing.
 * A part list without its first row cannot be made again, and is left as it is.
 */
import { parseBlobId } from '../../base/ids.ts';
import type { Stamp } from '../engine/kv.ts';
import type { Answer } from '../protocol.ts';
import type { Draft } from './draft.ts';
import { type GarbageQueue, leaveQueue } from './garbage.ts';
import { blobKey, partListKey } from './keyspace.ts';
import { blobCodec, partListCodec } from './records.ts';
import { enqueue } from './references.ts';
import { PENDING, type Runner } from './runner.ts';
import { listOfTarget, type Target, targetOfBlob, targetOfList } from './targets.ts';

export interface Miscounted {
  target: Target;
  /** Of the row; null: there is none. */
  stamp: Stamp | null;
  /** References that there are. */
  count: number;
  /** Of a blob that is referred to. */
  ref: { size: number; blockSize: number } | undefined;
}

interface MendParts {
  runner: Runner;
  lane: number;
  garbage: Pick<GarbageQueue, 'next'>;
  turn: () => void;
}

const PAGE_ROWS = 1000;
const CHANGED: Answer<boolean> = { ok: true, value: false };
const MENDED: Answer<boolean> = { ok: true, value: true };

/** Returns how many rows were made right. */
export async function mendReferences(
  parts: MendParts,
  wrong: readonly Miscounted[],
): Promise<number> {
  const doomed = await queuedAmong(parts, new Set(wrong.map(({ target }) => target)));
  let mended = 0;
  for (const one of wrong) {
    parts.turn();
    const queued = doomed.get(one.target) ?? [];
    const list = listOfTarget(one.target);
    const answer = await parts.runner.run([], (draft) =>
      list === undefined
        ? mendBlobStep(draft, parts.lane, one, queued)
        : mendListStep(draft, parts.lane, one, list, queued),
    );
    if (answer.ok && answer.value) mended += 1;
  }
  return mended;
}

/** Entries of the garbage queue, by what they would remove. */
async function queuedAmong(
  { garbage, turn }: MendParts,
  targets: ReadonlySet<Target>,
): Promise<Map<Target, string[]>> {
  const queued = new Map<Target, string[]>();
  if (targets.size === 0) return queued;
  let after: string | undefined;
  for (;;) {
    turn();
    const page = await garbage.next(PAGE_ROWS, after);
    for (const entry of page) {
      const target =
        entry.kind === 'blob'
          ? targetOfBlob(entry.blob)
          : entry.kind === 'parts'
            ? targetOfList(entry.list)
            : undefined;
      if (target === undefined || !targets.has(target)) continue;
      queued.set(target, [...(queued.get(target) ?? []), entry.id]);
    }
    after = page.at(-1)?.id;
    if (after === undefined || page.length < PAGE_ROWS) return queued;
  }
}

const sameStamp = (one: Stamp | null, other: Stamp | null): boolean =>
  one === null ? other === null : other !== null && one.equals(other);

function leaveAll(draft: Draft, lane: number, ids: readonly string[]): boolean {
  let read = true;
  for (const id of ids) if (!leaveQueue(draft, lane, id)) read = false;
  return read;
}

function mendBlobStep(
  draft: Draft,
  lane: number,
  { target, stamp, count, ref }: Miscounted,
  queued: readonly string[],
): Answer<boolean> {
  const blob = parseBlobId(target);
  const row = draft.row(blobKey(blob), blobCodec);
  if (row === undefined) return PENDING;
  if (!sameStamp(row.stamp, stamp)) return CHANGED;
  if (count === 0) {
    if (row.value === null) return CHANGED;
    const { size, blockSize } = row.value;
    draft.remove(row);
    enqueue(draft, { lane }, { kind: 'blob', blob, size, blockSize });
    return MENDED;
  }
  if (!leaveAll(draft, lane, queued)) return PENDING;
  const known = row.value ?? ref;
  if (known === undefined) return CHANGED;
  draft.put(row, { size: known.size, blockSize: known.blockSize, refs: count });
  return MENDED;
}

function mendListStep(
  draft: Draft,
  lane: number,
  { stamp, count }: Miscounted,
  list: string,
  queued: readonly string[],
): Answer<boolean> {
  const row = draft.row(partListKey(list, 0), partListCodec);
  if (row === undefined) return PENDING;
  if (row.value === null || !sameStamp(row.stamp, stamp)) return CHANGED;
  if (count > 0 && !leaveAll(draft, lane, queued)) return PENDING;
  draft.put(row, { ...row.value, refs: count });
  if (count === 0) enqueue(draft, { lane }, { kind: 'parts', list });
  return MENDED;
}
