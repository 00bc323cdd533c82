/** What the tests of the catalogue share: a world on the memory engine, and its invariants. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Effects } from '../../base/clock.ts';
import { type BlobId, makeBlobId } from '../../base/ids.ts';
import { leaseKey } from '../cluster/rows.ts';
import type { Entry, KeyValueStore } from '../engine/kv.ts';
import { createMemoryStore } from '../engine/memory.ts';
import type {
  Answer,
  BlobRef,
  CompleteUploadCommand,
  NewObject,
  PutPartCommand,
  Refusal,
  Upload,
} from '../protocol.ts';
import { type Catalogue, createCatalogue } from './catalogue.ts';
import { isUsed } from './complete.ts';
import { bucketNameOf, nameOfUpload, numberOfPart, usageKindOf } from './keyspace.ts';
import { garbageCodec } from './queue-records.ts';
import {
  blobCodec,
  bucketCodec,
  objectCodec,
  partCodec,
  partListCodec,
  partPageCodec,
  type VersionRow,
} from './records.ts';

export const OWNER = 'ab'.repeat(32);
const BLOCK_SIZE = 1024 * 1024;
export const MIB = 1024 * 1024;

interface TestClock {
  ms: number;
}

/** A clock that stands until it is moved, and random bytes that repeat in every run. */
export function testEffects(clock: TestClock, seed = 1, pause?: () => Promise<void>): Effects {
  let state = seed >>> 0;
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state;
  };
  return {
    clock: {
      now: () => clock.ms,
      monotonic: () => clock.ms,
      after: () => ({ cancel: () => {} }),
      sleep: async () => pause?.(),
    },
    random: {
      bytes: (length) => Buffer.from(Array.from({ length }, () => next() >>> 24)),
      fraction: () => next() / 2 ** 32,
    },
  };
}

export interface World {
  store: KeyValueStore;
  clock: TestClock;
  catalogue: Catalogue;
  /** Another metadata server over the same store, which knows nothing of the first. */
  another(seed: number): Catalogue;
  /** A blob of the world's writer, never used before. */
  blob(size: number): BlobRef;
  /** A new object with content of its own. */
  object(size: number, changes?: Partial<NewObject>): NewObject;
  put(bucket: string, key: string, size?: number): Promise<NewObject>;
}

export const WRITER = 7;

/** `pause` is awaited before every access to the store: tests order the accesses with it. */
export async function createWorld(
  options: { pause?: () => Promise<void>; store?: KeyValueStore } = {},
): Promise<World> {
  const inner = options.store ?? createMemoryStore();
  const { pause } = options;
  const store: KeyValueStore =
    pause === undefined
      ? inner
      : {
          get: async (keys) => pause().then(() => inner.get(keys)),
          range: async (range) => pause().then(() => inner.range(range)),
          commit: async (commit) => pause().then(() => inner.commit(commit)),
          close: () => inner.close(),
        };
  const clock: TestClock = { ms: Date.UTC(2026, 10, 20) };
  await openLease(inner, WRITER);
  let sequence = 0;
  let contents = 0;
  const catalogueOf = (seed: number, lane: number) =>
    createCatalogue({ store, effects: testEffects(clock, seed, pause), lane });
  const world: World = {
    store: inner,
    clock,
    catalogue: catalogueOf(1, 0),
    another: (seed) => catalogueOf(seed, seed),
    blob: (size) => ({ blob: makeBlobId(WRITER, sequence++), size, blockSize: BLOCK_SIZE }),
    object(size, changes = {}) {
      const data =
        size === 0 ? { kind: 'none' as const } : { kind: 'blob' as const, ...world.blob(size) };
      const etag = md5(String(contents++));
      return { size, etag, owner: OWNER, data, system: {}, user: {}, ...changes };
    },
    async put(bucket, key, size = 10) {
      const object = world.object(size);
      const put = { writer: WRITER, bucket, key, object, missing: [] };
      value(await world.catalogue.putObject(put));
      return object;
    },
  };
  return world;
}

/**
 * A store that runs `before` once, ahead of the next commit: what the commit was decided on may have
 * changed by then.
 */
export function interrupted(inner: KeyValueStore) {
  let before: (() => Promise<unknown>) | undefined;
  const store: KeyValueStore = {
    ...inner,
    commit: async (commit) => {
      const run = before;
      before = undefined;
      await run?.();
      return inner.commit(commit);
    },
  };
  return {
    store,
    beforeNextCommit: (run: () => Promise<unknown>) => {
      before = run;
    },
  };
}

let leaseStamps = 0;

