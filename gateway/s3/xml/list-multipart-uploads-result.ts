/** The answer of ListMultipartUploads. */
import type { Upload } from '../../../meta/protocol.ts';
import {
  commonPrefixElements,
  type EncodingType,
  nameElement,
  type OwnerNames,
  ownerElement,
  ownerFor,
} from './elements.ts';
import { document, element, text, timestamp } from './writer.ts';

export interface ListMultipartUploadsResult {
  bucket: string;
  keyMarker: string;
  uploadIdMarker: string;
  next?: { key: string; uploadId?: string | undefined } | undefined;
  prefix: string;
  delimiter?: string | undefined;
  maxUploads: number;
  encoding?: EncodingType | undefined;
  uploads: readonly Upload[];
  commonPrefixes: readonly string[];
  names: OwnerNames;
}

export function listMultipartUploadsResult(result: ListMultipartUploadsResult): string {
  const { encoding, next } = result;
  let uploads = '';
  for (const upload of result.uploads) uploads += uploadElement(upload, encoding, result.names);
  return document(
    'ListMultipartUploadsResult',
    text('Bucket', result.bucket),
    nameElement('KeyMarker', result.keyMarker, encoding),
    text('UploadIdMarker', result.uploadIdMarker),
    nameElement('NextKeyMarker', next?.key, encoding),
    // A page that ends with a common prefix has no upload id to go on from.
    text('NextUploadIdMarker', next === undefined ? undefined : (next.uploadId ?? '')),
    nameElement('Prefix', result.prefix, encoding),
    nameElement('Delimiter', result.delimiter, encoding),
    text('MaxUploads', result.maxUploads),
    text('EncodingType', encoding),
    text('IsTruncated', next !== undefined),
    uploads,
    commonPrefixElements(result.commonPrefixes, encoding),
  );
}

function uploadElement(
  upload: Upload,
  encoding: EncodingType | undefined,
  names: OwnerNames,
): string {
  const owner = ownerFor(upload.owner, names);
  return element(
    'Upload',
    nameElement('Key', upload.key, encoding),
    text('UploadId', upload.uploadId),
    ownerElement('Initiator', ownerFor(upload.initiator ?? upload.owner, names)),
    ownerElement('Owner', owner),
    text('StorageClass', upload.system.storageClass ?? 'STANDARD'),
    text('Initiated', timestamp(upload.createdMs)),
    text('ChecksumAlgorithm', upload.checksum?.algorithm),
    text('ChecksumType', upload.checksum?.type),
  );
}
