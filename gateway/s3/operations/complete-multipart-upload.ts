import type { ChecksumAlgorithm, ChecksumType } from '../../../base/object-checksum.ts';
import { CHECKSUM_ALGORITHMS } from '../../../base/object-checksum.ts';
import type {
  CompleteUploadCommand,
  ShownEncryption,
  UploadName,
  WriteCondition,
} from '../../../meta/protocol.ts';
import { parseWriteCondition } from '../conditions.ts';
import { type PartEncryption, parsePartEncryption } from '../encryption/headers.ts';
import { encryptionHeaders } from '../encryption/replies.ts';
import { S3Error } from '../errors.ts';
import { checksumHeader } from '../ingest.ts';
import { expirationOfStored } from '../lifecycle.ts';
import { locationOf } from '../location.ts';
import { type Context, defineOperation } from '../operation.ts';
import { uploadIdParameter } from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';
import {
  type CompletedPart,
  readCompleteMultipartUpload,
} from '../xml/complete-multipart-upload.ts';
import {
  type CompleteMultipartUploadResult,
  completeMultipartUploadResult,
} from '../xml/complete-multipart-upload-result.ts';
import { writtenVersionId } from '../version-id.ts';
import { xmlReply } from '../xml/reply.ts';
import { parseChecksumType } from './create-multipart-upload.ts';

interface Input extends UploadName {
  parts: CompletedPart[];
  condition: WriteCondition | undefined;
  expected: { algorithm: ChecksumAlgorithm; value: string } | undefined;
  expectedType: ChecksumType | undefined;
  expectedSize: number | undefined;
  host: string | undefined;
  encryption: PartEncryption;
}

interface Output {
  result: CompleteMultipartUploadResult;
  versionId: string | undefined;
  encryption: ShownEncryption | undefined;
  expiration: string | undefined;
}

/** CompleteMultipartUpload: joins the parts that were named, in one step. */
export const completeMultipartUpload = defineOperation<Input, Output>({
  name: 'CompleteMultipartUpload',
  permission: 's3:PutObject',
  body: 'xml',
  query: ['uploadId'],
  parse({ bucket, key, query, headers, xml }) {
    return {
      bucket,
      key,
      uploadId: uploadIdParameter(query),
      parts: readCompleteMultipartUpload(xml),
      condition: parseWriteCondition(headers),
      expected: parseExpectedChecksum(headers),
      expectedType: parseChecksumType(headers['x-amz-checksum-type']),
      expectedSize: parseObjectSize(headers['x-amz-mp-object-size']),
      host: headers['host'],
      encryption: parsePartEncryption(headers),
    };
  },
  async execute({ host, encryption, ...input }, context) {
    const { bucket, key } = input;
    await checkEncryption(input, encryption, context);
    const command = { ...input, parts: await partsToComplete(input, context) };
    const completed = unwrap(
      await context.meta.completeUpload(command, { signal: context.signal }),
      input,
    );
    const { etag, checksum } = completed;
    const result = { location: locationOf(host, bucket, key), bucket, key, etag, checksum };
    const versionId = writtenVersionId(completed);
    const expiration = await expirationOfStored(input, completed, context);
    return { result, versionId, encryption: completed.encryption, expiration };
  },
  serialize: ({ result, versionId, encryption, expiration }) =>
    xmlReply(completeMultipartUploadResult(result), {
      'x-amz-version-id': versionId,
      'x-amz-expiration': expiration,
      ...encryptionHeaders(encryption),
    }),
});

/**
 * A key of the client must be the one of its upload. It need not be there: parts are joined without
 * looking into them. An upload that has ended answers for itself.
 */
async function checkEncryption(
  { bucket, key, uploadId }: UploadName,
  part: PartEncryption,
  context: Context,
): Promise<void> {
  const { meta, encryption, signal } = context;
  if (part.customer === undefined && !part.asks) return;
  const upload = await meta.getUpload({ bucket, key, uploadId }, { signal });
  encryption.refuseCustomerKey(part.customer, context.settings);
  if (upload.ok) encryption.checkPart(upload.value.encryption, part);
}

/**
 * The parts with those checksums that the upload can compare. An upload with CRC64NVME may have got
 * its parts with another algorithm (see UploadPart): those were checked then and are not kept.
 */
async function partsToComplete(
  { bucket, key, uploadId, parts }: Omit<Input, 'host' | 'encryption'>,
  { meta, signal }: Context,
): Promise<CompleteUploadCommand['parts']> {
  const foreign = parts.some(
    ({ checksum }) => checksum !== undefined && checksum.algorithm !== 'CRC64NVME',
  );
  const upload = foreign ? await meta.getUpload({ bucket, key, uploadId }, { signal }) : undefined;
  const drop = upload?.ok === true && upload.value.checksum?.algorithm === 'CRC64NVME';
  return parts.map(({ number, etag, checksum }) => {
    const kept = drop && checksum?.algorithm !== 'CRC64NVME' ? undefined : checksum?.value;
    return { number, etag, checksum: kept };
  });
}

/**
 * The checksum that the client expects of the whole object: a digest, for composite ones with
 * `-N`. Any text is taken: one that is no checksum does not match either, which is BadDigest.
 */
function parseExpectedChecksum(headers: HeaderMap): Input['expected'] {
  const found = CHECKSUM_ALGORITHMS.flatMap((algorithm) => {
    const value = headers[checksumHeader(algorithm)];
    return value === undefined ? [] : [{ algorithm, value }];
  });
  if (found.length <= 1) return found[0];
  throw new S3Error('InvalidRequest', {
    message: 'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
  });
}

function parseObjectSize(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^[0-9]{1,15}$/.test(value)) return Number(value);
  throw new S3Error('InvalidRequest', {
    message: 'Value for x-amz-mp-object-size header is invalid.',
  });
}
