/** Objects: put, get, copy by reference, delete. Each decided and made durable in one commit. */
import { Failure } from '../../base/failure.ts';
import { type BlobId, writerOf } from '../../base/ids.ts';
import { leaseKey } from '../cluster/rows.ts';
import type { KeyValueStore } from '../engine/kv.ts';
import {
  type Answer,
  type CopyObjectCommand,
  DELETE_KEYS_MAX,
  type DeleteObjectCommand,
  KEY_BYTES_MAX,
  type Meta,
  type ObjectRecord,
  type PutObjectCommand,
  type WriteCondition,
  type Written,
} from '../protocol.ts';
import { type Buckets, NO_SUCH_BUCKET } from './buckets.ts';
import { judgeDelete, judgeWrite } from './conditions.ts';
import { type Draft, rawCodec, type Row } from './draft.ts';
import { nextVersion } from './ids.ts';
import { blobKey, bucketKey, objectKey } from './keyspace.ts';
import { readFirstPage } from './part-lists.ts';
import { bucketCodec, objectCodec, publicBucket } from './records.ts';
import { acquire, addFreshBlob, queueMissing, release } from './references.ts';
import { PENDING } from './runner.ts';
import type { Turns } from './turns.ts';
import { countUsage, type Scope } from './usage.ts';

/** Keys of one commit of DeleteObjects: at most five operations each. */
const DELETE_BATCH = 500;
/** Tries of such a commit, before each key goes alone. */
const DELETE_BATCH_ATTEMPTS = 4;
/** Reads of an object whose part list is taken apart between two reads. */
const READS_MAX = 16;

type ObjectMethods = Pick<
  Meta,
  'putObject' | 'getObject' | 'copyObject' | 'deleteObject' | 'deleteObjects'
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

/** What a new version is made of, before it has a name and a time. */
type NewVersion = Omit<ObjectRecord, 'version' | 'modifiedMs'>;

/**
 * Replaces what is under the key: the new row, the fate of the old version's data, the counters.
 * The references of the new data are the caller's. False: rows are missing.
 */
export function replaceObject(
  draft: Draft,
  scope: Scope,
  row: Row<ObjectRecord>,
  next: NewVersion,
): ObjectRecord | undefined {
  const old = row.value;
  if (old !== null && !release(draft, scope, old.data)) return undefined;
  // LastModified never goes back under one key, whatever the clock does.
  const modifiedMs = Math.max(draft.nowMs, old?.modifiedMs ?? 0);
  const version = nextVersion(old?.version, modifiedMs, draft.ids.random(8));
  const record: ObjectRecord = { ...next, version, modifiedMs };
  draft.put(row, record);
  countUsage(draft, scope, old === null ? 1 : 0, next.size - (old?.size ?? 0));
  return record;
}

function written({ version, etag, modifiedMs }: ObjectRecord): Written {
  return { version, etag, modifiedMs };
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
    if (row.value.data.blob === data.blob) return { ok: true, value: written(row.value) };
  }
  const refused = judgeWrite(command.condition, row.value);
  if (refused !== undefined) return refused;
  if (data.kind === 'blob' && !addFreshBlob(draft, data)) return PENDING;
  if (!queueMissing(draft, scope, command.missing)) return PENDING;
  const record = replaceObject(draft, scope, row, command.object);
  return record === undefined ? PENDING : { ok: true, value: written(record) };
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
  const sourceKey = objectKey(sourceBucket.value.id, command.source.key);
  const source = draft.row(sourceKey, objectCodec);
  if (source === undefined) return PENDING;
  if (source.value?.version !== command.source.version) {
    return { ok: false, refusal: 'SourceChanged' };
  }
  const refused = judgeWrite(command.condition, target.value);
  if (refused !== undefined) return refused;
  const { size, etag, data } = source.value;
  const metadata = command.metadata ?? source.value;
  const checksum = command.checksum ?? source.value.checksum;
  draft.check(source);
  // First the new reference, then the old one goes: onto itself the count stays as it was.
  if (!acquire(draft, data)) return PENDING;
  const record = replaceObject(draft, scope, target, {
    size,
    etag,
    owner: command.owner,
    data,
    checksum,
    system: metadata.system,
    user: metadata.user,
  });
  return record === undefined ? PENDING : { ok: true, value: { ...written(record), checksum } };
}

export function deleteObjectStep(
  draft: Draft,
  scope: Scope,
  key: string,
  condition: WriteCondition | undefined,
): Answer<{ existed: boolean }> {
  const row = draft.row(objectKey(scope.bucketId, key), objectCodec);
  if (row === undefined) return PENDING;
  const refused = judgeDelete(condition, row.value);
  if (refused !== undefined) return refused;
  if (row.value === null) return { ok: true, value: { existed: false } };
  const { data, size } = row.value;
  if (!release(draft, scope, data)) return PENDING;
  draft.remove(row);
  countUsage(draft, scope, -1, -size);
  return { ok: true, value: { existed: true } };
}

/* ------------------------------------------------------------------ with a store */

