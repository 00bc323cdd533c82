/** The answer of ListObjectsV2. */
import type { ListedObject } from '../../../meta/protocol.ts';
import {
  commonPrefixElements,
  type EncodingType,
  nameElement,
  type OwnerNames,
  ownerFor,
} from './elements.ts';
import { contentsElement } from './list-contents.ts';
import { document, text } from './writer.ts';

export interface ListBucketResultV2 {
  bucket: string;
  prefix: string;
  /** As the request gave them. */
  continuationToken?: string | undefined;
  startAfter?: string | undefined;
  nextContinuationToken?: string | undefined;
  delimiter?: string | undefined;
  maxKeys: number;
  encoding?: EncodingType | undefined;
  objects: readonly ListedObject[];
  commonPrefixes: readonly string[];
  /** Present: every object shows its owner. */
  names?: OwnerNames | undefined;
}

export function listBucketResultV2(result: ListBucketResultV2): string {
  const { encoding, names } = result;
  let contents = '';
  for (const object of result.objects) {
    const owner = names === undefined ? undefined : ownerFor(object.owner, names);
    contents += contentsElement(object, encoding, owner);
  }
  return document(
    'ListBucketResult',
    text('Name', result.bucket),
    nameElement('Prefix', result.prefix, encoding),
    text('ContinuationToken', result.continuationToken),
    text('NextContinuationToken', result.nextContinuationToken),
    nameElement('StartAfter', result.startAfter, encoding),
    text('KeyCount', result.objects.length + result.commonPrefixes.length),
    text('MaxKeys', result.maxKeys),
    nameElement('Delimiter', result.delimiter, encoding),
    text('EncodingType', encoding),
    text('IsTruncated', result.nextContinuationToken !== undefined),
    contents,
    commonPrefixElements(result.commonPrefixes, encoding),
  );
}
