/** One accepted connection of an RPC server: handshake, requests in, answers out, back-pressure. */
import type { Socket } from 'node:net';
import { freeChunk } from '../buffer-pool.ts';
import type { Clock, Timer } from '../clock.ts';
import { Failure, type FailureKind, toFailure } from '../failure.ts';
import type { DeadlineSweep } from './deadline-sweep.ts';
import { type Frame, FrameDecoder } from './frame.ts';
import type { Handshake } from './handshake.ts';
import { Outbox } from './outbox.ts';
import type { RpcHandler, RpcLimits, RpcMessage, RpcMeta, RpcRequest } from './rpc.ts';

/** Answers waiting for a slow reader; above it no further request is started or read. */
const WRITE_BUFFER_BYTES_MAX = 4 * 1024 * 1024;
/** Payloads of requests being worked on, per connection; above it nothing further is read. */
const REQUEST_BYTES_MAX = 32 * 1024 * 1024;
/** A connection whose reading is paused shows that it is alive this often. */
const PULSE_MS = 2_000;
const FAILURE_MESSAGE_CHARACTERS_MAX = 1_000;

/** What all connections of a server share. */
export interface ServerContext {
  handler: RpcHandler;
  limits: RpcLimits;
  clock: Clock;
  sweep: DeadlineSweep;
  maxInFlight: number;
  /** True once the server is closing: what is running may end, nothing new begins. */
  isDraining(): boolean;
  onAuthenticated(connection: ServerConnection): void;
  onRequestStart(): void;
  onRequestEnd(): void;
  /** `failure`: why we ended it; undefined when the peer did. */
  onEnd(connection: ServerConnection, failure: Failure | undefined): void;
}

class ServerRequest implements RpcRequest {
  readonly id: number;
  readonly method: number;
  readonly meta: RpcMeta;
  readonly payload: Buffer | undefined;
  readonly payloadHash: bigint;
  /** Monotonic milliseconds; Infinity without a deadline. */
  readonly deadline: number;
  /** The caller does not wait for an answer any more. */
  abandoned = false;
  readonly #sweep: DeadlineSweep;
  #controller: AbortController | undefined;
  #reason: Failure | undefined;

  constructor(frame: Frame, deadline: number, sweep: DeadlineSweep) {
    this.id = frame.id;
    this.method = frame.method;
    this.meta = frame.meta;
    this.payload = frame.payload;
    this.payloadHash = frame.payloadHash;
    this.deadline = deadline;
    this.#sweep = sweep;
  }

  /** Made when it is first asked for: most requests never look at it. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
      else this.#sweep.cover(this.deadline);
    }
    return this.#controller.signal;
  }

  /** True when somebody holds the signal and it has not aborted. */
  get watched(): boolean {
    return this.#controller !== undefined && this.#reason === undefined;
  }

  abort(kind: FailureKind, message: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = new Failure(kind, message);
    this.#controller?.abort(this.#reason);
  }
}

export class ServerConnection {
  /** For the log. */
  readonly peer: string;
  readonly #socket: Socket;
  readonly #context: ServerContext;
  readonly #outbox: Outbox;
  readonly #decoder: FrameDecoder;
  #handshake: Handshake | undefined;
  readonly #active = new Map<number, ServerRequest>();
  /** Read, but not begun: no more than one socket chunk holds, since reading pauses meanwhile. */
  readonly #waiting = new Map<number, ServerRequest>();
  #requestBytes = 0;
  #arrivedAt = 0;
  #paused = false;
  #ended = false;
  #pulse: Timer | undefined;
  /** Bytes came in since `heard` was last set to false. */
  heard = true;

