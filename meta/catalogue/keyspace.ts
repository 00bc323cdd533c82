/**
 * The keys of the catalogue's rows. One kind byte, fixed-width big-endian ids, an escaped S3 key
 * with a terminator, fixed suffixes; so one bucket's keys lie together in UTF-8 byte order.
 *
 *   B name                               bucket
 *   B 00 …                               next bucket id, number of buckets, buckets per owner
 *   o bucket(u32) esc(key) 00            object: the current version of a key, or a delete marker
 *   v bucket(u32) esc(key) 00 version(16) older version of a key; ids sort newest first
 *   s bucket(u32) name                   configuration of a bucket
 *   u bucket(u32) esc(key) 00 upload(22) open upload; ids sort by creation
 *   p upload(22) number(u16)             part of an open upload
 *   c upload(22)                         answer of a completed upload
 *   b blob(16)                           blob and its reference count
 *   m list(16) page(u16)                 part list: page 0 is the header
 *   q g|t id(16)                         garbage queue: at once, and from a time on
 *   q r blob(16) node                    repair queue
 *   q n queue lane(u16)                  length of a queue (counter)
 *   A …                                  accounts (`account-rows.ts`)
 *   U bucket(u32) lane(u16) b|o          bytes and objects of a bucket (counters)
 *   e n|r bucket(u32) id(16)             event that waits for delivery: notification, replication
 *   E bucket(u32) n|r c|d lane(u16)      events that wait, and those that were dropped (counters)
 *   E bucket(u32) n|r l 00 00            who delivers the events of the bucket, and until when
 *
 * Rows of the cluster (`L`, `N`, `P`, `F`) are in `../cluster/rows.ts`.
 */
import type { BlobId } from '../../base/ids.ts';
import { Failure } from '../../base/failure.ts';
import type { EventQueue } from '../protocol.ts';

const BUCKET = 0x42;
const OBJECT = 0x6f;
const VERSION = 0x76;
const SETTING = 0x73;
const UPLOAD = 0x75;
const PART = 0x70;
const COMPLETED = 0x63;
const BLOB = 0x62;
const PART_LIST = 0x6d;
const QUEUE = 0x71;
const USAGE = 0x55;
const EVENT = 0x65;
const EVENT_BOOK = 0x45;

/** An upload id is 48 bits of creation time and 128 random bits: 44 hex digits. */
const UPLOAD_ID_BYTES = 22;
const UPLOAD_ID_PATTERN = /^[0-9a-f]{44}$/;

export interface Bounds {
  /** Inclusive. */
  start: Buffer;
  /** Exclusive. */
  end: Buffer;
}

/* ------------------------------------------------------------------ escaping */

/**
 * Writes kind ‖ bucket ‖ esc(text) and leaves `suffix` bytes at the end for the caller. 00 becomes
 * 01 01 and 01 becomes 01 02, which keeps the order and frees 00 for the terminator.
 */
function writeUnderBucket(kind: number, bucket: number, text: string, suffix: number): Buffer {
  const length = Buffer.byteLength(text);
  const special = countSpecial(text);
  const out = Buffer.allocUnsafe(5 + length + special + suffix);
  out[0] = kind;
  out.writeUInt32BE(bucket, 1);
  out.write(text, 5);
  if (special > 0) spreadSpecial(out, 5, length, special);
  return out;
}

function countSpecial(text: string): number {
  let count = 0;
  for (let index = 0; index < text.length; index++) {
    if (text.charCodeAt(index) <= 1) count += 1;
  }
  return count;
}

/** Escapes in place, from the back, the `length` bytes at `start`. */
function spreadSpecial(out: Buffer, start: number, length: number, special: number): void {
  let target = start + length + special - 1;
  for (let source = start + length - 1; source >= start; source--) {
    const byte = out[source] ?? 0;
    if (byte <= 1) {
      out[target--] = byte + 1;
      out[target--] = 1;
    } else {
      out[target--] = byte;
    }
  }
}

/** The text between `start` and `end` of a row's key. */
function readEscaped(key: Buffer, start: number, end: number): string {
  const first = key.indexOf(1, start);
  if (first < 0 || first >= end) return key.toString('utf8', start, end);
  const bytes = Buffer.allocUnsafe(end - start);
  let length = 0;
  for (let index = start; index < end; index++) {
    let byte = key[index] ?? 0;
    if (byte === 1) byte = (key[++index] ?? 1) - 1;
    bytes[length++] = byte;
  }
  return bytes.toString('utf8', 0, length);
}

