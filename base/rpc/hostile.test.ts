/** Peers that misbehave: strangers, broken and hostile ones, slow readers. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { systemEffects, systemRandom } from '../clock.ts';
import { createManualEffects } from '../testing-clock.ts';
import type { Frame } from './frame.ts';
import { clusterKey, Handshake, HELLO_BYTES, NONCE_BYTES } from './handshake.ts';
import type { RpcHandler } from './rpc.ts';
import {
  authenticate,
  closed,
  failureOf,
  frameBytes,
  frameBytesWithMeta,
  hold,
  openChannel,
  openSocket,
  readFrames,
  requestHead,
  startServer,
} from './test-support.ts';

const echo: RpcHandler = async ({ meta }) => ({ meta });

async function openPeer(t: TestContext, address: string): Promise<Socket> {
  const socket = await openSocket(t, address);
  await authenticate(socket);
  return socket;
}

test('strangers are hung up on without an answer, and others notice nothing', async (t) => {
  const { address } = await startServer(t, echo);
  const channel = openChannel(t, address);
  await channel.call(1, { meta: null });
  const handshake = new Handshake(
    'client',
    clusterKey('the secret of another cluster'),
    systemRandom.bytes(NONCE_BYTES),
  );
  const strangers = [
    Buffer.from('GET / HTTP/1.1\r\nHost: example.com\r\n\r\n'.repeat(3)),
    Buffer.alloc(1 << 20),
    frameBytes(requestHead(1), { meta: null }),
    Buffer.concat([handshake.hello, systemRandom.bytes(32)]),
    Buffer.concat([handshake.hello, systemRandom.bytes(32), Buffer.alloc(4_000)]),
  ];
  for (const bytes of strangers) {
    const socket = await openSocket(t, address);
    const received: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.write(bytes);
    await closed(socket);
    // Only the server's own challenge, which says nothing.
    assert.ok(Buffer.concat(received).length <= HELLO_BYTES);
    assert.equal((await channel.call(1, { meta: 'fine' })).meta, 'fine');
  }
});

test('a peer that does not finish the handshake in time is hung up on', async (t) => {
  const effects = createManualEffects();
  const { address } = await startServer(t, echo, { effects });
  const silent = await openSocket(t, address);
  const slow = await openSocket(t, address);
  slow.write(Buffer.from('ASHR'));
  await Promise.all([once(silent, 'data'), once(slow, 'data')]);
  await effects.clock.advance(5_000);
  await Promise.all([closed(silent), closed(slow)]);
});

test('an authenticated peer that breaks the protocol loses its connection and nothing else happens', async (t) => {
  const { address } = await startServer(t, echo);
  const channel = openChannel(t, address);
  const head = requestHead(7);
  const good = frameBytes(head, { meta: 'x', payload: Buffer.alloc(100) });
  const at = (place: number, value: number) => {
    const bytes = Buffer.from(good);
    bytes.writeUInt32LE(value, place);
    return bytes;
  };
  const attacks: Record<string, Buffer> = {
    'random bytes': systemRandom.bytes(1000),
    'a huge meta length': at(12, 0xff_ff_ff_ff),
    'a huge payload length': at(16, 0xff_ff_ff_ff),
    'an unknown kind': frameBytes({ ...head, kind: 'request' }, { meta: 'x' }).fill(9, 4, 5),
    'a response': frameBytes({ ...head, kind: 'response' }, { meta: 'x' }),
    'a failure': frameBytes({ ...head, kind: 'failure' }, { meta: ['internal', 'x'] }),
    'deep nesting': frameBytesWithMeta(head, Buffer.alloc(60_000, 0x91), Buffer.alloc(0)),
    'meta that promises more than it has': frameBytesWithMeta(
      head,
      Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff]),
      Buffer.alloc(0),
    ),
    'a flipped bit in the meta': at(36, 0x12_34_56_78),
  };
  for (const [name, bytes] of Object.entries(attacks)) {
    const socket = await openPeer(t, address);
    socket.write(bytes);
    await closed(socket);
    assert.equal((await channel.call(1, { meta: name })).meta, name);
  }
});

test('random streams from authenticated peers never stop the server', async (t) => {
  const { address } = await startServer(t, echo);
  const channel = openChannel(t, address);
  await channel.call(1, { meta: null });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.uint8Array({ maxLength: 200 }), fc.boolean()), { maxLength: 5 }),
      async (pieces) => {
        const socket = await openPeer(t, address);
        for (const [bytes, framed] of pieces) {
          socket.write(framed ? frameBytesWithMeta(requestHead(1), bytes, bytes) : bytes);
        }
        socket.end();
        await closed(socket);
        await channel.call(1, { meta: null });
      },
    ),
    { numRuns: 40 },
  );
});

test('a frame cut off by the end of the connection is never handled', async (t) => {
  let handled = 0;
  const { address } = await startServer(t, async ({ meta }) => {
    if (meta === 'cut') handled += 1;
    return { meta };
  });
  const channel = openChannel(t, address);
  const frame = frameBytes(requestHead(1), { meta: 'cut', payload: Buffer.alloc(50_000) });
  for (const length of [1, 31, 32, 40, 1_000, frame.length - 1]) {
    const socket = await openPeer(t, address);
    socket.end(frame.subarray(0, length));
    await closed(socket);
    await channel.call(1, { meta: 'other' });
  }
  assert.equal(handled, 0);
});

test('a request id in use twice ends the connection', async (t) => {
  const { address } = await startServer(t, () => new Promise(() => {}));
  const socket = await openPeer(t, address);
  socket.write(frameBytes(requestHead(5), { meta: null }));
  socket.write(frameBytes(requestHead(5), { meta: null }));
  await closed(socket);
});

test('a cancel for an unknown request and an unasked pong are harmless', async (t) => {
  const { address } = await startServer(t, echo);
  const socket = await openPeer(t, address);
  const answer = hold<Frame>();
  readFrames(socket, answer.resolve);
  for (const kind of ['cancel', 'pong'] as const) {
    socket.write(frameBytes({ kind, method: 0, id: 99, timeoutMs: 0 }, { meta: undefined }));
  }
  socket.write(frameBytes(requestHead(1), { meta: 'still here' }));
  assert.equal((await answer.promise).meta, 'still here');
});

test('connections over the maximum are closed, and a freed place can be taken', async (t) => {
  const { address } = await startServer(t, echo, { maxConnections: 2 });
  const first = await openPeer(t, address);
  const second = await openPeer(t, address);
  const third = await openPeer(t, address).catch(() => undefined);
  if (third !== undefined) await closed(third);
  second.destroy();
  const channel = openChannel(t, address);
  for (;;) {
    const answer = await channel.call(1, { meta: 1 }).catch(() => undefined);
    if (answer !== undefined) break;
    await systemEffects.clock.sleep(5);
  }
  assert.equal(first.closed, false);
});

test('a client hung up on when the server is full hears unavailable or an unknown outcome', async (t) => {
  const { address } = await startServer(t, echo, { maxConnections: 1 });
  await openPeer(t, address);
  const channel = openChannel(t, address);
  await assert.rejects(
    channel.call(1, { meta: null }),
    (error) => failureOf('unknown-outcome')(error) || failureOf('unavailable')(error),
  );
});

/* ------------------------------------------------------------------ back-pressure */

