/** Objects: put, get, copy by reference, delete, tags. Each decided and made durable in one commit. */
import { Failure } from '../../base/failure.ts';
import { writerOf } from '../../base/ids.ts';
import { sealedSize } from '../../base/sealed-size.ts';
import { leaseKey } from '../cluster/rows.ts';
import type { KeyValueStore } from '../engine/kv.ts';
import {
  type Answer,
  type BlobRef,
  type CopyObjectCommand,
  DELETE_KEYS_MAX,
  type Deleted,
  type DeleteObjectCommand,
  type EventType,
  type ExpectsBucket,
  KEY_BYTES_MAX,
  type Meta,
  NULL_VERSION,
  type ObjectEncryption,
  type ObjectExtras,
  type ObjectRecord,
  type ObjectState,
  type PutObjectCommand,
  type SetObjectLockCommand,
  type Tag,
  type VersionName,
  type WriteCondition,
  type Written,
} from '../protocol.ts';
import { type BucketName, type Buckets } from './buckets.ts';
import { judgeDelete, judgeWrite } from './conditions.ts';
import { type Draft, rawCodec } from './draft.ts';
import { eventScope } from './event-scope.ts';
import { emitEvent, emitReplication, planUpdate } from './events.ts';
import { blobKey, bucketKey, isVersion, objectKey, versionKey } from './keyspace.ts';
import { changedLock, isLocked, LOCKED, NO_LOCK_CONFIGURATION } from './locks.ts';
import { readFirstPage } from './part-lists.ts';
import {
  bucketCodec,
  type BucketRow,
  extrasOf,
  objectCodec,
  publicBucket,
  publicObject,
  type VersionRow,
} from './records.ts';
import { acquire, addFreshBlob, queueMissing } from './references.ts';
import { PENDING } from './runner.ts';
import type { Turns } from './turns.ts';
import { type Scope, scopeOf } from './usage.ts';
import {
  addVersion,
  answersTo,
  isInState,
  markerAnswer,
  namedPlace,
  objectOf,
  placeOf,
  removeVersion,
  shownVersion,
} from './versions.ts';

/** Keys of one commit of DeleteObjects: two rows to read and five operations each. */
const DELETE_BATCH = 500;
/** With versioning it is up to six rows, all of one snapshot, and twelve operations. */
const DELETE_BATCH_VERSIONED = 150;
/** Tries of such a commit, before each key goes alone. */
const DELETE_BATCH_ATTEMPTS = 4;
/** Reads of an object whose part list is taken apart between two reads. */
const READS_MAX = 16;

type ObjectMethods = Pick<
  Meta,
  | 'putObject'
  | 'getObject'
  | 'copyObject'
  | 'deleteObject'
  | 'deleteObjects'
  | 'setObjectTags'
  | 'setReplication'
  | 'setObjectExtras'
  | 'setObjectLock'
>;

/** Throws Failure `invalid` for what can be no key: callers have validated it. */
export function checkKey(key: string): void {
  if (key.length === 0 || Buffer.byteLength(key) > KEY_BYTES_MAX || !key.isWellFormed()) {
    throw new Failure('invalid', `a key is 1 to ${KEY_BYTES_MAX} bytes of well-formed text`);
  }
}

/* ------------------------------------------------------------------ steps */

/**
 * Makes the commit depend on the writer's lease. False: not read yet. Throws Failure `fenced` when
 * the lease is gone, for ever.
 */
export function checkLease(draft: Draft, writer: number): boolean {
  const lease = draft.row(leaseKey(writer), rawCodec);
  if (lease === undefined) return false;
  if (lease.value === null) throw new Failure('fenced', `the lease of writer ${writer} has ended`);
  draft.check(lease);
  return true;
}

export function written(scope: Scope, record: ObjectRecord): Written {
  const { version, etag, modifiedMs } = record;
  const versionId = shownVersion(scope, record);
  return versionId === undefined
    ? { version, etag, modifiedMs }
    : { version, versionId, etag, modifiedMs };
}

