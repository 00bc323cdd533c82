/** Hand-signed requests over plain HTTP: what a client without an SDK sends. */
import { Agent, request as httpRequest } from 'node:http';
import { type Keys, sha256, signHeaders } from './sign.ts';

export interface HttpAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

export interface HttpRequest {
  method: string;
  /** Encoded path. */
  path: string;
  query?: string;
  headers?: Record<string, string>;
  body?: Uint8Array | string;
  timeoutMs?: number;
}

export interface SignedClient {
  send(request: HttpRequest): Promise<HttpAnswer>;
  close(): void;
}

/** Rejects on connection errors and time-outs; any HTTP status is an answer. */
export function signedClient(endpoint: () => string, keys: Keys): SignedClient {
  const agent = new Agent({ keepAlive: true });
  return {
    send(request) {
      const { hostname, port, host } = new URL(endpoint());
      const body = request.body ?? '';
      const headers = signHeaders(
        {
          method: request.method,
          path: request.path,
          query: request.query ?? '',
          headers: { host, ...request.headers },
          payloadHash: sha256(body),
          now: Date.now(),
        },
        keys,
      );
      const query = request.query === undefined ? '' : `?${request.query}`;
      return new Promise((resolve, reject) => {
        const outgoing = httpRequest(
          {
            agent,
            hostname,
            port,
            method: request.method,
            path: request.path + query,
            headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
            timeout: request.timeoutMs ?? 10_000,
          },
          (answer) => {
            const chunks: Buffer[] = [];
            answer.on('data', (chunk: Buffer) => chunks.push(chunk));
            answer.on('error', reject);
            answer.on('aborted', () => reject(new Error('the answer was cut off')));
            answer.on('end', () =>
              resolve({
                status: answer.statusCode ?? 0,
                headers: answer.headers,
                body: Buffer.concat(chunks),
              }),
            );
          },
        );
        outgoing.on('timeout', () => outgoing.destroy(new Error('timed out')));
        outgoing.on('error', reject);
        outgoing.end(body);
      });
    },
    close: () => agent.destroy(),
  };
}
