/**
 * What the metadata service offers: S3-level steps on buckets, objects and uploads, each decided and
 * made durable in one transaction, and the cluster's membership, placement and leases.
 * `service.ts` implements it over a key-value engine, `client.ts` over the wire.
 *
 * Outcomes of ordinary business are values (`Answer`); a thrown Failure means that the question was
 * not answered. All byte counts are bytes, all times milliseconds since the epoch unless they say
 * otherwise. Keys are well-formed Unicode strings of at most 1,024 UTF-8 bytes, ordered by those bytes.
 */
import type { CallOptions } from '../base/call.ts';
import type { BlobId } from '../base/ids.ts';
import type { ChecksumAlgorithm, ChecksumType, ObjectChecksum } from '../base/object-checksum.ts';
import type { Address } from '../base/rpc/rpc.ts';
import type { EventMethods, Origin } from './event-protocol.ts';

export {
  EVENT_LEASES_MAX,
  EVENT_PAGE_MAX,
  EVENT_QUEUES,
  EVENT_TYPES,
  type EventBacklog,
  type EventLease,
  type EventMethods,
  type EventQueue,
  type EventType,
  type Origin,
  type PostponedEvent,
  type ReplicationMatch,
  type StoredEvent,
} from './event-protocol.ts';

export const KEY_BYTES_MAX = 1024;
export const LIST_PAGE_MAX = 1000;
export const DELETE_KEYS_MAX = 1000;
export const PART_NUMBER_MAX = 10_000;
/** Smallest size of every part but the last. */
export const PART_BYTES_MIN = 5 * 1024 * 1024;
export const PART_BYTES_MAX = 5 * 1024 * 1024 * 1024;
/** 5 TiB. */
export const OBJECT_BYTES_MAX = 5 * 1024 ** 4;
/** Part references in one page of a part list. */
export const PARTS_PER_PAGE = 256;
/** Buckets per account unless configured otherwise (AWS's default was 100, now 10,000). */
export const BUCKETS_MAX = 10_000;
/** Tags of one object and of one bucket, in UTF-16 units each (AWS user guide, "tagging"). */
export const OBJECT_TAGS_MAX = 10;
export const BUCKET_TAGS_MAX = 50;
export const TAG_KEY_MAX = 128;
export const TAG_VALUE_MAX = 256;
/** Longest configuration of a bucket under one name, in UTF-8 bytes. */
export const BUCKET_CONFIG_BYTES_MAX = 60 * 1024;
/** Grants in one access control list (AWS: 100). */
export const GRANTS_MAX = 100;
/** Longest encrypted data key: a KMS may add names and parameters of its own. */
export const WRAPPED_KEY_BYTES_MAX = 8 * 1024;
/** Replicas of every block. */
export const REPLICAS = 3;
/** Placement groups of a new cluster. */
export const PLACEMENT_GROUPS = 1024;

/* ------------------------------------------------------------------ answers */

/** Why a step was refused: ordinary outcomes, named as S3 names them. */
export type Refusal =
  | 'NoSuchBucket'
  | 'NoSuchKey'
  | 'NoSuchUpload'
  /** No version of the key has the id that was named. */
  | 'NoSuchVersion'
  /** The version that was named is a delete marker (`marker` of the answer tells which). */
  | 'MethodNotAllowed'
  | 'BucketAlreadyExists'
  | 'BucketAlreadyOwnedByYou'
  | 'BucketNotEmpty'
  | 'TooManyBuckets'
  | 'PreconditionFailed'
  /** Two writers decided on the same key at once and this one cannot be ordered (S3: 409). */
  | 'ConditionalRequestConflict'
  | 'OperationAborted'
  | 'InvalidPart'
  | 'InvalidPartOrder'
  | 'EntityTooSmall'
  | 'EntityTooLarge'
  | 'BadDigest'
  | 'InvalidRequest'
  | 'InvalidArgument'
  /** The version is protected by object lock. */
  | 'AccessDenied'
  /** Object lock and the bucket's versioning do not go together. */
  | 'InvalidBucketState'
  /** The write would bring the bucket above its quota. */
  | 'QuotaExceeded'
  /** An append names another place than the end of the object. */
  | 'InvalidWriteOffset'
  /** The object has PART_NUMBER_MAX parts already. */
  | 'TooManyParts'
  /** The token of a rename was used for another one. */
  | 'IdempotencyParameterMismatch'
  /** The bucket is not in the state that `expect` names (any more): look at it again. Nothing happened. */
  | 'BucketChanged'
  /** The version is not in the state that `expectObject` names (any more): look at it again. Nothing happened. */
  | 'ObjectChanged'
  /** The source of a copy by reference is no longer the one that was read: read it again. */
  | 'SourceChanged';

