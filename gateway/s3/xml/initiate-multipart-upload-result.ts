/** The answer of CreateMultipartUpload. */
import { document, text } from './writer.ts';

export function initiateMultipartUploadResult(upload: {
  bucket: string;
  key: string;
  uploadId: string;
}): string {
  return document(
    'InitiateMultipartUploadResult',
    text('Bucket', upload.bucket),
    text('Key', upload.key),
    text('UploadId', upload.uploadId),
  );
}
