/**
 * Keys made from keys. Secrets live in KeyObjects: outside the heap, cleansed when they are freed,
 * and shown by no log or error message. Buffers that they pass through are zeroed.
 */
import { createSecretKey, hash, type KeyObject } from 'node:crypto';

/** AES-256. */
export const KEY_BYTES = 32;

/** Takes the key over: `bytes` are zero afterwards. */
export function keyOf(bytes: Buffer): KeyObject {
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return key;
}

const COUNTER = Buffer.from([0, 0, 0, 1]);

/**
 * The key that belongs to `info`: SHA-256 over counter, secret and info (NIST SP 800-56C, one-step
 * key derivation). `info` begins with what the key is for, and no two uses share a beginning.
 */
export function deriveKey(secret: KeyObject, info: Buffer): KeyObject {
  const raw = secret.export();
  const input = Buffer.concat([COUNTER, raw, info]);
  const key = keyOf(hash('sha256', input, 'buffer'));
  raw.fill(0);
  input.fill(0);
  return key;
}

/** The bytes of a key written as base64 or as hex; undefined when that is not KEY_BYTES of them. */
export function parseKeyText(text: string): Buffer | undefined {
  const trimmed = text.trim();
  if (/^[0-9a-fA-F]{64}$/.test(trimmed)) return Buffer.from(trimmed, 'hex');
  if (!/^[A-Za-z0-9+/]{43}=$/.test(trimmed)) return undefined;
  return Buffer.from(trimmed, 'base64');
}
