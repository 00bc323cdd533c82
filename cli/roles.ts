/** One role per process: `ashlar gateway`, `ashlar meta`, `ashlar node`. */
import { ConfigError } from '../base/config.ts';
import { systemEffects } from '../base/clock.ts';
import { stopOnSignals } from '../base/lifecycle.ts';
import { createLog, type Log } from '../base/log.ts';
import { createRpcChannel } from '../base/rpc/client.ts';
import type { GatewayConfig } from '../gateway/config.ts';
import { startGateway, whenReady } from '../gateway/main.ts';
import { createMetaClient, META_RPC_LIMITS } from '../meta/client.ts';
import { startMeta } from '../meta/main.ts';
import type { Meta } from '../meta/protocol.ts';
import { storageNodeConfigSchema } from '../storage-node/config.ts';
import { createStorageNodeClient, STORAGE_NODE_RPC_LIMITS } from '../storage-node/client.ts';
import { exitCodeOf, startStorageNode } from '../storage-node/main.ts';
import type { StorageNode } from '../storage-node/protocol.ts';
import { announceToSupervisor } from './processes.ts';
import { parseListen, type Settings } from './settings.ts';
import type { ReadyMessage } from './supervisor.ts';

const effects = systemEffects;

interface RunningRole {
  /** Addresses by name, for the supervisor. */
  ready: ReadyMessage;
  stop(): Promise<void>;
}

/** Runs one role until a signal or the supervisor ends it. */
async function runRole(
  settings: Settings,
  log: Log,
  start: () => Promise<RunningRole>,
): Promise<void> {
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
}

const roleLog = (settings: Settings, role: string): Log =>
  createLog({ level: settings.log.level, fields: { role } });

/** The cluster's secret; a role cannot run without one. */
function clusterSecret(settings: Settings): string {
  const { secret } = settings.cluster;
  if (secret !== undefined) return secret;
  throw new ConfigError([
    'The cluster secret is not set: put one random text of 16 characters or more into a file, the same on every machine, and name it with ASHLAR_CLUSTER_SECRET_FILE. To make one: openssl rand -hex 32',
  ]);
}

function required(value: string | undefined, flag: string, what: string): string {
  if (value !== undefined) return value;
  throw new ConfigError([`${flag} is missing: ${what}`]);
}

/** A client of the metadata service at `address`. */
export function connectMeta(
  address: string,
  secret: string,
  log: Log,
): { meta: Meta; close(): Promise<void> } {
  const channel = createRpcChannel({ address, secret, limits: META_RPC_LIMITS, effects, log });
  return { meta: createMetaClient(channel), close: () => channel.close() };
}

/** Ends the process at once: after an I/O error nothing in it is to be trusted (nor is exit). */
function killSelf(): void {
  process.kill(process.pid, 'SIGKILL');
}

export async function runMeta(settings: Settings): Promise<void> {
  const log = roleLog(settings, 'meta');
  const secret = clusterSecret(settings);
  const folder = required(settings.meta.data, '--meta-data', 'the folder of the metadata store');
  await runRole(settings, log, async () => {
    const running = await startMeta(
      {
        folder,
        listen: settings.meta.listen,
        mapSizeBytes: settings.meta.mapSize,
        expectedNodes: settings.meta.expectedNodes,
      },
      {
        effects,
        log,
        secret,
        connectNode: ({ address }) => connectNode(address, secret, log),
        die: killSelf,
      },
    );
    return { ready: { address: running.address ?? '' }, stop: () => running.stop() };
  });
}

export async function runNode(settings: Settings): Promise<void> {
  const log = roleLog(settings, 'node');
  const secret = clusterSecret(settings);
  const folder = required(settings.node.data, '--node-data', 'the folder of the storage node');
  await runRole(settings, log, async () => {
    const client = connectMeta(settings.meta.address, secret, log);
    const running = await startStorageNode(
      {
        ...storageNodeConfigSchema.parse({ folder }),
        id: settings.node.id,
        listen: settings.node.listen,
        advertise: settings.node.advertise,
        zone: settings.node.zone,
        mapSizeBytes: settings.node.mapSize,
        freeFloorBytes: settings.node.freeFloor,
        watchdogMs: settings.node.watchdog,
        drainMs: settings.shutdownBound,
      },
      { effects, log, secret, registrar: client.meta },
    );
    // Refused for good (another cluster's disk, a second node of this name): a person must act.
    void running.refused.then((failure) => {
      process.stderr.write(`ashlar: ${failure.message}\n`);
      process.exit(exitCodeOf(failure));
    });
    await running.registered;
    return {
      ready: { address: running.address ?? '' },
      async stop() {
        await running.close();
        await client.close();
      },
    };
  });
}

/** The gateway's settings, from everybody's. */
export function gatewayConfig(settings: Settings, name: string): GatewayConfig {
  const { s3, admin, root, replication, limits } = settings;
  const { accessKey, secretKey } = root;
  if (accessKey === undefined || secretKey === undefined) {
    throw new ConfigError([
      'The root credentials are not set: a gateway needs ASHLAR_ROOT_ACCESS_KEY and ASHLAR_ROOT_SECRET_KEY (or ASHLAR_ROOT_SECRET_KEY_FILE), the same on every gateway.',
    ]);
  }
  return {
    name,
    s3: {
      ...parseListen(s3.listen, 's3.listen'),
      sharePort: s3.sharePort,
      region: s3.region,
      domains: s3.domains,
    },
    admin: admin.listen === 'off' ? undefined : parseListen(admin.listen, 'admin.listen'),
    root: { accessKey, secretKey },
    buckets: settings.buckets,
    objects: {
      blockSize: replication.blockSize,
      writePolicy: replication.policy,
      writeMemoryBytes: limits.bufferedBytes,
      readMemoryBytes: limits.bufferedBytes,
    },
    drainMs: settings.shutdownBound,
  };
}

export async function runGateway(settings: Settings): Promise<void> {
  const log = roleLog(settings, 'gateway');
  const secret = clusterSecret(settings);
  const config = gatewayConfig(settings, `gateway-${process.pid}`);
  await runRole(settings, log, async () => {
    const client = connectMeta(settings.meta.address, secret, log);
    const surroundings = {
      effects,
      log,
      meta: client.meta,
      connect: ({ address }: { address: string }) => connectNode(address, secret, log),
    };
    const gateway = await startGateway(config, surroundings);
    await whenReady(gateway, config, surroundings);
    return {
      ready: { s3: gateway.s3, admin: gateway.admin },
      async stop() {
        await gateway.stop();
        await client.close();
      },
    };
  });
}

/** A client of the storage node at `address`. */
function connectNode(
  address: string,
  secret: string,
  log: Log,
): StorageNode & { close(): Promise<void> } {
  const channel = createRpcChannel({
    address,
    secret,
    limits: STORAGE_NODE_RPC_LIMITS,
    effects,
    log,
  });
  return { ...createStorageNodeClient(channel), close: () => channel.close() };
}