export type Answer<T> =
  | { ok: true; value: T }
  | {
      ok: false;
      refusal: Refusal;
      /** For the S3 error: extra elements such as `Condition`, `PartNumber`, `ETag`. */
      detail?: Record<string, string> | undefined;
      /** A message to show instead of the table's. */
      message?: string | undefined;
      /** With NoSuchKey and MethodNotAllowed: the delete marker that was met. */
      marker?: { versionId: string; modifiedMs: number } | undefined;
    };

/* ------------------------------------------------------------------ buckets */

export interface Bucket {
  /** Number that rows are kept under; never reused. */
  id: number;
  name: string;
  /** Canonical id of the owner. */
  owner: string;
  region: string;
  createdMs: number;
  /** Absent: the bucket never had versioning, and keeps one version of each key. */
  versioning?: Versioning | undefined;
  /** Grows with every change of `versioning` and of the configurations. */
  revision: number;
  /** Names of the configurations that the bucket has (`setBucketConfig`), sorted. */
  configs: string[];
}

/**
 * The state of a bucket that somebody has judged a request by. A command or query that carries it
 * happens in exactly that state, or is refused with BucketChanged.
 */
export interface BucketState {
  id: number;
  revision: number;
}

/** What may go with every command and query about one bucket. */
export interface ExpectsBucket {
  expect?: BucketState | undefined;
  /** Of commands that change objects: who did it, for the bucket's events. */
  origin?: Origin | undefined;
}

export interface CreateBucketCommand {
  name: string;
  owner: string;
  region: string;
  /** From the start. */
  versioning?: 'Enabled' | undefined;
  /** Configurations that it has from the start, by name. */
  configs?: Record<string, string> | undefined;
}

export type Versioning = 'Enabled' | 'Suspended';

/* ------------------------------------------------------------------ objects */

/** What goes for the id of versions that were made while versioning was off or suspended. */
export const NULL_VERSION = 'null';

export interface Tag {
  key: string;
  value: string;
}

/** The system metadata that S3 keeps with an object and returns as headers. */
export interface SystemMetadata {
  contentType?: string | undefined;
  contentEncoding?: string | undefined;
  contentLanguage?: string | undefined;
  contentDisposition?: string | undefined;
  cacheControl?: string | undefined;
  /** As sent, not parsed. */
  expires?: string | undefined;
  websiteRedirectLocation?: string | undefined;
  /** `STANDARD` when absent. */
  storageClass?: string | undefined;
}

/** Names without `x-amz-meta-`, lower case. */
export type UserMetadata = Record<string, string>;

/**
 * An immutable byte string, cut into blocks of `blockSize` (the last may be shorter). `size` is as it
 * is stored: where there is encryption, `sealedSize` of what it is the content of.
 */
export interface BlobRef {
  blob: BlobId;
  size: number;
  blockSize: number;
}

export type DataRef =
  | { kind: 'none' }
  | ({ kind: 'blob' } & BlobRef)
  /** A part list in rows of its own; `readParts` pages through it. */
  | { kind: 'parts'; list: string; size: number; count: number };

/** One part of a completed multipart object, in object order. */
export interface PartRef {
  number: number;
  /** Where the part begins in the object. */
  offset: number;
  size: number;
  /** Absent for an empty part. */
  data?: BlobRef | undefined;
  /** MD5 of the part in hex. */
  etag: string;
  checksum?: string | undefined;
}

export type Permission = 'FULL_CONTROL' | 'READ' | 'WRITE' | 'READ_ACP' | 'WRITE_ACP';
/** Groups of grantees: everybody, everybody with credentials, and whoever delivers access logs. */
export type GranteeGroup = 'AllUsers' | 'AuthenticatedUsers' | 'LogDelivery';

/** One entry of an access control list. */
export interface Grant {
  /** Canonical id of an account, or a group. */
  grantee: { id: string } | { group: GranteeGroup };
  permission: Permission;
}

