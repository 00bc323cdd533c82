import { parsePolicy, POLICY_CONFIG } from '../access/policy/parse.ts';
import { isPublic } from '../access/policy/public.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { policyStatus } from '../xml/policy-status.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetBucketPolicyStatus: whether the bucket is public; one without a policy is not. */
export const getBucketPolicyStatus = defineOperation<{ bucket: string }, boolean>({
  name: 'GetBucketPolicyStatus',
  permission: 's3:GetBucketPolicyStatus',
  body: 'none',
  query: ['policyStatus'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: POLICY_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    return value !== undefined && isPublic(parsePolicy(value, bucket));
  },
  serialize: (status) => xmlReply(policyStatus(status)),
});
