/** What a bucket's settings say of access, parsed once per revision of the bucket. */
import type { Grant } from '../../../meta/protocol.ts';
import { ACL_CONFIG, decodeAcl, privateAcl } from './acl.ts';
import type { BucketSettings } from './bucket-settings.ts';
import { decodeOwnership, type ObjectOwnership, OWNERSHIP_CONFIG } from './ownership.ts';
import { parsePolicy, POLICY_CONFIG } from './policy/parse.ts';
import type { BucketPolicy } from './policy/policy.ts';
import { isPublic } from './policy/public.ts';
import {
  BLOCKS_NOTHING,
  decodePublicAccessBlock,
  PUBLIC_ACCESS_BLOCK_CONFIG,
  type PublicAccessBlock,
} from './public-access-block.ts';

export interface PolicyInForce {
  policy: BucketPolicy;
  isPublic: boolean;
}

/** Undefined: the bucket has no policy. */
export function policyOf(settings: BucketSettings): PolicyInForce | undefined {
  return settings.parsed(POLICY_CONFIG, (text) => {
    const policy = parsePolicy(text, settings.bucket.name);
    return { policy, isPublic: isPublic(policy) };
  });
}

export function ownershipOf(settings: BucketSettings): ObjectOwnership {
  return settings.parsed(OWNERSHIP_CONFIG, decodeOwnership) ?? decodeOwnership(undefined);
}

export function publicAccessBlockOf(settings: BucketSettings): PublicAccessBlock {
  return settings.parsed(PUBLIC_ACCESS_BLOCK_CONFIG, decodePublicAccessBlock) ?? BLOCKS_NOTHING;
}

/** Of the bucket itself. */
export function bucketAclOf(settings: BucketSettings): readonly Grant[] {
  return settings.parsed(ACL_CONFIG, decodeAcl) ?? privateAcl(settings.bucket.owner);
}
