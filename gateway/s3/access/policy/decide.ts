/** A policy's word on one need of a request, and what must be read before it can be said. */
import { type AccessNeed, resourceArn } from '../needs.ts';
import { evaluate } from './evaluate.ts';
import { EXISTING_TAG, takesKey } from './keys.ts';
import type { BucketPolicy, PolicyDecision } from './policy.ts';
import { conditionLookup, type RequestFacts } from './request-facts.ts';

/** Operations that go on with an upload: its encryption was asked for at its start. */
const GO_ON: ReadonlySet<string> = new Set([
  'UploadPart',
  'UploadPartCopy',
  'CompleteMultipartUpload',
]);
const UPLOAD_KEYS = [
  's3:x-amz-server-side-encryption',
  's3:x-amz-server-side-encryption-aws-kms-key-id',
];

/**
 * What the policy asks about that is not in the request: the tags of the object, the encryption of
 * the upload, or nothing. Without it in the facts `decide` would go by its absence.
 */
export function readsStored(
  policy: BucketPolicy,
  operation: string,
  need: AccessNeed,
): 'object' | 'upload' | undefined {
  const action = need.action.toLowerCase();
  if (policy.keys.has(EXISTING_TAG) && takesKey(action, `${EXISTING_TAG}any`)) return 'object';
  const goesOn = action === 's3:putobject' && GO_ON.has(operation);
  return goesOn && UPLOAD_KEYS.some((key) => policy.keys.has(key)) ? 'upload' : undefined;
}

export function decide(
  policy: BucketPolicy,
  facts: RequestFacts,
  need: AccessNeed,
): PolicyDecision {
  return evaluate(policy, {
    principal: facts.principal,
    action: need.action,
    resource: resourceArn(need),
    condition: conditionLookup(facts, need),
  });
}
