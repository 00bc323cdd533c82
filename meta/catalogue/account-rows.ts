/**
 * Rows of the accounts: one per account, and one for each thing by which it is found.
 *
 *   A i id(32)       account
 *   A k access key   the id of its account
 *   A e e-mail       …
 *   A n name         …
 *   A # number       …
 *   A r              revision of all accounts
 */
import type { AccountQuery, AccountRecord } from '../protocol.ts';
import { type Codec, defineCodec, hex, list, number, optionalText, text } from './codec.ts';
import { afterPrefix, type Bounds, justAfter } from './keyspace.ts';

const ACCOUNT = 0x41;
const KINDS = { id: 0x69, accessKey: 0x6b, email: 0x65, name: 0x6e, number: 0x23 } as const;

export const ACCOUNTS_REVISION_KEY = Buffer.from([ACCOUNT, 0x72]);

export function accountKey(id: string): Buffer {
  return Buffer.concat([Buffer.from([ACCOUNT, KINDS.id]), Buffer.from(id, 'hex')]);
}

/** The row that leads from a name of an account to its id. */
export function accountNameKey(by: Exclude<AccountQuery['by'], 'id'>, value: string): Buffer {
  return Buffer.concat([Buffer.from([ACCOUNT, KINDS[by]]), Buffer.from(value)]);
}

/** All accounts, in the order of their ids, from after `after`. */
export function accountBounds(after: string | undefined): Bounds {
  const prefix = Buffer.from([ACCOUNT, KINDS.id]);
  const start = after === undefined ? prefix : justAfter(accountKey(after));
  return { start, end: afterPrefix(prefix) };
}

export interface AccountRow extends AccountRecord {
  keys: { accessKey: string; secretKey: string; createdMs: number }[];
}

export const accountCodec: Codec<AccountRow> = defineCodec({
  name: 'account',
  format: 1,
  count: 6,
  fields: (row) => [
    Buffer.from(row.id, 'hex'),
    row.number,
    row.displayName,
    row.email ?? null,
    row.createdMs,
    row.keys.map((key) => [key.accessKey, key.secretKey, key.createdMs]),
  ],
  record(fields) {
    const row: AccountRow = {
      id: hex(fields[0]),
      number: text(fields[1]),
      displayName: text(fields[2]),
      createdMs: number(fields[4]),
      keys: list(fields[5]).map((field) => {
        const [accessKey, secretKey, createdMs] = list(field);
        return {
          accessKey: text(accessKey),
          secretKey: text(secretKey),
          createdMs: number(createdMs),
        };
      }),
    };
    const email = optionalText(fields[3]);
    if (email !== undefined) row.email = email;
    return row;
  },
});

/** Where a name leads to. */
export const accountIdCodec: Codec<{ id: string }> = defineCodec({
  name: 'name of an account',
  format: 1,
  count: 1,
  fields: (row) => [Buffer.from(row.id, 'hex')],
  record: (fields) => ({ id: hex(fields[0]) }),
});

export const accountsRevisionCodec: Codec<{ revision: number }> = defineCodec({
  name: 'revision of the accounts',
  format: 1,
  count: 1,
  fields: (row) => [row.revision],
  record: (fields) => ({ revision: number(fields[0]) }),
});

/** An account without its keys. */
export function publicAccount(row: AccountRow): AccountRecord {
  const { id, number: digits, displayName, email, createdMs } = row;
  const account: AccountRecord = { id, number: digits, displayName, createdMs };
  if (email !== undefined) account.email = email;
  return account;
}