/** What keeps a version from being deleted or overwritten. */
export interface ObjectLock {
  mode?: 'GOVERNANCE' | 'COMPLIANCE' | undefined;
  /** With `mode`: when the retention ends. */
  untilMs?: number | undefined;
  /** Absent: it was never set, which is like off. */
  legalHold?: boolean | undefined;
}

/** The configuration of a bucket with object lock, as JSON. Such a bucket keeps all versions. */
export const OBJECT_LOCK_CONFIG = 'object-lock';
/** Longest default retention (AWS: 100 years). */
export const RETENTION_DAYS_MAX = 36_500;
export const RETENTION_YEARS_MAX = 100;

export interface ObjectLockConfiguration {
  /** Retention of versions that are made without one of their own, counted from their creation. */
  retention?:
    | { mode: 'GOVERNANCE' | 'COMPLIANCE'; period: { days: number } | { years: number } }
    | undefined;
}

/**
 * How the blocks of a version are encrypted: all of them, under keys made from one data key
 * (`gateway/object/seal.ts`). Nothing in here is secret by itself.
 */
export interface ObjectEncryption {
  /** `customer`: by a key that only the client has (SSE-C). */
  algorithm: 'AES256' | 'aws:kms' | 'aws:kms:dsse' | 'customer';
  /** The version's own data key, encrypted by the key that `keyId` names or the client has. */
  wrappedKey: Buffer;
  /** Of the master key or the KMS key; absent for `customer`. */
  keyId?: string | undefined;
  /** Base64 of the MD5 of the client's key; for `customer`. */
  keyMd5?: string | undefined;
  /** As sent: base64 of a JSON object; for KMS. */
  context?: string | undefined;
  bucketKey?: true | undefined;
}

/** What is shown of it to clients. */
export type ShownEncryption = Omit<ObjectEncryption, 'wrappedKey'>;

export type ReplicationStatus = 'PENDING' | 'COMPLETED' | 'FAILED' | 'REPLICA';

/** What a version may carry beside its content and metadata. */
export interface ObjectExtras {
  /** Absent: the owner has FULL_CONTROL and nobody else anything. */
  acl?: Grant[] | undefined;
  lock?: ObjectLock | undefined;
  encryption?: ObjectEncryption | undefined;
  replication?: ReplicationStatus | undefined;
}

/**
 * The state of a version that somebody has judged a request by: its tags and extras as they were
 * then. A command that carries it happens in exactly that state, or is refused with ObjectChanged.
 */
export interface ObjectState {
  version: string;
  revision: number;
}

export interface ObjectRecord extends ObjectExtras {
  /** Opaque identity of this version, 32 hex digits. */
  version: string;
  /**
   * Made while versioning was enabled: `version` is its S3 version id. Absent: it goes by
   * NULL_VERSION, of which a key has at most one.
   */
  named?: true | undefined;
  /** Grows with every change of the tags and the extras of this version; absent: 0. */
  revision?: number | undefined;
  /** In the order they were given; absent: none. */
  tags?: Tag[] | undefined;
  size: number;
  /** Without quotes: MD5 in hex, or `md5-of-md5s-N`. */
  etag: string;
  modifiedMs: number;
  owner: string;
  data: DataRef;
  checksum?: ObjectChecksum | undefined;
  system: SystemMetadata;
  user: UserMetadata;
}

/** A replica that was not written: `node` should hold blocks of `blob` and some may be missing there. */
export interface MissingReplica {
  blob: BlobId;
  node: string;
}

/** Evaluated inside the commit, on the current version. */
export interface WriteCondition {
  /** `*`: the key must not exist. An ETag without quotes: the object must be another one, or none. */
  ifNoneMatch?: string | undefined;
  /** ETag without quotes, or `*` for any existing version. A missing key is NoSuchKey. */
  ifMatch?: string | undefined;
  /** DeleteObject only. */
  ifMatchSize?: number | undefined;
  /** DeleteObject only; compared by whole seconds. */
  ifMatchModifiedMs?: number | undefined;
}

export interface NewObject extends ObjectExtras {
  size: number;
  etag: string;
  owner: string;
  data: { kind: 'none' } | ({ kind: 'blob' } & BlobRef);
  checksum?: ObjectChecksum | undefined;
  system: SystemMetadata;
  user: UserMetadata;
  tags?: Tag[] | undefined;
}

