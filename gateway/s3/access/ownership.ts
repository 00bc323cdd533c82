/**
 * Who owns the objects of a bucket, and whether its ACLs count.
 *
 * Source: Amazon S3 User Guide, "Controlling ownership of objects and disabling ACLs".
 */

/** Name of a bucket's configuration. */
export const OWNERSHIP_CONFIG = 'ownership';

export const OBJECT_OWNERSHIPS = [
  'BucketOwnerEnforced',
  'BucketOwnerPreferred',
  'ObjectWriter',
] as const;
/**
 * `BucketOwnerEnforced`: everything is the bucket owner's, ACLs do not count. `BucketOwnerPreferred`:
 * what is uploaded with the ACL bucket-owner-full-control is. `ObjectWriter`: whoever uploads owns.
 */
export type ObjectOwnership = (typeof OBJECT_OWNERSHIPS)[number];

export function isObjectOwnership(text: string): text is ObjectOwnership {
  return (OBJECT_OWNERSHIPS as readonly string[]).includes(text);
}

export function encodeOwnership(ownership: ObjectOwnership): string {
  return JSON.stringify({ ownership });
}

/** A bucket without the configuration is as on AWS before there was one. */
export function decodeOwnership(text: string | undefined): ObjectOwnership {
  if (text === undefined) return 'ObjectWriter';
  return (JSON.parse(text) as { ownership: ObjectOwnership }).ownership;
}