export function putObjectStep(
  draft: Draft,
  scope: Scope,
  command: PutObjectCommand,
): Answer<Written> {
  const { data } = command.object;
  const row = draft.row(objectKey(scope.bucketId, command.key), objectCodec);
  if (!checkLease(draft, command.writer) || row === undefined) return PENDING;
  // The same commit again, after its answer was lost: it has happened.
  if (data.kind === 'blob' && row.value?.data.kind === 'blob') {
    if (row.value.data.blob === data.blob) return { ok: true, value: written(scope, row.value) };
  }
  const refused =
    judgeLockOfNew(scope, command.object) ?? judgeWrite(command.condition, objectOf(row.value));
  if (refused !== undefined) return refused;
  if (data.kind === 'blob' && !addFreshBlob(draft, data)) return PENDING;
  if (!queueMissing(draft, scope, command.missing)) return PENDING;
  const creation = command.copied === true ? 'copy' : 'put';
  const record = addVersion(draft, scope, { key: command.key, creation }, command.object);
  return record === undefined ? PENDING : { ok: true, value: written(scope, record) };
}

/** Copies by reference: no data moves, whatever the size. */
export function copyObjectStep(
  draft: Draft,
  scope: Scope,
  command: CopyObjectCommand,
): Answer<Written & { checksum?: ObjectRecord['checksum'] }> {
  const sourceBucket = draft.row(bucketKey(command.source.bucket), bucketCodec);
  const target = draft.row(objectKey(scope.bucketId, command.key), objectCodec);
  if (!checkLease(draft, command.writer) || target === undefined) return PENDING;
  if (sourceBucket === undefined) return PENDING;
  if (sourceBucket.value === null) return { ok: false, refusal: 'SourceChanged' };
  const sourceScope = { ...scope, bucketId: sourceBucket.value.id };
  const { key: sourceKey, version } = command.source;
  if (!isVersion(version)) return { ok: false, refusal: 'SourceChanged' };
  const place = placeOf(draft, sourceScope, sourceKey, () => version);
  if (place === undefined) return PENDING;
  const source = place.row.value;
  if (source === null || source.version !== version || source.marker === true) {
    return { ok: false, refusal: 'SourceChanged' };
  }
  const refused =
    judgeLockOfNew(scope, command.extras) ?? judgeWrite(command.condition, objectOf(target.value));
  if (refused !== undefined) return refused;
  const { size, etag, data } = source;
  const metadata = command.metadata ?? source;
  const checksum = command.checksum ?? source.checksum;
  const tags = command.tags ?? source.tags;
  draft.check(place.row);
  // First the new reference, then the old one goes: onto itself the count stays as it was.
  if (!acquire(draft, data)) return PENDING;
  const { acl, lock, replication, encryption = source.encryption } = command.extras ?? {};
  if ((encryption === undefined) !== (source.encryption === undefined)) {
    throw new Failure('invalid', 'the copy shares its blocks, so it is encrypted like its source');
  }
  const record = addVersion(
    draft,
    scope,
    { key: command.key, creation: 'copy' },
    {
      ...extrasOf({ acl, lock, replication, encryption }),
      size,
      etag,
      owner: command.owner,
      data,
      checksum,
      system: metadata.system,
      user: metadata.user,
      tags,
    },
  );
  if (record === undefined) return PENDING;
  return { ok: true, value: { ...written(scope, record), checksum } };
}

/** Only a bucket with object lock takes locks. */
export function judgeLockOfNew(
  { locks }: Pick<Scope, 'locks'>,
  extras: ObjectExtras | undefined,
): Answer<never> | undefined {
  return extras?.lock !== undefined && locks !== true ? NO_LOCK_CONFIGURATION : undefined;
}