/** The first key after all keys that begin with `prefix`. */
export function afterPrefix(prefix: Buffer): Buffer {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1;
  const out = Buffer.from(prefix.subarray(0, length));
  if (length > 0) out[length - 1] = (out[length - 1] ?? 0) + 1;
  return out;
}

/** All keys that begin with `prefix`. */
function within(prefix: Buffer): Bounds {
  return { start: prefix, end: afterPrefix(prefix) };
}

/** Longer than any row under an S3 key, and within what an engine takes as a bound. */
const BOUND_BYTES_MAX = 2150;

/**
 * A bound made of a marker of any length, which no row tells from the whole one: a row that began
 * with all these bytes would be longer than rows are.
 */
export function cutBound(bound: Buffer): Buffer {
  return bound.subarray(0, BOUND_BYTES_MAX);
}

/** The first key after `key`. */
export function justAfter(key: Buffer): Buffer {
  const out = Buffer.allocUnsafe(key.length + 1);
  key.copy(out);
  out[key.length] = 0;
  return out;
}

/* ------------------------------------------------------------------ buckets */

export function bucketKey(name: string): Buffer {
  const out = Buffer.allocUnsafe(1 + Buffer.byteLength(name));
  out[0] = BUCKET;
  out.write(name, 1);
  return out;
}

export function bucketNameOf(key: Buffer): string {
  return key.toString('utf8', 1);
}

/** Buckets whose name begins with `prefix`, from after the name `after`. */
export function bucketBounds(prefix: string, after: string | undefined): Bounds {
  // Names begin after 00, where the rows about all buckets are.
  const bounds =
    prefix === ''
      ? { start: Buffer.from([BUCKET, 1]), end: Buffer.from([BUCKET + 1]) }
      : within(bucketKey(prefix));
  if (after === undefined) return bounds;
  const start = justAfter(bucketKey(after));
  return Buffer.compare(start, bounds.start) > 0 ? { start, end: bounds.end } : bounds;
}

/** The row that holds the next bucket id. */
export const NEXT_BUCKET_KEY = Buffer.from([BUCKET, 0, 0x69]);
/** The counter of buckets. */
export const BUCKET_COUNT_KEY = Buffer.from([BUCKET, 0, 0x6e]);

/** The counter of one owner's buckets. */
export function ownerBucketsKey(owner: string): Buffer {
  return Buffer.concat([Buffer.from([BUCKET, 0, 0x6f]), Buffer.from(owner)]);
}

/* ------------------------------------------------------------------ objects */

export function objectKey(bucket: number, key: string): Buffer {
  const out = writeUnderBucket(OBJECT, bucket, key, 1);
  out[out.length - 1] = 0;
  return out;
}

/** The S3 key of an object's row. */
export function keyOfObject(row: Buffer): string {
  return readEscaped(row, 5, row.length - 1);
}

/** The objects of a bucket whose key begins with `prefix`. */
export function objectBounds(bucket: number, prefix: string): Bounds {
  return within(writeUnderBucket(OBJECT, bucket, prefix, 0));
}

/** The first object row after all keys of a bucket that begin with `prefix`. */
export function afterObjectPrefix(bucket: number, prefix: string): Buffer {
  return afterPrefix(writeUnderBucket(OBJECT, bucket, prefix, 0));
}

/* ------------------------------------------------------------------ older versions */

const VERSION_BYTES = 16;
const VERSION_PATTERN = /^[0-9a-f]{32}$/;

/** Version ids come from clients: anything else than 32 hex digits names no version. */
export function isVersion(text: string): boolean {
  return VERSION_PATTERN.test(text);
}

export function versionKey(bucket: number, key: string, version: string): Buffer {
  const out = writeUnderBucket(VERSION, bucket, key, 1 + VERSION_BYTES);
  out[out.length - 1 - VERSION_BYTES] = 0;
  out.write(version, out.length - VERSION_BYTES, VERSION_BYTES, 'hex');
  return out;
}

/** The older versions of a key, from after the version `after`. */
export function versionBounds(bucket: number, key: string, after: string | undefined): Bounds {
  const all = writeUnderBucket(VERSION, bucket, key, 1);
  all[all.length - 1] = 0;
  // The terminator plus one: after every version of the key.
  const end = Buffer.from(all);
  end[end.length - 1] = 1;
  return { start: after === undefined ? all : justAfter(versionKey(bucket, key, after)), end };
}

/* ------------------------------------------------------------------ configuration */

export function settingKey(bucket: number, name: string): Buffer {
  return writeUnderBucket(SETTING, bucket, name, 0);
}

/** The name in the key of a configuration. */
export function nameOfSetting(key: Buffer): string {
  return key.toString('utf8', 5);
}

