/** A keyring for tests: two master keys, of which the first is the active one, and the KMS key `k1`. */
import { createSecretKey } from 'node:crypto';
import { systemEffects } from '../../base/clock.ts';
import { createKeyring } from './keyring.ts';
import { createLocalKms } from './local-kms.ts';
import { masterKeyOf } from './master-keys.ts';
import type { Keyring } from './protocol.ts';

const keyOfByte = (byte: number) => createSecretKey(Buffer.alloc(32, byte));

/** `masters`: one byte per master key, which it is made of. */
export function testKeyring(masters: readonly number[] = [7, 8], defaultKmsKey?: string): Keyring {
  return createKeyring({
    masters: masters.map((byte) => masterKeyOf(keyOfByte(byte))),
    kms: createLocalKms(new Map([['k1', keyOfByte(9)]]), systemEffects.random),
    defaultKmsKey,
    effects: systemEffects,
  });
}
