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
  const handsOver = isFullControl(request);
  await context.access.require((current) => {
    if (!handsOver || !isEnforced(current)) checkAcl(current, requested);
  });
  const own = ownAcl(requested, writer);
  return () => {
    const current = settings();
    const handedOver = ownershipOf(current) === 'BucketOwnerPreferred' && handsOver;
    const ofBucket = isEnforced(current) || handedOver;
    return ofBucket ? { owner: bucketOwner } : { owner: writer, ...own };
  };
}

/** Who owns an object: where lists do not count, the bucket's owner, whoever wrote it. */
export function shownOwner(settings: BucketSettings | undefined, owner: string): string {
  return settings !== undefined && isEnforced(settings) ? settings.bucket.owner : owner;
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
 * A list that comes with something new. Throws AccessControlListNotSupported where lists do not count,
 * unless it says what holds anyway (the bucket's owner has everything and nobody else anything), and
 * AccessDenied for a public one where those are blocked.
 */
function checkAcl(settings: BucketSettings, acl: readonly Grant[]): void {
  if (isEnforced(settings) && !isPrivateAcl(acl, settings.bucket.owner)) {
    throw new S3Error('AccessControlListNotSupported');
  }
  refusePublic(settings, acl);
}

/**
 * A list for something that is there. Where lists do not count it is AccessControlListNotSupported,
 * unless it is a document that says what holds anyway (see `changesNothing`).
 */
export function checkPutAcl(
  settings: BucketSettings,
  request: AclRequest,
  acl: readonly Grant[],
): void {
  if (isEnforced(settings) && !changesNothing(settings, request, acl)) {
    throw new S3Error('AccessControlListNotSupported');
  }
  refusePublic(settings, acl);
}

/**
 * Where lists do not count: the document that GetObjectAcl shows there, which clients put on the copies
 * that they make (s3cmd cp). It is a success and nothing is kept.
 */
export function changesNothing(
  settings: BucketSettings,
  request: AclRequest,
  acl: readonly Grant[],
): boolean {
  const { owner } = settings.bucket;
  return isEnforced(settings) && request.kind === 'grants' && isPrivateAcl(acl, owner);
}

function refusePublic(settings: BucketSettings, acl: readonly Grant[]): void {
  if (!publicAccessBlockOf(settings).blockPublicAcls || !isPublicAcl(acl)) return;
  throw new S3Error('AccessDenied', {
    message: 'Public ACLs are blocked by the public access block of the bucket.',
  });
}
