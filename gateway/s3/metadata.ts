/** Object metadata between headers and records. */
import type { SystemMetadata, UserMetadata } from '../../meta/protocol.ts';
import { S3Error } from './errors.ts';
import type { HeaderMap } from './request.ts';

/** What S3 says of an object that was stored without a Content-Type. */
const DEFAULT_CONTENT_TYPE = 'binary/octet-stream';
/** User metadata: UTF-8 bytes of all names (without prefix) and values. */
const USER_METADATA_BYTES_MAX = 2048;
const REDIRECT_BYTES_MAX = 2048;
const USER_PREFIX = 'x-amz-meta-';

/**
 * Storage classes that are taken, kept and returned: those whose promise (readable at once, at
 * least this durable) three replicas keep. The archive classes promise a restore step that does not
 * exist here, the rest belongs to other AWS services: InvalidStorageClass.
 */
const STORAGE_CLASSES: ReadonlySet<string> = new Set([
  'STANDARD',
  'REDUCED_REDUNDANCY',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER_IR',
]);

/** Reads the system metadata of an upload. Throws InvalidStorageClass, InvalidRedirectLocation. */
export function parseSystemMetadata(headers: HeaderMap): SystemMetadata {
  const system: SystemMetadata = {};
  const contentType = headers['content-type'];
  if (contentType) system.contentType = contentType;
  const encoding = headers['content-encoding'];
  if (encoding !== undefined) {
    const kept = withoutAwsChunked(encoding);
    if (kept !== '') system.contentEncoding = kept;
  }
  const language = headers['content-language'];
  if (language) system.contentLanguage = language;
  const disposition = headers['content-disposition'];
  if (disposition) system.contentDisposition = disposition;
  const cacheControl = headers['cache-control'];
  if (cacheControl) system.cacheControl = cacheControl;
  const expires = headers['expires'];
  if (expires) system.expires = expires;
  const redirect = headers['x-amz-website-redirect-location'];
  if (redirect !== undefined) system.websiteRedirectLocation = checkedRedirect(redirect);
  const storageClass = parseStorageClass(headers['x-amz-storage-class']);
  if (storageClass !== undefined) system.storageClass = storageClass;
  return system;
}

/** The class to record; `undefined` for STANDARD. Throws InvalidStorageClass. */
export function parseStorageClass(value: string | undefined): string | undefined {
  if (value === undefined || value === 'STANDARD') return undefined;
  if (STORAGE_CLASSES.has(value)) return value;
  throw new S3Error('InvalidStorageClass', { details: { StorageClassRequested: value } });
}

/** `aws-chunked` names the transfer, not the object: AWS takes it out before storing. */
function withoutAwsChunked(encoding: string): string {
  if (!encoding.toLowerCase().includes('aws-chunked')) return encoding;
  return encoding
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '' && token.toLowerCase() !== 'aws-chunked')
    .join(',');
}

function checkedRedirect(location: string): string {
  if (!/^(\/|https?:\/\/)/.test(location)) throw new S3Error('InvalidRedirectLocation');
  if (location.length > REDIRECT_BYTES_MAX) throw new S3Error('MetadataTooLarge');
  return location;
}

/**
 * Reads `x-amz-meta-*`. Header values arrive one character per byte; those beyond ASCII are taken
 * as UTF-8 if they are valid UTF-8, else as Latin-1. RFC 2047 words are kept as sent, so that they
 * come back as sent. Throws MetadataTooLarge above 2 KB, InvalidArgument for a nameless header.
 */
export function parseUserMetadata(headers: HeaderMap): UserMetadata {
  const entries: [string, string][] = [];
  let bytes = 0;
  for (const header in headers) {
    if (!header.startsWith(USER_PREFIX)) continue;
    const raw = headers[header];
    if (raw === undefined) continue;
    const name = header.slice(USER_PREFIX.length);
    if (name === '') {
      throw new S3Error('InvalidArgument', {
        message: 'A metadata header has no name.',
        details: { ArgumentName: header, ArgumentValue: raw },
      });
    }
    const value = decodeHeaderText(raw);
    bytes += name.length + Buffer.byteLength(value);
    entries.push([name, value]);
  }
  if (bytes > USER_METADATA_BYTES_MAX) {
    throw new S3Error('MetadataTooLarge', {
      details: { Size: String(bytes), MaxSizeAllowed: String(USER_METADATA_BYTES_MAX) },
    });
  }
  return entries.length === 0 ? {} : Object.fromEntries(entries);
}

const BEYOND_ASCII = /[^\x20-\x7e\t]/;
const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

function decodeHeaderText(raw: string): string {
  if (!BEYOND_ASCII.test(raw)) return raw;
  try {
    return strictUtf8.decode(Buffer.from(raw, 'latin1'));
  } catch {
    return raw;
  }
}

/** The response headers that carry an object's metadata, in wire spelling. */
export function metadataHeaders(
  system: SystemMetadata,
  user: UserMetadata,
): Record<string, string | undefined> {
  const headers: Record<string, string | undefined> = {
    'Content-Type': system.contentType ?? DEFAULT_CONTENT_TYPE,
  };
  // Only what is there: an object with few fields is a smaller reply to build.
  if (system.contentEncoding) headers['Content-Encoding'] = system.contentEncoding;
  if (system.contentLanguage) headers['Content-Language'] = system.contentLanguage;
  if (system.contentDisposition) headers['Content-Disposition'] = system.contentDisposition;
  if (system.cacheControl) headers['Cache-Control'] = system.cacheControl;
  if (system.expires) headers['Expires'] = system.expires;
  if (system.websiteRedirectLocation) {
    headers['x-amz-website-redirect-location'] = system.websiteRedirectLocation;
  }
  if (system.storageClass) headers['x-amz-storage-class'] = system.storageClass;
  for (const name in user) headers[USER_PREFIX + name] = encodeHeaderText(user[name] ?? '');
  return headers;
}

/** Longest run of UTF-8 bytes whose base64 keeps an encoded word within 75 characters. */
const WORD_BYTES_MAX = 45;

/** ASCII as it is, anything else as RFC 2047 words, as AWS returns it. */
export function encodeHeaderText(value: string): string {
  if (!BEYOND_ASCII.test(value)) return value;
  const words: string[] = [];
  let word = '';
  let bytes = 0;
  for (const character of value) {
    const size = Buffer.byteLength(character);
    if (bytes + size > WORD_BYTES_MAX) {
      words.push(encodedWord(word));
      word = '';
      bytes = 0;
    }
    word += character;
    bytes += size;
  }
  words.push(encodedWord(word));
  // White space between two encoded words is not part of the text (RFC 2047 section 6.2).
  return words.join(' ');
}

function encodedWord(text: string): string {
  return `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=`;
}
