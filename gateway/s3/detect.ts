/**
 * Which operation a request is: one pure table. Every sub-resource that S3 knows is listed; one that
 * is known but not there yet is NotImplemented, one that does not take the method or does not belong
 * to a bucket or an object is MethodNotAllowed. Nothing falls through to a plain operation, so that
 * `DELETE /bucket/key?tagging` can never delete the object.
 *
 * Source: the API reference of Amazon S3, "Actions", request syntax of each.
 */
import { S3Error } from './errors.ts';
import type { OperationName, QueryParameters } from './operation.ts';
import type { HeaderMap } from './request.ts';

export type Detection =
  | { kind: 'operation'; name: OperationName }
  /** S3 knows it, Ashlar does not do it yet; `name` is S3's name for it. */
  | { kind: 'unsupported'; name: string }
  | { kind: 'not-allowed'; resource: string; allow: readonly string[] }
  /** OPTIONS: asked by a browser before a cross-origin request, never signed. */
  | { kind: 'preflight' };

export interface Target {
  method: string;
  /** Empty: the service. */
  bucket: string;
  /** Empty: the bucket. */
  key: string;
  query: QueryParameters;
  headers: HeaderMap;
}

/** An operation that Ashlar carries out stands under its name, one it does not under `!name`. */
type Methods = Readonly<Record<string, OperationName | `!${string}`>>;

const SERVICE: Methods = { GET: 'ListBuckets' };

const BUCKET: Methods = {
  GET: 'ListObjects',
  HEAD: 'HeadBucket',
  PUT: 'CreateBucket',
  DELETE: 'DeleteBucket',
};

const OBJECT: Methods = {
  GET: 'GetObject',
  HEAD: 'HeadObject',
  PUT: 'PutObject',
  DELETE: 'DeleteObject',
};

const BUCKET_RESOURCES: Readonly<Record<string, Methods>> = {
  abac: { GET: '!GetBucketAbac', PUT: '!PutBucketAbac' },
  accelerate: {
    GET: '!GetBucketAccelerateConfiguration',
    PUT: '!PutBucketAccelerateConfiguration',
  },
  acl: { GET: 'GetBucketAcl', PUT: 'PutBucketAcl' },
  analytics: {
    GET: '!GetBucketAnalyticsConfiguration',
    PUT: '!PutBucketAnalyticsConfiguration',
    DELETE: '!DeleteBucketAnalyticsConfiguration',
  },
  cors: { GET: 'GetBucketCors', PUT: 'PutBucketCors', DELETE: 'DeleteBucketCors' },
  delete: { POST: 'DeleteObjects' },
  encryption: {
    GET: 'GetBucketEncryption',
    PUT: 'PutBucketEncryption',
    DELETE: 'DeleteBucketEncryption',
  },
  'intelligent-tiering': {
    GET: '!GetBucketIntelligentTieringConfiguration',
    PUT: '!PutBucketIntelligentTieringConfiguration',
    DELETE: '!DeleteBucketIntelligentTieringConfiguration',
  },
  inventory: {
    GET: '!GetBucketInventoryConfiguration',
    PUT: '!PutBucketInventoryConfiguration',
    DELETE: '!DeleteBucketInventoryConfiguration',
  },
  lifecycle: {
    GET: 'GetBucketLifecycleConfiguration',
    PUT: 'PutBucketLifecycleConfiguration',
    DELETE: 'DeleteBucketLifecycle',
  },
  location: { GET: 'GetBucketLocation' },
  logging: { GET: 'GetBucketLogging', PUT: 'PutBucketLogging' },
  metadataConfiguration: {
    GET: '!GetBucketMetadataConfiguration',
    POST: '!CreateBucketMetadataConfiguration',
    DELETE: '!DeleteBucketMetadataConfiguration',
  },
  metadataInventoryTable: { PUT: '!UpdateBucketMetadataInventoryTableConfiguration' },
  metadataJournalTable: { PUT: '!UpdateBucketMetadataJournalTableConfiguration' },
  metadataTable: {
    GET: '!GetBucketMetadataTableConfiguration',
    POST: '!CreateBucketMetadataTableConfiguration',
    DELETE: '!DeleteBucketMetadataTableConfiguration',
  },
  metrics: {
    GET: '!GetBucketMetricsConfiguration',
    PUT: '!PutBucketMetricsConfiguration',
    DELETE: '!DeleteBucketMetricsConfiguration',
  },
  notification: {
    GET: 'GetBucketNotificationConfiguration',
    PUT: 'PutBucketNotificationConfiguration',
  },
  'object-lock': { GET: 'GetObjectLockConfiguration', PUT: 'PutObjectLockConfiguration' },
  ownershipControls: {
    GET: 'GetBucketOwnershipControls',
    PUT: 'PutBucketOwnershipControls',
    DELETE: 'DeleteBucketOwnershipControls',
  },
  policy: { GET: 'GetBucketPolicy', PUT: 'PutBucketPolicy', DELETE: 'DeleteBucketPolicy' },
  policyStatus: { GET: 'GetBucketPolicyStatus' },
  publicAccessBlock: {
    GET: 'GetPublicAccessBlock',
    PUT: 'PutPublicAccessBlock',
    DELETE: 'DeletePublicAccessBlock',
  },
  replication: {
    GET: 'GetBucketReplication',
    PUT: 'PutBucketReplication',
    DELETE: 'DeleteBucketReplication',
  },
  requestPayment: { GET: 'GetBucketRequestPayment', PUT: 'PutBucketRequestPayment' },
  session: { GET: '!CreateSession' },
  tagging: {
    GET: 'GetBucketTagging',
    PUT: 'PutBucketTagging',
    DELETE: 'DeleteBucketTagging',
  },
  uploads: { GET: 'ListMultipartUploads' },
  versioning: { GET: 'GetBucketVersioning', PUT: 'PutBucketVersioning' },
  versions: { GET: 'ListObjectVersions' },
  website: {
    GET: 'GetBucketWebsite',
    PUT: 'PutBucketWebsite',
    DELETE: 'DeleteBucketWebsite',
  },
};

