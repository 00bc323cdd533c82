/**
 * Signature Version 2, for old clients and only where the operator has switched it on
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html): in the Authorization
 * header (`AWS key:signature`), or in the query (AWSAccessKeyId, Expires, Signature).
 *
 * It signs neither the host nor the payload. What it does sign is held as tight as the protocol
 * allows: every `x-amz-*` header, also one that comes as a query parameter, and every parameter of
 * the query that changes what the request means.
 */
import { createHmac } from 'node:crypto';
import { bucketOfHost } from '../address.ts';
import { SUB_RESOURCES } from '../detect.ts';
import { ERRORS, S3Error } from '../errors.ts';
import { parseHttpDate } from '../http-date.ts';
import type { HeaderMap, RawRequest } from '../request.ts';
import { canonicalPath, headerValue } from './canonical-request.ts';
import type { Credential, CredentialSource } from './identity.ts';
import { refuseSkew } from './signature-v4.ts';
import { NOBODY, sameSignature } from './signing.ts';
import { parseBasicTime } from './times.ts';

/** What a request says about its signature, before anything is verified. */
export interface ClaimV2 {
  accessKey: string;
  /** Base64 of 20 bytes if it is right; anything otherwise. */
  signature: string;
  form: 'header' | 'query';
  /** The fourth line of what is signed: a date, the time of expiry, or nothing. */
  date: string;
}

const HEADER_FORM = /^AWS\s+([^\s:]+):(\S+)$/;

/** `AWS key:signature`. */
export function isHeaderV2(authorization: string): boolean {
  return HEADER_FORM.test(authorization.trim());
}

/** Reads the header form and checks its time: AccessDenied without one, RequestTimeTooSkewed. */
export function parseHeaderV2(request: RawRequest, authorization: string, now: number): ClaimV2 {
  const match = HEADER_FORM.exec(authorization.trim());
  const amzDate = headerValue(request.headers, 'x-amz-date');
  const date = amzDate ?? headerValue(request.headers, 'date') ?? '';
  const time = parseDate(date);
  if (time === undefined || time < 0) {
    throw new S3Error('AccessDenied', {
      message: 'AWS authentication requires a valid Date or x-amz-date header.',
    });
  }
  refuseSkew(date, time, now);
  return {
    accessKey: match?.[1] ?? '',
    signature: match?.[2] ?? '',
    form: 'header',
    // x-amz-date is among the signed headers and takes the place of Date.
    date: amzDate === undefined ? date.trim() : '',
  };
}

const RFC_2822 = /^[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} ([+-]\d{4}|UTC)$/;

/** All forms in which clients write the time, in milliseconds. */
function parseDate(text: string): number | undefined {
  const trimmed = text.trim();
  if (RFC_2822.test(trimmed)) {
    const ms = Date.parse(trimmed);
    return Number.isNaN(ms) ? undefined : ms;
  }
  return parseBasicTime(trimmed) ?? parseHttpDate(trimmed);
}

const QUERY_PARAMETERS = ['AWSAccessKeyId', 'Signature', 'Expires'] as const;

/** Reads the query form and checks its time; AccessDenied for all that is wrong with it. */
export function parseQueryV2(rawQuery: string, now: number): ClaimV2 {
  const given = new Map<string, string>();
  for (const { name, values } of parameters(rawQuery)) {
    if (!QUERY_PARAMETERS.some((known) => known === name)) continue;
    if (given.has(name)) throw denied(`${name} is given more than once.`);
    given.set(name, values[0] ?? '');
  }
  const accessKey = given.get('AWSAccessKeyId');
  const signature = given.get('Signature');
  const expires = given.get('Expires');
  if (!accessKey || !signature || !expires) {
    throw denied(
      'Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters',
    );
  }
  if (!/^\d{1,12}$/.test(expires)) {
    throw denied(`Invalid date (should be seconds since epoch): ${expires}`);
  }
  const end = Number(expires) * 1000;
  if (now > end) {
    throw new S3Error('AccessDenied', {
      message: 'Request has expired',
      details: {
        Expires: new Date(end).toISOString(),
        ServerTime: new Date(now).toISOString(),
      },
    });
  }
  // A base64 signature whose plus signs were not escaped reads as one with blanks.
  return { accessKey, signature: signature.replaceAll(' ', '+'), form: 'query', date: expires };
}

function denied(message: string): S3Error {
  return new S3Error('AccessDenied', { message });
}

/**
 * The credential of a claim that holds. InvalidAccessKeyId, SignatureDoesNotMatch. `domains` are those
 * of virtual-host style: there the bucket is signed, though it is not in the path.
 */
export function verifyV2(
  request: RawRequest,
  claim: ClaimV2,
  options: { credentials: CredentialSource; domains: readonly string[] },
): Credential {
  const credential = options.credentials.find(claim.accessKey);
  const secretKey = (credential ?? NOBODY).secretKey;
  let first: string | undefined;
  let matches = false;
  for (const text of stringsToSign(request, claim, options.domains)) {
    first ??= text;
    matches = sameSignature(claim.signature, signV2(secretKey, text));
    if (matches) break;
  }
  if (credential === undefined) {
    throw new S3Error('InvalidAccessKeyId', { details: { AWSAccessKeyId: claim.accessKey } });
  }
  if (matches) return credential;
  throw new S3Error('SignatureDoesNotMatch', {
    message: ERRORS.SignatureDoesNotMatch.message,
    details: {
      AWSAccessKeyId: claim.accessKey,
      StringToSign: first ?? '',
      SignatureProvided: claim.signature,
    },
  });
}