async function openLease(store: KeyValueStore, writer: number): Promise<void> {
  const id = Buffer.alloc(16, 0xee);
  id.writeUInt32BE(leaseStamps++, 0);
  const set = [{ key: leaseKey(writer), value: Buffer.from([1]) }];
  await store.commit({ id, checks: [], set, del: [], add: [] });
}

export async function endLease(store: KeyValueStore, writer: number): Promise<void> {
  const id = Buffer.alloc(16, 0xed);
  id.writeUInt32BE(leaseStamps++, 0);
  await store.commit({ id, checks: [], set: [], del: [leaseKey(writer)], add: [] });
}

export function md5(text: string): string {
  return createHash('md5').update(text).digest('hex');
}

/** The value of an answer that must be a yes. */
export function value<T>(answer: Answer<T>): T {
  assert.ok(answer.ok, `refused: ${JSON.stringify(answer)}`);
  return answer.value;
}

/** The refusal of an answer that must be a no. */
export function refusal(answer: Answer<unknown>): Refusal {
  assert.ok(!answer.ok, 'not refused');
  return answer.refusal;
}

/** A part with content of its own. */
export function freshPart(
  world: World,
  upload: { bucket: string; key: string; uploadId: string },
  number: number,
  size: number,
  checksum?: string,
): PutPartCommand {
  const blob = world.blob(Math.max(1, size));
  return {
    bucket: upload.bucket,
    key: upload.key,
    uploadId: upload.uploadId,
    writer: WRITER,
    number,
    size,
    etag: md5(blob.blob),
    ...(checksum === undefined ? {} : { checksum }),
    data: size === 0 ? { kind: 'none' } : { kind: 'fresh', ...blob, size },
    missing: [],
  };
}

