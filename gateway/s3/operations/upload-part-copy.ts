import { createDigest } from '../../../base/digest.ts';
import type { ChecksumAlgorithm } from '../../../base/object-checksum.ts';
import {
  type Answer,
  type BlobRef,
  type ObjectEncryption,
  type ObjectRecord,
  PART_BYTES_MAX,
  type PartRef,
  type Upload,
  type UploadName,
} from '../../../meta/protocol.ts';
import type { ByteRange, OpenedObject } from '../../object/engine.ts';
import { COPY_SOURCE_PREFIX, evaluateReadConditions } from '../conditions.ts';
import { type CopySource, parseCopySource, unwrapSource } from '../copy-source.ts';
import type { CustomerKey, WrappedDataKey } from '../../keys/protocol.ts';
import { etagOf } from '../encryption/etag.ts';
import { type PartEncryption, parsePartEncryption, parseSourceKey } from '../encryption/headers.ts';
import { encryptionHeaders } from '../encryption/replies.ts';
import { S3Error } from '../errors.ts';
import { ingest } from '../ingest.ts';
import { type Context, defineOperation } from '../operation.ts';
import { invalidArgument, partNumberParameter, uploadIdParameter } from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';
import { shownVersionId } from '../version-id.ts';
import { type CopyPartResult, copyPartResult } from '../xml/copy-part-result.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input extends UploadName {
  number: number;
  source: CopySource;
  range: ByteRange | undefined;
  headers: HeaderMap;
  encryption: PartEncryption;
  sourceKey: CustomerKey | undefined;
}

/** What is copied, when it is one whole blob that is there already. */
interface Shareable {
  data: { kind: 'none' } | ({ kind: 'reference' } & BlobRef);
  size: number;
  etag: string;
  checksum: string | undefined;
}

interface Output {
  result: CopyPartResult;
  encryption: ObjectEncryption | undefined;
  sourceVersionId: string | undefined;
}

/**
 * UploadPartCopy: shares the source's blob when the copied bytes are exactly one (an ordinary
 * object, or one part of a multipart object), and copies bytes otherwise.
 */
export const uploadPartCopy = defineOperation<Input, Output>({
  name: 'UploadPartCopy',
  permission: 's3:PutObject',
  body: 'none',
  query: ['partNumber', 'uploadId'],
  parse({ bucket, key, query, headers }) {
    return {
      bucket,
      key,
      uploadId: uploadIdParameter(query),
      number: partNumberParameter(query),
      source: parseCopySource(headers['x-amz-copy-source'] ?? ''),
      range: parseCopyRange(headers['x-amz-copy-source-range']),
      headers,
      encryption: parsePartEncryption(headers),
      sourceKey: parseSourceKey(headers),
    };
  },
  async execute(input, context) {
    const { bucket, key, uploadId, source } = input;
    const { meta, objects, signal } = context;
    const upload = unwrap(await meta.getUpload({ bucket, key, uploadId }, { signal }), input);
    const sealed = await context.encryption.forPart(
      upload.encryption,
      input.encryption,
      context.settings,
    );
    const opened = unwrapSource(await objects.open(source, { signal }), source);
    try {
      await context.encryption.unlock(opened, input.sourceKey);
      evaluateReadConditions(input.headers, opened.object, COPY_SOURCE_PREFIX);
      const range = rangeOf(input.range, opened.object.size);
      const plain = sealed === undefined && opened.object.encryption === undefined;
      const shared = plain ? await shareable(opened, range, upload, context) : undefined;
      const copied = shared && (await share(input, shared, upload, context));
      // The source was replaced meanwhile; its bytes stay readable until it is closed.
      const result = copied ?? (await copyBytes(input, opened, range, { upload, sealed }, context));
      const sourceVersionId = shownVersionId(opened.bucket, opened.object);
      return { result, sourceVersionId, encryption: upload.encryption };
    } finally {
      opened.close();
    }
  },
  serialize: ({ result, sourceVersionId, encryption }) =>
    xmlReply(copyPartResult(result), {
      'x-amz-copy-source-version-id': sourceVersionId,
      ...encryptionHeaders(encryption),
    }),
});

/** `bytes=first-last`, both given: nothing else is taken here. Throws InvalidArgument. */
function parseCopyRange(header: string | undefined): ByteRange | undefined {
  if (header === undefined) return undefined;
  const found = /^bytes=([0-9]{1,15})-([0-9]{1,15})$/.exec(header);
  const range = { start: Number(found?.[1]), end: Number(found?.[2]) + 1 };
  if (found !== null && range.start < range.end) return range;
  throw invalidArgument(
    'x-amz-copy-source-range',
    header,
    'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy',
  );
}

/** The bytes to copy. Throws InvalidRange outside the source, InvalidRequest above 5 GiB. */
function rangeOf(range: ByteRange | undefined, size: number): ByteRange {
  const bytes = range ?? { start: 0, end: size };
  if (bytes.end > size) {
    throw new S3Error('InvalidRange', {
      message: `Range specified is not valid for source object of size: ${size}`,
    });
  }
  if (bytes.end - bytes.start > PART_BYTES_MAX) {
    throw new S3Error('InvalidRequest', {
      message: `The specified copy source is larger than the maximum allowable size for a copy source: ${PART_BYTES_MAX}`,
    });
  }
  return bytes;
}

