/** Conditional requests (RFC 9110 section 13; AWS "Conditional reads", "Conditional writes"). */
import type { WriteCondition } from '../../meta/protocol.ts';
import { S3Error } from './errors.ts';
import { matchesEtag, parseEtagList, quoteEtag } from './etag.ts';
import { formatHttpDate, parseHttpDate } from './http-date.ts';
import type { HeaderMap } from './request.ts';

/**
 * The condition of a write, to be decided inside its commit. `undefined` when there is none.
 * If-None-Match takes an ETag, too, as RFC 9110 has it (AWS knows `*` only). Throws NotImplemented
 * for both headers at once, several ETags, If-Unmodified-Since.
 */
export function parseWriteCondition(headers: HeaderMap): WriteCondition | undefined {
  const ifMatch = headers['if-match'];
  const ifNoneMatch = headers['if-none-match'];
  refuseDates(headers);
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
  if (ifMatch !== undefined && ifNoneMatch !== undefined) throw notImplemented('If-None-Match');
  if (ifMatch !== undefined) return { ifMatch: singleEtag('If-Match', ifMatch) };
  return { ifNoneMatch: singleEtag('If-None-Match', ifNoneMatch ?? '') };
}

/** The condition of DeleteObject: If-Match, x-amz-if-match-size, x-amz-if-match-last-modified-time. */
export function parseDeleteCondition(headers: HeaderMap): WriteCondition | undefined {
  const ifMatch = headers['if-match'];
  const size = headers['x-amz-if-match-size'];
  const modified = headers['x-amz-if-match-last-modified-time'];
  refuseDates(headers);
  if (headers['if-none-match'] !== undefined) throw notImplemented('If-None-Match');
  if (ifMatch === undefined && size === undefined && modified === undefined) return undefined;
  const condition: WriteCondition = {};
  if (ifMatch !== undefined) condition.ifMatch = singleEtag('If-Match', ifMatch);
  if (size !== undefined) {
    if (!/^\d{1,15}$/.test(size)) throw invalidArgument('x-amz-if-match-size', size);
    condition.ifMatchSize = Number(size);
  }
  if (modified !== undefined) {
    const ms = parseHttpDate(modified);
    if (ms === undefined) throw invalidArgument('x-amz-if-match-last-modified-time', modified);
    condition.ifMatchModifiedMs = ms;
  }
  return condition;
}

/** Ignoring it would turn a conditional write into an unconditional one. */
function refuseDates(headers: HeaderMap): void {
  if (headers['if-unmodified-since'] !== undefined) throw notImplemented('If-Unmodified-Since');
}

function singleEtag(name: string, header: string): string {
  const [tag, ...more] = parseEtagList(header);
  if (more.length > 0) throw notImplemented(name);
  if (tag === undefined) throw invalidArgument(name, header);
  return tag;
}

/** What a read condition is judged on. */
export interface Validators {
  etag: string;
  modifiedMs: number;
}

export const COPY_SOURCE_PREFIX = 'x-amz-copy-source-';

/**
 * Judges If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since in the order of RFC
 * 9110 section 13.2.2: an ETag header makes its date twin irrelevant. Throws PreconditionFailed
 * (412) or, for the last two, NotModified (304) with the object's validators as headers. With
 * `prefix` COPY_SOURCE_PREFIX the copy-source twins are judged, and every failure is a 412.
 * Dates count whole seconds; an unreadable date is no condition.
 */
export function evaluateReadConditions(
  headers: HeaderMap,
  object: Validators,
  prefix: '' | typeof COPY_SOURCE_PREFIX = '',
): void {
  const ifMatch = headers[`${prefix}if-match`];
  if (ifMatch !== undefined) {
    if (!matchesEtag(ifMatch, object.etag)) throw failed(`${prefix}If-Match`);
  } else {
    const since = dateOf(headers[`${prefix}if-unmodified-since`]);
    if (since !== undefined && secondsOf(object.modifiedMs) > secondsOf(since)) {
      throw failed(`${prefix}If-Unmodified-Since`);
    }
  }
  const ifNoneMatch = headers[`${prefix}if-none-match`];
  if (ifNoneMatch !== undefined) {
    if (!matchesEtag(ifNoneMatch, object.etag, true)) return;
    throw prefix === '' ? notModified(object) : failed(`${prefix}If-None-Match`);
  }
  const since = dateOf(headers[`${prefix}if-modified-since`]);
  if (since !== undefined && secondsOf(object.modifiedMs) <= secondsOf(since)) {
    throw prefix === '' ? notModified(object) : failed(`${prefix}If-Modified-Since`);
  }
}

function dateOf(header: string | undefined): number | undefined {
  return header === undefined ? undefined : parseHttpDate(header);
}

function secondsOf(ms: number): number {
  return Math.floor(ms / 1000);
}

function failed(condition: string): S3Error {
  return new S3Error('PreconditionFailed', { details: { Condition: condition } });
}

function notModified(object: Validators): S3Error {
  return new S3Error('NotModified', {
    headers: { ETag: quoteEtag(object.etag), 'Last-Modified': formatHttpDate(object.modifiedMs) },
  });
}

function notImplemented(header: string): S3Error {
  return new S3Error('NotImplemented', {
    message: 'A header you provided implies functionality that is not implemented',
    details: { Header: header },
  });
}

function invalidArgument(name: string, value: string): S3Error {
  return new S3Error('InvalidArgument', { details: { ArgumentName: name, ArgumentValue: value } });
}