export interface PutObjectCommand extends ExpectsBucket {
  /** The writer lease under which the blob was written: a fenced writer's commit is a Failure `fenced`. */
  writer: number;
  bucket: string;
  key: string;
  object: NewObject;
  condition?: WriteCondition | undefined;
  missing: MissingReplica[];
  /** It is a copy whose bytes were written anew: events say so. */
  copied?: true | undefined;
}

/** As PutObjectCommand; of `object` only what an append adds counts when there is an object already. */
export interface AppendObjectCommand extends PutObjectCommand {
  /** The size of the object as it is: where the new bytes begin. 0 creates it. */
  offset: number;
}

/** What RenameObject asks of either object; a missing one fails `ifMatch` and `ifModifiedSinceMs`. */
export interface RenameCondition {
  /** ETag without quotes, or `*`. */
  ifMatch?: string | undefined;
  ifNoneMatch?: string | undefined;
  ifModifiedSinceMs?: number | undefined;
  ifUnmodifiedSinceMs?: number | undefined;
}

export interface RenameObjectCommand extends ExpectsBucket {
  bucket: string;
  /** The key that the object has, and the one that it gets. Not the same. */
  source: string;
  key: string;
  sourceCondition?: RenameCondition | undefined;
  condition?: RenameCondition | undefined;
  /** Of the object under the old key. */
  expectObject?: ObjectState | undefined;
  /** The same again within a day is answered as the first time; for another pair of keys it is refused. */
  token?: string | undefined;
}

export interface Written {
  version: string;
  /** As S3 shows it; absent in a bucket that never had versioning. */
  versionId?: string | undefined;
  etag: string;
  modifiedMs: number;
}

export interface Appended extends Written {
  /** Of the whole object. */
  size: number;
  checksum?: ObjectChecksum | undefined;
}

export interface FoundObject {
  bucket: Bucket;
  object: ObjectRecord;
  /** First page of the part list, when `data.kind` is `parts` and parts were asked for. */
  parts?: PartRef[] | undefined;
}

export interface ReadPartsQuery {
  list: string;
  /**
   * The page holding this part number, this object offset, or the first part after this number;
   * pages are stored whole, so it may begin before that.
   */
  from: { part: number } | { offset: number } | { after: number };
}

export interface CopyObjectCommand extends ExpectsBucket {
  writer: number;
  /** `version` of the record that the caller read and judged; if it is gone: SourceChanged. */
  source: { bucket: string; key: string; version: string };
  bucket: string;
  key: string;
  owner: string;
  /** Replaces the source's metadata when given (x-amz-metadata-directive: REPLACE). */
  metadata?: { system: SystemMetadata; user: UserMetadata } | undefined;
  /** Replaces the source's tags when given (x-amz-tagging-directive: REPLACE). */
  tags?: Tag[] | undefined;
  /** Replaces the source's checksum when given (another algorithm was asked for and computed). */
  checksum?: ObjectChecksum | undefined;
  /**
   * Of the copy. Encryption is the source's unless it is given here, with the data key wrapped
   * anew; nothing else of this is taken from the source.
   */
  extras?: ObjectExtras | undefined;
  condition?: WriteCondition | undefined;
}

export interface DeleteObjectCommand extends ExpectsBucket {
  bucket: string;
  key: string;
  /** This version goes, for good. Without it the bucket's versioning decides what happens. */
  versionId?: string | undefined;
  condition?: WriteCondition | undefined;
  /** The caller may delete what is under GOVERNANCE, and wants to. */
  bypassGovernance?: boolean | undefined;
}

/** What is given replaces what the version has; the other stays. */
export interface SetObjectLockCommand extends VersionName {
  /** Without a mode the retention goes. `untilMs` must lie in the future. */
  retention?: Pick<ObjectLock, 'mode' | 'untilMs'> | undefined;
  legalHold?: boolean | undefined;
  /** The caller may shorten what is under GOVERNANCE, and wants to. */
  bypassGovernance?: boolean | undefined;
  expectObject?: ObjectState | undefined;
}

export interface Deleted {
  /** There was an object, or the named version; S3 answers 204 all the same. */
  existed: boolean;
  /** Of the marker that was made, or the version that was named. */
  versionId?: string | undefined;
  /** A delete marker was made, or the version that went was one. */
  marker?: true | undefined;
}

/** Names a version: the current one unless `versionId` is given (NULL_VERSION included). */
export interface VersionName extends ExpectsBucket {
  bucket: string;
  key: string;
  versionId?: string | undefined;
}