/** All configurations of a bucket. */
export function settingBounds(bucket: number): Bounds {
  return within(settingKey(bucket, ''));
}

/* ------------------------------------------------------------------ uploads */

/** Upload ids come from clients: anything else than 44 hex digits names no upload. */
export function isUploadId(text: string): boolean {
  return UPLOAD_ID_PATTERN.test(text);
}

export function uploadKey(bucket: number, key: string, uploadId: string): Buffer {
  const out = writeUnderBucket(UPLOAD, bucket, key, 1 + UPLOAD_ID_BYTES);
  out[out.length - 1 - UPLOAD_ID_BYTES] = 0;
  out.write(uploadId, out.length - UPLOAD_ID_BYTES, UPLOAD_ID_BYTES, 'hex');
  return out;
}

export function nameOfUpload(row: Buffer): { key: string; uploadId: string } {
  const end = row.length - UPLOAD_ID_BYTES;
  return { key: readEscaped(row, 5, end - 1), uploadId: row.toString('hex', end) };
}

export function uploadBounds(bucket: number, prefix: string): Bounds {
  return within(writeUnderBucket(UPLOAD, bucket, prefix, 0));
}

/** The first upload row after all keys of a bucket that begin with `prefix`. */
export function afterUploadPrefix(bucket: number, prefix: string): Buffer {
  return afterPrefix(writeUnderBucket(UPLOAD, bucket, prefix, 0));
}

/** The first upload row after every upload of exactly this key. */
export function afterUploadsOf(bucket: number, key: string): Buffer {
  const out = writeUnderBucket(UPLOAD, bucket, key, 1);
  // The terminator plus one: after every upload of the key, before every longer key.
  out[out.length - 1] = 1;
  return out;
}

export function partKey(uploadId: string, number: number): Buffer {
  const out = Buffer.allocUnsafe(1 + UPLOAD_ID_BYTES + 2);
  out[0] = PART;
  out.write(uploadId, 1, UPLOAD_ID_BYTES, 'hex');
  out.writeUInt16BE(number, 1 + UPLOAD_ID_BYTES);
  return out;
}

export function numberOfPart(row: Buffer): number {
  return row.readUInt16BE(1 + UPLOAD_ID_BYTES);
}

/** The parts of an upload with numbers above `after`. */
export function partBounds(uploadId: string, after: number): Bounds {
  const all = partKey(uploadId, 0).subarray(0, 1 + UPLOAD_ID_BYTES);
  const start = after >= 0xffff ? afterPrefix(all) : partKey(uploadId, after + 1);
  return { start, end: afterPrefix(all) };
}

export function completedKey(uploadId: string): Buffer {
  const out = Buffer.allocUnsafe(1 + UPLOAD_ID_BYTES);
  out[0] = COMPLETED;
  out.write(uploadId, 1, UPLOAD_ID_BYTES, 'hex');
  return out;
}

/* ------------------------------------------------------------------ blobs and part lists */

export function blobKey(blob: BlobId): Buffer {
  const out = Buffer.allocUnsafe(17);
  out[0] = BLOB;
  out.write(blob, 1, 16, 'hex');
  return out;
}

/** Rows that refer to blobs or part lists. */
type ReferringKind = 'object' | 'version' | 'part' | 'part list';

/** All rows of one kind, of all buckets, uploads and lists. */
export function rowsOfKind(kind: ReferringKind): Bounds {
  const bytes = { object: OBJECT, version: VERSION, part: PART, 'part list': PART_LIST };
  return within(Buffer.from([bytes[kind]]));
}

const ENCRYPTABLE = { upload: UPLOAD, object: OBJECT, version: VERSION } as const;
type EncryptableKind = keyof typeof ENCRYPTABLE;

/** All rows of one of the kinds that say how something is encrypted. */
export function encryptableRows(kind: EncryptableKind): Bounds {
  return within(Buffer.from([ENCRYPTABLE[kind]]));
}

/** Undefined: another kind of row. */
export function encryptableKind(key: Uint8Array): EncryptableKind | undefined {
  if (key[0] === UPLOAD) return 'upload';
  if (key[0] === OBJECT) return 'object';
  return key[0] === VERSION ? 'version' : undefined;
}

/** Undefined: a row that refers to no data. */
export function kindOfRow(key: Uint8Array): ReferringKind | undefined {
  switch (key[0]) {
    case OBJECT:
      return 'object';
    case VERSION:
      return 'version';
    case PART:
      return 'part';
    case PART_LIST:
      return 'part list';
    default:
      return undefined;
  }
}

