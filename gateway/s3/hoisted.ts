/**
 * Presigned URLs carry `x-amz-*` headers as query parameters ("hoisted" by the signer). They mean
 * what the headers mean, so everything behind the signature check sees them as headers.
 */
import { S3Error } from './errors.ts';
import type { QueryParameters } from './operation.ts';
import type { HeaderMap } from './request.ts';

/** The parameters of the signature itself. */
const SIGNING: ReadonlySet<string> = new Set([
  'x-amz-algorithm',
  'x-amz-credential',
  'x-amz-date',
  'x-amz-expires',
  'x-amz-security-token',
  'x-amz-signature',
  'x-amz-signedheaders',
  'x-amz-content-sha256',
]);

/**
 * Checksums of no bytes at all. An SDK that presigns an upload has no body to hash and signs one of
 * these into the URL (aws-sdk-js-v3 since 3.729); S3 does not hold the upload against it.
 */
const EMPTY_CHECKSUMS: ReadonlyMap<string, string> = new Map([
  ['x-amz-checksum-crc32', 'AAAAAA=='],
  ['x-amz-checksum-crc32c', 'AAAAAA=='],
  ['x-amz-checksum-crc64nvme', 'AAAAAAAAAAA='],
  ['x-amz-checksum-sha1', '2jmj7l5rSw0yVb/vlWAYkK/YBwk='],
  ['x-amz-checksum-sha256', '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='],
]);

/** What only describes the SDK that made the URL: it would need a checksum that is then not there. */
const SDK_ALGORITHM = 'x-amz-sdk-checksum-algorithm';

/**
 * The headers with those of the query added; the same object when there are none. Throws
 * InvalidArgument when header and query say different things, or the query says two.
 */
export function withHoistedHeaders(headers: HeaderMap, query: QueryParameters): HeaderMap {
  let merged: Record<string, string | undefined> | undefined;
  for (const name of query.names()) {
    if (name.length < 7 || name.slice(0, 6).toLowerCase() !== 'x-amz-') continue;
    const header = name.toLowerCase();
    if (SIGNING.has(header)) continue;
    // Header values carry one character per byte; the query was decoded to text.
    const value = Buffer.from(query.get(name) ?? '').toString('latin1');
    if (header === SDK_ALGORITHM || EMPTY_CHECKSUMS.get(header) === value) continue;
    merged ??= Object.assign(Object.create(null), headers) as Record<string, string | undefined>;
    if (merged[header] !== undefined && merged[header] !== value) {
      throw new S3Error('InvalidArgument', {
        message: 'A header and a query parameter of the same name differ.',
        details: { ArgumentName: header, ArgumentValue: value },
      });
    }
    merged[header] = value;
  }
  return merged ?? headers;
}
