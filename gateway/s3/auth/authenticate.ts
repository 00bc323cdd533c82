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
    // boto3 and aws cli 1 still presign like this by default when the region is us-east-1.
    throw new S3Error('InvalidRequest', {
      message:
        "URLs presigned with Signature Version 2 are not supported. Please use Signature Version 4 (boto3: Config(signature_version='s3v4'); aws cli: s3.signature_version = s3v4).",
    });
  }
  if (authorization !== undefined) {
    const claim = parseAuthorization(request, authorization, options);
    if (
      isUnsigned(claim.payloadHash) &&
      !request.secure &&
      options.allowUnsignedOverHttp === false
    ) {
      throw new S3Error('AccessDenied', {
        message: 'Without TLS, this endpoint only takes requests whose payload is signed.',
      });
    }
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

function anonymous(request: RawRequest, query: readonly QueryPair[]): Authenticated {
  refuseToken(request, query);
  // boto3 without credentials sends aws-chunked bodies without saying so in x-amz-content-sha256.
  const chunked = headerValue(request.headers, 'x-amz-decoded-content-length') !== undefined;
  const payloadHash =
    headerValue(request.headers, 'x-amz-content-sha256') ??
    (chunked ? STREAMING_UNSIGNED_TRAILER : undefined);
  const payload = decodePayload(request, payloadHash, undefined);
  return { account: undefined, accessKey: undefined, ...payload };
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