test('a slow reader never makes the server hold more than the bound', async (t) => {
  const answerBytes = 1 << 20;
  const requests = 150;
  const maxInFlight = 4;
  // The server's own bound, and what the kernel may take for both ends of a loopback connection.
  const bound = 4 * (1 << 20) + maxInFlight * answerBytes + 24 * (1 << 20);
  let produced = 0;
  let consumed = 0;
  let worst = 0;
  const payload = Buffer.alloc(answerBytes, 1);
  const { address } = await startServer(
    t,
    async () => {
      produced += answerBytes;
      worst = Math.max(worst, produced - consumed);
      return { meta: null, payload };
    },
    { maxInFlightPerConnection: maxInFlight },
  );
  const socket = await openPeer(t, address);
  let answers = 0;
  const done = hold();
  readFrames(socket, () => {
    answers += 1;
    if (answers === requests) done.resolve();
  });
  socket.on('data', (chunk: Buffer) => {
    consumed += chunk.length;
    socket.pause();
    setImmediate(() => socket.resume());
  });
  for (let id = 1; id <= requests; id += 1) {
    socket.write(frameBytes(requestHead(id), { meta: null }));
  }
  await done.promise;
  assert.ok(worst <= bound, `${worst} bytes were waiting`);
});

test('no more requests than allowed are worked on at once, and all get their turn', async (t) => {
  let running = 0;
  let most = 0;
  const { address } = await startServer(
    t,
    async ({ meta }) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      return { meta };
    },
    { maxInFlightPerConnection: 3 },
  );
  const channel = openChannel(t, address);
  const calls = Array.from({ length: 500 }, (_, index) =>
    channel.call(1, { meta: index, payload: Buffer.alloc(index * 10) }),
  );
  const answers = await Promise.all(calls);
  assert.deepEqual(
    answers.map((answer) => answer.meta),
    answers.map((_, index) => index),
  );
  assert.equal(most, 3);
});

/** Time enough for what must not happen to happen; nothing depends on how long it takes. */
async function meanwhile(): Promise<void> {
  for (let i = 0; i < 100; i += 1) await systemEffects.clock.sleep(1);
}

