/** What GetObject and HeadObject have in common: which bytes are meant, and the reply's headers. */
import type { ChecksumType, ObjectChecksum } from '../../base/object-checksum.ts';
import type { Bucket, ObjectRecord, PartRef } from '../../meta/protocol.ts';
import type { CustomerKey } from '../keys/protocol.ts';
import type { ByteRange } from '../object/engine.ts';
import { parseReadKey } from './encryption/headers.ts';
import { encryptionHeaders } from './encryption/replies.ts';
import { S3Error } from './errors.ts';
import { matchesEtag, quoteEtag } from './etag.ts';
import { formatHttpDate, parseHttpDate } from './http-date.ts';
import { checksumHeader } from './ingest.ts';
import { metadataHeaders } from './metadata.ts';
import { addExpiration } from './lifecycle.ts';
import { addLockHeaders } from './object-lock.ts';
import type { Context, OperationRequest, QueryParameters } from './operation.ts';
import { invalidArgument, partNumberParameter } from './parameters.ts';
import { contentRange, parseRange, type RangeSpec, resolveRange } from './range.ts';
import type { HeaderMap, RawReply } from './request.ts';
import { shownVersionId, versionIdParameter } from './version-id.ts';

export interface ReadInput {
  bucket: string;
  key: string;
  versionId: string | undefined;
  /** For the conditions and If-Range. */
  headers: HeaderMap;
  range: RangeSpec | undefined;
  part: number | undefined;
  /** x-amz-checksum-mode: ENABLED. */
  checksums: boolean;
  /** Headers of the reply as `response-*` asks for them; undefined when it does not. */
  overrides: Record<string, string> | undefined;
  /** For an object that is encrypted by the client's own key. */
  customer: CustomerKey | undefined;
}

/** Query parameter → header of the reply. */
const OVERRIDES: Readonly<Record<string, string>> = {
  'response-cache-control': 'Cache-Control',
  'response-content-disposition': 'Content-Disposition',
  'response-content-encoding': 'Content-Encoding',
  'response-content-language': 'Content-Language',
  'response-content-type': 'Content-Type',
  'response-expires': 'Expires',
};

/** Query parameters that both operations act on. */
export const READ_QUERY: readonly string[] = ['partNumber', 'versionId', ...Object.keys(OVERRIDES)];

/** Reads what to send. Throws InvalidArgument and InvalidRequest. */
export function parseRead({ bucket, key, query, headers }: OperationRequest): ReadInput {
  const part = query.has('partNumber') ? partNumberParameter(query) : undefined;
  const range = parseRange(headers['range']);
  if (part !== undefined && range !== undefined) {
    throw new S3Error('InvalidRequest', {
      message: 'Cannot specify both Range header and partNumber query parameter',
    });
  }
  const mode = headers['x-amz-checksum-mode'];
  if (mode !== undefined && mode.toUpperCase() !== 'ENABLED') {
    throw invalidArgument('x-amz-checksum-mode', mode);
  }
  return {
    bucket,
    key,
    versionId: versionIdParameter(query),
    headers,
    range,
    part,
    checksums: mode !== undefined,
    overrides: parseOverrides(query),
    customer: parseReadKey(headers),
  };
}

/** What no header may hold (RFC 9110 section 5.5): it would end the header, or the reply. */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const UNPRINTABLE = /[\u0000-\u0008\u000a-\u001f\u007f]/;

function parseOverrides(query: QueryParameters): Record<string, string> | undefined {
  let overrides: Record<string, string> | undefined;
  for (const name of query.names()) {
    const header = Object.hasOwn(OVERRIDES, name) ? OVERRIDES[name] : undefined;
    if (header === undefined) continue;
    const value = query.get(name) ?? '';
    if (UNPRINTABLE.test(value)) throw invalidArgument(name, value);
    overrides ??= {};
    // On the wire a header is bytes: one character each.
    overrides[header] = Buffer.from(value).toString('latin1');
  }
  return overrides;
}

/** The bytes to send, and how to announce them. */
export interface Selection {
  status: 200 | 206;
  range: ByteRange;
  /** Of the whole object, or of the one part that was asked for. */
  checksum: ObjectChecksum | undefined;
}

/** By Range, as far as If-Range lets it count; the whole object otherwise. Throws InvalidRange. */
export function selectRange(input: ReadInput, object: ObjectRecord): Selection {
  const header = input.headers['range'];
  if (input.range === undefined || header === undefined || !rangeCounts(input.headers, object)) {
    return { status: 200, range: { start: 0, end: object.size }, checksum: object.checksum };
  }
  const range = resolveRange(input.range, object.size, header);
  const whole = range.start === 0 && range.end === object.size;
  return { status: 206, range, checksum: whole ? object.checksum : undefined };
}

