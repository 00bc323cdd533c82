/**
 * PutObject with `x-amz-write-offset-bytes`: the body goes to the end of the object. Shaped as by S3
 * Express One Zone (user guide, "Appending data to objects in directory buckets"), in every bucket
 * without versioning and encryption. The ETag changes with each append and is no MD5 of the content;
 * the CRC of the object is that of all its bytes.
 */
import { createDigest } from '../../base/digest.ts';
import type {
  Appended,
  ObjectRecord,
  SystemMetadata,
  Tag,
  UserMetadata,
  WriteCondition,
} from '../../meta/protocol.ts';
import type { ChecksumAlgorithm } from '../../base/object-checksum.ts';
import type { RequestedEncryption } from './encryption/headers.ts';
import type { WrittenAccess } from './access/written-access.ts';
import { S3Error } from './errors.ts';
import { digesting, ingest } from './ingest.ts';
import type { Context } from './operation.ts';
import { invalidArgument } from './parameters.ts';
import { unwrap } from './refusal.ts';
import type { HeaderMap } from './request.ts';

const OFFSET_HEADER = 'x-amz-write-offset-bytes';

export interface AppendInput {
  bucket: string;
  key: string;
  headers: HeaderMap;
  contentLength: number | undefined;
  system: SystemMetadata;
  user: UserMetadata;
  tags: Tag[] | undefined;
  condition: WriteCondition | undefined;
  encryption: RequestedEncryption | undefined;
}

/** Undefined when the request is no append. Throws InvalidArgument for what is no offset. */
export function parseWriteOffset(headers: HeaderMap): number | undefined {
  const value = headers[OFFSET_HEADER];
  if (value === undefined) return undefined;
  if (!/^\d{1,15}$/.test(value)) throw invalidArgument(OFFSET_HEADER, value);
  return Number(value);
}

/** Headers that say something of the object as a whole: only who creates it may say it. */
const OF_THE_OBJECT: readonly string[] = [
  'cache-control',
  'content-disposition',
  'content-language',
  'expires',
  'x-amz-storage-class',
  'x-amz-tagging',
  'x-amz-website-redirect-location',
];

export interface AppendOptions {
  maxBytes: number;
  defaultAlgorithm: ChecksumAlgorithm;
  /** Of an object that is made by this. */
  written: () => WrittenAccess;
}

/**
 * Appends the body. The object is looked at first, so that a wrong offset costs no upload; what
 * counts is what it is in the commit. Throws InvalidWriteOffset, TooManyParts, InvalidRequest.
 */
export async function appendBody(
  input: AppendInput,
  offset: number,
  context: Context,
  { written, ...limits }: AppendOptions,
): Promise<Appended> {
  refuseKinds(input, context);
  // Again when the bucket turns out to be another than was known: it may encrypt by now.
  context.watchSettings(() => refuseKinds(input, context));
  const { bucket, key } = input;
  const current = await currentObject(input, context);
  const size = current?.size ?? 0;
  if (offset !== size) {
    throw new S3Error('InvalidWriteOffset', { details: { ObjectSize: String(size) } });
  }
  if (current !== undefined) {
    refuseHeaders(
      input.headers,
      (name) =>
        OF_THE_OBJECT.includes(name) ||
        name === 'x-amz-acl' ||
        name.startsWith('x-amz-grant-') ||
        name.startsWith('x-amz-meta-'),
    );
  }
  const upload = ingest(context.payload, input, limits);
  // What the client promised is checked in its algorithm; the object's goes on in that of the object.
  const continued = size === 0 ? undefined : current?.checksum?.algorithm;
  const digest = continued && createDigest(continued);
  let value: string | undefined;
  const answer = await context.objects.store(
    digest === undefined ? upload.body : digesting(upload.body, digest),
    ({ writer, size: added, data, missing }) => {
      const { md5, checksum: promised } = upload.result();
      value ??= digest?.digest().toString('base64');
      const checksum =
        continued === undefined || value === undefined ? promised : { algorithm: continued, value };
      const { condition } = input;
      const command = { writer, bucket, key, offset, condition, missing };
      const object = {
        size: added,
        etag: md5,
        data,
        checksum: checksum && { ...checksum, type: 'FULL_OBJECT' as const },
        system: input.system,
        user: input.user,
        ...(input.tags && { tags: input.tags }),
      };
      return context.access.inState((expect) =>
        context.meta.appendObject({ ...command, object: { ...object, ...written() }, expect }),
      );
    },
    { sizeHint: input.contentLength },
  );
  return unwrap(answer, input);
}

async function currentObject(
  input: AppendInput,
  { meta }: Context,
): Promise<ObjectRecord | undefined> {
  const found = await meta.getObject({ bucket: input.bucket, key: input.key });
  if (!found.ok && found.refusal === 'NoSuchKey') return undefined;
  return unwrap(found, input).object;
}

function refuseKinds({ encryption }: AppendInput, context: Context): void {
  const { settings } = context;
  if (settings?.bucket.versioning !== undefined) {
    throw new S3Error('InvalidRequest', {
      message: 'Objects in a bucket with versioning cannot be appended to.',
    });
  }
  if (context.encryption.target(encryption, settings) !== undefined) {
    throw new S3Error('InvalidRequest', { message: 'Encrypted objects cannot be appended to.' });
  }
}

function refuseHeaders(headers: HeaderMap, isRefused: (name: string) => boolean): void {
  for (const name in headers) {
    if (headers[name] === undefined || !isRefused(name)) continue;
    throw new S3Error('InvalidRequest', {
      message: 'This header can only be given by the request that creates the object.',
      details: { Header: name },
    });
  }
}
