/**
 * The metadata service as a running thing: opens its folder and store, joins catalogue and cluster,
 * serves them, and runs the background jobs. The `ashlar` command calls this; so does the embedded
 * mode, without an address to listen on.
 */
import type { Effects } from '../base/clock.ts';
import type { Failure } from '../base/failure.ts';
import type { Log } from '../base/log.ts';
import type { Address } from '../base/rpc/rpc.ts';
import { createRpcServer } from '../base/rpc/server.ts';
import type { StorageNode } from '../storage-node/protocol.ts';
import type { MetaAdmin } from './admin-protocol.ts';
import { withAdmin } from './admin-server.ts';
import { assembleMeta } from './assemble.ts';
import { type MetaConfig, type MetaConfigInput, metaConfigSchema } from './config.ts';
import { checkStoreInChild } from './engine/check.ts';
import { type MetaFolder, openMetaFolder } from './engine/folder.ts';
import { type LmdbStore, openLmdbStore } from './engine/lmdb.ts';
import type { JournalParts } from './journal/create-journaling.ts';
import { JournalConnections } from './journal/connections.ts';
import { MetaJournal } from './journal/journal.ts';
import { catchUp, leaveJournal } from './journal/recovery.ts';
import { readKnownCluster } from './cluster/known.ts';
import type { GarbageStats } from './jobs/garbage.ts';
import type { Meta, NodeView } from './protocol.ts';
import { createMetaHandler } from './server.ts';
import { META_RPC_LIMITS } from './wire.ts';

export { backupSource, createBackup, listBackups, verifyBackup } from './journal/backup.ts';
export { type Restored, restoreStore } from './journal/restore.ts';
export { nodesSource, type SourceNode, statesOf } from './journal/source.ts';

export interface MetaSurroundings {
  effects: Effects;
  log: Log;
  /** The cluster's secret; needed when the service listens. */
  secret: string;
  /** A connection to a storage node, which the service closes when it has `close`. */
  connectNode: (node: NodeView) => StorageNode & { close?: () => Promise<void> };
  /** Ends the process at once; by default SIGKILL to itself. `process.exit` hangs after LMDB errors. */
  die?: ((reason: string, cause?: unknown) => void) | undefined;
}

export interface RunningMeta {
  /** Where it is served; undefined when it does not listen. */
  readonly address: Address | undefined;
  /** The service in this process. */
  readonly meta: Meta;
  /** What operators ask, in this process. */
  readonly admin: MetaAdmin;
  /** Resolves when the service must not go on, with what to tell the operator. */
  readonly refused: Promise<Failure>;
  /** For metrics. */
  stats(): { garbage: GarbageStats; writers: number };
  /** Stops accepting, lets running requests finish, ends the jobs, closes the store in order. */
  stop(): Promise<void>;
}

/**
 * Resolves when the service serves. Failures: `unavailable` (folder or address in use), `invalid`
 * (settings, a newer format), `corrupt` (the store is damaged or gone).
 */
export async function startMeta(
  input: MetaConfigInput,
  surroundings: MetaSurroundings,
): Promise<RunningMeta> {
  const config = metaConfigSchema.parse(input);
  const folder = openMetaFolder(config.folder);
  let opened: OpenedStore | undefined;
  try {
    opened = await openStore(config, folder, surroundings);
    folder.opened();
    return await run(config, surroundings, folder, opened);
  } catch (error) {
    folder.release({ clean: opened !== undefined && (await opened.close()) });
    throw error;
  }
}

interface OpenedStore {
  store: LmdbStore;
  /** True: closed in order. False: the store has failed before and was left alone. */
  close(): Promise<boolean>;
}

async function openStore(
  config: MetaConfig,
  folder: MetaFolder,
  { effects, log, die }: MetaSurroundings,
): Promise<OpenedStore> {
  const { mapSizeBytes, watchdogMs, freeFloorBytes: floorBytes } = config;
  if (folder.unclean) {
    log.warn({ folder: config.folder }, 'the store was not closed in order: checking it first');
    const rowsMax = config.checkRows;
    const rows = await checkStoreInChild({ folder: folder.store, mapSizeBytes, rowsMax });
    log.info({ rows }, 'the store is sound');
  }
  let failed = false;
  const store = openLmdbStore({
    folder: folder.store,
    mapSizeBytes,
    watchdogMs,
    floorBytes,
    clock: effects.clock,
    die: (reason, cause) => {
      failed = true;
      log.error({ reason, error: cause }, 'the store cannot be trusted any more: ending at once');
      (die ?? killSelf)(reason, cause);
    },
  });
  return {
    store,
    async close() {
      await store.close();
      return !failed;
    },
  };
}

