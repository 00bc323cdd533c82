/** The answer of CompleteMultipartUpload. */
import type { ObjectChecksum } from '../../../base/object-checksum.ts';
import { checksumElement, etagElement } from './elements.ts';
import { document, text } from './writer.ts';

export interface CompleteMultipartUploadResult {
  /** Address of the new object. */
  location: string;
  bucket: string;
  key: string;
  etag: string;
  checksum?: ObjectChecksum | undefined;
}

export function completeMultipartUploadResult(result: CompleteMultipartUploadResult): string {
  const { checksum } = result;
  return document(
    'CompleteMultipartUploadResult',
    text('Location', result.location),
    text('Bucket', result.bucket),
    text('Key', result.key),
    etagElement(result.etag),
    checksum === undefined ? '' : checksumElement(checksum.algorithm, checksum.value),
    text('ChecksumType', checksum?.type),
  );
}
