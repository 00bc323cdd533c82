/** Client and server together, over real sockets. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { hashBytes } from '../checksum.ts';
import { systemEffects } from '../clock.ts';
import { Failure, isFailure } from '../failure.ts';
import { silentLog } from '../log.ts';
import { createManualEffects } from '../testing-clock.ts';
import { createRpcChannel } from './client.ts';
import { dispatchMethods, methodTable } from './method-table.ts';
import type { ReceivedMessage, RpcChannel, RpcHandler, RpcRequest } from './rpc.ts';
import { createRpcServer } from './server.ts';
import {
  authenticate,
  failureOf,
  frameBytes,
  hold,
  LIMITS,
  openChannel,
  readFrames,
  SECRET,
  startServer,
} from './test-support.ts';

const echo: RpcHandler = async ({ meta, payload, payloadHash }) => ({ meta, payload, payloadHash });

/** A Unix socket address in a folder of its own. */
function unixAddress(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-rpc-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return `unix:${join(folder, 'a.sock')}`;
}

/** Repeats a call until the peer is back. */
async function callUntilReached(channel: RpcChannel): Promise<ReceivedMessage> {
  for (;;) {
    try {
      return await channel.call(1, { meta: 'again' });
    } catch (error) {
      if (!isFailure(error, 'unavailable', 'unknown-outcome')) throw error;
      await systemEffects.clock.sleep(5);
    }
  }
}

test('many calls at once get their own answers, over TCP and over a Unix socket', async (t) => {
  for (const address of ['127.0.0.1:0', '[::1]:0', unixAddress(t)]) {
    const started = await startServer(t, echo, { address });
    const channel = openChannel(t, started.address, { connections: 2 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.string(), fc.nat(70_000)), { maxLength: 40 }),
        async (calls) => {
          const answers = await Promise.all(
            calls.map(([text, length], index) =>
              channel.call(index, { meta: { text }, payload: Buffer.alloc(length, index) }),
            ),
          );
          for (const [index, [text, length]] of calls.entries()) {
            const answer = answers[index] ?? assert.fail();
            assert.deepEqual(answer.meta, { text });
            const sent = Buffer.alloc(length, index);
            assert.deepEqual(answer.payload, length === 0 ? undefined : sent);
            assert.equal(answer.payloadHash, hashBytes(sent));
          }
        },
      ),
      { numRuns: 10 },
    );
  }
});

test("a handler's Failure reaches the caller with kind and message, other errors as internal", async (t) => {
  const { address } = await startServer(t, ({ method }) => {
    if (method === 1) return Promise.reject(new Failure('full', 'no space left'));
    if (method === 2) return Promise.reject(new Error('oops'));
    if (method === 3) throw new Failure('not-found', 'thrown, not rejected');
    return Promise.resolve({ meta: 'x'.repeat(LIMITS.metaBytesMax) });
  });
  const channel = openChannel(t, address);
  const outcome = async (method: number) => {
    const error = await channel.call(method, { meta: null }).catch((reason: unknown) => reason);
    assert.ok(error instanceof Failure);
    return [error.kind, error.message];
  };
  assert.deepEqual(await outcome(1), ['full', 'no space left']);
  assert.deepEqual(await outcome(2), ['internal', 'oops']);
  assert.deepEqual(await outcome(3), ['not-found', 'thrown, not rejected']);
  assert.equal((await outcome(4))[0], 'internal');
});

test('a message over the limits is refused before it is sent, and the channel goes on', async (t) => {
  const { address } = await startServer(t, echo);
  const channel = openChannel(t, address);
  const payload = Buffer.alloc(LIMITS.payloadBytesMax + 1);
  await assert.rejects(channel.call(1, { meta: null, payload }), failureOf('invalid'));
  const meta = 'x'.repeat(LIMITS.metaBytesMax);
  await assert.rejects(channel.call(1, { meta }), failureOf('invalid'));
  assert.equal((await channel.call(1, { meta: 'fine' })).meta, 'fine');
});

