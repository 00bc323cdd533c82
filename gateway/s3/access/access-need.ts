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
  /** Of a listing that is only asked for to find out about one key: that key. */
  prefix?: string | undefined;
}
