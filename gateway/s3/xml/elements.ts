/** Elements that several S3 documents share. */
import { CHECKSUM_ALGORITHMS, type ChecksumAlgorithm } from '../../../base/object-checksum.ts';
import type { Upload } from '../../../meta/protocol.ts';
import { quoteEtag } from '../etag.ts';
import { element, text } from './writer.ts';

export interface Owner {
  /** Canonical id. */
  id: string;
  /** Left out when the name behind the id is not known here. */
  displayName?: string | undefined;
}

/** `<Owner>` or `<Initiator>`. */
export function ownerElement(name: 'Owner' | 'Initiator', owner: Owner): string {
  return element(name, text('ID', owner.id), text('DisplayName', owner.displayName));
}

/** Display names of accounts, by canonical id. */
export type OwnerNames = ReadonlyMap<string, string>;

/** The owner with that id, with the name if there is one. */
export function ownerFor(id: string, names: OwnerNames): Owner {
  return { id, displayName: names.get(id) };
}

/** Canonical ids of all whom an upload names. */
export function ownersOf({
  owner,
  initiator = owner,
}: Pick<Upload, 'owner' | 'initiator'>): string[] {
  return [owner, initiator];
}

/** `<ETag>` with its quotes; `etag` is bare. */
export function etagElement(etag: string): string {
  return text('ETag', quoteEtag(etag));
}

/** Names of the elements that carry a checksum, with their algorithm. */
export const CHECKSUM_ELEMENTS: readonly { name: string; algorithm: ChecksumAlgorithm }[] =
  CHECKSUM_ALGORITHMS.map((algorithm) => ({ name: `Checksum${algorithm}`, algorithm }));

/** `<ChecksumCRC32>…`; nothing without a value. */
export function checksumElement(algorithm: ChecksumAlgorithm, value: string | undefined): string {
  return text(`Checksum${algorithm}`, value);
}

/** What the `encoding-type` parameter may be; absent means that names are only XML-escaped. */
export type EncodingType = 'url';

const SLASHES = /%2F/g;
const UNENCODED = /[!'()]/g;

/**
 * A name as `encoding-type=url` returns it: UTF-8, percent-encoded, slashes kept. A space is `%20`:
 * AWS writes `+`, but clients exist that do not turn `+` back, while all of them decode `%20`, and
 * the s3-tests suite expects it. A literal `+` is `%2B` either way.
 */
export function urlEncode(name: string): string {
  return encodeURIComponent(name)
    .replace(SLASHES, '/')
    .replace(UNENCODED, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

// eslint-disable-next-line no-control-regex -- what no XML document may hold is what is looked for
const MUST_BE_ENCODED = /[%+\r\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

/**
 * The prefix that a ListObjects asked for. boto3 asks for `encoding-type=url` by itself and decodes
 * every name of the answer but this one (boto/botocore pull request 1901), others decode it: what
 * both understand is a name in which only that is encoded which must be.
 */
export function echoedPrefix(prefix: string, encoding: EncodingType | undefined): string {
  return text(
    'Prefix',
    encoding === undefined ? prefix : prefix.replace(MUST_BE_ENCODED, encodeURIComponent),
  );
}

/** An element whose value follows the encoding type of the listing. */
export function nameElement(
  name: string,
  value: string | undefined,
  encoding: EncodingType | undefined,
): string {
  return text(name, value === undefined || encoding === undefined ? value : urlEncode(value));
}

/** One `<CommonPrefixes>` each. */
export function commonPrefixElements(
  prefixes: readonly string[],
  encoding: EncodingType | undefined,
): string {
  let xml = '';
  for (const prefix of prefixes) {
    xml += element('CommonPrefixes', nameElement('Prefix', prefix, encoding));
  }
  return xml;
}
