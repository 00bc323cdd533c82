/** Who owns what a request writes, and with which ACL: by ownership and public access block. */
import type { Grant } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import type { Context } from '../operation.ts';
import { isPrivateAcl, isPublicAcl } from './acl.ts';
import { type AclRequest, grantsOf } from './acl-request.ts';
import { ownershipOf, publicAccessBlockOf } from './bucket-access.ts';
import type { BucketSettings } from './bucket-settings.ts';

/** What a new object says of access. Spread into the command that makes it. */
export interface WrittenAccess {
  owner: string;
  /** Absent: the owner's alone. */
  acl?: Grant[];
}

type Needed = Pick<Context, 'account' | 'accounts' | 'access' | 'settings'>;

/**
 * Tells owner and ACL of an object that the request makes in its bucket, by the settings that the
 * bucket has when it is asked: at each try of the commit (`inState`). Throws
 * AccessControlListNotSupported, AccessDenied, and what is wrong with grantees, now or in the commit.
 */
export async function writtenAccess(
  request: AclRequest | undefined,
  context: Needed,
): Promise<() => WrittenAccess> {
  const writer = context.account.id;
  const settings = (): BucketSettings => {
    // Only buckets that exist are written to: the request was judged by it.
    if (context.settings === undefined) throw new S3Error('NoSuchBucket');
    return context.settings;
  };
  const bucketOwner = settings().bucket.owner;
  if (request === undefined) {
    return () => ({ owner: isEnforced(settings()) ? bucketOwner : writer });
  }
  const requested = await grantsOf(request, { owner: writer, bucketOwner }, context.accounts);
  await context.access.require((current) => checkAcl(current, requested, writer));
  const own = ownAcl(requested, writer);
  return () => {
    const current = settings();
    const handedOver = ownershipOf(current) === 'BucketOwnerPreferred' && isFullControl(request);
    const ofBucket = isEnforced(current) || handedOver;
    return ofBucket ? { owner: bucketOwner } : { owner: writer, ...own };
  };
}

function isEnforced(settings: BucketSettings): boolean {
  return ownershipOf(settings) === 'BucketOwnerEnforced';
}

function isFullControl(request: AclRequest): boolean {
  return request.kind === 'canned' && request.canned === 'bucket-owner-full-control';
}

/** A list that says no more than that the owner may do everything need not be kept. */
export function ownAcl(acl: Grant[], owner: string): { acl?: Grant[] } {
  const [first, second] = acl;
  const plain =
    second === undefined &&
    first !== undefined &&
    first.permission === 'FULL_CONTROL' &&
    isPrivateAcl(acl, owner);
  return plain ? {} : { acl };
}

/**
 * Throws AccessControlListNotSupported for a list where lists do not count, unless it gives nothing
 * to anybody but `writer` and the bucket's owner, and AccessDenied for a public one where those are
 * blocked.
 */
export function checkAcl(settings: BucketSettings, acl: readonly Grant[], writer: string): void {
  const { owner } = settings.bucket;
  if (isEnforced(settings)) {
    const others = acl.filter(({ grantee }) => !('id' in grantee && grantee.id === writer));
    if (!isPrivateAcl(others, owner)) throw new S3Error('AccessControlListNotSupported');
  }
  if (publicAccessBlockOf(settings).blockPublicAcls && isPublicAcl(acl)) {
    throw new S3Error('AccessDenied', {
      message: 'Public ACLs are blocked by the public access block of the bucket.',
    });
  }
}
