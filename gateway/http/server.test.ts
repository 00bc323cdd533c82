import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, test } from 'node:test';
import { type Effects, systemEffects } from '../../base/clock.ts';
import { isFailure } from '../../base/failure.ts';
import { silentLog } from '../../base/log.ts';
import { createManualClock } from '../../base/testing-clock.ts';
import { S3Error } from '../s3/errors.ts';
import type { Pipeline } from '../s3/pipeline.ts';
import type { RawReply, RawRequest } from '../s3/request.ts';
import { createHttpServer, type HttpServer } from './server.ts';

const open: HttpServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close({ deadlineMs: 0 })));
});

async function serve(pipeline: Pipeline, effects: Effects = systemEffects) {
  const server = createHttpServer({ pipeline, effects, log: silentLog });
  open.push(server);
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  return { server, port };
}

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Sends and returns everything that comes back until the server closes. */
async function talk(port: number, ...parts: (string | Uint8Array)[]): Promise<string> {
  const socket = await dial(port);
  for (const part of parts) socket.write(part);
  return readAll(socket);
}

async function readAll(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  await once(socket, 'close');
  return text;
}

/** Resolves once the socket has received `text`, with all that came until then. */
function until(socket: Socket, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = '';
    const onData = (chunk: Buffer): void => {
      seen += chunk.toString('latin1');
      if (!seen.includes(text)) return;
      socket.off('data', onData);
      resolve(seen);
    };
    socket.on('data', onData);
    socket.once('close', () => reject(new Error(`closed before ${text}: ${seen}`)));
  });
}

const request = (method: string, target: string, ...headers: string[]): string =>
  [`${method} ${target} HTTP/1.1`, 'Host: h', ...headers, '', ''].join('\r\n');
const CLOSE = 'Connection: close';

async function readBody(body: RawRequest['body']): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Answers with what it received. */
const echo: Pipeline = async (received) => ({
  status: 200,
  headers: { 'X-Target': `${received.rawPath} ${received.rawQuery}` },
  body: await readBody(received.body),
});

/** Answers without reading. */
const refuse: Pipeline = () =>
  Promise.resolve({ status: 403, headers: {}, body: 'refused' } satisfies RawReply);

test('the target, the headers and the body arrive as they were sent', async () => {
  let got: RawRequest | undefined;
  const { port } = await serve((received) => {
    got = received;
    return echo(received);
  });
  const answer = await talk(
    port,
    request('PUT', '/b//../%2e%2E/x%2F?a=%20&b', CLOSE, 'A: 1', 'a: 2', 'Content-Length: 5'),
    'hello',
  );
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(answer, /X-Target: \/b\/\/\.\.\/%2e%2E\/x%2F a=%20&b\r\n/);
  assert.match(answer, /Date: /);
  assert.doesNotMatch(answer, /X-Powered-By|ETag/i);
  assert.ok(answer.endsWith('\r\n\r\nhello'));
  assert.equal(got?.headers['a'], '1,2');
  assert.deepEqual(got?.repeatedHeaders, ['a']);
  assert.match(got?.id ?? '', /^[0-9A-F]{16}$/);
  assert.equal(got?.remoteAddress, '127.0.0.1');
  assert.equal(got?.secure, false);
});

test('two Host headers are both seen, and a proxy may send the absolute form', async () => {
  const { port } = await serve((received) =>
    Promise.resolve({
      status: 200,
      headers: { Seen: `${received.repeatedHeaders.join()} ${received.rawPath}` },
    }),
  );
  assert.match(await talk(port, request('GET', '/', 'Host: other', CLOSE)), /Seen: host \/\r\n/);
  assert.match(await talk(port, request('GET', 'http://h/b/k?x', CLOSE)), /Seen: {2}\/b\/k\r\n/);
});

