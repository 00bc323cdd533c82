/**
 * The metadata journal over a real LMDB store and nodes in this process, which can be away, hang,
 * crash and be replaced. Everything else is as in production.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock, systemEffects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import { silentLog } from '../../base/log.ts';
import { type Commit, type CommitResult, STAMP_BYTES } from '../../meta/engine/kv.ts';
import { type LmdbStore, openLmdbStore } from '../../meta/engine/lmdb.ts';
import { JobRows } from '../../meta/jobs/job.ts';
import { type JournalTimings, MetaJournal } from '../../meta/journal/journal.ts';
import { JournalScrub } from '../../meta/journal/scrub.ts';
import { SnapshotJob } from '../../meta/journal/snapshot-job.ts';
import { openJournalStore } from '../../storage-node/journal-store.ts';
import {
  createMemoryDisk,
  createMemoryEnvironment,
  type MemoryDisk,
  type MemoryEnvironment,
} from '../../storage-node/memory-environment.ts';
import type { JournalNode } from '../../storage-node/protocol.ts';

export const CLUSTER_ID = 'a cluster';

/** A storage node as far as the journal is concerned. */
export class TestNode {
  readonly id: string;
  disk: MemoryDisk = createMemoryDisk();
  /** `away`: refuses; `deaf`: never answers; `mute`: does its work and never answers. */
  mood: 'well' | 'away' | 'deaf' | 'mute' = 'well';
  #environment: MemoryEnvironment | undefined;
  #node: JournalNode | undefined;

  constructor(id: string) {
    this.id = id;
    this.restart();
  }

  /** Loses what was not durable yet. */
  restart(): void {
    this.#environment?.crash();
    this.#environment = createMemoryEnvironment({ disk: this.disk });
    this.#node = openJournalStore({
      environment: this.#environment,
      clock: systemClock,
      identity: () => ({ id: this.id, clusterId: CLUSTER_ID }),
      disk: () => ({ capacityBytes: 1e12, freeBytes: 1e12 }),
      watchdogMs: 10_000,
      die: (reason) => assert.fail(reason),
    });
  }

  /** A new, empty disk. */
  replace(): void {
    this.disk = createMemoryDisk();
    this.restart();
  }

  /** What the service is connected to. */
  readonly journal: JournalNode = new Proxy({} as JournalNode, {
    get: (_, name) => {
      return async (...args: unknown[]): Promise<unknown> => {
        if (this.mood === 'away') throw new Failure('unavailable', `${this.id} is away`);
        const timeout = sleep(150).then(() => {
          throw new Failure('timeout', `${this.id} does not answer`);
        });
        if (this.mood === 'deaf') return await timeout;
        const call = Reflect.get(this.#node ?? {}, name) as (...args: unknown[]) => unknown;
        const work = Promise.resolve().then(() => call.apply(this.#node, args));
        if (this.mood === 'mute') return await Promise.all([work, timeout]);
        timeout.catch(() => {});
        return await work;
      };
    },
  });

  async sequence(): Promise<number> {
    return (await this.#node?.state())?.last.sequence ?? 0;
  }
}

export interface Service {
  store: LmdbStore;
  journal: MetaJournal;
  job: SnapshotJob;
  scrub: JournalScrub;
  /** Resolves when the store is not to be used. */
  refused: Promise<Failure>;
  commit(key: string, value: string | undefined): Promise<CommitResult>;
  read(key: string): Promise<string | undefined>;
  /** Waits for the journal to be open. */
  open(): Promise<void>;
  stop(): Promise<void>;
}

export interface ServiceOptions {
  folder: string;
  nodes: readonly TestNode[];
  boot: number;
  mode?: 'sync' | 'async';
  timings?: Partial<JournalTimings>;
}

let stamps = 0;

export function commitOf(key: string, value: string | undefined): Commit {
  const id = Buffer.alloc(STAMP_BYTES);
  id.writeUInt32BE(++stamps, 0);
  const row = Buffer.from(key);
  return {
    id,
    checks: [],
    set: value === undefined ? [] : [{ key: row, value: Buffer.from(value) }],
    del: value === undefined ? [row] : [],
    add: [],
  };
}

/** One start of the service: number `boot`, as the cluster would count it. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { nodes, boot, mode = 'sync' } = options;
  const store = openLmdbStore({
    folder: join(options.folder, 'store'),
    mapSizeBytes: 2 ** 30,
    watchdogMs: 10_000,
    clock: systemClock,
    floorBytes: 0,
    die: (reason) => assert.fail(reason),
  });
  const refused = Promise.withResolvers<Failure>();
  const journal = await MetaJournal.attach({
    mode,
    store,
    effects: systemEffects,
    log: silentLog,
    refused: refused.resolve,
    timings: { roundMs: 5, ackMs: 400, graceMs: 100, ...options.timings },
  });
  const jobRows = new JobRows(store, systemEffects.random);
  const scrub = new JournalScrub({ journal, jobRows, effects: systemEffects, log: silentLog });
  const job = new SnapshotJob({
    journal,
    store,
    rows: () => store.usage().rows,
    jobRows,
    effects: systemEffects,
    log: silentLog,
    everyMs: 3_600_000,
    journalBytesMax: 2 ** 28,
    waitRowsMax: 1e6,
  });
  journal.start({
    clusterId: CLUSTER_ID,
    boot,
    peers: () => nodes.filter(({ mood }) => mood !== 'away'),
    known: () => nodes.length,
    laidOut: () => true,
    findSnapshots: (peers) => job.look(peers),
    firstSnapshot: () => job.first(),
  });
  return {
    store,
    journal,
    job,
    scrub,
    refused: refused.promise,
    commit: (key, value) => store.commit(commitOf(key, value)),
    async read(key) {
      const [row] = await store.get([Buffer.from(key)]);
      return row?.value.toString();
    },
    open: () => until(() => journal.state === 'open', 'the journal to be open'),
    async stop() {
      await journal.stop();
      await store.close();
    },
  };
}

export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 2000; turn++) {
    if (condition()) return;
    await sleep(5);
  }
  assert.fail(`waited in vain for ${what}`);
}