const OBJECT_RESOURCES: Readonly<Record<string, Methods>> = {
  acl: { GET: 'GetObjectAcl', PUT: 'PutObjectAcl' },
  attributes: { GET: 'GetObjectAttributes' },
  encryption: { PUT: '!UpdateObjectEncryption' },
  'legal-hold': { GET: 'GetObjectLegalHold', PUT: 'PutObjectLegalHold' },
  renameObject: { PUT: 'RenameObject' },
  restore: { POST: '!RestoreObject' },
  retention: { GET: 'GetObjectRetention', PUT: 'PutObjectRetention' },
  select: { POST: '!SelectObjectContent' },
  tagging: {
    GET: 'GetObjectTagging',
    PUT: 'PutObjectTagging',
    DELETE: 'DeleteObjectTagging',
  },
  torrent: { GET: '!GetObjectTorrent' },
  uploadId: {
    GET: 'ListParts',
    PUT: 'UploadPart',
    POST: 'CompleteMultipartUpload',
    DELETE: 'AbortMultipartUpload',
  },
  uploads: { POST: 'CreateMultipartUpload' },
};

const BUCKET_TABLE = new Map(Object.entries(BUCKET_RESOURCES));
const OBJECT_TABLE = new Map(Object.entries(OBJECT_RESOURCES));

/** Every sub-resource of the table with its methods, for documentation and tests. */
export const SUB_RESOURCES: Readonly<
  Record<'bucket' | 'object', Readonly<Record<string, Methods>>>
> = { bucket: BUCKET_RESOURCES, object: OBJECT_RESOURCES };

/**
 * Operations that SDKs name in `x-id` and that share their address with one that Ashlar has: only
 * the name tells them apart.
 */
const UNSUPPORTED_IDS: ReadonlySet<string> = new Set(['ListDirectoryBuckets']);

