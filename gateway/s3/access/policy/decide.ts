/** A policy's word on one need of a request, with what is stored looked up only if the policy asks. */
import type { Tag } from '../../../../meta/protocol.ts';
import { type AccessNeed, resourceArn } from '../needs.ts';
import { evaluate } from './evaluate.ts';
import { EXISTING_TAG, takesKey } from './keys.ts';
import type { BucketPolicy, PolicyDecision } from './policy.ts';
import { conditionLookup, type RequestFacts, type UploadEncryption } from './request-facts.ts';

/** What may have to be read before a policy can be evaluated. */
export interface StoredFacts {
  /** Tags of the object or version of the need; undefined when it is not there. */
  objectTags(need: AccessNeed): Promise<readonly Tag[] | undefined>;
  /** Of the upload that the request goes on with; undefined when there is none. */
  uploadEncryption(need: AccessNeed): Promise<UploadEncryption | undefined>;
}

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

/** Answers at once unless something must be read. `facts` need not have what `stored` would tell. */
export function decide(
  policy: BucketPolicy,
  facts: RequestFacts,
  need: AccessNeed,
  stored: StoredFacts,
): PolicyDecision | Promise<PolicyDecision> {
  const action = need.action.toLowerCase();
  const readsTags = policy.keys.has(EXISTING_TAG) && takesKey(action, `${EXISTING_TAG}any`);
  const readsUpload =
    action === 's3:putobject' &&
    GO_ON.has(facts.operation) &&
    UPLOAD_KEYS.some((key) => policy.keys.has(key));
  if (!readsTags && !readsUpload) return decideBy(policy, facts, need);
  return decideStored(policy, facts, need, {
    objectTags: readsTags ? stored.objectTags(need) : undefined,
    uploadEncryption: readsUpload ? stored.uploadEncryption(need) : undefined,
  });
}

async function decideStored(
  policy: BucketPolicy,
  facts: RequestFacts,
  need: AccessNeed,
  read: {
    objectTags: Promise<readonly Tag[] | undefined> | undefined;
    uploadEncryption: Promise<UploadEncryption | undefined> | undefined;
  },
): Promise<PolicyDecision> {
  const [objectTags, uploadEncryption] = await Promise.all([
    read.objectTags,
    read.uploadEncryption,
  ]);
  return decideBy(policy, { ...facts, objectTags, uploadEncryption }, need);
}

function decideBy(policy: BucketPolicy, facts: RequestFacts, need: AccessNeed): PolicyDecision {
  return evaluate(policy, {
    principal: facts.principal,
    action: need.action,
    resource: resourceArn(need),
    condition: conditionLookup(facts, need),
  });
}