test('requests worked on are bounded in bytes, not only in number', async (t) => {
  let begun = 0;
  const release = hold();
  const { address } = await startServer(t, async () => {
    begun += 1;
    await release.promise;
    return { meta: null };
  });
  const channel = openChannel(t, address);
  const payload = Buffer.alloc(1 << 20);
  const calls = Array.from({ length: 60 }, () => channel.call(1, { meta: null, payload }));
  while (begun < 33) await systemEffects.clock.sleep(1);
  await meanwhile();
  assert.equal(begun, 33); // the one that passes 32 MiB is the last
  release.resolve();
  await Promise.all(calls);
  assert.equal(begun, 60);
});

test('what cannot be worked on stays unread, with its sender', async (t) => {
  const begun = hold();
  const { address } = await startServer(
    t,
    () => {
      begun.resolve();
      return new Promise(() => {});
    },
    { maxInFlightPerConnection: 1 },
  );
  const socket = await openPeer(t, address);
  for (let id = 1; id <= 64; id += 1) {
    socket.write(frameBytes(requestHead(id), { meta: null, payload: Buffer.alloc(1 << 20) }));
  }
  await begun.promise;
  await meanwhile();
  assert.ok(socket.writableLength > 0);
});

test('a call withdrawn before it was written never reaches the server', async (t) => {
  let begun = 0;
  const release = hold();
  const { address } = await startServer(
    t,
    async () => {
      begun += 1;
      await release.promise;
      return { meta: null };
    },
    { maxInFlightPerConnection: 1 },
  );
  const channel = openChannel(t, address);
  const payload = Buffer.alloc(1 << 20);
  const first = channel.call(1, { meta: null });
  while (begun === 0) await systemEffects.clock.sleep(1);
  const controller = new AbortController();
  const { signal } = controller;
  const calls = Array.from({ length: 64 }, () =>
    channel.call(1, { meta: null, payload }, { signal }),
  );
  await meanwhile();
  controller.abort();
  const outcomes = await Promise.allSettled(calls);
  assert.ok(outcomes.every((outcome) => outcome.status === 'rejected'));
  release.resolve();
  await first;
  await channel.call(1, { meta: null });
  // The sockets and the channel's own bound hold some of the 64; most never left.
  assert.ok(begun < 60, `${begun} were begun`);
});

test('a cancelled request that was waiting is never begun', async (t) => {
  const begun: unknown[] = [];
  const release = hold();
  const { address } = await startServer(
    t,
    async ({ meta }) => {
      begun.push(meta);
      if (meta === 'first') await release.promise;
      return { meta };
    },
    { maxInFlightPerConnection: 1 },
  );
  const socket = await openPeer(t, address);
  const answer = hold<Frame>();
  readFrames(socket, (frame) => {
    if (frame.id === 3) answer.resolve(frame);
  });
  const cancel = { kind: 'cancel', method: 0, id: 2, timeoutMs: 0 } as const;
  // All in one chunk, so that the server has read the cancel before it stops reading.
  socket.write(
    Buffer.concat([
      frameBytes(requestHead(1), { meta: 'first' }),
      frameBytes(requestHead(2), { meta: 'second' }),
      frameBytes(cancel, { meta: undefined }),
      frameBytes(requestHead(3), { meta: 'third' }),
    ]),
  );
  while (begun.length === 0) await systemEffects.clock.sleep(1);
  release.resolve();
  assert.equal((await answer.promise).meta, 'third');
  assert.deepEqual(begun, ['first', 'third']);
});

test('a server too busy to read still shows that it is alive', async (t) => {
  const effects = createManualEffects();
  const begun = hold();
  const { address } = await startServer(
    t,
    () => {
      begun.resolve();
      return new Promise(() => {});
    },
    { effects, maxInFlightPerConnection: 1 },
  );
  const socket = await openPeer(t, address);
  const pulse = hold<Frame>();
  readFrames(socket, pulse.resolve);
  socket.write(frameBytes(requestHead(1), { meta: null }));
  await begun.promise;
  await effects.clock.advance(2_000);
  assert.equal((await pulse.promise).kind, 'pong');
});

test('a connection whose peer is silent for long is ended, a paused one is not', async (t) => {
  const effects = createManualEffects();
  const { address } = await startServer(t, () => new Promise(() => {}), {
    effects,
    maxInFlightPerConnection: 1,
  });
  const silent = await openPeer(t, address);
  const busy = await openPeer(t, address);
  const pulse = hold();
  readFrames(busy, () => pulse.resolve());
  busy.write(frameBytes(requestHead(1), { meta: null }));
  while (effects.clock.pending < 2) await systemEffects.clock.sleep(1);
  await effects.clock.advance(60_000);
  await closed(silent);
  await pulse.promise;
  assert.equal(busy.closed, false);
});