export function deleteObjectStep(
  draft: Draft,
  bucket: Scope,
  command: Omit<DeleteObjectCommand, 'bucket'>,
): Answer<Deleted> {
  const { key, versionId, condition, bypassGovernance } = command;
  const scope: Scope = { ...bucket, bypassGovernance };
  if (versionId !== undefined)
    return deleteVersionStep(draft, scope, { key, versionId, condition });
  const row = draft.row(objectKey(scope.bucketId, key), objectCodec);
  if (row === undefined) return PENDING;
  const found = objectOf(row.value);
  const refused = judgeDelete(condition, found, row.value);
  if (refused !== undefined) return refused;
  const existed = found !== null;
  if (scope.versioning === undefined) {
    if (row.value === null) return { ok: true, value: { existed } };
    if (isLocked(row.value, draft.nowMs, bypassGovernance)) return LOCKED;
    const place = { head: row, row };
    return removeVersion(draft, scope, key, place) ? { ok: true, value: { existed } } : PENDING;
  }
  const marker = addVersion(
    draft,
    scope,
    { key, creation: 'marker' },
    { ...DELETE_MARKER, owner: scope.owner ?? '' },
  );
  if (marker === undefined) return PENDING;
  return { ok: true, value: { existed, versionId: shownVersion(scope, marker), marker: true } };
}

export const DELETE_MARKER = {
  size: 0,
  etag: '',
  data: { kind: 'none' as const },
  system: {},
  user: {},
  marker: true as const,
};

/** Deletes one version for good; what is not there is deleted already. */
function deleteVersionStep(
  draft: Draft,
  scope: Scope,
  command: { key: string; versionId: string; condition: WriteCondition | undefined },
): Answer<Deleted> {
  const { key, versionId, condition } = command;
  const place = namedPlace(draft, scope, key, versionId);
  if (place === undefined) return PENDING;
  const { value } = place;
  // Versions never change, so what is gone has been deleted by whoever asked for it before.
  if (value === null) return { ok: true, value: { existed: false, versionId } };
  const refused = judgeDelete(condition, value);
  if (refused !== undefined) return refused;
  if (isLocked(value, draft.nowMs, scope.bypassGovernance)) return LOCKED;
  if (!removeVersion(draft, scope, key, place)) return PENDING;
  const deleted: Deleted = { existed: true, versionId };
  if (value.marker === true) deleted.marker = true;
  return { ok: true, value: deleted };
}

type ChangeOfVersion = Omit<VersionName, 'bucket'> & { expectObject?: ObjectState | undefined };

/** What becomes different of a version, or why it may not. */
type Change = (value: VersionRow) => Answer<Partial<VersionRow>>;

/** Changes what is said of a version; its content, its name and its time stay. */
function changeVersionStep(
  draft: Draft,
  scope: Scope,
  { key, versionId, expectObject }: ChangeOfVersion,
  { change, type }: { change: Change; type: EventType | 'quiet' | undefined },
): Answer<{ versionId?: string | undefined }> {
  const place = namedPlace(draft, scope, key, versionId);
  if (place === undefined) return PENDING;
  const { value } = place;
  if (value === null) return notThere(versionId);
  if (value.marker === true) return markerAnswer(scope, value, versionId !== undefined);
  if (expectObject !== undefined && !isInState(value, expectObject)) {
    return { ok: false, refusal: 'ObjectChanged' };
  }
  const revision = value.revision ?? 0;
  const changed = change(value);
  if (!changed.ok) return changed;
  // What makes no event leaves the replica as it is.
  const status = { status: value.replication };
  const replication = type === undefined ? status : planUpdate(draft, scope, value);
  if (replication === undefined) return PENDING;
  const record: VersionRow = { ...value, ...changed.value, revision: revision + 1 };
  if (replication.status !== value.replication) record.replication = replication.status;
  draft.put(place.row, record);
  const shown = shownVersion(scope, value);
  if (!tellChange(draft, scope, { key, record, versionId: shown, type })) return PENDING;
  return { ok: true, value: { versionId: shown } };
}

/** Makes the event of a change; one that S3 has no event for is only replicated. False: not read. */
function tellChange(
  draft: Draft,
  scope: Scope,
  {
    type,
    ...event
  }: Omit<Parameters<typeof emitEvent>[2], 'type'> & { type: EventType | 'quiet' | undefined },
): boolean {
  if (type === undefined) return true;
  if (type !== 'quiet') return emitEvent(draft, scope, { ...event, type });
  if (event.record.replication !== 'PENDING') return true;
  // For whoever replicates, tags are what stands for all that may change of a version.
  return emitReplication(draft, scope, { ...event, type: 'ObjectTagging:Put' }) === true;
}

