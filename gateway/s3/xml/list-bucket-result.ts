/** The answer of ListObjects (the first version of the listing). */
import type { ListedObject } from '../../../meta/protocol.ts';
import {
  commonPrefixElements,
  echoedPrefix,
  type EncodingType,
  nameElement,
  type OwnerNames,
  ownerFor,
} from './elements.ts';
import { contentsElement } from './list-contents.ts';
import { document, text } from './writer.ts';

export interface ListBucketResult {
  bucket: string;
  prefix: string;
  marker: string;
  /** Only when a delimiter was given and there is more: without one, the last key serves. */
  nextMarker?: string | undefined;
  delimiter?: string | undefined;
  maxKeys: number;
  encoding?: EncodingType | undefined;
  truncated: boolean;
  objects: readonly ListedObject[];
  commonPrefixes: readonly string[];
  names: OwnerNames;
}

export function listBucketResult(result: ListBucketResult): string {
  const { encoding } = result;
  let contents = '';
  for (const object of result.objects) {
    contents += contentsElement(object, encoding, ownerFor(object.owner, result.names));
  }
  return document(
    'ListBucketResult',
    text('Name', result.bucket),
    echoedPrefix(result.prefix, encoding),
    nameElement('Marker', result.marker, encoding),
    nameElement('NextMarker', result.nextMarker, encoding),
    text('MaxKeys', result.maxKeys),
    nameElement('Delimiter', result.delimiter, encoding),
    text('EncodingType', encoding),
    text('IsTruncated', result.truncated),
    contents,
    commonPrefixElements(result.commonPrefixes, encoding),
  );
}
