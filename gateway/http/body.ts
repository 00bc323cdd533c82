/**
 * A request's body as a cheap async iterable: Node's own iterator of a stream costs several promises
 * and listeners per chunk. Here a chunk that is waited for goes from the parser to the consumer with
 * one promise, and a consumer that is slower than the client stops the socket.
 */
import type { IncomingMessage } from 'node:http';
import { Failure } from '../../base/failure.ts';

/** Bytes that may wait for the consumer before the socket is paused. */
const QUEUE_BYTES_MAX = 256 * 1024;

const DONE: Promise<IteratorResult<Uint8Array>> = Promise.resolve({ done: true, value: undefined });

interface Waiter {
  resolve(step: IteratorResult<Uint8Array>): void;
  reject(error: Error): void;
}

export interface BodyOptions {
  /** From Content-Length; undefined: none, or chunked. */
  contentLength: number | undefined;
  chunked: boolean;
  /** Sends `100 Continue`: the client waits for it before it sends the body. */
  sendContinue: (() => void) | undefined;
}

export class RequestBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #message: IncomingMessage;
  readonly #contentLength: number | undefined;
  #sendContinue: (() => void) | undefined;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #receivedBytes = 0;
  #waiter: Waiter | undefined;
  #ended: boolean;
  #attached = false;
  #paused = false;
  #discarding = false;
  #failure: Error | undefined;
  #onSettled: (() => void) | undefined;

  constructor(message: IncomingMessage, options: BodyOptions) {
    this.#message = message;
    this.#contentLength = options.contentLength;
    this.#sendContinue = options.sendContinue;
    this.#ended = !options.chunked && (options.contentLength ?? 0) === 0;
  }

  /** Bytes that have arrived. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** All bytes have arrived, read or not. */
  get complete(): boolean {
    return this.#ended;
  }

  /** The consumer is waiting for the client. */
  get starving(): boolean {
    return this.#waiter !== undefined;
  }

  /** The client has not been told to send the body yet. */
  get awaitsContinue(): boolean {
    return this.#sendContinue !== undefined;
  }

  /** Bytes still to come; Infinity when only the end will tell. */
  get missingBytes(): number {
    if (this.#ended) return 0;
    return this.#contentLength === undefined ? Infinity : this.#contentLength - this.#receivedBytes;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.#queue.shift();
    if (chunk !== undefined) {
      this.#queuedBytes -= chunk.length;
      if (this.#paused && this.#queuedBytes <= QUEUE_BYTES_MAX / 2) this.#resume();
      return Promise.resolve({ done: false, value: chunk });
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return DONE;
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#attach();
    });
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    return DONE;
  }

  /** The consumer gets `error` instead of more bytes. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(error);
    this.#settle();
  }

  /** Nobody reads any more: whatever still comes is dropped. `settled` runs once it has ended. */
  discard(settled: () => void): void {
    this.#discarding = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    if (this.#ended || this.#failure !== undefined) return settled();
    this.#onSettled = settled;
    this.#sendContinue = undefined;
    this.#attach();
    if (this.#paused) this.#resume();
  }

  #attach(): void {
    if (this.#attached) return;
    this.#attached = true;
    this.#sendContinue?.();
    this.#sendContinue = undefined;
    this.#message.on('data', (chunk: Uint8Array) => this.#onData(chunk));
    this.#message.on('end', () => this.#onEnd());
    this.#message.on('close', () => {
      if (!this.#ended) this.fail(new Failure('cancelled', 'the client ended the connection'));
    });
    // Node reports a broken connection here too; 'close' follows and says all there is to say.
    this.#message.on('error', () => {});
    if (this.#message.destroyed && !this.#ended) {
      this.fail(new Failure('cancelled', 'the client ended the connection'));
    }
  }

  #onData(chunk: Uint8Array): void {
    this.#receivedBytes += chunk.length;
    // The length says that this is all; the stream's own 'end' comes a turn later.
    const last = this.#receivedBytes === this.#contentLength;
    if (last) this.#ended = true;
    const waiter = this.#waiter;
    if (this.#discarding) {
      // dropped
    } else if (waiter !== undefined) {
      this.#waiter = undefined;
      waiter.resolve({ done: false, value: chunk });
    } else {
      this.#queue.push(chunk);
      this.#queuedBytes += chunk.length;
      if (this.#queuedBytes > QUEUE_BYTES_MAX && !last) {
        this.#paused = true;
        this.#message.pause();
      }
    }
    if (last) this.#settle();
  }

  #onEnd(): void {
    if (this.#ended) return;
    this.#ended = true;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.resolve({ done: true, value: undefined });
    this.#settle();
  }

  #settle(): void {
    const settled = this.#onSettled;
    this.#onSettled = undefined;
    settled?.();
  }

  #resume(): void {
    this.#paused = false;
    this.#message.resume();
  }
}
