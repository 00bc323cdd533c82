/**
 * The outbox of a bucket: when it has notifications or replication, the commit that changes an object
 * also makes the event, so that none is lost and none invented. Which target wants it is decided by
 * whoever delivers it. Pure steps on a draft.
 *
 * No commit ever waits for a consumer: a backlog is bounded (per bucket, queue and metadata server),
 * and at the bound events are dropped, counted, and shown as such; a version that was to be replicated
 * then says FAILED, and `ashlar replication resync` finds it.
 */
import type {
  EventQueue,
  EventType,
  ObjectRecord,
  Origin,
  ReplicationStatus,
  Tag,
} from '../protocol.ts';
import type { Draft } from './draft.ts';
import { countCodec, eventCodec, type EventRow } from './event-records.ts';
import { eventBookKey, eventKey } from './keyspace.ts';
import type { EventScope } from './event-scope.ts';
import type { VersionRow } from './records.ts';
import type { Scope } from './usage.ts';

/** How something new in the bucket came about. */
export type Creation = 'put' | 'copy' | 'complete' | 'marker';

export function creationType(creation: Creation, origin: Origin | undefined): EventType {
  const cause = origin?.cause;
  switch (creation) {
    case 'put':
      return cause === 'post' ? 'ObjectCreated:Post' : 'ObjectCreated:Put';
    case 'copy':
      return 'ObjectCreated:Copy';
    case 'complete':
      return 'ObjectCreated:CompleteMultipartUpload';
    case 'marker':
      return cause === 'lifecycle'
        ? 'LifecycleExpiration:DeleteMarkerCreated'
        : 'ObjectRemoved:DeleteMarkerCreated';
  }
}

type Subject = Pick<VersionRow, 'version' | 'size' | 'etag' | 'modifiedMs' | 'named'>;

/**
 * Whether a new version is to be replicated, and with it the event that has it done. Undefined: rows
 * are missing. PENDING only comes with an event; FAILED: the backlog is at its bound.
 */
export function planReplication(
  draft: Draft,
  scope: Scope,
  key: string,
  next: Pick<VersionRow, 'tags' | 'marker' | 'replication' | 'encryption' | 'owner'>,
): { status: ReplicationStatus | undefined } | undefined {
  const { events } = scope;
  if (events?.origin?.cause === 'replica') return { status: 'REPLICA' };
  if (next.replication === 'REPLICA') return { status: 'REPLICA' };
  if (events?.replication !== true || scope.versioning !== 'Enabled') return { status: undefined };
  // Whoever owns the bucket need not be allowed to read what is somebody else's.
  if (scope.owner !== undefined && next.owner !== scope.owner) return { status: undefined };
  if (!isReplicated(events.origin, key, next)) return { status: undefined };
  return pending(draft, scope, events);
}

/** Undefined: rows are missing. */
function pending(
  draft: Draft,
  scope: Scope,
  events: EventScope,
): { status: ReplicationStatus } | undefined {
  const room = hasRoom(draft, scope, events, 'replication');
  if (room === undefined) return undefined;
  if (room) return { status: 'PENDING' };
  countDropped(draft, scope, 'replication');
  return { status: 'FAILED' };
}

/** What becomes of a version's status when its tags or its ACL change: its replica is out of date. */
export function planUpdate(
  draft: Draft,
  scope: Scope,
  { replication }: Pick<VersionRow, 'replication'>,
): { status: ReplicationStatus | undefined } | undefined {
  const { events } = scope;
  const replicated = replication !== undefined && replication !== 'REPLICA';
  if (!replicated || events?.replication !== true) return { status: replication };
  return pending(draft, scope, events);
}

function isReplicated(
  origin: Origin | undefined,
  key: string,
  { tags, marker, encryption }: Pick<VersionRow, 'tags' | 'marker' | 'encryption'>,
): boolean {
  // Only the client could read it.
  if (encryption?.algorithm === 'customer') return false;
  const kms = encryption?.algorithm.startsWith('aws:kms') === true;
  // What lifecycle removes here is not removed there (as on AWS).
  if (origin?.cause === 'lifecycle') return false;
  return (origin?.replicate ?? []).some((rule) => {
    if (!key.startsWith(rule.prefix)) return false;
    if (marker === true) return rule.deleteMarkers === true;
    if (kms && rule.kms !== true) return false;
    return (rule.tags ?? []).every((tag) => hasTag(tags, tag));
  });
}

