/** Access keys that are known from the start, such as the root key of the configuration. */
import { Failure } from '../../../base/failure.ts';
import type { Credential, CredentialSource } from './identity.ts';

/** Printable ASCII that stands unescaped in an Authorization header. */
const ACCESS_KEY = /^[!-+\--~]{3,128}$/;
const SECRET_KEY_LENGTH_MIN = 8;

/**
 * A source over a fixed list. Throws Failure `invalid` for an access key that is given twice, is
 * not 3 to 128 printable ASCII characters without blanks and commas, or has a secret shorter than
 * 8 characters.
 */
export function createCredentialSource(list: readonly Credential[]): CredentialSource {
  const byKey = new Map<string, Credential>();
  for (const credential of list) {
    const { accessKey, secretKey } = credential;
    if (!ACCESS_KEY.test(accessKey)) {
      throw new Failure('invalid', 'an access key has 3 to 128 characters, no blank and no comma');
    }
    if (secretKey.length < SECRET_KEY_LENGTH_MIN) {
      throw new Failure('invalid', `the secret of access key ${accessKey} is too short`);
    }
    if (byKey.has(accessKey))
      throw new Failure('invalid', `access key ${accessKey} is given twice`);
    byKey.set(accessKey, credential);
  }
  return { find: (accessKey) => byKey.get(accessKey) };
}