test('pipelined requests are answered in order', async () => {
  let release: () => void = () => {};
  const second = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { port } = await serve(async (received) => {
    const reply = await echo(received);
    // The first is not ready before the second.
    if (received.rawPath === '/1') await second;
    else release();
    return reply;
  });
  const answer = await talk(
    port,
    request('PUT', '/1', 'Content-Length: 3') +
      'one' +
      request('PUT', '/2', CLOSE, 'Content-Length: 3') +
      'two',
  );
  assert.deepEqual(answer.match(/X-Target: \S+|one|two/g), [
    'X-Target: /1',
    'one',
    'X-Target: /2',
    'two',
  ]);
});

test('100 Continue is sent when the body is first read', async () => {
  const { port } = await serve(echo);
  const socket = await dial(port);
  const head = request('PUT', '/', CLOSE, 'Content-Length: 5', 'Expect: 100-continue');
  socket.write(head);
  await until(socket, 'HTTP/1.1 100 Continue\r\n\r\n');
  socket.write('hello');
  assert.match(await readAll(socket), /^HTTP\/1\.1 200 OK[^]*hello$/);
});

test('a request that is refused is answered without 100 Continue and the connection closed', async () => {
  const { port } = await serve(refuse);
  const head = request('PUT', '/', 'Content-Length: 5', 'Expect: 100-continue');
  const answer = await talk(port, head);
  assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\n/);
  assert.match(answer, /Connection: close\r\n/);
});

test('a small body that nobody read does not disturb the next request', async () => {
  const { port } = await serve((received) =>
    received.rawPath === '/refuse' ? refuse(received) : echo(received),
  );
  const socket = await dial(port);
  socket.write(request('PUT', '/refuse', 'Content-Length: 1000'));
  await until(socket, 'refused');
  // The body comes after its answer; what follows it is a request and not content.
  socket.write('GET /hidden HTTP/1.1\r\n'.padEnd(1000, 'x'));
  socket.write(request('PUT', '/next', CLOSE, 'Content-Length: 2'));
  socket.write('ok');
  const answer = await readAll(socket);
  assert.deepEqual(answer.match(/X-Target: \S+/g), ['X-Target: /next']);
  assert.ok(answer.endsWith('ok'));
});

test('a client that sends on against a refusal still gets it, then the connection ends', async () => {
  const { port } = await serve(refuse);
  const socket = await dial(port);
  const answer = readAll(socket);
  socket.write(request('PUT', '/', `Content-Length: ${64 * 1024 * 1024}`));
  const chunk = Buffer.alloc(256 * 1024);
  for (let sent = 0; sent < 16; sent++) socket.write(chunk);
  await until(socket, 'refused');
  socket.end();
  const text = await answer;
  assert.match(text, /^HTTP\/1\.1 403[^]*Connection: close\r\n/);
  assert.equal(text.match(/HTTP\/1\.1/g)?.length, 1);
});

test('header sections beyond the limit get 431 in XML', async () => {
  const { port } = await serve(echo);
  const answer = await talk(port, request('GET', '/', `X: ${'a'.repeat(17_000)}`));
  assert.match(answer, /^HTTP\/1\.1 431 /);
  assert.match(answer, /<Code>RequestHeaderSectionTooLarge<\/Code>/);
  assert.match(answer, /Connection: close\r\n[^]*x-amz-request-id: [0-9A-F]{16}\r\n/);
});

test('messages that two parsers could read differently get 400 and never reach the pipeline', async () => {
  let reached = 0;
  const { port } = await serve((received) => {
    reached++;
    return echo(received);
  });
  for (const headers of [
    ['Content-Length: 5', 'Transfer-Encoding: chunked'],
    ['Content-Length: 5', 'Content-Length: 6'],
    ['Content-Length: -5'],
    ['Content-Length: +5'],
    ['Transfer-Encoding : chunked'],
    ['A: b', ' folded'],
    ['A: b\0c'],
  ]) {
    const answer = await talk(port, request('PUT', '/', ...headers), 'hello');
    assert.match(answer, /^HTTP\/1\.1 400 /, headers.join());
    assert.match(answer, /<Code>BadRequest<\/Code>/);
    assert.match(answer, /Connection: close/);
  }
  assert.equal(reached, 0);
});

