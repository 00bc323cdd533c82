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
  type Meta,
  OBJECT_TAGS_MAX,
  PART_NUMBER_MAX,
} from './protocol.ts';
import {
  anyOf,
  blobId,
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
]);

/* ------------------------------------------------------------------ shapes */

/** Replica reports in one command. */
const REPORTS_MAX = 10_000;

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
});
const place = { bucket: text, key: text };
const uploadName = { ...place, uploadId: text };
const metadata = { system: texts, user: texts };
const versionName = { ...place, versionId: optional(text) };

export const COMMANDS: Readonly<Record<Method, Shape>> = {
  createBucket: record({ name: text, owner: text, region: text }),
  getBucket: record({ bucket: text }),
  deleteBucket: record({ bucket: text }),
  listBuckets: record({ prefix: text, after: optional(text), limit: count }),
  bucketUsage: record({ bucket: text }),
  putObject: record({ ...place, writer: count, object, condition, missing }),
  getObject: record({ ...versionName, withParts: optional(flag) }),
  readParts: record({
    list: text,
    from: anyOf(record({ part: count }), record({ offset: count }), record({ after: count })),
  }),
  copyObject: record({
    ...place,
    writer: count,
    source: record({ ...place, version: text }),
    owner: text,
    metadata: optional(record(metadata)),
    tags: optional(tags),
    checksum: optional(objectChecksum),
    condition,
  }),
  deleteObject: record({ ...versionName, condition }),
  deleteObjects: record({
    bucket: text,
    keys: listOf(record({ key: text, versionId: optional(text), condition }), DELETE_KEYS_MAX),
  }),
  listObjects: record({
    bucket: text,
    prefix: text,
    delimiter: optional(text),
    after: optional(text),
    limit: count,
  }),
  createUpload: record({
    ...place,
    ...metadata,
    owner: text,
    tags: optional(tags),
    checksum: optional(checksumPlan),
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
    prefix: text,
    delimiter: optional(text),
    keyMarker: optional(text),
    uploadIdMarker: optional(text),
    limit: count,
  }),
  completeUpload: record({
    ...uploadName,
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
  }),
  heartbeat: record({
    id: name,
    instance: text,
    freeBytes: size,
    capacityBytes: size,
    full: flag,
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
  setVersioning: record({ bucket: text, versioning: oneOf('Enabled', 'Suspended') }),
  listVersions: record({
    bucket: text,
    prefix: text,
    delimiter: optional(text),
    keyMarker: optional(text),
    versionIdMarker: optional(text),
    limit: count,
  }),
  setObjectTags: record({ ...versionName, tags }),
  setBucketConfig: record({
    bucket: text,
    name,
    value: optional(textUpTo(BUCKET_CONFIG_BYTES_MAX)),
  }),
  getBucketConfig: record({ bucket: text, name }),
};
