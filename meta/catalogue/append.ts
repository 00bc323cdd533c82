/**
 * Appending: new bytes at the end of an object, in one commit. The object becomes one of parts, and
 * each append adds a part. Of two that name the same offset one wins; nobody sees a part of either.
 *
 * A part list that no other object shares grows in place: what it held stays where it was, so that
 * readers of the object as it was before go on. Parts that are shared with a copy are listed anew.
 */
import { createHash } from 'node:crypto';
import { multipartChecksum } from '../../base/digest.ts';
import type { ObjectChecksum } from '../../base/object-checksum.ts';
import {
  type Answer,
  type Appended,
  type AppendObjectCommand,
  type DataRef,
  type Meta,
  OBJECT_BYTES_MAX,
  PART_NUMBER_MAX,
  PARTS_PER_PAGE,
} from '../protocol.ts';
import type { Buckets } from './buckets.ts';
import { judgeWrite } from './conditions.ts';
import type { Draft } from './draft.ts';
import { eventScope } from './event-scope.ts';
import { objectKey, partListKey } from './keyspace.ts';
import {
  checkKey,
  checkLease,
  checkNewData,
  conflictOf,
  keysOfWrite,
  putObjectStep,
  turnOf,
  written,
} from './objects.ts';
import { insertPartList, type NumberedPart } from './part-lists.ts';
import { objectCodec, partListCodec, partPageCodec, type VersionRow } from './records.ts';
import { acquire, addFreshBlob, queueMissing } from './references.ts';
import { PENDING } from './runner.ts';
import type { Turns } from './turns.ts';
import { type Scope, scopeOf } from './usage.ts';
import { addVersion, objectOf } from './versions.ts';

/** Parts that are listed anew when a copy shares them: each is a row to read and to write. */
const SHARED_PARTS_MAX = 500;

function invalidRequest(message: string): Answer<never> {
  return { ok: false, refusal: 'InvalidRequest', message };
}

function appended(scope: Scope, record: VersionRow): Answer<Appended> {
  const { size, checksum } = record;
  const value: Appended = { ...written(scope, record), size };
  if (checksum !== undefined) value.checksum = checksum;
  return { ok: true, value };
}

export function appendObjectStep(
  draft: Draft,
  scope: Scope,
  command: AppendObjectCommand,
): Answer<Appended> {
  const { object, offset } = command;
  const row = draft.row(objectKey(scope.bucketId, command.key), objectCodec);
  if (!checkLease(draft, command.writer) || row === undefined) return PENDING;
  if (scope.versioning !== undefined) {
    return invalidRequest('Objects in a bucket with versioning cannot be appended to.');
  }
  const current = objectOf(row.value);
  if (current === null || current.size === 0) return create(draft, scope, command, current);
  const tail = tailOf(draft, current);
  if (tail === undefined) return PENDING;
  // The same commit again, after its answer was lost: it has happened.
  if (object.data.kind === 'blob' && tail.blob === object.data.blob) {
    return appended(scope, current);
  }
  const refused =
    judgeWrite(command.condition, current) ?? judgeAppend(current, command, tail.number);
  if (refused !== undefined) return refused;
  const checksum = continued(current, object);
  if (!checksum.ok) return checksum;
  if (object.data.kind === 'none') return appended(scope, current);
  const { data } = object;
  const part: NumberedPart = {
    number: tail.number + 1,
    size: object.size,
    etag: object.etag,
    modifiedMs: draft.nowMs,
    data,
  };
  if (checksum.value !== undefined && object.checksum !== undefined) {
    part.checksum = object.checksum.value;
  }
  const list = listWith(draft, current, part);
  if (list === undefined) return PENDING;
  if (!list.ok) return list;
  if (!addFreshBlob(draft, data) || !queueMissing(draft, scope, command.missing)) return PENDING;
  const place = { key: command.key, creation: 'put' as const };
  const record = addVersion(draft, scope, place, {
    ...keptOf(current),
    size: offset + object.size,
    etag: etagWith(current.etag, object.etag, list.value.count),
    data: {
      kind: 'parts',
      list: list.value.list,
      size: offset + object.size,
      count: list.value.count,
    },
    ...(checksum.value === undefined ? {} : { checksum: checksum.value }),
  });
  return record === undefined ? PENDING : appended(scope, record);
}

