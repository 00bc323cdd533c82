/**
 * Whether who asks may do one thing: bucket policy, ownership, ACLs and the public access block,
 * joined as S3 joins them. Pure: what is stored is handed in, and a verdict that needs more of it
 * says so.
 *
 * Source: Amazon S3 User Guide, "How Amazon S3 authorizes a request" (for bucket and for object
 * operations); "Blocking public access"; "Controlling ownership of objects".
 */
import type { ObjectRecord } from '../../../meta/protocol.ts';
import type { Account } from '../auth/identity.ts';
import { aclGrants, bucketPermission, objectPermission, privateAcl } from './acl.ts';
import { bucketAclOf, ownershipOf, policyOf, publicAccessBlockOf } from './bucket-access.ts';
import type { BucketSettings } from './bucket-settings.ts';
import type { AccessNeed } from './needs.ts';
import { decide, readsStored } from './policy/decide.ts';
import type { PolicyDecision } from './policy/policy.ts';
import type { RequestFacts, UploadEncryption } from './policy/request-facts.ts';

/**
 * `object`, `upload`: it depends on the object or the upload that the request is about, which must
 * be handed in.
 */
export type Verdict = 'allow' | 'deny' | 'object' | 'upload';

/** What of an object decides about it. */
export type JudgedObject = Pick<ObjectRecord, 'owner' | 'acl' | 'tags'>;

export interface JudgedUpload {
  /** Canonical id of whoever began it. */
  initiator: string;
  encryption: UploadEncryption | undefined;
}

export interface Question {
  settings: BucketSettings;
  /** Undefined: anonymous. */
  account: Account | undefined;
  facts: RequestFacts;
  need: AccessNeed;
  /** Undefined: not read (yet). */
  object?: JudgedObject | undefined;
  upload?: JudgedUpload | undefined;
}

/** What the owner of a bucket may do with its policy whatever it says: nobody can lock himself out. */
const ALWAYS_THE_OWNERS: ReadonlySet<string> = new Set([
  's3:GetBucketPolicy',
  's3:PutBucketPolicy',
  's3:DeleteBucketPolicy',
]);

/** Actions on what is there already: its owner, list and tags decide. */
const ABOUT_OBJECTS: ReadonlySet<string> = new Set(
  ['Acl', 'Attributes', 'Tagging', 'Torrent', '']
    .flatMap((what) => [`s3:GetObject${what}`, `s3:GetObjectVersion${what}`])
    .concat(
      ['Acl', 'Tagging'].flatMap((what) => [`s3:PutObject${what}`, `s3:PutObjectVersion${what}`]),
      ['s3:DeleteObjectTagging', 's3:DeleteObjectVersionTagging'],
    ),
);

/** Actions that whoever began an upload may do with it. */
const OF_INITIATORS: ReadonlySet<string> = new Set([
  's3:AbortMultipartUpload',
  's3:ListMultipartUploadParts',
]);

/** Operations that make an object, and the rights that their headers need. */
const MAKERS: ReadonlySet<string> = new Set([
  'PutObject',
  'PostObject',
  'CopyObject',
  'CreateMultipartUpload',
]);
const OF_MAKERS: ReadonlySet<string> = new Set(['s3:PutObjectAcl', 's3:PutObjectTagging']);

/**
 * Whether the need is about an object that is there: then that decides, and its absence is something
 * to be told.
 */
export function isAboutStored(operation: string, { action, key }: AccessNeed): boolean {
  if (key === '' || !ABOUT_OBJECTS.has(action)) return false;
  return !(MAKERS.has(operation) && OF_MAKERS.has(action));
}

export function judge(question: Question): Verdict {
  const { settings, account, need } = question;
  const isOwner = account !== undefined && (account.root || account.id === settings.bucket.owner);
  const said = policyDecision(question);
  if (said === 'object' || said === 'upload') return said;
  if (said === 'deny' && !(isOwner && ALWAYS_THE_OWNERS.has(need.action))) return 'deny';
  const allowed = said === 'allow' && policyReaches(settings, isOwner);
  return isAboutStored(question.facts.operation, need)
    ? judgeObject(question, isOwner, allowed)
    : judgeBucket(question, isOwner, allowed);
}

function policyDecision(question: Question): PolicyDecision | 'object' | 'upload' {
  const { settings, facts, need, object, upload } = question;
  const inForce = policyOf(settings);
  if (inForce === undefined) return 'none';
  switch (readsStored(inForce.policy, facts.operation, need)) {
    case 'object':
      if (!isAboutStored(facts.operation, need)) return decide(inForce.policy, facts, need);
      if (object === undefined) return 'object';
      return decide(inForce.policy, { ...facts, objectTags: object.tags ?? [] }, need);
    case 'upload':
      if (upload === undefined) return 'upload';
      return decide(inForce.policy, { ...facts, uploadEncryption: upload.encryption }, need);
    default:
      return decide(inForce.policy, facts, need);
  }
}

/** RestrictPublicBuckets: what a public policy allows it allows to the owner's account only. */
function policyReaches(settings: BucketSettings, isOwner: boolean): boolean {
  if (isOwner || !publicAccessBlockOf(settings).restrictPublicBuckets) return true;
  return policyOf(settings)?.isPublic !== true;
}

function judgeBucket(question: Question, isOwner: boolean, allowed: boolean): Verdict {
  const { settings, account, need, upload } = question;
  if (isOwner || allowed) return 'allow';
  if (OF_MAKERS.has(need.action) && givesOwn(question)) return 'allow';
  const permission = bucketPermission(need.action);
  if (permission !== undefined && ownershipOf(settings) !== 'BucketOwnerEnforced') {
    const { ignorePublicAcls: ignorePublic } = publicAccessBlockOf(settings);
    if (aclGrants(bucketAclOf(settings), { account, permission, ignorePublic })) return 'allow';
  }
  if (!OF_INITIATORS.has(need.action) || account === undefined) return 'deny';
  if (upload === undefined) return 'upload';
  return upload.initiator === account.id ? 'allow' : 'deny';
}

/**
 * An ACL that comes with a new object needs no right beside that to write it: policies that should
 * bind it name `s3:x-amz-acl` (as those of AWS's examples do). Tags need `s3:PutObjectTagging` of the
 * bucket, unless who writes the object will own it.
 */
function givesOwn({ settings, need }: Question): boolean {
  return need.action === 's3:PutObjectAcl' || ownershipOf(settings) === 'ObjectWriter';
}

/**
 * The owner of the object decides. Where that is the bucket's, its policy counts; of what somebody
 * else owns in it, the bucket's owner can only deny things, and remove it.
 */
function judgeObject(question: Question, isOwner: boolean, allowed: boolean): Verdict {
  const { settings, account, need, object } = question;
  const { owner: bucketOwner } = settings.bucket;
  if (account?.root === true) return 'allow';
  if (ownershipOf(settings) === 'BucketOwnerEnforced') {
    return isOwner || allowed ? 'allow' : 'deny';
  }
  const permission = objectPermission(need.action);
  if (isOwner && permission === undefined) return 'allow';
  if (object === undefined) return 'object';
  if (account !== undefined && account.id === object.owner) return 'allow';
  if (allowed && object.owner === bucketOwner) return 'allow';
  if (permission === undefined) return 'deny';
  const { ignorePublicAcls: ignorePublic } = publicAccessBlockOf(settings);
  const acl = object.acl ?? privateAcl(object.owner);
  return aclGrants(acl, { account, permission, ignorePublic }) ? 'allow' : 'deny';
}
