import { document, text } from './writer.ts';

/** Answer of GetBucketPolicyStatus. */
export function policyStatus(isPublic: boolean): string {
  return document('PolicyStatus', text('IsPublic', isPublic));
}
