/** HTTP over a bare socket: requests as bytes, answers as they come. */
import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  body: string;
  /** S3 error code of the body; empty when there is none. */
  code: string;
  /** `100 Continue` came before it. */
  continued: boolean;
}

const TIMEOUT_MS = 10_000;

/** A connection that sends bytes and takes answers off, one by one. */
export class RawConnection {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    const end = (): void => {
      this.#ended = true;
      this.#wake();
    };
    socket.on('end', end);
    socket.on('close', end);
    // What matters is what arrived before; a reset after the answer is the server's right.
    socket.on('error', end);
  }

  static open(endpoint: string): Promise<RawConnection> {
    const { hostname, port } = new URL(endpoint);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawConnection(socket));
      });
    });
  }

  send(bytes: string | Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  /** Half-closes: the server sees the end of what is sent. */
  finish(): void {
    this.#socket.end();
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Whether the server has ended the connection, waiting for it up to a second. */
  async closedByServer(): Promise<boolean> {
    if (!this.#ended) await this.#more(1000).catch(() => {});
    return this.#ended;
  }

  /** Whether `100 Continue` has come by itself; answers stay where they are. */
  async receives(text: string): Promise<boolean> {
    for (;;) {
      if (this.#received.includes(text)) return true;
      if (this.#ended) return false;
      try {
        await this.#more(1000);
      } catch {
        return false;
      }
    }
  }

  /** The next answer. `head`: that of a HEAD request, which has no body whatever its length says. */
  async answer(options: { head?: boolean } = {}): Promise<RawAnswer> {
    let continued = false;
    for (;;) {
      const end = await this.#until('\r\n\r\n');
      const [line = '', ...lines] = this.#take(end + 4)
        .toString('latin1')
        .split('\r\n');
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(line)?.[1]);
      if (status === 100) {
        continued = true;
        continue;
      }
      const headers: Record<string, string> = {};
      for (const header of lines) {
        const colon = header.indexOf(':');
        if (colon > 0)
          headers[header.slice(0, colon).toLowerCase()] = header.slice(colon + 1).trim();
      }
      const empty = options.head === true || status === 204 || status === 304;
      const body = empty ? '' : await this.#body(headers['content-length']);
      const code = /<Code>([\w.]+)<\/Code>/.exec(body)?.[1] ?? '';
      return { status, headers, body, code, continued };
    }
  }

  async #body(length: string | undefined): Promise<string> {
    if (length === undefined) throw new Error('an answer without Content-Length');
    while (this.#received.length < Number(length)) await this.#more(TIMEOUT_MS);
    return this.#take(Number(length)).toString('utf8');
  }

  async #until(text: string): Promise<number> {
    for (;;) {
      const at = this.#received.indexOf(text);
      if (at >= 0) return at;
      await this.#more(TIMEOUT_MS);
    }
  }

  #take(bytes: number): Buffer {
    const taken = this.#received.subarray(0, bytes);
    this.#received = this.#received.subarray(bytes);
    return taken;
  }

  #more(timeoutMs: number): Promise<void> {
    if (this.#ended) return Promise.reject(new Error('the server ended the connection'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no answer in time')), timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Request line and headers, as text; header values go out as they are. */
export function requestHead(
  method: string,
  target: string,
  headers: Readonly<Record<string, string>> | readonly (readonly [string, string])[],
): string {
  const list = Array.isArray(headers) ? headers : Object.entries(headers);
  const lines = list.map(([name, value]) => `${name}: ${value}`);
  return [`${method} ${target} HTTP/1.1`, ...lines, '', ''].join('\r\n');
}

/** One request over a connection of its own. */
export async function exchange(
  endpoint: string,
  ...parts: (string | Uint8Array)[]
): Promise<RawAnswer> {
  const connection = await RawConnection.open(endpoint);
  try {
    for (const part of parts) connection.send(part);
    const [first = ''] = parts;
    return await connection.answer({ head: first.toString().startsWith('HEAD ') });
  } finally {
    connection.close();
  }
}
