/** The default encryption of a bucket, as it is stored under the name `encryption`. */

export interface BucketEncryption {
  /** Absent: as the gateway's own default is. */
  algorithm?: 'AES256' | 'aws:kms' | undefined;
  keyId?: string | undefined;
  bucketKey?: boolean | undefined;
  /** Writes with a key of the client are refused. */
  blocksCustomerKeys?: true | undefined;
}

export const BUCKET_ENCRYPTION = 'encryption';

export function formatBucketEncryption(encryption: BucketEncryption): string {
  return JSON.stringify(encryption);
}

/** Of what `formatBucketEncryption` made. */
export function parseBucketEncryption(text: string): BucketEncryption {
  return JSON.parse(text) as BucketEncryption;
}
