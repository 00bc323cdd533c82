/** NATS, Redis and Kafka as far as publishing goes, by fakes of their protocols; webhooks by a server. */
import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { systemClock } from '../../../base/clock.ts';
import { isFailure } from '../../../base/failure.ts';
import { createKafkaSink } from './kafka.ts';
import { createNatsSink } from './nats.ts';
import { createRedisSink } from './redis.ts';
import { createWebhookSink } from './webhook.ts';

const effects = { clock: systemClock, fetch };
const unavailable = (error: unknown) => isFailure(error, 'unavailable');

/** A TCP server that hands on whole texts; ends with the returned function. */
async function fake(serve: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  return {
    port,
    cut,
    async close() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The text protocol of NATS: PUB with a payload, PING and PONG. */
function fakeNats(received: string[], reply?: string) {
  return fake((socket) => {
    socket.write(
      'INFO {"server_id":"x","version":"2.10.0","headers":true,"max_payload":1048576}\r\n',
    );
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
      for (;;) {
        const end = text.indexOf('\r\n');
        if (end < 0) return;
        const [verb, ...words] = text.slice(0, end).split(' ');
        let used = end + 2;
        if (verb === 'PUB') {
          const size = Number(words.at(-1));
          if (text.length < used + size + 2) return;
          received.push(`${words[0]} ${text.slice(used, used + size)}`);
          used += size + 2;
          const inbox = words.length === 3 ? words[1] : undefined;
          if (inbox !== undefined && reply !== undefined) {
            socket.write(`MSG ${inbox} 1 ${reply.length}\r\n${reply}\r\n`);
          }
        }
        if (verb === 'PING') socket.write('PONG\r\n');
        text = text.slice(used);
      }
    });
  });
}

/** RESP: arrays of bulk strings in, simple answers out. */
function fakeRedis(received: string[][], refuse: () => boolean) {
  return fake((socket) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
      for (;;) {
        const lines = text.split('\r\n');
        const count = Number(lines[0]?.slice(1));
        if (lines[0]?.startsWith('*') !== true || lines.length < 2 * count + 2) return;
        const words = Array.from({ length: count }, (_, index) => lines[2 * index + 2] ?? '');
        text = lines.slice(2 * count + 1).join('\r\n');
        const verb = words[0]?.toUpperCase();
        if (verb === 'RPUSH' || verb === 'PUBLISH') {
          if (!refuse()) received.push(words);
          socket.write(refuse() ? '-OOM command not allowed\r\n' : ':1\r\n');
        } else {
          socket.write('+OK\r\n');
        }
      }
    });
  });
}

/* Of Kafka's protocol, in versions from before its compact encodings (kafka.apache.org/protocol). */

const int16 = (value: number) => {
  const out = Buffer.alloc(2);
  out.writeInt16BE(value);
  return out;
};
const int32 = (value: number) => {
  const out = Buffer.alloc(4);
  out.writeInt32BE(value);
  return out;
};
const kafkaText = (text: string) => Buffer.concat([int16(text.length), Buffer.from(text)]);
const PRODUCE = 0;
const METADATA = 3;
const API_VERSIONS = 18;
/** Key, and the one version that this broker knows. */
const APIS = [
  [PRODUCE, 3],
  [METADATA, 1],
  [API_VERSIONS, 3],
] as const;

/** A broker with the topic `t` of one partition; `error` is what it answers to a message. */
async function fakeKafka(received: Buffer[], error: () => number) {
  const broker = await fake((socket) => {
    let bytes = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) {
        const request = bytes.subarray(4, 4 + bytes.readInt32BE(0));
        bytes = bytes.subarray(4 + request.length);
        const body = answerTo(request);
        socket.write(Buffer.concat([int32(4 + body.length), request.subarray(4, 8), body]));
      }
    });
  });
  function answerTo(request: Buffer): Buffer {
    const key = request.readInt16BE(0);
    if (key === API_VERSIONS) {
      const apis = APIS.flatMap(([api, version]) => [
        Buffer.concat([int16(api), int16(version), int16(version), Buffer.from([0])]),
      ]);
      return Buffer.concat([
        int16(0),
        Buffer.from([APIS.length + 1]),
        ...apis,
        int32(0),
        Buffer.from([0]),
      ]);
    }
    if (key === METADATA) {
      const one = Buffer.concat([int32(1), int32(1)]);
      const node = Buffer.concat([int32(1), kafkaText('127.0.0.1'), int32(broker.port), int16(-1)]);
      const partition = Buffer.concat([int16(0), int32(0), int32(1), one, one]);
      const topic = Buffer.concat([
        int16(0),
        kafkaText('t'),
        Buffer.from([0]),
        int32(1),
        partition,
      ]);
      return Buffer.concat([int32(1), node, int32(1), int32(1), topic]);
    }
    assert.equal(key, PRODUCE);
    if (error() === 0) received.push(request);
    const partition = Buffer.concat([int32(0), int16(error()), Buffer.alloc(16)]);
    return Buffer.concat([int32(1), kafkaText('t'), int32(1), partition, int32(0)]);
  }
  return broker;
}

