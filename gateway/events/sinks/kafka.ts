/** A topic of Kafka. A message counts as taken when all replicas in sync have it. */
import { type Connection, createLazySink } from './lazy.ts';
import type { EventSink, KafkaTarget, SinkEffects } from './sink.ts';

export function createKafkaSink(target: KafkaTarget, { clock }: SinkEffects): EventSink {
  const { name, timeoutMs } = target;
  const what = `the Kafka target ${name}`;
  return createLazySink({ what, timeoutMs, clock, connect: () => open(target) });
}

async function open(target: KafkaTarget): Promise<Connection> {
  const { ProduceAcks, Producer, stringSerializers } = await import('@platformatic/kafka');
  const { brokers, topic, user, password, timeoutMs } = target;
  const producer = new Producer({
    clientId: 'ashlar',
    bootstrapBrokers: [...brokers],
    serializers: stringSerializers,
    connectTimeout: timeoutMs,
    // Tried again by whoever uses it.
    retries: 0,
    ...(user === undefined || password === undefined
      ? {}
      : { sasl: { mechanism: 'PLAIN' as const, username: user, password } }),
  });
  return {
    async send(message, key) {
      await producer.send({
        messages: [{ topic, key, value: message }],
        acks: ProduceAcks.ALL,
      });
    },
    close: () => producer.close(true),
  };
}
