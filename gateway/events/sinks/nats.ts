/**
 * A subject of NATS. Without JetStream a message counts as taken when the server has it, which keeps it
 * for nobody; with it, when a stream has stored it.
 */
import { Failure } from '../../../base/failure.ts';
import { type Connection, createLazySink } from './lazy.ts';
import type { EventSink, NatsTarget, SinkEffects } from './sink.ts';

export function createNatsSink(target: NatsTarget, { clock }: SinkEffects): EventSink {
  const { name, timeoutMs } = target;
  const what = `the NATS target ${name}`;
  return createLazySink({ what, timeoutMs, clock, connect: () => open(target) });
}

async function open(target: NatsTarget): Promise<Connection> {
  const { connect } = await import('@nats-io/transport-node');
  const { subject, servers, user, password: pass, token, timeoutMs } = target;
  const client = await connect({
    servers: [...servers],
    name: 'ashlar',
    timeout: timeoutMs,
    // Who uses it connects again, when it is worth it.
    reconnect: false,
    ...(user === undefined ? {} : { user }),
    ...(pass === undefined ? {} : { pass }),
    ...(token === undefined ? {} : { token }),
  });
  return {
    async send(message) {
      if (target.jetstream !== true) {
        client.publish(subject, message);
        await client.flush();
        return;
      }
      const reply = await client.request(subject, message, { timeout: timeoutMs });
      const { error } = reply.json<{ error?: { description?: string } }>();
      if (error !== undefined) {
        throw new Failure('unavailable', `the stream refused it: ${error.description ?? '?'}`);
      }
    },
    close: () => client.close(),
  };
}