/** A world with the bucket `b`. */
export async function worldWithBucket(): Promise<World> {
  const made = await createWorld();
  value(await made.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
  return made;
}

/** Starts an upload in the bucket `b`. */
export async function startUpload(
  { catalogue }: World,
  key = 'k',
  checksum?: Upload['checksum'],
): Promise<Upload> {
  const command = {
    bucket: 'b',
    key,
    owner: OWNER,
    system: { contentType: 'x/y' },
    user: { a: 'b' },
  };
  return value(
    await catalogue.createUpload(checksum === undefined ? command : { ...command, checksum }),
  );
}

export function complete(
  catalogue: Catalogue,
  upload: Upload,
  parts: CompleteUploadCommand['parts'],
  changes: Partial<CompleteUploadCommand> = {},
) {
  const { bucket, key, uploadId } = upload;
  return catalogue.completeUpload({ bucket, key, uploadId, parts, ...changes });
}

/** Works the garbage queue off, as the job does, until nothing is due. */
export async function drainGarbage(catalogue: Catalogue): Promise<BlobId[]> {
  const removed: BlobId[] = [];
  for (;;) {
    const entries = await catalogue.garbage.next(3);
    if (entries.length === 0) return removed;
    for (const entry of entries) {
      if (entry.kind === 'blob') {
        removed.push(entry.blob);
        await catalogue.garbage.done([entry.id]);
      } else {
        while (!(await catalogue.garbage.expand(entry)));
      }
    }
  }
}

/** All rows of one kind. */
export async function rowsOf(store: KeyValueStore, kind: string): Promise<Entry[]> {
  const rows: Entry[] = [];
  let start = Buffer.from(kind, 'latin1');
  const end = Buffer.from(start);
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1;
  for (;;) {
    const page = await store.range({ start, end, limit: 1000 });
    rows.push(...page);
    const last = page.at(-1);
    if (last === undefined || page.length < 1000) return rows;
    start = Buffer.concat([last.key, Buffer.from([0])]);
  }
}

async function counterSum(store: KeyValueStore, prefix: string): Promise<number> {
  const rows = await rowsOf(store, prefix);
  return rows.reduce((sum, row) => sum + Number(row.value.readBigInt64BE(0)), 0);
}

function tally<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/**
 * Every row of the store held against every other: reference counts, counters, queues. Independent
 * of how the catalogue works on them.
 */
export async function checkInvariants(store: KeyValueStore): Promise<void> {
  const garbage = [...(await rowsOf(store, 'qg')), ...(await rowsOf(store, 'qt'))].map((row) =>
    garbageCodec.decode(row.value),
  );
  const ended = new Map(
    garbage.flatMap((entry) => (entry.kind === 'upload' ? [[entry.uploadId, entry.used]] : [])),
  );
  const blobRefs = new Map<string, number>();
  const listRefs = new Map<string, number>();
  const usage = new Map<number, { objects: number; bytes: number }>();
  await checkChains(store);
  for (const row of [...(await rowsOf(store, 'o')), ...(await rowsOf(store, 'v'))]) {
    const { data, size } = objectCodec.decode(row.value);
    if (data.kind === 'blob') tally(blobRefs, data.blob);
    if (data.kind === 'parts') tally(listRefs, data.list);
    const bucketId = row.key.readUInt32BE(1);
    const sum = usage.get(bucketId) ?? { objects: 0, bytes: 0 };
    usage.set(bucketId, { objects: sum.objects + 1, bytes: sum.bytes + size });
  }
  const uploads = new Set<string>();
  for (const row of await rowsOf(store, 'u')) uploads.add(nameOfUpload(row.key).uploadId);
  for (const row of await rowsOf(store, 'p')) {
    const uploadId = row.key.toString('hex', 1, 23);
    const used = ended.get(uploadId);
    assert.ok(uploads.has(uploadId) !== (used !== undefined), 'a part has an open or ended upload');
    const { data } = partCodec.decode(row.value);
    if (data !== undefined && !isUsed(used ?? Buffer.alloc(0), numberOfPart(row.key))) {
      tally(blobRefs, data.blob);
    }
  }
  await checkPartLists(store, listRefs, blobRefs, garbage);
  await checkBlobs(store, blobRefs, garbage);
  await checkCounters(store, usage, (await rowsOf(store, 'qg')).length);
  await checkEvents(store);
  const answers = (await rowsOf(store, 'c')).map((row) => row.key.toString('hex', 1));
  const kept = garbage.flatMap((entry) => (entry.kind === 'completed' ? [entry.uploadId] : []));
  assert.deepEqual(answers, kept.sort(), 'every kept answer is forgotten some day');
}

/** Every event is counted, in the lane that it came by. */
async function checkEvents(store: KeyValueStore): Promise<void> {
  const counted = new Map<string, number>();
  const placeOfRow = (bucket: number, queue: string) => `${bucket}/${queue}`;
  for (const row of await rowsOf(store, 'e')) {
    tally(counted, placeOfRow(row.key.readUInt32BE(2), row.key.toString('latin1', 1, 2)));
  }
  const waiting = new Map<string, number>();
  for (const row of await rowsOf(store, 'E')) {
    if (row.key[6] !== 0x63) continue;
    const place = placeOfRow(row.key.readUInt32BE(1), row.key.toString('latin1', 5, 6));
    waiting.set(place, (waiting.get(place) ?? 0) + Number(row.value.readBigInt64BE(0)));
  }
  for (const [place, count] of waiting) if (count === 0) waiting.delete(place);
  assert.deepEqual([...waiting].sort(byName), [...counted].sort(byName), 'every event is counted');
}

/** Every version is in one chain from its key's current one, newest first. */
async function checkChains(store: KeyValueStore): Promise<void> {
  const older = new Map<string, VersionRow>();
  for (const row of await rowsOf(store, 'v')) {
    const version = objectCodec.decode(row.value);
    assert.equal(row.key.toString('hex', row.key.length - 16), version.version);
    older.set(row.key.toString('hex', 1), version);
  }
  for (const row of await rowsOf(store, 'o')) {
    const head = objectCodec.decode(row.value);
    assert.equal(head.newer, undefined, 'nothing is newer than the current version');
    let above = head;
    let olderNull: string | undefined;
    while (above.older !== undefined) {
      const place = `${row.key.toString('hex', 1)}${above.older}`;
      const version = older.get(place);
      assert.ok(version !== undefined, 'the next older version stands');
      older.delete(place);
      assert.equal(version.newer, above.version, 'an older version knows the next newer one');
      assert.ok(version.version > above.version, 'newer versions sort first');
      assert.equal(version.olderNull, undefined);
      if (version.named !== true) {
        assert.ok(head.named === true && olderNull === undefined, 'one version goes by null');
        olderNull = version.version;
      }
      above = version;
    }
    assert.equal(head.olderNull, olderNull, 'the current version knows the null one');
  }
  assert.equal(older.size, 0, 'every older version belongs to a key');
}

type Garbage = ReturnType<typeof garbageCodec.decode>;

async function checkPartLists(
  store: KeyValueStore,
  listRefs: Map<string, number>,
  blobRefs: Map<string, number>,
  garbage: Garbage[],
): Promise<void> {
  const doomed = garbage.flatMap((entry) => (entry.kind === 'parts' ? [entry.list] : []));
  const headers = new Set<string>();
  for (const row of await rowsOf(store, 'm')) {
    const list = row.key.toString('hex', 1, 17);
    if (row.key.readUInt16BE(17) === 0) {
      headers.add(list);
      const { refs } = partListCodec.decode(row.value);
      assert.equal(refs, listRefs.get(list) ?? 0, 'a part list counts its objects');
      const queued = doomed.filter((other) => other === list).length;
      assert.equal(queued, refs === 0 ? 1 : 0, 'a part list is garbage when nothing refers to it');
      continue;
    }
    assert.ok(headers.has(list), 'a page has its header');
    for (const { data } of partPageCodec.decode(row.value).parts) {
      if (data !== undefined) tally(blobRefs, data.blob);
    }
  }
  for (const list of listRefs.keys()) assert.ok(headers.has(list), 'an object has its part list');
}

function byName([left]: [string, number], [right]: [string, number]): number {
  return left < right ? -1 : 1;
}

async function checkBlobs(
  store: KeyValueStore,
  blobRefs: Map<string, number>,
  garbage: Garbage[],
): Promise<void> {
  const counted = new Map<string, number>();
  for (const row of await rowsOf(store, 'b')) {
    counted.set(row.key.toString('hex', 1), blobCodec.decode(row.value).refs);
  }
  assert.deepEqual(
    new Map([...counted].sort(byName)),
    new Map([...blobRefs].sort(byName)),
    'every blob counts what refers to it',
  );
  const dead = garbage.flatMap((entry) => (entry.kind === 'blob' ? [entry.blob] : []));
  assert.equal(new Set(dead).size, dead.length, 'a blob is garbage once');
  for (const blob of dead) assert.ok(!counted.has(blob), 'no blob is both in use and garbage');
  for (const row of await rowsOf(store, 'qr')) {
    const blob = row.key.toString('hex', 2, 18) as BlobId;
    assert.ok(counted.has(blob) || dead.includes(blob), 'only known blobs wait for repair');
  }
}

async function checkCounters(
  store: KeyValueStore,
  usage: Map<number, { objects: number; bytes: number }>,
  garbageLength: number,
): Promise<void> {
  const counted = new Map<number, { objects: number; bytes: number }>();
  for (const row of await rowsOf(store, 'U')) {
    const bucketId = row.key.readUInt32BE(1);
    const sum = counted.get(bucketId) ?? { objects: 0, bytes: 0 };
    sum[usageKindOf(row.key)] += Number(row.value.readBigInt64BE(0));
    counted.set(bucketId, sum);
  }
  const buckets = (await rowsOf(store, 'B')).filter((row) => row.key[1] !== 0);
  const ids = new Set<number>();
  for (const row of buckets) {
    const { id, name } = bucketCodec.decode(row.value);
    assert.equal(name, bucketNameOf(row.key));
    ids.add(id);
  }
  assert.equal(ids.size, buckets.length, 'bucket numbers are unique');
  for (const [id, sum] of usage) {
    assert.ok(ids.has(id), 'an object is in a bucket');
    assert.deepEqual(counted.get(id), sum, 'usage equals a recount');
  }
  for (const [id, sum] of counted) {
    assert.ok(ids.has(id), 'a deleted bucket leaves no counters');
    if (!usage.has(id)) assert.deepEqual(sum, { objects: 0, bytes: 0 });
  }
  assert.equal(await counterSum(store, 'B\0n'), buckets.length, 'the number of buckets');
  assert.equal(await counterSum(store, 'B\0o'), buckets.length, 'the buckets of all owners');
  assert.equal(await counterSum(store, 'qng'), garbageLength, 'the length of the garbage queue');
  const repairs = await rowsOf(store, 'qr');
  assert.equal(await counterSum(store, 'qnr'), repairs.length, 'the length of the repair queue');
}

/** After the queue is dry: no row is left that nothing leads to. */
export async function checkNothingLeft(store: KeyValueStore): Promise<void> {
  assert.deepEqual(await rowsOf(store, 'qg'), [], 'no garbage');
  assert.deepEqual(await rowsOf(store, 'qt'), [], 'no timed garbage');
  assert.deepEqual(await rowsOf(store, 'c'), [], 'no kept answers');
  for (const row of await rowsOf(store, 'm')) {
    if (row.key.readUInt16BE(17) !== 0) continue;
    assert.ok(partListCodec.decode(row.value).refs > 0, 'no unreferenced part list');
  }
  const buckets = (await rowsOf(store, 'B')).filter((row) => row.key[1] !== 0);
  const ids = new Set(buckets.map((row) => bucketCodec.decode(row.value).id));
  for (const row of await rowsOf(store, 'u')) {
    assert.ok(ids.has(row.key.readUInt32BE(1)), 'no upload without a bucket');
  }
  await checkInvariants(store);
}