/* ------------------------------------------------------------------ listing */

export interface ListQuery extends ExpectsBucket {
  bucket: string;
  prefix: string;
  delimiter?: string | undefined;
  /**
   * Only keys, and only common prefixes, that sort after this. So a common prefix that equals the
   * marker, or contains it, is not returned again.
   */
  after?: string | undefined;
  /** 0 … LIST_PAGE_MAX, keys and common prefixes counted together. */
  limit: number;
}

export interface ListedObject {
  key: string;
  size: number;
  etag: string;
  modifiedMs: number;
  owner: string;
  storageClass?: string | undefined;
  checksum?: { algorithm: ChecksumAlgorithm; type: ChecksumType } | undefined;
}

export interface ObjectPage {
  bucket: Bucket;
  objects: ListedObject[];
  /** In byte order, disjoint from the keys. */
  commonPrefixes: string[];
  /** The last key or common prefix of the page, when there is more. */
  next?: string | undefined;
}

export interface VersionsQuery extends ExpectsBucket {
  bucket: string;
  prefix: string;
  delimiter?: string | undefined;
  /** Only what comes after this version of this key; without a version, after the whole key. */
  keyMarker?: string | undefined;
  versionIdMarker?: string | undefined;
  /** 0 … LIST_PAGE_MAX, versions and common prefixes counted together. */
  limit: number;
}

export interface ListedVersion extends ListedObject {
  versionId: string;
  /** The current version of its key. */
  latest: boolean;
  /** A delete marker: it has no size, ETag or class. */
  marker?: true | undefined;
}

export interface VersionPage {
  bucket: Bucket;
  /** By key, then newest first. */
  versions: ListedVersion[];
  commonPrefixes: string[];
  /** The last entry of the page, when there is more; of a common prefix without `versionId`. */
  next?: { key: string; versionId?: string | undefined } | undefined;
}

/* ------------------------------------------------------------------ multipart */

export interface Upload extends ObjectExtras {
  uploadId: string;
  bucket: string;
  key: string;
  createdMs: number;
  /** Of the object that the upload makes. */
  owner: string;
  /** Canonical id of the account that began the upload; absent: the owner. */
  initiator?: string | undefined;
  system: SystemMetadata;
  user: UserMetadata;
  tags?: Tag[] | undefined;
  checksum?: { algorithm: ChecksumAlgorithm; type: ChecksumType } | undefined;
}

export interface UploadName extends ExpectsBucket {
  bucket: string;
  key: string;
  uploadId: string;
}

export interface CreateUploadCommand extends ExpectsBucket, ObjectExtras {
  bucket: string;
  key: string;
  /** Of the object that the upload makes. */
  owner: string;
  /** Of the upload, when it is not the owner. */
  initiator?: string | undefined;
  system: SystemMetadata;
  user: UserMetadata;
  /** Of the object that the upload makes. */
  tags?: Tag[] | undefined;
  checksum?: { algorithm: ChecksumAlgorithm; type: ChecksumType } | undefined;
}

export interface PutPartCommand extends UploadName {
  writer: number;
  number: number;
  size: number;
  /** MD5 in hex. */
  etag: string;
  /** Base64, of the upload's algorithm. */
  checksum?: string | undefined;
  /**
   * `fresh`: the caller wrote this blob under its lease. `reference`: a whole existing blob is
   * shared (UploadPartCopy); refused with SourceChanged when it is no longer referenced.
   */
  data: { kind: 'none' } | ({ kind: 'fresh' | 'reference' } & BlobRef);
  missing: MissingReplica[];
}

export interface Part {
  number: number;
  size: number;
  etag: string;
  modifiedMs: number;
  checksum?: string | undefined;
}

export interface PartPage {
  upload: Upload;
  parts: Part[];
  /** Last part number of the page, when there is more. */
  next?: number | undefined;
}

export interface UploadsQuery extends ExpectsBucket {
  bucket: string;
  prefix: string;
  delimiter?: string | undefined;
  keyMarker?: string | undefined;
  uploadIdMarker?: string | undefined;
  limit: number;
}

export interface UploadsPage {
  uploads: Upload[];
  commonPrefixes: string[];
  next?: { key: string; uploadId?: string | undefined } | undefined;
}

