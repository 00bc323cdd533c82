/**
 * Requester Pays: whoever is not the owner of the bucket must say that he pays for the request (AWS
 * user guide, "Using Requester Pays buckets"). Ashlar sends no bills; what it keeps is the promise
 * that nobody causes costs to the owner who has not agreed to bear them.
 */
import type { Account } from '../auth/identity.ts';
import { S3Error } from '../errors.ts';
import type { HeaderMap } from '../request.ts';
import type { BucketSettings } from './bucket-settings.ts';

export const PAYERS = ['BucketOwner', 'Requester'] as const;
export type Payer = (typeof PAYERS)[number];

/** The configuration that holds it: the payer's name. Absent: the owner. */
export const REQUEST_PAYMENT_CONFIG = 'request-payment';

/**
 * Throws AccessDenied when the request would be at the expense of an owner who does not pay for it.
 * True: the requester pays, which the reply says by `x-amz-request-charged`.
 */
export function checkPayer(
  settings: BucketSettings,
  account: Account | undefined,
  headers: HeaderMap,
): boolean {
  if (settings.text(REQUEST_PAYMENT_CONFIG) !== 'Requester') return false;
  if (account !== undefined && (account.root || account.id === settings.bucket.owner)) return false;
  // Nobody can be charged for a request that nobody signed.
  if (account !== undefined && headers['x-amz-request-payer'] === 'requester') return true;
  throw new S3Error('AccessDenied', {
    message:
      'The bucket is a Requester Pays bucket: the request must be signed and say x-amz-request-payer: requester.',
  });
}