/** The bucket of a row of objects, versions or usage. */
export function bucketOfRow(key: Uint8Array): number {
  return Buffer.from(key.buffer, key.byteOffset, key.length).readUInt32BE(1);
}

export function isUsageKey(key: Uint8Array): boolean {
  return key[0] === USAGE;
}

/** The list of a part list's row, and its page. */
export function pageOfKey(row: Buffer): { list: string; page: number } {
  return { list: row.toString('hex', 1, 17), page: row.readUInt16BE(17) };
}

/** The upload of a part's row. */
export function uploadOfPart(row: Buffer): string {
  return row.toString('hex', 1, 1 + UPLOAD_ID_BYTES);
}

/** The older versions of all keys of a bucket. */
export function allVersionBounds(bucket: number): Bounds {
  return within(writeUnderBucket(VERSION, bucket, '', 0));
}

export function blobOfKey(row: Buffer): BlobId {
  return row.toString('hex', 1) as BlobId;
}

/** All blobs, in the order of their ids, from after `after`. */
export function blobBounds(after?: BlobId): Bounds {
  const all = within(Buffer.from([BLOB]));
  return after === undefined ? all : { start: justAfter(blobKey(after)), end: all.end };
}

const LIST_ID_PATTERN = /^[0-9a-f]{32}$/;

/** Page 0 is the header. Throws Failure `invalid` for what is no list id. */
export function partListKey(list: string, page: number): Buffer {
  if (!LIST_ID_PATTERN.test(list)) throw new Failure('invalid', 'not a part list id');
  const out = Buffer.allocUnsafe(19);
  out[0] = PART_LIST;
  out.write(list, 1, 16, 'hex');
  out.writeUInt16BE(page, 17);
  return out;
}

/* ------------------------------------------------------------------ queues */

const READY = 0x67;
const TIMED = 0x74;
const REPAIR = 0x72;
const LENGTH = 0x6e;

export type QueueName = 'garbage' | 'repair';

/** Entries of the garbage queue are due at once or from a time on; ids sort in that order. */
export function garbageKey(id: Buffer, timed: boolean): Buffer {
  const out = Buffer.allocUnsafe(18);
  out[0] = QUEUE;
  out[1] = timed ? TIMED : READY;
  id.copy(out, 2);
  return out;
}

/** Whether the entry waits for a time. */
export function isTimedGarbage(row: Buffer): boolean {
  return row[1] === TIMED;
}

/** The name of an entry outside: hex of its key without the kind byte. */
export function garbageIdOf(row: Buffer): string {
  return row.toString('hex', 1);
}

const GARBAGE_ID_PATTERN = /^(67|74)[0-9a-f]{32}$/;

/** Throws Failure `invalid` for what is no garbage id. */
export function garbageKeyOf(id: string): Buffer {
  if (!GARBAGE_ID_PATTERN.test(id)) throw new Failure('invalid', 'not a garbage entry');
  return Buffer.concat([Buffer.from([QUEUE]), Buffer.from(id, 'hex')]);
}

/** Entries that are due at once. */
export const READY_GARBAGE: Bounds = within(Buffer.from([QUEUE, READY]));

/** Entries whose time (milliseconds since the epoch) has come. */
export function timedGarbage(nowMs: number): Bounds {
  const end = Buffer.allocUnsafe(8);
  end[0] = QUEUE;
  end[1] = TIMED;
  end.writeUIntBE(Math.max(0, Math.floor(nowMs) + 1), 2, 6);
  return { start: Buffer.from([QUEUE, TIMED]), end };
}

export function repairKey(blob: BlobId, node: string): Buffer {
  const out = Buffer.allocUnsafe(18 + Buffer.byteLength(node));
  out[0] = QUEUE;
  out[1] = REPAIR;
  out.write(blob, 2, 16, 'hex');
  out.write(node, 18);
  return out;
}

/** The repairs of one blob. */
export function repairBounds(blob: BlobId): Bounds {
  return within(repairKey(blob, ''));
}

/** All repairs, by blob and node, from after the row `after`. */
export function allRepairBounds(after?: Buffer): Bounds {
  const all = within(Buffer.from([QUEUE, REPAIR]));
  return after === undefined ? all : { start: justAfter(after), end: all.end };
}

export function repairOfKey(row: Buffer): { blob: BlobId; node: string } {
  return { blob: row.toString('hex', 2, 18) as BlobId, node: row.toString('utf8', 18) };
}

export function queueLengthKey(queue: QueueName, lane: number): Buffer {
  const out = Buffer.from([QUEUE, LENGTH, queue === 'garbage' ? READY : REPAIR, 0, 0]);
  out.writeUInt16BE(lane, 3);
  return out;
}

