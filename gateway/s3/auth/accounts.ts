/**
 * The accounts as a gateway knows them: those of the configuration always, those that the metadata
 * service keeps as long as they hold. What was looked up is kept, and counts for a second after the
 * metadata service has last said that no account has changed; so signatures are checked without
 * waiting, and a key that was deleted is out within that second on every gateway. Who is asked about
 * often has it confirmed in the background before the second is over.
 */
import type { Clock } from '../../../base/clock.ts';
import { Failure } from '../../../base/failure.ts';
import type { AccountRecord, FoundAccount, Meta } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import type { Account, Credential, CredentialSource } from './identity.ts';

/** How long what is kept counts without being confirmed. */
const HOLDS_MS = 1000;
/** From this age on it is confirmed in the background. */
const CONFIRM_MS = 500;
/** Accounts and keys that are kept, of each kind; names that nobody has are among them. */
const KEPT_MAX = 10_000;
/** Lookups that wait for the metadata service at once; whoever comes then is told to come later. */
const LOOKUPS_MAX = 256;
/** Lookups of one question while accounts change under it. */
const TRIES_MAX = 5;

/** By what somebody can be named. */
export type AccountName = 'id' | 'email' | 'number';

/** What operations need to know about accounts. */
export interface AccountDirectory {
  /** The account of this canonical id, e-mail address or number; undefined when there is none. */
  account(by: AccountName, value: string): Promise<Account | undefined>;
  /** The same without asking anybody: what the gateway happens to know. */
  known(by: AccountName, value: string): Account | undefined;
  /** The names behind canonical ids, as far as there are accounts of these ids. */
  names(ids: Iterable<string>): Promise<ReadonlyMap<string, string>>;
}

export interface AccountsOptions {
  /** Of the configuration; never looked up. */
  fixed: readonly Credential[];
  meta: Pick<Meta, 'findAccount'>;
  clock: Pick<Clock, 'monotonic'>;
}

