/** Multipart uploads for tests that are about something else. */
import type { CompletedPart, CompleteMultipartUploadCommandOutput, S3 } from '@aws-sdk/client-s3';

export interface OpenUpload {
  UploadId: string;
  /** Of the parts uploaded so far, by number. */
  Parts: CompletedPart[];
}

/** An upload with these parts, numbered 1, 2, 3 …, that is still open. */
export async function uploadParts(
  s3: S3,
  target: { Bucket: string; Key: string },
  parts: readonly (Uint8Array | string)[],
): Promise<OpenUpload> {
  const { UploadId = '' } = await s3.createMultipartUpload(target);
  const Parts: CompletedPart[] = [];
  for (const [index, Body] of parts.entries()) {
    const PartNumber = index + 1;
    const { ETag } = await s3.uploadPart({ ...target, UploadId, PartNumber, Body });
    Parts.push({ PartNumber, ETag });
  }
  return { UploadId, Parts };
}

/** A finished multipart object of these parts. */
export async function putMultipart(
  s3: S3,
  target: { Bucket: string; Key: string },
  parts: readonly (Uint8Array | string)[],
): Promise<CompleteMultipartUploadCommandOutput> {
  const { UploadId, Parts } = await uploadParts(s3, target, parts);
  return s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload: { Parts } });
}
