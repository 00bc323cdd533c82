/** Names of buckets and keys (AWS: "General purpose bucket naming rules", "Object key naming"). */
import { KEY_BYTES_MAX } from '../../meta/protocol.ts';
import { S3Error } from './errors.ts';

// Labels of lower-case letters, digits and inner hyphens, joined by single dots: what DNS takes, so
// that every bucket can be reached in virtual-host style.
const BUCKET_PATTERN =
  /^(?=.{3,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const IPV4_PATTERN = /^\d+\.\d+\.\d+\.\d+$/;
/**
 * Names that mean something else to S3 clients: punycode, access points, table and zone buckets; and
 * the path of MinIO's health probes (`address.ts`).
 */
const RESERVED_NAMES = ['minio'];
const RESERVED_PREFIXES = ['xn--', 'sthree-'];
const RESERVED_SUFFIXES = ['-s3alias', '--ol-s3', '--x-s3', '--table-s3', '.mrap'];

export function isBucketName(name: string): boolean {
  return (
    BUCKET_PATTERN.test(name) &&
    !IPV4_PATTERN.test(name) &&
    !RESERVED_NAMES.includes(name) &&
    !RESERVED_PREFIXES.some((prefix) => name.startsWith(prefix)) &&
    !RESERVED_SUFFIXES.some((suffix) => name.endsWith(suffix))
  );
}

/** Throws InvalidBucketName. */
export function validateBucketName(name: string): void {
  if (!isBucketName(name)) {
    throw new S3Error('InvalidBucketName', { details: { BucketName: name } });
  }
}

/**
 * Throws KeyTooLongError above 1,024 UTF-8 bytes, and InvalidURI for what cannot be stored: an
 * empty key, a NUL, half a surrogate pair (from XML; a decoded path never holds one).
 */
export function validateKey(key: string): void {
  // A UTF-16 unit is at most three bytes: short keys need no measuring.
  if (key.length * 3 > KEY_BYTES_MAX) {
    const size = Buffer.byteLength(key);
    if (size > KEY_BYTES_MAX) {
      throw new S3Error('KeyTooLongError', {
        details: { Size: String(size), MaxSizeAllowed: String(KEY_BYTES_MAX) },
      });
    }
  }
  if (key === '' || key.includes('\0') || !key.isWellFormed()) throw new S3Error('InvalidURI');
}
