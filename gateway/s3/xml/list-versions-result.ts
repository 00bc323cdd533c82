/** The answer of ListObjectVersions. */
import type { ListedVersion } from '../../../meta/protocol.ts';
import {
  commonPrefixElements,
  type EncodingType,
  etagElement,
  nameElement,
  type Owner,
  type OwnerNames,
  ownerElement,
  ownerFor,
} from './elements.ts';
import { document, element, text, timestamp } from './writer.ts';

export interface ListVersionsResult {
  bucket: string;
  prefix: string;
  keyMarker: string;
  versionIdMarker: string;
  next?: { key: string; versionId?: string | undefined } | undefined;
  maxKeys: number;
  delimiter?: string | undefined;
  encoding?: EncodingType | undefined;
  versions: readonly ListedVersion[];
  commonPrefixes: readonly string[];
  names: OwnerNames;
}

export function listVersionsResult(result: ListVersionsResult): string {
  const { encoding, next } = result;
  let versions = '';
  for (const version of result.versions) {
    versions += versionElement(version, encoding, ownerFor(version.owner, result.names));
  }
  return document(
    'ListVersionsResult',
    text('Name', result.bucket),
    nameElement('Prefix', result.prefix, encoding),
    nameElement('KeyMarker', result.keyMarker, encoding),
    text('VersionIdMarker', result.versionIdMarker),
    nameElement('NextKeyMarker', next?.key, encoding),
    text('NextVersionIdMarker', next?.versionId),
    text('MaxKeys', result.maxKeys),
    nameElement('Delimiter', result.delimiter, encoding),
    text('EncodingType', encoding),
    text('IsTruncated', next !== undefined),
    versions,
    commonPrefixElements(result.commonPrefixes, encoding),
  );
}

/** `<Version>` or `<DeleteMarker>`, in one order: SDKs sort them into two lists. */
function versionElement(
  version: ListedVersion,
  encoding: EncodingType | undefined,
  owner: Owner,
): string {
  const { key, versionId, latest, modifiedMs, checksum } = version;
  const name =
    nameElement('Key', key, encoding) + text('VersionId', versionId) + text('IsLatest', latest);
  const modified = text('LastModified', timestamp(modifiedMs));
  if (version.marker === true) {
    return element('DeleteMarker', name, modified, ownerElement('Owner', owner));
  }
  return element(
    'Version',
    name,
    modified,
    etagElement(version.etag),
    text('ChecksumAlgorithm', checksum?.algorithm),
    text('ChecksumType', checksum?.type),
    text('Size', version.size),
    ownerElement('Owner', owner),
    text('StorageClass', version.storageClass ?? 'STANDARD'),
  );
}
