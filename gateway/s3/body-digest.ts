/** What the client promises about a small body that is read whole: the XML of a request. */
import { digestOf } from '../../base/digest.ts';
import type { Authenticated } from './auth/identity.ts';
import { S3Error } from './errors.ts';
import { checksumHeader, isChecksumValue, parseChecksumHeader } from './ingest.ts';
import type { OperationName } from './operation.ts';
import type { HeaderMap } from './request.ts';

export interface BodyDigestOptions {
  /** In CompleteMultipartUpload the checksum headers describe the object, not the body. */
  operation: OperationName;
  /** A checksum that came behind the body; its value is known because the body has ended. */
  trailer?: Authenticated['trailer'];
}

/**
 * Checks Content-MD5 and `x-amz-checksum-*` against the bytes as they came. Throws InvalidDigest
 * (Content-MD5 is no MD5), InvalidRequest (the checksum header is none) or BadDigest. What is not
 * sent is not checked. `loadDigests()` must have settled before.
 */
export function verifyBodyDigest(
  headers: HeaderMap,
  bytes: Uint8Array,
  options: BodyDigestOptions,
): void {
  verifyMd5(headers['content-md5'], bytes);
  if (options.operation === 'CompleteMultipartUpload') return;
  const promised = parseChecksumHeader(headers) ?? trailing(options.trailer);
  if (promised === undefined) return;
  const { algorithm, value } = promised;
  if (digestOf(algorithm, bytes).toString('base64') === value) return;
  throw new S3Error('BadDigest', {
    message: `The ${algorithm} you specified did not match the calculated checksum.`,
  });
}

/** Whether the request carries a digest of its body at all. */
export function hasBodyDigest(headers: HeaderMap): boolean {
  return (
    headers['content-md5'] !== undefined ||
    parseChecksumHeader(headers) !== undefined ||
    (headers['x-amz-trailer']?.toLowerCase().includes('x-amz-checksum-') ?? false)
  );
}

function verifyMd5(header: string | undefined, bytes: Uint8Array): void {
  if (header === undefined) return;
  const promised = Buffer.from(header.trim(), 'base64');
  if (promised.length !== 16 || promised.toString('base64') !== header.trim()) {
    throw new S3Error('InvalidDigest', {
      message: 'The Content-MD5 you specified was invalid.',
      details: { 'Content-MD5': header },
    });
  }
  const actual = digestOf('MD5', bytes);
  if (actual.equals(promised)) return;
  throw new S3Error('BadDigest', {
    message: 'The Content-MD5 you specified did not match what we received.',
    details: {
      ExpectedDigest: promised.toString('hex'),
      CalculatedDigest: actual.toString('hex'),
    },
  });
}

function trailing(trailer: Authenticated['trailer']): ReturnType<typeof parseChecksumHeader> {
  if (trailer === undefined) return undefined;
  const { algorithm } = trailer;
  const value = trailer.value();
  if (!isChecksumValue(algorithm, value)) {
    throw new S3Error('InvalidRequest', {
      message: `Value for ${checksumHeader(algorithm)} trailing header is invalid.`,
    });
  }
  return { algorithm, value };
}
