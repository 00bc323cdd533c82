import { S3Error } from '../../errors.ts';

/** MalformedPolicy with S3's own message where it is known. It may quote the policy, no secret. */
export function malformedPolicy(message: string, cause?: unknown): S3Error {
  return new S3Error('MalformedPolicy', { message, cause });
}
