/** The records of the catalogue's rows and how they are stored. */
import {
  CHECKSUM_ALGORITHMS,
  type ChecksumAlgorithm,
  type ChecksumType,
  type ObjectChecksum,
} from '../../base/object-checksum.ts';
import { Failure } from '../../base/failure.ts';
import type {
  BlobRef,
  Bucket,
  CompletedUpload,
  DataRef,
  Grant,
  GranteeGroup,
  ObjectEncryption,
  ObjectExtras,
  ObjectLock,
  ObjectRecord,
  Permission,
  ReplicationStatus,
  SystemMetadata,
  Tag,
  Upload,
  UserMetadata,
  Versioning,
} from '../protocol.ts';
import {
  blobId,
  bytes,
  type Codec,
  defineCodec,
  hex,
  list,
  number,
  optionalText,
  packHex,
  text,
  unpackHex,
} from './codec.ts';

/* ------------------------------------------------------------------ shared fields */

const SYSTEM_FIELDS = [
  'contentType',
  'contentEncoding',
  'contentLanguage',
  'contentDisposition',
  'cacheControl',
  'expires',
  'websiteRedirectLocation',
  'storageClass',
] as const satisfies readonly (keyof SystemMetadata)[];

function packSystem(system: SystemMetadata): unknown[] | null {
  let used = 0;
  for (const [index, name] of SYSTEM_FIELDS.entries()) {
    if (system[name] !== undefined) used = index + 1;
  }
  return used === 0 ? null : SYSTEM_FIELDS.slice(0, used).map((name) => system[name] ?? null);
}

function unpackSystem(field: unknown): SystemMetadata {
  const system: SystemMetadata = {};
  if (field === null || field === undefined) return system;
  for (const [index, value] of list(field).entries()) {
    const name = SYSTEM_FIELDS[index];
    if (name !== undefined && value !== null) system[name] = text(value);
  }
  return system;
}

/** Names and values in turn. */
function packUser(user: UserMetadata): string[] | null {
  const pairs = Object.entries(user).flat();
  return pairs.length === 0 ? null : pairs;
}

function unpackUser(field: unknown): UserMetadata {
  if (field === null || field === undefined) return {};
  const pairs = list(field);
  const entries: [string, string][] = [];
  for (let index = 0; index + 1 < pairs.length; index += 2) {
    entries.push([text(pairs[index]), text(pairs[index + 1])]);
  }
  // Not by assignment: a client may name its metadata `__proto__`.
  return Object.fromEntries(entries);
}

function packAlgorithm(algorithm: ChecksumAlgorithm): number {
  return CHECKSUM_ALGORITHMS.indexOf(algorithm);
}

function unpackAlgorithm(field: unknown): ChecksumAlgorithm {
  const algorithm = CHECKSUM_ALGORITHMS[number(field)];
  if (algorithm === undefined) throw new Failure('corrupt', 'an unknown checksum algorithm');
  return algorithm;
}

function unpackType(field: unknown): ChecksumType {
  return field === 1 ? 'FULL_OBJECT' : 'COMPOSITE';
}

function packChecksum(checksum: ObjectChecksum | undefined): unknown[] | null {
  if (checksum === undefined) return null;
  const type = checksum.type === 'FULL_OBJECT' ? 1 : 0;
  return [packAlgorithm(checksum.algorithm), type, checksum.value];
}

function unpackChecksum(field: unknown): ObjectChecksum | undefined {
  if (field === null || field === undefined) return undefined;
  const [algorithm, type, value] = list(field);
  return {
    algorithm: unpackAlgorithm(algorithm),
    type: unpackType(type),
    value: text(value),
  };
}

/** Keys and values in turn. */
function packTags(tags: readonly Tag[] | undefined): string[] | null {
  if (tags === undefined || tags.length === 0) return null;
  return tags.flatMap(({ key, value }) => [key, value]);
}

