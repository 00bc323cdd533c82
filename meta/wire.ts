/**
 * How the calls of the metadata service travel: a method number and the command as MessagePack, with
 * a shape for every command. Answers are what the methods return. No payloads.
 */
import { CHECKSUM_ALGORITHMS } from '../base/object-checksum.ts';
import { methodTable } from '../base/rpc/method-table.ts';
import type { RpcLimits } from '../base/rpc/rpc.ts';
import {
  BUCKET_CONFIG_BYTES_MAX,
  DELETE_KEYS_MAX,
  EVENT_PAGE_MAX,
  EVENT_QUEUES,
  GRANTS_MAX,
  type Meta,
  OBJECT_TAGS_MAX,
  PART_NUMBER_MAX,
  WRAPPED_KEY_BYTES_MAX,
} from './protocol.ts';
import {
  anyOf,
  blobId,
  bytesUpTo,
  count,
  flag,
  listOf,
  name,
  oneOf,
  optional,
  record,
  type Shape,
  size,
  text,
  textUpTo,
  texts,
  time,
  variant,
} from './shapes.ts';

/** Limits for the channel and the server of the metadata service: a page of 1,000 long uploads fits. */
export const META_RPC_LIMITS: RpcLimits = {
  metaBytesMax: 24 * 1024 * 1024,
  payloadBytesMax: 0,
};

/** Positions are numbers on the wire: append only. */
export const METHODS = methodTable([
  'createBucket',
  'getBucket',
  'deleteBucket',
  'listBuckets',
  'bucketUsage',
  'putObject',
  'getObject',
  'readParts',
  'copyObject',
  'deleteObject',
  'deleteObjects',
  'listObjects',
  'createUpload',
  'getUpload',
  'putPart',
  'listParts',
  'listUploads',
  'completeUpload',
  'abortUpload',
  'registerNode',
  'heartbeat',
  'openWriter',
  'renewWriter',
  'closeWriter',
  'reportReplicas',
  'status',
  'setVersioning',
  'listVersions',
  'setObjectTags',
  'setBucketConfig',
  'getBucketConfig',
  'getBucketSettings',
  'leaseEvents',
  'readEvents',
  'settleEvents',
  'eventStatus',
  'setReplication',
  'setObjectExtras',
  'findAccount',
  'setObjectLock',
  'renameObject',
  'appendObject',
]);

export type Method = keyof Meta;

/** Methods that change nothing: asking again is harmless. */
export const READS: ReadonlySet<Method> = new Set<Method>([
  'getBucket',
  'listBuckets',
  'bucketUsage',
  'getObject',
  'readParts',
  'listObjects',
  'getUpload',
  'listParts',
  'listUploads',
  'status',
  'listVersions',
  'getBucketConfig',
  'getBucketSettings',
  'leaseEvents',
  'readEvents',
  'settleEvents',
  'eventStatus',
  'setReplication',
  'findAccount',
]);

/* ------------------------------------------------------------------ shapes */

/** Replica reports in one command. */
const REPORTS_MAX = 10_000;
/** Rules of one bucket's replication (AWS: 1,000). */
const REPLICATION_RULES_MAX = 1000;

