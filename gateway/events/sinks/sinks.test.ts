/** NATS and Redis as far as publishing goes, by fakes of their wire protocols; webhooks by a server. */
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
