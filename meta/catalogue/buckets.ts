/**
 * Buckets: created and deleted under their name, known to all other rows by a number that is never
 * used again.
 *
 * Deleting takes two commits. The first marks the bucket, which changes the stamp that every commit
 * of an object checks; then the bucket is looked through; then it goes, or the mark does. A mark
 * without a live attempt (see `attempts.ts`) is taken off by whoever meets it. Should its attempt
 * live after all, in another process, its last commit finds another stamp and fails.
 */
import { Failure } from '../../base/failure.ts';
import { type KeyValueStore, KV_LIMITS, readCounter } from '../engine/kv.ts';
import {
  type Answer,
  type Bucket,
  BUCKET_CONFIG_BYTES_MAX,
  BUCKETS_MAX,
  type BucketState,
  type CreateBucketCommand,
  type ExpectsBucket,
  type Meta,
  OBJECT_LOCK_CONFIG,
  type Versioning,
} from '../protocol.ts';
import { createAttempts } from './attempts.ts';
import type { Codec } from './codec.ts';
import { type Draft, rawCodec } from './draft.ts';
import {
  BUCKET_COUNT_KEY,
  type Bounds,
  bucketBounds,
  bucketKey,
  justAfter,
  NEXT_BUCKET_KEY,
  objectBounds,
  ownerBucketsKey,
  nameOfSetting,
  settingBounds,
  settingKey,
  usageBounds,
} from './keyspace.ts';
import {
  bucketCodec,
  type BucketRow,
  nextBucketCodec,
  publicBucket,
  settingCodec,
} from './records.ts';
import { boundByQuota } from './quota.ts';
import { enqueue } from './references.ts';
import { PENDING, type RunOptions, type Runner, type Step } from './runner.ts';
import { usageOf } from './usage.ts';

/** Tries of one deletion while other servers write into the bucket. */
const TRIES_MAX = 10;
/** Buckets whose rows are kept decoded. */
const NAMES_MAX = 10_000;
/** Never seen outside: the step is run again. */
const BEING_DELETED: Answer<never> = { ok: false, refusal: 'OperationAborted' };
const NO_SUCH_BUCKET: Answer<never> = { ok: false, refusal: 'NoSuchBucket' };
const NOT_LOCKABLE: Answer<never> = {
  ok: false,
  refusal: 'InvalidBucketState',
  message: "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
};
const NOT_SUSPENDABLE: Answer<never> = {
  ok: false,
  refusal: 'InvalidBucketState',
  message:
    'An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.',
};
const BUCKET_CHANGED: Answer<never> = { ok: false, refusal: 'BucketChanged' };

/** Keys of rows that lie under a bucket's number. */
type KeysOf = (bucketId: number) => readonly Buffer[];

/** Which bucket is meant, and in which state. */
export type BucketName = { bucket: string } & ExpectsBucket;

/** What a step decides in a bucket that stands. */
type BucketStep<T> = (draft: Draft, bucket: BucketRow) => Answer<T>;

type BucketMethods = Pick<
  Meta,
  | 'createBucket'
  | 'getBucket'
  | 'deleteBucket'
  | 'listBuckets'
  | 'bucketUsage'
  | 'setVersioning'
  | 'setBucketConfig'
  | 'getBucketConfig'
  | 'getBucketSettings'
>;

interface BucketRunOptions<T> extends RunOptions<T> {
  /** The step is bound by the bucket's quota: QuotaExceeded. */
  quota?: true | undefined;
}

interface FoundBucket {
  bucket: BucketRow;
  entries: Awaited<ReturnType<KeyValueStore['get']>>;
}

export interface Buckets extends BucketMethods {
  count(): Promise<number>;
  /**
   * Reads the bucket's row and, in the same snapshot, the rows whose keys follow from its number.
   * Refused with NoSuchBucket and BucketChanged.
   */
  read(name: BucketName, keysOf: KeysOf): Promise<Answer<FoundBucket>>;
  /** Runs a step whose commit holds only while the bucket stands unchanged. */
  run<T>(
    name: BucketName,
    keysOf: KeysOf,
    step: BucketStep<T>,
    options?: BucketRunOptions<T>,
  ): Promise<Answer<T>>;
  /** The number that the name had last, if known: what is read by it must be verified. */
  hint(name: string): number | undefined;
}

/* ------------------------------------------------------------------ steps */

const counterCodec: Codec<number> = {
  encode: () => Buffer.alloc(8),
  decode: (bytes) => Number(bytes.readBigInt64BE(0)),
};