function unpackTags(field: unknown): Tag[] | undefined {
  if (field === null || field === undefined) return undefined;
  const texts = list(field);
  const tags: Tag[] = [];
  for (let index = 0; index + 1 < texts.length; index += 2) {
    tags.push({ key: text(texts[index]), value: text(texts[index + 1]) });
  }
  return tags;
}

/* ------------------------------------------------------------------ extras of a version */

const GROUPS: readonly GranteeGroup[] = ['AllUsers', 'AuthenticatedUsers', 'LogDelivery'];
const PERMISSIONS: readonly Permission[] = [
  'FULL_CONTROL',
  'READ',
  'WRITE',
  'READ_ACP',
  'WRITE_ACP',
];
const LOCK_MODES = ['GOVERNANCE', 'COMPLIANCE'] as const;
const ENCRYPTIONS = ['AES256', 'aws:kms', 'aws:kms:dsse', 'customer'] as const;
const REPLICATION: readonly ReplicationStatus[] = ['PENDING', 'COMPLETED', 'FAILED', 'REPLICA'];

/** One of a list that only grows, by its place in it. */
function member<T>(list: readonly T[], field: unknown): T {
  const found = list[number(field)];
  if (found === undefined) throw new Failure('corrupt', 'a stored field has an unknown value');
  return found;
}

/** Grantees and permissions in turn; a group is a number, an account its id. */
function packAcl(acl: readonly Grant[] | undefined): unknown[] | null {
  if (acl === undefined) return null;
  return acl.flatMap(({ grantee, permission }) => [
    'id' in grantee ? packHex(grantee.id) : GROUPS.indexOf(grantee.group),
    PERMISSIONS.indexOf(permission),
  ]);
}

function unpackAcl(field: unknown): Grant[] {
  const fields = list(field);
  const acl: Grant[] = [];
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const who = fields[index];
    const grantee =
      typeof who === 'number' ? { group: member(GROUPS, who) } : { id: unpackHex(who) };
    acl.push({ grantee, permission: member(PERMISSIONS, fields[index + 1]) });
  }
  return acl;
}

function packLock(lock: ObjectLock | undefined): unknown[] | null {
  if (lock === undefined) return null;
  const { mode, untilMs, legalHold } = lock;
  if (mode === undefined && legalHold === undefined) return null;
  const hold = legalHold === undefined ? null : Number(legalHold);
  return [mode === undefined ? null : LOCK_MODES.indexOf(mode), untilMs ?? null, hold];
}

function unpackLock(field: unknown): ObjectLock {
  const [mode, untilMs, legalHold] = list(field);
  const lock: ObjectLock = {};
  if (mode !== null) lock.mode = member(LOCK_MODES, mode);
  if (untilMs !== null) lock.untilMs = number(untilMs);
  if (legalHold !== null) lock.legalHold = legalHold === 1;
  return lock;
}

function packEncryption(encryption: ObjectEncryption | undefined): unknown[] | null {
  if (encryption === undefined) return null;
  const { algorithm, wrappedKey, keyId, keyMd5, context, bucketKey } = encryption;
  return [
    ENCRYPTIONS.indexOf(algorithm),
    wrappedKey,
    keyId ?? null,
    keyMd5 ?? null,
    context ?? null,
    bucketKey ? 1 : 0,
  ];
}

function unpackEncryption(field: unknown): ObjectEncryption {
  const [algorithm, wrappedKey, keyId, keyMd5, context, bucketKey] = list(field);
  const encryption: ObjectEncryption = {
    algorithm: member(ENCRYPTIONS, algorithm),
    wrappedKey: bytes(wrappedKey),
  };
  if (keyId !== null) encryption.keyId = text(keyId);
  if (keyMd5 !== null) encryption.keyMd5 = text(keyMd5);
  if (context !== null) encryption.context = text(context);
  if (bucketKey === 1) encryption.bucketKey = true;
  return encryption;
}