export interface CompleteUploadCommand extends UploadName {
  /** As the client sent them, in its order. */
  parts: { number: number; etag: string; checksum?: string | undefined }[];
  condition?: WriteCondition | undefined;
  /** x-amz-checksum-*: what the client says the object's checksum is. */
  expected?: { algorithm: ChecksumAlgorithm; value: string } | undefined;
  /** x-amz-checksum-type, when sent: must agree with the upload's. */
  expectedType?: ChecksumType | undefined;
  /** x-amz-mp-object-size, when sent. */
  expectedSize?: number | undefined;
}

export interface CompletedUpload extends Written {
  size: number;
  encryption?: ShownEncryption | undefined;
  checksum?: ObjectChecksum | undefined;
}

/* ------------------------------------------------------------------ cluster */

export interface NodeRegistration {
  /** Stable name of the node, kept in its folder: 1 … 64 of [A-Za-z0-9._-]. */
  id: string;
  address: Address;
  zone: string;
  capacityBytes: number;
  freeBytes: number;
  /** The cluster the node's folder belongs to; undefined for a blank folder. */
  clusterId?: string | undefined;
  /** Random per process start: tells a restart from a second process with the same id. */
  instance: string;
  /**
   * How often the disk's store has been opened, kept on the disk: an old copy of the disk has an
   * older one. Undefined: the node does not count.
   */
  generation?: number | undefined;
  /**
   * Random, made with the disk's folder: tells a disk from the one that took its place under the same
   * id. Undefined: of a node from before disks had ids.
   */
  disk?: string | undefined;
}

export interface NodeRegistered {
  clusterId: string;
  /** How often to send a heartbeat. */
  heartbeatMs: number;
}

export interface Heartbeat {
  id: string;
  instance: string;
  freeBytes: number;
  capacityBytes: number;
  full: boolean;
  /** How full the node's store is, apart from its disk. */
  store?: StoreFill | undefined;
}

/** Bytes of a store's file that are in use, and what it can grow to. */
export interface StoreFill {
  usedBytes: number;
  limitBytes: number;
}

export interface NodeView {
  id: string;
  address: Address;
  zone: string;
  /** `down` after missed heartbeats; a gateway may know better from its own connections. */
  state: 'up' | 'down';
  full: boolean;
  capacityBytes: number;
  freeBytes: number;
}

/** The versioned placement map. */
export interface Layout {
  epoch: number;
  /** Placement groups, fixed at the cluster's creation. */
  groups: number;
  /** Node ids; `assignment` holds indices into this. */
  nodes: { id: string; zone: string; weight: number }[];
  /** `groups × REPLICAS` u16, little endian: the nodes of each group, distinct, preferred first. */
  assignment: Buffer;
}

export interface ClusterView {
  clusterId: string;
  /** Grows with every change of what follows. */
  revision: number;
  /** Undefined until enough nodes have registered. */
  layout: Layout | undefined;
  /**
   * Older layouts whose data has not all been moved yet, newest first; empty at rest. Writes go by
   * `layout` alone; a read that does not find a block where `layout` says looks where these say.
   */
  previous: Layout[];
  nodes: NodeView[];
}

/** The three marks of a lease (DESIGN.md section 6). */
export interface WriterMarks {
  /** The lowest blob sequence still in flight; the next unused one when none is. */
  lowestSequence: number;
  /** The read epoch of the oldest read still running; the newest known one when none is. */
  oldestRead: number;
  /** The oldest layout epoch still in use; 0 before a layout is known. */
  oldestLayout: number;
}

export interface WriterLease {
  /** Writer id, never given out twice. */
  writer: number;
  /** The lease ends when it is not renewed for this long. */
  ttlMs: number;
  /** Tag of reads from now on (see WriterMarks.oldestRead). Grows over time. */
  readEpoch: number;
  view: ClusterView;
}

export interface RenewedLease {
  readEpoch: number;
  /** Present when the caller's revision is not the newest. */
  view?: ClusterView | undefined;
}

export interface ReplicaReport {
  blob: BlobId;
  node: string;
  /** `corrupt`: bytes do not match; `missing`: the node answered that it has no such block. */
  reason: 'missing' | 'corrupt';
}

export interface MetaStatus {
  clusterId: string;
  view: ClusterView;
  writers: number;
  queues: { garbage: number; repair: number };
  buckets: number;
}

