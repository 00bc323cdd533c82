/**
 * Cross-origin requests: which rule of a bucket allows one, and what the reply says then.
 *
 * Source: Amazon S3 User Guide, "Using cross-origin resource sharing (CORS)"; the Fetch standard.
 * Messages and headers are those that S3 was seen to send.
 */
import { S3Error } from './errors.ts';
import type { HeaderMap, RawReply } from './request.ts';

/** A rule as PutBucketCors takes it; what is not given is an empty list. */
export interface CorsRule {
  id?: string | undefined;
  allowedHeaders: readonly string[];
  allowedMethods: readonly CorsMethod[];
  allowedOrigins: readonly string[];
  exposeHeaders: readonly string[];
  /** How long a browser may go by a preflight's answer. */
  maxAgeSeconds?: number | undefined;
}

export const CORS_METHODS = ['GET', 'PUT', 'POST', 'DELETE', 'HEAD'] as const;
export type CorsMethod = (typeof CORS_METHODS)[number];

/** The configuration of a bucket that holds its rules. */
export const CORS_CONFIG = 'cors';

/** Rules as the metadata service keeps them. */
export function encodeCors(rules: readonly CorsRule[]): string {
  return JSON.stringify(rules);
}

export function decodeCors(text: string): readonly CorsRule[] {
  return JSON.parse(text) as CorsRule[];
}

/** What a browser wants to send, or sends. */
interface CrossOrigin {
  origin: string;
  method: string;
  /** Lower case. */
  headers: readonly string[];
}

/** Headers of a preflight beyond which nobody needs any; bounds the work of unsigned requests. */
const REQUEST_HEADERS_MAX = 100;

const ORIGIN = 'origin';
const REQUEST_METHOD = 'access-control-request-method';
const REQUEST_HEADERS = 'access-control-request-headers';

const VARY = 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method';

/**
 * Adds what browsers need to see the reply of an actual request; nothing when no rule allows it, so
 * that the browser hides the reply from the page. As on S3, `Access-Control-Request-*` counts here,
 * too, when it is sent.
 */
export function addCorsHeaders(
  reply: RawReply,
  request: { method: string; headers: HeaderMap },
  rules: readonly CorsRule[],
): void {
  // Caches must keep the replies to different origins apart, also those without permission.
  reply.headers['Vary'] = VARY;
  const asked = crossOrigin(request.headers, request.method);
  const found = asked && findRule(rules, asked);
  if (found !== undefined) Object.assign(reply.headers, found.headers);
}

/** What is known of the bucket that a preflight is about. */
export type PreflightBucket =
  | { kind: 'none' }
  /** Its rules; undefined when it has none. */
  | { kind: 'found'; rules: readonly CorsRule[] | undefined };

/**
 * The answer to OPTIONS. Throws BadRequest for what is no preflight, AccessForbidden when the bucket
 * does not allow what is asked.
 */
export function answerPreflight(
  request: { headers: HeaderMap; key: string },
  bucket: PreflightBucket,
): RawReply {
  const { headers } = request;
  if (headers[ORIGIN] === undefined) {
    throw badRequest('Insufficient information. Origin request header needed.');
  }
  const method = headers[REQUEST_METHOD];
  if (bucket.kind === 'none') throw forbidden('Bucket not found', method, 'BUCKET');
  const { rules } = bucket;
  if (rules === undefined)
    throw forbidden('CORS is not enabled for this bucket.', method, 'BUCKET');
  if (method === undefined || !isCorsMethod(method)) {
    throw badRequest(`Invalid Access-Control-Request-Method: ${method ?? 'null'}`);
  }
  const asked = crossOrigin(headers, method);
  const found = asked && findRule(rules, asked);
  if (found === undefined) {
    throw forbidden(NOT_ALLOWED, method, request.key === '' ? 'BUCKET' : 'OBJECT');
  }
  return { status: 200, headers: { ...found.headers, Vary: VARY }, body: '' };
}

const NOT_ALLOWED =
  "This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";

function badRequest(message: string): S3Error {
  return new S3Error('BadRequest', { message });
}

function forbidden(message: string, method: string | undefined, resource: string): S3Error {
  return new S3Error('AccessForbidden', {
    message: `CORSResponse: ${message}`,
    details: { Method: method ?? 'OPTIONS', ResourceType: resource },
  });
}

export function isCorsMethod(method: string): method is CorsMethod {
  return (CORS_METHODS as readonly string[]).includes(method);
}

/** Undefined: not cross-origin, or with more headers than are looked at. */
function crossOrigin(headers: HeaderMap, method: string): CrossOrigin | undefined {
  const origin = headers[ORIGIN];
  if (origin === undefined) return undefined;
  const names = (headers[REQUEST_HEADERS] ?? '')
    .split(',', REQUEST_HEADERS_MAX + 1)
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '');
  if (names.length > REQUEST_HEADERS_MAX) return undefined;
  return { origin, method: headers[REQUEST_METHOD] ?? method, headers: names };
}

/** The first rule that allows all of it, and the headers of a reply by it. */
function findRule(
  rules: readonly CorsRule[],
  { origin, method, headers }: CrossOrigin,
): { headers: RawReply['headers'] } | undefined {
  for (const rule of rules) {
    if (!(rule.allowedMethods as readonly string[]).includes(method)) continue;
    const pattern = rule.allowedOrigins.find((allowed) => fits(allowed, origin));
    if (pattern === undefined) continue;
    const allowed = rule.allowedHeaders.map((name) => name.toLowerCase());
    if (!headers.every((name) => allowed.some((one) => fits(one, name)))) continue;
    return { headers: replyHeaders(rule, pattern === '*' ? '*' : origin, headers) };
  }
  return undefined;
}

/** Whether the pattern, with at most one star, stands for the text. */
function fits(pattern: string, text: string): boolean {
  const star = pattern.indexOf('*');
  if (star < 0) return pattern === text;
  return (
    text.length >= pattern.length - 1 &&
    text.startsWith(pattern.slice(0, star)) &&
    text.endsWith(pattern.slice(star + 1))
  );
}

function replyHeaders(
  rule: CorsRule,
  origin: string,
  headers: readonly string[],
): RawReply['headers'] {
  const { allowedMethods, exposeHeaders, maxAgeSeconds } = rule;
  return {
    'Access-Control-Allow-Origin': origin,
    'Access-Control-Allow-Methods': allowedMethods.join(', '),
    'Access-Control-Allow-Headers': headers.length === 0 ? undefined : headers.join(', '),
    'Access-Control-Expose-Headers':
      exposeHeaders.length === 0 ? undefined : exposeHeaders.join(', '),
    'Access-Control-Max-Age': maxAgeSeconds,
    // Never together with the star: browsers refuse that, and so does S3.
    'Access-Control-Allow-Credentials': origin === '*' ? undefined : 'true',
  };
}
