/**
 * Who sent this request? One function for every route, before anything else looks at the request.
 * It never asks what the request is for: that is the business of routing and authorization.
 */
import { S3Error } from '../errors.ts';
import type { RawRequest } from '../request.ts';
import { headerValue, parseQuery, type QueryPair } from './canonical-request.ts';
import type { Authenticated, CredentialSource } from './identity.ts';
import { decodePayload, isUnsigned, STREAMING_UNSIGNED_TRAILER } from './payload.ts';
import { hasQueryToken, parsePresigned, queryCredentials } from './presigned.ts';
import { isHeaderV2, parseHeaderV2, parseQueryV2, verifyV2, type ClaimV2 } from './signature-v2.ts';
import { type Claim, parseAuthorization, verify } from './signature-v4.ts';

export interface AuthenticateOptions {
  credentials: CredentialSource;
  /** The only region that a credential scope may name. */
  region: string;
  /** Wall clock, milliseconds since the epoch. */
  now: number;
  /**
   * Whether a header-signed request may leave its payload unsigned when there is no TLS. True by
   * default: rclone, the aws cli and SDKs do so on loopback and behind TLS-terminating proxies.
   * Presigned URLs are always unsigned in this sense and are not concerned.
   */
  allowUnsignedOverHttp?: boolean;
  /** Takes Signature Version 2 as well; `domains` are those of virtual-host style. Off by default. */
  signatureV2?: { domains: readonly string[] } | undefined;
}

/** Headers on which authentication rests: said twice, they could mean different things to others. */
const SINGLE_HEADERS: readonly string[] = [
  'host',
  'authorization',
  'x-amz-date',
  'x-amz-content-sha256',
  'x-amz-decoded-content-length',
  'x-amz-trailer',
];

/**
 * The identity behind a request, and its payload. Without credentials the account is undefined
 * (anonymous); whatever is wrong with the credentials that there are is an S3Error, with the codes
 * of the table in `README.md`.
 */
export function authenticate(request: RawRequest, options: AuthenticateOptions): Authenticated {
  refuseRepeated(request);
  const query = parseQuery(request.rawQuery);
  const authorization = headerValue(request.headers, 'authorization');
  const inQuery = queryCredentials(query);
  if (authorization !== undefined && inQuery !== 'none') {
    throw new S3Error('InvalidArgument', {
      message:
        'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified.',
    });
  }
  if (inQuery === 'v2') {
    if (options.signatureV2 === undefined) throw presignedV2IsOff();
    const claim = parseQueryV2(request.rawQuery, options.now);
    return authenticatedV2(request, query, claim, { ...options, ...options.signatureV2 });
  }
  if (authorization !== undefined && isHeaderV2(authorization)) {
    if (options.signatureV2 === undefined) throw headerV2IsOff();
    const claim = parseHeaderV2(request, authorization, options.now);
    return authenticatedV2(request, query, claim, { ...options, ...options.signatureV2 });
  }
  if (authorization !== undefined) {
    const claim = parseAuthorization(request, authorization, options);
    if (isUnsigned(claim.payloadHash)) refuseUnsignedPayload(request, options);
    return authenticated(request, query, claim, options);
  }
  if (inQuery === 'v4') {
    return authenticated(request, query, parsePresigned(request, query, options), options);
  }
  return anonymous(request, query);
}

function authenticated(
  request: RawRequest,
  query: readonly QueryPair[],
  claim: Claim,
  options: AuthenticateOptions,
): Authenticated {
  refuseToken(request, query);
  const { credential, signingKey } = verify(request, query, claim, options.credentials);
  const payload = decodePayload(request, claim.payloadHash, {
    key: signingKey,
    timestamp: claim.timestamp,
    scope: claim.scope,
    signature: claim.signature,
  });
  return { account: credential.account, accessKey: credential.accessKey, ...payload };
}

/** Version 2 does not sign payloads; x-amz-content-sha256 is a header as any other and may say its hash. */
function authenticatedV2(
  request: RawRequest,
  query: readonly QueryPair[],
  claim: ClaimV2,
  options: AuthenticateOptions & { domains: readonly string[] },
): Authenticated {
  refuseToken(request, query);
  const payloadHash = declaredPayloadHash(request);
  if (claim.form === 'header' && (payloadHash === undefined || isUnsigned(payloadHash))) {
    refuseUnsignedPayload(request, options);
  }
  const credential = verifyV2(request, claim, options);
  const payload = decodePayload(request, payloadHash, undefined);
  return { account: credential.account, accessKey: credential.accessKey, ...payload };
}

function headerV2IsOff(): S3Error {
  return new S3Error('InvalidRequest', {
    message:
      'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256. (Signature Version 2 can be switched on by the setting s3.signatureV2.)',
  });
}

function presignedV2IsOff(): S3Error {
  // boto3 and aws cli 1 still presign like this by default when the region is us-east-1.
  return new S3Error('InvalidRequest', {
    message:
      "URLs presigned with Signature Version 2 are not supported. Please use Signature Version 4 (boto3: Config(signature_version='s3v4'); aws cli: s3.signature_version = s3v4), or have Signature Version 2 switched on by the setting s3.signatureV2.",
  });
}

function refuseUnsignedPayload(request: RawRequest, options: AuthenticateOptions): void {
  if (request.secure || options.allowUnsignedOverHttp !== false) return;
  throw new S3Error('AccessDenied', {
    message: 'Without TLS, this endpoint only takes requests whose payload is signed.',
  });
}

function anonymous(request: RawRequest, query: readonly QueryPair[]): Authenticated {
  refuseToken(request, query);
  const payload = decodePayload(request, declaredPayloadHash(request), undefined);
  return { account: undefined, accessKey: undefined, ...payload };
}

/** x-amz-content-sha256, or what stands for it, of a request that need not have one. */
function declaredPayloadHash(request: RawRequest): string | undefined {
  // boto3 without credentials sends aws-chunked bodies without saying so in x-amz-content-sha256.
  const chunked = headerValue(request.headers, 'x-amz-decoded-content-length') !== undefined;
  return (
    headerValue(request.headers, 'x-amz-content-sha256') ??
    (chunked ? STREAMING_UNSIGNED_TRAILER : undefined)
  );
}

/** There are no temporary credentials yet, so no token can be right. */
function refuseToken(request: RawRequest, query: readonly QueryPair[]): void {
  const header = headerValue(request.headers, 'x-amz-security-token');
  if (header !== undefined || hasQueryToken(query)) throw new S3Error('InvalidToken');
}

function refuseRepeated(request: RawRequest): void {
  if (request.repeatedHeaders.length === 0) return;
  const name = SINGLE_HEADERS.find((single) => request.repeatedHeaders.includes(single));
  if (name === undefined) return;
  throw new S3Error('InvalidRequest', { message: `The ${name} header is given more than once.` });
}