  constructor(socket: Socket, handshake: Handshake, context: ServerContext) {
    this.peer = socket.remoteAddress ?? 'unix socket';
    this.#socket = socket;
    this.#context = context;
    this.#handshake = handshake;
    this.#outbox = new Outbox(socket, context.limits);
    this.#decoder = new FrameDecoder(context.limits);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('drain', () => this.#proceed());
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => this.end(undefined));
    socket.write(handshake.hello);
  }

  get authenticated(): boolean {
    return this.#handshake === undefined;
  }

  /** Requests begun and not ended. */
  get activeRequests(): number {
    return this.#active.size;
  }

  /** Reading is suspended, so silence says nothing about the peer. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Aborts the signals of requests due by `dueMs`; returns the earliest watched deadline left. */
  expire(dueMs: number): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const request of this.#active.values()) {
      if (!request.watched) continue;
      if (request.deadline <= dueMs)
        request.abort('timeout', 'the deadline of the call has passed');
      else earliest = Math.min(earliest, request.deadline);
    }
    return earliest;
  }

  /** Sends what is queued, then says good-bye. */
  finish(): void {
    this.#outbox.finish();
  }

  /** Ends the connection at once. Running handlers see their signal abort. */
  end(failure: Failure | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.destroy();
    this.#pulse?.cancel();
    this.#waiting.clear();
    for (const request of this.#active.values()) {
      request.abandoned = true;
      request.abort('cancelled', 'the connection of the caller ended');
    }
    this.#context.onEnd(this, failure);
  }

  /* ---------------------------------------------------------------- receiving */

  #receive(chunk: Buffer): void {
    if (this.#ended) return;
    this.heard = true;
    try {
      if (this.#handshake !== undefined) return this.#authenticate(this.#handshake, chunk);
      this.#arrivedAt = this.#context.clock.monotonic();
      this.#decoder.push(chunk, this.#onFrame);
      freeChunk(chunk);
    } catch (error) {
      return this.end(toFailure(error));
    }
    this.#proceed();
  }

  #authenticate(handshake: Handshake, chunk: Buffer): void {
    const step = handshake.receive(chunk);
    if (step.send !== undefined) this.#socket.write(step.send);
    if (!step.done) return;
    this.#handshake = undefined;
    this.#context.onAuthenticated(this);
  }

  readonly #onFrame = (frame: Frame): void => {
    switch (frame.kind) {
      case 'request':
        return this.#accept(frame);
      case 'cancel':
        return this.#cancel(frame.id);
      case 'ping':
        return this.#send('pong', 0, { meta: undefined });
      case 'pong':
        return;
      case 'response':
      case 'failure':
        throw new Failure('invalid', `a client does not send a ${frame.kind}`);
    }
  };

  #accept(frame: Frame): void {
    if (this.#active.has(frame.id) || this.#waiting.has(frame.id)) {
      throw new Failure('invalid', 'a request id is in use twice');
    }
    if (!frame.intact) {
      return this.#fail(frame.id, new Failure('corrupt', 'the payload does not match its hash'));
    }
    const deadline =
      frame.timeoutMs === 0 ? Number.POSITIVE_INFINITY : this.#arrivedAt + frame.timeoutMs;
    const request = new ServerRequest(frame, deadline, this.#context.sweep);
    if (this.#waiting.size > 0 || this.#overloaded()) this.#waiting.set(request.id, request);
    else this.#begin(request);
  }

  #cancel(id: number): void {
    const request = this.#active.get(id);
    if (request !== undefined) {
      request.abandoned = true;
      request.abort('cancelled', 'the caller gave up');
      return;
    }
    this.#waiting.delete(id);
  }

  /* ---------------------------------------------------------------- back-pressure */

  #overloaded(): boolean {
    return (
      this.#active.size >= this.#context.maxInFlight ||
      this.#requestBytes > REQUEST_BYTES_MAX ||
      this.#outbox.bufferedBytes > WRITE_BUFFER_BYTES_MAX
    );
  }

  /** Begins what may begin, then reads on or pauses. */
  #proceed(): void {
    if (this.#ended || this.#handshake !== undefined) return;
    if (this.#waiting.size > 0) {
      const now = this.#context.clock.monotonic();
      for (const request of this.#waiting.values()) {
        if (this.#overloaded()) break;
        this.#waiting.delete(request.id);
        if (request.deadline > now) this.#begin(request);
        else this.#fail(request.id, new Failure('timeout', 'the deadline passed before the start'));
      }
    }
    const pause = this.#waiting.size > 0 || this.#overloaded();
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) {
      this.#socket.pause();
      this.#pulseLater();
    } else {
      this.#pulse?.cancel();
      this.#socket.resume();
    }
  }

  /** While nothing is read, pings are not either; the client must not take that for death. */
  #pulseLater(): void {
    this.#pulse = this.#context.clock.after(PULSE_MS, () => {
      if (this.#outbox.bufferedBytes === 0) this.#send('pong', 0, { meta: undefined });
      this.#pulseLater();
    });
  }

  /* ---------------------------------------------------------------- answering */

  #begin(request: ServerRequest): void {
    if (this.#context.isDraining()) {
      return this.#fail(request.id, new Failure('unavailable', 'the service is shutting down'));
    }
    this.#active.set(request.id, request);
    this.#requestBytes += request.payload?.length ?? 0;
    this.#context.onRequestStart();
    let answer: Promise<RpcMessage>;
    try {
      answer = this.#context.handler(request);
    } catch (error) {
      return this.#settle(request, undefined, error);
    }
    answer.then(
      (message) => this.#settle(request, message, undefined),
      (error: unknown) => this.#settle(request, undefined, error),
    );
  }

  #settle(request: ServerRequest, message: RpcMessage | undefined, error: unknown): void {
    this.#active.delete(request.id);
    this.#requestBytes -= request.payload?.length ?? 0;
    if (!request.abandoned) {
      if (message === undefined) this.#fail(request.id, toFailure(error));
      else this.#respond(request.id, message);
    }
    this.#context.onRequestEnd();
    if (this.#paused) this.#proceed();
  }

  #respond(id: number, message: RpcMessage): void {
    try {
      this.#send('response', id, message);
    } catch (error) {
      const { message: text } = toFailure(error);
      this.#fail(id, new Failure('internal', `the answer cannot be sent: ${text}`));
    }
  }

  #fail(id: number, failure: Failure): void {
    const text = failure.message.slice(0, FAILURE_MESSAGE_CHARACTERS_MAX);
    this.#send('failure', id, { meta: [failure.kind, text] });
  }

  #send(kind: 'response' | 'failure' | 'pong', id: number, message: RpcMessage): void {
    this.#outbox.send({ kind, method: 0, id, timeoutMs: 0 }, message);
  }
}
