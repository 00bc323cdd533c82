/** Keys, strings to sign and dates of Signature Version 4, for requests and for their chunks. */
import { createHmac, createSecretKey, hash, type KeyObject, timingSafeEqual } from 'node:crypto';

export const ALGORITHM = 'AWS4-HMAC-SHA256';
const SERVICE = 's3';
const TERMINATOR = 'aws4_request';

/** Stands in for an unknown key, so that it takes the same work to refuse it. */
export const NOBODY = { accessKey: '', secretKey: 'nobody holds this key' } as const;

/** What a signature is valid for. */
export interface Scope {
  /** yyyymmdd */
  date: string;
  region: string;
}

/** Why a credential scope cannot be taken; `region` names the one that would be right. */
export interface ScopeProblem {
  reason: string;
  region?: string;
}

/** `<access key>/<date>/<region>/s3/aws4_request`; an access key may itself contain `/`. */
export function parseCredential(
  text: string,
  region: string,
): { accessKey: string; scope: Scope } | ScopeProblem {
  const fields = text.split('/');
  const [date, givenRegion, service, terminator] = fields.slice(-4);
  if (fields.length < 5 || date === undefined) {
    return { reason: 'expecting "<access key>/YYYYMMDD/REGION/s3/aws4_request"' };
  }
  if (!/^\d{8}$/.test(date)) return { reason: `incorrect date format "${date}"` };
  if (givenRegion !== region) {
    return { reason: `the region '${givenRegion}' is wrong; expecting '${region}'`, region };
  }
  if (service !== SERVICE) return { reason: `incorrect service "${service}"; expecting "s3"` };
  if (terminator !== TERMINATOR) {
    return { reason: `incorrect terminal "${terminator}"; expecting "aws4_request"` };
  }
  return { accessKey: fields.slice(0, -4).join('/'), scope: { date, region } };
}

export function scopeText(scope: Scope): string {
  return `${scope.date}/${scope.region}/${SERVICE}/${TERMINATOR}`;
}

/** The string to sign of a request. `canonicalRequest` has one character per byte. */
export function stringToSign(timestamp: string, scope: Scope, canonicalRequest: string): string {
  const digest = hash('sha256', Buffer.from(canonicalRequest, 'latin1'), 'hex');
  return `${ALGORITHM}\n${timestamp}\n${scopeText(scope)}\n${digest}`;
}

/** HMAC-SHA-256 of an ASCII text, in hex. A KeyObject, because raw bytes cost 15 µs more per call. */
export function sign(key: KeyObject, text: string): string {
  return createHmac('sha256', key).update(text).digest('hex');
}

/** Compares in a time that does not tell where two signatures differ. */
export function sameSignature(given: string, expected: string): boolean {
  if (given.length !== expected.length) return false;
  const givenBytes = Buffer.from(given, 'latin1');
  const expectedBytes = Buffer.from(expected, 'latin1');
  return givenBytes.length === expectedBytes.length && timingSafeEqual(givenBytes, expectedBytes);
}

/**
 * Signing keys by secret, day and region: deriving one takes four HMACs, as much as all the rest
 * of a verification. Bounded: the oldest entry goes first.
 */
export class SigningKeys {
  readonly #capacity: number;
  readonly #keys = new Map<string, { secretKey: string; key: KeyObject }>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(accessKey: string, secretKey: string, scope: Scope): KeyObject {
    const name = `${scope.date}/${scope.region}/${accessKey}`;
    const known = this.#keys.get(name);
    // A key whose secret was replaced must not go on working with the old one.
    if (known !== undefined && known.secretKey === secretKey) return known.key;
    const key = deriveSigningKey(secretKey, scope);
    if (this.#keys.size >= this.#capacity) {
      const oldest = this.#keys.keys().next();
      if (oldest.done !== true) this.#keys.delete(oldest.value);
    }
    this.#keys.set(name, { secretKey, key });
    return key;
  }
}

function deriveSigningKey(secretKey: string, scope: Scope): KeyObject {
  let key = createHmac('sha256', `AWS4${secretKey}`).update(scope.date).digest();
  for (const part of [scope.region, SERVICE, TERMINATOR]) {
    key = createHmac('sha256', key).update(part).digest();
  }
  return createSecretKey(key);
}