/** At offset 0 of nothing, or of an empty object, which keeps its metadata. */
function create(
  draft: Draft,
  scope: Scope,
  command: AppendObjectCommand,
  current: VersionRow | null,
): Answer<Appended> {
  if (command.offset !== 0) return wrongOffset(0);
  if (current?.encryption !== undefined) return encrypted();
  const { object } = command;
  const kept = current === null ? {} : keptOf(current);
  const made = { ...object, ...kept };
  const answer = putObjectStep(draft, scope, { ...command, object: made });
  if (!answer.ok) return answer;
  const value: Appended = { ...answer.value, size: object.size };
  if (object.checksum !== undefined) value.checksum = object.checksum;
  return { ok: true, value };
}

function keptOf({ owner, system, user, tags, acl }: VersionRow) {
  return { owner, system, user, tags, acl };
}

function wrongOffset(size: number): Answer<never> {
  return { ok: false, refusal: 'InvalidWriteOffset', detail: { ObjectSize: String(size) } };
}

function encrypted(): Answer<never> {
  return invalidRequest('Encrypted objects cannot be appended to.');
}

function judgeAppend(
  current: VersionRow,
  { object, offset }: AppendObjectCommand,
  lastNumber: number,
): Answer<never> | undefined {
  if (offset !== current.size) return wrongOffset(current.size);
  if (current.encryption !== undefined) return encrypted();
  if (lastNumber >= PART_NUMBER_MAX) return { ok: false, refusal: 'TooManyParts' };
  if (offset + object.size > OBJECT_BYTES_MAX) return { ok: false, refusal: 'EntityTooLarge' };
  return undefined;
}

/** The checksum of the whole: CRCs of parts make the CRC of all of them, digests do not. */
function continued(
  { checksum, size }: VersionRow,
  added: AppendObjectCommand['object'],
): Answer<ObjectChecksum | undefined> {
  if (checksum === undefined) return { ok: true, value: undefined };
  const { algorithm, type, value } = checksum;
  if (type !== 'FULL_OBJECT' || !algorithm.startsWith('CRC')) {
    return invalidRequest(
      `The object has a ${type} ${algorithm} checksum, which cannot be continued. Only objects with a full-object CRC can be appended to.`,
    );
  }
  if (added.checksum?.algorithm !== algorithm) {
    return invalidRequest(
      `The object has a ${algorithm} checksum: what is appended must use the same algorithm.`,
    );
  }
  const parts = [
    { value, size },
    { value: added.checksum.value, size: added.size },
  ];
  return { ok: true, value: { algorithm, type, value: multipartChecksum(algorithm, type, parts) } };
}

/** As of a multipart object of two, with the ETag of what there was for the first part's. */
function etagWith(before: string, added: string, count: number): string {
  const [digest = ''] = before.split('-');
  const hash = createHash('md5').update(digest, 'hex').update(added, 'hex');
  return `${hash.digest('hex')}-${count}`;
}

/* ------------------------------------------------------------------ parts */

interface Tail {
  /** Of the last part; 1 for an object that was put in one piece. */
  number: number;
  blob: string | undefined;
}

function tailOf(draft: Draft, { data }: VersionRow): Tail | undefined {
  if (data.kind !== 'parts') {
    return { number: 1, blob: data.kind === 'blob' ? data.blob : undefined };
  }
  const header = draft.row(partListKey(data.list, 0), partListCodec);
  if (header === undefined) return undefined;
  const page = draft.row(partListKey(data.list, header.value?.pages.length ?? 0), partPageCodec);
  if (page === undefined) return undefined;
  const last = page.value?.parts.at(-1);
  return { number: last?.number ?? 0, blob: last?.data?.blob };
}

type Listed = Answer<{ list: string; count: number }>;

