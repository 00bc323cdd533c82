/**
 * A storage node: opens its folder and store, serves them, and makes itself known. The `ashlar`
 * command calls this; so does the embedded mode, without an address to listen on.
 */
import { totalmem } from 'node:os';
import type { Effects } from '../base/clock.ts';
import { Failure } from '../base/failure.ts';
import { EXIT } from '../base/lifecycle.ts';
import type { Log } from '../base/log.ts';
import type { Address, RpcHandler } from '../base/rpc/rpc.ts';
import { createRpcServer, type RpcServer } from '../base/rpc/server.ts';
import { openEnvironment } from './block-store.ts';
import { checkInChild } from './check.ts';
import type { StorageNodeConfig } from './config.ts';
import { type NodeFolder, openNodeFolder } from './folder.ts';
import { type Membership, startMembership } from './membership.ts';
import type { JournalStore } from './journal-store.ts';
import { openJournal, problemOfJournal } from './open-journal.ts';
import type { StorageNode } from './protocol.ts';
import type { Registrar } from './registrar.ts';
import { createStorageNodeHandler } from './server.ts';
import { createStorageNode, healthOf } from './service.ts';
import { killSelf, spaceOf } from './surroundings.ts';
import { type BlockStore, createBlockStore } from './store.ts';
import { STORAGE_NODE_RPC_LIMITS } from './wire.ts';

export { nodeNameIn } from './folder.ts';
export { openNodeJournal } from './open-journal.ts';

export interface StorageNodeSurroundings {
  effects: Effects;
  log: Log;
  /** The cluster's secret; needed when the node listens. */
  secret: string;
  /** The metadata service; undefined: the node is not announced to anybody. */
  registrar?: Registrar | undefined;
  /** Ends the process at once; by default SIGKILL to itself. `process.exit` hangs after LMDB errors. */
  die?: ((reason: string, cause?: unknown) => void) | undefined;
}

export interface RunningStorageNode {
  readonly id: string;
  /** Where it is served; undefined when it does not listen. */
  readonly address: Address | undefined;
  /** The node in this process. */
  readonly node: StorageNode;
  /** The cluster's id, once registered. Never settles without a registrar. */
  readonly registered: Promise<string>;
  /** Resolves when the node must not go on, with what to tell the operator. */
  readonly refused: Promise<Failure>;
  /** Stops accepting, lets running requests finish, flushes, closes the store in order. */
  close(): Promise<void>;
}

/**
 * Resolves when the node serves; registering goes on behind. Failures: `unavailable` (folder or
 * address in use), `invalid` (another node's folder, a newer format), `corrupt` (the store is
 * damaged or gone). `exitCodeOf` says how a process should end on them.
 */
export async function startStorageNode(
  config: StorageNodeConfig,
  surroundings: StorageNodeSurroundings,
): Promise<RunningStorageNode> {
  const { effects } = surroundings;
  const advertised = config.advertise ?? config.listen;
  if (surroundings.registrar !== undefined && advertised === undefined) {
    throw new Failure('invalid', 'a node that registers listens, or advertises an address');
  }
  const folder = openNodeFolder({
    folder: config.folder,
    id: config.id,
    newId: () => `node-${effects.random.bytes(4).toString('hex')}`,
    newDisk: () => effects.random.bytes(16).toString('hex'),
  });
  const log = surroundings.log.child({ node: folder.identity.id });
  let store: BlockStore | undefined;
  let journal: JournalStore | undefined;
  try {
    const { mapSizeBytes } = config;
    const [problem] = await Promise.all([
      problemOfJournal({ folder, mapSizeBytes }),
      folder.unclean ? checkAfterUncleanStop(config, folder, log) : undefined,
    ]);
    folder.opening();
    store = openStore(config, folder, { ...surroundings, log });
    const own = { effects, log, die: surroundings.die };
    const { freeFloorBytes: floorBytes, watchdogMs } = config;
    journal = await openJournal({ folder, mapSizeBytes, floorBytes, watchdogMs, ...own }, problem);
    folder.opened();
    return await serve(config, { ...surroundings, log }, folder, { store, journal });
  } catch (error) {
    await journal?.close();
    folder.release({ clean: store !== undefined && (await store.close()) });
    throw error;
  }
}

