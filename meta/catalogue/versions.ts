/**
 * The versions of a key: which one a request means, what a write does to those before it, and what
 * is current when one goes. Pure steps on a draft; all return undefined while rows are missing.
 *
 * The current version, or a delete marker, is in the key's `o` row, older ones in `v` rows, each tied
 * to its neighbours (see `VersionRow`). What joins or leaves the chain writes the rows beside it, so
 * that two commits that could disagree about the chain always check a row that the other one writes.
 */
import { assert } from '../../base/failure.ts';
import { type Answer, NULL_VERSION, type ObjectRecord, type ObjectState } from '../protocol.ts';
import type { Draft, Row } from './draft.ts';
import { type Creation, creationType, emitEvent, planReplication } from './events.ts';
import { nextVersion } from './ids.ts';
import { isVersion, objectKey, versionKey } from './keyspace.ts';
import { assertUnlocked, lockOfNew } from './locks.ts';
import { objectCodec, type VersionRow } from './records.ts';
import { release } from './references.ts';
import { countUsage, type Scope } from './usage.ts';

/** What a new version is made of, before it has a name and a time. */
export type NewVersion = Omit<VersionRow, 'version' | 'modifiedMs' | 'named' | 'older' | 'newer'>;

/** Where a version is: the current one's row, and its own when it is an older one. */
interface Place {
  head: Row<VersionRow>;
  /** Its value is null when there is no such version. */
  row: Row<VersionRow>;
}

/** The version id as S3 shows it; undefined in a bucket that never had versioning. */
export function shownVersion(
  { versioning }: Pick<Scope, 'versioning'>,
  { named, version }: Pick<ObjectRecord, 'named' | 'version'>,
): string | undefined {
  if (versioning === undefined) return undefined;
  return named === true ? version : NULL_VERSION;
}

/** An id that names no version of the key. */
const NOWHERE = 'f'.repeat(32);

/** The identity of the version that `versionId` means, by the row of the current one. */
function identityOf(head: VersionRow, versionId: string): string {
  if (versionId !== NULL_VERSION) return isVersion(versionId) ? versionId : NOWHERE;
  return head.named === true ? (head.olderNull ?? NOWHERE) : head.version;
}

/** Whether a version answers to the id: one that goes by `null` has no other name. */
export function answersTo({ named, version }: ObjectRecord, versionId: string): boolean {
  return versionId === (named === true ? version : NULL_VERSION);
}

/** The version of a key with this identity, which need not be the one S3 shows. */
export function placeOf(
  draft: Draft,
  scope: Scope,
  key: string,
  identity: (head: VersionRow) => string,
): Place | undefined {
  const head = draft.row(objectKey(scope.bucketId, key), objectCodec);
  if (head === undefined) return undefined;
  if (head.value === null) return { head, row: head };
  const version = identity(head.value);
  if (version === head.value.version) return { head, row: head };
  const row = draft.row(versionKey(scope.bucketId, key, version), objectCodec);
  return row === undefined ? undefined : { head, row };
}

/** The version that a request names, the current one by default; `value` is null without one. */
export function namedPlace(
  draft: Draft,
  scope: Scope,
  key: string,
  versionId: string | undefined,
): (Place & { value: VersionRow | null }) | undefined {
  const place = placeOf(draft, scope, key, (head) =>
    versionId === undefined ? head.version : identityOf(head, versionId),
  );
  if (place === undefined) return undefined;
  const { value } = place.row;
  const named = versionId === undefined || (value !== null && answersTo(value, versionId));
  const found = named ? value : null;
  return { ...place, value: found };
}

/** Whether a version is as somebody has seen it: the same, with the same tags and extras. */
export function isInState({ version, revision = 0 }: VersionRow, seen: ObjectState): boolean {
  return version === seen.version && revision === seen.revision;
}

/** What a condition of a write is judged on: a delete marker is no object. */
export function objectOf(row: VersionRow | null): VersionRow | null {
  return row?.marker === true ? null : row;
}

/** What is answered when a delete marker is met instead of an object. */
export function markerAnswer(
  scope: Pick<Scope, 'versioning'>,
  row: VersionRow,
  named: boolean,
): Answer<never> {
  const versionId = shownVersion(scope, row) ?? NULL_VERSION;
  const marker = { versionId, modifiedMs: row.modifiedMs };
  return { ok: false, refusal: named ? 'MethodNotAllowed' : 'NoSuchKey', marker };
}

/* ------------------------------------------------------------------ writing */

/**
 * Makes `next` the current version of the key, with the counters and the fate of what was there: in
 * a bucket with versioning the old one stays, below the new one; otherwise the new one replaces the
 * version that goes by `null`, wherever that is. In a bucket with object lock it gets the default
 * retention unless it has one. Makes the event. The references of the new data are the caller's.
 */
