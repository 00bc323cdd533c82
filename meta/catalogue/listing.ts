/**
 * Listing: one ordered scan that seeks past each common prefix. A page costs what is on it, not what
 * is in the bucket.
 */
import { type Entry, type KeyValueStore, KV_LIMITS } from '../engine/kv.ts';
import {
  type Answer,
  KEY_BYTES_MAX,
  LIST_PAGE_MAX,
  type ListedObject,
  type ListQuery,
  type Meta,
  type ObjectPage,
  type Upload,
  type UploadsPage,
  type UploadsQuery,
} from '../protocol.ts';
import type { Buckets } from './buckets.ts';
import {
  afterObjectPrefix,
  afterUploadPrefix,
  afterUploadsOf,
  type Bounds,
  cutBound,
  isUploadId,
  justAfter,
  keyOfObject,
  nameOfUpload,
  objectBounds,
  objectKey,
  uploadBounds,
  uploadKey,
} from './keyspace.ts';
import { objectCodec, publicBucket, uploadCodec, type VersionRow } from './records.ts';
import { publicUpload } from './uploads.ts';

/** Rows of the first read of a listing that may have common prefixes to skip. */
const READ_FIRST = 32;
const READ_MIN = 4;

/** How rows of one kind are listed. */
export interface Listed<T> {
  bounds: Bounds;
  prefix: string;
  delimiter: string | undefined;
  /** 1 … LIST_PAGE_MAX. */
  limit: number;
  keyOf(row: Buffer): string;
  /** The first row after all rows whose S3 key begins with `prefix`. */
  after(prefix: string): Buffer;
  /** What the row shows; undefined: it is not listed, and makes no common prefix. */
  read(entry: Entry, key: string): T | undefined;
}

export type Item<T> = { value: T; key: string } | { commonPrefix: string };

/**
 * The next `limit` rows and common prefixes, and whether there are more. Reads grow while keys are
 * plain and shrink when much of what was read lies under a common prefix.
 */
export async function scan<T>(
  store: KeyValueStore,
  listed: Listed<T>,
): Promise<{ items: Item<T>[]; more: boolean }> {
  const { bounds, prefix, limit } = listed;
  // An empty delimiter groups nothing.
  const delimiter = listed.delimiter === '' ? undefined : listed.delimiter;
  const items: Item<T>[] = [];
  let start = bounds.start;
  let least = READ_MIN;
  let size = delimiter === undefined ? KV_LIMITS.rangeRows : READ_FIRST;
  while (Buffer.compare(start, bounds.end) < 0) {
    const wanted = Math.min(size, Math.max(limit + 1 - items.length, least));
    const rows = await store.range({ start, end: bounds.end, limit: wanted });
    let skipped = 0;
    let hidden = 0;
    for (const entry of rows) {
      if (Buffer.compare(entry.key, start) < 0) {
        skipped += 1;
        continue;
      }
      const key = listed.keyOf(entry.key);
      const value = listed.read(entry, key);
      if (value === undefined) {
        hidden += 1;
        start = justAfter(entry.key);
        continue;
      }
      if (items.length === limit) return { items, more: true };
      const end = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length);
      if (delimiter === undefined || end < 0) {
        items.push({ value, key });
        start = justAfter(entry.key);
      } else {
        const commonPrefix = key.slice(0, end + delimiter.length);
        items.push({ commonPrefix });
        start = listed.after(commonPrefix);
      }
    }
    if (rows.length < wanted) break;
    // Many rows that are not listed are passed in larger and larger steps.
    least = hidden * 2 > rows.length ? Math.min(KV_LIMITS.rangeRows, least << 2) : READ_MIN;
    size =
      skipped * 2 > rows.length
        ? Math.max(READ_MIN, size >> 2)
        : Math.min(KV_LIMITS.rangeRows, size << 2);
  }
  return { items, more: false };
}

/**
 * Where a listing goes on after a marker: only what sorts after the marker counts, common prefixes
 * included, so one that contains the marker is passed as a whole.
 */
export function resume(
  listed: Pick<Listed<unknown>, 'prefix' | 'delimiter' | 'after'>,
  marker: string,
  afterMarker: Buffer,
): Buffer {
  const { prefix, delimiter } = listed;
  if (delimiter === undefined || delimiter === '' || !marker.startsWith(prefix)) return afterMarker;
  const end = marker.indexOf(delimiter, prefix.length);
  return end < 0 ? afterMarker : listed.after(marker.slice(0, end + delimiter.length));
}

export function later(left: Buffer, right: Buffer): Buffer {
  return Buffer.compare(left, right) > 0 ? left : right;
}

export function clamp(limit: number): number {
  return Math.max(0, Math.min(Math.floor(limit), LIST_PAGE_MAX));
}

