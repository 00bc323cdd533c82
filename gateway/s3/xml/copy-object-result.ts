/** The answer of CopyObject. */
import type { ObjectChecksum } from '../../../base/object-checksum.ts';
import { checksumElement, etagElement } from './elements.ts';
import { document, text, timestamp } from './writer.ts';

export interface CopyObjectResult {
  etag: string;
  modifiedMs: number;
  checksum?: ObjectChecksum | undefined;
}

export function copyObjectResult({ etag, modifiedMs, checksum }: CopyObjectResult): string {
  return document(
    'CopyObjectResult',
    text('LastModified', timestamp(modifiedMs)),
    etagElement(etag),
    checksum === undefined ? '' : text('ChecksumType', checksum.type),
    checksum === undefined ? '' : checksumElement(checksum.algorithm, checksum.value),
  );
}
