/**
 * What lifecycle rules make of a bucket: pages of what is due, and the commits that do it. A page only
 * finds; each commit looks again at the very version (that it is still there, still current or not,
 * its tags, size, age and lock) and holds only while the bucket has the rules that it goes by. So
 * nothing goes that was written, tagged, locked or ruled otherwise in between.
 */
import type { KeyValueStore } from '../engine/kv.ts';
import {
  abortOf,
  decodeLifecycle,
  expirationOf,
  LIFECYCLE_CONFIG,
  type LifecycleRule,
  markerExpirationOf,
  newerWanted,
  noncurrentExpirationOf,
  prefixesOf,
} from '../lifecycle-protocol.ts';
import { type Answer, NULL_VERSION, type Origin } from '../protocol.ts';
import type { Buckets } from './buckets.ts';
import type { Draft } from './draft.ts';
import { eventScope } from './event-scope.ts';
import {
  type Bounds,
  justAfter,
  keyOfObject,
  nameOfUpload,
  objectBounds,
  objectKey,
  uploadBounds,
  uploadKey,
  versionBounds,
  versionKey,
} from './keyspace.ts';
import { isLocked } from './locks.ts';
import { deleteObjectStep, turnOf } from './objects.ts';
import { type BucketRow, objectCodec, uploadCodec, type VersionRow } from './records.ts';
import { PENDING } from './runner.ts';
import type { Turns } from './turns.ts';
import { abortUploadStep, uploadTurn } from './uploads.ts';
import { type Scope, scopeOf } from './usage.ts';
import { placeOf } from './versions.ts';

/** Rows of one page at the most, and rules that are held against them: a page must not take long. */
const PAGE_ROWS = 256;
const PAGE_CHECKS = 20_000;
const PAGE_ROWS_MIN = 16;
/** Older versions of one key that are read at once. */
const CHAIN_ROWS = 256;
const ORIGIN: Origin = { account: '', requestId: '', sourceIp: '', cause: 'lifecycle' };

/** A bucket with rules that are enabled, as of one revision. */
export interface RuledBucket {
  id: number;
  revision: number;
  name: string;
  rules: readonly LifecycleRule[];
}

/** Something whose time has come. */
export type DueItem =
  | { kind: 'current'; key: string; version: string }
  /** `kept`: newer noncurrent versions, the newest ones, as many as any rule counts. */
  | { kind: 'noncurrent'; key: string; version: string; kept: readonly string[] }
  | { kind: 'upload'; key: string; uploadId: string };

/** Where a walk through a bucket goes on; `after` is a row's key in hex. */
export interface WalkPlace {
  part: 'objects' | 'uploads';
  after?: string | undefined;
}

/** `changed`: it is not due any more. `ruled`: the bucket has changed, look at its rules again. */
export type Outcome = 'expired' | 'marked' | 'changed' | 'locked' | 'ruled';

export interface LifecycleWork {
  /** The names of buckets with rules, in order; `next`: where to go on, if there may be more. */
  buckets(after: string | undefined): Promise<{ names: string[]; next: string | undefined }>;
  /** Undefined: there is no such bucket, or it has no rules. */
  ruled(name: string): Promise<RuledBucket | undefined>;
  /** What is due among the next rows. Without `next` the bucket is through. */
  page(
    bucket: RuledBucket,
    place: WalkPlace,
    nowMs: number,
  ): Promise<{ due: DueItem[]; rows: number; next: WalkPlace | undefined }>;
  expire(bucket: RuledBucket, item: DueItem): Promise<Outcome>;
}

interface LifecycleSettings {
  store: KeyValueStore;
  buckets: Buckets;
  turns: Turns;
  lane: number;
  eventsMax: number;
  /** Length of a day: DAY_MS but in tests. */
  dayMs: number;
}

/* ------------------------------------------------------------------ steps */

const CHANGED: Answer<Outcome> = { ok: true, value: 'changed' };

interface StepScope extends Scope {
  rules: readonly LifecycleRule[];
  dayMs: number;
}

/** What comes of a deletion: of all refusals only that of a lock can be one. */
function outcomeOf(answer: ReturnType<typeof deleteObjectStep>, done: Outcome): Answer<Outcome> {
  if (answer.ok) return { ok: true, value: done };
  return answer.refusal === 'AccessDenied' ? { ok: true, value: 'locked' } : answer;
}

const shownId = ({ named, version }: VersionRow): string =>
  named === true ? version : NULL_VERSION;

/** It goes when its replica is there, or cannot be made (as on AWS). */
function waitsForReplica({ events }: Scope, { replication }: VersionRow): boolean {
  return events?.replication === true && replication === 'PENDING';
}

function currentStep(
  draft: Draft,
  scope: StepScope,
  { key, version }: { key: string; version: string },
): Answer<Outcome> {
  const row = draft.row(objectKey(scope.bucketId, key), objectCodec);
  if (row === undefined) return PENDING;
  const head = row.value;
  if (head === null || head.version !== version || waitsForReplica(scope, head)) return CHANGED;
  const due = dueOfCurrent(scope.rules, key, head, scope.dayMs);
  if (due === undefined || due > draft.nowMs) return CHANGED;
  if (head.marker === true) {
    return outcomeOf(deleteObjectStep(draft, scope, { key, versionId: shownId(head) }), 'expired');
  }
  const done = scope.versioning === undefined ? 'expired' : 'marked';
  return outcomeOf(deleteObjectStep(draft, scope, { key }), done);
}

