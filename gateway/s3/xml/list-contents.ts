/** One object of a listing. */
import type { ListedObject } from '../../../meta/protocol.ts';
import {
  type EncodingType,
  etagElement,
  nameElement,
  type Owner,
  ownerElement,
} from './elements.ts';
import { element, text, timestamp } from './writer.ts';

/** `<Contents>`; the owner only where the listing shows it. */
export function contentsElement(
  object: ListedObject,
  encoding: EncodingType | undefined,
  owner: Owner | undefined,
): string {
  return element(
    'Contents',
    nameElement('Key', object.key, encoding),
    text('LastModified', timestamp(object.modifiedMs)),
    etagElement(object.etag),
    text('ChecksumAlgorithm', object.checksum?.algorithm),
    text('ChecksumType', object.checksum?.type),
    text('Size', object.size),
    owner === undefined ? '' : ownerElement('Owner', owner),
    text('StorageClass', object.storageClass ?? 'STANDARD'),
  );
}
