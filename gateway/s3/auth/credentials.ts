/** Access keys that are known from the start, such as the root key of the configuration. */
import { Failure } from '../../../base/failure.ts';
import type { Credential } from './identity.ts';

/** Printable ASCII that stands unescaped in an Authorization header. */
const ACCESS_KEY = /^[!-+\--~]{3,128}$/;
const SECRET_KEY_LENGTH_MIN = 8;

/**
 * Throws Failure `invalid` for an access key that is given twice, is not 3 to 128 printable ASCII
 * characters without blanks and commas, or has a secret shorter than 8 characters; for an id, a
 * number or an e-mail address of two accounts.
 */
export function checkCredentials(list: readonly Credential[]): void {
  const seen = new Set<string>();
  const once = (what: string, value: string): void => {
    if (seen.has(`${what} ${value}`))
      throw new Failure('invalid', `${what} ${value} is given twice`);
    seen.add(`${what} ${value}`);
  };
  for (const { accessKey, secretKey, account } of list) {
    if (!ACCESS_KEY.test(accessKey)) {
      throw new Failure('invalid', 'an access key has 3 to 128 characters, no blank and no comma');
    }
    if (secretKey.length < SECRET_KEY_LENGTH_MIN) {
      throw new Failure('invalid', `the secret of access key ${accessKey} is too short`);
    }
    once('access key', accessKey);
    once('account id', account.id);
    once('account number', account.number);
    if (account.email !== undefined) once('e-mail address', account.email);
  }
}
