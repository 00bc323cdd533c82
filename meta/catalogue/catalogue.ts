/**
 * The catalogue: buckets, objects, uploads and listings over a key-value store, with the queues of
 * what is to be removed and repaired. Every change is one commit that carries its own checks; what
 * is decided is decided by pure steps on what was read (`draft.ts`), run by `runner.ts`.
 */
import type { Effects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import type { KeyValueStore } from '../engine/kv.ts';
import { DAY_MS } from '../lifecycle-protocol.ts';
import type { BucketUsage, EventMethods, Meta } from '../protocol.ts';
import { type Accounts, createAccounts } from './accounts.ts';
import { createAttempts } from './attempts.ts';
import { type Blobs, createBlobs } from './blobs.ts';
import { createAppend } from './append.ts';
import { createBuckets } from './buckets.ts';
import { createComplete } from './complete.ts';
import { createDataKeys } from './data-keys.ts';
import { EVENTS_MAX } from './event-scope.ts';
import { createGarbage, type GarbageQueue } from './garbage.ts';
import { createIds } from './ids.ts';
import { createLifecycle, type LifecycleWork } from './lifecycle.ts';
import { createListing } from './listing.ts';
import { createVersionListing } from './list-versions.ts';
import { createObjects } from './objects.ts';
import { createOutbox } from './outbox.ts';
import { readParts } from './part-lists.ts';
import { recount } from './recount.ts';
import type { RecountOptions } from './recount-parts.ts';
import { createRepairs, type Repairs } from './repairs.ts';
import { createRename } from './rename.ts';
import { createRunner } from './runner.ts';
import { createTurns } from './turns.ts';
import { createUploads } from './uploads.ts';
import { usageOfAll } from './usage.ts';
import { WatchedStore } from './watched-store.ts';

export type { GarbageEntry, GarbageQueue } from './garbage.ts';
export type { Blobs, FoundBlob } from './blobs.ts';
export type { RepairEntry, Repairs } from './repairs.ts';

export type CatalogueMethods = Pick<
  Meta,
  | 'createBucket'
  | 'getBucket'
  | 'deleteBucket'
  | 'listBuckets'
  | 'bucketUsage'
  | 'putObject'
  | 'getObject'
  | 'readParts'
  | 'copyObject'
  | 'deleteObject'
  | 'deleteObjects'
  | 'listObjects'
  | 'createUpload'
  | 'getUpload'
  | 'putPart'
  | 'listParts'
  | 'listUploads'
  | 'completeUpload'
  | 'abortUpload'
  | 'setVersioning'
  | 'listVersions'
  | 'setObjectTags'
  | 'setObjectLock'
  | 'setBucketConfig'
  | 'getBucketConfig'
  | 'getBucketSettings'
  | 'setReplication'
  | keyof EventMethods
  | 'setObjectExtras'
  | 'findAccount'
  | 'renameObject'
  | 'appendObject'
>;

export interface Catalogue extends CatalogueMethods {
  readonly garbage: GarbageQueue;
  readonly repairs: Repairs;
  readonly blobs: Blobs;
  readonly accounts: Accounts;
  readonly dataKeys: ReturnType<typeof createDataKeys>;
  readonly lifecycle: LifecycleWork;
  /** Buckets in the store. */
  bucketCount(): Promise<number>;
  /** Holds the rows against each other (`recount.ts`). Returns how many blobs there were at the start. */
  recount(options: RecountOptions): Promise<number>;
  /** Objects and bytes of all buckets together. */
  totalUsage(): Promise<BucketUsage>;
}

export interface CatalogueSettings {
  store: KeyValueStore;
  effects: Effects;
  /** Of the counters that this process adds to, 0 … 65,535: one per metadata server. */
  lane?: number | undefined;
  /** Buckets per owner. */
  bucketsMax?: number | undefined;
  /** Events of one bucket that wait for delivery at the most; EVENTS_MAX by default. */
  eventsMax?: number | undefined;
  /** Bytes of every part of an upload but the last, at least; S3's 5 MiB unless given. */
  partBytesMin?: number | undefined;
  /** Length of a day of lifecycle rules in milliseconds; DAY_MS but in tests. */
  lifecycleDayMs?: number | undefined;
}

/**
 * A catalogue over `store`. Several may work on one store at once. Methods throw what the store
 * throws, Failure `fenced` when the writer of a commit has no lease any more, and `invalid` for
 * commands that a caller should never have sent; everything else is an Answer.
 */
export function createCatalogue(settings: CatalogueSettings): Catalogue {
  const { effects, bucketsMax } = settings;
  const eventsMax = settings.eventsMax ?? EVENTS_MAX;
  const store = new WatchedStore(settings.store);
  const lane = settings.lane ?? 0;
  if (!Number.isInteger(lane) || lane < 0 || lane > 0xffff) {
    throw new Failure('invalid', 'a lane is a number from 0 to 65,535');
  }
  const ids = createIds(effects);
  const runner = createRunner(store, effects, ids);
  const turns = createTurns();
  const attempts = createAttempts(ids.boot);
  const accounts = createAccounts({ store, runner });
  const buckets = createBuckets({ store, runner, lane, bucketsMax });
  const garbage = createGarbage({ store, runner, lane });
  const newUploadId = () => ids.uploadId(ids.nowMs());
  return {
    createBucket: buckets.createBucket,
    getBucket: buckets.getBucket,
    deleteBucket: buckets.deleteBucket,
    listBuckets: buckets.listBuckets,
    bucketUsage: buckets.bucketUsage,
    setVersioning: buckets.setVersioning,
    setBucketConfig: buckets.setBucketConfig,
    getBucketConfig: buckets.getBucketConfig,
    getBucketSettings: buckets.getBucketSettings,
    ...createObjects({ store, buckets, turns, lane, eventsMax }),
    ...createRename({ buckets, turns, lane, eventsMax }),
    ...createAppend({ buckets, turns, lane, eventsMax }),
    readParts: (query) => readParts(store, query),
    ...createListing({ store, buckets }),
    ...createVersionListing({ store, buckets }),
    ...createUploads({ store, buckets, turns, attempts, lane, newUploadId }),
    ...createComplete({
      store,
      buckets,
      turns,
      attempts,
      lane,
      eventsMax,
      partBytesMin: settings.partBytesMin,
      pause: runner.pause,
    }),
    ...createOutbox({ store, runner, eventsMax }),
    garbage,
    dataKeys: createDataKeys({ store, runner }),
    repairs: createRepairs({ store, runner, lane }),
    blobs: createBlobs(store),
    lifecycle: createLifecycle({
      store,
      buckets,
      turns,
      lane,
      eventsMax,
      dayMs: settings.lifecycleDayMs ?? DAY_MS,
    }),
    recount: (options) =>
      recount({
        ...options,
        store: settings.store,
        watched: store,
        runner: createRunner(settings.store, effects, ids),
        lane,
        clock: effects.clock,
        garbage,
      }),
    accounts,
    findAccount: accounts.findAccount,
    bucketCount: () => buckets.count(),
    totalUsage: () => usageOfAll(store),
  };
}