/** All versions count, the older ones and delete markers too (as AWS's NumberOfObjects does). */
export interface BucketUsage {
  objects: number;
  bytes: number;
}

/* ------------------------------------------------------------------ accounts */

/** Access keys of one account. */
export const ACCESS_KEYS_MAX = 20;

/** An account that is kept here; those of the configuration are known to gateways only. */
export interface AccountRecord {
  /** Canonical id: 64 hex digits. */
  id: string;
  /** 12 digits, as policies name it. */
  number: string;
  /** Unique among the accounts that are kept here. */
  displayName: string;
  /** Unique, in lower case. */
  email?: string | undefined;
  createdMs: number;
}

export interface AccountQuery {
  by: 'accessKey' | 'id' | 'email' | 'name' | 'number';
  /** Empty: only the revision is asked for. */
  value: string;
}

export interface FoundAccount {
  /**
   * Of all accounts, not newer than what follows: grows with every change of one, so whoever keeps
   * accounts can ask whether they still hold.
   */
  revision: number;
  account?: AccountRecord | undefined;
  /** Asked for by access key. */
  secretKey?: string | undefined;
}

/** What a bucket may hold, older versions and delete markers included; absent: as much as there is room. */
export interface BucketQuota {
  bytes?: number | undefined;
  objects?: number | undefined;
}

/* ------------------------------------------------------------------ the service */

export interface Meta extends EventMethods {
  createBucket(command: CreateBucketCommand, options?: CallOptions): Promise<Answer<Bucket>>;
  getBucket(
    query: { bucket: string } & ExpectsBucket,
    options?: CallOptions,
  ): Promise<Answer<Bucket>>;
  /** Refused with BucketNotEmpty while it has keys; open uploads are dropped with it. */
  deleteBucket(
    command: { bucket: string } & ExpectsBucket,
    options?: CallOptions,
  ): Promise<Answer<null>>;
  /** In name order; those of one owner, when it is given. */
  listBuckets(
    query: {
      prefix: string;
      after?: string | undefined;
      limit: number;
      owner?: string | undefined;
    },
    options?: CallOptions,
  ): Promise<{ buckets: Bucket[]; next?: string | undefined }>;
  bucketUsage(
    query: { bucket: string } & ExpectsBucket,
    options?: CallOptions,
  ): Promise<Answer<BucketUsage>>;

  putObject(command: PutObjectCommand, options?: CallOptions): Promise<Answer<Written>>;
  /** `withParts`: include the first page of the part list. */
  getObject(
    query: VersionName & { withParts?: boolean | undefined },
    options?: CallOptions,
  ): Promise<Answer<FoundObject>>;
  /** One page (at most PARTS_PER_PAGE) in object order; empty when the list is gone or has no such part. */
  readParts(query: ReadPartsQuery, options?: CallOptions): Promise<PartRef[]>;
  copyObject(
    command: CopyObjectCommand,
    options?: CallOptions,
  ): Promise<Answer<Written & { checksum?: ObjectChecksum | undefined }>>;
  deleteObject(command: DeleteObjectCommand, options?: CallOptions): Promise<Answer<Deleted>>;
  /**
   * One answer per key, in order. At most DELETE_KEYS_MAX. Refused as a whole only when nothing has
   * happened: in a bucket that changes in between the remaining keys are refused with BucketChanged.
   */
  deleteObjects(
    command: {
      bucket: string;
      keys: Omit<DeleteObjectCommand, 'bucket' | 'expect'>[];
    } & ExpectsBucket,
    options?: CallOptions,
  ): Promise<Answer<Answer<Deleted>[]>>;
  listObjects(query: ListQuery, options?: CallOptions): Promise<Answer<ObjectPage>>;

  createUpload(command: CreateUploadCommand, options?: CallOptions): Promise<Answer<Upload>>;
  getUpload(query: UploadName, options?: CallOptions): Promise<Answer<Upload>>;
  putPart(command: PutPartCommand, options?: CallOptions): Promise<Answer<{ modifiedMs: number }>>;
  listParts(
    query: UploadName & { after: number; limit: number },
    options?: CallOptions,
  ): Promise<Answer<PartPage>>;
  listUploads(query: UploadsQuery, options?: CallOptions): Promise<Answer<UploadsPage>>;
  /** Repeating it after success gives the same answer, for at least a day. */
  completeUpload(
    command: CompleteUploadCommand,
    options?: CallOptions,
  ): Promise<Answer<CompletedUpload>>;
  abortUpload(command: UploadName, options?: CallOptions): Promise<Answer<null>>;

