/** Node's message as the S3 protocol sees it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { HeaderMap, RawRequest } from '../s3/request.ts';
import { RequestBody } from './body.ts';

export class HttpRequest implements RawRequest {
  readonly id: string;
  readonly method: string;
  readonly rawPath: string;
  readonly rawQuery: string;
  readonly headers: HeaderMap;
  readonly repeatedHeaders: readonly string[];
  readonly body: RequestBody;
  readonly contentLength: number | undefined;
  readonly chunked: boolean;
  readonly remoteAddress: string;
  readonly #message: IncomingMessage;
  #abort: AbortController | undefined;
  #gone = false;

  constructor(id: string, message: IncomingMessage, response: ServerResponse) {
    this.id = id;
    this.#message = message;
    this.method = message.method ?? '';
    // Asked for now: once the connection is gone, nobody can tell.
    this.remoteAddress = message.socket.remoteAddress ?? '';
    const target = originForm(message.url ?? '');
    const mark = target.indexOf('?');
    this.rawPath = mark < 0 ? target : target.slice(0, mark);
    this.rawQuery = mark < 0 ? '' : target.slice(mark + 1);
    const { headers, repeated } = readHeaders(message.rawHeaders);
    this.headers = headers;
    this.repeatedHeaders = repeated;
    this.chunked = headers['transfer-encoding'] !== undefined;
    // The parser has refused everything but digits, and both headers at once.
    const length = headers['content-length'];
    this.contentLength = length === undefined ? undefined : Number(length);
    this.body = new RequestBody(message, {
      contentLength: this.contentLength,
      chunked: this.chunked,
      sendContinue:
        headers['expect']?.toLowerCase() !== '100-continue' || message.httpVersionMinor === 0
          ? undefined
          : () => response.writeContinue(),
    });
  }

  get secure(): boolean {
    return 'encrypted' in this.#message.socket;
  }

  get tlsVersion(): string | undefined {
    const { socket } = this.#message;
    const protocol = socket instanceof TLSSocket ? socket.getProtocol() : null;
    return protocol?.startsWith('TLSv') === true ? protocol.slice('TLSv'.length) : undefined;
  }

  /** Made on demand: few requests need one, and each costs more than reading all headers. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#gone) this.#abort.abort();
    return this.#abort.signal;
  }

  /** Whether this request came over that connection. */
  isOn(socket: Duplex): boolean {
    return this.#message.socket === socket;
  }

  /** The connection ended before the reply did. */
  abort(): void {
    this.#gone = true;
    this.#abort?.abort();
  }
}

const ABSOLUTE_FORM = /^https?:\/\/[^/?#]*/i;

/** Proxies may send `http://host/path` (RFC 9112 section 3.2.2); the Host header counts here. */
function originForm(target: string): string {
  if (target.startsWith('/')) return target;
  const rest = target.replace(ABSOLUTE_FORM, '');
  return rest === '' || rest.startsWith('?') ? `/${rest}` : rest;
}

const NOTHING_REPEATED: readonly string[] = [];

function readHeaders(raw: readonly string[]): {
  headers: HeaderMap;
  repeated: readonly string[];
} {
  // No prototype: a header called `constructor` is a header, and an absent one is undefined.
  const headers = Object.create(null) as Record<string, string | undefined>;
  let repeated: string[] | undefined;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = (raw[index] ?? '').toLowerCase();
    const value = raw[index + 1] ?? '';
    const before = headers[name];
    if (before === undefined) {
      headers[name] = value;
    } else {
      headers[name] = `${before},${value}`;
      repeated ??= [];
      if (!repeated.includes(name)) repeated.push(name);
    }
  }
  return { headers, repeated: repeated ?? NOTHING_REPEATED };
}
