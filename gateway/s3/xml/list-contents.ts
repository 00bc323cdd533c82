/** One object of a listing. */
import type { ListedObject } from '../../../meta/protocol.ts';
import { type EncodingType, type Owner, ownerElement, urlEncode } from './elements.ts';
import { escapeXml, timestamp } from './writer.ts';

/** `<Contents>`; the owner only where the listing shows it. */
export function contentsElement(
  object: ListedObject,
  encoding: EncodingType | undefined,
  owner: Owner | undefined,
): string {
  // One template instead of an element call each: a listing writes up to 1,000 of these.
  const { checksum, storageClass } = object;
  const key = encoding === undefined ? escapeXml(object.key) : urlEncode(object.key);
  return `<Contents><Key>${key}</Key><LastModified>${timestamp(object.modifiedMs)}</LastModified><ETag>&quot;${escapeXml(object.etag)}&quot;</ETag>${
    checksum === undefined
      ? ''
      : `<ChecksumAlgorithm>${checksum.algorithm}</ChecksumAlgorithm><ChecksumType>${checksum.type}</ChecksumType>`
  }<Size>${object.size}</Size>${owner === undefined ? '' : ownerElement('Owner', owner)}<StorageClass>${
    storageClass === undefined ? 'STANDARD' : escapeXml(storageClass)
  }</StorageClass></Contents>`;
}
