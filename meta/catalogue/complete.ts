/**
 * CompleteMultipartUpload. The parts are judged first, so that a bad request leaves the upload open
 * and untouched; then the upload is frozen by one commit, after which no part can be added or
 * replaced; then the parts are read and judged again, and one more commit makes the object, keeps
 * the answer for whoever repeats the request, and ends the upload.
 */
import { createHash } from 'node:crypto';
import { multipartChecksum } from '../../base/digest.ts';
import type { ObjectChecksum } from '../../base/object-checksum.ts';
import type { KeyValueStore } from '../engine/kv.ts';
import {
  type Answer,
  type CompletedUpload,
  type CompleteUploadCommand,
  type Meta,
  OBJECT_BYTES_MAX,
  PART_BYTES_MIN,
  PART_NUMBER_MAX,
  type UploadName,
} from '../protocol.ts';
import type { Attempts } from './attempts.ts';
import type { Buckets } from './buckets.ts';
import { judgeWrite } from './conditions.ts';
import type { Draft } from './draft.ts';
import { eventScope } from './event-scope.ts';
import { completedKey, isUploadId, objectKey, uploadKey } from './keyspace.ts';
import { checkKey, conflictOf, turnOf } from './objects.ts';
import { insertPartList, type NumberedPart } from './part-lists.ts';
import { completedCodec, extrasOf, objectCodec, uploadCodec, type UploadRow } from './records.ts';
import { enqueue } from './references.ts';
import { PENDING } from './runner.ts';
import type { Turns } from './turns.ts';
import { asMissing, NO_SUCH_UPLOAD, readPartRows, uploadTurn } from './uploads.ts';
import { type Scope, scopeOf } from './usage.ts';
import { addVersion, objectOf, shownVersion } from './versions.ts';

/** How long the answer of a completed upload is kept for repetitions: a day and some clock error. */
export const COMPLETED_KEEP_MS = 25 * 60 * 60 * 1000;

/** Tries of one request while other servers complete the same upload. */
const TRIES_MAX = 10;

/** What the parts of a valid request make. */
interface Judged {
  /** In object order. */
  parts: NumberedPart[];
  size: number;
  etag: string;
  checksum: ObjectChecksum | undefined;
}

/* ------------------------------------------------------------------ judging */

function invalidRequest(message: string): Answer<never> {
  return { ok: false, refusal: 'InvalidRequest', message };
}

/**
 * Holds what the client lists against the parts there are. Pure. Order of the checks: ascending
 * numbers, existence and ETag, sizes, then the checksums.
 */
export function judgeParts(
  upload: Pick<UploadRow, 'checksum'>,
  stored: readonly NumberedPart[],
  command: CompleteUploadCommand,
  partBytesMin: number = PART_BYTES_MIN,
): Answer<Judged> {
  const chosen = chooseParts(stored, command);
  if (!chosen.ok) return chosen;
  const parts = chosen.value;
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  const refused = judgeSizes(parts, size, command, partBytesMin);
  if (refused !== undefined) return refused;
  const checksum = judgeChecksum(upload, parts, command);
  if (!checksum.ok) return checksum;
  return { ok: true, value: { parts, size, etag: etagOf(parts), checksum: checksum.value } };
}

/** ETag of a multipart object: MD5 of the parts' MD5s, and their number. */
function etagOf(parts: readonly NumberedPart[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part.etag, 'hex');
  return `${hash.digest('hex')}-${parts.length}`;
}

function chooseParts(
  stored: readonly NumberedPart[],
  command: CompleteUploadCommand,
): Answer<NumberedPart[]> {
  const listed: CompleteUploadCommand['parts'] = [];
  for (const part of command.parts) {
    const before = listed.at(-1)?.number ?? 1;
    if (part.number < before) return { ok: false, refusal: 'InvalidPartOrder' };
    // Named again, after it was uploaded again: what is said last counts.
    if (part.number === listed.at(-1)?.number) listed.pop();
    listed.push(part);
  }
  const byNumber = new Map(stored.map((part) => [part.number, part]));
  const chosen: NumberedPart[] = [];
  for (const { number, etag, checksum } of listed) {
    const part = byNumber.get(number);
    const sound =
      part !== undefined &&
      part.etag === etag &&
      (checksum === undefined || checksum === part.checksum);
    if (!sound) {
      const detail = { UploadId: command.uploadId, PartNumber: String(number), ETag: etag };
      return { ok: false, refusal: 'InvalidPart', detail };
    }
    chosen.push(part);
  }
  return { ok: true, value: chosen };
}

function judgeSizes(
  parts: readonly NumberedPart[],
  size: number,
  command: CompleteUploadCommand,
  partBytesMin: number,
): Answer<never> | undefined {
  const small = parts.find((part, index) => {
    return part.size < partBytesMin && index < parts.length - 1;
  });
  if (small !== undefined) {
    const detail = {
      ProposedSize: String(small.size),
      MinSizeAllowed: String(partBytesMin),
      PartNumber: String(small.number),
      ETag: small.etag,
    };
    return { ok: false, refusal: 'EntityTooSmall', detail };
  }
  if (size > OBJECT_BYTES_MAX) return { ok: false, refusal: 'EntityTooLarge' };
  if (command.expectedSize !== undefined && command.expectedSize !== size) {
    return invalidRequest(
      `The provided 'x-amz-mp-object-size' header value ${command.expectedSize} does not match what was computed: ${size}`,
    );
  }
  return undefined;
}

