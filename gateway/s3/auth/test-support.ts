/** Requests, bodies and signatures for the tests of this folder. */
import { createHash, createHmac } from 'node:crypto';
import { type ErrorCode, S3Error } from '../errors.ts';
import type { ByteSource, RawRequest } from '../request.ts';
import { type AuthenticateOptions, authenticate } from './authenticate.ts';
import type { Authenticated, Credential, CredentialSource } from './identity.ts';

/** The credentials of the examples in AWS's documentation. */
export const EXAMPLE: Credential = {
  accessKey: 'AKIAIOSFODNN7EXAMPLE',
  secretKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  account: { id: 'ab'.repeat(32), number: '111122223333', displayName: 'example', root: true },
};

export const EXAMPLE_TIME = Date.UTC(2013, 4, 24);
export const EMPTY_SHA256 = createHash('sha256').digest('hex');

/** A source of these credentials and no others. */
export function keysOf(...list: Credential[]): CredentialSource {
  return { find: (accessKey) => list.find((one) => one.accessKey === accessKey) };
}

const OPTIONS: AuthenticateOptions = {
  credentials: keysOf(EXAMPLE),
  region: 'us-east-1',
  now: EXAMPLE_TIME,
};

export async function* bytesOf(...chunks: Uint8Array[]): ByteSource {
  yield* chunks;
}

