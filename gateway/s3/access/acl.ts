/**
 * Access control lists: the canned ones, what a grant gives, and how the list of a bucket is kept.
 * Pure.
 *
 * Source: Amazon S3 User Guide, "Access control list (ACL) overview".
 */
import type { Grant, GranteeGroup, Permission } from '../../../meta/protocol.ts';
import type { Account } from '../auth/identity.ts';

/** Name of a bucket's configuration. A bucket without it is its owner's alone. */
export const ACL_CONFIG = 'acl';

export const CANNED_ACLS = [
  'private',
  'public-read',
  'public-read-write',
  'authenticated-read',
  'aws-exec-read',
  'bucket-owner-read',
  'bucket-owner-full-control',
  'log-delivery-write',
] as const;
export type CannedAcl = (typeof CANNED_ACLS)[number];

const GROUP_URIS: Readonly<Record<GranteeGroup, string>> = {
  AllUsers: 'http://acs.amazonaws.com/groups/global/AllUsers',
  AuthenticatedUsers: 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers',
  LogDelivery: 'http://acs.amazonaws.com/groups/s3/LogDelivery',
};
const GROUPS = Object.keys(GROUP_URIS) as GranteeGroup[];

export function groupUri(group: GranteeGroup): string {
  return GROUP_URIS[group];
}

export function groupOfUri(uri: string): GranteeGroup | undefined {
  return GROUPS.find((group) => GROUP_URIS[group] === uri);
}

/** Canonical id of the account that fetches machine images on AWS: `aws-exec-read` grants to it. */
const IMAGE_FETCHER = '6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c';

function toGroup(group: GranteeGroup, permission: Permission): Grant {
  return { grantee: { group }, permission };
}

function toAccount(id: string, permission: Permission): Grant {
  return { grantee: { id }, permission };
}

/** What everything has that nobody gave an ACL: its owner may do everything. */
export function privateAcl(owner: string): Grant[] {
  return [toAccount(owner, 'FULL_CONTROL')];
}

/** The grants of a canned ACL. On a bucket, `bucketOwner` is `owner`. */
export function cannedGrants(
  canned: CannedAcl,
  { owner, bucketOwner }: { owner: string; bucketOwner: string },
): Grant[] {
  return [...privateAcl(owner), ...granted(canned, owner, bucketOwner)];
}

function granted(canned: CannedAcl, owner: string, bucketOwner: string): Grant[] {
  switch (canned) {
    case 'private':
      return [];
    case 'public-read':
      return [toGroup('AllUsers', 'READ')];
    case 'public-read-write':
      return [toGroup('AllUsers', 'READ'), toGroup('AllUsers', 'WRITE')];
    case 'authenticated-read':
      return [toGroup('AuthenticatedUsers', 'READ')];
    case 'aws-exec-read':
      return [toAccount(IMAGE_FETCHER, 'READ')];
    case 'bucket-owner-read':
      return bucketOwner === owner ? [] : [toAccount(bucketOwner, 'READ')];
    case 'bucket-owner-full-control':
      return bucketOwner === owner ? [] : [toAccount(bucketOwner, 'FULL_CONTROL')];
    case 'log-delivery-write':
      return [toGroup('LogDelivery', 'WRITE'), toGroup('LogDelivery', 'READ_ACP')];
    default:
      return canned satisfies never;
  }
}

/** Everybody, or everybody who has an account somewhere. */
const PUBLIC_GROUPS: ReadonlySet<GranteeGroup> = new Set(['AllUsers', 'AuthenticatedUsers']);

/** Whether a list gives anything to the public. */
export function isPublicAcl(acl: readonly Grant[]): boolean {
  return acl.some(({ grantee }) => 'group' in grantee && PUBLIC_GROUPS.has(grantee.group));
}

/** Whether a list gives nothing to anybody but `owner`. */
export function isPrivateAcl(acl: readonly Grant[], owner: string): boolean {
  return acl.every(({ grantee }) => 'id' in grantee && grantee.id === owner);
}

export interface AclQuestion {
  /** Undefined: anonymous. */
  account: Account | undefined;
  permission: Permission;
  /** IgnorePublicAcls: grants to the public do not count. */
  ignorePublic: boolean;
}

/** Whether a list grants the permission to who asks. */
export function aclGrants(acl: readonly Grant[], question: AclQuestion): boolean {
  const { account, permission, ignorePublic } = question;
  return acl.some(({ grantee, permission: given }) => {
    if (given !== permission && given !== 'FULL_CONTROL') return false;
    if ('id' in grantee) return account !== undefined && grantee.id === account.id;
    if (ignorePublic && PUBLIC_GROUPS.has(grantee.group)) return false;
    switch (grantee.group) {
      case 'AllUsers':
        return true;
      case 'AuthenticatedUsers':
        return account !== undefined;
      case 'LogDelivery':
        // Nobody who can sign: what delivers logs is judged by policies as a service.
        return false;
      default:
        return grantee.group satisfies never;
    }
  });
}

/** Actions that a permission in a bucket's list gives ("Mapping of ACL permissions"). */
const BY_BUCKET_ACL: ReadonlyMap<string, Permission> = new Map([
  ['s3:ListBucket', 'READ'],
  ['s3:ListBucketVersions', 'READ'],
  ['s3:ListBucketMultipartUploads', 'READ'],
  ['s3:PutObject', 'WRITE'],
  ['s3:DeleteObject', 'WRITE'],
  ['s3:GetBucketAcl', 'READ_ACP'],
  ['s3:PutBucketAcl', 'WRITE_ACP'],
]);

/** Actions that a permission in an object's list gives. */
const BY_OBJECT_ACL: ReadonlyMap<string, Permission> = new Map([
  ['s3:GetObject', 'READ'],
  ['s3:GetObjectVersion', 'READ'],
  ['s3:GetObjectAttributes', 'READ'],
  ['s3:GetObjectVersionAttributes', 'READ'],
  ['s3:GetObjectTorrent', 'READ'],
  ['s3:GetObjectVersionTorrent', 'READ'],
  ['s3:GetObjectAcl', 'READ_ACP'],
  ['s3:GetObjectVersionAcl', 'READ_ACP'],
  ['s3:PutObjectAcl', 'WRITE_ACP'],
  ['s3:PutObjectVersionAcl', 'WRITE_ACP'],
]);

/** The permission of a bucket's list that allows the action; undefined when none does. */
export function bucketPermission(action: string): Permission | undefined {
  return BY_BUCKET_ACL.get(action);
}

/** The permission of an object's list that allows the action; undefined when none does. */
export function objectPermission(action: string): Permission | undefined {
  return BY_OBJECT_ACL.get(action);
}

/** As a configuration of a bucket. */
export function encodeAcl(acl: readonly Grant[]): string {
  return JSON.stringify(acl);
}

export function decodeAcl(text: string): Grant[] {
  return JSON.parse(text) as Grant[];
}