test('a payload that does not match its hash is corrupt in either direction, and nothing else is', async (t) => {
  let handled = 0;
  const { address } = await startServer(t, async ({ method }) => {
    handled += 1;
    const payload = Buffer.from('answer');
    return method === 2 ? { meta: null, payload, payloadHash: 1n } : { meta: null };
  });
  const channel = openChannel(t, address);
  const damaged = { meta: null, payload: Buffer.from('request'), payloadHash: 1n };
  await assert.rejects(channel.call(1, damaged), failureOf('corrupt'));
  assert.equal(handled, 0);
  await assert.rejects(channel.call(2, { meta: null }), failureOf('corrupt'));
  await channel.call(1, { meta: null });
  assert.equal(handled, 2);
});

test('a wrong secret is unauthenticated for the caller and no handler runs', async (t) => {
  const { address } = await startServer(t, () => assert.fail('a stranger was served'));
  const channel = openChannel(t, address, { secret: 'another secret of the same length' });
  await assert.rejects(channel.call(1, { meta: null }), failureOf('unauthenticated'));
  await assert.rejects(channel.call(1, { meta: null }), failureOf('unauthenticated'));
  assert.equal(channel.connected, false);
});

test('short secrets, senseless limits and malformed addresses are refused at construction', () => {
  const base = { limits: LIMITS, effects: systemEffects, log: silentLog, secret: SECRET };
  const server = { ...base, handler: echo };
  const channel = { ...base, address: '127.0.0.1:1' };
  const noLimits = { metaBytesMax: 10, payloadBytesMax: 10 };
  assert.throws(() => createRpcServer({ ...server, secret: 'too short' }), failureOf('invalid'));
  assert.throws(() => createRpcChannel({ ...channel, secret: 'too short' }), failureOf('invalid'));
  assert.throws(() => createRpcServer({ ...server, limits: noLimits }), failureOf('invalid'));
  assert.throws(() => createRpcChannel({ ...channel, limits: noLimits }), failureOf('invalid'));
  assert.throws(() => createRpcChannel({ ...channel, address: 'nowhere' }), failureOf('invalid'));
});

/* ------------------------------------------------------------------ deadlines, cancelling */

test('a call times out at its deadline, and the handler sees its signal abort', async (t) => {
  const effects = createManualEffects();
  const begun = hold<RpcRequest>();
  const { address } = await startServer(t, (request) => {
    begun.resolve(request);
    return new Promise(() => {});
  });
  const channel = openChannel(t, address, { effects });
  const call = channel.call(1, { meta: null }, { timeoutMs: 500 });
  const other = channel.call(1, { meta: null }, { timeoutMs: 900 });
  const { signal } = await begun.promise;
  const outcomes: unknown[] = [];
  const kept = [call, other].map((each) => each.catch((error: unknown) => outcomes.push(error)));
  await effects.clock.advance(499);
  assert.equal(outcomes.length, 0);
  await effects.clock.advance(2);
  assert.equal(outcomes.length, 1);
  await effects.clock.advance(410);
  await Promise.all(kept);
  assert.ok(outcomes.every(failureOf('timeout')));
  if (!signal.aborted) await once(signal, 'abort');
  assert.ok(isFailure(signal.reason, 'cancelled'));
});

test("the server aborts a handler's signal at the deadline by itself", async (t) => {
  const effects = createManualEffects();
  const { address } = await startServer(
    t,
    async ({ signal }) => {
      await effects.clock.advance(1_001);
      return { meta: isFailure(signal.reason) ? signal.reason.kind : 'no reason' };
    },
    { effects },
  );
  const channel = openChannel(t, address);
  const answer = await channel.call(1, { meta: null }, { timeoutMs: 1_000 });
  assert.equal(answer.meta, 'timeout');
});