const algorithm = oneOf(...CHECKSUM_ALGORITHMS);
const checksumType = oneOf('COMPOSITE', 'FULL_OBJECT');
const objectChecksum = record({ algorithm, type: checksumType, value: text });
const checksumPlan = record({ algorithm, type: checksumType });
const blobRef = { blob: blobId, size: count, blockSize: count };
const missing = listOf(record({ blob: blobId, node: name }), REPORTS_MAX);
const condition = optional(
  record({
    ifNoneMatch: optional(text),
    ifMatch: optional(text),
    ifMatchSize: optional(count),
    ifMatchModifiedMs: optional(time),
  }),
);
/** The state of the bucket that the command goes by. */
const expect = optional(record({ id: count, revision: count }));
/** Who did it: in commands that change objects. */
const origin = optional(
  record({
    account: text,
    requestId: text,
    sourceIp: text,
    cause: optional(oneOf('post', 'lifecycle', 'replica')),
    replicate: optional(
      listOf(
        record({
          prefix: text,
          tags: optional(listOf(record({ key: text, value: text }), OBJECT_TAGS_MAX)),
          deleteMarkers: optional(flag),
          kms: optional(flag),
        }),
        REPLICATION_RULES_MAX,
      ),
    ),
  }),
);
const eventQueue = oneOf(...EVENT_QUEUES);
/** The state of the version that the command goes by. */
const expectObject = optional(record({ version: text, revision: count }));
const grant = record({
  grantee: anyOf(
    record({ id: text }),
    record({ group: oneOf('AllUsers', 'AuthenticatedUsers', 'LogDelivery') }),
  ),
  permission: oneOf('FULL_CONTROL', 'READ', 'WRITE', 'READ_ACP', 'WRITE_ACP'),
});
const lockMode = oneOf('GOVERNANCE', 'COMPLIANCE');
export const objectEncryption = record({
  algorithm: oneOf('AES256', 'aws:kms', 'aws:kms:dsse', 'customer'),
  wrappedKey: bytesUpTo(WRAPPED_KEY_BYTES_MAX),
  keyId: optional(text),
  keyMd5: optional(text),
  context: optional(text),
  bucketKey: optional(flag),
});
const extras = {
  acl: optional(listOf(grant, GRANTS_MAX)),
  lock: optional(
    record({
      mode: optional(lockMode),
      untilMs: optional(time),
      legalHold: optional(flag),
    }),
  ),
  encryption: optional(objectEncryption),
  replication: optional(oneOf('PENDING', 'COMPLETED', 'FAILED', 'REPLICA')),
};
const tags = listOf(record({ key: text, value: text }), OBJECT_TAGS_MAX);
const object = record({
  size: count,
  etag: text,
  owner: text,
  data: variant({ none: record({}), blob: record(blobRef) }),
  checksum: optional(objectChecksum),
  system: texts,
  user: texts,
  tags: optional(tags),
  ...extras,
});
const place = { bucket: text, key: text, expect };
const uploadName = { ...place, uploadId: text };
const renameCondition = optional(
  record({
    ifMatch: optional(text),
    ifNoneMatch: optional(text),
    ifModifiedSinceMs: optional(time),
    ifUnmodifiedSinceMs: optional(time),
  }),
);
const metadata = { system: texts, user: texts };
const versionName = { ...place, versionId: optional(text) };