/**
 * Throws InvalidArgument when the query names two sub-resources, an unknown list type, or a part
 * number without an upload.
 */
export function detect(target: Target): Detection {
  if (target.method === 'OPTIONS') return { kind: 'preflight' };
  const id = target.query.get('x-id');
  if (id !== undefined && UNSUPPORTED_IDS.has(id)) return { kind: 'unsupported', name: id };
  if (target.bucket === '') return detectPlain(SERVICE, 'SERVICE', target);
  const resource = subResource(target.query);
  return target.key === '' ? detectInBucket(target, resource) : detectInObject(target, resource);
}

/** The one sub-resource in the query, whether it suits the address or not. */
function subResource(query: QueryParameters): string | undefined {
  let found: string | undefined;
  for (const name of query.names()) {
    if (!BUCKET_TABLE.has(name) && !OBJECT_TABLE.has(name)) continue;
    if (found !== undefined && found !== name) {
      throw new S3Error('InvalidArgument', {
        message: `Conflicting query string parameters: ${found}, ${name}`,
        details: { ArgumentName: 'ResourceType', ArgumentValue: name },
      });
    }
    found = name;
  }
  return found;
}

function detectInBucket(target: Target, resource: string | undefined): Detection {
  if (resource !== undefined) {
    return choose(BUCKET_TABLE.get(resource) ?? {}, resource.toUpperCase(), target.method);
  }
  if (target.method === 'GET' && target.query.has('list-type')) {
    if (target.query.get('list-type') === '2') return { kind: 'operation', name: 'ListObjectsV2' };
    throw new S3Error('InvalidArgument', {
      message: 'Invalid List Type specified in Request',
      details: { ArgumentName: 'list-type', ArgumentValue: target.query.get('list-type') ?? '' },
    });
  }
  if (target.method === 'POST' && isForm(target.headers)) {
    return { kind: 'operation', name: 'PostObject' };
  }
  return detectPlain(BUCKET, 'BUCKET', target);
}

function detectInObject(target: Target, resource: string | undefined): Detection {
  if (resource === undefined) {
    if (target.method === 'PUT' && target.query.has('partNumber')) {
      throw new S3Error('InvalidArgument', {
        message: 'This operation does not accept partNumber without uploadId',
        details: {
          ArgumentName: 'partNumber',
          ArgumentValue: target.query.get('partNumber') ?? '',
        },
      });
    }
    const copies = target.method === 'PUT' && target.headers['x-amz-copy-source'] !== undefined;
    return copies
      ? { kind: 'operation', name: 'CopyObject' }
      : detectPlain(OBJECT, 'OBJECT', target);
  }
  const found = choose(OBJECT_TABLE.get(resource) ?? {}, resource.toUpperCase(), target.method);
  if (found.kind !== 'operation' || found.name !== 'UploadPart') return found;
  if (!target.query.has('partNumber')) {
    throw new S3Error('InvalidArgument', {
      message: 'This operation does not accept uploadId without partNumber',
      details: { ArgumentName: 'uploadId', ArgumentValue: target.query.get('uploadId') ?? '' },
    });
  }
  return target.headers['x-amz-copy-source'] === undefined
    ? found
    : { kind: 'operation', name: 'UploadPartCopy' };
}

function detectPlain(methods: Methods, resource: string, target: Target): Detection {
  return choose(methods, resource, target.method);
}

function choose(methods: Methods, resource: string, method: string): Detection {
  const name = Object.hasOwn(methods, method) ? methods[method] : undefined;
  if (name === undefined) return { kind: 'not-allowed', resource, allow: Object.keys(methods) };
  if (isUnsupported(name)) return { kind: 'unsupported', name: name.slice(1) };
  return { kind: 'operation', name };
}

function isUnsupported(name: OperationName | `!${string}`): name is `!${string}` {
  return name.startsWith('!');
}

function isForm(headers: HeaderMap): boolean {
  return headers['content-type']?.toLowerCase().startsWith('multipart/form-data') === true;
}
