/** Ordinary outcomes of the metadata service as S3 errors. */
import type { Answer, Refusal } from '../../meta/protocol.ts';
import { type ErrorCode, type ErrorDetails, S3Error } from './errors.ts';
import { formatHttpDate } from './http-date.ts';

/** What the request was about: `BucketName`, `Key` and `UploadId` of the error document. */
export interface RefusalContext {
  bucket?: string | undefined;
  key?: string | undefined;
  uploadId?: string | undefined;
  versionId?: string | undefined;
}

/** The value of an answer; a refusal is thrown as the S3 error of its name. */
export function unwrap<T>(answer: Answer<T>, context: RefusalContext = {}): T {
  if (answer.ok) return answer.value;
  throw refusalError(answer, context);
}

/** A refusal as an S3 error, for those who report it instead of throwing it (DeleteObjects). */
export function refusalError(
  refused: Extract<Answer<unknown>, { ok: false }>,
  context: RefusalContext = {},
): S3Error {
  return new S3Error(codeOf(refused.refusal), {
    message: refused.message,
    details: { ...contextDetails(refused.refusal, context), ...refused.detail },
    headers: headersOf(refused),
  });
}

/** What is simply not there says so, too: AWS leaves it at no header, others do not. */
function headersOf({
  marker,
  refusal,
}: Extract<Answer<unknown>, { ok: false }>): Record<string, string> {
  if (marker !== undefined) return markerHeaders(marker, refusal);
  return refusal === 'NoSuchKey' ? { 'x-amz-delete-marker': 'false' } : {};
}

/** A delete marker tells that it is one; by its id it can be deleted and nothing else. */
function markerHeaders(
  { versionId, modifiedMs }: { versionId: string; modifiedMs: number },
  refusal: Refusal,
): Record<string, string> {
  const headers = { 'x-amz-delete-marker': 'true', 'x-amz-version-id': versionId };
  if (refusal !== 'MethodNotAllowed') return headers;
  return { ...headers, Allow: 'DELETE', 'Last-Modified': formatHttpDate(modifiedMs) };
}

function codeOf(refusal: Refusal): ErrorCode {
  // What it was to be done to kept changing under our hands: the client may simply try again.
  switch (refusal) {
    case 'SourceChanged':
    case 'BucketChanged':
    case 'ObjectChanged':
      return 'OperationAborted';
    default:
      return refusal;
  }
}

function contextDetails(
  refusal: Refusal,
  { bucket, key, uploadId, versionId }: RefusalContext,
): ErrorDetails {
  switch (refusal) {
    case 'NoSuchBucket':
    case 'BucketNotEmpty':
    case 'BucketAlreadyExists':
    case 'BucketAlreadyOwnedByYou':
      return bucket === undefined ? {} : { BucketName: bucket };
    case 'NoSuchKey':
    case 'ConditionalRequestConflict':
      return key === undefined ? {} : { Key: key };
    case 'NoSuchUpload':
      return uploadId === undefined ? {} : { UploadId: uploadId };
    case 'NoSuchVersion':
      return key === undefined ? {} : { Key: key, VersionId: versionId ?? '' };
    case 'MethodNotAllowed':
      return { ResourceType: 'DeleteMarker' };
    default:
      return {};
  }
}
