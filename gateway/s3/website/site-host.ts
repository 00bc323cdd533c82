/** Which requests are visits to a website: their Host tells. */
import { bucketOfHost, hostName } from '../address.ts';
import { S3Error } from '../errors.ts';
import { isBucketName, validateKey } from '../names.ts';
import { decodePercent } from '../percent.ts';
import type { RawRequest } from '../request.ts';

export interface WebsiteHosts {
  /** Hosts (lower case, no port) under which `bucket.domain` is the website of a bucket. */
  domains: readonly string[];
  /** Every other host is the name of a bucket: `www.example.com` (a listener for websites only). */
  every: boolean;
}

/** The bucket whose website is asked for; undefined when the request is for the S3 API. */
export function siteBucket(
  { headers }: RawRequest,
  { domains, every }: WebsiteHosts,
): string | undefined {
  const host = headers['host'];
  const below = bucketOfHost(host, domains);
  if (below !== undefined || !every) return below;
  return hostName(host ?? '');
}

/** It comes back in redirects: a name and a port, and nothing that could read as a path. */
const PLAIN_HOST = /^[A-Za-z0-9.-]+(:\d{1,5})?$/;

/** Throws NoSuchBucket for a host that cannot be one, InvalidURI and KeyTooLongError for a bad path. */
export function siteAddress(
  { headers, rawPath }: RawRequest,
  bucket: string,
): { style: 'virtual'; bucket: string; key: string } {
  if (!isBucketName(bucket) || !PLAIN_HOST.test(headers['host'] ?? '')) {
    throw new S3Error('NoSuchBucket', { details: { BucketName: bucket } });
  }
  const key = rawPath.startsWith('/') ? decodePercent(rawPath.slice(1)) : undefined;
  if (key === undefined) throw new S3Error('InvalidURI');
  if (key !== '') validateKey(key);
  return { style: 'virtual', bucket, key };
}
