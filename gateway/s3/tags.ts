/** Tags of objects and buckets: their rules, and the header that carries them. */
import {
  BUCKET_TAGS_MAX,
  OBJECT_TAGS_MAX,
  type Tag,
  TAG_KEY_MAX,
  TAG_VALUE_MAX,
} from '../../meta/protocol.ts';
import { S3Error } from './errors.ts';
import { invalidArgument } from './parameters.ts';
import { decodePercent } from './percent.ts';

/** Letters, numbers and spaces of any script, and a few signs (AWS user guide, "tagging"). */
const CHARACTERS = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;
/** Tags whose key begins so are the system's own. */
const RESERVED = /^aws:/i;

/** What carries the tags: an object or a bucket. */
export type Tagged = 'object' | 'bucket';

/** Throws InvalidTag for more tags than allowed, repeated keys, and keys and values that cannot be. */
export function checkTags(tags: readonly Tag[], tagged: Tagged): void {
  const max = tagged === 'object' ? OBJECT_TAGS_MAX : BUCKET_TAGS_MAX;
  if (tags.length > max) {
    const kind = tagged === 'object' ? 'Object' : 'Bucket';
    throw invalidTag(`${kind} tags cannot be greater than ${max}`);
  }
  const keys = new Set<string>();
  for (const { key, value } of tags) {
    // Lengths count UTF-16 units, as AWS keeps tags.
    if (key === '' || key.length > TAG_KEY_MAX || !CHARACTERS.test(key)) {
      throw invalidTag('The TagKey you have provided is invalid', { TagKey: key });
    }
    if (value.length > TAG_VALUE_MAX || !CHARACTERS.test(value)) {
      throw invalidTag('The TagValue you have provided is invalid', {
        TagKey: key,
        TagValue: value,
      });
    }
    if (RESERVED.test(key)) {
      throw invalidTag('System tags cannot be added/updated by requester', { TagKey: key });
    }
    if (keys.has(key)) {
      throw invalidTag('Cannot provide multiple Tags with the same key', { TagKey: key });
    }
    keys.add(key);
  }
}

function invalidTag(message: string, details: Record<string, string> = {}): S3Error {
  return new S3Error('InvalidTag', { message, details });
}

const HEADER = 'x-amz-tagging';

/**
 * `x-amz-tagging`: pairs as in a query string, `a=1&b=2`. `undefined` without the header or with an
 * empty one. Throws InvalidArgument for what is no such list, InvalidTag for tags that cannot be.
 */
export function parseTaggingHeader(header: string | undefined): Tag[] | undefined {
  if (header === undefined || header === '') return undefined;
  const tags = header.split('&').map((pair): Tag => {
    const equals = pair.indexOf('=');
    const end = equals < 0 ? pair.length : equals;
    return {
      key: decoded(pair.slice(0, end), header),
      value: decoded(pair.slice(end + 1), header),
    };
  });
  if (new Set(tags.map(({ key }) => key)).size < tags.length) throw notEncoded(header);
  checkTags(tags, 'object');
  return tags;
}

function decoded(text: string, header: string): string {
  const plain = decodePercent(text.replaceAll('+', ' '));
  if (plain === undefined) throw notEncoded(header);
  return plain;
}

function notEncoded(header: string): S3Error {
  return invalidArgument(
    HEADER,
    header,
    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
  );
}

/** `x-amz-tagging-directive`: whether a copy takes the tags of the request. Throws InvalidArgument. */
export function replacesTags(directive: string | undefined): boolean {
  if (directive === undefined || directive === 'COPY') return false;
  if (directive === 'REPLACE') return true;
  throw invalidArgument('x-amz-tagging-directive', directive, 'Unknown tagging directive.');
}

/** The configuration of a bucket that holds its tags. */
export const TAGGING_CONFIG = 'tagging';

/** Tags as the metadata service keeps them for a bucket. */
export function encodeBucketTags(tags: readonly Tag[]): string {
  return JSON.stringify(tags.map(({ key, value }) => [key, value]));
}

export function decodeBucketTags(text: string): Tag[] {
  const pairs = JSON.parse(text) as [string, string][];
  return pairs.map(([key, value]) => ({ key, value }));
}

/** Tags as `x-amz-tagging` carries them. */
export function encodeTaggingHeader(tags: readonly Tag[]): string {
  return tags
    .map(({ key, value }) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
    .join('&');
}