test('a chunk size that is none ends an upload with 400', async () => {
  const { port } = await serve(echo);
  const answer = await talk(port, request('PUT', '/', 'Transfer-Encoding: chunked'), 'xyz\r\n');
  assert.match(answer, /^HTTP\/1\.1 400 [^]*<Code>BadRequest</);
  const large = await talk(
    port,
    request('PUT', '/', 'Transfer-Encoding: chunked'),
    `${'f'.repeat(20)}\r\nx`,
  );
  assert.match(large, /^HTTP\/1\.1 400 /);
});

test('large bodies go in and out unchanged, in both framings', async () => {
  const content = randomBytes(3 * 1024 * 1024 + 17);
  const digest = createHash('sha256').update(content).digest('hex');
  const { port } = await serve(async (received) => {
    const body = await readBody(received.body);
    async function* slices(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < body.length; at += 300_000) yield body.subarray(at, at + 300_000);
    }
    return { status: 200, headers: { 'Content-Length': body.length }, body: slices() };
  });
  const chunked = Buffer.concat([
    Buffer.from(`${content.length.toString(16)}\r\n`),
    content,
    Buffer.from('\r\n0\r\n\r\n'),
  ]);
  for (const [header, body] of [
    [`Content-Length: ${content.length}`, content],
    ['Transfer-Encoding: chunked', chunked],
  ] as const) {
    const answer = await talk(port, request('PUT', '/', CLOSE, header), body);
    const received = Buffer.from(answer.slice(answer.indexOf('\r\n\r\n') + 4), 'latin1');
    assert.equal(createHash('sha256').update(received).digest('hex'), digest);
  }
});

test('a reader that waits stops the client, and memory with it', async () => {
  let release: () => void = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let received = 0;
  const { port } = await serve(async ({ body }) => {
    for await (const chunk of body) {
      if (received === 0) await released;
      received += chunk.length;
    }
    return { status: 200, headers: {} };
  });
  const total = 64 * 1024 * 1024;
  const socket = await dial(port);
  const answer = readAll(socket);
  socket.write(request('PUT', '/', CLOSE, `Content-Length: ${total}`));
  const chunk = Buffer.alloc(1024 * 1024);
  let flushed = 0;
  for (let sent = 0; sent < total; sent += chunk.length) {
    socket.write(chunk, () => {
      flushed += chunk.length;
    });
  }
  // Whatever the kernel's buffers take, most of it cannot be on its way while nobody reads.
  for (let turn = 0; turn < 1000; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(flushed < total / 2, `${flushed} bytes left the client`);
  release();
  assert.match(await answer, /^HTTP\/1\.1 200/);
  assert.equal(received, total);
});

test('a client that leaves in the middle of an upload ends the body with an error', async () => {
  let seen: unknown;
  let aborted = false;
  let done: () => void = () => {};
  const finished = new Promise<void>((resolve) => {
    done = resolve;
  });
  const { port } = await serve(async (received) => {
    received.signal.addEventListener('abort', () => {
      aborted = true;
    });
    await readBody(received.body).catch((error: unknown) => {
      seen = error;
    });
    return { status: 500, headers: {}, finished: done };
  });
  const socket = await dial(port);
  socket.write(request('PUT', '/', 'Content-Length: 100'));
  socket.write('only a part', () => socket.destroy());
  await finished;
  assert.ok(isFailure(seen, 'cancelled'));
  assert.equal(aborted, true);
});

test('a client that leaves in the middle of a download ends the source', async () => {
  let returned = false;
  let done: () => void = () => {};
  const finished = new Promise<void>((resolve) => {
    done = resolve;
  });
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield Buffer.alloc(256 * 1024);
    } finally {
      returned = true;
    }
  }
  const { port } = await serve(() =>
    Promise.resolve({
      status: 200,
      headers: { 'Content-Length': 1e12 },
      body: endless(),
      finished: done,
    }),
  );
  const socket = await dial(port);
  socket.write(request('GET', '/'));
  await until(socket, '\r\n\r\n');
  socket.destroy();
  await finished;
  while (!returned) await new Promise((resolve) => setImmediate(resolve));
});

