/** A key management service of named keys from the configuration, for those who have no other. */
import type { KeyObject } from 'node:crypto';
import type { Random } from '../../base/clock.ts';
import { KEY_BYTES, keyOf } from '../../base/derive-key.ts';
import { KeyError, type KeyService } from './protocol.ts';
import { unwrapKey, wrapKey } from './wrap.ts';

export function createLocalKms(
  keys: ReadonlyMap<string, KeyObject>,
  random: Random,
): KeyService & { has(keyId: string): boolean } {
  function named(keyId: string): KeyObject {
    const key = keys.get(keyId);
    if (key === undefined) throw new KeyError('unknown-key', `Invalid keyId '${keyId}'`);
    return key;
  }
  const purpose = (keyId: string): string => `local kms\0${keyId}`;
  return {
    has: (keyId) => keys.has(keyId),
    async generate(keyId) {
      const by = named(keyId);
      const key = keyOf(random.bytes(KEY_BYTES));
      return { key, wrapped: wrapKey(by, key, purpose(keyId), random) };
    },
    async unwrap(keyId, wrapped) {
      const key = unwrapKey(named(keyId), wrapped, purpose(keyId));
      if (key !== undefined) return key;
      throw new KeyError('damaged', `the local key ${keyId} does not open what was wrapped by it`);
    },
  };
}
