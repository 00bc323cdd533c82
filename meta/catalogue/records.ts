/** The records of the catalogue's rows and how they are stored. */
import type { BlobId } from '../../base/ids.ts';
import {
  CHECKSUM_ALGORITHMS,
  type ChecksumAlgorithm,
  type ChecksumType,
  type ObjectChecksum,
} from '../../base/object-checksum.ts';
import { Failure } from '../../base/failure.ts';
import type {
  Bucket,
  CompletedUpload,
  DataRef,
  ObjectRecord,
  SystemMetadata,
  Upload,
  UserMetadata,
} from '../protocol.ts';
import {
  blobId,
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

/* ------------------------------------------------------------------ buckets */

export interface BucketRow extends Bucket {
  /** The attempt to delete the bucket that is under way: no object may be added meanwhile. */
  deleting?: string | undefined;
}

export const bucketCodec: Codec<BucketRow> = defineCodec({
  name: 'bucket',
  format: 1,
  count: 6,
  fields: (row) => [
    row.id,
    row.name,
    packHex(row.owner),
    row.region,
    row.createdMs,
    row.deleting ?? null,
  ],
  record(fields) {
    const row: BucketRow = {
      id: number(fields[0]),
      name: text(fields[1]),
      owner: unpackHex(fields[2]),
      region: text(fields[3]),
      createdMs: number(fields[4]),
    };
    const deleting = optionalText(fields[5]);
    return deleting === undefined ? row : { ...row, deleting };
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

/** The size of an object is that of its data. */
function packData(data: DataRef): [number, Buffer | null, number] {
  switch (data.kind) {
    case 'none':
      return [NONE, null, 0];
    case 'blob':
      return [BLOB, Buffer.from(data.blob, 'hex'), data.blockSize];
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
    case PARTS:
      return { kind: 'parts', list: hex(id), size, count: number(count) };
    default:
      throw new Failure('corrupt', 'an object of an unknown kind of data');
  }
}

export const objectCodec: Codec<ObjectRecord> = defineCodec({
  name: 'object',
  format: 1,
  count: 11,
  fields: (row) => {
    const [kind, id, count] = packData(row.data);
    return [
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
  },
  record(fields) {
    const size = number(fields[1]);
    const row: ObjectRecord = {
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
    return row;
  },
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
  count: 6,
  fields: (row) => [
    row.createdMs,
    packHex(row.owner),
    packSystem(row.system),
    packUser(row.user),
    row.checksum === undefined ? null : packChecksum({ ...row.checksum, value: '' }),
    row.completing ?? null,
  ],
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
    return row;
  },
});

/** A part as it lies in an open upload and, without its time, in a part list. */
export interface PartRow {
  size: number;
  etag: string;
  modifiedMs: number;
  checksum?: string | undefined;
  /** Absent for an empty part. Its size is the part's. */
  data?: { blob: BlobId; blockSize: number } | undefined;
}

function packPart(row: PartRow): unknown[] {
  return [
    row.size,
    packHex(row.etag),
    row.modifiedMs,
    row.checksum ?? null,
    row.data === undefined ? null : Buffer.from(row.data.blob, 'hex'),
    row.data?.blockSize ?? 0,
  ];
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
    row.data = { blob: blobId(fields[4]), blockSize: number(fields[5]) };
  }
  return row;
}

export const partCodec: Codec<PartRow> = defineCodec({
  name: 'part',
  format: 1,
  count: 6,
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

export const completedCodec: Codec<CompletedRow> = defineCodec({
  name: 'completed upload',
  format: 1,
  count: 7,
  fields: ({ bucketId, key, result }) => [
    bucketId,
    key,
    Buffer.from(result.version, 'hex'),
    result.etag,
    result.modifiedMs,
    result.size,
    packChecksum(result.checksum),
  ],
  record(fields) {
    const result: CompletedUpload = {
      version: hex(fields[2]),
      etag: text(fields[3]),
      modifiedMs: number(fields[4]),
      size: number(fields[5]),
    };
    const checksum = unpackChecksum(fields[6]);
    if (checksum !== undefined) result.checksum = checksum;
    return { bucketId: number(fields[0]), key: text(fields[1]), result };
  },
});

/* ------------------------------------------------------------------ shapes of the protocol */

/** A bucket as the protocol shows it. */
export function publicBucket(row: BucketRow): Bucket {
  return {
    id: row.id,
    name: row.name,
    owner: row.owner,
    region: row.region,
    createdMs: row.createdMs,
  };
}
