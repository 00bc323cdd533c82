/**
 * RenameObject: an object gets another key in its bucket, in one commit and without moving data.
 *
 * In a bucket that never had versioning the old key is gone afterwards, and the object stays what it
 * is, its time included. In one with versioning a version cannot change its key: the new key gets a
 * new version with the same content and metadata, the old key a delete marker. To those who get the
 * bucket's events it is a copy and a removal.
 */
import { createHash } from 'node:crypto';
import type { Answer, Meta, RenameCondition, RenameObjectCommand, Written } from '../protocol.ts';
import type { Buckets } from './buckets.ts';
import { COMPLETED_KEEP_MS } from './complete.ts';
import type { Draft } from './draft.ts';
import { eventScope } from './event-scope.ts';
import { completedKey, objectKey } from './keyspace.ts';
import { checkKey, conflictOf, DELETE_MARKER, turnOf, written } from './objects.ts';
import { completedCodec, extrasOf, objectCodec, type VersionRow } from './records.ts';
import { acquire, enqueue } from './references.ts';
import { PENDING } from './runner.ts';
import type { Turns } from './turns.ts';
import { type Scope, scopeOf } from './usage.ts';
import { addVersion, isInState, markerAnswer, objectOf, removeVersion } from './versions.ts';

export function renameObjectStep(
  draft: Draft,
  scope: Scope,
  command: RenameObjectCommand,
): Answer<Written> {
  const known = knownToken(draft, scope, command);
  if (known !== undefined) return known;
  const from = draft.row(objectKey(scope.bucketId, command.source), objectCodec);
  const to = draft.row(objectKey(scope.bucketId, command.key), objectCodec);
  if (from === undefined || to === undefined) return PENDING;
  const source = from.value;
  if (source === null) return { ok: false, refusal: 'NoSuchKey' };
  if (source.marker === true) return markerAnswer(scope, source, false);
  const { expectObject } = command;
  if (expectObject !== undefined && !isInState(source, expectObject)) {
    return { ok: false, refusal: 'ObjectChanged' };
  }
  const refused =
    judgeRename(command.sourceCondition, source) ??
    judgeRename(command.condition, objectOf(to.value));
  if (refused !== undefined) return refused;
  // First a reference more, then the old one goes: the content never is without one.
  if (!acquire(draft, source.data)) return PENDING;
  const added = addVersion(draft, scope, { key: command.key, creation: 'copy' }, contentOf(source));
  if (added === undefined) return PENDING;
  let record = added;
  if (scope.versioning === undefined) {
    const row = draft.row(objectKey(scope.bucketId, command.key), objectCodec);
    const place = { head: from, row: from };
    if (row === undefined || !removeVersion(draft, scope, command.source, place)) return PENDING;
    record = { ...added, modifiedMs: source.modifiedMs };
    draft.put(row, record);
  } else {
    const marker = { ...DELETE_MARKER, owner: scope.owner ?? '' };
    const place = { key: command.source, creation: 'marker' as const };
    if (addVersion(draft, scope, place, marker) === undefined) return PENDING;
  }
  const answer = written(scope, record);
  if (command.token !== undefined) keepToken(draft, scope, command, answer);
  return { ok: true, value: answer };
}

/** Everything but the name, the place in the chain and the lock, which belongs to the old version. */
function contentOf(source: VersionRow) {
  const { size, etag, owner, data, checksum, system, user, tags, acl, encryption } = source;
  return {
    ...extrasOf({ acl, encryption }),
    size,
    etag,
    owner,
    data,
    system,
    user,
    ...(checksum === undefined ? {} : { checksum }),
    ...(tags === undefined ? {} : { tags }),
  };
}

/** Undefined: the rename may go on. Dates count whole seconds, as they do in headers. */
export function judgeRename(
  condition: RenameCondition | undefined,
  object: VersionRow | null,
): Answer<never> | undefined {
  if (condition === undefined) return undefined;
  const { ifMatch, ifNoneMatch, ifModifiedSinceMs, ifUnmodifiedSinceMs } = condition;
  const failed = (name: string): Answer<never> => ({
    ok: false,
    refusal: 'PreconditionFailed',
    detail: { Condition: name },
  });
  if (object === null) {
    if (ifMatch !== undefined) return failed('If-Match');
    return ifModifiedSinceMs === undefined ? undefined : failed('If-Modified-Since');
  }
  const second = Math.floor(object.modifiedMs / 1000);
  const matches = (tag: string): boolean => tag === '*' || tag === object.etag;
  if (ifMatch !== undefined && !matches(ifMatch)) return failed('If-Match');
  if (ifNoneMatch !== undefined && matches(ifNoneMatch)) return failed('If-None-Match');
  if (ifModifiedSinceMs !== undefined && second <= Math.floor(ifModifiedSinceMs / 1000)) {
    return failed('If-Modified-Since');
  }
  if (ifUnmodifiedSinceMs !== undefined && second > Math.floor(ifUnmodifiedSinceMs / 1000)) {
    return failed('If-Unmodified-Since');
  }
  return undefined;
}

/* ------------------------------------------------------------------ tokens */

/**
 * A rename with a token is kept like the answer of a completed upload, and for as long: whoever
 * repeats it gets the same answer, and nothing is renamed again.
 */
function tokenId(bucketId: number, token: string): string {
  return createHash('sha256').update(`rename ${bucketId} ${token}`).digest('hex').slice(0, 44);
}

const keysOf = ({ source, key }: RenameObjectCommand): string => JSON.stringify([source, key]);

function knownToken(
  draft: Draft,
  { bucketId }: Scope,
  command: RenameObjectCommand,
): Answer<Written> | undefined {
  if (command.token === undefined) return undefined;
  const row = draft.row(completedKey(tokenId(bucketId, command.token)), completedCodec);
  if (row === undefined) return PENDING;
  if (row.value === null) return undefined;
  if (row.value.key !== keysOf(command)) {
    return { ok: false, refusal: 'IdempotencyParameterMismatch' };
  }
  const { version, versionId, etag, modifiedMs } = row.value.result;
  const answer: Written = { version, etag, modifiedMs };
  if (versionId !== undefined) answer.versionId = versionId;
  return { ok: true, value: answer };
}

function keepToken(
  draft: Draft,
  scope: Scope,
  command: RenameObjectCommand,
  answer: Written,
): void {
  const uploadId = tokenId(scope.bucketId, command.token ?? '');
  const row = draft.row(completedKey(uploadId), completedCodec);
  if (row === undefined) return;
  const result = { ...answer, size: 0 };
  draft.put(row, { bucketId: scope.bucketId, key: keysOf(command), result });
  enqueue(draft, scope, { kind: 'completed', uploadId }, draft.nowMs + COMPLETED_KEEP_MS);
}

/* ------------------------------------------------------------------ with a store */

interface RenameSettings {
  buckets: Buckets;
  turns: Turns;
  lane: number;
  eventsMax: number;
}

export function createRename({
  buckets,
  turns,
  lane,
  eventsMax,
}: RenameSettings): Pick<Meta, 'renameObject'> {
  return {
    async renameObject(command) {
      const { bucket, source, key } = command;
      checkKey(source);
      checkKey(key);
      return turns.take([turnOf(bucket, source), turnOf(bucket, key)], () =>
        buckets.run(
          command,
          (bucketId) => [objectKey(bucketId, source), objectKey(bucketId, key)],
          (draft, row) => {
            const events = eventScope(row, command.origin, eventsMax);
            return renameObjectStep(draft, { ...scopeOf(row, lane), events }, command);
          },
          { onConflict: conflictOf(command.condition), quota: true },
        ),
      );
    },
  };
}