/** Undefined when there is nothing to keep, as for most objects. */
function packExtras(extras: ObjectExtras, revision?: number): unknown[] | undefined {
  const acl = packAcl(extras.acl);
  const lock = packLock(extras.lock);
  const encryption = packEncryption(extras.encryption);
  const replication =
    extras.replication === undefined ? null : REPLICATION.indexOf(extras.replication);
  const fields = [acl, lock, encryption, replication, revision ?? null];
  if (fields.every((field) => field === null)) return undefined;
  return revision === undefined ? fields.slice(0, -1) : fields;
}

function unpackExtras(
  target: ObjectExtras & { revision?: number | undefined },
  field: unknown,
): void {
  if (field === null || field === undefined) return;
  const [acl, lock, encryption, replication, revision] = list(field);
  if (acl !== null) target.acl = unpackAcl(acl);
  if (lock !== null) target.lock = unpackLock(lock);
  if (encryption !== null) target.encryption = unpackEncryption(encryption);
  if (replication !== null) target.replication = member(REPLICATION, replication);
  if (typeof revision === 'number') target.revision = revision;
}

/** Only what is there of the extras of a command or a row. */
export function extrasOf({ acl, lock, encryption, replication }: ObjectExtras): ObjectExtras {
  const extras: ObjectExtras = {};
  if (acl !== undefined) extras.acl = acl;
  if (lock !== undefined) extras.lock = lock;
  if (encryption !== undefined) extras.encryption = encryption;
  if (replication !== undefined) extras.replication = replication;
  return extras;
}

/* ------------------------------------------------------------------ buckets */

const VERSIONING: readonly Versioning[] = ['Enabled', 'Suspended'];

export interface BucketRow extends Bucket {
  /** The attempt to delete the bucket that is under way: no object may be added meanwhile. */
  deleting?: string | undefined;
}

export const bucketCodec: Codec<BucketRow> = defineCodec({
  name: 'bucket',
  format: 1,
  count: 9,
  fields(row) {
    const { id, name, region, createdMs, deleting, versioning, revision, configs } = row;
    const mode = versioning === undefined ? null : VERSIONING.indexOf(versioning);
    const owner = packHex(row.owner);
    return [id, name, owner, region, createdMs, deleting ?? null, mode, revision, configs];
  },
  record(fields) {
    const row: BucketRow = {
      id: number(fields[0]),
      name: text(fields[1]),
      owner: unpackHex(fields[2]),
      region: text(fields[3]),
      createdMs: number(fields[4]),
      revision: number(fields[7] ?? 0),
      configs: list(fields[8] ?? []).map(text),
    };
    const deleting = optionalText(fields[5]);
    if (deleting !== undefined) row.deleting = deleting;
    if (typeof fields[6] === 'number') row.versioning = VERSIONING[fields[6]];
    return row;
  },
});

/** The next bucket id to give out. */
export const nextBucketCodec: Codec<{ next: number }> = defineCodec({
  name: 'next bucket',
  format: 1,
  count: 1,
  fields: (row) => [row.next],
  record: (fields) => ({ next: number(fields[0]) }),
});

/* ------------------------------------------------------------------ objects */

const NONE = 0;
const BLOB = 1;
const PARTS = 2;
/** A blob that is longer than what it is the content of: it is encrypted. */
const SEALED = 3;

/** The size of an object is that of its data, unless that is sealed. */
function packData(data: DataRef, size: number): [number, Buffer | null, number | number[]] {
  switch (data.kind) {
    case 'none':
      return [NONE, null, 0];
    case 'blob': {
      const id = Buffer.from(data.blob, 'hex');
      if (data.size !== size) return [SEALED, id, [data.blockSize, data.size]];
      return [BLOB, id, data.blockSize];
    }
    case 'parts':
      return [PARTS, Buffer.from(data.list, 'hex'), data.count];
  }
}

