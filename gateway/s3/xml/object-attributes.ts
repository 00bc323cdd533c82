/** The answer of GetObjectAttributes. */
import type { ObjectRecord, PartRef } from '../../../meta/protocol.ts';
import { checksumElement } from './elements.ts';
import { document, element, text } from './writer.ts';

export const ATTRIBUTES = [
  'ETag',
  'Checksum',
  'ObjectParts',
  'StorageClass',
  'ObjectSize',
] as const;
export type Attribute = (typeof ATTRIBUTES)[number];

export interface AttributeParts {
  /** Parts of the whole object. */
  count: number;
  marker: number;
  maxParts: number;
  /** This page. */
  parts: readonly PartRef[];
  truncated: boolean;
}

/** Only what was asked for and exists. The ETag stands without quotes here, as AWS has it. */
export function objectAttributes(
  object: ObjectRecord,
  attributes: ReadonlySet<Attribute>,
  parts: AttributeParts | undefined,
): string {
  return document(
    'GetObjectAttributesResponse',
    attributes.has('ETag') ? text('ETag', object.etag) : '',
    attributes.has('Checksum') ? checksumOf(object) : '',
    parts === undefined ? '' : objectParts(object, parts),
    attributes.has('StorageClass')
      ? text('StorageClass', object.system.storageClass ?? 'STANDARD')
      : '',
    attributes.has('ObjectSize') ? text('ObjectSize', object.size) : '',
  );
}

/** A composite value with its `-N`, as in every other answer; AWS leaves it out here alone. */
function checksumOf({ checksum }: ObjectRecord): string {
  if (checksum === undefined) return '';
  return element(
    'Checksum',
    checksumElement(checksum.algorithm, checksum.value),
    text('ChecksumType', checksum.type),
  );
}

function objectParts(object: ObjectRecord, page: AttributeParts): string {
  const last = page.parts.at(-1)?.number;
  return element(
    'ObjectParts',
    text('PartsCount', page.count),
    text('PartNumberMarker', page.marker),
    text('NextPartNumberMarker', last ?? page.marker),
    text('MaxParts', page.maxParts),
    text('IsTruncated', page.truncated),
    ...page.parts.map((part) =>
      element(
        'Part',
        text('PartNumber', part.number),
        text('Size', part.size),
        object.checksum === undefined
          ? ''
          : checksumElement(object.checksum.algorithm, part.checksum),
      ),
    ),
  );
}
