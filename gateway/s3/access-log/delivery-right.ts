/**
 * Whether the log of one bucket may be put into another. Whoever delivers logs is nobody's account: the
 * target's policy must allow the service, or its ACL the group, as on AWS.
 *
 * Source: "Permissions for log delivery", Amazon S3 User Guide.
 */
import { bucketAclOf, ownershipOf, policyOf } from '../access/bucket-access.ts';
import type { BucketSettings } from '../access/bucket-settings.ts';
import { evaluate } from '../access/policy/evaluate.ts';
import type { ConditionLookup } from '../access/policy/lookup.ts';
import type { PolicyPrincipal } from '../access/policy/policy.ts';

const SERVICE = 'logging.s3.amazonaws.com';

/** No account, so no pattern but the service's own names it, and `*`. */
const DELIVERY: PolicyPrincipal = {
  canonicalId: '',
  accountNumber: '',
  arn: '',
  userName: undefined,
  userId: '',
  service: SERVICE,
};

/** `key`: of the log object; `source`: the bucket whose log it is, and its owner's account number. */
export function mayDeliver(
  target: BucketSettings,
  key: string,
  source: { bucket: string; account: string },
): boolean {
  const policy = policyOf(target)?.policy;
  const decision =
    policy === undefined
      ? 'none'
      : evaluate(policy, {
          principal: DELIVERY,
          action: 's3:PutObject',
          resource: `arn:aws:s3:::${target.bucket.name}/${key}`,
          condition: conditions(source),
        });
  if (decision !== 'none') return decision === 'allow';
  if (ownershipOf(target) === 'BucketOwnerEnforced') return false;
  return bucketAclOf(target).some(
    ({ grantee, permission }) =>
      'group' in grantee &&
      grantee.group === 'LogDelivery' &&
      (permission === 'WRITE' || permission === 'FULL_CONTROL'),
  );
}

function conditions({ bucket, account }: { bucket: string; account: string }): ConditionLookup {
  const values: Readonly<Record<string, string>> = {
    'aws:sourcearn': `arn:aws:s3:::${bucket}`,
    'aws:sourceaccount': account,
    'aws:principalisawsservice': 'true',
    'aws:principalservicename': SERVICE,
    // Both buckets have one owner.
    'aws:resourceaccount': account,
    's3:resourceaccount': account,
    // Inside the store nothing goes over a wire that could be listened to.
    'aws:securetransport': 'true',
  };
  return (key) => {
    const value = values[key];
    return value === undefined ? undefined : [value];
  };
}
