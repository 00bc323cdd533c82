/** A reply on its way out: back-pressure, broken sources, unread request bodies. */
import type { ServerResponse } from 'node:http';
import { payloadBuffers } from '../../base/buffer-pool.ts';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { type ByteSource, isSource, type RawReply } from '../s3/request.ts';
import type { HttpRequest } from './request.ts';

/** An unread rest of a body that is cheaper to take in than a new connection is. */
const DRAIN_BYTES_MAX = 64 * 1024;
/**
 * How long a client that is still sending may go on after its reply: closing at once would reset the
 * connection, and the reset may overtake the reply.
 */
const LINGER_MS = 2000;

export interface ExchangeOptions {
  clock: Clock;
  log: Log;
  /** The server is going down: no more requests on this connection. */
  isClosing(): boolean;
}

/** One request and its reply. */
export class Exchange {
  readonly request: HttpRequest;
  readonly response: ServerResponse;
  readonly #options: ExchangeOptions;
  #finished: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;
  #sentBytes = 0;
  /** A body that was sent in one piece. */
  #whole: Uint8Array | undefined;
  #closed = false;

  constructor(request: HttpRequest, response: ServerResponse, options: ExchangeOptions) {
    this.request = request;
    this.response = response;
    this.#options = options;
  }

  /** Whether nothing goes on until the client sends or takes bytes. */
  get waitsForClient(): boolean {
    return (
      this.request.body.starving || this.#wakeWriter !== undefined || this.response.writableEnded
    );
  }

  /** Grows with every chunk that moves in either direction. */
  get movedBytes(): number {
    return this.request.body.receivedBytes + this.#sentBytes;
  }

  /** Bytes handed to the socket that the client has not taken; they count as moved all at once. */
  get pendingBytes(): number {
    return this.response.writableLength;
  }

  /** The connection is gone or the reply is complete. To be called once, on 'close'. */
  close(): void {
    this.#closed = true;
    if (!this.response.writableFinished) this.request.abort();
    else if (this.#whole !== undefined) payloadBuffers.recycle(this.#whole);
    this.#wake();
    const finished = this.#finished;
    this.#finished = undefined;
    finished?.();
  }

  /** Never rejects. */
  async send(reply: RawReply): Promise<void> {
    const { body } = reply;
    if (this.#closed) {
      if (isSource(body)) await body[Symbol.asyncIterator]().return?.();
      reply.finished?.();
      return;
    }
    this.#finished = reply.finished;
    const rest = this.#settleRequest(reply);
    if (rest !== 'done') reply.headers['Connection'] = 'close';
    const { response } = this;
    if (!isSource(body)) {
      this.#sendWhole(reply, body, rest);
      return;
    }
    response.writeHead(reply.status, headerList(reply.headers));
    if (this.request.method === 'HEAD') {
      response.end();
      return;
    }
    const length = Number(reply.headers['Content-Length'] ?? -1);
    try {
      await this.#stream(body, length);
      if (rest === 'linger') this.#linger();
      else response.end();
    } catch (error) {
      // Bytes that are missing or wrong cannot be taken back: only a broken connection tells.
      if (!this.#closed) {
        this.#options.log.error({ requestId: this.request.id, error }, 'reply broken off');
      }
      response.destroy();
    }
  }

  #sendWhole(
    reply: RawReply,
    body: string | Uint8Array | undefined,
    rest: 'done' | 'close' | 'linger',
  ): void {
    const { response } = this;
    const { headers, status } = reply;
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    if (headers['Content-Length'] === undefined && status !== 204 && status !== 304) {
      headers['Content-Length'] = bytes?.length ?? 0;
    }
    response.writeHead(status, headerList(headers));
    if (rest === 'linger') {
      if (bytes === undefined || bytes.length === 0) response.flushHeaders();
      else response.write(bytes);
      this.#linger();
    } else if (bytes === undefined) {
      response.end();
    } else {
      this.#whole = bytes;
      response.end(bytes);
    }
  }

  /** What is to become of the rest of the request's body, and so of the connection. */
  #settleRequest(reply: RawReply): 'done' | 'close' | 'linger' {
    const { body } = this.request;
    const close = reply.close === true || this.#options.isClosing();
    if (body.complete) return close ? 'close' : 'done';
    // The client waits for a 100 that will not come: it sees the reply first.
    if (body.awaitsContinue) return 'close';
    if (!close && body.missingBytes <= DRAIN_BYTES_MAX) {
      body.discard(() => {});
      return 'done';
    }
    return 'linger';
  }

  /** Ends the reply when the client has stopped sending, or after LINGER_MS. */
  #linger(): void {
    const timer = this.#options.clock.after(LINGER_MS, () => this.response.end());
    this.request.body.discard(() => {
      timer.cancel();
      this.response.end();
    });
  }

  async #stream(source: ByteSource, length: number): Promise<void> {
    const { response } = this;
    response.on('drain', () => this.#wake());
    const iterator = source[Symbol.asyncIterator]();
    let ended = false;
    try {
      while (!this.#closed) {
        const step = await iterator.next();
        if (step.done === true) {
          ended = true;
          break;
        }
        this.#sentBytes += step.value.length;
        if (this.#sentBytes > length) break;
        if (!sendChunk(response, step.value) && !this.#closed) await this.#drained();
      }
    } finally {
      if (!ended) await iterator.return?.();
    }
    if (this.#closed) throw new Error('the client ended the connection');
    if (this.#sentBytes !== length) {
      throw new Error(`the reply has ${this.#sentBytes} bytes where ${length} were announced`);
    }
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeWriter = resolve;
    });
  }

  #wake(): void {
    const wake = this.#wakeWriter;
    this.#wakeWriter = undefined;
    wake?.();
  }
}

/** The chunk's memory is used again when the kernel has all of it, and not when the client left before. */
function sendChunk(response: ServerResponse, chunk: Uint8Array): boolean {
  return response.write(chunk, (error) => {
    if (error === undefined || error === null) payloadBuffers.recycle(chunk);
  });
}

/**
 * Name, value, name, value: what `writeHead` takes without looking at it twice. Content-Length comes
 * last: Node recodes a Content-Disposition behind it, and file names beyond ASCII come out as other
 * bytes.
 */
function headerList(headers: RawReply['headers']): string[] {
  const list: string[] = [];
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || name === 'Content-Length') continue;
    list.push(name, typeof value === 'string' ? value : String(value));
  }
  const length = headers['Content-Length'];
  if (length !== undefined) list.push('Content-Length', String(length));
  return list;
}
