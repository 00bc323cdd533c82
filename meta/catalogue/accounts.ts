/**
 * Accounts and their access keys. Every change is one commit that also counts the revision of all
 * accounts up, by which gateways notice that what they keep may be out of date.
 */
import { Failure } from '../../base/failure.ts';
import type { MetaAdmin } from '../admin-protocol.ts';
import { type KeyValueStore, KV_LIMITS } from '../engine/kv.ts';
import { ACCESS_KEYS_MAX, type AccountQuery, type Answer, type Meta } from '../protocol.ts';
import {
  accountBounds,
  accountCodec,
  accountIdCodec,
  accountKey,
  accountNameKey,
  ACCOUNTS_REVISION_KEY,
  accountsRevisionCodec,
  type AccountRow,
  publicAccount,
} from './account-rows.ts';
import { type Draft, rawCodec } from './draft.ts';
import { NEXT_BUCKET_KEY, ownerBucketsKey } from './keyspace.ts';
import { PENDING, type Runner } from './runner.ts';

export type Accounts = Pick<Meta, 'findAccount'> &
  Pick<
    MetaAdmin,
    'createAccount' | 'listAccounts' | 'deleteAccount' | 'createAccessKey' | 'deleteAccessKey'
  >;

const ID = /^[0-9a-f]{64}$/;
const NUMBER = /^[0-9]{12}$/;
/** What can stand in XML and on one line. */
const NAME = /^[^\s\p{C}](?:[^\p{C}]{0,126}[^\s\p{C}])?$/u;
const EMAIL = /^[^\s@<>\p{C}]{1,128}@[^\s@<>\p{C}]{1,125}$/u;
/** As in `gateway/s3/auth/credentials.ts`: stands unescaped in an Authorization header. */
const ACCESS_KEY = /^[\w.-]{3,128}$/;
const SECRET_KEY = /^[!-~]{8,256}$/;

const OK: Answer<null> = { ok: true, value: null };

function check(holds: boolean, message: string): void {
  if (!holds) throw new Failure('invalid', message);
}

function checkAccessKey({ accessKey, secretKey }: { accessKey: string; secretKey: string }): void {
  check(ACCESS_KEY.test(accessKey), 'an access key has 3 to 128 letters, digits, `_`, `.` or `-`');
  check(SECRET_KEY.test(secretKey), 'a secret key has 8 to 256 printable ASCII characters');
}

function taken(what: string): Failure {
  return new Failure('conflict', `there is an account with this ${what} already`);
}

/** Every change writes this row, so two of them never see the same state. False: not read yet. */
function countChange(draft: Draft): boolean {
  const row = draft.row(ACCOUNTS_REVISION_KEY, accountsRevisionCodec);
  if (row === undefined) return false;
  draft.put(row, { revision: (row.value?.revision ?? 0) + 1 });
  return true;
}

/** Gives a name to the account; throws when it is another's. False: not read yet. */
function claim(
  draft: Draft,
  by: Exclude<AccountQuery['by'], 'id'>,
  value: string,
  owner: { id: string; what: string },
): boolean {
  const row = draft.row(accountNameKey(by, value), accountIdCodec);
  if (row === undefined) return false;
  if (row.value !== null) throw taken(owner.what);
  draft.put(row, { id: owner.id });
  return true;
}

/** False: not read yet. */
function release(draft: Draft, by: Exclude<AccountQuery['by'], 'id'>, value: string): boolean {
  const row = draft.row(accountNameKey(by, value), accountIdCodec);
  if (row === undefined) return false;
  if (row.value !== null) draft.remove(row);
  return true;
}

function createAccountStep(draft: Draft, account: Omit<AccountRow, 'createdMs'>): Answer<null> {
  const { id, number, displayName, email, keys } = account;
  const row = draft.row(accountKey(id), accountCodec);
  if (row === undefined || !countChange(draft)) return PENDING;
  if (row.value !== null) throw taken('id');
  const claims = [
    claim(draft, 'number', number, { id, what: 'number' }),
    claim(draft, 'name', displayName, { id, what: 'name' }),
    email === undefined || claim(draft, 'email', email, { id, what: 'e-mail address' }),
    ...keys.map((key) => claim(draft, 'accessKey', key.accessKey, { id, what: 'access key' })),
  ];
  if (claims.includes(false)) return PENDING;
  draft.put(row, { ...account, createdMs: draft.nowMs });
  return OK;
}

/** Refused while the account owns buckets. */
function deleteAccountStep(draft: Draft, id: string): Answer<null> {
  const row = draft.row(accountKey(id), accountCodec);
  const owned = draft.row(ownerBucketsKey(id), rawCodec);
  // Every bucket that is made writes this row: none comes between the count and the commit.
  const next = draft.row(NEXT_BUCKET_KEY, rawCodec);
  if (row === undefined || owned === undefined || next === undefined) return PENDING;
  if (!countChange(draft)) return PENDING;
  if (row.value === null) throw new Failure('not-found', 'there is no such account');
  const buckets = owned.value === null ? 0 : Number(owned.value.readBigInt64BE(0));
  if (buckets > 0) {
    throw new Failure('conflict', `the account owns ${buckets} bucket${buckets === 1 ? '' : 's'}`);
  }
  if (next.value !== null) draft.check(next);
  const { number, displayName, email, keys } = row.value;
  const released = [
    release(draft, 'number', number),
    release(draft, 'name', displayName),
    email === undefined || release(draft, 'email', email),
    ...keys.map((key) => release(draft, 'accessKey', key.accessKey)),
  ];
  if (released.includes(false)) return PENDING;
  draft.remove(row);
  return OK;
}

