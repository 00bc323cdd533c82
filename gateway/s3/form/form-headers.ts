/**
 * Fields of a form as the headers that PutObject knows: what PutObject honours a form can ask for,
 * and what PutObject refuses is refused in a form. Pure.
 */
import { S3Error } from '../errors.ts';
import { invalidArgument } from '../parameters.ts';
import type { HeaderMap } from '../request.ts';
import { checkTags, encodeTaggingHeader } from '../tags.ts';
import { readTagging } from '../xml/tagging.ts';

/** Fields that mean the header of another name. */
const RENAMED: ReadonlyMap<string, string> = new Map([
  ['acl', 'x-amz-acl'],
  ['tagging', 'x-amz-tagging'],
]);

/** Fields that mean the header of the same name, beside all `x-amz-*`. */
const SAME: ReadonlySet<string> = new Set([
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-md5',
  'content-type',
  'expires',
]);

/** Fields of the signature: they say nothing about the object. */
const SIGNING: ReadonlySet<string> = new Set([
  'x-amz-algorithm',
  'x-amz-credential',
  'x-amz-date',
  'x-amz-signature',
]);

/** Headers about the transfer of a payload, its source or its place in an object: S3 has no such fields. */
const NOT_IN_FORMS: ReadonlySet<string> = new Set([
  'x-amz-content-sha256',
  'x-amz-decoded-content-length',
  'x-amz-trailer',
  'x-amz-write-offset-bytes',
]);
const NOT_IN_FORMS_PREFIX = 'x-amz-copy-source';

/** Of the request itself, what access policies may ask about. */
const FROM_REQUEST: readonly string[] = [
  'host',
  'origin',
  'referer',
  'user-agent',
  'x-amz-expected-bucket-owner',
];

/** RFC 9110 section 5.6.2: what a header's name may consist of. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** RFC 9110 section 5.5: what a header's value may not hold. */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const UNPRINTABLE = /[\u0000-\u0008\u000a-\u001f\u007f]/;

/**
 * The headers of the PutObject that a form asks for. `fields` are named in lower case. Throws
 * InvalidArgument for a field that cannot be a header, MalformedXML and InvalidTag for bad tags.
 */
export function formHeaders(fields: ReadonlyMap<string, string>, request: HeaderMap): HeaderMap {
  const headers = Object.create(null) as Record<string, string | undefined>;
  for (const name of FROM_REQUEST) headers[name] = request[name];
  for (const [field, value] of fields) {
    const name = headerOf(field);
    if (name === undefined) continue;
    if (headers[name] !== undefined) {
      throw invalidArgument(field, value, `The form says more than once what ${name} is.`);
    }
    headers[name] = headerValue(field, field === 'tagging' ? taggingHeader(value) : value);
  }
  return headers;
}

function headerOf(field: string): string | undefined {
  if (SIGNING.has(field)) return undefined;
  const renamed = RENAMED.get(field);
  if (renamed !== undefined) return renamed;
  if (SAME.has(field)) return field;
  if (!field.startsWith('x-amz-')) return undefined;
  if (NOT_IN_FORMS.has(field) || field.startsWith(NOT_IN_FORMS_PREFIX)) {
    throw invalidArgument(field, '', `A form cannot have the field ${field}.`);
  }
  return field;
}

/** A header holds one character per byte, and no line breaks. */
function headerValue(field: string, value: string): string {
  if (!TOKEN.test(field) || UNPRINTABLE.test(value)) {
    throw invalidArgument(field, value, `The field ${field} cannot be kept as a header.`);
  }
  return Buffer.from(value.trim()).toString('latin1');
}

/** The `tagging` field is the XML of PutObjectTagging; the header is a list of pairs. */
function taggingHeader(xml: string): string {
  const tags = readTagging(xml);
  checkTags(tags, 'object');
  return encodeTaggingHeader(tags);
}

/** Headers of the request itself that would change the upload, but that no form policy covers. */
const OUTSIDE_THE_FORM: ReadonlySet<string> = new Set([
  'content-encoding',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
]);
/** These describe the request, or are what browsers, proxies and SDKs put there. */
const HARMLESS: ReadonlySet<string> = new Set([
  'x-amz-date',
  'x-amz-content-sha256',
  'x-amz-user-agent',
  'x-amz-expected-bucket-owner',
]);

/** Throws InvalidRequest for a header that asks for something which the form should ask for. */
export function refuseOutsideTheForm(headers: HeaderMap): void {
  for (const name in headers) {
    if (headers[name] === undefined || HARMLESS.has(name)) continue;
    if (!name.startsWith('x-amz-') && !OUTSIDE_THE_FORM.has(name)) continue;
    throw new S3Error('InvalidRequest', {
      message: `A form upload is described by the fields of the form; the header ${name} does not count.`,
      details: { Header: name },
    });
  }
}
