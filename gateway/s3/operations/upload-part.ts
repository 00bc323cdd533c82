import { createDigest, type Digest } from '../../../base/digest.ts';
import type { ChecksumAlgorithm } from '../../../base/object-checksum.ts';
import { type ObjectEncryption, PART_BYTES_MAX, type UploadName } from '../../../meta/protocol.ts';
import { etagOf } from '../encryption/etag.ts';
import { type PartEncryption, parsePartEncryption } from '../encryption/headers.ts';
import { encryptionHeaders } from '../encryption/replies.ts';
import { S3Error } from '../errors.ts';
import { quoteEtag } from '../etag.ts';
import { checksumHeader, digesting, ingest, parseChecksumHeader } from '../ingest.ts';
import { defineOperation } from '../operation.ts';
import { partNumberParameter, uploadIdParameter } from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';

interface Input extends UploadName {
  number: number;
  headers: HeaderMap;
  contentLength: number | undefined;
  /** Of the checksum header; a trailer's is known to the payload. */
  algorithm: ChecksumAlgorithm | undefined;
  encryption: PartEncryption;
}

interface Output {
  etag: string;
  checksum: { algorithm: ChecksumAlgorithm; value: string } | undefined;
  encryption: ObjectEncryption | undefined;
}

/** UploadPart. */
export const uploadPart = defineOperation<Input, Output>({
  name: 'UploadPart',
  permission: 's3:PutObject',
  body: 'stream',
  query: ['partNumber', 'uploadId'],
  parse({ bucket, key, query, headers, contentLength }) {
    return {
      bucket,
      key,
      uploadId: uploadIdParameter(query),
      number: partNumberParameter(query),
      headers,
      contentLength,
      algorithm: parseChecksumHeader(headers)?.algorithm,
      encryption: parsePartEncryption(headers),
    };
  },
  async execute(input, context) {
    const { bucket, key, uploadId, number } = input;
    const { meta, objects, payload, signal } = context;
    const upload = unwrap(await meta.getUpload({ bucket, key, uploadId }, { signal }), input);
    const sealed = await context.encryption.forPart(
      upload.encryption,
      input.encryption,
      context.settings,
    );
    const wanted = upload.checksum?.algorithm;
    const other = otherDigest(wanted, input.algorithm ?? payload.trailer?.algorithm);
    const part = ingest(payload, input, { maxBytes: PART_BYTES_MAX, defaultAlgorithm: wanted });
    const answer = await objects.store(
      other === undefined ? part.body : digesting(part.body, other),
      ({ writer, size, data, missing }) => {
        const { md5, checksum } = part.result();
        const own = wanted === undefined ? undefined : checksum?.value;
        return meta.putPart({
          bucket,
          key,
          uploadId,
          writer,
          number,
          size,
          etag: etagOf(md5, sealed),
          checksum: other === undefined ? own : other.digest().toString('base64'),
          data: data.kind === 'none' ? data : { ...data, kind: 'fresh' },
          missing,
        });
      },
      { signal, sizeHint: payload.decodedLength ?? input.contentLength, dataKey: sealed?.dataKey },
    );
    unwrap(answer, input);
    const { md5, checksum } = part.result();
    return { etag: etagOf(md5, sealed), checksum, encryption: sealed?.encryption };
  },
  serialize: ({ etag, checksum, encryption }) => ({
    status: 200,
    headers: {
      ETag: quoteEtag(etag),
      ...(checksum && { [checksumHeader(checksum.algorithm)]: checksum.value }),
      ...encryptionHeaders(encryption),
    },
  }),
});

/**
 * A second digest, where the part comes with another algorithm than its upload keeps. That is right
 * for uploads with CRC64NVME alone: they include those whose client named none, and then SDKs send
 * CRC32 with every part. What was sent is checked and returned, what the upload needs is kept.
 * Throws InvalidRequest for all other uploads.
 */
function otherDigest(
  wanted: ChecksumAlgorithm | undefined,
  sent: ChecksumAlgorithm | undefined,
): Digest | undefined {
  if (wanted === undefined || sent === undefined || wanted === sent) return undefined;
  if (wanted === 'CRC64NVME') return createDigest(wanted);
  throw new S3Error('InvalidRequest', {
    message: `Checksum Type mismatch occurred, expected checksum Type: ${wanted.toLowerCase()}, actual checksum Type: ${sent.toLowerCase()}`,
  });
}