export function addVersion(
  draft: Draft,
  scope: Scope,
  { key, creation }: { key: string; creation: Creation },
  next: NewVersion,
): VersionRow | undefined {
  const row = draft.row(objectKey(scope.bucketId, key), objectCodec);
  const replication = planReplication(draft, scope, key, next);
  if (row === undefined || replication === undefined) return undefined;
  const named = scope.versioning === 'Enabled';
  const old = row.value;
  // LastModified never goes back under one key, whatever the clock does.
  const modifiedMs = Math.max(draft.nowMs, old?.modifiedMs ?? 0);
  const version = nextVersion(old?.version, modifiedMs, draft.ids.random(8));
  const record: VersionRow = { ...next, version, modifiedMs };
  if (replication.status !== record.replication) record.replication = replication.status;
  if (next.marker !== true) {
    const locked = lockOfNew(draft, scope, next.lock, modifiedMs);
    if (locked === undefined) return undefined;
    if (locked.lock !== undefined) record.lock = locked.lock;
  }
  if (old === null) {
    if (named) record.named = true;
    countUsage(draft, scope, 1, next.size);
  } else if (named) {
    record.named = true;
    pushDown(draft, scope, { row, key, record });
    const olderNull = old.named === true ? old.olderNull : old.version;
    if (olderNull !== undefined) record.olderNull = olderNull;
    countUsage(draft, scope, 1, next.size);
  } else if (old.named !== true) {
    if (!replaceNullHead(draft, scope, { old, key, record })) return undefined;
    countUsage(draft, scope, 0, next.size - old.size);
  } else {
    if (old.olderNull !== undefined && !dropOlder(draft, scope, { key, head: row })) {
      return undefined;
    }
    pushDown(draft, scope, { row, key, record });
    countUsage(draft, scope, 1, next.size);
  }
  draft.put(row, record);
  const type = creationType(creation, scope.events?.origin);
  const versionId = shownVersion(scope, record);
  return emitEvent(draft, scope, { type, key, record, versionId }) ? record : undefined;
}

/** Puts the current version below `record`. Its row cannot be there: it was the current one. */
function pushDown(
  draft: Draft,
  { bucketId }: Scope,
  { row, key, record }: { row: Row<VersionRow>; key: string; record: VersionRow },
): void {
  assert(row.value !== null, 'there is a current version');
  const { olderNull: _, ...old } = row.value;
  record.older = old.version;
  const place = versionKey(bucketId, key, old.version);
  draft.place(place, objectCodec, { ...old, newer: record.version });
}

/** The new version takes the place of a current one that goes by `null`. */
function replaceNullHead(
  draft: Draft,
  scope: Scope,
  { old, key, record }: { old: VersionRow; key: string; record: VersionRow },
): boolean {
  assertUnlocked(draft, scope, old);
  if (old.older === undefined) return release(draft, scope, old.data);
  const below = draft.row(versionKey(scope.bucketId, key, old.older), objectCodec);
  if (below === undefined || !release(draft, scope, old.data)) return false;
  assert(below.value !== null, 'an older version stands');
  draft.put(below, { ...below.value, newer: record.version });
  record.older = old.older;
  return true;
}

/** Drops the older version that goes by `null`. False: rows are missing. */
function dropOlder(
  draft: Draft,
  scope: Scope,
  { key, head }: { key: string; head: Row<VersionRow> },
): boolean {
  const version = head.value?.olderNull;
  assert(version !== undefined, 'there is an older null version');
  const row = draft.row(versionKey(scope.bucketId, key, version), objectCodec);
  return row !== undefined && takeOut(draft, scope, { key, head, row });
}

/** Takes an older version out of the chain and drops its data. False: rows are missing. */
function takeOut(
  draft: Draft,
  scope: Scope,
  { key, head, row }: { key: string; head: Row<VersionRow>; row: Row<VersionRow> },
): boolean {
  assert(row.value !== null && head.value !== null, 'an older version has a current one');
  const { older, newer, version, data, size } = row.value;
  assert(newer !== undefined, 'an older version has a newer one');
  assertUnlocked(draft, scope, row.value);
  const keyOf = (id: string) => versionKey(scope.bucketId, key, id);
  const above = newer === head.value.version ? head : draft.row(keyOf(newer), objectCodec);
  const below = older === undefined ? null : draft.row(keyOf(older), objectCodec);
  // The last step that may be missing rows: before it nothing has changed.
  if (above === undefined || below === undefined || !release(draft, scope, data)) return false;
  assert(above.value !== null, 'the newer version stands');
  draft.put(above, { ...above.value, older });
  if (below !== null) {
    assert(below.value !== null, 'the older version stands');
    draft.put(below, { ...below.value, newer });
  }
  if (head.value.olderNull === version) draft.put(head, { ...head.value, olderNull: undefined });
  draft.remove(row);
  countUsage(draft, scope, -1, -size);
  return true;
}

/**
 * Removes the current version for good; the next older one takes its place. False: rows are missing.
 */
function removeHead(draft: Draft, scope: Scope, key: string, head: Row<VersionRow>): boolean {
  assert(head.value !== null, 'there is a current version');
  assertUnlocked(draft, scope, head.value);
  const { older, olderNull, data, size } = head.value;
  const next =
    older === undefined ? null : draft.row(versionKey(scope.bucketId, key, older), objectCodec);
  if (next === undefined || !release(draft, scope, data)) return false;
  if (next === null) {
    draft.remove(head);
  } else {
    assert(next.value !== null, 'an older version stands');
    const { newer: _, ...promoted } = next.value;
    draft.put(head, olderNull === older ? promoted : { ...promoted, olderNull });
    draft.remove(next);
  }
  countUsage(draft, scope, -1, -size);
  return true;
}

/** Removes a version for good, and makes the event. False: rows are missing. */
export function removeVersion(
  draft: Draft,
  scope: Scope,
  key: string,
  { head, row }: Place,
): boolean {
  const record = row.value;
  assert(record !== null, 'the version stands');
  const removed =
    row === head ? removeHead(draft, scope, key, head) : takeOut(draft, scope, { key, head, row });
  if (!removed) return false;
  const lifecycle = scope.events?.origin?.cause === 'lifecycle';
  const type = lifecycle ? 'LifecycleExpiration:Delete' : 'ObjectRemoved:Delete';
  const versionId = shownVersion(scope, record);
  return emitEvent(draft, scope, { type, key, record, versionId });
}