/** If-Range (RFC 9110 section 13.1.5): a changed object is sent whole. */
function rangeCounts(headers: HeaderMap, object: ObjectRecord): boolean {
  const header = headers['if-range'];
  if (header === undefined) return true;
  const ms = parseHttpDate(header);
  return ms === undefined
    ? header !== '*' && matchesEtag(header, object.etag)
    : Math.floor(ms / 1000) === Math.floor(object.modifiedMs / 1000);
}

/**
 * By part number. `part` is undefined when the object has no such part: InvalidPart, as in other stores
 * and in s3-tests (AWS: 416 InvalidPartNumber).
 */
export function selectPart(
  input: ReadInput,
  object: ObjectRecord,
  part: PartRef | undefined,
): Selection {
  // A list may have grown since the object was read: what was appended is not of this object.
  if (part === undefined || part.offset + part.size > object.size) {
    throw new S3Error('InvalidPart', {
      message: 'The requested part number is not satisfiable.',
      details: {
        PartNumberRequested: String(input.part),
        ActualPartCount: String(partCount(object) ?? 1),
      },
    });
  }
  const range = { start: part.offset, end: part.offset + part.size };
  // An empty range cannot be written as a Content-Range.
  const status = part.size === 0 ? 200 : 206;
  if (partCount(object) === undefined) return { status, range, checksum: object.checksum };
  const checksum =
    part.checksum === undefined || object.checksum === undefined
      ? undefined
      : { ...object.checksum, value: part.checksum };
  return { status, range, checksum };
}

/** Number of parts; undefined for an object that was put in one piece. */
function partCount(object: ObjectRecord): number | undefined {
  return object.data.kind === 'parts' ? object.data.count : undefined;
}

/** The head of a reply that carries (GET) or announces (HEAD) the selected bytes. */
export function readReply(
  input: ReadInput,
  { bucket, object }: { bucket: Bucket; object: ObjectRecord },
  selection: Selection,
): RawReply {
  const { range, status } = selection;
  const headers: RawReply['headers'] = metadataHeaders(object.system, object.user);
  headers['Accept-Ranges'] = 'bytes';
  headers['Last-Modified'] = formatHttpDate(object.modifiedMs);
  headers['ETag'] = quoteEtag(object.etag);
  headers['Content-Length'] = range.end - range.start;
  const versionId = shownVersionId(bucket, object);
  if (versionId !== undefined) headers['x-amz-version-id'] = versionId;
  if (object.replication !== undefined) headers['x-amz-replication-status'] = object.replication;
  if (object.tags !== undefined) headers['x-amz-tagging-count'] = object.tags.length;
  if (status === 206) headers['Content-Range'] = contentRange(range, object.size);
  if (input.part !== undefined) headers['x-amz-mp-parts-count'] = partCount(object);
  if (input.checksums && selection.checksum !== undefined) {
    Object.assign(headers, checksumHeaders(selection.checksum));
  }
  if (object.encryption !== undefined) Object.assign(headers, encryptionHeaders(object.encryption));
  if (input.overrides !== undefined) Object.assign(headers, input.overrides);
  return { status, headers };
}

/**
 * Into the headers of a read: when the version expires, if none was named, and what locks it, as far
 * as the reader may know.
 */
export function addFate(
  headers: RawReply['headers'],
  { bucket, key, versionId }: ReadInput,
  object: ObjectRecord,
  { access, settings }: Pick<Context, 'access' | 'settings'>,
): void {
  if (versionId === undefined) addExpiration(headers, settings, key, object);
  const { lock } = object;
  if (lock === undefined) return;
  const may = (action: string) => access.allows([{ action, bucket, key, versionId }]);
  addLockHeaders(headers, {
    ...(may('s3:GetObjectRetention') && { mode: lock.mode, untilMs: lock.untilMs }),
    ...(may('s3:GetObjectLegalHold') && { legalHold: lock.legalHold }),
  });
}

/** `x-amz-checksum-crc32: …` and `x-amz-checksum-type: FULL_OBJECT`. */
export function checksumHeaders(checksum: {
  algorithm: ObjectChecksum['algorithm'];
  value: string;
  type: ChecksumType;
}): Record<string, string> {
  return {
    [checksumHeader(checksum.algorithm)]: checksum.value,
    'x-amz-checksum-type': checksum.type,
  };
}

/** `response-*` is for requests that somebody signed. */
export function refuseAnonymousOverrides(input: ReadInput, anonymous: boolean): void {
  if (!anonymous || input.overrides === undefined) return;
  throw new S3Error('InvalidRequest', {
    message: 'Request specific response headers cannot be used for anonymous GET requests.',
  });
}