function hasTag(tags: readonly Tag[] | undefined, { key, value }: Tag): boolean {
  return tags?.some((tag) => tag.key === key && tag.value === value) === true;
}

/**
 * Makes the event of what just happened to `record`, for the queues that want it. False: rows are
 * missing.
 */
export function emitEvent(
  draft: Draft,
  scope: Scope,
  { type, key, record, versionId }: EventSubject,
): boolean {
  const { events } = scope;
  if (events === undefined) return true;
  const row = rowOf(draft, scope, events, { type, key, record, versionId });
  const { modifiedMs } = record;
  const queues: EventQueue[] = [];
  if (events.notification) queues.push('notification');
  // What is PENDING is what has an event: the two are never apart.
  if (record.replication === 'PENDING' && !isRemoval(type)) queues.push('replication');
  for (const queue of queues)
    if (!addEvent(draft, scope, events, { queue, row, modifiedMs })) return false;
  return true;
}

/**
 * Has a version replicated that stands already. False: the bucket has no replication, or its backlog
 * is at its bound. Undefined: rows are missing.
 */
export function emitReplication(
  draft: Draft,
  scope: Scope,
  subject: EventSubject,
): boolean | undefined {
  const { events } = scope;
  if (events?.replication !== true) return false;
  const room = hasRoom(draft, scope, events, 'replication');
  if (room !== true) return room;
  const row = rowOf(draft, scope, events, subject);
  const { modifiedMs } = subject.record;
  return addEvent(draft, scope, events, { queue: 'replication', row, modifiedMs });
}

function rowOf(
  draft: Draft,
  scope: Scope,
  { bucket, origin }: EventScope,
  { type, key, record, versionId }: EventSubject,
): EventRow {
  const row: EventRow = {
    type,
    bucket,
    key,
    version: record.version,
    size: record.size,
    etag: record.etag,
    atMs: draft.nowMs,
    account: origin?.account ?? '',
    requestId: origin?.requestId ?? '',
    sourceIp: origin?.sourceIp ?? '',
    lane: scope.lane,
    attempts: 0,
    notBeforeMs: 0,
  };
  if (versionId !== undefined) row.versionId = versionId;
  return row;
}

interface EventSubject {
  type: EventType;
  key: string;
  record: Subject & Pick<ObjectRecord, 'replication'>;
  /** As S3 shows it. */
  versionId: string | undefined;
}

/** Of a version for good: S3 does not replicate that. */
function isRemoval(type: EventType): boolean {
  return type === 'ObjectRemoved:Delete' || type === 'LifecycleExpiration:Delete';
}

/** False: rows are missing. */
function addEvent(
  draft: Draft,
  scope: Scope,
  events: EventScope,
  { queue, row, modifiedMs }: { queue: EventQueue; row: EventRow; modifiedMs: number },
): boolean {
  const room = hasRoom(draft, scope, events, queue);
  if (room === undefined) return false;
  if (!room) {
    countDropped(draft, scope, queue);
    return true;
  }
  // In the order of the commits for one key, whatever the clock does.
  const id = draft.ids.stamp(Math.max(row.atMs, modifiedMs)).toString('hex');
  draft.insert(eventKey(queue, scope.bucketId, id), eventCodec, row);
  draft.add(eventBookKey(scope.bucketId, queue, 'waiting', scope.lane), 1);
  return true;
}

function countDropped(draft: Draft, { bucketId, lane }: Scope, queue: EventQueue): void {
  draft.add(eventBookKey(bucketId, queue, 'dropped', lane), 1);
}

/** By the counter of this metadata server alone: no two servers fight for it. Undefined: not read. */
function hasRoom(
  draft: Draft,
  { bucketId, lane }: Scope,
  { max }: EventScope,
  queue: EventQueue,
): boolean | undefined {
  const waiting = draft.row(eventBookKey(bucketId, queue, 'waiting', lane), countCodec);
  return waiting && (waiting.value ?? 0) < max;
}
