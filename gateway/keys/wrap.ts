/**
 * One key encrypted by another: AES-256-GCM under a key derived for this one use, so that the number
 * of keys which a master key wraps has no bound.
 *
 *   format(1) salt(16) encrypted key(32) tag(16)
 */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import type { Random } from '../../base/clock.ts';
import { deriveKey, KEY_BYTES, keyOf } from '../../base/derive-key.ts';

const FORMAT = 1;
const SALT_BYTES = 16;
const TAG_BYTES = 16;
/** Length of a wrapped key. */
export const WRAPPED_BYTES = 1 + SALT_BYTES + KEY_BYTES + TAG_BYTES;

const CIPHER = 'aes-256-gcm';
const INFO = Buffer.from('ashlar wrap 1\0');
/** Each derived key is used once. */
const NONCE = Buffer.alloc(12);

/** `purpose` must be given again to unwrap. */
export function wrapKey(by: KeyObject, key: KeyObject, purpose: string, random: Random): Buffer {
  const salt = random.bytes(SALT_BYTES);
  const cipher = createCipheriv(CIPHER, deriveKey(by, Buffer.concat([INFO, salt])), NONCE);
  cipher.setAAD(Buffer.from(purpose));
  const raw = key.export();
  const encrypted = cipher.update(raw);
  raw.fill(0);
  cipher.final();
  return Buffer.concat([Buffer.of(FORMAT), salt, encrypted, cipher.getAuthTag()]);
}

/** Undefined when it was wrapped by another key, for another purpose, or is damaged. */
export function unwrapKey(by: KeyObject, wrapped: Buffer, purpose: string): KeyObject | undefined {
  if (wrapped.length !== WRAPPED_BYTES || wrapped[0] !== FORMAT) return undefined;
  const salt = wrapped.subarray(1, 1 + SALT_BYTES);
  const end = wrapped.length - TAG_BYTES;
  const cipher = createDecipheriv(CIPHER, deriveKey(by, Buffer.concat([INFO, salt])), NONCE);
  cipher.setAAD(Buffer.from(purpose));
  cipher.setAuthTag(wrapped.subarray(end));
  const raw = cipher.update(wrapped.subarray(1 + SALT_BYTES, end));
  try {
    cipher.final();
  } catch {
    raw.fill(0);
    return undefined;
  }
  return keyOf(raw);
}
