/** What the processes of one role each have in common: `ashlar gateway`, `ashlar meta`, `ashlar node`. */
import { flushCompileCache } from 'node:module';
import { ConfigError } from '../base/config.ts';
import { holdProcess, systemEffects } from '../base/clock.ts';
import { stopOnSignals } from '../base/lifecycle.ts';
import { createLog, type Log } from '../base/log.ts';
import { createRpcChannel, type RpcObserver } from '../base/rpc/client.ts';
import type { RpcRecord } from '../base/rpc/rpc-record.ts';
import { createMetaAdminClient } from '../meta/admin-client.ts';
import type { MetaAdmin } from '../meta/admin-protocol.ts';
import { createMetaClient, META_RPC_LIMITS, metaMethodName } from '../meta/client.ts';
import type { Meta } from '../meta/protocol.ts';
import { createStorageNodeClient, STORAGE_NODE_RPC_LIMITS } from '../storage-node/client.ts';
import type { StorageNode } from '../storage-node/protocol.ts';
import { announceToSupervisor } from './processes.ts';
import type { Settings } from './settings.ts';
import type { ReadyMessage } from './supervisor.ts';

const effects = systemEffects;

interface RunningRole {
  /** Addresses by name, for the supervisor. */
  ready: ReadyMessage;
  stop(): Promise<void>;
}

/** Runs one role until a signal or the supervisor ends it. */
export async function runRole(
  settings: Settings,
  log: Log,
  start: () => Promise<RunningRole>,
): Promise<void> {
  // A role that waits for another one has nothing but timers, which do not keep a process alive.
  holdProcess();
  const starting = start();
  const stop = stopOnSignals({
    process,
    clock: effects.clock,
    log,
    boundMs: settings.shutdownBound + 5_000,
    stop: async () => await (await starting).stop(),
  });
  const supervisor = announceToSupervisor(stop);
  supervisor.ready((await starting).ready);
  // Otherwise it is written at an orderly end only.
  flushCompileCache();
}

export const roleLog = (settings: Settings, role: string): Log =>
  createLog({ level: settings.log.level, fields: { role } });

/** The cluster's secret; a role cannot run without one. */
export function clusterSecret(settings: Settings): string {
  const { secret } = settings.cluster;
  if (secret !== undefined) return secret;
  throw new ConfigError([
    'The cluster secret is not set: put one random text of 16 characters or more into a file, the same on every machine, and name it with ASHLAR_CLUSTER_SECRET_FILE. To make one: openssl rand -hex 32',
  ]);
}

export function required(value: string | undefined, flag: string, what: string): string {
  if (value !== undefined) return value;
  throw new ConfigError([`${flag} is missing: ${what}`]);
}

/** A client of the metadata service at `address`. */
export function connectMeta(
  address: string,
  secret: string,
  log: Log,
  record?: RpcRecord,
): { meta: Meta; admin: MetaAdmin; close(): Promise<void> } {
  const limits = META_RPC_LIMITS;
  const observe = record?.observer('meta', (method) => metaMethodName(method));
  const channel = createRpcChannel({ address, secret, limits, effects, log, observe });
  const admin = createMetaAdminClient(channel);
  return { meta: createMetaClient(channel), admin, close: () => channel.close() };
}

/** A client of the storage node at `address`. */
export function connectNode(
  address: string,
  secret: string,
  log: Log,
  observe?: RpcObserver,
): StorageNode & { close(): Promise<void> } {
  const channel = createRpcChannel({
    address,
    secret,
    limits: STORAGE_NODE_RPC_LIMITS,
    effects,
    log,
    observe,
  });
  return { ...createStorageNodeClient(channel), close: () => channel.close() };
}
