/**
 * The metadata service over an open store: catalogue, cluster and background jobs, joined. No folder,
 * no disk, no sockets: `main.ts` adds those, and the simulation runs exactly this.
 */
import type { Effects } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { StorageNode } from '../storage-node/protocol.ts';
import type { MetaAdmin } from './admin-protocol.ts';
import { createAdminService } from './admin-service.ts';
import { createBucketAdmin } from './bucket-admin.ts';
import { type Catalogue, createCatalogue } from './catalogue/catalogue.ts';
import { type Cluster, type ClusterSettings, openCluster } from './cluster/cluster.ts';
import { createMembership } from './cluster/membership.ts';
import type { KeyValueStore } from './engine/kv.ts';
import { createJobs, type JobLimits } from './jobs/create-jobs.ts';
import { GarbageJob, type ReadableEntry } from './jobs/garbage.ts';
import { GarbageControl } from './jobs/garbage-control.ts';
import { JobRows } from './jobs/job.ts';
import { startLoop } from './jobs/loop.ts';
import { LifecycleJob, passMs } from './jobs/lifecycle.ts';
import { RebalanceJob } from './jobs/rebalance.ts';
import { NodeDirectory } from './jobs/node-directory.ts';
import type { Meta, NodeView, StoreFill } from './protocol.ts';
import { behindJournal, createJournaling, type JournalParts } from './journal/create-journaling.ts';
import { DAY_MS } from './lifecycle-protocol.ts';
import { createMetaService } from './service.ts';

/** How often silent nodes and leases are looked for. */
const SWEEP_MS = 500;
/** Pause of the garbage job while there is much to do. */
const GARBAGE_BUSY_MS = 20;
const REBALANCE_PAUSE_MS = 500;
const REBALANCE_BUSY_MS = 10;
const LIFECYCLE_PAUSE_MS = 1000;
const LIFECYCLE_BUSY_MS = 5;

export interface AssembleOptions {
  store: KeyValueStore;
  effects: Effects;
  log: Log;
  /** How full the store is. */
  fill?: (() => StoreFill) | undefined;
  /** A connection to a storage node, which the service closes when it has `close`. */
  connectNode: (node: NodeView) => StorageNode & { close?: () => Promise<void> };
  cluster: Partial<ClusterSettings>;
  /** Pause between two rounds of the garbage job when there is little to do. */
  garbagePauseMs: number;
  /** Of repair, scrubbing and the search for orphans, where they are not the usual ones. */
  healing?: JobLimits | undefined;
  /** Events of one bucket that wait for delivery, at most; EVENTS_MAX by default. */
  eventsMax?: number | undefined;
  /** Bytes of every part of an upload but the last, at least; S3's 5 MiB unless given. */
  partBytesMin?: number | undefined;
  /** Length of a day of lifecycle rules in milliseconds; DAY_MS but in tests. */
  lifecycleDayMs?: number | undefined;
  /** The metadata journal; absent: nothing is journaled. */
  journaling?: JournalParts | undefined;
}

export interface AssembledMeta {
  readonly meta: Meta;
  /** What operators ask. */
  readonly admin: MetaAdmin;
  readonly cluster: Cluster<ReadableEntry>;
  readonly catalogue: Catalogue;
  readonly garbage: GarbageJob;
  /** Begins the background jobs; once. */
  startJobs(): void;
  /** Ends the jobs and closes the connections to the nodes. The store stays open. */
  stop(): Promise<void>;
}

/** Counts a start of the service in the store. Throws what `openCluster` throws. */
export async function assembleMeta(options: AssembleOptions): Promise<AssembledMeta> {
  const { store, effects, log } = options;
  const cluster = await openCluster<ReadableEntry>({
    store,
    effects,
    log,
    settings: options.cluster,
  });
  const { journaling: parts } = options;
  const readStore = parts === undefined ? store : behindJournal(store, parts.journal, effects);
  const { eventsMax, partBytesMin, lifecycleDayMs = DAY_MS } = options;
  const catalogue = createCatalogue({
    store: readStore,
    effects,
    eventsMax,
    partBytesMin,
    lifecycleDayMs,
  });
  const directory = new NodeDirectory(() => cluster.view(), options.connectNode);
  const garbage = new GarbageJob({
    queue: catalogue.garbage,
    leases: cluster.leases,
    reclamation: cluster.reclamation,
    layout: () => cluster.layout,
    previous: () => cluster.changes.layouts.previous,
    isGone: (id) => cluster.nodes.isGone(id),
    node: (id) => directory.node(id),
    clock: effects.clock,
    log,
  });
  const meta = createMetaService({ catalogue, cluster });
  const rows = new JobRows(store, effects.random);
  const journaling =
    parts &&
    (await createJournaling({
      ...parts,
      cluster,
      connectNode: options.connectNode,
      jobRows: rows,
      effects,
      log,
    }));
  const collecting = new GarbageControl({ job: garbage, rows, clock: effects.clock });
  const jobs = await createJobs({
    store,
    catalogue,
    leases: cluster.leases,
    reclamation: cluster.reclamation,
    view: () => cluster.view(),
    node: (id) => directory.node(id),
    effects,
    log,
    limits: options.healing,
  });
  const rebalance = new RebalanceJob({
    cluster,
    blobs: catalogue.blobs,
    repairs: catalogue.repairs,
    node: (id) => directory.node(id),
    rows,
    clock: effects.clock,
    log,
  });
  await rebalance.restore();
  const lifecycle = new LifecycleJob({
    work: catalogue.lifecycle,
    rows,
    clock: effects.clock,
    log,
    dayMs: lifecycleDayMs,
  });
  await lifecycle.restore();
  const membership = createMembership({ cluster, stats: (id) => directory.stats(id) });
  const admin = createAdminService({
    meta,
    usage: () => catalogue.totalUsage(),
    fill: options.fill,
    membership,
    jobs: [...jobs.list, rebalance, collecting, lifecycle, ...(journaling?.jobs ?? [])],
    journal: journaling?.admin,
    histogram: () => jobs.histogram(),
    inspect: jobs.inspect,
    accounts: catalogue.accounts,
    dataKeys: catalogue.dataKeys,
    buckets: createBucketAdmin(catalogue),
  });
  const loops: { stop(): Promise<void> }[] = [];
  return {
    meta,
    admin,
    cluster,
    catalogue,
    garbage,
    startJobs() {
      const sweep = { name: 'sweep', pauseMs: SWEEP_MS, round: () => cluster.sweep() };
      const collect = {
        name: 'garbage',
        pauseMs: options.garbagePauseMs,
        busyMs: GARBAGE_BUSY_MS,
        round: () => collecting.round(),
      };
      const move = {
        name: 'rebalance',
        pauseMs: REBALANCE_PAUSE_MS,
        busyMs: REBALANCE_BUSY_MS,
        round: () => rebalance.round(),
      };
      const expire = {
        name: 'lifecycle',
        pauseMs: Math.min(LIFECYCLE_PAUSE_MS, passMs(lifecycleDayMs) / 2),
        busyMs: LIFECYCLE_BUSY_MS,
        round: () => lifecycle.round(),
      };
      journaling?.start();
      for (const loop of [
        sweep,
        collect,
        move,
        expire,
        ...jobs.loops,
        ...(journaling?.loops ?? []),
      ])
        loops.push(startLoop({ ...loop, effects, log }));
    },
    async stop() {
      rebalance.end();
      journaling?.end();
      await jobs.stop();
      await Promise.all(loops.map((loop) => loop.stop()));
      await journaling?.stop();
      await directory.close();
    },
  };
}
