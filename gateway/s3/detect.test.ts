import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Detection, detect, SUB_RESOURCES } from './detect.ts';
import { S3Error } from './errors.ts';
import { OPERATION_NAMES } from './operation.ts';
import { parseQuery } from './query.ts';

interface Sent {
  bucket?: string;
  key?: string;
  query?: string;
  headers?: Record<string, string>;
}

function at(method: string, { bucket = '', key = '', query = '', headers = {} }: Sent = {}) {
  return detect({ method, bucket, key, query: parseQuery(query), headers });
}

/** Operation name, `!name` of an unsupported one, `405` or the error's code. */
function told(method: string, sent: Sent = {}): string {
  let found: Detection;
  try {
    found = at(method, sent);
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
  switch (found.kind) {
    case 'operation':
      return found.name;
    case 'unsupported':
      return `!${found.name}`;
    default:
      return found.kind === 'preflight' ? 'preflight' : '405';
  }
}

const BUCKET = { bucket: 'photos' };
const OBJECT = { bucket: 'photos', key: 'a' };
const COPY = { 'x-amz-copy-source': 'photos/b' };
const FORM = { 'content-type': 'multipart/form-data; boundary=x' };
const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'TRACE'];

test('every operation is reached by its request', () => {
  const requests: Record<(typeof OPERATION_NAMES)[number], string> = {
    ListBuckets: told('GET'),
    CreateBucket: told('PUT', BUCKET),
    HeadBucket: told('HEAD', BUCKET),
    DeleteBucket: told('DELETE', BUCKET),
    GetBucketLocation: told('GET', { ...BUCKET, query: 'location' }),
    GetBucketVersioning: told('GET', { ...BUCKET, query: 'versioning=' }),
    PutBucketVersioning: told('PUT', { ...BUCKET, query: 'versioning' }),
    GetBucketTagging: told('GET', { ...BUCKET, query: 'tagging' }),
    PutBucketTagging: told('PUT', { ...BUCKET, query: 'tagging' }),
    DeleteBucketTagging: told('DELETE', { ...BUCKET, query: 'tagging' }),
    GetBucketPolicy: told('GET', { ...BUCKET, query: 'policy' }),
    PutBucketPolicy: told('PUT', { ...BUCKET, query: 'policy' }),
    DeleteBucketPolicy: told('DELETE', { ...BUCKET, query: 'policy' }),
    GetBucketPolicyStatus: told('GET', { ...BUCKET, query: 'policyStatus' }),
    GetBucketAcl: told('GET', { ...BUCKET, query: 'acl' }),
    PutBucketAcl: told('PUT', { ...BUCKET, query: 'acl' }),
    GetObjectAcl: told('GET', { ...OBJECT, query: 'acl' }),
    PutObjectAcl: told('PUT', { ...OBJECT, query: 'acl&versionId=null' }),
    GetBucketOwnershipControls: told('GET', { ...BUCKET, query: 'ownershipControls' }),
    PutBucketOwnershipControls: told('PUT', { ...BUCKET, query: 'ownershipControls' }),
    DeleteBucketOwnershipControls: told('DELETE', { ...BUCKET, query: 'ownershipControls' }),
    GetPublicAccessBlock: told('GET', { ...BUCKET, query: 'publicAccessBlock' }),
    PutPublicAccessBlock: told('PUT', { ...BUCKET, query: 'publicAccessBlock' }),
    DeletePublicAccessBlock: told('DELETE', { ...BUCKET, query: 'publicAccessBlock' }),
    GetBucketCors: told('GET', { ...BUCKET, query: 'cors' }),
    PutBucketCors: told('PUT', { ...BUCKET, query: 'cors' }),
    DeleteBucketCors: told('DELETE', { ...BUCKET, query: 'cors' }),
    GetBucketEncryption: told('GET', { ...BUCKET, query: 'encryption' }),
    PutBucketEncryption: told('PUT', { ...BUCKET, query: 'encryption' }),
    DeleteBucketEncryption: told('DELETE', { ...BUCKET, query: 'encryption' }),
    GetBucketLifecycleConfiguration: told('GET', { ...BUCKET, query: 'lifecycle' }),
    PutBucketLifecycleConfiguration: told('PUT', { ...BUCKET, query: 'lifecycle' }),
    DeleteBucketLifecycle: told('DELETE', { ...BUCKET, query: 'lifecycle' }),
    GetObjectLockConfiguration: told('GET', { ...BUCKET, query: 'object-lock' }),
    PutObjectLockConfiguration: told('PUT', { ...BUCKET, query: 'object-lock' }),
    GetObjectRetention: told('GET', { ...OBJECT, query: 'retention' }),
    PutObjectRetention: told('PUT', { ...OBJECT, query: 'retention&versionId=null' }),
    GetObjectLegalHold: told('GET', { ...OBJECT, query: 'legal-hold' }),
    PutObjectLegalHold: told('PUT', { ...OBJECT, query: 'legal-hold' }),
    GetBucketWebsite: told('GET', { ...BUCKET, query: 'website' }),
    PutBucketWebsite: told('PUT', { ...BUCKET, query: 'website' }),
    DeleteBucketWebsite: told('DELETE', { ...BUCKET, query: 'website' }),
    GetBucketNotificationConfiguration: told('GET', { ...BUCKET, query: 'notification' }),
    GetBucketLogging: told('GET', { ...BUCKET, query: 'logging' }),
    PutBucketLogging: told('PUT', { ...BUCKET, query: 'logging' }),
    GetBucketReplication: told('GET', { ...BUCKET, query: 'replication' }),
    PutBucketReplication: told('PUT', { ...BUCKET, query: 'replication' }),
    DeleteBucketReplication: told('DELETE', { ...BUCKET, query: 'replication' }),
    PutBucketNotificationConfiguration: told('PUT', { ...BUCKET, query: 'notification' }),
    ListObjectVersions: told('GET', { ...BUCKET, query: 'versions&prefix=a' }),
    ListObjects: told('GET', { ...BUCKET, query: 'prefix=a&delimiter=/' }),
    ListObjectsV2: told('GET', { ...BUCKET, query: 'list-type=2&prefix=a' }),
    ListMultipartUploads: told('GET', { ...BUCKET, query: 'uploads' }),
    DeleteObjects: told('POST', { ...BUCKET, query: 'delete' }),
    PutObject: told('PUT', { ...OBJECT, query: 'x-id=PutObject' }),
    PostObject: told('POST', { ...BUCKET, headers: FORM }),
    CopyObject: told('PUT', { ...OBJECT, headers: COPY }),
    GetObject: told('GET', OBJECT),
    HeadObject: told('HEAD', { ...OBJECT, query: 'partNumber=1&versionId=null' }),
    GetObjectAttributes: told('GET', { ...OBJECT, query: 'attributes' }),
    GetObjectTagging: told('GET', { ...OBJECT, query: 'tagging' }),
    PutObjectTagging: told('PUT', { ...OBJECT, query: 'tagging&versionId=null' }),
    DeleteObjectTagging: told('DELETE', { ...OBJECT, query: 'tagging' }),
    DeleteObject: told('DELETE', OBJECT),
    CreateMultipartUpload: told('POST', { ...OBJECT, query: 'uploads' }),
    UploadPart: told('PUT', { ...OBJECT, query: 'partNumber=1&uploadId=u' }),
    UploadPartCopy: told('PUT', { ...OBJECT, query: 'partNumber=1&uploadId=u', headers: COPY }),
    ListParts: told('GET', { ...OBJECT, query: 'uploadId=u' }),
    CompleteMultipartUpload: told('POST', { ...OBJECT, query: 'uploadId=u' }),
    AbortMultipartUpload: told('DELETE', { ...OBJECT, query: 'uploadId=u' }),
    RenameObject: told('PUT', { ...OBJECT, query: 'renameObject&x-id=RenameObject' }),
    GetBucketRequestPayment: told('GET', { ...BUCKET, query: 'requestPayment' }),
    PutBucketRequestPayment: told('PUT', { ...BUCKET, query: 'requestPayment' }),
  };
  for (const name of OPERATION_NAMES) assert.equal(requests[name], name);
});