function setTagsStep(
  draft: Draft,
  scope: Scope,
  command: ChangeOfVersion & { tags: Tag[] },
): Answer<{ versionId?: string | undefined }> {
  const none = command.tags.length === 0;
  return changeVersionStep(draft, scope, command, {
    change: () => ({ ok: true, value: { tags: none ? undefined : command.tags } }),
    type: none ? 'ObjectTagging:Delete' : 'ObjectTagging:Put',
  });
}

function setExtrasStep(
  draft: Draft,
  scope: Scope,
  { acl, ...command }: ChangeOfVersion & Pick<ObjectExtras, 'acl'>,
): Answer<{ versionId?: string | undefined }> {
  const type = acl === undefined ? undefined : 'ObjectAcl:Put';
  const change: Change = () => ({ ok: true, value: extrasOf({ acl }) });
  return changeVersionStep(draft, scope, command, { change, type });
}

/** Gives a version another retention or legal hold, as far as those that it has allow. */
function setLockStep(
  draft: Draft,
  scope: Scope,
  command: SetObjectLockCommand,
): Answer<{ versionId?: string | undefined }> {
  if (scope.locks !== true) return NO_LOCK_CONFIGURATION;
  const change: Change = ({ lock = {} }) => {
    const next = changedLock(lock, command, draft.nowMs);
    return next.ok ? { ok: true, value: { lock: next.value } } : next;
  };
  return changeVersionStep(draft, scope, command, { change, type: 'quiet' });
}

/** Says how the replication of exactly this version stands. */
function setReplicationStep(
  draft: Draft,
  scope: Scope,
  { key, version, status }: Parameters<Meta['setReplication']>[0],
): Answer<{ changed: boolean; full?: true | undefined }> {
  if (!isVersion(version)) return { ok: true, value: { changed: false } };
  const place = placeOf(draft, scope, key, () => version);
  if (place === undefined) return PENDING;
  const { value } = place.row;
  const same = value === null || value.version !== version || value.replication === status;
  if (same || value.replication === 'REPLICA') return { ok: true, value: { changed: false } };
  const record = { ...value, replication: status };
  if (status === 'PENDING') {
    const queued = emitReplication(draft, scope, {
      type: 'ObjectCreated:Put',
      key,
      record,
      versionId: shownVersion(scope, value),
    });
    if (queued === undefined) return PENDING;
    if (!queued) return { ok: true, value: { changed: false, full: true } };
  }
  draft.put(place.row, record);
  if (status !== 'FAILED') return { ok: true, value: { changed: true } };
  const type = 'Replication:OperationFailedReplication';
  const versionId = shownVersion(scope, value);
  const told = emitEvent(draft, scope, { type, key, record, versionId });
  return told ? { ok: true, value: { changed: true } } : PENDING;
}

function notThere(versionId: string | undefined): Answer<never> {
  return { ok: false, refusal: versionId === undefined ? 'NoSuchKey' : 'NoSuchVersion' };
}

/* ------------------------------------------------------------------ with a store */

interface ObjectsSettings {
  store: KeyValueStore;
  buckets: Buckets;
  turns: Turns;
  lane: number;
  /** Events of one bucket that wait at the most. */
  eventsMax: number;
}

/** The name of a key's turn. */
export function turnOf(bucket: string, key: string): string {
  return `o${bucket}/${key}`;
}

/** What is answered when a race was lost too often. */
export function conflictOf(condition: WriteCondition | undefined): Answer<never> {
  return {
    ok: false,
    refusal: condition === undefined ? 'OperationAborted' : 'ConditionalRequestConflict',
  };
}

