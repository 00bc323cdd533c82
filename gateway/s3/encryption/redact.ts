import { decodePercent } from '../percent.ts';

/** Signers may put a client's own key into a presigned URL, where it would reach every log of it. */
const KEY_NAME = /server-side-encryption-customer-key$/i;

/** A raw query as it may be logged: without the keys of clients. */
export function redactKeys(rawQuery: string): string {
  return rawQuery
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=');
      const name = equals < 0 ? pair : pair.slice(0, equals);
      return KEY_NAME.test(decodePercent(name) ?? name) ? `${name}=REDACTED` : pair;
    })
    .join('&');
}
