import type { ChecksumAlgorithm } from '../../../base/object-checksum.ts';
import { PART_BYTES_MAX, type Upload, type UploadName } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { quoteEtag } from '../etag.ts';
import { checksumHeader, ingest, parseChecksumHeader } from '../ingest.ts';
import { type Context, defineOperation } from '../operation.ts';
import { partNumberParameter, uploadIdParameter } from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';

interface Input extends UploadName {
  number: number;
  headers: HeaderMap;
  contentLength: number | undefined;
  /** Of the checksum header; a trailer's is known to the payload. */
  algorithm: ChecksumAlgorithm | undefined;
}

interface Output {
  etag: string;
  checksum: { algorithm: ChecksumAlgorithm; value: string } | undefined;
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
    };
  },
  async execute(input, context) {
    const { bucket, key, uploadId, number } = input;
    const { meta, objects, payload, signal } = context;
    const upload = unwrap(await meta.getUpload({ bucket, key, uploadId }, { signal }), input);
    checkAlgorithm(upload, input, context);
    const body = ingest(payload, input, {
      maxBytes: PART_BYTES_MAX,
      defaultAlgorithm: upload.checksum?.algorithm,
    });
    const answer = await objects.store(
      body.body,
      ({ writer, size, data, missing }) => {
        const { md5, checksum } = body.result();
        return meta.putPart({
          bucket,
          key,
          uploadId,
          writer,
          number,
          size,
          etag: md5,
          checksum: upload.checksum === undefined ? undefined : checksum?.value,
          data: data.kind === 'none' ? data : { ...data, kind: 'fresh' },
          missing,
        });
      },
      { signal, sizeHint: payload.decodedLength ?? input.contentLength },
    );
    unwrap(answer, input);
    const { md5, checksum } = body.result();
    return { etag: md5, checksum };
  },
  serialize: ({ etag, checksum }) => ({
    status: 200,
    headers: {
      ETag: quoteEtag(etag),
      ...(checksum && { [checksumHeader(checksum.algorithm)]: checksum.value }),
    },
  }),
});

/**
 * A part of an upload that has a checksum comes with that algorithm, or with none: then it is
 * computed here. An upload without one takes any; it is checked and returned, not kept.
 */
function checkAlgorithm(upload: Upload, input: Input, { payload }: Context): void {
  const actual = input.algorithm ?? payload.trailer?.algorithm;
  const expected = upload.checksum?.algorithm;
  if (actual === undefined || expected === undefined || actual === expected) return;
  throw new S3Error('InvalidRequest', {
    message: `Checksum Type mismatch occurred, expected checksum Type: ${expected.toLowerCase()}, actual checksum Type: ${actual.toLowerCase()}`,
  });
}