export function createObjects(settings: ObjectsSettings): ObjectMethods {
  const { store, buckets, turns, lane, eventsMax } = settings;
  const scopeIn = (row: BucketRow, { origin }: ExpectsBucket): Scope => {
    return { ...scopeOf(row, lane), events: eventScope(row, origin, eventsMax) };
  };

  function deleteObject(command: DeleteObjectCommand): Promise<Answer<Deleted>> {
    const { bucket, key, condition } = command;
    checkKey(key);
    return turns.take([turnOf(bucket, key)], () =>
      buckets.run(
        command,
        (bucketId) => keysOfVersion(bucketId, command),
        (draft, row) => deleteObjectStep(draft, scopeIn(row, command), command),
        { onConflict: conflictOf(condition) },
      ),
    );
  }

  /** One commit about one version, which the command names. */
  async function onVersion<C extends VersionName, T>(
    command: C,
    step: (draft: Draft, scope: Scope, command: C) => Answer<T>,
  ): Promise<Answer<T>> {
    const { bucket, key } = command;
    checkKey(key);
    return turns.take([turnOf(bucket, key)], () =>
      buckets.run(
        command,
        (bucketId) => keysOfVersion(bucketId, command),
        (draft, row) => step(draft, scopeIn(row, command), command),
      ),
    );
  }

  /** Deletes a batch in one commit; each key has its own answer. */
  function deleteBatch(
    bucket: BucketName,
    keys: readonly Omit<DeleteObjectCommand, 'bucket' | 'expect'>[],
  ): Promise<Answer<Answer<Deleted>[]>> {
    return buckets.run<Answer<Deleted>[]>(
      bucket,
      (bucketId) => keys.flatMap((command) => keysOfVersion(bucketId, command)),
      (draft, row) => {
        if (keys.length > batchOf(row)) return { ok: false, refusal: 'OperationAborted' };
        const scope = scopeIn(row, bucket);
        const value = keys.map((command) => deleteObjectStep(draft, scope, command));
        return { ok: true, value };
      },
      { attemptsMax: DELETE_BATCH_ATTEMPTS },
    );
  }

  return {
    deleteObject,

    async deleteObjects({ bucket, expect, origin, keys }) {
      if (keys.length > DELETE_KEYS_MAX) {
        throw new Failure('invalid', `DeleteObjects takes at most ${DELETE_KEYS_MAX} keys`);
      }
      for (const { key } of keys) checkKey(key);
      const found = await buckets.getBucket({ bucket, expect });
      if (!found.ok) return found;
      const size = batchOf(found.value);
      const answers: Answer<Deleted>[] = [];
      for (let from = 0; from < keys.length; from += size) {
        const batch = keys.slice(from, from + size);
        const answer = await deleteBatch({ bucket, expect, origin }, batch);
        if (answer.ok) {
          answers.push(...answer.value);
        } else if (answer.refusal !== 'OperationAborted') {
          // What is deleted is deleted: only the other keys may be tried again.
          if (answers.length === 0) return answer;
          answers.push(...batch.map(() => answer));
        } else {
          // Somebody keeps writing one of them: that must not hold up the others.
          for (const command of batch)
            answers.push(await deleteObject({ bucket, expect, origin, ...command }));
        }
      }
      return { ok: true, value: answers };
    },

    async putObject(command) {
      const { bucket, key, writer, object, condition } = command;
      checkKey(key);
      checkNewData(writer, object.size, object.data, object.encryption);
      return turns.take([turnOf(bucket, key)], () =>
        buckets.run(
          command,
          (bucketId) => keysOfWrite(bucketId, command),
          (draft, row) => putObjectStep(draft, scopeIn(row, command), command),
          { onConflict: conflictOf(condition), quota: true },
        ),
      );
    },

    async copyObject(command) {
      const { source, bucket, key, writer, condition } = command;
      checkKey(key);
      checkKey(source.key);
      return turns.take([turnOf(bucket, key), turnOf(source.bucket, source.key)], () =>
        buckets.run(
          command,
          (bucketId) => {
            const keys = [objectKey(bucketId, key), leaseKey(writer), bucketKey(source.bucket)];
            const hint = buckets.hint(source.bucket);
            if (hint !== undefined) keys.push(objectKey(hint, source.key));
            return keys;
          },
          (draft, row) => copyObjectStep(draft, scopeIn(row, command), command),
          { onConflict: conflictOf(condition), quota: true },
        ),
      );
    },

    async getObject(query) {
      const { key, versionId, withParts } = query;
      checkKey(key);
      for (let reads = 0; reads < READS_MAX; reads++) {
        const found = await readVersion(buckets, query);
        if (!found.ok) return found;
        const { bucket, row } = found.value;
        if (row === undefined) return notThere(versionId);
        if (row.marker === true) return markerAnswer(bucket, row, versionId !== undefined);
        const value = { bucket: publicBucket(bucket), object: publicObject(row) };
        const { data } = value.object;
        if (withParts !== true || data.kind !== 'parts') return { ok: true, value };
        const parts = await readFirstPage(store, data.list);
        // Gone: the object was replaced and its list taken apart since. Look again.
        if (parts !== undefined) return { ok: true, value: { ...value, parts } };
      }
      throw new Failure('internal', 'the part list of an object is missing');
    },

    setObjectTags: (command) => onVersion(command, setTagsStep),
    setObjectLock: (command) => onVersion(command, setLockStep),
    setObjectExtras: (command) => onVersion(command, setExtrasStep),
    setReplication: (command) =>
      onVersion({ ...command, versionId: command.version }, setReplicationStep),
  };
}