export function listedObject(row: VersionRow, key: string): ListedObject {
  const { size, etag, modifiedMs, owner, system, checksum } = row;
  const listed: ListedObject = { key, size, etag, modifiedMs, owner };
  if (system.storageClass !== undefined) listed.storageClass = system.storageClass;
  if (checksum !== undefined) {
    listed.checksum = { algorithm: checksum.algorithm, type: checksum.type };
  }
  return listed;
}

async function objectPage(
  store: KeyValueStore,
  bucketId: number,
  query: ListQuery,
): Promise<Omit<ObjectPage, 'bucket'>> {
  const { prefix, delimiter, after } = query;
  const limit = clamp(query.limit);
  const page: Omit<ObjectPage, 'bucket'> = { objects: [], commonPrefixes: [] };
  // No key has a longer prefix than the longest key.
  if (limit === 0 || Buffer.byteLength(prefix) > KEY_BYTES_MAX) return page;
  const how = {
    prefix,
    delimiter,
    keyOf: keyOfObject,
    after: (text: string) => afterObjectPrefix(bucketId, text),
    read(entry: Entry, key: string) {
      const row = objectCodec.decode(entry.value);
      return row.marker === true ? undefined : listedObject(row, key);
    },
  };
  const bounds = objectBounds(bucketId, prefix);
  if (after !== undefined) {
    const from = resume(how, after, justAfter(objectKey(bucketId, after)));
    bounds.start = cutBound(later(from, bounds.start));
  }
  const { items, more } = await scan(store, { ...how, bounds, limit });
  for (const item of items) {
    if ('value' in item) page.objects.push(item.value);
    else page.commonPrefixes.push(item.commonPrefix);
  }
  const last = items.at(-1);
  if (more && last !== undefined) page.next = 'value' in last ? last.key : last.commonPrefix;
  return page;
}

async function uploadsPage(
  store: KeyValueStore,
  bucketId: number,
  query: UploadsQuery,
): Promise<UploadsPage> {
  const { bucket, prefix, delimiter, keyMarker } = query;
  const limit = clamp(query.limit);
  const page: UploadsPage = { uploads: [], commonPrefixes: [] };
  // No key has a longer prefix than the longest key.
  if (limit === 0 || Buffer.byteLength(prefix) > KEY_BYTES_MAX) return page;
  const how = {
    prefix,
    delimiter,
    keyOf: (row: Buffer) => nameOfUpload(row).key,
    after: (text: string) => afterUploadPrefix(bucketId, text),
    read: (entry: Entry) => uploadOf(bucket, entry),
  };
  const bounds = uploadBounds(bucketId, prefix);
  if (keyMarker !== undefined && keyMarker !== '') {
    const from = resume(how, keyMarker, afterUploadMarker(bucketId, keyMarker, query));
    bounds.start = cutBound(later(from, bounds.start));
  }
  const { items, more } = await scan(store, { ...how, bounds, limit });
  for (const item of items) {
    if ('value' in item) page.uploads.push(item.value);
    else page.commonPrefixes.push(item.commonPrefix);
  }
  const last = items.at(-1);
  if (more && last !== undefined) {
    page.next =
      'value' in last
        ? { key: last.key, uploadId: last.value.uploadId }
        : { key: last.commonPrefix };
  }
  return page;
}

function uploadOf(bucket: string, entry: Entry): Upload {
  const { key, uploadId } = nameOfUpload(entry.key);
  return publicUpload(uploadCodec.decode(entry.value), bucket, key, uploadId);
}

/** With an upload id: the later uploads of the same key. Without: the next key. */
function afterUploadMarker(
  bucketId: number,
  key: string,
  { uploadIdMarker }: UploadsQuery,
): Buffer {
  return uploadIdMarker !== undefined && isUploadId(uploadIdMarker)
    ? justAfter(uploadKey(bucketId, key, uploadIdMarker))
    : afterUploadsOf(bucketId, key);
}

export function createListing(settings: {
  store: KeyValueStore;
  buckets: Buckets;
}): Pick<Meta, 'listObjects' | 'listUploads'> {
  const { store, buckets } = settings;
  const noKeys = () => [];
  return {
    async listObjects(query): Promise<Answer<ObjectPage>> {
      const found = await buckets.read(query, noKeys);
      if (!found.ok) return found;
      const page = await objectPage(store, found.value.bucket.id, query);
      return { ok: true, value: { bucket: publicBucket(found.value.bucket), ...page } };
    },
    async listUploads(query): Promise<Answer<UploadsPage>> {
      const found = await buckets.read(query, noKeys);
      if (!found.ok) return found;
      return { ok: true, value: await uploadsPage(store, found.value.bucket.id, query) };
    },
  };
}