test('no sub-resource falls through to a plain operation, whatever the method and the place', () => {
  const plain = new Set(['ListObjects', 'HeadBucket', 'CreateBucket', 'DeleteBucket']);
  for (const name of ['GetObject', 'HeadObject', 'PutObject', 'CopyObject', 'DeleteObject']) {
    plain.add(name);
  }
  const names = new Set([
    ...Object.keys(SUB_RESOURCES.bucket),
    ...Object.keys(SUB_RESOURCES.object),
  ]);
  for (const name of names) {
    for (const place of [BUCKET, OBJECT]) {
      for (const method of METHODS) {
        for (const headers of [{}, COPY]) {
          const answer = told(method, { ...place, query: name, headers });
          assert.ok(!plain.has(answer), `${method} ?${name} is ${answer}`);
          const listed =
            SUB_RESOURCES[place === BUCKET ? 'bucket' : 'object'][name]?.[method] ?? '405';
          if (name !== 'uploadId' || method !== 'PUT') assert.equal(answer, listed);
        }
      }
    }
  }
});

test('what S3 has and Ashlar has not is named', () => {
  assert.equal(told('POST', { ...OBJECT, query: 'restore' }), '!RestoreObject');
  assert.equal(told('PUT', { ...BUCKET, query: 'inventory' }), '!PutBucketInventoryConfiguration');
  assert.equal(told('POST', { ...OBJECT, query: 'select&select-type=2' }), '!SelectObjectContent');
  assert.equal(told('GET', { query: 'x-id=ListDirectoryBuckets' }), '!ListDirectoryBuckets');
  assert.equal(told('POST', { ...OBJECT, headers: FORM }), '405');
});

test('parameters that mean nothing to S3 are ignored, those of listings included', () => {
  assert.equal(
    told('GET', { ...OBJECT, query: 'cachebust=1&ACL&prefix=x&list-type=2' }),
    'GetObject',
  );
  assert.equal(told('GET', { query: 'max-buckets=10' }), 'ListBuckets');
});

test('a method that a resource does not take is MethodNotAllowed with those that it does', () => {
  assert.deepEqual(at('POST', OBJECT), {
    kind: 'not-allowed',
    resource: 'OBJECT',
    allow: ['GET', 'HEAD', 'PUT', 'DELETE'],
  });
  assert.equal(told('PATCH', OBJECT), '405');
  assert.equal(told('PUT'), '405');
  assert.equal(told('HEAD'), '405');
  assert.equal(told('constructor', BUCKET), '405');
});

test('contradictions are refused', () => {
  assert.equal(told('GET', { ...OBJECT, query: 'acl&tagging' }), 'InvalidArgument');
  assert.equal(told('GET', { ...OBJECT, query: 'acl&acl' }), 'GetObjectAcl');
  assert.equal(told('PUT', { ...OBJECT, query: 'partNumber=1' }), 'InvalidArgument');
  assert.equal(told('PUT', { ...OBJECT, query: 'uploadId=u' }), 'InvalidArgument');
  assert.equal(told('GET', { ...BUCKET, query: 'list-type=3' }), 'InvalidArgument');
});

test('OPTIONS is a preflight wherever it goes', () => {
  assert.equal(told('OPTIONS', { ...OBJECT, query: 'acl' }), 'preflight');
});