/**
 * The object's checksum, made from those of the parts as they were stored. A list without checksums
 * is taken, too (AWS refuses it for composite ones): its ETags name the same bytes.
 */
function judgeChecksum(
  upload: Pick<UploadRow, 'checksum'>,
  parts: readonly NumberedPart[],
  { expected, expectedType }: CompleteUploadCommand,
): Answer<ObjectChecksum | undefined> {
  const declared = upload.checksum;
  if (declared === undefined) {
    if (expected === undefined && expectedType === undefined) return { ok: true, value: undefined };
    return invalidRequest('The upload was created without a checksum algorithm.');
  }
  const { algorithm, type } = declared;
  if (expectedType !== undefined && expectedType !== type) {
    return invalidRequest(
      `The upload was created using the ${type} checksum mode. The complete request must use the same checksum mode.`,
    );
  }
  if (expected !== undefined && expected.algorithm !== algorithm) {
    return invalidRequest(
      `The upload was created using a ${algorithm.toLowerCase()} checksum. The complete request must use the same algorithm.`,
    );
  }
  const values: { value: string; size: number }[] = [];
  for (const part of parts) {
    // Cannot be: a part of such an upload is not taken without a checksum.
    if (part.checksum === undefined) return invalidRequest('A part has no checksum.');
    values.push({ value: part.checksum, size: part.size });
  }
  const value = multipartChecksum(algorithm, type, values);
  if (expected !== undefined && expected.value !== value) {
    return { ok: false, refusal: 'BadDigest' };
  }
  return { ok: true, value: { algorithm, type, value } };
}

/* ------------------------------------------------------------------ steps */

/** What stands: the upload, or the answer of the time it was completed. */
type Standing = { upload: UploadRow } | { done: CompletedUpload };

function standing(draft: Draft, scope: Scope, { key, uploadId }: UploadName): Answer<Standing> {
  const upload = draft.row(uploadKey(scope.bucketId, key, uploadId), uploadCodec);
  const completed = draft.row(completedKey(uploadId), completedCodec);
  if (upload === undefined || completed === undefined) return PENDING;
  if (upload.value !== null) return { ok: true, value: { upload: upload.value } };
  const kept = completed.value;
  // An id is bound to its bucket and key.
  if (kept === null || kept.bucketId !== scope.bucketId || kept.key !== key) return NO_SUCH_UPLOAD;
  return { ok: true, value: { done: kept.result } };
}

/** Freezes the upload. One that a dead attempt froze is frozen anew. */
function freezeStep(
  draft: Draft,
  scope: Scope,
  command: UploadName,
  attempt: string,
): Answer<Standing> {
  const found = standing(draft, scope, command);
  if (!found.ok || 'done' in found.value) return found;
  const row = draft.row(uploadKey(scope.bucketId, command.key, command.uploadId), uploadCodec);
  if (row === undefined) return PENDING;
  draft.put(row, { ...found.value.upload, completing: attempt });
  return found;
}

/** Opens the upload again, if it is this attempt that froze it. */
function unfreezeStep(
  draft: Draft,
  scope: Scope,
  { key, uploadId }: UploadName,
  attempt: string,
): Answer<null> {
  const row = draft.row(uploadKey(scope.bucketId, key, uploadId), uploadCodec);
  if (row === undefined) return PENDING;
  if (row.value?.completing === attempt) draft.put(row, { ...row.value, completing: undefined });
  return { ok: true, value: null };
}

/**
 * The commit that makes the object of an upload frozen by `attempt`. The blobs change hands from the
 * part rows to the list; the part rows that stay behind are cleaned up through the queue.
 */
