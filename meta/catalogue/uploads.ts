/**
 * Multipart uploads until they are completed: create, add parts, look, abort. An upload is one state
 * machine in one row: open → completing → gone, or open → gone. Every change of it, and every part,
 * commits only on the row as it was read, so that of Complete, Abort and a late part one is first
 * and the others see it.
 */
import { Failure } from '../../base/failure.ts';
import { leaseKey } from '../cluster/rows.ts';
import { type KeyValueStore, KV_LIMITS } from '../engine/kv.ts';
import {
  type Answer,
  type CreateUploadCommand,
  LIST_PAGE_MAX,
  type Meta,
  type Part,
  PART_BYTES_MAX,
  PART_NUMBER_MAX,
  type PutPartCommand,
  type Upload,
  type UploadName,
} from '../protocol.ts';
import type { Attempts } from './attempts.ts';
import { type Buckets } from './buckets.ts';
import type { Draft } from './draft.ts';
import { blobKey, isUploadId, numberOfPart, partBounds, partKey, uploadKey } from './keyspace.ts';
import { checkKey, checkLease, checkNewData, judgeLockOfNew } from './objects.ts';
import {
  blobCodec,
  extrasOf,
  partCodec,
  type PartRow,
  uploadCodec,
  type UploadRow,
} from './records.ts';
import { acquire, addFreshBlob, enqueue, queueMissing, release } from './references.ts';
import { PENDING } from './runner.ts';
import type { Turns } from './turns.ts';
import { type Scope, scopeOf } from './usage.ts';

export const NO_SUCH_UPLOAD: Answer<never> = { ok: false, refusal: 'NoSuchUpload' };

type UploadMethods = Pick<
  Meta,
  'createUpload' | 'getUpload' | 'putPart' | 'listParts' | 'abortUpload'
>;

/** An upload as the protocol shows it. */
export function publicUpload(
  row: UploadRow,
  bucket: string,
  key: string,
  uploadId: string,
): Upload {
  const { createdMs, owner, initiator, system, user, tags, checksum } = row;
  const name = { uploadId, bucket, key };
  const upload: Upload = { ...name, createdMs, owner, system, user, ...extrasOf(row) };
  if (initiator !== undefined) upload.initiator = initiator;
  if (tags !== undefined) upload.tags = tags;
  if (checksum !== undefined) upload.checksum = checksum;
  return upload;
}

/* ------------------------------------------------------------------ steps */

function createUploadStep(
  draft: Draft,
  scope: Scope,
  command: CreateUploadCommand,
  uploadId: string,
): Answer<Upload> {
  const refused = judgeLockOfNew(scope, command);
  if (refused !== undefined) return refused;
  const row: UploadRow = {
    createdMs: draft.nowMs,
    owner: command.owner,
    system: command.system,
    user: command.user,
    ...extrasOf(command),
  };
  if (command.initiator !== undefined && command.initiator !== command.owner) {
    row.initiator = command.initiator;
  }
  if (command.tags !== undefined && command.tags.length > 0) row.tags = command.tags;
  if (command.checksum !== undefined) row.checksum = command.checksum;
  draft.insert(uploadKey(scope.bucketId, command.key, uploadId), uploadCodec, row);
  return { ok: true, value: publicUpload(row, command.bucket, command.key, uploadId) };
}

/** Looks the upload of a part up and makes the commit depend on it being open. */
function openUpload(
  draft: Draft,
  scope: Scope,
  { key, uploadId }: UploadName,
  isLive: (attempt: string) => boolean,
): Answer<UploadRow> {
  const row = draft.row(uploadKey(scope.bucketId, key, uploadId), uploadCodec);
  if (row === undefined) return PENDING;
  if (row.value === null) return NO_SUCH_UPLOAD;
  const { completing } = row.value;
  if (completing === undefined) {
    draft.check(row);
  } else if (isLive(completing)) {
    return NO_SUCH_UPLOAD;
  } else {
    // What a crash left frozen is open. Written, so that the frozen one can never be completed.
    draft.put(row, { ...row.value, completing: undefined });
  }
  return { ok: true, value: row.value };
}

