/**
 * One connection of a channel to its peer: connecting, handshake, calls in flight, keep-alive,
 * reconnecting. A call that was never written can be told so (`unavailable`); one that was, and
 * whose connection broke, cannot (`unknown-outcome`).
 */
import { connect, type Socket } from 'node:net';
import type { Effects, Timer } from '../clock.ts';
import { Failure, FAILURE_KINDS, type FailureKind, toFailure } from '../failure.ts';
import type { Log } from '../log.ts';
import type { ParsedAddress } from './address.ts';
import { type Frame, FrameDecoder } from './frame.ts';
import { Handshake, NONCE_BYTES } from './handshake.ts';
import { Outbox } from './outbox.ts';
import type { ReceivedMessage, RpcLimits, RpcMessage, RpcMeta } from './rpc.ts';

/** Requests that the kernel has not taken; above it calls wait unsent, where they can be withdrawn. */
const WRITE_BUFFER_BYTES_MAX = 4 * 1024 * 1024;
/**
 * Size of the buffer that a connection reads into again and again: for 1 MiB answers a quarter less
 * processor time than the fresh 64 KiB that a socket allocates for each read by itself.
 */
const READ_BYTES = 256 * 1024;
const KEEP_ALIVE_MS = 2_000;
/** Keep-alive intervals in a row without a byte from the peer that mean that it is gone. */
const SILENT_INTERVALS_MAX = 3;
const BACK_OFF_MS_MIN = 50;
const BACK_OFF_MS_MAX = 500;
const TIMEOUT_MS_MAX = 0xff_ff_ff_ff;

/** A call from its submission until it has settled. */
export interface PendingCall {
  method: number;
  message: RpcMessage;
  /** Monotonic milliseconds, or Infinity. */
  deadline: number;
  resolve(message: ReceivedMessage): void;
  reject(failure: Failure): void;
  signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
  /** Its request id; 0 until it was written. */
  id: number;
}

export interface LinkContext {
  address: ParsedAddress;
  /** The address as it was written, for messages. */
  name: string;
  key: Buffer;
  limits: RpcLimits;
  effects: Effects;
  log: Log;
  connectTimeoutMs: number;
}

/**
 * idle → connecting → up → connecting …; a failed attempt leads to `waiting`, and after the back-off
 * to `connecting` again, until `close`.
 */
type LinkState = 'idle' | 'connecting' | 'up' | 'waiting' | 'closed';

/** A socket and what belongs to it; replaced as a whole. */
interface Connection {
  socket: Socket;
  outbox: Outbox;
  decoder: FrameDecoder;
  handshake: Handshake;
}

export class ClientLink {
  readonly #context: LinkContext;
  #state: LinkState = 'idle';
  #connection: Connection | undefined;
  /** Limits the attempt, then drives keep-alive; or ends the back-off. */
  #timer: Timer | undefined;
  readonly #inFlight = new Map<number, PendingCall>();
  readonly #unsent = new Set<PendingCall>();
  #nextId = 1;
  /** Attempts since the peer last spoke to us. */
  #attempts = 0;
  /** The peer hung up on our proof once; it may have been shutting down. */
  #refusedOnce = false;
  #lastFailure: Failure | undefined;
  #heard = false;
  #silentIntervals = 0;

  constructor(context: LinkContext) {
    this.#context = context;
  }

  get connected(): boolean {
    return this.#state === 'up';
  }

  /** Failed lately, and not trying at this moment. */
  get resting(): boolean {
    return this.#state === 'waiting';
  }

  get load(): number {
    return this.#inFlight.size + this.#unsent.size;
  }