const PLAIN_MD5 = /^[0-9a-f]{32}$/;

/**
 * The blob that holds exactly the bytes of `range`, with the MD5 and the checksum that the part
 * needs. A checksum that nobody kept is computed from the bytes, which is still far cheaper than to
 * store them again. `undefined` when there is no such blob, or its MD5 is not known.
 */
async function shareable(
  opened: OpenedObject,
  range: ByteRange,
  upload: Upload,
  context: Context,
): Promise<Shareable | undefined> {
  const { object } = opened;
  const { data } = object;
  const wanted = upload.checksum?.algorithm;
  if (data.kind === 'none') return undefined;
  if (data.kind === 'blob') {
    const whole = range.start === 0 && range.end === object.size;
    if (!whole || !PLAIN_MD5.test(object.etag)) return undefined;
    const checksum =
      wholeChecksum(object, wanted) ?? (wanted && (await digestOfRange(opened, range, wanted)));
    return { data: { ...data, kind: 'reference' }, size: object.size, etag: object.etag, checksum };
  }
  const part = await partAt(range, data.list, context);
  if (part?.data === undefined) return undefined;
  const kept = object.checksum?.algorithm === wanted ? part.checksum : undefined;
  const checksum = wanted && (kept ?? (await digestOfRange(opened, range, wanted)));
  return {
    data: { ...part.data, kind: 'reference' },
    size: part.size,
    etag: part.etag,
    checksum,
  };
}

async function digestOfRange(
  opened: OpenedObject,
  range: ByteRange,
  algorithm: ChecksumAlgorithm,
): Promise<string> {
  const digest = createDigest(algorithm);
  for await (const chunk of opened.read(range)) digest.update(chunk);
  return digest.digest().toString('base64');
}

function wholeChecksum(
  { checksum }: ObjectRecord,
  wanted: ChecksumAlgorithm | undefined,
): string | undefined {
  const usable = checksum?.type === 'FULL_OBJECT' && checksum.algorithm === wanted;
  return usable ? checksum.value : undefined;
}

/** The part that is exactly `range`. */
async function partAt(
  range: ByteRange,
  list: string,
  { meta, signal }: Context,
): Promise<PartRef | undefined> {
  const page = await meta.readParts({ list, from: { offset: range.start } }, { signal });
  return page.find(
    ({ offset, size }) => offset === range.start && size > 0 && offset + size === range.end,
  );
}

/** One metadata step. `undefined` when the source is no longer what was read. */
async function share(
  input: Input,
  shared: Shareable,
  upload: Upload,
  { meta, objects, signal }: Context,
): Promise<CopyPartResult | undefined> {
  const { bucket, key, uploadId, number } = input;
  const answer = await meta.putPart(
    { bucket, key, uploadId, number, writer: objects.writer(), missing: [], ...shared },
    { signal },
  );
  if (!answer.ok && answer.refusal === 'SourceChanged') return undefined;
  const { modifiedMs } = unwrap(answer, input);
  return resultOf(shared.etag, modifiedMs, upload, shared.checksum);
}

async function copyBytes(
  input: Input,
  opened: OpenedObject,
  range: ByteRange,
  { upload, sealed }: { upload: Upload; sealed: WrappedDataKey | undefined },
  { meta, objects, signal }: Context,
): Promise<CopyPartResult> {
  const { bucket, key, uploadId, number } = input;
  const size = range.end - range.start;
  const source = {
    account: undefined,
    accessKey: undefined,
    body: opened.read(range),
    decodedLength: size,
    trailer: undefined,
  };
  const body = ingest(
    source,
    { headers: {}, contentLength: size },
    { maxBytes: PART_BYTES_MAX, defaultAlgorithm: upload.checksum?.algorithm },
  );
  const answer: Answer<{ modifiedMs: number }> = await objects.store(
    body.body,
    (stored) => {
      const { md5, checksum } = body.result();
      return meta.putPart({
        bucket,
        key,
        uploadId,
        number,
        writer: stored.writer,
        size: stored.size,
        etag: etagOf(md5, sealed),
        checksum: checksum?.value,
        data: stored.data.kind === 'none' ? stored.data : { ...stored.data, kind: 'fresh' },
        missing: stored.missing,
      });
    },
    { signal, sizeHint: size, dataKey: sealed?.dataKey },
  );
  const { modifiedMs } = unwrap(answer, input);
  const { md5, checksum } = body.result();
  return resultOf(etagOf(md5, sealed), modifiedMs, upload, checksum?.value);
}

function resultOf(
  etag: string,
  modifiedMs: number,
  { checksum }: Upload,
  value: string | undefined,
): CopyPartResult {
  if (checksum === undefined || value === undefined) return { etag, modifiedMs };
  return { etag, modifiedMs, checksum: { algorithm: checksum.algorithm, value } };
}