export function queueLengthBounds(queue: QueueName): Bounds {
  return within(Buffer.from([QUEUE, LENGTH, queue === 'garbage' ? READY : REPAIR]));
}

/* ------------------------------------------------------------------ usage */

const USAGE_KINDS = { bytes: 0x62, objects: 0x6f } as const;
type UsageKind = keyof typeof USAGE_KINDS;

export function usageKey(bucket: number, lane: number, kind: UsageKind): Buffer {
  const out = Buffer.allocUnsafe(8);
  out[0] = USAGE;
  out.writeUInt32BE(bucket, 1);
  out.writeUInt16BE(lane, 5);
  out[7] = USAGE_KINDS[kind];
  return out;
}

export function usageKindOf(row: Buffer): UsageKind {
  return row[7] === USAGE_KINDS.bytes ? 'bytes' : 'objects';
}

/** The counters of all buckets. */
export const usageBoundsAll = (): Bounds => within(Buffer.from([USAGE]));

export function usageBounds(bucket: number): Bounds {
  const out = Buffer.allocUnsafe(5);
  out[0] = USAGE;
  out.writeUInt32BE(bucket, 1);
  return within(out);
}

/* ------------------------------------------------------------------ events */

const EVENT_QUEUE_BYTES: Readonly<Record<EventQueue, number>> = {
  notification: 0x6e,
  replication: 0x72,
};
const EVENT_BOOK_KINDS = { waiting: 0x63, dropped: 0x64, lease: 0x6c } as const;
export type EventBook = keyof typeof EVENT_BOOK_KINDS;

const EVENT_ID_PATTERN = /^[0-9a-f]{32}$/;

/** Throws Failure `invalid` for what is no event id. */
export function eventKey(queue: EventQueue, bucket: number, id: string): Buffer {
  if (!EVENT_ID_PATTERN.test(id)) throw new Failure('invalid', 'not an event');
  const out = Buffer.allocUnsafe(22);
  eventPrefix(queue, bucket).copy(out);
  out.write(id, 6, 16, 'hex');
  return out;
}

function eventPrefix(queue: EventQueue, bucket: number): Buffer {
  const out = Buffer.from([EVENT, EVENT_QUEUE_BYTES[queue], 0, 0, 0, 0]);
  out.writeUInt32BE(bucket, 2);
  return out;
}

export function eventIdOf(row: Buffer): string {
  return row.toString('hex', 6);
}

export function bucketOfEvent(row: Buffer): number {
  return row.readUInt32BE(2);
}

/** The events of one bucket, from after the event `after`. */
export function eventBounds(queue: EventQueue, bucket: number, after?: string): Bounds {
  const all = within(eventPrefix(queue, bucket));
  return after === undefined
    ? all
    : { start: justAfter(eventKey(queue, bucket, after)), end: all.end };
}

/** All events of a queue of buckets with a number above `after`. */
export function eventsAfterBucket(queue: EventQueue, after: number): Bounds {
  const { end } = within(Buffer.from([EVENT, EVENT_QUEUE_BYTES[queue]]));
  return { start: eventPrefix(queue, after + 1), end };
}

/** A counter of events, or the row of who delivers them (lane 0). */
export function eventBookKey(
  bucket: number,
  queue: EventQueue,
  kind: EventBook,
  lane: number,
): Buffer {
  const out = Buffer.allocUnsafe(9);
  out[0] = EVENT_BOOK;
  out.writeUInt32BE(bucket, 1);
  out[5] = EVENT_QUEUE_BYTES[queue];
  out[6] = EVENT_BOOK_KINDS[kind];
  out.writeUInt16BE(lane, 7);
  return out;
}

export function eventBookOf(row: Buffer): { bucket: number; queue: EventQueue; kind: EventBook } {
  const kinds = Object.keys(EVENT_BOOK_KINDS) as EventBook[];
  return {
    bucket: row.readUInt32BE(1),
    queue: row[5] === EVENT_QUEUE_BYTES.replication ? 'replication' : 'notification',
    kind: kinds.find((name) => EVENT_BOOK_KINDS[name] === row[6]) ?? 'lease',
  };
}

/** Of one bucket, or of all. */
export function eventBookBounds(bucket?: number): Bounds {
  if (bucket === undefined) return within(Buffer.from([EVENT_BOOK]));
  const out = Buffer.allocUnsafe(5);
  out[0] = EVENT_BOOK;
  out.writeUInt32BE(bucket, 1);
  return within(out);
}
