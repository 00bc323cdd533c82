/** Where events go: one interface over everything that takes messages, and how each is configured. */
import type { Clock } from '../../../base/clock.ts';

export interface EventSink {
  /**
   * Resolves when the target has taken the message; whatever it throws means that it has not, or that
   * nobody knows. `key` keeps messages of one key in order where the target can do that.
   */
  send(message: string, key: string): Promise<void>;
  close(): Promise<void>;
}

interface Named {
  name: string;
  /** Bound on one message. */
  timeoutMs: number;
  /** Beside the root account, those whose buckets may use it: numbers, canonical ids, `*`. */
  accounts?: readonly string[] | undefined;
}

export interface WebhookTarget extends Named {
  type: 'webhook';
  url: string;
  /** Sent as `Authorization: Bearer TOKEN`. */
  token?: string | undefined;
}

export interface NatsTarget extends Named {
  type: 'nats';
  servers: readonly string[];
  subject: string;
  user?: string | undefined;
  password?: string | undefined;
  token?: string | undefined;
  /** Wait until a stream has stored the message; otherwise until the server has it. */
  jetstream?: boolean | undefined;
}

export interface RedisTarget extends Named {
  type: 'redis';
  /** `redis://host:6379/0`. */
  url: string;
  /** Of the list, or of the channel. */
  key: string;
  mode: 'list' | 'channel';
  user?: string | undefined;
  password?: string | undefined;
}

export interface KafkaTarget extends Named {
  type: 'kafka';
  /** `host:port`. */
  brokers: readonly string[];
  topic: string;
  user?: string | undefined;
  password?: string | undefined;
}

export type TargetConfig = WebhookTarget | NatsTarget | RedisTarget | KafkaTarget;

/** What a sink may use of the world. */
export interface SinkEffects {
  clock: Clock;
  fetch: typeof fetch;
}
