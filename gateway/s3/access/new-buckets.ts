/** What buckets are like that are made without saying anything about access. */
import { encodeOwnership, type ObjectOwnership, OWNERSHIP_CONFIG } from './ownership.ts';
import {
  BLOCKS_EVERYTHING,
  encodePublicAccessBlock,
  PUBLIC_ACCESS_BLOCK_CONFIG,
} from './public-access-block.ts';

/**
 * `aws`: as AWS makes them since April 2023, with ACLs switched off and all public access blocked.
 * `open`: as before: ACLs count, and nothing is blocked.
 */
export const NEW_BUCKETS = ['aws', 'open'] as const;
export type NewBuckets = (typeof NEW_BUCKETS)[number];

/** Configurations of a new bucket; `ownership` is what the request asks for. */
export function newBucketConfigs(
  mode: NewBuckets,
  ownership: ObjectOwnership | undefined,
): Record<string, string> {
  const wanted = ownership ?? (mode === 'aws' ? 'BucketOwnerEnforced' : undefined);
  return {
    ...(wanted && { [OWNERSHIP_CONFIG]: encodeOwnership(wanted) }),
    ...(mode === 'aws' && {
      [PUBLIC_ACCESS_BLOCK_CONFIG]: encodePublicAccessBlock(BLOCKS_EVERYTHING),
    }),
  };
}
