/**
 * A small SigV4 signer of the tests' own, independent of the product's verifier: it signs exactly
 * the bytes it is given, so that wire tests can send what no SDK would.
 * Source: AWS, "Create a signed AWS API request".
 */
import { createHash, createHmac } from 'node:crypto';

export interface Keys {
  accessKey: string;
  secretKey: string;
  region?: string;
}

export interface RequestToSign {
  method: string;
  /** Encoded path as it goes on the wire. */
  path: string;
  /** Encoded query as it goes on the wire, without `?`. */
  query?: string;
  headers: Record<string, string>;
  /** x-amz-content-sha256: a hash in hex or one of the constants. */
  payloadHash: string;
  /** Milliseconds since the epoch. */
  now: number;
}

export const sha256 = (data: string | Uint8Array): string =>
  createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Uint8Array, data: string): Buffer =>
  createHmac('sha256', key).update(data).digest();

/** `20261120T040300Z`. */
export const amzDate = (now: number): string =>
  new Date(now).toISOString().replace(/[-:]|\.\d{3}/g, '');

export function signingKey(keys: Keys, day: string): Buffer {
  const region = hmac(hmac(`AWS4${keys.secretKey}`, day), keys.region ?? 'us-east-1');
  return hmac(hmac(region, 's3'), 'aws4_request');
}

/** All headers of the signed request: the given ones, the date, the payload hash, Authorization. */
export function signHeaders(request: RequestToSign, keys: Keys): Record<string, string> {
  const date = amzDate(request.now);
  const day = date.slice(0, 8);
  const headers: Record<string, string> = {
    ...request.headers,
    'x-amz-date': date,
    'x-amz-content-sha256': request.payloadHash,
  };
  const names = Object.keys(headers)
    .map((name) => name.toLowerCase())
    .filter((name) => name === 'host' || name.startsWith('x-amz-') || name === 'content-md5')
    .sort();
  const lower = new Map(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const query = (request.query ?? '')
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => (pair.includes('=') ? pair : `${pair}=`))
    .sort()
    .join('&');
  const canonical = [
    request.method,
    request.path,
    query,
    ...names.map((name) => `${name}:${(lower.get(name) ?? '').trim().replace(/ +/g, ' ')}`),
    '',
    names.join(';'),
    request.payloadHash,
  ].join('\n');
  const scope = `${day}/${keys.region ?? 'us-east-1'}/s3/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n');
  const signature = hmac(signingKey(keys, day), text).toString('hex');
  headers['Authorization'] =
    `AWS4-HMAC-SHA256 Credential=${keys.accessKey}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return headers;
}
