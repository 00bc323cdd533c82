/** What RenameObject says in headers: the object's present key, and conditions on either object. */
import type { RenameCondition } from '../../meta/protocol.ts';
import { S3Error } from './errors.ts';
import { parseEtagList } from './etag.ts';
import { parseHttpDate } from './http-date.ts';
import { validateKey } from './names.ts';
import { invalidArgument } from './parameters.ts';
import { decodePercent } from './percent.ts';
import type { HeaderMap } from './request.ts';

export const RENAME_SOURCE = 'x-amz-rename-source';

/**
 * `x-amz-rename-source`: a key of the same bucket, percent-encoded, with or without a slash in front.
 * `/BUCKET/KEY`, with the name of this bucket, is taken for that key, as SDKs of copies write it.
 * Throws InvalidArgument and KeyTooLongError.
 */
export function parseRenameSource(headers: HeaderMap, bucket: string): string {
  const header = headers[RENAME_SOURCE];
  if (header === undefined || header === '') {
    throw new S3Error('InvalidRequest', {
      message: `RenameObject needs the header ${RENAME_SOURCE}.`,
    });
  }
  const decoded = decodePercent(header);
  if (decoded === undefined) {
    throw invalidArgument(RENAME_SOURCE, header, 'The source is not percent-encoded UTF-8.');
  }
  const qualified = `/${bucket}/`;
  const key = decoded.startsWith(qualified)
    ? decoded.slice(qualified.length)
    : decoded.startsWith('/')
      ? decoded.slice(1)
      : decoded;
  validateKey(key);
  return key;
}

/**
 * If-Match, If-None-Match, If-Modified-Since and If-Unmodified-Since behind `prefix`. Unlike those of
 * reads none is ever ignored: a condition that cannot be read is InvalidArgument.
 */
export function parseRenameCondition(
  headers: HeaderMap,
  prefix: '' | typeof SOURCE_PREFIX,
): RenameCondition | undefined {
  const condition: RenameCondition = {};
  const etag = (name: string): string | undefined => {
    const value = headers[prefix + name];
    if (value === undefined) return undefined;
    const [tag, ...more] = parseEtagList(value);
    if (tag === undefined || more.length > 0) throw invalidArgument(prefix + name, value);
    return tag;
  };
  const date = (name: string): number | undefined => {
    const value = headers[prefix + name];
    if (value === undefined) return undefined;
    const ms = parseHttpDate(value);
    if (ms === undefined) throw invalidArgument(prefix + name, value);
    return ms;
  };
  const ifMatch = etag('if-match');
  const ifNoneMatch = etag('if-none-match');
  const ifModifiedSinceMs = date('if-modified-since');
  const ifUnmodifiedSinceMs = date('if-unmodified-since');
  if (ifMatch !== undefined) condition.ifMatch = ifMatch;
  if (ifNoneMatch !== undefined) condition.ifNoneMatch = ifNoneMatch;
  if (ifModifiedSinceMs !== undefined) condition.ifModifiedSinceMs = ifModifiedSinceMs;
  if (ifUnmodifiedSinceMs !== undefined) condition.ifUnmodifiedSinceMs = ifUnmodifiedSinceMs;
  return Object.keys(condition).length === 0 ? undefined : condition;
}

export const SOURCE_PREFIX = 'x-amz-rename-source-';

/** `x-amz-client-token`: 1 to 64 printable ASCII characters. Throws InvalidArgument. */
export function parseClientToken(headers: HeaderMap): string | undefined {
  const token = headers['x-amz-client-token'];
  if (token === undefined) return undefined;
  if (!/^[!-~]{1,64}$/.test(token)) throw invalidArgument('x-amz-client-token', token);
  return token;
}