test('a source that fails, ends early or has too much breaks the connection', async () => {
  const sources: Record<string, () => AsyncGenerator<Uint8Array>> = {
    async *'/fails'() {
      yield Buffer.from('half');
      throw new Error('all replicas are gone');
    },
    async *'/short'() {
      yield Buffer.from('half');
    },
    async *'/long'() {
      yield Buffer.from('half');
      yield Buffer.from('more than that');
    },
  };
  const { port } = await serve(({ rawPath }) => {
    const body = sources[rawPath]?.();
    return Promise.resolve({ status: 200, headers: { 'Content-Length': 8 }, body });
  });
  for (const path of Object.keys(sources)) {
    const socket = await dial(port);
    socket.write(request('GET', path));
    const answer = await readAll(socket);
    const [, body = ''] = answer.split('\r\n\r\n');
    assert.ok(body.length < 8, `${path}: ${answer}`);
  }
});

test('HEAD announces a length and sends nothing; 204 and 304 announce none', async () => {
  const { port } = await serve(({ rawPath, method }) =>
    Promise.resolve({
      status: Number(rawPath.slice(1)),
      headers: method === 'HEAD' ? { 'Content-Length': 12_345 } : {},
    }),
  );
  const head = await talk(port, request('HEAD', '/200', CLOSE));
  assert.match(head, /Content-Length: 12345\r\n[^]*\r\n\r\n$/);
  for (const status of [204, 304]) {
    const answer = await talk(port, request('GET', `/${status}`, CLOSE));
    assert.doesNotMatch(answer, /Content-Length|Transfer-Encoding/);
    assert.match(answer, /\r\n\r\n$/);
  }
  assert.match(await talk(port, request('GET', '/200', CLOSE)), /Content-Length: 0\r\n/);
});

test('an upload that stands still gets RequestTimeout', async () => {
  const clock = createManualClock();
  const { port } = await serve(
    async (received) => {
      try {
        return await echo(received);
      } catch (error) {
        if (!(error instanceof S3Error)) throw error;
        return { status: error.status, headers: {}, body: error.code };
      }
    },
    { ...systemEffects, clock },
  );
  const socket = await dial(port);
  socket.write(request('PUT', '/', 'Content-Length: 100000', 'Expect: 100-continue'));
  await until(socket, '100 Continue');
  const answer = readAll(socket);
  // One byte now and then is as good as none.
  for (let second = 0; second <= 80; second += 10) {
    socket.write('x');
    await clock.advance(10_000);
  }
  assert.match(await answer, /^HTTP\/1\.1 400 [^]*Connection: close\r\n[^]*RequestTimeout$/);
});

test('closing lets a running request finish and takes no new ones', async () => {
  let release: () => void = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let reached: () => void = () => {};
  const running = new Promise<void>((resolve) => {
    reached = resolve;
  });
  const { server, port } = await serve(async (received) => {
    reached();
    await released;
    return echo(received);
  });
  const idle = await dial(port);
  const socket = await dial(port);
  socket.write(request('PUT', '/', 'Content-Length: 2'));
  socket.write('ok');
  await running;
  const closed = server.close({ deadlineMs: 10_000 });
  await once(idle, 'close');
  await assert.rejects(once(connect(port, '127.0.0.1'), 'connect'), /ECONNREFUSED/);
  release();
  assert.match(await readAll(socket), /^HTTP\/1\.1 200 [^]*Connection: close\r\n[^]*ok$/);
  await closed;
});

test('closing cuts what does not end in time', async () => {
  let reached: () => void = () => {};
  const running = new Promise<void>((resolve) => {
    reached = resolve;
  });
  const { server, port } = await serve(() => {
    reached();
    return new Promise<RawReply>(() => {});
  });
  const socket = await dial(port);
  socket.write(request('GET', '/'));
  await running;
  const closed = once(socket, 'close');
  await server.close({ deadlineMs: 0 });
  await closed;
});

test('a port that is taken is an error to the caller', async () => {
  const { port } = await serve(echo);
  const second = createHttpServer({ pipeline: echo, effects: systemEffects, log: silentLog });
  await assert.rejects(second.listen({ host: '127.0.0.1', port }), /EADDRINUSE/);
});
