/** The answer of ListParts. */
import type { Part, Upload } from '../../../meta/protocol.ts';
import {
  checksumElement,
  type EncodingType,
  etagElement,
  nameElement,
  type OwnerNames,
  ownerElement,
  ownerFor,
} from './elements.ts';
import { document, element, text, timestamp } from './writer.ts';

export interface ListPartsResult {
  upload: Upload;
  partNumberMarker: number;
  maxParts: number;
  truncated: boolean;
  parts: readonly Part[];
  encoding?: EncodingType | undefined;
  names: OwnerNames;
}

export function listPartsResult(result: ListPartsResult): string {
  const { upload } = result;
  const owner = ownerFor(upload.owner, result.names);
  const last = result.parts[result.parts.length - 1];
  let parts = '';
  for (const part of result.parts) parts += partElement(part, upload);
  return document(
    'ListPartsResult',
    text('Bucket', upload.bucket),
    nameElement('Key', upload.key, result.encoding),
    text('UploadId', upload.uploadId),
    ownerElement('Initiator', ownerFor(upload.initiator ?? upload.owner, result.names)),
    ownerElement('Owner', owner),
    text('StorageClass', upload.system.storageClass ?? 'STANDARD'),
    text('ChecksumAlgorithm', upload.checksum?.algorithm),
    text('ChecksumType', upload.checksum?.type),
    text('PartNumberMarker', result.partNumberMarker),
    // AWS names the last part of the page whether there is more or not.
    text('NextPartNumberMarker', last?.number ?? 0),
    text('MaxParts', result.maxParts),
    text('EncodingType', result.encoding),
    text('IsTruncated', result.truncated),
    parts,
  );
}

function partElement(part: Part, upload: Upload): string {
  return element(
    'Part',
    text('PartNumber', part.number),
    text('LastModified', timestamp(part.modifiedMs)),
    etagElement(part.etag),
    text('Size', part.size),
    upload.checksum === undefined ? '' : checksumElement(upload.checksum.algorithm, part.checksum),
  );
}