test('Kafka gets the message with its key on the topic; a refusal is a failure', async () => {
  const received: Buffer[] = [];
  let error = 0;
  const server = await fakeKafka(received, () => error);
  const brokers = [`127.0.0.1:${server.port}`];
  const sink = createKafkaSink(
    { name: 'k', type: 'kafka', brokers, topic: 't', timeoutMs: 5000 },
    effects,
  );
  try {
    await sink.send('{"one":1}', 'b/key-one');
    assert.equal(received.length, 1);
    assert.ok(received[0]?.includes('{"one":1}'));
    assert.ok(received[0]?.includes('b/key-one'));
    // NOT_ENOUGH_REPLICAS
    error = 19;
    await assert.rejects(sink.send('two', 'k'), unavailable);
    error = 0;
    await sink.send('three', 'k');
    assert.ok(received.at(-1)?.includes('three'));
  } finally {
    await sink.close();
    await server.close();
  }
});

test('a webhook has taken an event when it answers 2xx, and only then', async () => {
  const received: string[] = [];
  let status = 204;
  const server = createHttpServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      received.push(`${request.method} ${request.headers.authorization} ${body}`);
      if (status > 0) response.writeHead(status, { location: '/elsewhere' }).end('ok');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}/`;
  const sink = createWebhookSink(
    { name: 'w', type: 'webhook', url, token: 't', timeoutMs: 200 },
    effects,
  );
  try {
    await sink.send('{"a":1}', 'k');
    assert.deepEqual(received, ['POST Bearer t {"a":1}']);
    for (status of [307, 400, 500, 0]) await assert.rejects(sink.send('x', 'k'), unavailable);
    assert.equal(received.length, 5, 'a redirect is not followed');
  } finally {
    server.close();
    server.closeAllConnections();
  }
  await assert.rejects(sink.send('x', 'k'), unavailable);
});

test('NATS gets the message on the subject, and a new connection after one is lost', async () => {
  const received: string[] = [];
  const server = await fakeNats(received);
  const servers = [`127.0.0.1:${server.port}`];
  const sink = createNatsSink(
    { name: 'n', type: 'nats', servers, subject: 'events', timeoutMs: 500 },
    effects,
  );
  try {
    await sink.send('one', 'k');
    server.cut();
    await assert.rejects(sink.send('lost', 'k'), unavailable);
    await sink.send('two', 'k');
    assert.equal(received[0], 'events one');
    assert.equal(received.at(-1), 'events two');
  } finally {
    await sink.close();
    await server.close();
  }
  await assert.rejects(sink.send('three', 'k'), unavailable);
});

test('with JetStream a message counts when a stream has it', async () => {
  for (const [reply, taken] of [
    ['{"stream":"s","seq":1}', true],
    ['{"error":{"code":503,"description":"no space"}}', false],
  ] as const) {
    const server = await fakeNats([], reply);
    const servers = [`127.0.0.1:${server.port}`];
    const sink = createNatsSink(
      { name: 'n', type: 'nats', servers, subject: 'e', jetstream: true, timeoutMs: 2000 },
      effects,
    );
    try {
      if (taken) await sink.send('one', 'k');
      else await assert.rejects(sink.send('one', 'k'), /no space/);
    } finally {
      await sink.close();
      await server.close();
    }
  }
});

test('Redis gets it at the end of the list or on the channel; a refusal is a failure', async () => {
  const received: string[][] = [];
  let refusing = false;
  const server = await fakeRedis(received, () => refusing);
  const target = { name: 'r', type: 'redis', url: `redis://127.0.0.1:${server.port}` } as const;
  const list = createRedisSink({ ...target, key: 'l', mode: 'list', timeoutMs: 2000 }, effects);
  const channel = createRedisSink(
    { ...target, key: 'c', mode: 'channel', timeoutMs: 2000 },
    effects,
  );
  try {
    await list.send('one', 'k');
    await channel.send('two', 'k');
    assert.deepEqual(received, [
      ['RPUSH', 'l', 'one'],
      ['PUBLISH', 'c', 'two'],
    ]);
    refusing = true;
    await assert.rejects(list.send('three', 'k'), unavailable);
    refusing = false;
    await list.send('four', 'k');
    assert.deepEqual(received.at(-1), ['RPUSH', 'l', 'four']);
  } finally {
    await list.close();
    await channel.close();
    await server.close();
  }
  await assert.rejects(list.send('five', 'k'), unavailable);
});

test('a Kafka that is not there is a failure in time, and closing does not wait for it', async () => {
  const brokers = ['127.0.0.1:1'];
  const sink = createKafkaSink(
    { name: 'k', type: 'kafka', brokers, topic: 't', timeoutMs: 500 },
    effects,
  );
  await assert.rejects(sink.send('one', 'k'), unavailable);
  await sink.close();
});