export const COMMANDS: Readonly<Record<Method, Shape>> = {
  createBucket: record({
    name: text,
    owner: text,
    region: text,
    versioning: optional(oneOf('Enabled')),
    configs: optional(texts),
  }),
  getBucket: record({ bucket: text, expect }),
  deleteBucket: record({ bucket: text, expect }),
  listBuckets: record({
    prefix: text,
    after: optional(text),
    limit: count,
    owner: optional(text),
  }),
  bucketUsage: record({ bucket: text, expect }),
  putObject: record({
    ...place,
    origin,
    writer: count,
    object,
    condition,
    missing,
    copied: optional(flag),
  }),
  getObject: record({ ...versionName, withParts: optional(flag) }),
  readParts: record({
    list: text,
    from: anyOf(record({ part: count }), record({ offset: count }), record({ after: count })),
  }),
  copyObject: record({
    ...place,
    origin,
    writer: count,
    source: record({ bucket: text, key: text, version: text }),
    owner: text,
    metadata: optional(record(metadata)),
    tags: optional(tags),
    checksum: optional(objectChecksum),
    extras: optional(record(extras)),
    condition,
  }),
  deleteObject: record({ ...versionName, origin, condition, bypassGovernance: optional(flag) }),
  deleteObjects: record({
    bucket: text,
    expect,
    origin,
    keys: listOf(
      record({
        key: text,
        versionId: optional(text),
        condition,
        bypassGovernance: optional(flag),
      }),
      DELETE_KEYS_MAX,
    ),
  }),
  listObjects: record({
    bucket: text,
    expect,
    prefix: text,
    delimiter: optional(text),
    after: optional(text),
    limit: count,
  }),
  createUpload: record({
    ...place,
    ...metadata,
    owner: text,
    initiator: optional(text),
    tags: optional(tags),
    checksum: optional(checksumPlan),
    ...extras,
  }),
  getUpload: record(uploadName),
  putPart: record({
    ...uploadName,
    writer: count,
    number: count,
    size: count,
    etag: text,
    checksum: optional(text),
    data: variant({ none: record({}), fresh: record(blobRef), reference: record(blobRef) }),
    missing,
  }),
  listParts: record({ ...uploadName, after: count, limit: count }),
  listUploads: record({
    bucket: text,
    expect,
    prefix: text,
    delimiter: optional(text),
    keyMarker: optional(text),
    uploadIdMarker: optional(text),
    limit: count,
  }),
  completeUpload: record({
    ...uploadName,
    origin,
    parts: listOf(record({ number: time, etag: text, checksum: optional(text) }), PART_NUMBER_MAX),
    condition,
    expected: optional(record({ algorithm, value: text })),
    expectedType: optional(checksumType),
    expectedSize: optional(count),
  }),
  abortUpload: record(uploadName),
  registerNode: record({
    id: name,
    address: text,
    zone: name,
    capacityBytes: size,
    freeBytes: size,
    clusterId: optional(text),
    instance: text,
    generation: optional(count),
    disk: optional(text),
  }),
  heartbeat: record({
    id: name,
    instance: text,
    freeBytes: size,
    capacityBytes: size,
    full: flag,
    store: optional(record({ usedBytes: size, limitBytes: size })),
  }),
  openWriter: record({ name: text }),
  renewWriter: record({
    writer: count,
    marks: record({ lowestSequence: count, oldestRead: count, oldestLayout: count }),
    revision: time,
  }),
  closeWriter: record({ writer: count }),
  reportReplicas: record({
    reports: listOf(
      record({ blob: blobId, node: name, reason: oneOf('missing', 'corrupt') }),
      REPORTS_MAX,
    ),
  }),
  status: () => undefined,
  setVersioning: record({ bucket: text, expect, versioning: oneOf('Enabled', 'Suspended') }),
  listVersions: record({
    bucket: text,
    expect,
    prefix: text,
    delimiter: optional(text),
    keyMarker: optional(text),
    versionIdMarker: optional(text),
    limit: count,
  }),
  setObjectTags: record({ ...versionName, origin, tags, expectObject }),
  setBucketConfig: record({
    bucket: text,
    expect,
    name,
    value: optional(textUpTo(BUCKET_CONFIG_BYTES_MAX)),
  }),
  getBucketConfig: record({ bucket: text, expect, name }),
  getBucketSettings: record({ bucket: text }),
  leaseEvents: record({ queue: eventQueue, holder: name, leaseMs: count }),
  readEvents: record({ queue: eventQueue, bucketId: count, after: optional(text), limit: count }),
  settleEvents: record({
    queue: eventQueue,
    bucketId: count,
    done: listOf(text, EVENT_PAGE_MAX),
    later: listOf(
      record({
        id: text,
        attempts: count,
        notBeforeMs: count,
        left: optional(listOf(text, EVENT_PAGE_MAX)),
        problem: optional(text),
      }),
      EVENT_PAGE_MAX,
    ),
  }),
  eventStatus: record({ limit: count }),
  setReplication: record({
    ...versionName,
    version: text,
    status: oneOf('PENDING', 'COMPLETED', 'FAILED', 'REPLICA'),
  }),
  setObjectExtras: record({
    ...versionName,
    acl: extras.acl,
    origin,
    expectObject,
  }),
  findAccount: record({ by: oneOf('accessKey', 'id', 'email', 'name', 'number'), value: text }),
  setObjectLock: record({
    ...versionName,
    retention: optional(record({ mode: optional(lockMode), untilMs: optional(time) })),
    legalHold: optional(flag),
    bypassGovernance: optional(flag),
    origin,
    expectObject,
  }),
  renameObject: record({
    ...place,
    source: text,
    sourceCondition: renameCondition,
    condition: renameCondition,
    expectObject,
    token: optional(text),
  }),
  appendObject: record({ ...place, writer: count, object, condition, missing, offset: count }),
};