interface ObjectsSettings {
  store: KeyValueStore;
  buckets: Buckets;
  turns: Turns;
  lane: number;
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

export function createObjects({ store, buckets, turns, lane }: ObjectsSettings): ObjectMethods {
  function deleteObject(command: DeleteObjectCommand): Promise<Answer<{ existed: boolean }>> {
    const { bucket, key, condition } = command;
    checkKey(key);
    return turns.take([turnOf(bucket, key)], () =>
      buckets.run(
        bucket,
        (bucketId) => [objectKey(bucketId, key)],
        (draft, { id }) => deleteObjectStep(draft, { bucketId: id, lane }, key, condition),
        { onConflict: conflictOf(condition) },
      ),
    );
  }

  /** Deletes a batch in one commit; each key has its own answer. */
  function deleteBatch(
    bucket: string,
    keys: readonly { key: string; condition?: WriteCondition | undefined }[],
  ): Promise<Answer<Answer<{ existed: boolean }>[]>> {
    return buckets.run<Answer<{ existed: boolean }>[]>(
      bucket,
      (bucketId) => keys.map(({ key }) => objectKey(bucketId, key)),
      (draft, { id }) => ({
        ok: true,
        value: keys.map(({ key, condition }) =>
          deleteObjectStep(draft, { bucketId: id, lane }, key, condition),
        ),
      }),
      { attemptsMax: DELETE_BATCH_ATTEMPTS },
    );
  }

  return {
    deleteObject,

    async deleteObjects({ bucket, keys }) {
      if (keys.length > DELETE_KEYS_MAX) {
        throw new Failure('invalid', `DeleteObjects takes at most ${DELETE_KEYS_MAX} keys`);
      }
      for (const { key } of keys) checkKey(key);
      const answers: Answer<{ existed: boolean }>[] = [];
      for (let from = 0; from === 0 || from < keys.length; from += DELETE_BATCH) {
        const batch = keys.slice(from, from + DELETE_BATCH);
        const answer = await deleteBatch(bucket, batch);
        if (answer.ok) {
          answers.push(...answer.value);
        } else if (answer.refusal !== 'OperationAborted') {
          return answer;
        } else {
          // Somebody keeps writing one of them: that must not hold up the others.
          for (const { key, condition } of batch) {
            answers.push(await deleteObject({ bucket, key, condition }));
          }
        }
      }
      return { ok: true, value: answers };
    },

    async putObject(command) {
      const { bucket, key, writer, object, condition } = command;
      checkKey(key);
      checkNewData(writer, object.size, object.data);
      const { data } = object;
      return turns.take([turnOf(bucket, key)], () =>
        buckets.run(
          bucket,
          (bucketId) => {
            const keys = [objectKey(bucketId, key), leaseKey(writer)];
            if (data.kind === 'blob') keys.push(blobKey(data.blob));
            return keys;
          },
          (draft, { id }) => putObjectStep(draft, { bucketId: id, lane }, command),
          { onConflict: conflictOf(condition) },
        ),
      );
    },

    async copyObject(command) {
      const { source, bucket, key, writer, condition } = command;
      checkKey(key);
      checkKey(source.key);
      return turns.take([turnOf(bucket, key), turnOf(source.bucket, source.key)], () =>
        buckets.run(
          bucket,
          (bucketId) => {
            const keys = [objectKey(bucketId, key), leaseKey(writer), bucketKey(source.bucket)];
            const hint = buckets.hint(source.bucket);
            if (hint !== undefined) keys.push(objectKey(hint, source.key));
            return keys;
          },
          (draft, { id }) => copyObjectStep(draft, { bucketId: id, lane }, command),
          { onConflict: conflictOf(condition) },
        ),
      );
    },

    async getObject({ bucket, key, withParts }) {
      checkKey(key);
      for (let reads = 0; reads < READS_MAX; reads++) {
        const found = await buckets.read(bucket, (bucketId) => [objectKey(bucketId, key)]);
        if (found === undefined) return NO_SUCH_BUCKET;
        const entry = found.entries[0];
        if (entry === null || entry === undefined) return { ok: false, refusal: 'NoSuchKey' };
        const value = {
          bucket: publicBucket(found.bucket),
          object: objectCodec.decode(entry.value),
        };
        const { data } = value.object;
        if (withParts !== true || data.kind !== 'parts') return { ok: true, value };
        const parts = await readFirstPage(store, data.list);
        // Gone: the object was replaced and its list taken apart since. Look again.
        if (parts !== undefined) return { ok: true, value: { ...value, parts } };
      }
      throw new Failure('internal', 'the part list of an object is missing');
    },
  };
}

type NewData =
  | { kind: 'none' }
  | { kind: 'blob' | 'fresh' | 'reference'; blob: BlobId; size: number };

/** A blob is written by the one who commits it, and is as long as what it is the content of. */
export function checkNewData(writer: number, size: number, data: NewData): void {
  if (data.kind === 'none') {
    if (size !== 0) throw new Failure('invalid', 'only what is empty has no blob');
    return;
  }
  if (data.size !== size) throw new Failure('invalid', 'the blob has another size');
  if (data.kind !== 'reference' && writerOf(data.blob) !== writer) {
    throw new Failure('invalid', 'the blob is of another writer');
  }
}
