/**
 * The canonical request of Signature Version 4
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html). Pure.
 *
 * S3 encodes once and never folds the path. Clients differ in what they escape, so the server
 * decodes what came and encodes it again by RFC 3986; text is taken byte by byte (Node gives one
 * character per byte), because a key may be anything that escapes can write.
 */
import type { HeaderMap, RawRequest } from '../request.ts';

/** One query parameter. A parameter without `=` has the empty value. */
export interface QueryPair {
  /** Canonically encoded; equal to the plain text for names of letters, digits, `-`, `_`, `.`, `~`. */
  name: string;
  value: string;
}

/** Bytes that stay as they are (RFC 3986 section 2.3); `/` too in a path. */
const PLAIN_PATH = /^[A-Za-z0-9\-._~/]*$/;
const PLAIN_COMPONENT = /^[A-Za-z0-9\-._~]*$/;

/** What each byte is written as. */
const PATH_BYTES = encodings(PLAIN_PATH);
const COMPONENT_BYTES = encodings(PLAIN_COMPONENT);

function encodings(plain: RegExp): readonly string[] {
  return Array.from({ length: 256 }, (_, byte) => {
    const character = String.fromCharCode(byte);
    if (plain.test(character)) return character;
    return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

/**
 * Decodes once and encodes again. `plusIsSpace` for query strings: servers and browsers read them
 * as forms. A broken escape is kept as a literal `%`; nothing here throws.
 */
function normalize(text: string, form: 'path' | 'query'): string {
  if ((form === 'path' ? PLAIN_PATH : PLAIN_COMPONENT).test(text)) return text;
  const bytes = form === 'path' ? PATH_BYTES : COMPONENT_BYTES;
  let encoded = '';
  for (let index = 0; index < text.length; index++) {
    let code = text.charCodeAt(index);
    if (code === 0x25) {
      const byte = escapedByte(text, index);
      if (byte >= 0) {
        code = byte;
        index += 2;
      }
    } else if (code === 0x2b && form === 'query') {
      code = 0x20;
    }
    // Node never makes a character above 0xFF; such text would have no bytes to sign.
    encoded += bytes[code] ?? '%EF%BF%BD';
  }
  return encoded;
}

/** The byte that `%XX` at `index` stands for, −1 when the escape is broken. */
function escapedByte(text: string, index: number): number {
  const high = hexDigit(text.charCodeAt(index + 1));
  const low = hexDigit(text.charCodeAt(index + 2));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** The path for the canonical request: `/` when it is empty, `//` and `..` kept as they are. */
export function canonicalPath(rawPath: string): string {
  return rawPath === '' ? '/' : normalize(rawPath, 'path');
}

/** The parameters of a raw query string, in the order in which they came. */
export function parseQuery(rawQuery: string): QueryPair[] {
  if (rawQuery === '') return [];
  const pairs: QueryPair[] = [];
  for (const part of rawQuery.split('&')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = equals < 0 ? part : part.slice(0, equals);
    const value = equals < 0 ? '' : part.slice(equals + 1);
    pairs.push({ name: normalize(name, 'query'), value: normalize(value, 'query') });
  }
  return pairs;
}

/** Parameters sorted by name, then value; `X-Amz-Signature` is never part of it. */
export function canonicalQuery(pairs: readonly QueryPair[]): string {
  const signed = pairs.filter((pair) => pair.name !== SIGNATURE_PARAMETER);
  if (signed.length > 1) {
    signed.sort((a, b) => compare(a.name, b.name) || compare(a.value, b.value));
  }
  return signed.map((pair) => `${pair.name}=${pair.value}`).join('&');
}

const SIGNATURE_PARAMETER = 'X-Amz-Signature';

/** By UTF-16 code unit, which for these texts is by byte. */
function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Blanks only: `\s` would also match 0xA0, which ends the UTF-8 of many a letter. */
const UNTIDY_SPACE = /^ | $| {2}|\t/;

/** `name:value` lines: outer blanks removed, inner runs of blanks made one space. */
function canonicalHeaders(headers: HeaderMap, signed: readonly string[]): string {
  let lines = '';
  for (const name of signed) {
    const value = headerValue(headers, name) ?? '';
    const text = UNTIDY_SPACE.test(value) ? tidy(value) : value;
    lines += `${name}:${text}\n`;
  }
  return lines;
}

function tidy(value: string): string {
  return value.replaceAll(/[\t ]+/g, ' ').replaceAll(/^ | $/g, '');
}

/** A header that was really sent: `constructor` and its kind are not. */
export function headerValue(headers: HeaderMap, name: string): string | undefined {
  return Object.hasOwn(headers, name) ? headers[name] : undefined;
}

/**
 * The canonical requests that a client may have signed, likeliest first; usually there is one.
 * Some clients sign the path and the query exactly as they send them (curl does, with the path in
 * all versions and with the query before 8.0). Accepting that is safe: the signature still covers
 * every byte that gives the request its meaning, and a text in canonical form means the same read
 * either way.
 */
export function* canonicalRequests(
  request: RawRequest,
  query: readonly QueryPair[],
  signedHeaders: readonly string[],
  payloadHash: string,
): Generator<string> {
  const { method, rawPath, rawQuery } = request;
  const headers = canonicalHeaders(request.headers, signedHeaders);
  const tail = `${headers}\n${signedHeaders.join(';')}\n${payloadHash}`;
  const path = canonicalPath(rawPath);
  const parameters = canonicalQuery(query);
  yield `${method}\n${path}\n${parameters}\n${tail}`;
  // The query of a presigned URL holds its own signature, so it cannot have been signed as sent.
  const isPresigned = query.some((pair) => pair.name === SIGNATURE_PARAMETER);
  const paths = path === rawPath ? [path] : [path, rawPath];
  const queries = parameters === rawQuery || isPresigned ? [parameters] : [parameters, rawQuery];
  for (const otherPath of paths) {
    for (const otherQuery of queries) {
      if (otherPath === path && otherQuery === parameters) continue;
      yield `${method}\n${otherPath}\n${otherQuery}\n${tail}`;
    }
  }
}
