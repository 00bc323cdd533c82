/**
 * A stand-in for Vault's transit engine: keys by name, `datakey/plaintext` and `decrypt`, tokens, and
 * the faults that a real one has. Written from Vault's API documentation.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TestVault {
  address: string;
  /** The token that is accepted. */
  token: string;
  readonly keys: Map<string, Buffer>;
  /** Calls by verb, refused ones included. */
  readonly calls: string[];
  /** Answers every call with this from now on; `hang`: with nothing. */
  fault: number | 'hang' | undefined;
  stop(): Promise<void>;
}

export async function startVault(names: readonly string[]): Promise<TestVault> {
  const keys = new Map(names.map((name) => [name, randomBytes(32)]));
  const server = createServer((request, reply) => void answer(request, reply));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const vault: TestVault = {
    address: `http://127.0.0.1:${port}`,
    token: 'token-of-the-test',
    keys,
    calls: [],
    fault: undefined,
    stop: () =>
      new Promise((done) => {
        server.closeAllConnections();
        server.close(() => done());
      }),
  };

  async function answer(request: IncomingMessage, reply: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const send = (status: number, body: unknown): void => {
      reply.writeHead(status, { 'Content-Type': 'application/json' });
      reply.end(JSON.stringify(body));
    };
    const refuse = (status: number, error: string): void => send(status, { errors: [error] });
    const match = /^\/v1\/transit\/(datakey\/plaintext|decrypt)\/([^/]+)$/.exec(request.url ?? '');
    vault.calls.push(match?.[1] ?? `unknown ${request.url}`);
    if (vault.fault === 'hang') return;
    if (vault.fault !== undefined) return refuse(vault.fault, 'a fault of the test');
    if (match === null || request.method !== 'POST') return refuse(404, 'no handler for route');
    if (request.headers['x-vault-token'] !== vault.token) return refuse(403, 'permission denied');
    const key = keys.get(match[2] ?? '');
    if (key === undefined) return refuse(400, 'encryption key not found');
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
    if (match[1] === 'decrypt') {
      const text = String(body['ciphertext']);
      const bytes = Buffer.from(text.replace(/^vault:v1:/, ''), 'base64');
      try {
        const cipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
        cipher.setAuthTag(bytes.subarray(-16));
        const plain = Buffer.concat([cipher.update(bytes.subarray(12, -16)), cipher.final()]);
        return send(200, { data: { plaintext: plain.toString('base64') } });
      } catch {
        return refuse(400, 'cipher: message authentication failed');
      }
    }
    const plain = randomBytes(Number(body['bits']) / 8);
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    const sealed = Buffer.concat([nonce, cipher.update(plain), cipher.final()]);
    const ciphertext = `vault:v1:${Buffer.concat([sealed, cipher.getAuthTag()]).toString('base64')}`;
    send(200, { data: { plaintext: plain.toString('base64'), ciphertext } });
  }
  return vault;
}
