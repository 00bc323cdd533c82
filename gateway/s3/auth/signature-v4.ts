/**
 * Signature Version 4 in the Authorization header, and the verification that it shares with
 * presigned URLs (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html).
 */
import type { KeyObject } from 'node:crypto';
import { ERRORS, S3Error } from '../errors.ts';
import { parseHttpDate } from '../http-date.ts';
import type { RawRequest } from '../request.ts';
import { canonicalRequests, headerValue, type QueryPair } from './canonical-request.ts';
import type { Credential, CredentialSource } from './identity.ts';
import {
  ALGORITHM,
  NOBODY,
  parseCredential,
  type Scope,
  SigningKeys,
  sameSignature,
  sign,
  stringToSign,
} from './signing.ts';
import { formatBasicTime, parseBasicTime } from './times.ts';

/** What a request says about its signature, in either form, before anything is verified. */
export interface Claim {
  accessKey: string;
  scope: Scope;
  /** `yyyymmddThhmmssZ` */
  timestamp: string;
  /** Lower-case names, in the order in which they were signed. */
  signedHeaders: readonly string[];
  /** 64 hex digits if it is right; anything otherwise. */
  signature: string;
  /** Last line of the canonical request. */
  payloadHash: string;
}

/** A claim that holds. */
export interface Verified {
  credential: Credential;
  /** For the signatures of chunks. */
  signingKey: KeyObject;
}

export const CLOCK_SKEW_MS_MAX = 15 * 60 * 1000;
const SIGNING_KEYS_MAX = 1000;

const signingKeys = new SigningKeys(SIGNING_KEYS_MAX);

/** Reads the Authorization header. Throws S3Error for whatever is not a well-formed V4 claim. */
export function parseAuthorization(
  request: RawRequest,
  authorization: string,
  options: { region: string; now: number },
): Claim {
  const fields = authorizationFields(authorization);
  const parsed = parseCredential(fields.credential, options.region);
  if ('reason' in parsed) {
    throw new S3Error('AuthorizationHeaderMalformed', {
      message: `The authorization header is malformed; the Credential is not valid: ${parsed.reason}.`,
      ...(parsed.region === undefined ? {} : { details: { Region: parsed.region } }),
    });
  }
  const { accessKey, scope } = parsed;
  const payloadHash = headerValue(request.headers, 'x-amz-content-sha256');
  if (payloadHash === undefined) {
    throw new S3Error('InvalidRequest', {
      message: 'Missing required header for this request: x-amz-content-sha256',
    });
  }
  const timestamp = signedTime(request, options.now);
  if (!timestamp.startsWith(scope.date)) {
    throw new S3Error('SignatureDoesNotMatch', {
      message: `The date in the credential scope does not match the date of the request: '${scope.date}' and '${timestamp}'.`,
    });
  }
  return {
    accessKey,
    scope,
    timestamp,
    signedHeaders: parseSignedHeaders(fields.signedHeaders, 'AuthorizationHeaderMalformed'),
    signature: fields.signature,
    payloadHash,
  };
}

interface AuthorizationFields {
  credential: string;
  signedHeaders: string;
  signature: string;
}

function authorizationFields(authorization: string): AuthorizationFields {
  const text = authorization.trim();
  if (text === '') throw new S3Error('AccessDenied');
  const blank = text.search(/\s/);
  const scheme = blank < 0 ? text : text.slice(0, blank);
  if (scheme !== ALGORITHM) throw otherScheme(scheme, blank < 0 ? '' : text.slice(blank));
  const found = new Map<string, string>();
  for (const part of text.slice(scheme.length).split(',')) {
    const equals = part.indexOf('=');
    const name = part.slice(0, Math.max(equals, 0)).trim();
    if (found.has(name)) throw invalidAuthorization(`${name} is given twice`);
    found.set(name, part.slice(equals + 1).trim());
  }
  const credential = found.get('Credential');
  const signedHeaders = found.get('SignedHeaders');
  const signature = found.get('Signature');
  if (!credential || !signedHeaders || !signature || found.size !== 3) {
    throw invalidAuthorization('it must have Credential, SignedHeaders and Signature, and no more');
  }
  return { credential, signedHeaders, signature };
}

/** A header that is not `AWS4-HMAC-SHA256 …`: another mechanism, or nothing that is one. */
function otherScheme(scheme: string, rest: string): S3Error {
  // `AWS key:signature` is Signature Version 2; other words with something behind them are schemes.
  const mechanism = scheme === 'AWS' ? rest.includes(':') : rest !== '';
  if (!mechanism) return invalidAuthorization('unsupported authorization type');
  return new S3Error('InvalidRequest', {
    message:
      'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.',
  });
}

function invalidAuthorization(reason: string): S3Error {
  return new S3Error('InvalidArgument', {
    message: `The Authorization header is not valid: ${reason}.`,
    details: { ArgumentName: 'Authorization' },
  });
}