/** When the current version, or a delete marker with nothing below it, goes. */
function dueOfCurrent(
  rules: readonly LifecycleRule[],
  key: string,
  head: VersionRow,
  dayMs: number,
): number | undefined {
  if (head.marker !== true) return expirationOf(rules, key, head, dayMs)?.atMs;
  if (head.older !== undefined) return undefined;
  return markerExpirationOf(rules, key, head, dayMs)?.atMs;
}

function noncurrentStep(
  draft: Draft,
  scope: StepScope,
  { key, version, kept }: Extract<DueItem, { kind: 'noncurrent' }>,
): Answer<Outcome> {
  const place = placeOf(draft, scope, key, () => version);
  if (place === undefined) return PENDING;
  const { head, row } = place;
  const { value } = row;
  if (head.value === null || row === head || value?.newer === undefined) return CHANGED;
  if (waitsForReplica(scope, value)) return CHANGED;
  const keyOf = (id: string) => versionKey(scope.bucketId, key, id);
  const newerRow =
    value.newer === head.value.version ? head : draft.row(keyOf(value.newer), objectCodec);
  let newer = 0;
  let missing = newerRow === undefined;
  for (const id of kept) {
    const one = draft.row(keyOf(id), objectCodec);
    if (one === undefined) missing = true;
    else if (one.value !== null) {
      newer += 1;
      draft.check(one);
    }
  }
  if (missing || newerRow === undefined) return PENDING;
  if (newerRow.value === null) return CHANGED;
  const sinceMs = newerRow.value.modifiedMs;
  const { rules, dayMs } = scope;
  const due = noncurrentExpirationOf(rules, key, value, { sinceMs, newer, dayMs });
  if (due === undefined || due.atMs > draft.nowMs) return CHANGED;
  return outcomeOf(deleteObjectStep(draft, scope, { key, versionId: shownId(value) }), 'expired');
}

function uploadStep(
  draft: Draft,
  scope: StepScope,
  item: Extract<DueItem, { kind: 'upload' }> & { bucket: string },
): Answer<Outcome> {
  const row = draft.row(uploadKey(scope.bucketId, item.key, item.uploadId), uploadCodec);
  if (row === undefined) return PENDING;
  if (row.value === null) return CHANGED;
  const due = abortOf(scope.rules, item.key, row.value.createdMs, scope.dayMs);
  if (due === undefined || due.atMs > draft.nowMs) return CHANGED;
  const aborted = abortUploadStep(draft, scope, item);
  return aborted.ok ? { ok: true, value: 'expired' } : aborted;
}

/* ------------------------------------------------------------------ finding */

/** What of a range is left after a row. */
function left(bounds: Bounds, after: string | undefined): Bounds | undefined {
  if (after === undefined) return bounds;
  const from = justAfter(Buffer.from(after, 'hex'));
  if (Buffer.compare(from, bounds.end) >= 0) return undefined;
  return Buffer.compare(from, bounds.start) > 0 ? { start: from, end: bounds.end } : bounds;
}

