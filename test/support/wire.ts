/** A server for wire tests: signs by hand, remembers what was secret, and looks for it in the log. */
import assert from 'node:assert/strict';
import { craft, type Craft, type Crafted, presign, type Presign } from './craft.ts';
import { exchange, type RawAnswer, requestHead } from './raw.ts';
import {
  type InspectedOptions,
  type InspectedServer,
  SERVER_KEYS,
  useInspectedServer,
} from './server.ts';
import { sha256 } from './sign.ts';

export interface WireRequest extends Partial<Omit<Craft, 'method' | 'path'>> {
  method: string;
  path: string;
  body?: string | Uint8Array;
  /** Content-Length; null: not sent. Length of the body by default. */
  length?: string | null;
}

export interface WireServer extends InspectedServer {
  readonly host: string;
  /** Headers of a signed request. */
  sign(request: WireRequest): Crafted;
  presign(request: Omit<Presign, 'host' | 'keys'> & Partial<Presign>): string;
  /** Signs and sends; nothing is changed on the way. */
  send(request: WireRequest): Promise<RawAnswer>;
  /** Sends without credentials. */
  sendUnsigned(
    method: string,
    target: string,
    headers?: Readonly<Record<string, string>>,
    body?: string | Uint8Array,
  ): Promise<RawAnswer>;
  /** Fails when a secret or a signature has been logged, or when nothing has. */
  assertLogHoldsNoSecrets(): void;
}

export function useWireServer(options: InspectedOptions = {}): WireServer {
  const server = useInspectedServer(options);
  const secrets = new Set<string>([SERVER_KEYS.secretKey]);
  const host = (): string => new URL(server.endpoint).host;
  const sign: WireServer['sign'] = (request) => {
    const crafted = craft({
      keys: SERVER_KEYS,
      payloadHash: sha256(request.body ?? ''),
      ...request,
      headers: { host: host(), ...request.headers },
    });
    secrets.add(crafted.signature);
    return crafted;
  };
  return {
    get endpoint() {
      return server.endpoint;
    },
    get s3() {
      return server.s3;
    },
    get meta() {
      return server.meta;
    },
    get website() {
      return server.website;
    },
    get nodes() {
      return server.nodes;
    },
    get host() {
      return host();
    },
    bucket: () => server.bucket(),
    log: () => server.log(),
    sign,
    presign(request) {
      const query = presign({ keys: SERVER_KEYS, host: host(), ...request });
      secrets.add(query.slice(query.indexOf('X-Amz-Signature=') + 16));
      return query;
    },
    send(request) {
      const { headers } = sign(request);
      const body = request.body ?? '';
      const target =
        request.query === undefined ? request.path : `${request.path}?${request.query}`;
      if (request.length !== null) {
        headers['content-length'] = request.length ?? String(Buffer.byteLength(body));
      }
      return exchange(server.endpoint, requestHead(request.method, target, headers), body);
    },
    sendUnsigned(method, target, headers = {}, body = '') {
      const all = { host: host(), 'content-length': String(Buffer.byteLength(body)), ...headers };
      return exchange(server.endpoint, requestHead(method, target, all), body);
    },
    assertLogHoldsNoSecrets() {
      const log = server.log();
      assert.match(log, /serving metadata/, 'the log was not collected');
      for (const secret of secrets) assert.ok(!log.includes(secret), `logged: ${secret}`);
      assert.doesNotMatch(log, /X-Amz-Signature|AWS4-HMAC-SHA256 Credential/i);
    },
  };
}