/** HMAC-SHA-1 in base64 of a text that has one character per byte. */
export function signV2(secretKey: string, text: string): string {
  return createHmac('sha1', secretKey).update(text, 'latin1').digest('base64');
}

/** What the client may have signed, likeliest first; usually there is one. */
function* stringsToSign(
  request: RawRequest,
  claim: ClaimV2,
  domains: readonly string[],
): Generator<string> {
  const query = parameters(request.rawQuery);
  const amzHeaders = canonicalAmzHeaders(request.headers, query);
  for (const [md5, type] of contentLines(request.headers, claim, query)) {
    const head = `${request.method}\n${md5}\n${type}\n${claim.date}\n${amzHeaders}`;
    for (const resource of canonicalResources(request, query, domains)) yield head + resource;
  }
}

/**
 * Content-MD5 and Content-Type. Who presigns may put them into the query instead (botocore): they
 * are signed then, though they do nothing.
 */
function contentLines(
  headers: HeaderMap,
  claim: ClaimV2,
  query: readonly Parameter[],
): [md5: string, type: string][] {
  const sent: [string, string] = [
    headerValue(headers, 'content-md5')?.trim() ?? '',
    headerValue(headers, 'content-type')?.trim() ?? '',
  ];
  if (claim.form === 'header') return [sent];
  const hoisted = (name: string): string | undefined =>
    query.find((parameter) => parameter.name.toLowerCase() === name)?.values[0];
  const md5 = hoisted('content-md5');
  const type = hoisted('content-type');
  if (md5 === undefined && type === undefined) return [sent];
  return [[md5 ?? sent[0], type ?? sent[1]], sent];
}

/** `name:value` lines of all `x-amz-*` headers, by name. */
function canonicalAmzHeaders(headers: HeaderMap, query: readonly Parameter[]): string {
  const lines = new Map<string, string>();
  for (const name of Object.keys(headers)) {
    if (name.startsWith('x-amz-')) lines.set(name, (headers[name] ?? '').trim());
  }
  for (const { name, values } of query) {
    const lower = name.toLowerCase();
    // A header of the same name and another value is refused later (`hoisted.ts`).
    if (lower.startsWith('x-amz-')) lines.set(lower, (values[0] ?? '').trim());
  }
  return [...lines]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}:${value}\n`)
    .join('');
}

/** Parameters that are signed: every sub-resource, and what changes what a read or a part is. */
const SIGNED_PARAMETERS: ReadonlySet<string> = new Set([
  ...Object.keys(SUB_RESOURCES.bucket),
  ...Object.keys(SUB_RESOURCES.object),
  'partNumber',
  'versionId',
  'select-type',
  'response-cache-control',
  'response-content-disposition',
  'response-content-encoding',
  'response-content-language',
  'response-content-type',
  'response-expires',
]);

const ONLY_BUCKET = /^\/[^/]+$/;

function canonicalResources(
  { headers, rawPath }: RawRequest,
  query: readonly Parameter[],
  domains: readonly string[],
): Set<string> {
  const bucket = bucketOfHost(headerValue(headers, 'host'), domains);
  const prefix = bucket === undefined ? '' : `/${bucket}`;
  const signed = query
    .filter(({ name }) => SIGNED_PARAMETERS.has(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const resources = new Set<string>();
  const paths = [rawPath, canonicalPath(rawPath)];
  // botocore signs a bucket with a slash behind it, which it does not send.
  if (bucket === undefined && ONLY_BUCKET.test(rawPath)) paths.push(`${rawPath}/`);
  for (const path of paths) {
    for (const reading of [0, 1]) {
      for (const emptyAsSent of [true, false]) {
        const pairs = signed.map(({ name, values, hasEquals }) => {
          const value = values[reading] ?? values[0] ?? '';
          return value !== '' || (hasEquals && emptyAsSent) ? `${name}=${value}` : name;
        });
        const parameterText = pairs.length === 0 ? '' : `?${pairs.join('&')}`;
        resources.add(`${prefix}${path}${parameterText}`);
      }
    }
  }
  return resources;
}

interface Parameter {
  name: string;
  /** One character per byte. With `+` read as a blank, and second, when it differs, as itself. */
  values: readonly string[];
  hasEquals: boolean;
}

function parameters(rawQuery: string): Parameter[] {
  return rawQuery
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const equals = part.indexOf('=');
      const value = equals < 0 ? '' : part.slice(equals + 1);
      const values = [decodeBytes(value.replaceAll('+', ' '))];
      if (value.includes('+')) values.push(decodeBytes(value));
      const name = decodeBytes((equals < 0 ? part : part.slice(0, equals)).replaceAll('+', ' '));
      return { name, values, hasEquals: equals >= 0 };
    });
}

/** Escapes become the byte that they stand for, as one character; a broken one stays as it is. */
function decodeBytes(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