/** The rows that a step looks at which writes new content to a key. */
export function keysOfWrite(
  bucketId: number,
  { key, writer, object: { data } }: Pick<PutObjectCommand, 'key' | 'writer' | 'object'>,
): Buffer[] {
  const keys = [objectKey(bucketId, key), leaseKey(writer)];
  if (data.kind === 'blob') keys.push(blobKey(data.blob));
  return keys;
}

function batchOf({ versioning }: Pick<BucketRow, 'versioning'>): number {
  return versioning === undefined ? DELETE_BATCH : DELETE_BATCH_VERSIONED;
}

/** The rows in which a version can be, as far as its name tells. */
function keysOfVersion(
  bucketId: number,
  { key, versionId }: Omit<VersionName, 'bucket'>,
): Buffer[] {
  const head = objectKey(bucketId, key);
  if (versionId === undefined || !isVersion(versionId)) return [head];
  return [head, versionKey(bucketId, key, versionId)];
}

/** The version that is asked for; without `row` there is none. */
async function readVersion(
  buckets: Buckets,
  { bucket, key, versionId, expect }: VersionName,
): Promise<Answer<{ bucket: BucketRow; row?: VersionRow }>> {
  // An older version that goes by `null` is known by another id, which the current one tells.
  let identity = versionId;
  for (;;) {
    const name = { key, versionId: identity };
    const found = await buckets.read({ bucket, expect }, (id) => keysOfVersion(id, name));
    if (!found.ok) return found;
    const [first, second] = found.value.entries;
    const nothing = { ok: true as const, value: { bucket: found.value.bucket } };
    const foundRow = (row: VersionRow) => ({ ok: true as const, value: { ...nothing.value, row } });
    if (first === null || first === undefined) return nothing;
    const head = objectCodec.decode(first.value);
    if (versionId === undefined || answersTo(head, versionId)) return foundRow(head);
    const row = second == null ? undefined : objectCodec.decode(second.value);
    if (row !== undefined && answersTo(row, versionId)) return foundRow(row);
    const next = versionId === NULL_VERSION ? head.olderNull : undefined;
    if (next === undefined || next === identity) return nothing;
    identity = next;
  }
}

type NewData = { kind: 'none' } | ({ kind: 'blob' | 'fresh' | 'reference' } & BlobRef);

/**
 * A blob is written by the one who commits it, and is as long as what it is the content of, or as
 * long as that is when it is sealed. Only what is not encrypted can be shared with an upload.
 */
export function checkNewData(
  writer: number,
  size: number,
  data: NewData,
  encryption: ObjectEncryption | undefined,
): void {
  if (data.kind === 'none') {
    if (size !== 0) throw new Failure('invalid', 'only what is empty has no blob');
    return;
  }
  const stored = encryption === undefined ? size : sealedSize(size, data.blockSize);
  if (data.size !== stored) throw new Failure('invalid', 'the blob has another size');
  if (data.kind === 'reference' && encryption !== undefined) {
    throw new Failure('invalid', 'a blob of an encrypted upload is its own');
  }
  if (data.kind !== 'reference' && writerOf(data.blob) !== writer) {
    throw new Failure('invalid', 'the blob is of another writer');
  }
}
