/**
 * Where a request goes: bucket and key, from the raw request target. Nothing is folded or
 * normalised: `..`, `//` and a trailing `/` are parts of a key like any other. What comes out here
 * is the one key that authorization, storage and replies use.
 */
import { S3Error } from './errors.ts';
import { validateBucketName, validateKey } from './names.ts';
import { decodePercent } from './percent.ts';

export interface Address {
  style: 'path' | 'virtual';
  /** Empty for the service itself. A valid bucket name otherwise. */
  bucket: string;
  /** Empty for the bucket itself. */
  key: string;
}

/** First path segment that is ours: no bucket name may begin with an underscore. */
const RESERVED_PREFIX = '/_ashlar/';
/** Where load balancers and probes that were made for MinIO ask; no bucket has that name. */
const MINIO_HEALTH = /^\/minio\/health\/(live|ready|cluster)$/;

/**
 * Whether the path is Ashlar's own (health): under RESERVED_PREFIX or MINIO_HEALTH, on any host that
 * does not name a bucket.
 */
export function isReserved(
  rawPath: string,
  host: string | undefined,
  domains: readonly string[],
): boolean {
  const own = rawPath.startsWith(RESERVED_PREFIX) || MINIO_HEALTH.test(rawPath);
  return own && bucketOfHost(host, domains) === undefined;
}

/**
 * @param rawPath the request target before `?`, as received
 * @param domains hosts (lower case, no port) under which `bucket.domain` is virtual-host style
 * @throws InvalidURI, InvalidBucketName, KeyTooLongError
 */
export function parseAddress(
  rawPath: string,
  host: string | undefined,
  domains: readonly string[],
): Address {
  if (!rawPath.startsWith('/')) throw new S3Error('InvalidURI');
  const hostBucket = bucketOfHost(host, domains);
  if (hostBucket !== undefined) {
    validateBucketName(hostBucket);
    return { style: 'virtual', bucket: hostBucket, key: keyOf(rawPath.slice(1)) };
  }
  if (rawPath === '/') return { style: 'path', bucket: '', key: '' };
  const slash = rawPath.indexOf('/', 1);
  const bucket = decoded(slash < 0 ? rawPath.slice(1) : rawPath.slice(1, slash));
  validateBucketName(bucket);
  return { style: 'path', bucket, key: slash < 0 ? '' : keyOf(rawPath.slice(slash + 1)) };
}

function keyOf(raw: string): string {
  if (raw === '') return '';
  const key = decoded(raw);
  validateKey(key);
  return key;
}

function decoded(raw: string): string {
  const text = decodePercent(raw);
  if (text === undefined) throw new S3Error('InvalidURI');
  return text;
}

/** The bucket in a virtual-host style Host header; undefined for path style. */
export function bucketOfHost(
  host: string | undefined,
  domains: readonly string[],
): string | undefined {
  if (host === undefined || domains.length === 0) return undefined;
  const name = hostName(host);
  let best: string | undefined;
  for (const domain of domains) {
    // A host that is itself a configured domain is path style, even below another one.
    if (name === domain) return undefined;
    if (name.endsWith(`.${domain}`) && (best === undefined || domain.length > best.length)) {
      best = domain;
    }
  }
  return best === undefined ? undefined : name.slice(0, -(best.length + 1));
}

/** Host without port and final dot, in lower case. */
export function hostName(host: string): string {
  const lower = host.toLowerCase();
  const colon = lower.lastIndexOf(':');
  const bare = colon > lower.lastIndexOf(']') ? lower.slice(0, colon) : lower;
  return bare.endsWith('.') ? bare.slice(0, -1) : bare;
}
