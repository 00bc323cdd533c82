import type { ObjectRecord, PartRef } from '../../../meta/protocol.ts';
import type { CustomerKey } from '../../keys/protocol.ts';
import { parseReadKey } from '../encryption/headers.ts';
import { S3Error } from '../errors.ts';
import { formatHttpDate } from '../http-date.ts';
import { type Context, defineOperation } from '../operation.ts';
import { invalidArgument } from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';
import { shownVersionId, versionIdParameter } from '../version-id.ts';
import { xmlReply } from '../xml/reply.ts';
import {
  ATTRIBUTES,
  type Attribute,
  type AttributeParts,
  objectAttributes,
} from '../xml/object-attributes.ts';

const PARTS_MAX = 1000;

interface Input {
  bucket: string;
  key: string;
  versionId: string | undefined;
  attributes: ReadonlySet<Attribute>;
  maxParts: number;
  /** Parts with greater numbers only. */
  marker: number;
  customer: CustomerKey | undefined;
}

interface Output {
  object: ObjectRecord;
  versionId: string | undefined;
  attributes: ReadonlySet<Attribute>;
  parts: AttributeParts | undefined;
}

/** GetObjectAttributes. */
export const getObjectAttributes = defineOperation<Input, Output>({
  name: 'GetObjectAttributes',
  permission: 's3:GetObjectAttributes',
  body: 'none',
  query: ['versionId'],
  parse: ({ bucket, key, query, headers }) => ({
    bucket,
    key,
    versionId: versionIdParameter(query),
    attributes: parseAttributes(headers['x-amz-object-attributes']),
    maxParts: Math.min(parseCount(headers, 'x-amz-max-parts') ?? PARTS_MAX, PARTS_MAX),
    marker: parseCount(headers, 'x-amz-part-number-marker') ?? 0,
    customer: parseReadKey(headers),
  }),
  async execute(input, context) {
    const { bucket, key, versionId, attributes } = input;
    const found = unwrap(await context.meta.getObject({ bucket, key, versionId }), input);
    const { object } = found;
    await context.encryption.check(object.encryption, input.customer);
    const parts = attributes.has('ObjectParts') ? await partsOf(input, object, context) : undefined;
    return { object, versionId: shownVersionId(found.bucket, object), attributes, parts };
  },
  serialize: ({ object, versionId, attributes, parts }) =>
    xmlReply(objectAttributes(object, attributes, parts), {
      'Last-Modified': formatHttpDate(object.modifiedMs),
      'x-amz-version-id': versionId,
    }),
});

function parseAttributes(header: string | undefined): ReadonlySet<Attribute> {
  const names = (header ?? '').split(',').map((name) => name.trim());
  const known = names.filter(isAttribute);
  if (header === undefined || header === '' || known.length < names.length) {
    throw invalidArgument(
      'x-amz-object-attributes',
      header ?? '',
      header ? 'Invalid attribute name specified.' : 'The attributes to return must be named.',
    );
  }
  return new Set(known);
}

function isAttribute(name: string): name is Attribute {
  return (ATTRIBUTES as readonly string[]).includes(name);
}

function parseCount(headers: HeaderMap, name: string): number | undefined {
  const value = headers[name];
  if (value === undefined) return undefined;
  if (!/^\d{1,9}$/.test(value)) throw invalidArgument(name, value);
  return Number(value);
}

/** A page of the part list; undefined for an object that was put in one piece. */
async function partsOf(
  input: Input,
  object: ObjectRecord,
  { meta }: Context,
): Promise<AttributeParts | undefined> {
  if (object.data.kind !== 'parts') return undefined;
  const { list, count } = object.data;
  const parts: PartRef[] = [];
  let after = input.marker;
  // One more than asked for tells whether there is more.
  while (parts.length <= input.maxParts) {
    const page = await meta.readParts({ list, from: { after } });
    const last = page.at(-1);
    if (last === undefined) break;
    // A page is stored as a whole: it may begin before the part that is asked for.
    // What was appended since the object was read is not of this object.
    for (const part of page) {
      if (part.number > after && part.offset + part.size <= object.size) parts.push(part);
    }
    after = last.number;
  }
  if (parts.length === 0 && input.marker === 0) {
    // The list went with its object while it was read.
    throw new S3Error('NoSuchKey', { details: { Key: input.key } });
  }
  return {
    count,
    marker: input.marker,
    maxParts: input.maxParts,
    parts: parts.slice(0, input.maxParts),
    truncated: parts.length > input.maxParts,
  };
}
