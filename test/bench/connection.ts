/**
 * The cheapest HTTP/1.1 client that is still honest: one request at a time on a kept connection,
 * written as ready bytes, answered by status and length. The load process must not be what is
 * measured.
 */
import { connect, type Socket } from 'node:net';

export interface Answer {
  status: number;
  bytes: number;
  /** Only when the caller asked to keep it. */
  body: Buffer | undefined;
}

const HEAD_END = Buffer.from('\r\n\r\n');

export class Connection {
  readonly #socket: Socket;
  #head: Buffer | undefined;
  #status = 0;
  #expected = -1;
  #received = 0;
  #kept: Buffer[] | undefined;
  #settle: { resolve(answer: Answer): void; reject(error: Error): void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  static open(host: string, port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true });
      socket.once('connect', () => resolve(new Connection(socket)));
      socket.once('error', reject);
    });
  }

  request(head: Buffer, body: Buffer | undefined, keepBody = false): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#head = undefined;
      this.#expected = -1;
      this.#received = 0;
      this.#kept = keepBody ? [] : undefined;
      this.#socket.cork();
      this.#socket.write(head);
      if (body !== undefined) this.#socket.write(body);
      this.#socket.uncork();
    });
  }

  close(): void {
    this.#settle = undefined;
    this.#socket.destroy();
  }

  #data(chunk: Buffer): void {
    let rest = chunk;
    if (this.#expected < 0) {
      const all = this.#head === undefined ? chunk : Buffer.concat([this.#head, chunk]);
      const end = all.indexOf(HEAD_END);
      if (end < 0) {
        this.#head = all;
        return;
      }
      const head = all.toString('latin1', 0, end);
      this.#status = Number(head.slice(9, 12));
      this.#expected = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      rest = all.subarray(end + 4);
    }
    this.#received += rest.length;
    this.#kept?.push(rest);
    if (this.#received < this.#expected) return;
    const { resolve } = this.#settle ?? {};
    this.#settle = undefined;
    resolve?.({
      status: this.#status,
      bytes: this.#received,
      body: this.#kept === undefined ? undefined : Buffer.concat(this.#kept),
    });
  }

  #fail(error: Error): void {
    const { reject } = this.#settle ?? {};
    this.#settle = undefined;
    reject?.(error);
  }
}