export function createLifecycle(settings: LifecycleSettings): LifecycleWork {
  const { store, buckets, turns, lane, eventsMax, dayMs } = settings;

  /** The rules that were read last: of the bucket that is walked. */
  let last: RuledBucket | undefined;

  /** The next rows that the rules may concern, in order. */
  async function rowsOf(
    { id, rules }: RuledBucket,
    place: WalkPlace,
  ): Promise<Awaited<ReturnType<KeyValueStore['range']>>> {
    const objects = place.part === 'objects';
    const concerned = rules.filter(({ expiration, noncurrent, abortDays }) =>
      objects ? expiration !== undefined || noncurrent !== undefined : abortDays !== undefined,
    );
    for (const prefix of prefixesOf(concerned)) {
      const all = objects ? objectBounds(id, prefix) : uploadBounds(id, prefix);
      const bounds = left(all, place.after);
      if (bounds === undefined) continue;
      const few = Math.floor(PAGE_CHECKS / Math.max(1, rules.length));
      const limit = Math.max(PAGE_ROWS_MIN, Math.min(PAGE_ROWS, few));
      const rows = await store.range({ ...bounds, limit });
      if (rows.length > 0) return rows;
    }
    return [];
  }

  async function noncurrentOf(
    { id, rules }: RuledBucket,
    key: string,
    head: VersionRow,
    nowMs: number,
  ): Promise<DueItem[]> {
    const counted = newerWanted(rules);
    // Shared by all that are due behind them: a key may have a million versions.
    let kept: readonly string[] = [];
    const due: DueItem[] = [];
    let sinceMs = head.modifiedMs;
    let newer = 0;
    let after: string | undefined;
    for (;;) {
      const bounds = versionBounds(id, key, after);
      const rows = await store.range({ ...bounds, limit: CHAIN_ROWS });
      for (const { value } of rows) {
        const row = objectCodec.decode(value);
        const found = noncurrentExpirationOf(rules, key, row, { sinceMs, newer, dayMs });
        if (found !== undefined && found.atMs <= nowMs && !isLocked(row, nowMs, false)) {
          due.push({ kind: 'noncurrent', key, version: row.version, kept });
        }
        if (kept.length < counted) kept = [...kept, row.version];
        newer += 1;
        sinceMs = row.modifiedMs;
        after = row.version;
      }
      // The oldest first: those that are counted go after those that are counted for.
      if (rows.length < CHAIN_ROWS) return due.reverse();
    }
  }

  async function objectsDue(bucket: RuledBucket, key: string, value: Buffer, nowMs: number) {
    const head = objectCodec.decode(value);
    const due: DueItem[] = [];
    const looksBelow = bucket.rules.some(({ noncurrent }) => noncurrent !== undefined);
    if (head.older !== undefined && looksBelow) {
      due.push(...(await noncurrentOf(bucket, key, head, nowMs)));
    }
    const atMs = dueOfCurrent(bucket.rules, key, head, dayMs);
    if (atMs !== undefined && atMs <= nowMs) {
      due.push({ kind: 'current', key, version: head.version });
    }
    return due;
  }

  function run(
    bucket: RuledBucket,
    keys: (bucketId: number) => Buffer[],
    step: (draft: Draft, scope: StepScope) => Answer<Outcome>,
  ): Promise<Answer<Outcome>> {
    const { name, id, revision, rules } = bucket;
    return buckets.run({ bucket: name, expect: { id, revision } }, keys, (draft, row: BucketRow) =>
      step(draft, {
        ...scopeOf(row, lane),
        events: eventScope(row, ORIGIN, eventsMax),
        rules,
        dayMs,
      }),
    );
  }

  function attempt(bucket: RuledBucket, item: DueItem): Promise<Answer<Outcome>> {
    const { key } = item;
    switch (item.kind) {
      case 'current':
        return turns.take([turnOf(bucket.name, key)], () =>
          run(
            bucket,
            (id) => [objectKey(id, key)],
            (draft, scope) => currentStep(draft, scope, item),
          ),
        );
      case 'noncurrent': {
        const versions = [item.version, ...item.kept];
        return turns.take([turnOf(bucket.name, key)], () =>
          run(
            bucket,
            (id) => [objectKey(id, key), ...versions.map((one) => versionKey(id, key, one))],
            (draft, scope) => noncurrentStep(draft, scope, item),
          ),
        );
      }
      case 'upload':
        return turns.take([uploadTurn(item.uploadId)], () =>
          run(
            bucket,
            (id) => [uploadKey(id, key, item.uploadId)],
            (draft, scope) => uploadStep(draft, scope, { ...item, bucket: bucket.name }),
          ),
        );
    }
  }

  return {
    async buckets(after) {
      const page = await buckets.listBuckets({ prefix: '', after, limit: PAGE_ROWS });
      const ruled = page.buckets.filter(({ configs }) => configs.includes(LIFECYCLE_CONFIG));
      return { names: ruled.map(({ name }) => name), next: page.next };
    },

    async ruled(name) {
      const found = await buckets.getBucket({ bucket: name });
      if (!found.ok || !found.value.configs.includes(LIFECYCLE_CONFIG)) return undefined;
      if (last?.id === found.value.id && last.revision === found.value.revision) return last;
      const answer = await buckets.getBucketConfig({ bucket: name, name: LIFECYCLE_CONFIG });
      if (!answer.ok || answer.value.value === undefined) return undefined;
      const { id, revision } = answer.value.bucket;
      const rules = decodeLifecycle(answer.value.value).rules.filter(({ enabled }) => enabled);
      last = { id, revision, name, rules };
      return last;
    },

    async page(bucket, place, nowMs) {
      const rows = await rowsOf(bucket, place);
      const due: DueItem[] = [];
      for (const { key: row, value } of rows) {
        if (place.part === 'objects') {
          due.push(...(await objectsDue(bucket, keyOfObject(row), value, nowMs)));
        } else {
          const { key, uploadId } = nameOfUpload(row);
          const upload = uploadCodec.decode(value);
          const atMs = abortOf(bucket.rules, key, upload.createdMs, dayMs)?.atMs;
          if (atMs !== undefined && atMs <= nowMs) due.push({ kind: 'upload', key, uploadId });
        }
      }
      const last = rows.at(-1);
      const { part } = place;
      if (last !== undefined) {
        return { due, rows: rows.length, next: { part, after: last.key.toString('hex') } };
      }
      return { due, rows: 0, next: part === 'objects' ? { part: 'uploads' } : undefined };
    },

    async expire(bucket, item) {
      const answer = await attempt(bucket, item);
      if (answer.ok) return answer.value;
      const { refusal } = answer;
      return refusal === 'BucketChanged' || refusal === 'NoSuchBucket' ? 'ruled' : 'changed';
    },
  };
}