  /**
   * Failure `conflict`: another process holds this id, or a blank disk has the id of a node with data;
   * `invalid`: an old copy of the disk, or a node that was removed; `unauthenticated`: of another
   * cluster.
   */
  registerNode(registration: NodeRegistration, options?: CallOptions): Promise<NodeRegistered>;
  /** Failure `not-found`: register again. */
  heartbeat(beat: Heartbeat, options?: CallOptions): Promise<null>;

  openWriter(command: { name: string }, options?: CallOptions): Promise<WriterLease>;
  /** Failure `fenced`: the lease ended; open a new one and never use the old writer id again. */
  renewWriter(
    command: { writer: number; marks: WriterMarks; revision: number },
    options?: CallOptions,
  ): Promise<RenewedLease>;
  /** Ends the lease after the last read and write. */
  closeWriter(command: { writer: number }, options?: CallOptions): Promise<null>;

  /** Queues repairs; repeating it is harmless. */
  reportReplicas(command: { reports: ReplicaReport[] }, options?: CallOptions): Promise<null>;
  status(options?: CallOptions): Promise<MetaStatus>;

  /** Every later commit in the bucket goes by it. InvalidBucketState: object lock needs it enabled. */
  setVersioning(
    command: { bucket: string; versioning: Versioning } & ExpectsBucket,
    options?: CallOptions,
  ): Promise<Answer<Bucket>>;
  listVersions(query: VersionsQuery, options?: CallOptions): Promise<Answer<VersionPage>>;
  /** Replaces the tags of a version; an empty list takes them off. */
  setObjectTags(
    command: VersionName & { tags: Tag[]; expectObject?: ObjectState | undefined },
    options?: CallOptions,
  ): Promise<Answer<{ versionId?: string | undefined }>>;
  /** Replaces those extras of a version that are given. */
  setObjectExtras(
    command: VersionName & Pick<ObjectExtras, 'acl'> & { expectObject?: ObjectState | undefined },
    options?: CallOptions,
  ): Promise<Answer<{ versionId?: string | undefined }>>;
  /**
   * Sets the retention or the legal hold of a version. Refused with InvalidRequest in a bucket without
   * object lock, InvalidArgument for a time in the past, AccessDenied for less than the version has.
   */
  setObjectLock(
    command: SetObjectLockCommand,
    options?: CallOptions,
  ): Promise<Answer<{ versionId?: string | undefined }>>;
  /**
   * Keeps a configuration of the bucket under a name of ours; without `value` it goes. Object lock is
   * for buckets with versioning and never goes (InvalidBucketState).
   */
  setBucketConfig(
    command: { bucket: string; name: string; value?: string | undefined } & ExpectsBucket,
    options?: CallOptions,
  ): Promise<Answer<null>>;
  getBucketConfig(
    query: { bucket: string; name: string } & ExpectsBucket,
    options?: CallOptions,
  ): Promise<Answer<{ bucket: Bucket; value?: string | undefined }>>;
  /** The bucket with all its configurations, by name, as they were at one moment. */
  getBucketSettings(
    query: { bucket: string },
    options?: CallOptions,
  ): Promise<Answer<{ bucket: Bucket; values: Record<string, string> }>>;
  /**
   * Says how the replication of exactly this version stands; a version that is gone, or has become
   * a REPLICA, is left alone. FAILED is an event for the bucket's notifications; PENDING has it
   * replicated (again), unless the backlog is `full`.
   */
  setReplication(
    command: VersionName & { version: string; status: ReplicationStatus },
    options?: CallOptions,
  ): Promise<Answer<{ changed: boolean; full?: true | undefined }>>;

  /** The account that a key, an id, a name, a number or an e-mail address is of; none when it is not known. */
  findAccount(query: AccountQuery, options?: CallOptions): Promise<FoundAccount>;

  /** In one commit; what was under the new key is replaced, as by a write. */
  renameObject(command: RenameObjectCommand, options?: CallOptions): Promise<Answer<Written>>;
  /** Refused with InvalidWriteOffset, TooManyParts, and InvalidRequest for what cannot be appended to. */
  appendObject(command: AppendObjectCommand, options?: CallOptions): Promise<Answer<Appended>>;
}
