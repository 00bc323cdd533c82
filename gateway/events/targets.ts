/** The configured targets of notifications, each with its connection and its circuit. */
import type { Effects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import type { NotificationTargets } from '../s3/operation.ts';
import { mayUse, type TargetOwner } from '../s3/target-owner.ts';
import { Circuit } from './circuit.ts';
import { createKafkaSink } from './sinks/kafka.ts';
import { createNatsSink } from './sinks/nats.ts';
import { createRedisSink } from './sinks/redis.ts';
import type { EventSink, SinkEffects, TargetConfig } from './sinks/sink.ts';
import { createWebhookSink } from './sinks/webhook.ts';

export interface Target {
  name: string;
  sink: EventSink;
  accounts: readonly string[] | undefined;
  circuit: Circuit;
}

export interface Targets extends NotificationTargets {
  /** Undefined: there is none for buckets of this owner. */
  get(name: string, owner: TargetOwner): Target | undefined;
  close(): Promise<void>;
}

/** Connects to nothing before the first message. Throws Failure `invalid` for a name given twice. */
export function createTargets(
  configs: readonly TargetConfig[],
  effects: Effects,
  post: typeof fetch,
): Targets {
  const targets = new Map<string, Target>();
  for (const config of configs) {
    const { name, accounts } = config;
    if (targets.has(name)) throw new Failure('invalid', `two event targets are called ${name}`);
    const sink = sinkOf(config, { clock: effects.clock, fetch: post });
    targets.set(name, { name, sink, accounts, circuit: new Circuit(effects) });
  }
  const get: Targets['get'] = (name, owner) => {
    const target = targets.get(name);
    return target && mayUse(target.accounts, owner) ? target : undefined;
  };
  return {
    has: (name, owner) => get(name, owner) !== undefined,
    get,
    async send(name, message, key) {
      const target = targets.get(name);
      if (target === undefined) throw new Failure('not-found', `there is no event target ${name}`);
      await target.sink.send(message, key);
    },
    async close() {
      await Promise.all([...targets.values()].map(({ sink }) => sink.close()));
    },
  };
}

function sinkOf(config: TargetConfig, effects: SinkEffects): EventSink {
  switch (config.type) {
    case 'webhook':
      return createWebhookSink(config, effects);
    case 'nats':
      return createNatsSink(config, effects);
    case 'redis':
      return createRedisSink(config, effects);
    case 'kafka':
      return createKafkaSink(config, effects);
    default:
      return config satisfies never;
  }
}
