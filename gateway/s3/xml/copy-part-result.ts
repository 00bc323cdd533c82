/** The answer of UploadPartCopy. */
import type { ChecksumAlgorithm } from '../../../base/object-checksum.ts';
import { checksumElement, etagElement } from './elements.ts';
import { document, text, timestamp } from './writer.ts';

export interface CopyPartResult {
  etag: string;
  modifiedMs: number;
  checksum?: { algorithm: ChecksumAlgorithm; value: string } | undefined;
}

export function copyPartResult(result: CopyPartResult): string {
  const { checksum } = result;
  return document(
    'CopyPartResult',
    text('LastModified', timestamp(result.modifiedMs)),
    etagElement(result.etag),
    checksum === undefined ? '' : checksumElement(checksum.algorithm, checksum.value),
  );
}
