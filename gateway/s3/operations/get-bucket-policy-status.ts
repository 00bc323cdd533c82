import { isPublicAcl } from '../access/acl.ts';
import { bucketAclOf, ownershipOf, policyOf } from '../access/bucket-access.ts';
import { POLICY_CONFIG } from '../access/policy/parse.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { policyStatus } from '../xml/policy-status.ts';
import { xmlReply } from '../xml/reply.ts';

/**
 * GetBucketPolicyStatus: whether the bucket is public, by its policy or by its ACL where that counts.
 * A bucket without either is not; AWS answers NoSuchBucketPolicy then, which tells a client less.
 */
export const getBucketPolicyStatus = defineOperation<{ bucket: string }, boolean>({
  name: 'GetBucketPolicyStatus',
  permission: 's3:GetBucketPolicyStatus',
  body: 'none',
  query: ['policyStatus'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, context) {
    const { meta, signal } = context;
    // Once this is answered, the settings are those of the bucket as it is.
    unwrap(await meta.getBucketConfig({ bucket, name: POLICY_CONFIG }, { signal }), { bucket });
    const { settings } = context;
    if (settings === undefined) throw new S3Error('InternalError');
    if (policyOf(settings)?.isPublic === true) return true;
    return ownershipOf(settings) !== 'BucketOwnerEnforced' && isPublicAcl(bucketAclOf(settings));
  },
  serialize: (status) => xmlReply(policyStatus(status)),
});