export async function readAll(source: ByteSource): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function rawRequest(parts: Partial<RawRequest> & { target?: string }): RawRequest {
  const target = parts.target ?? '/';
  const question = target.indexOf('?');
  return {
    id: '0123456789abcdef',
    method: 'GET',
    rawPath: question < 0 ? target : target.slice(0, question),
    rawQuery: question < 0 ? '' : target.slice(question + 1),
    headers: {},
    repeatedHeaders: [],
    body: bytesOf(),
    contentLength: undefined,
    chunked: false,
    remoteAddress: '127.0.0.1',
    secure: false,
    signal: new AbortController().signal,
    ...parts,
  };
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

export interface SignInput {
  method?: string;
  /** As sent; must be in canonical form already. */
  path?: string;
  query?: [name: string, value: string][];
  headers?: Record<string, string>;
  timestamp?: string;
  region?: string;
  service?: string;
  terminator?: string;
  scopeDate?: string;
  credential?: { accessKey: string; secretKey: string };
  payloadHash?: string;
  unsigned?: readonly string[];
}

/** Signs like a client, written apart from the code under test: a header-signed request. */
export function signed(input: SignInput = {}): RawRequest {
  const timestamp = input.timestamp ?? '20130524T000000Z';
  const headers: Record<string, string> = {
    host: 'examplebucket.s3.amazonaws.com',
    'x-amz-date': timestamp,
    'x-amz-content-sha256': input.payloadHash ?? EMPTY_SHA256,
    ...input.headers,
  };
  const { scope, names, signature } = signatureOf({ ...input, headers, timestamp });
  const { accessKey } = input.credential ?? EXAMPLE;
  headers['authorization'] =
    `AWS4-HMAC-SHA256 Credential=${accessKey}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
  const query = (input.query ?? []).map(([name, value]) => `${name}=${value}`).join('&');
  return rawRequest({
    method: input.method ?? 'GET',
    rawPath: input.path ?? '/',
    rawQuery: query,
    headers,
  });
}

/** A presigned URL; `extra` are further parameters of the query, in encoded form. */
export function presigned(
  input: SignInput & { expires?: string; extra?: [string, string][] } = {},
): RawRequest {
  const timestamp = input.timestamp ?? '20130524T000000Z';
  const headers = { host: 'examplebucket.s3.amazonaws.com', ...input.headers };
  const { accessKey } = input.credential ?? EXAMPLE;
  const names = signedNames(headers, input.unsigned);
  const query: [string, string][] = [
    ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
    ['X-Amz-Credential', encodeURIComponent(`${accessKey}/${scopeOf({ ...input, timestamp })}`)],
    ['X-Amz-Date', timestamp],
    ['X-Amz-Expires', input.expires ?? '86400'],
    ['X-Amz-SignedHeaders', encodeURIComponent(names.join(';'))],
    ...(input.extra ?? []),
  ];
  const { signature } = signatureOf({
    ...input,
    headers,
    timestamp,
    query,
    payloadHash: input.payloadHash ?? 'UNSIGNED-PAYLOAD',
  });
  query.push(['X-Amz-Signature', signature]);
  return rawRequest({
    method: input.method ?? 'GET',
    rawPath: input.path ?? '/test.txt',
    rawQuery: query.map(([name, value]) => `${name}=${value}`).join('&'),
    headers,
  });
}

function scopeOf(input: SignInput & { timestamp: string }): string {
  const date = input.scopeDate ?? input.timestamp.slice(0, 8);
  return `${date}/${input.region ?? 'us-east-1'}/${input.service ?? 's3'}/${input.terminator ?? 'aws4_request'}`;
}

function signedNames(headers: Record<string, string>, unsigned: readonly string[] = []): string[] {
  return Object.keys(headers)
    .filter((name) => !unsigned.includes(name))
    .sort();
}

function signatureOf(input: SignInput & { headers: Record<string, string>; timestamp: string }) {
  const names = signedNames(input.headers, input.unsigned);
  const query = (input.query ?? []).map(([name, value]) => `${name}=${value}`).sort();
  const canonical = [
    input.method ?? 'GET',
    input.path ?? (input.query?.length ? '/test.txt' : '/'),
    query.join('&'),
    ...names.map((name) => `${name}:${(input.headers[name] ?? '').trim()}`),
    '',
    names.join(';'),
    input.payloadHash ?? EMPTY_SHA256,
  ].join('\n');
  const scope = scopeOf(input);
  const digest = createHash('sha256').update(canonical, 'latin1').digest('hex');
  const key = signingKey(input.credential ?? EXAMPLE, scope);
  const text = `AWS4-HMAC-SHA256\n${input.timestamp}\n${scope}\n${digest}`;
  return { scope, names: names.join(';'), signature: hmac(key, text).toString('hex') };
}

function signingKey(credential: { secretKey: string }, scope: string): Buffer {
  let key: string | Buffer = `AWS4${credential.secretKey}`;
  for (const part of scope.split('/')) key = hmac(key, part);
  return Buffer.from(key);
}

/** Encodes content as signed aws-chunked, following the seed in the request's own signature. */
export function signedChunks(
  request: RawRequest,
  chunks: readonly Uint8Array[],
  trailer?: { name: string; value: string },
): Buffer {
  const authorization = request.headers['authorization'] ?? '';
  let previous = /Signature=([0-9a-f]{64})/.exec(authorization)?.[1] ?? '';
  const scope = /Credential=[^/]*\/([^,]*)/.exec(authorization)?.[1] ?? '';
  const context = `${request.headers['x-amz-date']}\n${scope}`;
  const key = signingKey(EXAMPLE, scope);
  const parts: Uint8Array[] = [];
  for (const chunk of [...chunks, Buffer.alloc(0)]) {
    const digest = createHash('sha256').update(chunk).digest('hex');
    const text = `AWS4-HMAC-SHA256-PAYLOAD\n${context}\n${previous}\n${EMPTY_SHA256}\n${digest}`;
    previous = hmac(key, text).toString('hex');
    parts.push(Buffer.from(`${chunk.length.toString(16)};chunk-signature=${previous}\r\n`), chunk);
    if (chunk.length > 0) parts.push(Buffer.from('\r\n'));
  }
  if (trailer !== undefined) {
    const line = `${trailer.name}:${trailer.value}`;
    const digest = createHash('sha256').update(`${line}\n`).digest('hex');
    const text = `AWS4-HMAC-SHA256-TRAILER\n${context}\n${previous}\n${digest}`;
    const signature = hmac(key, text).toString('hex');
    parts.push(Buffer.from(`${line}\r\nx-amz-trailer-signature:${signature}\r\n`));
  }
  parts.push(Buffer.from('\r\n'));
  return Buffer.concat(parts);
}

/** Encodes content as unsigned aws-chunked with a trailer. */
export function unsignedChunks(
  chunks: readonly Uint8Array[],
  trailer?: { name: string; value: string },
): Buffer {
  const parts = chunks.flatMap((chunk) => [
    Buffer.from(`${chunk.length.toString(16)}\r\n`),
    chunk,
    Buffer.from('\r\n'),
  ]);
  const last = trailer === undefined ? '' : `${trailer.name}:${trailer.value}\r\n`;
  return Buffer.concat([...parts, Buffer.from(`0\r\n${last}\r\n`)]);
}

/** The code of the S3Error that `run` throws; `none` when it throws nothing. */
export function codeOf(run: () => unknown): ErrorCode | 'none' {
  try {
    run();
    return 'none';
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
}

/** The code with which reading a body fails; `none` when it is read to its end. */
export async function bodyCodeOf(source: ByteSource): Promise<ErrorCode | 'none'> {
  try {
    await readAll(source);
    return 'none';
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
}

export function authenticateExample(
  request: RawRequest,
  options: Partial<AuthenticateOptions> = {},
): Authenticated {
  return authenticate(request, { ...OPTIONS, ...options });
}

/** `request` with some headers replaced; undefined takes one away. */
export function withHeaders(
  request: RawRequest,
  headers: Record<string, string | undefined>,
): RawRequest {
  return { ...request, headers: { ...request.headers, ...headers } };
}