test('an aborted call rejects at once with cancelled, and the handler sees it', async (t) => {
  const begun = hold<RpcRequest>();
  const { address } = await startServer(t, (request) => {
    begun.resolve(request);
    return new Promise(() => {});
  });
  const channel = openChannel(t, address);
  const controller = new AbortController();
  const call = channel.call(1, { meta: null }, { signal: controller.signal });
  const { signal } = await begun.promise;
  controller.abort();
  await assert.rejects(call, failureOf('cancelled'));
  if (!signal.aborted) await once(signal, 'abort');
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  await assert.rejects(
    channel.call(1, { meta: null }, { signal: AbortSignal.abort() }),
    failureOf('cancelled'),
  );
});

test('a settled call leaves nothing on the signal of its caller', async (t) => {
  const { address } = await startServer(t, echo);
  const channel = openChannel(t, address);
  const { signal } = new AbortController();
  await channel.call(1, { meta: null }, { signal });
  const damaged = { meta: null, payload: Buffer.alloc(1), payloadHash: 1n };
  await assert.rejects(channel.call(1, damaged, { signal }), failureOf('corrupt'));
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('a handler that first looks at its signal after the caller gave up finds it aborted', async (t) => {
  const begun = hold();
  const look = hold();
  const seen = hold<boolean>();
  const { address } = await startServer(t, async (request) => {
    if (request.method === 2) return { meta: null };
    begun.resolve();
    await look.promise;
    seen.resolve(request.signal.aborted);
    return { meta: null };
  });
  const channel = openChannel(t, address);
  const controller = new AbortController();
  const call = channel.call(1, { meta: null }, { signal: controller.signal });
  await begun.promise;
  controller.abort();
  await assert.rejects(call, failureOf('cancelled'));
  await channel.call(2, { meta: null }); // behind the cancel frame on the same connection
  look.resolve();
  assert.equal(await seen.promise, true);
});

test('a call without time left is not sent', async (t) => {
  const { address } = await startServer(t, () => assert.fail('it was sent'));
  const channel = openChannel(t, address);
  await assert.rejects(channel.call(1, { meta: null }, { timeoutMs: 0 }), failureOf('timeout'));
});

test('one timer serves any number of calls, and none is left behind by a closed channel', async (t) => {
  const effects = createManualEffects();
  const release = hold();
  const { address } = await startServer(t, async () => {
    await release.promise;
    return { meta: null };
  });
  const channel = openChannel(t, address, { effects });
  const calls = Array.from({ length: 100 }, () => channel.call(1, { meta: null }));
  // The sweep, and the limit of the attempt to connect or the keep-alive.
  assert.equal(effects.clock.pending, 2);
  release.resolve();
  await Promise.all(calls);
  assert.equal(effects.clock.pending, 2);
  await channel.close();
  assert.equal(effects.clock.pending, 0);
});

/* ------------------------------------------------------------------ connections that fail */

test('a refused connection fails calls promptly with unavailable', async (t) => {
  const { server, address } = await startServer(t, echo);
  await server.close({ graceMs: 0 });
  const channel = openChannel(t, address);
  const calls = [channel.call(1, { meta: null }), channel.call(1, { meta: null })];
  for (const call of calls) await assert.rejects(call, failureOf('unavailable'));
  await assert.rejects(channel.call(1, { meta: null }), failureOf('unavailable'));
});

test('a channel finds a restarted server again', async (t) => {
  const first = await startServer(t, echo);
  const channel = openChannel(t, first.address);
  assert.equal((await channel.call(1, { meta: 1 })).meta, 1);
  assert.equal(channel.connected, true);
  await first.server.close({ graceMs: 0 });
  await assert.rejects(channel.call(1, { meta: null }), (error) =>
    isFailure(error, 'unavailable', 'unknown-outcome'),
  );
  assert.equal(channel.connected, false);
  await startServer(t, echo, { address: first.address });
  assert.equal((await callUntilReached(channel)).meta, 'again');
  assert.equal(channel.connected, true);
});

test('a lost connection is replaced at once, without waiting for a call or a back-off', async (t) => {
  let connections = 0;
  const fickle = createServer((socket) => {
    connections += 1;
    t.after(() => void socket.destroy());
    socket.on('error', () => {});
    void authenticate(socket, 'server').then(() =>
      readFrames(socket, ({ id, meta }) => {
        socket.write(frameBytes({ kind: 'response', method: 0, id, timeoutMs: 0 }, { meta }));
        if (connections === 1) socket.end();
      }),
    );
  });
  t.after(() => void fickle.close());
  await once(fickle.listen(0, '127.0.0.1'), 'listening');
  const bound = fickle.address();
  assert.ok(bound !== null && typeof bound === 'object');
  // On this clock no back-off ever ends.
  const channel = openChannel(t, `127.0.0.1:${bound.port}`, { effects: createManualEffects() });
  assert.equal((await channel.call(1, { meta: 1 })).meta, 1);
  while (connections < 2 || !channel.connected) await systemEffects.clock.sleep(1);
  assert.equal((await channel.call(1, { meta: 2 })).meta, 2);
});

test('a call in flight when the server dies has an unknown outcome', async (t) => {
  const begun = hold();
  const { server, address } = await startServer(t, () => {
    begun.resolve();
    return new Promise(() => {});
  });
  const channel = openChannel(t, address);
  const call = channel.call(1, { meta: null });
  await begun.promise;
  const rejected = assert.rejects(call, failureOf('unknown-outcome'));
  await server.close({ graceMs: 0 });
  await rejected;
});

test('the end of a connection aborts the signals of its handlers', async (t) => {
  const begun = hold<RpcRequest>();
  const { address } = await startServer(t, (request) => {
    begun.resolve(request);
    return new Promise(() => {});
  });
  const channel = openChannel(t, address);
  const call = channel.call(1, { meta: null });
  const { signal } = await begun.promise;
  const rejected = assert.rejects(call, failureOf('cancelled'));
  await channel.close();
  await rejected;
  if (!signal.aborted) await once(signal, 'abort');
  await assert.rejects(channel.call(1, { meta: null }), failureOf('unavailable'));
});

test('a peer that falls silent with calls in flight is given up after three intervals', async (t) => {
  const effects = createManualEffects();
  const silent = createServer((socket) => {
    socket.on('error', () => {});
    t.after(() => void socket.destroy());
    void authenticate(socket, 'server');
  });
  t.after(() => void silent.close());
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  const bound = silent.address();
  assert.ok(bound !== null && typeof bound === 'object');
  const channel = openChannel(t, `127.0.0.1:${bound.port}`, { effects });
  const call = channel.call(1, { meta: null });
  const outcome = call.catch((error: unknown) => error);
  while (!channel.connected) await systemEffects.clock.sleep(1);
  await effects.clock.advance(8_000);
  assert.ok(isFailure(await outcome, 'unknown-outcome'));
});

test('pings keep a connection alive through a long call', async (t) => {
  const effects = createManualEffects();
  const release = hold();
  const { address } = await startServer(t, async ({ method }) => {
    if (method === 1) await release.promise;
    return { meta: 'done' };
  });
  const channel = openChannel(t, address, { effects });
  const call = channel.call(1, { meta: null });
  await channel.call(2, { meta: null });
  for (let i = 0; i < 10; i += 1) await effects.clock.advance(2_000);
  release.resolve();
  assert.equal((await call).meta, 'done');
});

/* ------------------------------------------------------------------ closing */

test('close lets running requests end, refuses new ones with unavailable, then ends connections', async (t) => {
  const begun = hold();
  const release = hold();
  const { server, address } = await startServer(t, async () => {
    begun.resolve();
    await release.promise;
    return { meta: 'finished' };
  });
  const channel = openChannel(t, address);
  const running = channel.call(1, { meta: null });
  await begun.promise;
  const closing = server.close({ graceMs: 60_000 });
  await assert.rejects(channel.call(1, { meta: null }), failureOf('unavailable'));
  release.resolve();
  assert.equal((await running).meta, 'finished');
  await closing;
});

test('close ends what is still running when the grace is over', async (t) => {
  const effects = createManualEffects();
  const begun = hold<RpcRequest>();
  const { server, address } = await startServer(
    t,
    (request) => {
      begun.resolve(request);
      return new Promise(() => {});
    },
    { effects },
  );
  const channel = openChannel(t, address);
  const call = channel.call(1, { meta: null });
  const { signal } = await begun.promise;
  const rejected = assert.rejects(call, failureOf('unknown-outcome'));
  const closing = server.close({ graceMs: 5_000 });
  await effects.clock.advance(5_000);
  await Promise.all([closing, rejected]);
  assert.equal(signal.aborted, true);
});

test('listening again on the socket file of a dead process works, on that of a living one not', async (t) => {
  const address = unixAddress(t);
  const path = address.slice('unix:'.length);
  const { server } = await startServer(t, echo, { address });
  await assert.rejects(startServer(t, echo, { address }), failureOf('unavailable'));
  await server.close({ graceMs: 0 });
  // A process that is killed leaves the file; an ordinary close does not.
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  assert.throws(() => execFileSync(process.execPath, ['-e', script], { stdio: 'ignore' }));
  const again = await startServer(t, echo, { address });
  const channel = openChannel(t, again.address);
  assert.equal((await channel.call(1, { meta: 'here' })).meta, 'here');
});

/* ------------------------------------------------------------------ the method table */

test('a method table gives stable numbers, and an unknown one is invalid', async (t) => {
  const table = methodTable(['put', 'get']);
  assert.deepEqual(table.numbers, { put: 1, get: 2 });
  assert.deepEqual([table.nameOf(2), table.nameOf(3)], ['get', undefined]);
  const handler = dispatchMethods(table, {
    put: async () => ({ meta: 'was put' }),
    get: async () => ({ meta: 'was got' }),
  });
  const { address } = await startServer(t, handler);
  const channel = openChannel(t, address);
  assert.equal((await channel.call(table.numbers.get, { meta: null })).meta, 'was got');
  await assert.rejects(channel.call(3, { meta: null }), failureOf('invalid'));
});

test('small payloads stay right while the memory they are gathered in is used again', async (t) => {
  // Reads slowly, so that much of what is sent waits in the sockets.
  const slowly: RpcHandler = async ({ payload }) => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return { meta: null, payload };
  };
  const { address } = await startServer(t, slowly, { address: unixAddress(t) });
  const channel = openChannel(t, address);
  await channel.call(1, { meta: null });
  const answers: Promise<void>[] = [];
  for (let turn = 0; turn < 400; turn++) {
    for (let call = 0; call < 5; call++) {
      const payload = Buffer.alloc(1000 + ((turn * 5 + call) % 9000), turn * 5 + call);
      const answer = channel.call(1, { meta: null, payload });
      answers.push(answer.then((got) => assert.ok(got.payload?.equals(payload))));
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(answers);
});

test('whoever observes a channel is told of every call, its method, and how it failed', async (t) => {
  const handler: RpcHandler = async ({ method, meta }) => {
    if (method === 2) throw new Failure('full', 'no room');
    return { meta };
  };
  const { address, server } = await startServer(t, handler);
  const seen: [number, string | undefined][] = [];
  const channel = openChannel(t, address, {
    observe(method, durationMs, failure) {
      assert.ok(durationMs >= 0);
      seen.push([method, failure]);
    },
  });
  await channel.call(1, { meta: null });
  await assert.rejects(channel.call(2, { meta: null }));
  const ending = new AbortController();
  const given = channel.call(3, { meta: null }, { signal: ending.signal });
  ending.abort();
  await assert.rejects(given);
  await server.close({ graceMs: 0 });
  await assert.rejects(channel.call(4, { meta: null }));
  assert.deepEqual(seen.slice(0, 3), [
    [1, undefined],
    [2, 'full'],
    [3, 'cancelled'],
  ]);
  assert.equal(seen.length, 4);
});