export function putPartStep(
  draft: Draft,
  scope: Scope,
  command: PutPartCommand,
  isLive: (attempt: string) => boolean,
): Answer<{ modifiedMs: number }> {
  const { data } = command;
  const part = draft.row(partKey(command.uploadId, command.number), partCodec);
  if (!checkLease(draft, command.writer) || part === undefined) return PENDING;
  const upload = openUpload(draft, scope, command, isLive);
  if (!upload.ok) return upload;
  const old = part.value;
  // The same commit again, after its answer was lost: it has happened.
  if (data.kind === 'fresh' && old?.data?.blob === data.blob) {
    return { ok: true, value: { modifiedMs: old.modifiedMs } };
  }
  checkNewData(command.writer, command.size, data, upload.value.encryption);
  const wanted = upload.value.checksum;
  if (wanted !== undefined && command.checksum === undefined) {
    const message = `Checksum Type mismatch occurred, expected checksum Type: ${wanted.algorithm.toLowerCase()}, actual checksum Type: null`;
    return { ok: false, refusal: 'InvalidRequest', message };
  }
  if (data.kind === 'reference') {
    const blob = draft.row(blobKey(data.blob), blobCodec);
    if (blob === undefined) return PENDING;
    if (blob.value === null) return { ok: false, refusal: 'SourceChanged' };
    if (blob.value.size !== data.size || blob.value.blockSize !== data.blockSize) {
      throw new Failure('invalid', `blob ${data.blob} has another shape`);
    }
    if (!acquire(draft, { ...data, kind: 'blob' })) return PENDING;
  } else if (data.kind === 'fresh' && !addFreshBlob(draft, data)) {
    return PENDING;
  }
  if (!queueMissing(draft, scope, command.missing)) return PENDING;
  if (old !== null && !releasePart(draft, scope, old)) return PENDING;
  const row: PartRow = {
    size: command.size,
    etag: command.etag,
    modifiedMs: Math.max(draft.nowMs, old?.modifiedMs ?? 0),
  };
  if (command.checksum !== undefined) row.checksum = command.checksum;
  if (data.kind !== 'none') {
    row.data = { blob: data.blob, size: data.size, blockSize: data.blockSize };
  }
  draft.put(part, row);
  return { ok: true, value: { modifiedMs: row.modifiedMs } };
}

/** Drops the reference that a part row holds. */
export function releasePart(draft: Draft, lane: Pick<Scope, 'lane'>, { data }: PartRow): boolean {
  return data === undefined || release(draft, lane, { kind: 'blob', ...data });
}

/** Ends the upload; its part rows follow through the queue. */
export function abortUploadStep(
  draft: Draft,
  scope: Scope,
  { key, uploadId }: UploadName,
): Answer<null> {
  const row = draft.row(uploadKey(scope.bucketId, key, uploadId), uploadCodec);
  if (row === undefined) return PENDING;
  if (row.value === null) return NO_SUCH_UPLOAD;
  draft.remove(row);
  enqueue(draft, scope, { kind: 'upload', uploadId, used: Buffer.alloc(0) });
  return { ok: true, value: null };
}

/* ------------------------------------------------------------------ with a store */

interface UploadsSettings {
  store: KeyValueStore;
  buckets: Buckets;
  turns: Turns;
  attempts: Attempts;
  lane: number;
  newUploadId: () => string;
}

/** The name of an upload's turn: Complete and Abort go one after the other. */
export function uploadTurn(uploadId: string): string {
  return `u${uploadId}`;
}

function checkPart({ number }: PutPartCommand): void {
  if (!Number.isInteger(number) || number < 1 || number > PART_NUMBER_MAX) {
    throw new Failure('invalid', `part numbers are 1 to ${PART_NUMBER_MAX}`);
  }
}

/** The rows of an upload's parts with numbers above `after`, in order. */
export async function readPartRows(
  store: KeyValueStore,
  uploadId: string,
  after: number,
  limit: number,
): Promise<(PartRow & { number: number })[]> {
  const parts: (PartRow & { number: number })[] = [];
  let last = after;
  while (parts.length < limit) {
    const wanted = Math.min(limit - parts.length, KV_LIMITS.rangeRows);
    const rows = await store.range({ ...partBounds(uploadId, last), limit: wanted });
    for (const row of rows) {
      last = numberOfPart(row.key);
      parts.push({ ...partCodec.decode(row.value), number: last });
    }
    if (rows.length < wanted) break;
  }
  return parts;
}