/** The time of a header-signed request: x-amz-date, else Date; within 15 minutes of `now`. */
function signedTime(request: RawRequest, now: number): string {
  const amzDate = headerValue(request.headers, 'x-amz-date');
  const date = amzDate ?? headerValue(request.headers, 'date') ?? '';
  const time = parseBasicTime(date) ?? (amzDate === undefined ? parseHttpDate(date) : undefined);
  if (time === undefined) {
    throw new S3Error('AccessDenied', {
      message: 'AWS authentication requires a valid Date or x-amz-date header.',
    });
  }
  refuseSkew(date, time, now);
  return amzDate ?? formatBasicTime(time);
}

/** Throws RequestTimeTooSkewed for a time (ms) that is too far from `now`; `date` is how it was sent. */
export function refuseSkew(date: string, time: number, now: number): void {
  if (Math.abs(now - time) <= CLOCK_SKEW_MS_MAX) return;
  throw new S3Error('RequestTimeTooSkewed', {
    details: {
      RequestTime: date,
      ServerTime: new Date(now).toISOString(),
      MaxAllowedSkewMilliseconds: String(CLOCK_SKEW_MS_MAX),
    },
  });
}

const SIGNED_HEADERS = /^[a-z0-9!#$%&'*+\-.^_`|~]+(;[a-z0-9!#$%&'*+\-.^_`|~]+)*$/;

/** The list of signed headers; `code` is thrown when it is not lower-case names joined by `;`. */
export function parseSignedHeaders(
  text: string,
  code: 'AuthorizationHeaderMalformed' | 'AuthorizationQueryParametersError',
): readonly string[] {
  const names = text.split(';');
  if (!SIGNED_HEADERS.test(text) || hasRepetition(names)) {
    throw new S3Error(code, {
      message: 'SignedHeaders must be a list of lower-case header names separated by semicolons.',
    });
  }
  return names;
}

/** Signers sort the names; a list that is in strict order needs no second look. */
function hasRepetition(names: readonly string[]): boolean {
  const sorted = names.every((name, index) => index === 0 || name > (names[index - 1] ?? ''));
  return !sorted && new Set(names).size !== names.length;
}

/** The key that signs for a credential; an unknown one gets a key, too, so that it takes as long. */
export function signingKeyFor(credential: Credential | undefined, scope: Scope): KeyObject {
  const { accessKey, secretKey } = credential ?? NOBODY;
  return signingKeys.get(accessKey, secretKey, scope);
}

/**
 * Verifies a claim. AccessDenied when `host` or an `x-amz-*` header is not signed,
 * InvalidAccessKeyId, SignatureDoesNotMatch. An unknown key takes the same work as a wrong secret.
 */
export function verify(
  request: RawRequest,
  query: readonly QueryPair[],
  claim: Claim,
  credentials: CredentialSource,
): Verified {
  refuseUnsignedHeaders(request, claim.signedHeaders);
  const credential = credentials.find(claim.accessKey);
  const signingKey = signingKeyFor(credential, claim.scope);
  let first: { canonicalRequest: string; text: string } | undefined;
  let matches = false;
  for (const canonicalRequest of canonicalRequests(
    request,
    query,
    claim.signedHeaders,
    claim.payloadHash,
  )) {
    const text = stringToSign(claim.timestamp, claim.scope, canonicalRequest);
    first ??= { canonicalRequest, text };
    matches = sameSignature(claim.signature, sign(signingKey, text));
    if (matches) break;
  }
  if (credential === undefined) {
    throw new S3Error('InvalidAccessKeyId', { details: { AWSAccessKeyId: claim.accessKey } });
  }
  if (!matches) {
    throw mismatch(request, claim, first?.text ?? '', first?.canonicalRequest ?? '');
  }
  return { credential, signingKey };
}

/** Headers that change what a request means must be signed; Content-Type need not be (mc). */
function refuseUnsignedHeaders(request: RawRequest, signedHeaders: readonly string[]): void {
  const unsigned: string[] = signedHeaders.includes('host') ? [] : ['host'];
  for (const name of Object.keys(request.headers)) {
    if (!name.startsWith('x-amz-') || signedHeaders.includes(name)) continue;
    if (request.headers[name] !== undefined) unsigned.push(name);
  }
  if (unsigned.length === 0) return;
  throw new S3Error('AccessDenied', {
    message: 'There were headers present in the request which were not signed.',
    details: { HeadersNotSigned: unsigned.join(', ') },
  });
}

function mismatch(
  request: RawRequest,
  claim: Claim,
  text: string,
  canonicalRequest: string,
): S3Error {
  const host = headerValue(request.headers, 'host') ?? '';
  return new S3Error('SignatureDoesNotMatch', {
    message: `${ERRORS.SignatureDoesNotMatch.message} It was checked for the host '${host}'; a proxy that changes the Host header breaks signatures.`,
    details: {
      AWSAccessKeyId: claim.accessKey,
      StringToSign: text,
      SignatureProvided: claim.signature,
      CanonicalRequest: canonicalRequest,
    },
  });
}
