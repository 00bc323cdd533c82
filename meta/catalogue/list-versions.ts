/**
 * ListObjectVersions: the keys of a bucket in order, each with its current version or delete marker
 * and then the older ones, newest first. Older versions are only looked for where a key has some.
 */
import type { Entry, KeyValueStore } from '../engine/kv.ts';
import {
  type Answer,
  KEY_BYTES_MAX,
  type ListedVersion,
  type Meta,
  NULL_VERSION,
  type VersionPage,
  type VersionsQuery,
} from '../protocol.ts';
import type { Buckets } from './buckets.ts';
import {
  afterObjectPrefix,
  cutBound,
  isVersion,
  justAfter,
  keyOfObject,
  objectBounds,
  objectKey,
  versionBounds,
} from './keyspace.ts';
import { clamp, later, listedObject, resume, scan } from './listing.ts';
import { objectCodec, publicBucket, type VersionRow } from './records.ts';

/** Looks at the versions of a key that keep changing under the listing, until it lists what it saw. */
const LOOKS_MAX = 20;

type Page = Omit<VersionPage, 'bucket'>;

interface Head {
  entry: Entry;
  row: VersionRow;
}

/** A place in the order of versions: only what comes after it is listed. */
interface Marker {
  key: string;
  /** Identity of a version of the key. */
  version: string;
}

function listedVersion(row: VersionRow, key: string, latest: boolean): ListedVersion {
  const listed: ListedVersion = {
    ...listedObject(row, key),
    versionId: row.named === true ? row.version : NULL_VERSION,
    latest,
  };
  if (row.marker === true) listed.marker = true;
  return listed;
}

/** The versions of one key after the marker, at most `limit`, as they stood at one moment. */
async function versionsOf(
  store: KeyValueStore,
  bucketId: number,
  key: string,
  options: { head: Head; after: string | undefined; limit: number },
): Promise<ListedVersion[]> {
  const { after, limit } = options;
  let head: Head | undefined = options.head;
  for (let looks = 1; head !== undefined; looks++) {
    const { row, entry } = head;
    const listed: ListedVersion[] = [];
    if (after === undefined || row.version > after) listed.push(listedVersion(row, key, true));
    if (row.older === undefined || listed.length === limit) return listed;
    const bounds = versionBounds(bucketId, key, after);
    const older = await store.range({ ...bounds, limit: limit - listed.length });
    for (const { value } of older)
      listed.push(listedVersion(objectCodec.decode(value), key, false));
    // Whatever joins the older versions, or leaves them for the top, writes the current one's row.
    const [now] = await store.get([entry.key]);
    if (now?.stamp.equals(entry.stamp) === true || looks === LOOKS_MAX) return listed;
    head = now == null ? undefined : { entry: now, row: objectCodec.decode(now.value) };
  }
  return [];
}

/** Where the listing goes on: within a key when its version is known, else after the whole key. */
async function markerOf(
  store: KeyValueStore,
  bucketId: number,
  { keyMarker, versionIdMarker }: VersionsQuery,
): Promise<Marker | undefined> {
  if (keyMarker === undefined || versionIdMarker === undefined) return undefined;
  if (Buffer.byteLength(keyMarker) > KEY_BYTES_MAX) return undefined;
  if (isVersion(versionIdMarker)) return { key: keyMarker, version: versionIdMarker };
  if (versionIdMarker !== NULL_VERSION) return undefined;
  const [entry] = await store.get([objectKey(bucketId, keyMarker)]);
  if (entry == null) return undefined;
  const head = objectCodec.decode(entry.value);
  const version = head.named === true ? head.olderNull : head.version;
  return version === undefined ? undefined : { key: keyMarker, version };
}

async function versionPage(
  store: KeyValueStore,
  bucketId: number,
  query: VersionsQuery,
): Promise<Page> {
  const { prefix, delimiter, keyMarker } = query;
  const limit = clamp(query.limit);
  /** `next`: the last entry so far. */
  const page: Page = { versions: [], commonPrefixes: [] };
  // No key has a longer prefix than the longest key.
  if (limit === 0 || Buffer.byteLength(prefix) > KEY_BYTES_MAX) return page;
  const how = {
    prefix,
    delimiter,
    keyOf: keyOfObject,
    after: (text: string) => afterObjectPrefix(bucketId, text),
    read: (entry: Entry): Head => ({ entry, row: objectCodec.decode(entry.value) }),
  };
  const bounds = objectBounds(bucketId, prefix);
  let marker: Marker | undefined;
  if (keyMarker !== undefined) {
    marker = await markerOf(store, bucketId, query);
    const place = objectKey(bucketId, keyMarker);
    const from = resume(how, keyMarker, marker === undefined ? justAfter(place) : place);
    bounds.start = cutBound(later(from, bounds.start));
  }
  // Nothing may be left of the marker's own key, so one more than fits on the page.
  const wanted = marker === undefined ? limit : limit + 1;
  const { items, more } = await scan(store, { ...how, bounds, limit: wanted });
  let room = limit;
  for (const item of items) {
    if (room === 0) return page;
    if ('commonPrefix' in item) {
      page.commonPrefixes.push(item.commonPrefix);
      page.next = { key: item.commonPrefix };
      room -= 1;
      continue;
    }
    const { key, value: head } = item;
    const after = marker?.key === key ? marker.version : undefined;
    const versions = await versionsOf(store, bucketId, key, { head, after, limit: room + 1 });
    const shown = versions.slice(0, room);
    page.versions.push(...shown);
    page.next = { key, versionId: shown.at(-1)?.versionId };
    room -= shown.length;
    if (versions.length > shown.length) return page;
  }
  if (more) return page;
  const { next: _, ...last } = page;
  return last;
}

export function createVersionListing(settings: {
  store: KeyValueStore;
  buckets: Buckets;
}): Pick<Meta, 'listVersions'> {
  const { store, buckets } = settings;
  return {
    async listVersions(query): Promise<Answer<VersionPage>> {
      const found = await buckets.read(query, () => []);
      if (!found.ok) return found;
      const page = await versionPage(store, found.value.bucket.id, query);
      return { ok: true, value: { bucket: publicBucket(found.value.bucket), ...page } };
    },
  };
}
