/**
 * The actions of Amazon S3, what kind of resource each is done to, and the condition keys of its own
 * that it takes beside those that every action takes.
 *
 * Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3";
 * what is refused by PutBucketPolicy on AWS was seen to follow this table.
 */

export type ResourceKind = 'bucket' | 'object' | 'account';

export interface ActionSpec {
  resource: ResourceKind;
  /** Lower case, without `s3:`; one that ends with `/` takes a tag's key. */
  keys: readonly string[];
}

const ACL = [
  'x-amz-acl',
  'x-amz-grant-full-control',
  'x-amz-grant-read',
  'x-amz-grant-read-acp',
  'x-amz-grant-write',
  'x-amz-grant-write-acp',
];
const EXISTING = ['existingobjecttag/'];
const REQUESTED = ['requestobjecttag/', 'requestobjecttagkeys'];
const VERSION = ['versionid'];
const LISTING = ['delimiter', 'max-keys', 'prefix'];
const RETENTION = [
  'object-lock-mode',
  'object-lock-remaining-retention-days',
  'object-lock-retain-until-date',
];
const HOLD = ['object-lock-legal-hold'];
const ENCRYPTION = [
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-aws-kms-key-id',
  'x-amz-server-side-encryption-customer-algorithm',
];
const WRITE = [
  ...ACL,
  ...REQUESTED,
  ...RETENTION,
  ...HOLD,
  ...ENCRYPTION,
  'x-amz-copy-source',
  'x-amz-metadata-directive',
  'x-amz-storage-class',
  'x-amz-website-redirect-location',
];

/** Actions on buckets with keys of their own. */
const BUCKET: Readonly<Record<string, readonly string[]>> = {
  CreateBucket: [...ACL, 'locationconstraint', 'x-amz-object-ownership'],
  ListBucket: LISTING,
  ListBucketVersions: LISTING,
  PutBucketAcl: ACL,
  PutInventoryConfiguration: ['inventoryaccessibleoptionalfields'],
};

/** Actions on buckets that take only what every action takes. */
const PLAIN_BUCKET = [
  'CreateBucketMetadataTableConfiguration',
  'DeleteBucket',
  'DeleteBucketMetadataTableConfiguration',
  'DeleteBucketPolicy',
  'DeleteBucketWebsite',
  'GetAccelerateConfiguration',
  'GetAnalyticsConfiguration',
  'GetBucketAbac',
  'GetBucketAcl',
  'GetBucketCORS',
  'GetBucketLocation',
  'GetBucketLogging',
  'GetBucketMetadataTableConfiguration',
  'GetBucketNotification',
  'GetBucketObjectLockConfiguration',
  'GetBucketOwnershipControls',
  'GetBucketPolicy',
  'GetBucketPolicyStatus',
  'GetBucketPublicAccessBlock',
  'GetBucketRequestPayment',
  'GetBucketTagging',
  'GetBucketVersioning',
  'GetBucketWebsite',
  'GetEncryptionConfiguration',
  'GetIntelligentTieringConfiguration',
  'GetInventoryConfiguration',
  'GetLifecycleConfiguration',
  'GetMetricsConfiguration',
  'GetReplicationConfiguration',
  'ListBucketMultipartUploads',
  'PutAccelerateConfiguration',
  'PutAnalyticsConfiguration',
  'PutBucketAbac',
  'PutBucketCORS',
  'PutBucketLogging',
  'PutBucketNotification',
  'PutBucketObjectLockConfiguration',
  'PutBucketOwnershipControls',
  'PutBucketPolicy',
  'PutBucketPublicAccessBlock',
  'PutBucketRequestPayment',
  'PutBucketTagging',
  'PutBucketVersioning',
  'PutBucketWebsite',
  'PutEncryptionConfiguration',
  'PutIntelligentTieringConfiguration',
  'PutLifecycleConfiguration',
  'PutMetricsConfiguration',
  'PutReplicationConfiguration',
  'UpdateBucketMetadataInventoryTableConfiguration',
  'UpdateBucketMetadataJournalTableConfiguration',
];

const OBJECT: Readonly<Record<string, readonly string[]>> = {
  AbortMultipartUpload: [],
  BypassGovernanceRetention: WRITE,
  DeleteObject: ['if-match'],
  DeleteObjectTagging: EXISTING,
  DeleteObjectVersion: VERSION,
  DeleteObjectVersionTagging: [...EXISTING, ...VERSION],
  GetObject: EXISTING,
  GetObjectAcl: EXISTING,
  GetObjectAttributes: EXISTING,
  GetObjectLegalHold: [],
  GetObjectRetention: [],
  GetObjectTagging: EXISTING,
  GetObjectTorrent: [],
  GetObjectVersion: [...EXISTING, ...VERSION],
  GetObjectVersionAcl: [...EXISTING, ...VERSION],
  GetObjectVersionAttributes: [...EXISTING, ...VERSION],
  GetObjectVersionForReplication: [],
  GetObjectVersionTagging: [...EXISTING, ...VERSION],
  GetObjectVersionTorrent: VERSION,
  InitiateReplication: [],
  ListMultipartUploadParts: [],
  ObjectOwnerOverrideToBucketOwner: [],
  PutObject: [...WRITE, 'if-match', 'if-none-match', 'objectcreationoperation'],
  PutObjectAcl: [...EXISTING, ...ACL, 'x-amz-storage-class'],
  PutObjectLegalHold: HOLD,
  PutObjectRetention: RETENTION,
  PutObjectTagging: [...EXISTING, ...REQUESTED],
  PutObjectVersionAcl: [...EXISTING, ...VERSION, ...ACL, 'x-amz-storage-class'],
  PutObjectVersionTagging: [...EXISTING, ...REQUESTED, ...VERSION],
  ReplicateDelete: [],
  ReplicateObject: ENCRYPTION,
  ReplicateTags: [],
  RestoreObject: [],
  UpdateObjectEncryption: [],
};

function table(): Map<string, ActionSpec> {
  const actions = new Map<string, ActionSpec>();
  const add = (name: string, resource: ResourceKind, keys: readonly string[]): void => {
    actions.set(`s3:${name.toLowerCase()}`, { resource, keys });
  };
  add('ListAllMyBuckets', 'account', []);
  for (const name of PLAIN_BUCKET) add(name, 'bucket', []);
  for (const [name, keys] of Object.entries(BUCKET)) add(name, 'bucket', keys);
  for (const [name, keys] of Object.entries(OBJECT)) add(name, 'object', keys);
  return actions;
}

/** Every action under its name in lower case: `s3:getobject`. */
export const ACTIONS: ReadonlyMap<string, ActionSpec> = table();