export function createUploads(settings: UploadsSettings): UploadMethods {
  const { store, buckets, turns, attempts, lane } = settings;

  async function getUpload(query: UploadName): Promise<Answer<Upload>> {
    const { bucket, key, uploadId } = query;
    checkKey(key);
    const known = isUploadId(uploadId);
    const found = await buckets.read(query, (bucketId) =>
      known ? [uploadKey(bucketId, key, uploadId)] : [],
    );
    if (!found.ok) return found;
    const entry = found.value.entries[0];
    if (entry === null || entry === undefined) return NO_SUCH_UPLOAD;
    const row = uploadCodec.decode(entry.value);
    return { ok: true, value: publicUpload(row, bucket, key, uploadId) };
  }

  async function runPutPart(command: PutPartCommand) {
    const { key, uploadId, number, writer, data } = command;
    let frozenBy: string | undefined;
    const isLive = (attempt: string) => {
      frozenBy = attempts.isLive(attempt) ? attempt : undefined;
      return frozenBy !== undefined;
    };
    const answer = await buckets.run(
      command,
      (bucketId) => {
        const keys = [
          uploadKey(bucketId, key, uploadId),
          partKey(uploadId, number),
          leaseKey(writer),
        ];
        if (data.kind !== 'none') keys.push(blobKey(data.blob));
        return keys;
      },
      (draft, { id }) => {
        frozenBy = undefined;
        return putPartStep(draft, { bucketId: id, lane }, command, isLive);
      },
    );
    return { answer, frozenBy };
  }

  return {
    getUpload,

    async createUpload(command) {
      checkKey(command.key);
      return buckets.run(
        command,
        () => [],
        (draft, row) =>
          createUploadStep(draft, scopeOf(row, lane), command, settings.newUploadId()),
      );
    },

    async putPart(command) {
      const { key, uploadId, number, data } = command;
      checkKey(key);
      checkPart(command);
      if (command.size > PART_BYTES_MAX) return { ok: false, refusal: 'EntityTooLarge' };
      if (!isUploadId(uploadId)) return asMissing(await buckets.getBucket(command));
      // Parts that share one blob would fight for its row; the others do not wait for each other.
      const turn = data.kind === 'reference' ? `b${data.blob}` : `p${uploadId}/${number}`;
      return turns.take([turn], async () => {
        for (;;) {
          const { answer, frozenBy } = await runPutPart(command);
          // Being completed: whether the part comes too late is known when that has ended.
          if (frozenBy === undefined || !(await attempts.settled(frozenBy))) return answer;
        }
      });
    },

    async listParts(query) {
      const { uploadId, after, limit } = query;
      const wanted = Math.max(0, Math.min(limit, LIST_PAGE_MAX));
      // Parts first: if the upload still stands after that, they were all of them.
      const rows = isUploadId(uploadId)
        ? await readPartRows(store, uploadId, Math.max(0, after), wanted + 1)
        : [];
      const upload = await getUpload(query);
      if (!upload.ok) return upload;
      const parts = rows.slice(0, wanted).map(publicPart);
      const value = { upload: upload.value, parts };
      const last = parts.at(-1);
      return rows.length > wanted && last !== undefined
        ? { ok: true, value: { ...value, next: last.number } }
        : { ok: true, value };
    },

    async abortUpload(command) {
      const { key, uploadId } = command;
      checkKey(key);
      if (!isUploadId(uploadId)) return asMissing(await buckets.getBucket(command));
      return turns.take([uploadTurn(uploadId)], () =>
        buckets.run(
          command,
          (bucketId) => [uploadKey(bucketId, key, uploadId)],
          (draft, { id }) => abortUploadStep(draft, { bucketId: id, lane }, command),
        ),
      );
    },
  };
}

/** An id that is none names no upload; but a missing bucket comes first. */
export function asMissing(bucket: Answer<unknown>): Answer<never> {
  return bucket.ok ? NO_SUCH_UPLOAD : bucket;
}

function publicPart({
  number,
  size,
  etag,
  modifiedMs,
  checksum,
}: PartRow & { number: number }): Part {
  const part: Part = { number, size, etag, modifiedMs };
  if (checksum !== undefined) part.checksum = checksum;
  return part;
}