async function run(
  config: MetaConfig,
  surroundings: MetaSurroundings,
  folder: MetaFolder,
  opened: OpenedStore,
): Promise<RunningMeta> {
  const { store } = opened;
  const { effects, log, secret, connectNode } = surroundings;
  const { expectedNodes, leaseTtlMs, heartbeatMs, nodeDownMs, nodeOutMs } = config;
  const { garbagePauseMs } = config;
  const healing = {
    repair: { bytesPerSecond: config.repairBytesPerSecond },
    scrub: { periodMs: config.scrubPeriodMs },
    orphans: { walkMs: config.orphanWalkMs },
  };
  const refused = Promise.withResolvers<Failure>();
  if (folder.unclean && config.journal !== 'off') await catchUpFirst(surroundings, store);
  const journaling = await attachJournal(config, surroundings, store, refused.resolve);
  const assembled = await assembleMeta({
    store,
    fill() {
      const { fileBytes, reusableBytes, limitBytes } = store.usage();
      return { usedBytes: fileBytes - reusableBytes, limitBytes };
    },
    effects,
    log,
    connectNode,
    cluster: { expectedNodes, leaseTtlMs, heartbeatMs, nodeDownMs, nodeOutMs },
    garbagePauseMs,
    healing,
    eventsMax: config.eventsMax,
    lifecycleDayMs: config.lifecycleDayMs,
    journaling,
  });
  const { meta, admin, cluster, garbage } = assembled;
  folder.belongsTo(cluster.clusterId);
  const server =
    config.listen === undefined
      ? undefined
      : createRpcServer({
          secret,
          handler: withAdmin(admin, createMetaHandler(meta)),
          limits: META_RPC_LIMITS,
          effects,
          log,
        });
  const address = config.listen === undefined ? undefined : await server?.listen(config.listen);
  assembled.startJobs();
  const { clusterId, boot } = cluster;
  log.info({ address, folder: config.folder, clusterId, boot }, 'serving metadata');
  let stopping: Promise<void> | undefined;
  return {
    address,
    meta,
    admin,
    refused: refused.promise,
    stats: () => ({ garbage: garbage.stats(), writers: cluster.leases.count }),
    stop() {
      stopping ??= (async () => {
        await server?.close({ graceMs: config.drainMs });
        await assembled.stop();
        folder.release({ clean: await opened.close() });
      })();
      return stopping;
    },
  };
}

/** See `catchUp`. */
async function catchUpFirst(
  { effects, log, connectNode }: MetaSurroundings,
  store: LmdbStore,
): Promise<void> {
  const known = await readKnownCluster(store);
  if (known === undefined) return;
  const connections = new JournalConnections(connectNode);
  try {
    const nodes = known.nodes.flatMap((node) => {
      const journal = connections.journal(node);
      return journal === undefined ? [] : [{ id: node.id, journal }];
    });
    await catchUp({ ...known, store, nodes, clock: effects.clock, log });
  } finally {
    await connections.close();
  }
}

/** A first layout of more rows than this is an old store that was not journaled before. */
const WAIT_ROWS_MAX = 100_000;

async function attachJournal(
  config: MetaConfig,
  { effects, log }: MetaSurroundings,
  store: LmdbStore,
  refused: (failure: Failure) => void,
): Promise<JournalParts | undefined> {
  const { journal: mode, snapshotEveryMs, journalBytesMax } = config;
  if (mode === 'off') {
    await leaveJournal(store);
    return undefined;
  }
  const journal = await MetaJournal.attach({ mode, store, effects, log, refused });
  const settings = { snapshotEveryMs, journalBytesMax, waitRowsMax: WAIT_ROWS_MAX };
  return { journal, store, settings };
}

function killSelf(): void {
  process.kill(process.pid, 'SIGKILL');
}
