/** What the tests of the RPC share: servers and channels that end with the test, and peers that speak raw bytes. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { hashBytes } from '../checksum.ts';
import { systemEffects, systemRandom } from '../clock.ts';
import { Failure } from '../failure.ts';
import { silentLog } from '../log.ts';
import { parseAddress } from './address.ts';
import { createRpcChannel, type RpcChannelOptions } from './client.ts';
import {
  encodeMeta,
  type Frame,
  FrameDecoder,
  type FrameHead,
  framePrefixBytes,
  writeFramePrefix,
} from './frame.ts';
import { clusterKey, Handshake, NONCE_BYTES } from './handshake.ts';
import type { Address, RpcChannel, RpcHandler, RpcLimits, RpcMessage } from './rpc.ts';
import { createRpcServer, type RpcServer, type RpcServerOptions } from './server.ts';

export const SECRET = 'correct horse battery staple';
export const LIMITS: RpcLimits = { metaBytesMax: 64 * 1024, payloadBytesMax: 2 * 1024 * 1024 };

export interface Hold<T> {
  promise: Promise<T>;
  resolve: (value: T) => void;
}

export function hold<T = void>(): Hold<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { promise, resolve };
}

/** A server on a free port that closes with the test. */
export async function startServer(
  t: TestContext,
  handler: RpcHandler,
  options: Partial<RpcServerOptions> & { address?: Address } = {},
): Promise<{ server: RpcServer; address: Address }> {
  const { address = '127.0.0.1:0', ...rest } = options;
  const server = createRpcServer({
    secret: SECRET,
    limits: LIMITS,
    effects: systemEffects,
    log: silentLog,
    handler,
    ...rest,
  });
  t.after(() => server.close({ graceMs: 0 }));
  return { server, address: await server.listen(address) };
}

export function openChannel(
  t: TestContext,
  address: Address,
  options: Partial<RpcChannelOptions> = {},
): RpcChannel {
  const channel = createRpcChannel({
    address,
    secret: SECRET,
    limits: LIMITS,
    effects: systemEffects,
    log: silentLog,
    ...options,
  });
  t.after(() => channel.close());
  return channel;
}

/** A frame as one run of bytes. */
export function frameBytes(head: FrameHead, message: RpcMessage): Buffer {
  const meta = encodeMeta(message.meta, { ...LIMITS, metaBytesMax: 0xff_ff_ff_ff });
  return frameBytesWithMeta(head, meta, message.payload ?? Buffer.alloc(0));
}

/** The same with any bytes as meta. */
export function frameBytesWithMeta(head: FrameHead, meta: Uint8Array, payload: Uint8Array): Buffer {
  const prefix = Buffer.alloc(framePrefixBytes(meta.length));
  writeFramePrefix(prefix, 0, head, meta, payload.length, hashBytes(payload));
  return Buffer.concat([prefix, payload]);
}

export function requestHead(id: number, method = 1, timeoutMs = 0): FrameHead {
  return { kind: 'request', method, id, timeoutMs };
}

/** A connected socket without any manners: closed with the test. */
export async function openSocket(t: TestContext, address: Address): Promise<Socket> {
  const parsed = parseAddress(address);
  const socket =
    parsed.kind === 'unix'
      ? connect({ path: parsed.path })
      : connect({ host: parsed.host, port: parsed.port });
  t.after(() => void socket.destroy());
  await once(socket, 'connect');
  socket.on('error', () => {}); // 'close' follows, which the tests wait for
  return socket;
}

/** Resolves once the socket is closed, however that came about. */
export async function closed(socket: Socket): Promise<void> {
  socket.resume();
  if (socket.closed) return;
  await new Promise<void>((resolve) => void socket.once('close', () => resolve()));
}

/** Plays one side of the handshake on `socket`; frames follow on `frames`. */
export async function authenticate(
  socket: Socket,
  role: 'client' | 'server' = 'client',
): Promise<void> {
  const handshake = new Handshake(role, clusterKey(SECRET), systemRandom.bytes(NONCE_BYTES));
  socket.write(handshake.hello);
  await new Promise<void>((resolve, reject) => {
    const onData = (chunk: Buffer) => {
      const step = handshake.receive(chunk);
      if (step.send !== undefined) socket.write(step.send);
      if (!step.done) return;
      socket.off('data', onData);
      socket.pause();
      resolve();
    };
    socket.on('data', onData);
    socket.once('close', () => reject(new Failure('unavailable', 'closed in the handshake')));
  });
}

/** Calls `sink` with each frame that arrives, from now on. */
export function readFrames(socket: Socket, sink: (frame: Frame) => void): void {
  const decoder = new FrameDecoder(LIMITS);
  socket.on('data', (chunk: Buffer) => decoder.push(chunk, sink));
  socket.resume();
}

/** For `assert.rejects` and `assert.throws`. */
export function failureOf(kind: string): (error: unknown) => boolean {
  return (error) => error instanceof Failure && error.kind === kind;
}