function unpackData(kind: unknown, id: unknown, count: unknown, size: number): DataRef {
  switch (kind) {
    case NONE:
      return { kind: 'none' };
    case BLOB:
      return { kind: 'blob', blob: blobId(id), size, blockSize: number(count) };
    case SEALED: {
      const [blockSize, stored] = list(count).map(number);
      if (blockSize === undefined || stored === undefined) {
        throw new Failure('corrupt', 'a sealed blob without its size');
      }
      return { kind: 'blob', blob: blobId(id), size: stored, blockSize };
    }
    case PARTS:
      return { kind: 'parts', list: hex(id), size, count: number(count) };
    default:
      throw new Failure('corrupt', 'an object of an unknown kind of data');
  }
}

/**
 * A version of a key. The versions of a key are a chain from the current one, in its `o` row, to the
 * oldest: each names the next older one, and the older ones, in `v` rows, the next newer one, too. So
 * a step finds what it changes by `get` alone, and what it writes is checked like every other row.
 */
export interface VersionRow extends ObjectRecord {
  /** A delete marker: no data, no metadata. */
  marker?: true | undefined;
  /** The next older version. */
  older?: string | undefined;
  /** In an older version: the next newer one. */
  newer?: string | undefined;
  /** In the current version: the one among the older ones that goes by NULL_VERSION. */
  olderNull?: string | undefined;
}

const NAMED = 1;
const MARKER = 2;

function packLink(version: string | undefined): Buffer | null {
  return version === undefined ? null : Buffer.from(version, 'hex');
}

function unpackLink(field: unknown): string | undefined {
  return field === null || field === undefined ? undefined : hex(field);
}

/** What only versioning and tagging need; nothing for most objects. */
function packVersion(row: VersionRow): unknown[] | undefined {
  const { named, marker, tags, older, newer, olderNull } = row;
  const flags = (named === true ? NAMED : 0) | (marker === true ? MARKER : 0);
  const tagged = tags !== undefined && tags.length > 0;
  const linked = older !== undefined || newer !== undefined || olderNull !== undefined;
  if (flags === 0 && !tagged && !linked) return undefined;
  const fields = [flags, packTags(tags)];
  return linked ? [...fields, packLink(older), packLink(newer), packLink(olderNull)] : fields;
}

function unpackVersion(row: VersionRow, fields: readonly unknown[]): void {
  const flags = number(fields[11] ?? 0);
  if ((flags & NAMED) !== 0) row.named = true;
  if ((flags & MARKER) !== 0) row.marker = true;
  const tags = unpackTags(fields[12]);
  if (tags !== undefined) row.tags = tags;
  const older = unpackLink(fields[13]);
  if (older !== undefined) row.older = older;
  const newer = unpackLink(fields[14]);
  if (newer !== undefined) row.newer = newer;
  const olderNull = unpackLink(fields[15]);
  if (olderNull !== undefined) row.olderNull = olderNull;
}

/** Of `o` and of `v` rows. */
export const objectCodec: Codec<VersionRow> = defineCodec({
  name: 'object',
  format: 1,
  count: 17,
  fields: (row) => {
    const [kind, id, count] = packData(row.data, row.size);
    const fields = [
      Buffer.from(row.version, 'hex'),
      row.size,
      row.modifiedMs,
      packHex(row.etag),
      packHex(row.owner),
      kind,
      id,
      count,
      packChecksum(row.checksum),
      packSystem(row.system),
      packUser(row.user),
    ];
    const version = packVersion(row);
    const extras = packExtras(row, row.revision);
    if (extras !== undefined) {
      const filler = Array.from({ length: 5 - (version?.length ?? 0) }, () => null);
      return [...fields, ...(version ?? []), ...filler, extras];
    }
    return version === undefined ? fields : fields.concat(version);
  },
  record(fields) {
    const size = number(fields[1]);
    const row: VersionRow = {
      version: hex(fields[0]),
      size,
      etag: unpackHex(fields[3]),
      modifiedMs: number(fields[2]),
      owner: unpackHex(fields[4]),
      data: unpackData(fields[5], fields[6], fields[7], size),
      system: unpackSystem(fields[9]),
      user: unpackUser(fields[10]),
    };
    const checksum = unpackChecksum(fields[8]);
    if (checksum !== undefined) row.checksum = checksum;
    if (fields.length > 11) unpackVersion(row, fields);
    if (fields.length > 16) unpackExtras(row, fields[16]);
    return row;
  },
});

