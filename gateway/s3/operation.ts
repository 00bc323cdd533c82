/**
 * An S3 operation: one file, one `defineOperation`. `parse` and `serialize` are pure; `execute` is
 * the only place with effects, and it has only what its context gives it.
 */
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { SideAction } from './access-log/record.ts';
import type { BucketSettings } from './access/bucket-settings.ts';
import type { RequestMeta, RequestObjects } from './access/guard.ts';
import type { NewBuckets } from './access/new-buckets.ts';
import type { AccountDirectory } from './auth/accounts.ts';
import type { Account, Authenticated } from './auth/identity.ts';
import type { RequestAccess } from './access/request-access.ts';
import type { FormReply } from './form/form.ts';
import type { RequestEncryption } from './encryption/request-encryption.ts';
import type { HeaderMap, RawReply } from './request.ts';
import type { TargetOwner } from './target-owner.ts';

/** Every operation that Ashlar carries out; the word used in metrics, logs, tests and docs. */
export const OPERATION_NAMES = [
  'ListBuckets',
  'CreateBucket',
  'HeadBucket',
  'DeleteBucket',
  'GetBucketLocation',
  'GetBucketVersioning',
  'PutBucketVersioning',
  'GetBucketTagging',
  'PutBucketTagging',
  'DeleteBucketTagging',
  'GetBucketPolicy',
  'PutBucketPolicy',
  'DeleteBucketPolicy',
  'GetBucketPolicyStatus',
  'GetBucketAcl',
  'PutBucketAcl',
  'GetBucketOwnershipControls',
  'PutBucketOwnershipControls',
  'DeleteBucketOwnershipControls',
  'GetPublicAccessBlock',
  'PutPublicAccessBlock',
  'DeletePublicAccessBlock',
  'GetBucketCors',
  'PutBucketCors',
  'DeleteBucketCors',
  'GetBucketLifecycleConfiguration',
  'PutBucketLifecycleConfiguration',
  'DeleteBucketLifecycle',
  'GetObjectLockConfiguration',
  'PutObjectLockConfiguration',
  'GetBucketWebsite',
  'PutBucketWebsite',
  'DeleteBucketWebsite',
  'GetBucketNotificationConfiguration',
  'PutBucketNotificationConfiguration',
  'GetBucketReplication',
  'PutBucketReplication',
  'DeleteBucketReplication',
  'GetBucketLogging',
  'PutBucketLogging',
  'GetBucketEncryption',
  'PutBucketEncryption',
  'DeleteBucketEncryption',
  'ListObjects',
  'ListObjectsV2',
  'ListObjectVersions',
  'ListMultipartUploads',
  'DeleteObjects',
  'PutObject',
  'PostObject',
  'CopyObject',
  'GetObject',
  'HeadObject',
  'GetObjectAttributes',
  'GetObjectAcl',
  'PutObjectAcl',
  'GetObjectTagging',
  'PutObjectTagging',
  'DeleteObjectTagging',
  'GetObjectRetention',
  'PutObjectRetention',
  'GetObjectLegalHold',
  'PutObjectLegalHold',
  'DeleteObject',
  'CreateMultipartUpload',
  'UploadPart',
  'UploadPartCopy',
  'ListParts',
  'CompleteMultipartUpload',
  'AbortMultipartUpload',
  'RenameObject',
  'GetBucketRequestPayment',
  'PutBucketRequestPayment',
] as const;

export type OperationName = (typeof OPERATION_NAMES)[number];

/** A decoded query string. Names are case-sensitive; the first value of a repeated name counts. */
export interface QueryParameters {
  has(name: string): boolean;
  /** `undefined` when absent, empty when it has no value. */
  get(name: string): string | undefined;
  names(): readonly string[];
}

/** What `parse` sees: the request after addressing and, for XML bodies, after reading. */
export interface OperationRequest {
  method: string;
  /** Empty for service-level requests; checked to be a valid bucket name otherwise. */
  bucket: string;
  /** Decoded, valid UTF-8, at most 1,024 bytes; empty for bucket-level requests. */
  key: string;
  query: QueryParameters;
  headers: HeaderMap;
  /** The body as text, for operations with an XML body; may be empty. */
  xml: string;
  /** Decoded length of the payload in bytes (x-amz-decoded-content-length or Content-Length). */
  contentLength: number | undefined;
  /** Of a form upload: how its success is to be told. Its fields are among the headers. */
  form?: FormReply | undefined;
}

/** Where events can be sent: the targets that the operator has configured, by name. */
export interface NotificationTargets {
  /** There is one of that name, for buckets of this owner. */
  has(name: string, owner: TargetOwner): boolean;
  /** Resolves when the target has taken the message; `key` keeps messages of one key together. */
  send(name: string, message: string, key: string): Promise<void>;
}

/** Where replicas can go. */
export interface ReplicaTargets {
  /** What is wrong with the bucket of this ARN as a destination of the owner's; undefined: nothing. */
  problemOf(
    arn: string,
    account: string | undefined,
    owner: TargetOwner,
  ): Promise<string | undefined>;
}

/** Built once per request by the pipeline, passed on, never extended. */
export interface Context {
  requestId: string;
  /** Authenticated and authorized for the operation; the anonymous account when nobody signed. */
  account: Account;
  /** For what the request needs to be allowed beyond its operation. */
  access: RequestAccess;
  accounts: AccountDirectory;
  newBuckets: NewBuckets;
  /** The payload: `body.body` is only read by operations whose body kind is `stream`. */
  payload: Authenticated;
  /** Steps in the request's bucket happen in the state that it was authorized in (`access/guard.ts`). */
  meta: RequestMeta;
  objects: RequestObjects;
  /** Puts a line into the access log of the action's bucket, if it has one, when the request is done. */
  logAction(action: SideAction): void;
  notifications: NotificationTargets;
  replicas: ReplicaTargets;
  /** Of the request's bucket, as last judged; undefined when the request is about none, or creates it. */
  readonly settings: BucketSettings | undefined;
  /** Asks `check` when the bucket turns out to have changed; what it throws ends the step (`Guard.watch`). */
  watchSettings(check: (settings: BucketSettings) => void): void;
  /** Keys for what is encrypted, and the modes of what is written. */
  readonly encryption: RequestEncryption;
  clock: Clock;
  log: Log;
  /** Aborts when the client is gone. */
  signal: AbortSignal;
  region: string;
}

export interface Operation<Input, Output> {
  name: OperationName;
  /** The policy action that must be allowed: `s3:PutObject`. */
  permission: string;
  /** `none`: a body is ignored if it is empty, refused otherwise. `xml`: read whole under a cap. */
  body: 'none' | 'xml' | 'stream';
  /** Query parameters that it acts on, beside those of signing and `x-id`. */
  query: readonly string[];
  /** Throws S3Error for bad input. */
  parse(request: OperationRequest): Input;
  execute(input: Input, context: Context): Promise<Output>;
  serialize(output: Output): RawReply;
}

/** Any operation, with its types forgotten: what the registry holds. */
export interface AnyOperation {
  name: OperationName;
  permission: string;
  body: 'none' | 'xml' | 'stream';
  query: readonly string[];
  /** parse → execute → serialize. `parse` runs at once, before the first await. */
  run(request: OperationRequest): (context: Context) => Promise<RawReply>;
}

export function defineOperation<Input, Output>(operation: Operation<Input, Output>): AnyOperation {
  return {
    name: operation.name,
    permission: operation.permission,
    body: operation.body,
    query: operation.query,
    run(request) {
      const input = operation.parse(request);
      return async (context) => operation.serialize(await operation.execute(input, context));
    },
  };
}
