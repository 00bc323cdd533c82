/**
 * What a request must be allowed to do: one or more actions on resources, from the request alone.
 * `authorize.ts` asks policies and ACLs for each of them; all must be allowed.
 *
 * Source: "Required permissions for Amazon S3 API operations", Amazon S3 User Guide.
 */
import type { QueryParameters } from '../operation.ts';
import type { HeaderMap } from '../request.ts';

/** One action on one resource. */
export interface AccessNeed {
  /** `s3:GetObjectVersion`. */
  action: string;
  /** Empty for the service (ListBuckets). Differs from the request's own for the source of a copy. */
  bucket: string;
  /** Empty for the bucket itself. */
  key: string;
  /** The version that the request names. */
  versionId: string | undefined;
}

/** What of a request tells which rights it needs. Headers include those hoisted from the query. */
export interface NeedRequest {
  bucket: string;
  key: string;
  query: QueryParameters;
  headers: HeaderMap;
}

/** `arn:aws:s3:::bucket/key` of a need; `*` for the service. */
export function resourceArn({ bucket, key }: { bucket: string; key: string }): string {
  if (bucket === '') return '*';
  return key === '' ? `arn:aws:s3:::${bucket}` : `arn:aws:s3:::${bucket}/${key}`;
}