export function completeStep(
  draft: Draft,
  scope: Scope,
  command: CompleteUploadCommand,
  attempt: string,
  judged: Judged,
): Answer<CompletedUpload> {
  const { key, uploadId } = command;
  const found = standing(draft, scope, command);
  if (!found.ok) return found;
  if ('done' in found.value) return { ok: true, value: found.value.done };
  const { upload } = found.value;
  if (upload.completing !== attempt) return { ok: false, refusal: 'OperationAborted' };
  const row = draft.row(uploadKey(scope.bucketId, key, uploadId), uploadCodec);
  const object = draft.row(objectKey(scope.bucketId, key), objectCodec);
  const completed = draft.row(completedKey(uploadId), completedCodec);
  if (row === undefined || object === undefined || completed === undefined) return PENDING;
  const refused = judgeWrite(command.condition, objectOf(object.value));
  if (refused !== undefined) return refused;
  const { parts, size, etag, checksum } = judged;
  const list = draft.ids.random(16).toString('hex');
  const record = addVersion(
    draft,
    scope,
    { key, creation: 'complete' },
    {
      size,
      etag,
      owner: upload.owner,
      data: { kind: 'parts', list, size, count: parts.length },
      ...(checksum === undefined ? {} : { checksum }),
      system: upload.system,
      user: upload.user,
      ...extrasOf(upload),
      ...(upload.tags === undefined ? {} : { tags: upload.tags }),
    },
  );
  if (record === undefined) return PENDING;
  insertPartList(draft, list, parts);
  const { version, modifiedMs } = record;
  const result: CompletedUpload = { version, etag, modifiedMs, size };
  if (checksum !== undefined) result.checksum = checksum;
  if (upload.encryption !== undefined) {
    const { wrappedKey: _, ...shown } = upload.encryption;
    result.encryption = shown;
  }
  const versionId = shownVersion(scope, record);
  if (versionId !== undefined) result.versionId = versionId;
  draft.remove(row);
  draft.put(completed, { bucketId: scope.bucketId, key, result });
  enqueue(draft, scope, { kind: 'upload', uploadId, used: usedBits(parts) });
  enqueue(draft, scope, { kind: 'completed', uploadId }, draft.nowMs + COMPLETED_KEEP_MS);
  return { ok: true, value: result };
}

/** Bit n: part n went into the object. */
export function usedBits(parts: readonly { number: number }[]): Buffer {
  const last = parts.at(-1)?.number ?? 0;
  const bits = Buffer.alloc((last >> 3) + 1);
  for (const { number } of parts) {
    bits[number >> 3] = (bits[number >> 3] ?? 0) | (1 << (number & 7));
  }
  return bits;
}

export function isUsed(bits: Buffer, number: number): boolean {
  return ((bits[number >> 3] ?? 0) & (1 << (number & 7))) !== 0;
}

/* ------------------------------------------------------------------ with a store */

interface CompleteSettings {
  store: KeyValueStore;
  buckets: Buckets;
  turns: Turns;
  attempts: Attempts;
  lane: number;
  /** Events of one bucket that wait at the most. */
  eventsMax: number;
  /** Bytes of every part but the last, at least. */
  partBytesMin?: number | undefined;
  /** A short wait before another try. */
  pause: () => Promise<void>;
}

export function createComplete(settings: CompleteSettings): Pick<Meta, 'completeUpload'> {
  const { store, buckets, turns, attempts, lane } = settings;

  /** All steps see the upload's rows. */
  function run<T>(
    command: CompleteUploadCommand,
    step: (draft: Draft, scope: Scope) => Answer<T>,
  ): Promise<Answer<T>> {
    const { key, uploadId, condition } = command;
    return buckets.run(
      command,
      (id) => [uploadKey(id, key, uploadId), completedKey(uploadId), objectKey(id, key)],
      (draft, row) => {
        const events = eventScope(row, command.origin, settings.eventsMax);
        return step(draft, { ...scopeOf(row, lane), events });
      },
      { onConflict: conflictOf(condition), quota: true },
    );
  }

  async function judge(upload: UploadRow, command: CompleteUploadCommand): Promise<Answer<Judged>> {
    const stored = await readPartRows(store, command.uploadId, 0, PART_NUMBER_MAX);
    return judgeParts(upload, stored, command, settings.partBytesMin);
  }

  async function complete(
    command: CompleteUploadCommand,
    attempt: string,
  ): Promise<Answer<CompletedUpload>> {
    const open = await run(command, (draft, scope) => standing(draft, scope, command));
    if (!open.ok) return open;
    if ('done' in open.value) return { ok: true, value: open.value.done };
    const first = await judge(open.value.upload, command);
    // Judged while the upload ended: then that is the answer, not what was left of its parts.
    const frozen = await run(command, (draft, scope) =>
      first.ok ? freezeStep(draft, scope, command, attempt) : standing(draft, scope, command),
    );
    if (!frozen.ok) return frozen;
    if ('done' in frozen.value) return { ok: true, value: frozen.value.done };
    if (!first.ok) return first;
    const judged = await judge(frozen.value.upload, command);
    const answer = judged.ok
      ? await run(command, (draft, scope) =>
          completeStep(draft, scope, command, attempt, judged.value),
        )
      : judged;
    if (!answer.ok) {
      // In whatever state the bucket is now.
      const { expect: _, ...anyway } = command;
      await run(anyway, (draft, scope) => unfreezeStep(draft, scope, command, attempt));
    }
    return answer;
  }

  return {
    async completeUpload(command) {
      const { bucket, key, uploadId } = command;
      checkKey(key);
      if (!isUploadId(uploadId)) return asMissing(await buckets.getBucket(command));
      return turns.take([turnOf(bucket, key), uploadTurn(uploadId)], async () => {
        for (let tries = 1; ; tries++) {
          const answer = await attempts.run((attempt) => complete(command, attempt));
          // Another server took the upload for one that a crash left frozen: see what came of it.
          if (answer.ok || answer.refusal !== 'OperationAborted' || tries === TRIES_MAX)
            return answer;
          await settings.pause();
        }
      });
    },
  };
}
