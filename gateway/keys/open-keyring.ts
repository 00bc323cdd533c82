/** The keyring of a process, from its configuration. */
import type { KeyObject } from 'node:crypto';
import type { Effects } from '../../base/clock.ts';
import { keyOf, parseKeyText } from '../../base/derive-key.ts';
import { Failure } from '../../base/failure.ts';
import { createKeyring } from './keyring.ts';
import { createLocalKms } from './local-kms.ts';
import { masterKeys } from './master-keys.ts';
import type { Keyring, KeyService } from './protocol.ts';
import { createVaultKms } from './vault-kms.ts';

export interface KeyringConfig {
  /** Base64 or hex of 32 bytes each, the active one first. */
  masterKeys: readonly string[];
  kms: {
    /** `name=key` each. */
    keys: readonly string[];
    defaultKey?: string | undefined;
    vault?:
      | { address: string; mount: string; namespace?: string | undefined; token: () => string }
      | undefined;
  };
}

export const NO_KEYS: KeyringConfig = { masterKeys: [], kms: { keys: [] } };

/** Throws Failure `invalid` for what are no keys; the message shows none. */
export function openKeyring(
  config: KeyringConfig,
  { effects, fetch: send }: { effects: Effects; fetch: typeof fetch },
): Keyring {
  const { keys, defaultKey, vault } = config.kms;
  const local = createLocalKms(localKeys(keys), effects.random);
  const remote =
    vault && createVaultKms(vault, { token: vault.token, fetch: send, clock: effects.clock });
  const of = (keyId: string): KeyService =>
    remote === undefined || local.has(keyId) ? local : remote;
  return createKeyring({
    masters: masterKeys(config.masterKeys),
    kms: {
      generate(keyId) {
        const name = nameOf(keyId);
        return of(name).generate(name);
      },
      unwrap(keyId, wrapped) {
        const name = nameOf(keyId);
        return of(name).unwrap(name, wrapped);
      },
    },
    defaultKmsKey: defaultKey,
    effects,
  });
}

const ARN = /^arn:[^:]*:kms:[^:]*:[^:]*:(?:key|alias)\/(.+)$/;

/** Tools that were made for AWS name a key by its ARN: its last part is the name. */
function nameOf(keyId: string): string {
  return ARN.exec(keyId)?.[1] ?? keyId;
}

function localKeys(texts: readonly string[]): Map<string, KeyObject> {
  const keys = new Map<string, KeyObject>();
  for (const [index, text] of texts.entries()) {
    const cut = text.indexOf('=');
    const name = text.slice(0, Math.max(0, cut)).trim();
    const bytes = parseKeyText(text.slice(cut + 1));
    if (name === '' || bytes === undefined || keys.has(name)) {
      throw new Failure(
        'invalid',
        `KMS key ${index + 1} is not a name of its own, "=" and base64 or hex of 32 bytes`,
      );
    }
    keys.set(name, keyOf(bytes));
  }
  return keys;
}
