/** What a gateway does beside answering requests: it delivers what the outbox of the buckets holds. */
import type { Effects } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Meta } from '../meta/protocol.ts';
import { AccessLogWriter } from './access-log.ts';
import type { GatewayConfig } from './config.ts';
import { createEventMetrics, type EventMetrics } from './events/metrics.ts';
import { createNotifier } from './events/notifier.ts';
import { createTargets } from './events/targets.ts';
import type { ObjectEngine } from './object/engine.ts';
import { createDestinations } from './replication/destinations.ts';
import { createReplicator } from './replication/replicator.ts';
import type { AccountDirectory } from './s3/auth/accounts.ts';
import { type EncryptionOptions, RequestEncryption } from './s3/encryption/request-encryption.ts';
import type { NotificationTargets, ReplicaTargets } from './s3/operation.ts';
import { targetOwner } from './s3/target-owner.ts';

export interface Consumers {
  notifications: NotificationTargets;
  replicas: ReplicaTargets;
  accessLog: AccessLogWriter;
  start(): void;
  /** Begins no more deliveries; those under way are cut off at the deadline, and done again later. */
  endDeliveries(deadlineMs: number): Promise<void>;
  /** Ends deliveries at once, and delivers the access log. */
  stop(): Promise<void>;
}

export interface ConsumerOptions {
  config: GatewayConfig;
  meta: Meta;
  objects: ObjectEngine;
  encryption: EncryptionOptions;
  accounts: AccountDirectory;
  effects: Effects;
  log: Log;
  metrics: Metrics;
  fetch: typeof fetch;
}

const FLUSH_MS = 5 * 60 * 1000;

function createAccessLog(
  { config, meta, objects, encryption, accounts, effects, log }: ConsumerOptions,
  counts: EventMetrics,
): AccessLogWriter {
  // Whoever delivers logs comes over no connection.
  const itself = new RequestEncryption(encryption, { secure: true, remoteAddress: '' });
  return new AccessLogWriter({
    meta,
    objects,
    keys: encryption.keys,
    encryptionOf: (settings) => itself.target(undefined, settings),
    accountOf: async (id) => (await targetOwner(accounts, id)).number,
    effects,
    log,
    region: config.s3.region,
    flushMs: config.accessLogFlushMs ?? FLUSH_MS,
    count: counts.accessLog,
  });
}

/** Throws Failure `invalid` for settings that contradict each other. */
export function createConsumers(options: ConsumerOptions): Consumers {
  const { config, meta, effects, log } = options;
  const counts = createEventMetrics(options.metrics, meta, effects.clock);
  const targets = createTargets(config.events?.targets ?? [], effects, options.fetch);
  const ownerOf = (id: string) => targetOwner(options.accounts, id);
  const notifier = createNotifier({
    meta,
    ownerOf,
    targets,
    effects,
    log,
    region: config.s3.region,
    keepMs: config.events?.keepMs ?? EVENTS_KEEP_MS,
    count: counts.message,
  });
  const destinations = createDestinations(config.replicaTargets ?? [], effects);
  const replicator = createReplicator({
    meta,
    ownerOf,
    objects: options.objects,
    keys: options.encryption.keys,
    destinations,
    effects,
    log,
    count: counts.replica,
  });
  const accessLog = createAccessLog(options, counts);
  let ending: Promise<void> | undefined;

  async function disconnect(): Promise<void> {
    await Promise.all([targets.close(), destinations.close()]);
  }

  function endDeliveries(deadlineMs: number): Promise<void> {
    ending ??= (async () => {
      // What goes wrong with it goes wrong again at the stop, and is told there.
      const cutOff = (): void => void disconnect().catch(() => {});
      const timer = effects.clock.after(deadlineMs, cutOff);
      await Promise.all([notifier.stop(), replicator.stop()]);
      timer.cancel();
    })();
    return ending;
  }

  return {
    notifications: targets,
    replicas: destinations,
    accessLog,
    start() {
      accessLog.start();
      notifier.start();
      replicator.start();
    },
    endDeliveries,
    async stop() {
      await endDeliveries(0);
      await accessLog.stop();
      await disconnect();
    },
  };
}

const EVENTS_KEEP_MS = 3 * 24 * 60 * 60 * 1000;
