/** The one place where it is decided who may do what. Default: no. */
import type { BucketSettings } from './access/bucket-settings.ts';
import type { Account, Authenticated } from './auth/identity.ts';
import { S3Error } from './errors.ts';

/** What is asked: the policy action and what it is done to. */
export interface AccessRequest {
  /** `s3:PutObject`. */
  permission: string;
  bucket: string;
  key: string;
}

/**
 * The account that may do it. The root account may do everything; there are no other rights yet, so
 * everyone else, and a request without credentials, gets AccessDenied whatever it asks for.
 */
export function authorize(
  identity: Authenticated,
  _access: AccessRequest,
  _settings: BucketSettings | undefined,
): Account {
  const { account } = identity;
  if (account === undefined || !account.root) throw new S3Error('AccessDenied');
  return account;
}
