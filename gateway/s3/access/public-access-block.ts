/**
 * The four settings of a bucket's public access block.
 *
 * Source: Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage".
 */

/** Name of a bucket's configuration. A bucket without it blocks nothing. */
export const PUBLIC_ACCESS_BLOCK_CONFIG = 'public-access-block';

export interface PublicAccessBlock {
  /** Lists that would give something to the public are refused. */
  blockPublicAcls: boolean;
  /** What lists give to the public does not count. */
  ignorePublicAcls: boolean;
  /** A policy that is public is refused. */
  blockPublicPolicy: boolean;
  /** A policy that is public allows nothing to other accounts. */
  restrictPublicBuckets: boolean;
}

export const BLOCKS_NOTHING: PublicAccessBlock = {
  blockPublicAcls: false,
  ignorePublicAcls: false,
  blockPublicPolicy: false,
  restrictPublicBuckets: false,
};

export const BLOCKS_EVERYTHING: PublicAccessBlock = {
  blockPublicAcls: true,
  ignorePublicAcls: true,
  blockPublicPolicy: true,
  restrictPublicBuckets: true,
};

export function encodePublicAccessBlock(block: PublicAccessBlock): string {
  return JSON.stringify(block);
}

export function decodePublicAccessBlock(text: string): PublicAccessBlock {
  return { ...BLOCKS_NOTHING, ...(JSON.parse(text) as Partial<PublicAccessBlock>) };
}
