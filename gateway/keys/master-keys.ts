/** The master keys of SSE-S3. The first one wraps, all of them unwrap: so a new one is put in front. */
import type { KeyObject } from 'node:crypto';
import { deriveKey, keyOf, parseKeyText } from '../../base/derive-key.ts';
import { Failure } from '../../base/failure.ts';

export interface MasterKey {
  /** Follows from the key and tells nothing about it: `m` and 16 hex digits. */
  id: string;
  key: KeyObject;
}

const ID_INFO = Buffer.from('ashlar master key id 1\0');

export function masterKeyOf(key: KeyObject): MasterKey {
  const raw = deriveKey(key, ID_INFO).export();
  return { id: `m${raw.toString('hex', 0, 8)}`, key };
}

/** Keys as text, base64 or hex of 32 bytes. Throws Failure `invalid`, which does not show the text. */
export function masterKeys(texts: readonly string[]): MasterKey[] {
  return texts.map((text, index) => {
    const bytes = parseKeyText(text);
    if (bytes !== undefined) return masterKeyOf(keyOf(bytes));
    throw new Failure('invalid', `master key ${index + 1} is not base64 or hex of 32 bytes`);
  });
}
