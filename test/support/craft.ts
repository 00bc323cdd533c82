/**
 * Signatures that can be wrong in any one place: `sign.ts` signs what is right, this what is asked.
 * Source: AWS, "Create a signed AWS API request"; "Signature calculations … chunked upload".
 */
import { createHmac } from 'node:crypto';
import { amzDate, type Keys, sha256 } from './sign.ts';

export interface Scope {
  day: string;
  region: string;
  service: string;
  terminator: string;
}

export interface Craft {
  method: string;
  path: string;
  /** As it goes on the wire; pairs must be encoded already. */
  query?: string;
  /** Sent, and signed unless `signed` says otherwise; with `host`. */
  headers: Readonly<Record<string, string>>;
  /** x-amz-content-sha256; null: the header is not sent, and UNSIGNED-PAYLOAD is signed. */
  payloadHash: string | null;
  keys: Keys;
  /** Milliseconds since the epoch; now by default. */
  now?: number;
  /** x-amz-date; null: not sent. */
  date?: string | null;
  scope?: Partial<Scope>;
  /** Names of the signed headers; by default host and every x-amz-* header. */
  signed?: readonly string[];
}

export interface Crafted {
  /** All headers to send. */
  headers: Record<string, string>;
  signature: string;
  date: string;
  scope: Scope;
}

const hmac = (key: string | Uint8Array, data: string): Buffer =>
  createHmac('sha256', key).update(data).digest();

export const scopeText = ({ day, region, service, terminator }: Scope): string =>
  [day, region, service, terminator].join('/');

export function signingKeyOf(keys: Keys, scope: Scope): Buffer {
  const region = hmac(hmac(`AWS4${keys.secretKey}`, scope.day), scope.region);
  return hmac(hmac(region, scope.service), scope.terminator);
}

const canonicalQuery = (query: string): string =>
  query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => (pair.includes('=') ? pair : `${pair}=`))
    .sort((a, b) => (a < b ? -1 : 1))
    .join('&');

function signatureOf(
  craft: Pick<Craft, 'method' | 'path' | 'keys'>,
  query: string,
  headers: ReadonlyMap<string, string>,
  signed: readonly string[],
  payloadHash: string,
  date: string,
  scope: Scope,
): string {
  const canonical = [
    craft.method,
    craft.path,
    canonicalQuery(query),
    ...signed.map((name) => `${name}:${(headers.get(name) ?? '').trim().replace(/ +/g, ' ')}`),
    '',
    signed.join(';'),
    payloadHash,
  ].join('\n');
  const text = ['AWS4-HMAC-SHA256', date, scopeText(scope), sha256(canonical)].join('\n');
  return hmac(signingKeyOf(craft.keys, scope), text).toString('hex');
}

function scopeOf(craft: { keys: Keys; scope?: Partial<Scope> }, date: string): Scope {
  return {
    day: date.slice(0, 8),
    region: craft.keys.region ?? 'us-east-1',
    service: 's3',
    terminator: 'aws4_request',
    ...craft.scope,
  };
}

/** A header-signed request. */
export function craft(request: Craft): Crafted {
  const date = request.date ?? amzDate(request.now ?? Date.now());
  const scope = scopeOf(request, date);
  const headers: Record<string, string> = { ...request.headers };
  if (request.date !== null) headers['x-amz-date'] = date;
  if (request.payloadHash !== null) headers['x-amz-content-sha256'] = request.payloadHash;
  const lower = new Map(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const signed =
    request.signed ??
    [...lower.keys()]
      .filter((name) => name === 'host' || name.startsWith('x-amz-'))
      .sort((a, b) => (a < b ? -1 : 1));
  const payloadHash = request.payloadHash ?? 'UNSIGNED-PAYLOAD';
  const query = request.query ?? '';
  const signature = signatureOf(request, query, lower, signed, payloadHash, date, scope);
  headers['Authorization'] =
    `AWS4-HMAC-SHA256 Credential=${request.keys.accessKey}/${scopeText(scope)}, ` +
    `SignedHeaders=${signed.join(';')}, Signature=${signature}`;
  return { headers, signature, date, scope };
}

export interface Presign {
  method: string;
  path: string;
  host: string;
  keys: Keys;
  now?: number;
  /** X-Amz-Expires, as text: it may be nonsense. */
  expires?: string;
  /** More parameters, encoded. */
  query?: string;
}

/** The query string of a presigned URL. */
export function presign(request: Presign): string {
  const date = amzDate(request.now ?? Date.now());
  const scope = scopeOf(request, date);
  const credential = encodeURIComponent(`${request.keys.accessKey}/${scopeText(scope)}`);
  const query = [
    ...(request.query === undefined ? [] : [request.query]),
    'X-Amz-Algorithm=AWS4-HMAC-SHA256',
    `X-Amz-Credential=${credential}`,
    `X-Amz-Date=${date}`,
    `X-Amz-Expires=${request.expires ?? '60'}`,
    'X-Amz-SignedHeaders=host',
  ].join('&');
  const headers = new Map([['host', request.host]]);
  const hash = 'UNSIGNED-PAYLOAD';
  const signature = signatureOf(request, query, headers, ['host'], hash, date, scope);
  return `${query}&X-Amz-Signature=${signature}`;
}

/** Signs the chunks of one aws-chunked body, each continuing the one before. */
export class ChunkSigner {
  readonly #key: Buffer;
  readonly #context: string;
  #previous: string;

  constructor(keys: Keys, { date, scope, signature }: Crafted) {
    this.#key = signingKeyOf(keys, scope);
    this.#context = `${date}\n${scopeText(scope)}`;
    this.#previous = signature;
  }

  sign(chunk: Uint8Array): string {
    return this.#next(`AWS4-HMAC-SHA256-PAYLOAD\n${this.#context}`, [sha256(''), sha256(chunk)]);
  }

  /** `name:value\n` of every trailer. */
  signTrailers(trailers: string): string {
    return this.#next(`AWS4-HMAC-SHA256-TRAILER\n${this.#context}`, [sha256(trailers)]);
  }

  /** The chunk with its header. */
  chunk(bytes: Uint8Array): Buffer {
    const header = `${bytes.length.toString(16)};chunk-signature=${this.sign(bytes)}\r\n`;
    return Buffer.concat([Buffer.from(header), bytes, Buffer.from('\r\n')]);
  }

  #next(head: string, hashes: readonly string[]): string {
    const text = [head, this.#previous, ...hashes].join('\n');
    this.#previous = hmac(this.#key, text).toString('hex');
    return this.#previous;
  }
}