export class GatewayAccounts implements AccountDirectory, CredentialSource {
  readonly #meta: Pick<Meta, 'findAccount'>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #fixedKeys = new Map<string, Credential>();
  readonly #fixed: Readonly<Record<AccountName, Map<string, Account>>> = {
    id: new Map(),
    email: new Map(),
    number: new Map(),
  };
  /** What was found in the revision below; undefined: there is nobody of that name. */
  readonly #keys = new Map<string, Credential | undefined>();
  readonly #accounts = new Map<string, Account | undefined>();
  readonly #lookups = new Map<string, Promise<void>>();
  #revision = -1;
  /** When the revision was last asked for with success: the time of the question. */
  #confirmedMs = Number.NEGATIVE_INFINITY;
  #confirming: Promise<void> | undefined;

  constructor(options: AccountsOptions) {
    this.#meta = options.meta;
    this.#clock = options.clock;
    for (const credential of options.fixed) {
      const { account } = credential;
      this.#fixedKeys.set(credential.accessKey, credential);
      this.#fixed.id.set(account.id, account);
      this.#fixed.number.set(account.number, account);
      if (account.email !== undefined) this.#fixed.email.set(account.email, account);
    }
  }

  /**
   * For the check of a signature: at once, and the same work for every key that is known. Undefined
   * for one that must be looked up first (`load`), or that nobody has.
   */
  find(accessKey: string): Credential | undefined {
    const fixed = this.#fixedKeys.get(accessKey);
    if (fixed !== undefined) return fixed;
    const kept = this.#keys.get(accessKey);
    return kept !== undefined && this.#holds() ? kept : undefined;
  }

  /** Looks a key up, so that `find` knows it now if there is one. True: there is. */
  async load(accessKey: string): Promise<boolean> {
    if (this.#fixedKeys.has(accessKey)) return true;
    const found = await this.#settle(this.#keys, accessKey, () =>
      this.#lookUp('accessKey', accessKey),
    );
    return found !== undefined;
  }

  known(by: AccountName, value: string): Account | undefined {
    const fixed = this.#fixed[by].get(value);
    if (fixed !== undefined) return fixed;
    return this.#holds() ? this.#accounts.get(`${by} ${value}`) : undefined;
  }

  async account(by: AccountName, value: string): Promise<Account | undefined> {
    const fixed = this.#fixed[by].get(value);
    if (fixed !== undefined) return fixed;
    return this.#settle(this.#accounts, `${by} ${value}`, () => this.#lookUp(by, value));
  }

  async names(ids: Iterable<string>): Promise<ReadonlyMap<string, string>> {
    const names = new Map<string, string>();
    await Promise.all(
      [...new Set(ids)].map(async (id) => {
        const account = this.known('id', id) ?? (await this.account('id', id));
        if (account !== undefined) names.set(id, account.displayName);
      }),
    );
    return names;
  }

  /** Whether what is kept may be believed now. */
  #holds(): boolean {
    const age = this.#clock.monotonic() - this.#confirmedMs;
    if (age >= CONFIRM_MS && age <= HOLDS_MS) {
      // If it fails, whoever comes when the second is over asks again and finds out.
      this.#confirm().catch(() => undefined);
    }
    return age <= HOLDS_MS;
  }

  /** What is kept under a name, in a revision that holds now; looked up when nothing is. */
  async #settle<T>(kept: Map<string, T>, name: string, lookUp: () => Promise<void>): Promise<T> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      if (!this.#holds()) await this.#confirm();
      const found = kept.get(name);
      if (found !== undefined || kept.has(name)) return found as T;
      await lookUp();
    }
    throw new Failure('unavailable', 'accounts keep changing');
  }

  #confirm(): Promise<void> {
    this.#confirming ??= this.#askRevision().finally(() => {
      this.#confirming = undefined;
    });
    return this.#confirming;
  }

  async #askRevision(): Promise<void> {
    const askedMs = this.#clock.monotonic();
    const { revision } = await this.#meta.findAccount({ by: 'id', value: '' });
    this.#enter(revision);
    this.#confirmedMs = askedMs;
  }

  /** Whatever was found in another revision is forgotten. */
  #enter(revision: number): void {
    if (revision === this.#revision) return;
    this.#keys.clear();
    this.#accounts.clear();
    this.#revision = revision;
  }

  /** Those who ask for the same at once share one question. */
  #lookUp(by: AccountName | 'accessKey', value: string): Promise<void> {
    const name = `${by} ${value}`;
    const running = this.#lookups.get(name);
    if (running !== undefined) return running;
    // Keys that nobody has cost a question each: a flood of them must not reach the metadata service.
    if (this.#lookups.size >= LOOKUPS_MAX) throw new S3Error('SlowDown');
    const started = this.#askFor(by, value).finally(() => this.#lookups.delete(name));
    this.#lookups.set(name, started);
    return started;
  }

  async #askFor(by: AccountName | 'accessKey', value: string): Promise<void> {
    for (;;) {
      const askedMs = this.#clock.monotonic();
      const found = await this.#meta.findAccount({ by, value });
      // Of another state than was confirmed while this was on its way: it may be the older one.
      if (found.revision !== this.#revision && this.#confirmedMs > askedMs) continue;
      this.#enter(found.revision);
      // In this very moment: a little later the state may be another.
      this.#keep(by, value, found);
      return;
    }
  }

  #keep(by: AccountName | 'accessKey', value: string, found: FoundAccount): void {
    const account = found.account && accountOf(found.account);
    if (by !== 'accessKey') {
      keep(this.#accounts, `${by} ${value}`, account);
      return;
    }
    const { secretKey } = found;
    const known = account !== undefined && secretKey !== undefined;
    keep(this.#keys, value, known ? { accessKey: value, secretKey, account } : undefined);
  }
}

/**
 * `verify`, and once more after a lookup when all that is wrong is an access key that is not known
 * here (yet). At once for every key that is.
 */
export function withLookup<T>(
  accounts: Pick<GatewayAccounts, 'load'>,
  verify: () => T,
): T | Promise<T> {
  try {
    return verify();
  } catch (error) {
    const unknown = error instanceof S3Error && error.code === 'InvalidAccessKeyId';
    const accessKey = unknown ? error.details['AWSAccessKeyId'] : undefined;
    if (accessKey === undefined || !canBeKey(accessKey)) throw error;
    return accounts.load(accessKey).then((found) => {
      if (found) return verify();
      throw error;
    });
  }
}

/** What no account can have as a key need not be looked for. */
function canBeKey(text: string): boolean {
  return /^[\w.-]{3,128}$/.test(text);
}

function accountOf({ id, number, displayName, email }: AccountRecord): Account {
  return { id, number, displayName, email, root: false };
}

/** The oldest one goes when there are too many. */
function keep<T>(kept: Map<string, T>, name: string, value: T): void {
  if (kept.size >= KEPT_MAX) {
    const oldest = kept.keys().next();
    if (oldest.done !== true) kept.delete(oldest.value);
  }
  kept.set(name, value);
}
