/**
 * Signature Version 4 in the query string: presigned URLs
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html).
 *
 * X-Amz-Expires outside 1 … 604,800 answers 403 AccessDenied, as ceph/s3-tests asserts
 * (test_object_raw_get_x_amz_expires_out_*); AWS and MinIO say 400
 * AuthorizationQueryParametersError, which we keep for what is not a whole number at all.
 */
import { S3Error } from '../errors.ts';
import { decodePercent } from '../percent.ts';
import type { RawRequest } from '../request.ts';
import { headerValue, type QueryPair } from './canonical-request.ts';
import { type Claim, CLOCK_SKEW_MS_MAX, parseSignedHeaders } from './signature-v4.ts';
import { ALGORITHM, parseCredential } from './signing.ts';
import { parseBasicTime } from './times.ts';

const REQUIRED = [
  'X-Amz-Algorithm',
  'X-Amz-Credential',
  'X-Amz-Date',
  'X-Amz-Expires',
  'X-Amz-SignedHeaders',
  'X-Amz-Signature',
] as const;

const SPELLING: ReadonlyMap<string, string> = new Map(
  REQUIRED.map((name) => [name.toLowerCase(), name]),
);

const VERSION_2: ReadonlySet<string> = new Set(['AWSAccessKeyId', 'Signature']);

const CONTENT_SHA256 = 'x-amz-content-sha256';
const SECURITY_TOKEN = 'x-amz-security-token';
const EXPIRES_SECONDS_MAX = 604_800;

/** Which credentials a query string carries, complete or not. */
export function queryCredentials(query: readonly QueryPair[]): 'none' | 'v2' | 'v4' {
  let found: 'none' | 'v2' | 'v4' = 'none';
  for (const { name } of query) {
    if (SPELLING.has(name.toLowerCase())) return 'v4';
    if (VERSION_2.has(name)) found = 'v2';
  }
  return found;
}

/** Whether the query carries a session token, in any spelling. */
export function hasQueryToken(query: readonly QueryPair[]): boolean {
  return query.some((pair) => pair.name.toLowerCase() === SECURITY_TOKEN);
}

/**
 * Reads the parameters of a presigned URL and checks its time. Throws
 * AuthorizationQueryParametersError for what is malformed, missing or given twice, AccessDenied
 * when the URL has expired, is not valid yet, or wants to live too long.
 */
export function parsePresigned(
  request: RawRequest,
  query: readonly QueryPair[],
  options: { region: string; now: number },
): Claim {
  const given = signingParameters(query);
  if (given.get('X-Amz-Algorithm') !== ALGORITHM) {
    throw malformed(`X-Amz-Algorithm only supports "${ALGORITHM}".`);
  }
  const parsed = parseCredential(given.get('X-Amz-Credential') ?? '', options.region);
  if ('reason' in parsed) {
    throw malformed(
      `Error parsing the X-Amz-Credential parameter: ${parsed.reason}.`,
      parsed.region,
    );
  }
  const timestamp = given.get('X-Amz-Date') ?? '';
  const time = parseBasicTime(timestamp);
  if (time === undefined) {
    throw malformed('X-Amz-Date must be in the ISO 8601 basic format "yyyyMMddTHHmmssZ".');
  }
  if (!timestamp.startsWith(parsed.scope.date)) {
    throw malformed(
      `Invalid credential date "${parsed.scope.date}": it is not that of X-Amz-Date.`,
    );
  }
  checkTime(time, given.get('X-Amz-Expires') ?? '', options.now);
  return {
    accessKey: parsed.accessKey,
    scope: parsed.scope,
    timestamp,
    signedHeaders: parseSignedHeaders(
      given.get('X-Amz-SignedHeaders') ?? '',
      'AuthorizationQueryParametersError',
    ),
    signature: given.get('X-Amz-Signature') ?? '',
    payloadHash: presignedPayloadHash(request, given.get(CONTENT_SHA256)),
  };
}

/** Values by name: the required ones, and the payload hash under its lower-case name. */
function signingParameters(query: readonly QueryPair[]): Map<string, string> {
  const given = new Map<string, string>();
  for (const pair of query) {
    const lower = pair.name.toLowerCase();
    const spelling = lower === CONTENT_SHA256 ? lower : SPELLING.get(lower);
    if (spelling === undefined) continue;
    if (spelling !== CONTENT_SHA256 && spelling !== pair.name) {
      throw malformed(`${spelling} is spelled ${pair.name}.`);
    }
    if (given.has(spelling)) throw malformed(`${spelling} is given more than once.`);
    const value = decodePercent(pair.value);
    if (value === undefined) throw malformed(`${spelling} is not valid text.`);
    given.set(spelling, value);
  }
  const missing = REQUIRED.filter((name) => !given.get(name));
  if (missing.length > 0) {
    throw malformed(
      `Query-string authentication version 4 requires the ${REQUIRED.join(', ')} parameters; missing: ${missing.join(', ')}.`,
    );
  }
  return given;
}

function checkTime(time: number, expires: string, now: number): void {
  if (!/^-?\d{1,15}$/.test(expires)) throw malformed('X-Amz-Expires should be a number.');
  const seconds = Number(expires);
  if (seconds < 1 || seconds > EXPIRES_SECONDS_MAX) {
    throw new S3Error('AccessDenied', {
      message: `X-Amz-Expires must be between 1 and ${EXPIRES_SECONDS_MAX} seconds.`,
    });
  }
  const serverTime = new Date(now).toISOString();
  if (time - now > CLOCK_SKEW_MS_MAX) {
    throw new S3Error('AccessDenied', {
      message: 'Request is not valid yet',
      details: { 'X-Amz-Date': new Date(time).toISOString(), ServerTime: serverTime },
    });
  }
  const end = time + seconds * 1000;
  if (now > end) {
    throw new S3Error('AccessDenied', {
      message: 'Request has expired',
      details: {
        'X-Amz-Expires': expires,
        Expires: new Date(end).toISOString(),
        ServerTime: serverTime,
      },
    });
  }
}

/** The header (which must then be signed), else the parameter that the JS SDK adds, else unsigned. */
function presignedPayloadHash(request: RawRequest, parameter: string | undefined): string {
  const header = headerValue(request.headers, CONTENT_SHA256);
  if (header !== undefined && parameter !== undefined && header !== parameter) {
    throw malformed('The x-amz-content-sha256 header and query parameter differ.');
  }
  return header ?? parameter ?? 'UNSIGNED-PAYLOAD';
}

function malformed(message: string, region?: string): S3Error {
  return new S3Error('AuthorizationQueryParametersError', {
    message,
    ...(region === undefined ? {} : { details: { Region: region } }),
  });
}