/** `bucketsMax`: of one owner. */
function createBucketStep(
  draft: Draft,
  command: CreateBucketCommand,
  bucketsMax: number,
): Answer<Bucket> {
  const row = draft.row(bucketKey(command.name), bucketCodec);
  const next = draft.row(NEXT_BUCKET_KEY, nextBucketCodec);
  const owned = draft.row(ownerBucketsKey(command.owner), counterCodec);
  if (row === undefined || next === undefined || owned === undefined) return PENDING;
  if (row.value !== null) {
    const mine = row.value.owner === command.owner;
    return { ok: false, refusal: mine ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists' };
  }
  // Every creation checks the row of the next number, so no two of them see the same count.
  if ((owned.value ?? 0) >= bucketsMax) return { ok: false, refusal: 'TooManyBuckets' };
  const id = next.value?.next ?? 1;
  const { name, owner, region, versioning } = command;
  const configs = Object.keys(command.configs ?? {}).sort();
  if (configs.includes(OBJECT_LOCK_CONFIG) && versioning !== 'Enabled') return NOT_LOCKABLE;
  const bucket: Bucket = { id, name, owner, region, createdMs: draft.nowMs, revision: 1, configs };
  if (versioning !== undefined) bucket.versioning = versioning;
  for (const [config, value] of Object.entries(command.configs ?? {})) {
    draft.insert(settingKey(id, config), settingCodec, { value });
  }
  draft.put(next, { next: id + 1 });
  draft.put(row, bucket);
  draft.add(BUCKET_COUNT_KEY, 1);
  draft.add(ownerBucketsKey(owner), 1);
  return { ok: true, value: bucket };
}

/** Marks the bucket as being deleted by `attempt`; a mark without a live attempt is replaced. */
function markDeletingStep(
  draft: Draft,
  name: string,
  attempt: string,
  isLive: (attempt: string) => boolean,
): Answer<BucketRow> {
  const row = draft.row(bucketKey(name), bucketCodec);
  if (row === undefined) return PENDING;
  if (row.value === null) return NO_SUCH_BUCKET;
  const other = row.value.deleting;
  if (other !== undefined && isLive(other)) return { ok: false, refusal: 'OperationAborted' };
  const marked = { ...row.value, deleting: attempt };
  draft.put(row, marked);
  return { ok: true, value: marked };
}

/** Takes the mark of `attempt` off, if it is there. */
function unmarkStep(draft: Draft, name: string, attempt: string): Answer<null> {
  const row = draft.row(bucketKey(name), bucketCodec);
  if (row === undefined) return PENDING;
  if (row.value?.deleting === attempt) draft.put(row, { ...row.value, deleting: undefined });
  return { ok: true, value: null };
}

/** Writes the bucket's row, whose stamp every commit of an object checks: it puts them in order. */
function setVersioningStep(draft: Draft, name: string, versioning: Versioning): Answer<Bucket> {
  const row = draft.row(bucketKey(name), bucketCodec);
  if (row === undefined) return PENDING;
  if (row.value === null) return NO_SUCH_BUCKET;
  const locks = row.value.configs.includes(OBJECT_LOCK_CONFIG);
  if (locks && versioning !== 'Enabled') return NOT_SUSPENDABLE;
  const next = { ...row.value, versioning, revision: row.value.revision + 1 };
  if (row.value.versioning !== versioning) draft.put(row, next);
  return { ok: true, value: publicBucket(next) };
}

/** Writes the bucket's row, too: whoever goes by the bucket's state notices. */
function setConfigStep(
  draft: Draft,
  bucket: BucketRow,
  { name, value }: { name: string; value?: string | undefined },
): Answer<null> {
  if (name === OBJECT_LOCK_CONFIG && (value === undefined || bucket.versioning !== 'Enabled')) {
    return NOT_LOCKABLE;
  }
  const row = draft.row(settingKey(bucket.id, name), settingCodec);
  const own = draft.row(bucketKey(bucket.name), bucketCodec);
  if (row === undefined || own === undefined) return PENDING;
  if (value !== undefined) draft.put(row, { value });
  else if (row.value !== null) draft.remove(row);
  const others = bucket.configs.filter((other) => other !== name);
  const configs = value === undefined ? others : [...others, name].sort();
  draft.put(own, { ...bucket, configs, revision: bucket.revision + 1 });
  return { ok: true, value: null };
}

function isExpected({ id, revision }: BucketRow, expect: BucketState | undefined): boolean {
  return expect === undefined || (expect.id === id && expect.revision === revision);
}

/** Removes a bucket that carries the mark of `attempt`, with its counters and configurations. */
function removeBucketStep(
  draft: Draft,
  name: string,
  attempt: string,
  lane: number,
  owned: readonly Buffer[],
): Answer<null> {
  const row = draft.row(bucketKey(name), bucketCodec);
  if (row === undefined) return PENDING;
  if (row.value === null) return NO_SUCH_BUCKET;
  if (row.value.deleting !== attempt) return { ok: false, refusal: 'OperationAborted' };
  for (const key of owned) {
    const own = draft.row(key, rawCodec);
    if (own === undefined) return PENDING;
    if (own.value !== null) draft.remove(own);
  }
  enqueue(draft, { lane }, { kind: 'bucket', bucketId: row.value.id });
  draft.add(BUCKET_COUNT_KEY, -1);
  draft.add(ownerBucketsKey(row.value.owner), -1);
  draft.remove(row);
  return { ok: true, value: null };
}

/* ------------------------------------------------------------------ with a store */

interface BucketsSettings {
  store: KeyValueStore;
  runner: Runner;
  lane: number;
  bucketsMax?: number | undefined;
}

export function createBuckets(settings: BucketsSettings): Buckets {
  const { store, runner, lane } = settings;
  const bucketsMax = settings.bucketsMax ?? BUCKETS_MAX;
  const attempts = createAttempts(runner.ids.boot);
  const { seen, codecOf } = createMemory();

  const read: Buckets['read'] = async ({ bucket: name, expect }, keysOf) => {
    const key = bucketKey(name);
    for (;;) {
      const guess = seen(name);
      const keys = guess === undefined ? [] : keysOf(guess);
      const [entry, ...entries] = await store.get([key, ...keys]);
      if (entry === null || entry === undefined) return NO_SUCH_BUCKET;
      const bucket = codecOf(name).decode(entry.value);
      if (!isExpected(bucket, expect)) return BUCKET_CHANGED;
      // A name may belong to another bucket than last time: then the other rows are not its own.
      if (bucket.id === guess) return { ok: true, value: { bucket, entries } };
    }
  };

  async function unmark(name: string, attempt: string): Promise<void> {
    await runner.run([bucketKey(name)], (draft) => unmarkStep(draft, name, attempt));
  }

  async function run<T>(
    { bucket: name, expect }: BucketName,
    keysOf: KeysOf,
    step: BucketStep<T>,
    options?: BucketRunOptions<T>,
  ): Promise<Answer<T>> {
    const key = bucketKey(name);
    const codec = codecOf(name);
    for (;;) {
      let mark: string | undefined;
      const guarded: Step<T> = (draft) => {
        mark = undefined;
        const row = draft.row(key, codec);
        if (row === undefined) return PENDING;
        if (row.value === null) return NO_SUCH_BUCKET;
        if (!isExpected(row.value, expect)) return BUCKET_CHANGED;
        mark = row.value.deleting;
        if (mark !== undefined) return BEING_DELETED;
        const answer = step(draft, row.value);
        draft.check(row);
        if (options?.quota === true && !boundByQuota(draft, row.value, lane)) return PENDING;
        return answer;
      };
      const guess = seen(name);
      const keys = guess === undefined ? [key] : [key, ...keysOf(guess)];
      const answer = await runner.run(keys, guarded, options);
      if (mark === undefined) return answer;
      // Somebody deletes the bucket: wait for what comes of it, or undo what a dead one left.
      if (!(await attempts.settled(mark))) await unmark(name, mark);
    }
  }

  async function attemptDelete(name: string, attempt: string): Promise<Answer<null>> {
    const keys = [bucketKey(name)];
    const marked = await runner.run(keys, (draft) =>
      markDeletingStep(draft, name, attempt, attempts.isLive),
    );
    if (!marked.ok) return marked;
    const first = await store.range({ ...objectBounds(marked.value.id, ''), limit: 1 });
    if (first.length > 0) {
      await unmark(name, attempt);
      return { ok: false, refusal: 'BucketNotEmpty' };
    }
    const owned: Buffer[] = [];
    for (const bounds of [usageBounds(marked.value.id), settingBounds(marked.value.id)]) {
      const rows = await store.range({ ...bounds, limit: KV_LIMITS.rangeRows });
      for (const row of rows) owned.push(row.key);
    }
    return runner.run([...keys, ...owned], (draft) =>
      removeBucketStep(draft, name, attempt, lane, owned),
    );
  }

  return {
    read,
    run,
    hint: seen,
    async deleteBucket({ bucket, expect }) {
      for (let tries = 1; ; tries++) {
        const found = await read({ bucket, expect }, () => []);
        if (!found.ok) return found;
        // One at a time: the other's outcome decides what is left to do.
        const other = found.value.bucket.deleting;
        if (other !== undefined && (await attempts.settled(other))) continue;
        const answer = await attempts.run((attempt) => attemptDelete(bucket, attempt));
        // Another server took the mark off, for a dead one's, to write something.
        if (answer.ok || answer.refusal !== 'OperationAborted' || tries >= TRIES_MAX) return answer;
        await runner.pause();
      }
    },
    async createBucket(command) {
      const keys = [bucketKey(command.name), NEXT_BUCKET_KEY, ownerBucketsKey(command.owner)];
      return runner.run(keys, (draft) => createBucketStep(draft, command, bucketsMax));
    },
    async getBucket(query) {
      const found = await read(query, () => []);
      return found.ok ? { ok: true, value: publicBucket(found.value.bucket) } : found;
    },
    async listBuckets({ prefix, after, limit, owner }) {
      const { start, end } = bucketBounds(prefix, after);
      return limit < 1 ? { buckets: [] } : bucketPage(store, { start, end }, limit, owner);
    },
    async bucketUsage(query) {
      const found = await read(query, () => []);
      if (!found.ok) return found;
      return { ok: true, value: await usageOf(store, found.value.bucket.id) };
    },
    async setVersioning(command) {
      return run(
        command,
        () => [],
        (draft) => setVersioningStep(draft, command.bucket, command.versioning),
      );
    },
    async setBucketConfig(command) {
      const { name, value } = command;
      if (Buffer.byteLength(value ?? '') > BUCKET_CONFIG_BYTES_MAX) {
        throw new Failure('invalid', 'the configuration is too long');
      }
      return run(
        command,
        (bucketId) => [settingKey(bucketId, name)],
        (draft, bucket) => setConfigStep(draft, bucket, { name, value }),
      );
    },
    async getBucketConfig(query) {
      const found = await read(query, (bucketId) => [settingKey(bucketId, query.name)]);
      if (!found.ok) return found;
      const entry = found.value.entries[0];
      const answer = { bucket: publicBucket(found.value.bucket) };
      if (entry === null || entry === undefined) return { ok: true, value: answer };
      return { ok: true, value: { ...answer, value: settingCodec.decode(entry.value).value } };
    },
    async getBucketSettings({ bucket }) {
      for (;;) {
        const first = await read({ bucket }, () => []);
        if (!first.ok) return first;
        const { id, revision } = first.value.bucket;
        const rows = await store.range({ ...settingBounds(id), limit: KV_LIMITS.rangeRows });
        // Every change of a configuration writes the bucket's row: unchanged, they are of one moment.
        const again = await read({ bucket, expect: { id, revision } }, () => []);
        if (!again.ok && again.refusal === 'BucketChanged') continue;
        if (!again.ok) return again;
        const values = rows.map((row) => [
          nameOfSetting(row.key),
          settingCodec.decode(row.value).value,
        ]);
        const value = {
          bucket: publicBucket(again.value.bucket),
          values: Object.fromEntries(values),
        };
        return { ok: true, value };
      }
    },
    async count() {
      const [entry] = await store.get([BUCKET_COUNT_KEY]);
      return Number(readCounter(entry ?? null));
    },
  };
}

async function bucketPage(
  store: KeyValueStore,
  { start, end }: Bounds,
  limit: number,
  owner: string | undefined,
): Promise<{ buckets: Bucket[]; next?: string | undefined }> {
  const buckets: Bucket[] = [];
  let from = start;
  while (Buffer.compare(from, end) < 0) {
    const wanted =
      owner === undefined
        ? Math.min(limit + 1 - buckets.length, KV_LIMITS.rangeRows)
        : KV_LIMITS.rangeRows;
    const rows = await store.range({ start: from, end, limit: wanted });
    for (const row of rows) {
      from = justAfter(row.key);
      const bucket = bucketCodec.decode(row.value);
      if (owner !== undefined && bucket.owner !== owner) continue;
      if (buckets.length === limit) return { buckets, next: buckets.at(-1)?.name };
      buckets.push(publicBucket(bucket));
    }
    if (rows.length < wanted) break;
  }
  return { buckets };
}

/**
 * The last row seen of each bucket, decoded. Never believed by itself: it only saves decoding the
 * same bytes again and tells under which number to look.
 */
function createMemory() {
  const last = new Map<string, { bytes: Buffer; row: BucketRow }>();
  return {
    seen: (name: string): number | undefined => last.get(name)?.row.id,
    codecOf: (name: string): Codec<BucketRow> => ({
      encode: bucketCodec.encode,
      decode(bytes) {
        const known = last.get(name);
        if (known !== undefined && known.bytes.equals(bytes)) return known.row;
        const row = bucketCodec.decode(bytes);
        if (last.size >= NAMES_MAX) last.clear();
        last.set(name, { bytes: Buffer.from(bytes), row });
        return row;
      },
    }),
  };
}