  submit(call: PendingCall): void {
    switch (this.#state) {
      case 'up':
        if (this.#unsent.size === 0 && !this.#congested()) this.#write(call);
        else this.#unsent.add(call);
        return;
      case 'idle':
        this.#unsent.add(call);
        return this.#connect();
      case 'connecting':
        this.#unsent.add(call);
        return;
      case 'waiting':
        return settle(call).reject(this.#unavailable(this.#lastFailure));
      case 'closed':
        return settle(call).reject(new Failure('unavailable', 'the channel is closed'));
    }
  }

  /** Ends a call of this link before its answer; the peer is told if it has the request. */
  withdraw(call: PendingCall, failure: Failure): void {
    if (this.#unsent.delete(call) || this.#inFlight.get(call.id) !== call) {
      return settle(call).reject(failure);
    }
    this.#inFlight.delete(call.id);
    const head = { kind: 'cancel', method: 0, id: call.id, timeoutMs: 0 } as const;
    this.#connection?.outbox.send(head, { meta: undefined });
    settle(call).reject(failure);
  }

  /** Times out the calls due by `dueMs`; returns the earliest deadline that is left. */
  expire(dueMs: number): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const calls of [this.#inFlight.values(), this.#unsent.values()]) {
      for (const call of calls) {
        if (call.deadline > dueMs) earliest = Math.min(earliest, call.deadline);
        else this.withdraw(call, new Failure('timeout', `no answer from ${this.#context.name}`));
      }
    }
    return earliest;
  }

  close(): Promise<void> {
    this.#state = 'closed';
    this.#timer?.cancel();
    const failure = new Failure('cancelled', 'the channel was closed');
    this.#rejectAll(this.#unsent, failure);
    this.#rejectAll(this.#inFlight.values(), failure);
    this.#inFlight.clear();
    this.#unsent.clear();
    const socket = this.#connection?.socket;
    this.#connection = undefined;
    if (socket === undefined || socket.closed) return Promise.resolve();
    return new Promise((resolve) => {
      socket.once('close', () => resolve());
      socket.destroy();
    });
  }

  /* ---------------------------------------------------------------- connecting */

  #connect(): void {
    const { address, effects, key, limits, connectTimeoutMs } = this.#context;
    this.#state = 'connecting';
    this.#attempts += 1;
    // The decoder keeps nothing of a chunk, so all reads share one buffer.
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (length: number, bytes: Uint8Array) => {
        this.#receive(connection, Buffer.from(bytes.buffer, bytes.byteOffset, length));
        return true;
      },
    };
    const socket =
      address.kind === 'unix'
        ? connect({ path: address.path, onread })
        : connect({
            host: address.host,
            port: address.port,
            noDelay: true,
            keepAlive: true,
            onread,
          });
    const connection: Connection = {
      socket,
      outbox: new Outbox(socket, limits),
      decoder: new FrameDecoder(limits),
      handshake: new Handshake('client', key, effects.random.bytes(NONCE_BYTES)),
    };
    this.#connection = connection;
    let cause: Error | undefined;
    socket.on('connect', () => socket.write(connection.handshake.hello));
    socket.resume(); // or the end of the stream would never be seen
    socket.on('drain', () => this.#writeUnsent());
    socket.on('error', (error) => {
      cause = error;
    });
    socket.on('close', () => this.#onClose(connection, cause));
    this.#timer = effects.clock.after(connectTimeoutMs, () => {
      socket.destroy(new Failure('unavailable', `no connection within ${connectTimeoutMs} ms`));
    });
  }

  #onClose(connection: Connection, cause: Error | undefined): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#timer?.cancel();
    if (this.#state === 'up') this.#onLost(cause);
    else this.#onAttemptFailed(connection, cause);
  }

  #onLost(cause: Error | undefined): void {
    const { log, name } = this.#context;
    log.warn({ peer: name, error: cause }, 'lost the connection to a peer');
    const calls = [...this.#inFlight.values()];
    this.#inFlight.clear();
    const text = `the connection to ${name} broke after the call was sent`;
    this.#rejectAll(calls, new Failure('unknown-outcome', text, { cause }));
    if (this.#attempts === 0) this.#connect();
    else this.#connectLater();
  }

  #onAttemptFailed(connection: Connection, cause: Error | undefined): void {
    const refused = cause === undefined && connection.handshake.proved;
    if (refused && !this.#refusedOnce) {
      // A wrong secret looks like this, and so does a peer that dies at this moment. Ask again
      // before anybody is told; a dead peer refuses the connection itself then.
      this.#refusedOnce = true;
      this.#timer = this.#context.effects.clock.after(BACK_OFF_MS_MIN, () => this.#connect());
      return;
    }
    let failure: Failure;
    if (refused || (cause instanceof Failure && cause.kind === 'unauthenticated')) {
      const text = `${this.#context.name} and this process do not share the cluster secret`;
      failure = new Failure('unauthenticated', text, { cause });
    } else {
      this.#refusedOnce = false;
      failure = this.#unavailable(cause);
    }
    if (this.#lastFailure?.kind !== failure.kind) {
      this.#context.log.warn({ peer: this.#context.name, error: failure }, 'cannot reach a peer');
    }
    this.#lastFailure = failure;
    const calls = [...this.#unsent];
    this.#unsent.clear();
    this.#connectLater();
    this.#rejectAll(calls, failure);
  }

  #connectLater(): void {
    this.#state = 'waiting';
    const { clock, random } = this.#context.effects;
    const full = Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS_MIN * 2 ** Math.max(0, this.#attempts - 1));
    this.#timer = clock.after(full * (0.5 + random.fraction() / 2), () => this.#connect());
  }

  #unavailable(cause: Error | undefined): Failure {
    if (cause instanceof Failure && cause.kind === 'unauthenticated') return cause;
    const text = `cannot reach ${this.#context.name}: ${cause?.message || 'it hung up'}`;
    return new Failure('unavailable', text, { cause });
  }

  #onUp(): void {
    this.#state = 'up';
    this.#refusedOnce = false;
    this.#lastFailure = undefined;
    this.#silentIntervals = 0;
    this.#timer?.cancel();
    this.#keepAliveLater();
    this.#context.log.debug({ peer: this.#context.name }, 'connected to a peer');
    this.#writeUnsent();
  }

  /**
   * Counts quiet intervals instead of reading the clock, so that a process that was itself stopped
   * for a while does not blame its peers.
   */
  #keepAliveLater(): void {
    this.#timer = this.#context.effects.clock.after(KEEP_ALIVE_MS, () => {
      if (this.#heard) this.#silentIntervals = 0;
      else this.#silentIntervals += 1;
      if (this.#silentIntervals >= SILENT_INTERVALS_MAX) {
        const quietMs = SILENT_INTERVALS_MAX * KEEP_ALIVE_MS;
        this.#connection?.socket.destroy(new Failure('timeout', `silent for ${quietMs} ms`));
        return;
      }
      if (!this.#heard) {
        const ping = { kind: 'ping', method: 0, id: 0, timeoutMs: 0 } as const;
        this.#connection?.outbox.send(ping, { meta: undefined });
      }
      this.#heard = false;
      this.#keepAliveLater();
    });
  }

  /* ---------------------------------------------------------------- sending */

  #congested(): boolean {
    const buffered = this.#connection?.outbox.bufferedBytes ?? 0;
    return buffered > WRITE_BUFFER_BYTES_MAX;
  }

  #writeUnsent(): void {
    if (this.#state !== 'up') return;
    for (const call of this.#unsent) {
      if (this.#congested()) return;
      this.#unsent.delete(call);
      this.#write(call);
    }
  }

  #write(call: PendingCall): void {
    let timeoutMs = 0;
    if (call.deadline !== Number.POSITIVE_INFINITY) {
      const left = Math.ceil(call.deadline - this.#context.effects.clock.monotonic());
      timeoutMs = Math.min(Math.max(left, 1), TIMEOUT_MS_MAX);
    }
    const id = this.#freshId();
    try {
      const head = { kind: 'request', method: call.method, id, timeoutMs } as const;
      this.#connection?.outbox.send(head, call.message);
    } catch (error) {
      return settle(call).reject(toFailure(error));
    }
    call.id = id;
    this.#inFlight.set(id, call);
  }

  #freshId(): number {
    let id = this.#nextId;
    while (this.#inFlight.has(id)) id = id === 0xff_ff_ff_ff ? 1 : id + 1;
    this.#nextId = id === 0xff_ff_ff_ff ? 1 : id + 1;
    return id;
  }

  #rejectAll(calls: Iterable<PendingCall>, failure: Failure): void {
    for (const call of calls) settle(call).reject(failure);
  }

  /* ---------------------------------------------------------------- receiving */

  #receive(connection: Connection, chunk: Buffer): void {
    if (this.#connection !== connection) return;
    this.#heard = true;
    try {
      if (this.#state === 'up') return connection.decoder.push(chunk, this.#onFrame);
      const step = connection.handshake.receive(chunk);
      if (step.send !== undefined) connection.socket.write(step.send);
      if (step.done) this.#onUp();
    } catch (error) {
      connection.socket.destroy(toFailure(error));
    }
  }

  readonly #onFrame = (frame: Frame): void => {
    this.#attempts = 0;
    if (frame.kind === 'pong') return;
    if (frame.kind !== 'response' && frame.kind !== 'failure') {
      throw new Failure('invalid', `a server does not send a ${frame.kind}`);
    }
    const call = this.#inFlight.get(frame.id);
    if (call === undefined) return; // withdrawn meanwhile
    this.#inFlight.delete(frame.id);
    settle(call);
    if (frame.kind === 'failure') call.reject(readFailure(frame.meta));
    else if (!frame.intact) {
      call.reject(new Failure('corrupt', `an answer of ${this.#context.name} arrived damaged`));
    } else {
      const { meta, payload, payloadHash } = frame;
      call.resolve({ meta, payload, payloadHash });
    }
  };
}

/** Detaches a call from its caller's signal, right before it is resolved or rejected. */
function settle(call: PendingCall): PendingCall {
  if (call.onAbort !== undefined) call.signal?.removeEventListener('abort', call.onAbort);
  return call;
}

const KINDS: ReadonlySet<unknown> = new Set(FAILURE_KINDS);

function isKind(value: unknown): value is FailureKind {
  return KINDS.has(value);
}

function readFailure(meta: RpcMeta): Failure {
  const [kind, message] = Array.isArray(meta) ? (meta as unknown[]) : [];
  // A newer peer may know kinds that we do not.
  const text = typeof message === 'string' ? message : 'no message';
  return new Failure(isKind(kind) ? kind : 'internal', text);
}