/** A configuration of a bucket, as text. */
export const settingCodec: Codec<{ value: string }> = defineCodec({
  name: 'configuration',
  format: 1,
  count: 1,
  fields: (row) => [row.value],
  record: (fields) => ({ value: text(fields[0]) }),
});

/* ------------------------------------------------------------------ blobs and part lists */

export interface BlobRow {
  size: number;
  blockSize: number;
  /** Objects, part lists (once per part) and parts of open uploads that refer to the blob. */
  refs: number;
}

export const blobCodec: Codec<BlobRow> = defineCodec({
  name: 'blob',
  format: 1,
  count: 3,
  fields: (row) => [row.size, row.blockSize, row.refs],
  record: (fields) => ({
    size: number(fields[0]),
    blockSize: number(fields[1]),
    refs: number(fields[2]),
  }),
});

export interface PartListHeader {
  /** Objects that refer to the list. 0: it waits to be taken apart. */
  refs: number;
  size: number;
  count: number;
  /** Of each page, the number and the object offset of its first part. Pages begin at 1. */
  pages: { number: number; offset: number }[];
}

export const partListCodec: Codec<PartListHeader> = defineCodec({
  name: 'part list',
  format: 1,
  count: 4,
  fields: (row) => [
    row.refs,
    row.size,
    row.count,
    row.pages.flatMap((page) => [page.number, page.offset]),
  ],
  record(fields) {
    const marks = list(fields[3]).map(number);
    const pages: PartListHeader['pages'] = [];
    for (let index = 0; index + 1 < marks.length; index += 2) {
      pages.push({ number: marks[index] ?? 0, offset: marks[index + 1] ?? 0 });
    }
    return { refs: number(fields[0]), size: number(fields[1]), count: number(fields[2]), pages };
  },
});

/* ------------------------------------------------------------------ uploads */

export interface UploadRow extends Omit<Upload, 'uploadId' | 'bucket' | 'key'> {
  /** The attempt to complete the upload that is under way: its parts are frozen. */
  completing?: string | undefined;
}

export const uploadCodec: Codec<UploadRow> = defineCodec({
  name: 'upload',
  format: 1,
  count: 9,
  fields(row) {
    const fields = [
      row.createdMs,
      packHex(row.owner),
      packSystem(row.system),
      packUser(row.user),
      row.checksum === undefined ? null : packChecksum({ ...row.checksum, value: '' }),
      row.completing ?? null,
    ];
    const tags = packTags(row.tags);
    const extras = packExtras(row);
    if (row.initiator !== undefined) {
      return [...fields, tags, extras ?? null, packHex(row.initiator)];
    }
    if (extras !== undefined) return [...fields, tags, extras];
    return tags === null ? fields : [...fields, tags];
  },
  record(fields) {
    const row: UploadRow = {
      createdMs: number(fields[0]),
      owner: unpackHex(fields[1]),
      system: unpackSystem(fields[2]),
      user: unpackUser(fields[3]),
    };
    const checksum = unpackChecksum(fields[4]);
    if (checksum !== undefined) {
      row.checksum = { algorithm: checksum.algorithm, type: checksum.type };
    }
    const completing = optionalText(fields[5]);
    if (completing !== undefined) row.completing = completing;
    const tags = unpackTags(fields[6]);
    if (tags !== undefined) row.tags = tags;
    unpackExtras(row, fields[7]);
    if (fields[8] !== null && fields[8] !== undefined) row.initiator = unpackHex(fields[8]);
    return row;
  },
});

/** A part as it lies in an open upload and, without its time, in a part list. */
export interface PartRow {
  size: number;
  etag: string;
  modifiedMs: number;
  checksum?: string | undefined;
  /** Absent for an empty part. */
  data?: BlobRef | undefined;
}