function addKeyStep(
  draft: Draft,
  id: string,
  key: { accessKey: string; secretKey: string },
): Answer<null> {
  const row = draft.row(accountKey(id), accountCodec);
  if (row === undefined || !countChange(draft)) return PENDING;
  if (row.value === null) throw new Failure('not-found', 'there is no such account');
  if (row.value.keys.length >= ACCESS_KEYS_MAX) {
    throw new Failure('conflict', `an account has at most ${ACCESS_KEYS_MAX} access keys`);
  }
  if (!claim(draft, 'accessKey', key.accessKey, { id, what: 'access key' })) return PENDING;
  draft.put(row, {
    ...row.value,
    keys: [...row.value.keys, { ...key, createdMs: draft.nowMs }],
  });
  return OK;
}

function removeKeyStep(draft: Draft, accessKey: string): Answer<null> {
  const name = draft.row(accountNameKey('accessKey', accessKey), accountIdCodec);
  if (name === undefined) return PENDING;
  if (name.value === null) throw new Failure('not-found', 'there is no such access key');
  const row = draft.row(accountKey(name.value.id), accountCodec);
  if (row === undefined || !countChange(draft)) return PENDING;
  if (row.value !== null) {
    const keys = row.value.keys.filter((key) => key.accessKey !== accessKey);
    draft.put(row, { ...row.value, keys });
  }
  draft.remove(name);
  return OK;
}

export function createAccounts({
  store,
  runner,
}: {
  store: KeyValueStore;
  runner: Runner;
}): Accounts {
  async function run(step: (draft: Draft) => Answer<null>): Promise<void> {
    const answer = await runner.run<null>([ACCOUNTS_REVISION_KEY], step);
    if (!answer.ok) throw new Failure('conflict', 'accounts keep changing: try again');
  }

  async function revision(): Promise<number> {
    const [entry] = await store.get([ACCOUNTS_REVISION_KEY]);
    return entry == null ? 0 : accountsRevisionCodec.decode(entry.value).revision;
  }

  async function rowOf({ by, value }: AccountQuery): Promise<AccountRow | undefined> {
    let id = value;
    if (by !== 'id') {
      const [name] = await store.get([accountNameKey(by, value)]);
      if (name == null) return undefined;
      id = accountIdCodec.decode(name.value).id;
    }
    if (!ID.test(id)) return undefined;
    const [entry] = await store.get([accountKey(id)]);
    return entry == null ? undefined : accountCodec.decode(entry.value);
  }

  /** By id or, for people, by name. */
  async function named(account: string): Promise<AccountRow> {
    const found =
      (await rowOf({ by: 'id', value: account })) ?? (await rowOf({ by: 'name', value: account }));
    if (found === undefined) throw new Failure('not-found', `there is no account ${account}`);
    return found;
  }

  const shown = (row: AccountRow) => ({
    ...publicAccount(row),
    accessKeys: row.keys.map(({ accessKey }) => accessKey),
  });

  return {
    async findAccount(query) {
      // First: what is read afterwards is not older than it says.
      const found = { revision: await revision() };
      if (query.value === '' || Buffer.byteLength(query.value) > NAME_BYTES_MAX) return found;
      const row = await rowOf(query);
      if (row === undefined) return found;
      const account = publicAccount(row);
      if (query.by !== 'accessKey') return { ...found, account };
      const key = row.keys.find(({ accessKey }) => accessKey === query.value);
      return key === undefined ? found : { ...found, account, secretKey: key.secretKey };
    },
    async createAccount(command) {
      const { id, number, displayName, email, key } = command;
      check(ID.test(id), 'a canonical id has 64 lower-case hex digits');
      check(NUMBER.test(number), 'an account number has 12 digits');
      check(NAME.test(displayName), 'a name has 1 to 128 characters, blanks only inside');
      check(email === undefined || EMAIL.test(email), 'this is no e-mail address');
      if (key !== undefined) checkAccessKey(key);
      const keys = key === undefined ? [] : [{ ...key, createdMs: runner.ids.nowMs() }];
      const account = { id, number, displayName, keys };
      await run((draft) =>
        createAccountStep(
          draft,
          email === undefined ? account : { ...account, email: email.toLowerCase() },
        ),
      );
      return shown(await named(id));
    },
    async listAccounts({ after, limit }) {
      const { start, end } = accountBounds(after);
      const rows = await store.range({
        start,
        end,
        limit: Math.min(Math.max(limit, 1) + 1, KV_LIMITS.rangeRows),
      });
      const accounts = rows.map((row) => shown(accountCodec.decode(row.value)));
      if (accounts.length <= limit) return { accounts };
      const page = accounts.slice(0, limit);
      return { accounts: page, next: page.at(-1)?.id };
    },
    async deleteAccount({ account }) {
      const { id } = await named(account);
      await run((draft) => deleteAccountStep(draft, id));
      return null;
    },
    async createAccessKey({ account, accessKey, secretKey }) {
      checkAccessKey({ accessKey, secretKey });
      const { id } = await named(account);
      await run((draft) => addKeyStep(draft, id, { accessKey, secretKey }));
      return shown(await named(id));
    },
    async deleteAccessKey({ accessKey }) {
      check(ACCESS_KEY.test(accessKey), 'there can be no such access key');
      await run((draft) => removeKeyStep(draft, accessKey));
      return null;
    },
  };
}

/** Longer than anything by which an account can be found. */
const NAME_BYTES_MAX = 1024;