/** A list of the object's parts and this one, with a reference for each blob. Undefined: rows are missing. */
function listWith(draft: Draft, current: VersionRow, part: NumberedPart): Listed | undefined {
  const { data } = current;
  if (data.kind !== 'parts') return firstList(draft, current, part);
  const header = draft.row(partListKey(data.list, 0), partListCodec);
  if (header?.value == null) return undefined;
  if (header.value.refs > 1) return listAnew(draft, data, part);
  // One more while the object is replaced by itself: the list must not be taken apart.
  if (!acquire(draft, data)) return undefined;
  const pages = header.value.pages;
  const page = draft.row(partListKey(data.list, pages.length), partPageCodec);
  if (page?.value == null) return undefined;
  const { size, count } = header.value;
  const grown = { ...header.value, size: size + part.size, count: count + 1 };
  if (page.value.parts.length < PARTS_PER_PAGE) {
    draft.put(page, { parts: [...page.value.parts, part] });
    draft.put(header, grown);
  } else {
    draft.insert(partListKey(data.list, pages.length + 1), partPageCodec, { parts: [part] });
    draft.put(header, { ...grown, pages: [...pages, { number: part.number, offset: size }] });
  }
  return { ok: true, value: { list: data.list, count: count + 1 } };
}

/** What was put in one piece becomes the first part. */
function firstList(draft: Draft, current: VersionRow, part: NumberedPart): Listed | undefined {
  const { data, size, etag, modifiedMs, checksum } = current;
  if (data.kind !== 'blob' || !acquire(draft, data)) return undefined;
  const { blob, blockSize } = data;
  const first: NumberedPart = {
    number: 1,
    size,
    etag,
    modifiedMs,
    data: { blob, size, blockSize },
  };
  if (checksum !== undefined) first.checksum = checksum.value;
  const list = draft.ids.random(16).toString('hex');
  insertPartList(draft, list, [first, part]);
  return { ok: true, value: { list, count: 2 } };
}

/** The same parts once more: the list is a copy's, too. */
function listAnew(
  draft: Draft,
  data: Extract<DataRef, { kind: 'parts' }>,
  part: NumberedPart,
): Listed | undefined {
  if (data.count >= SHARED_PARTS_MAX) {
    return invalidRequest(
      `The object shares its ${data.count} parts with a copy of it; up to ${SHARED_PARTS_MAX} such parts can be appended to.`,
    );
  }
  const header = draft.row(partListKey(data.list, 0), partListCodec);
  if (header?.value == null) return undefined;
  const parts: NumberedPart[] = [];
  let missing = false;
  for (let page = 1; page <= header.value.pages.length; page++) {
    const row = draft.row(partListKey(data.list, page), partPageCodec);
    if (row === undefined) missing = true;
    else parts.push(...(row.value?.parts ?? []));
  }
  for (const { data: blob, size } of parts) {
    if (blob !== undefined && !acquire(draft, { kind: 'blob', ...blob, size })) missing = true;
  }
  if (missing) return undefined;
  const list = draft.ids.random(16).toString('hex');
  insertPartList(draft, list, [...parts, part]);
  return { ok: true, value: { list, count: parts.length + 1 } };
}

/* ------------------------------------------------------------------ with a store */

interface AppendSettings {
  buckets: Buckets;
  turns: Turns;
  lane: number;
  eventsMax: number;
}

export function createAppend({
  buckets,
  turns,
  lane,
  eventsMax,
}: AppendSettings): Pick<Meta, 'appendObject'> {
  return {
    async appendObject(command) {
      const { bucket, key, writer, object, condition } = command;
      checkKey(key);
      checkNewData(writer, object.size, object.data, object.encryption);
      return turns.take([turnOf(bucket, key)], () =>
        buckets.run(
          command,
          (bucketId) => keysOfWrite(bucketId, command),
          (draft, row) => {
            const events = eventScope(row, command.origin, eventsMax);
            return appendObjectStep(draft, { ...scopeOf(row, lane), events }, command);
          },
          { onConflict: conflictOf(condition), quota: true },
        ),
      );
    },
  };
}