function packPart(row: PartRow): unknown[] {
  const fields = [
    row.size,
    packHex(row.etag),
    row.modifiedMs,
    row.checksum ?? null,
    row.data === undefined ? null : Buffer.from(row.data.blob, 'hex'),
    row.data?.blockSize ?? 0,
  ];
  const sealed = row.data !== undefined && row.data.size !== row.size;
  return sealed ? [...fields, row.data?.size] : fields;
}

function unpackPart(fields: readonly unknown[]): PartRow {
  const row: PartRow = {
    size: number(fields[0]),
    etag: unpackHex(fields[1]),
    modifiedMs: number(fields[2]),
  };
  const checksum = optionalText(fields[3]);
  if (checksum !== undefined) row.checksum = checksum;
  if (fields[4] !== null && fields[4] !== undefined) {
    // Only the blob of an encrypted part is longer than the part.
    const size = fields[6] === undefined ? row.size : number(fields[6]);
    row.data = { blob: blobId(fields[4]), size, blockSize: number(fields[5]) };
  }
  return row;
}

export const partCodec: Codec<PartRow> = defineCodec({
  name: 'part',
  format: 1,
  count: 7,
  fields: packPart,
  record: unpackPart,
});

/** One page of a part list. */
export interface PartListPage {
  parts: (PartRow & { number: number })[];
}

export const partPageCodec: Codec<PartListPage> = defineCodec({
  name: 'part list page',
  format: 1,
  count: 1,
  fields: (page) => [
    page.parts.map((part) => [part.number, ...packPart({ ...part, modifiedMs: 0 })]),
  ],
  record: (fields) => ({
    parts: list(fields[0]).map((field) => {
      const [first, ...rest] = list(field);
      return { ...unpackPart(rest), number: number(first) };
    }),
  }),
});

interface CompletedRow {
  bucketId: number;
  key: string;
  result: CompletedUpload;
}

/** The answer of a completed upload shows how it is encrypted, and keeps no key. */
const NO_KEY = Buffer.alloc(0);

export const completedCodec: Codec<CompletedRow> = defineCodec({
  name: 'completed upload',
  format: 1,
  count: 9,
  fields({ bucketId, key, result }) {
    const fields = [
      bucketId,
      key,
      Buffer.from(result.version, 'hex'),
      result.etag,
      result.modifiedMs,
      result.size,
      packChecksum(result.checksum),
    ];
    const version = result.versionId === undefined ? null : packHex(result.versionId);
    if (result.encryption !== undefined) {
      return [...fields, version, packEncryption({ ...result.encryption, wrappedKey: NO_KEY })];
    }
    return version === null ? fields : [...fields, version];
  },
  record(fields) {
    const result: CompletedUpload = {
      version: hex(fields[2]),
      etag: text(fields[3]),
      modifiedMs: number(fields[4]),
      size: number(fields[5]),
    };
    const checksum = unpackChecksum(fields[6]);
    if (checksum !== undefined) result.checksum = checksum;
    if (fields[7] !== null && fields[7] !== undefined) result.versionId = unpackHex(fields[7]);
    if (fields[8] !== null && fields[8] !== undefined) {
      const { wrappedKey: _, ...shown } = unpackEncryption(fields[8]);
      result.encryption = shown;
    }
    return { bucketId: number(fields[0]), key: text(fields[1]), result };
  },
});

/* ------------------------------------------------------------------ shapes of the protocol */

/** A bucket as the protocol shows it. */
export function publicBucket(row: BucketRow): Bucket {
  const { id, name, owner, region, createdMs, versioning, revision, configs } = row;
  const bucket: Bucket = { id, name, owner, region, createdMs, revision, configs };
  if (versioning !== undefined) bucket.versioning = versioning;
  return bucket;
}

/** A version as the protocol shows it: without its place among the others. */
export function publicObject(row: VersionRow): ObjectRecord {
  if (row.older === undefined && row.newer === undefined) return row;
  const { older: _older, newer: _newer, olderNull: _olderNull, ...object } = row;
  return object;
}
