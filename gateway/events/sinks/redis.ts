/** A list of Redis, at whose end events are put, or a channel on which they are published. */
import { type Connection, createLazySink } from './lazy.ts';
import type { EventSink, RedisTarget, SinkEffects } from './sink.ts';

export function createRedisSink(target: RedisTarget, { clock }: SinkEffects): EventSink {
  const { name, timeoutMs } = target;
  const what = `the Redis target ${name}`;
  return createLazySink({ what, timeoutMs, clock, connect: () => open(target) });
}

async function open(target: RedisTarget): Promise<Connection> {
  const { createClient } = await import('@redis/client');
  const { url, key, mode, user, password, timeoutMs } = target;
  const client = createClient({
    url,
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
    disableOfflineQueue: true,
    // Who uses it connects again, when it is worth it.
    socket: { connectTimeout: timeoutMs, reconnectStrategy: false },
  });
  // Every command reports its own error; without a listener the process would end.
  client.on('error', () => {});
  await client.connect();
  return {
    async send(message) {
      if (mode === 'list') await client.rPush(key, message);
      else await client.publish(key, message);
    },
    close: () => {
      client.destroy();
      return Promise.resolve();
    },
  };
}