async function checkAfterUncleanStop(
  config: StorageNodeConfig,
  folder: NodeFolder,
  log: Log,
): Promise<void> {
  log.warn({ folder: config.folder }, 'the store was not closed in order: checking it first');
  const report = await checkInChild(
    {
      folder: folder.blocks,
      mapSizeBytes: config.mapSizeBytes,
      verifyBytes: config.checkBytes,
    },
    (blocks) => log.info({ blocks }, 'checking the store'),
  );
  if (report.corrupt > 0 || report.stray > 0) {
    log.error({ report }, 'the store is readable but has lost blocks: they need repair');
  } else {
    log.info({ report }, 'the store is sound');
  }
}

function openStore(
  config: StorageNodeConfig,
  folder: NodeFolder,
  surroundings: StorageNodeSurroundings,
): BlockStore {
  const { log, effects } = surroundings;
  const environment = openEnvironment({
    folder: folder.blocks,
    mapSizeBytes: config.mapSizeBytes,
  });
  const die = surroundings.die ?? killSelf;
  return createBlockStore({
    environment,
    clock: effects.clock,
    disk: () => spaceOf(folder.blocks),
    floorBytes: config.freeFloorBytes,
    watchdogMs: config.watchdogMs,
    warmBytes: config.warmBytes ?? totalmem() / 8,
    die: (reason, cause) => {
      log.error({ reason, error: cause }, 'the store cannot be trusted any more: ending at once');
      die(reason, cause);
    },
  });
}

async function serve(
  config: StorageNodeConfig,
  surroundings: StorageNodeSurroundings,
  folder: NodeFolder,
  { store, journal }: { store: BlockStore; journal: JournalStore },
): Promise<RunningStorageNode> {
  const { effects, log } = surroundings;
  const { identity } = folder;
  const service = {
    store,
    journal,
    clock: effects.clock,
    identity: () => ({ id: identity.id, clusterId: identity.clusterId }),
  };
  const handler = createStorageNodeHandler(store, healthOf(service), journal);
  const server = createServer(config, surroundings, handler);
  const address = config.listen === undefined ? undefined : await server?.listen(config.listen);
  const membership = announce(config, surroundings, folder, store, address);
  log.info({ address, folder: config.folder, blocks: store.stats().blocks }, 'serving blocks');
  let closing: Promise<void> | undefined;
  return {
    id: identity.id,
    address,
    node: createStorageNode(service),
    registered: membership?.registered ?? new Promise(() => {}),
    refused: membership?.refused ?? new Promise(() => {}),
    close() {
      closing ??= (async () => {
        await membership?.stop();
        await server?.close({ graceMs: config.drainMs });
        const inOrder = await journal.close();
        const clean = (await store.close()) && inOrder;
        folder.release({ clean });
      })();
      return closing;
    },
  };
}

function createServer(
  config: StorageNodeConfig,
  surroundings: StorageNodeSurroundings,
  handler: RpcHandler,
): RpcServer | undefined {
  if (config.listen === undefined) return undefined;
  const { effects, log, secret } = surroundings;
  return createRpcServer({
    secret,
    handler,
    limits: STORAGE_NODE_RPC_LIMITS,
    effects,
    log,
  });
}

function announce(
  config: StorageNodeConfig,
  surroundings: StorageNodeSurroundings,
  folder: NodeFolder,
  store: BlockStore,
  address: Address | undefined,
): Membership | undefined {
  const { registrar, effects, log } = surroundings;
  const advertised = config.advertise ?? address;
  if (registrar === undefined || advertised === undefined) return undefined;
  return startMembership({
    registrar,
    identity: folder.identity,
    join: (clusterId) => folder.join(clusterId),
    refused: () => folder.refused(),
    address: advertised,
    zone: config.zone ?? folder.identity.id,
    stats: () => store.stats(),
    effects,
    log,
  });
}

/**
 * How the process should end when `startStorageNode` rejected or `refused` resolved: 78 (do not
 * restart: somebody has to act), 77 (removed from the cluster), 75 (try again), 73 (the folder cannot be used), else 1.
 */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Failure) {
    switch (error.kind) {
      case 'corrupt':
      case 'invalid':
      case 'conflict':
      case 'unauthenticated':
        return EXIT.badConfig;
      case 'unavailable':
        return EXIT.tryAgain;
      case 'fenced':
        return EXIT.removed;
      default:
        return EXIT.failed;
    }
  }
  return error instanceof Error && 'syscall' in error ? EXIT.cannotCreate : EXIT.failed;
}
