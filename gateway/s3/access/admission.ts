/**
 * One request, judged by one bucket: by its settings first, and on the object or the upload that it
 * is about where that decides. The guard calls it, again whenever the bucket has changed.
 */
import type { ObjectRecord, Upload } from '../../../meta/protocol.ts';
import { numberOf } from '../../../base/account-number.ts';
import type { AccountDirectory } from '../auth/accounts.ts';
import type { Account } from '../auth/identity.ts';
import { S3Error } from '../errors.ts';
import { asksForBody } from './body-facts.ts';
import { policyOf } from './bucket-access.ts';
import type { BucketSettings } from './bucket-settings.ts';
import type { BucketJudge } from './guard.ts';
import { isAboutStored, judge, type Question, type Verdict } from './judge.ts';
import { type AccessNeed, missingKeyNeed } from './needs.ts';
import type { SettingsCheck } from './request-access.ts';
import { checkPayer } from './request-payment.ts';
import type { BodyFacts, RequestFacts } from './policy/request-facts.ts';

/** Who asks, and all of the request that decides. */
export interface Asker {
  /** Undefined: anonymous. */
  account: Account | undefined;
  facts: Omit<RequestFacts, 'resourceAccount'>;
  accounts: AccountDirectory;
}

export class Admission implements BucketJudge {
  readonly #asker: Asker;
  readonly #needs: readonly AccessNeed[];
  /** Canonical ids or numbers that the bucket's owner must have. */
  readonly #expectedOwners: readonly string[];
  readonly #checks: SettingsCheck[] = [];
  /** What the settings alone do not decide. */
  #pending: { need: AccessNeed; verdict: Verdict }[] = [];
  /** What has been judged on what is stored, at least once. */
  readonly #seen = new Set<AccessNeed>();
  /** By key, what was judged: other settings may judge it otherwise. */
  readonly #stored = new Map<string, ObjectRecord | undefined>();
  #awaitsBody = false;
  #charged = false;
  #readBody: (() => BodyFacts) | undefined;
  #body: BodyFacts | undefined;
  #resourceAccount = '';
  #facts: RequestFacts | undefined;

  constructor(
    asker: Asker,
    needs: readonly AccessNeed[],
    expectedOwners: readonly (string | undefined)[],
  ) {
    this.#asker = asker;
    this.#needs = needs;
    this.#expectedOwners = expectedOwners.filter((owner) => owner !== undefined);
  }

  /** Waits only when the number of the bucket's owner counts and is not known here. */
  judge(settings: BucketSettings): void | Promise<void> {
    const { account, accounts } = this.#asker;
    const { owner } = settings.bucket;
    if (this.#expectedOwners.length === 0 && policyOf(settings) === undefined) {
      this.#decide(settings);
      return undefined;
    }
    const known = account?.id === owner ? account : accounts.known('id', owner);
    if (known !== undefined) {
      this.#judgeFor(settings, known.number);
      return undefined;
    }
    return accounts
      .account('id', owner)
      .then((found) => this.#judgeFor(settings, found?.number ?? numberOf(owner)));
  }

  #judgeFor(settings: BucketSettings, ownerNumber: string): void {
    for (const expected of this.#expectedOwners) {
      if (expected !== settings.bucket.owner && expected !== ownerNumber) throw denied();
    }
    this.#resourceAccount = ownerNumber;
    this.#decide(settings);
  }

  #decide(settings: BucketSettings): void {
    this.#pending = [];
    this.#facts = undefined;
    const { operation } = this.#asker.facts;
    const policy = policyOf(settings)?.policy;
    const asks = policy !== undefined && asksForBody(policy, operation);
    this.#awaitsBody = asks && this.#readBody === undefined;
    if (asks) this.#body ??= this.#readBody?.();
    if (!this.#awaitsBody) {
      for (const need of this.#needs) {
        const verdict = judge(this.#question(settings, need));
        if (verdict === 'deny') throw denied();
        if (verdict !== 'allow') this.#pending.push({ need, verdict });
      }
    }
    this.#charged = checkPayer(settings, this.#asker.account, this.#asker.facts.headers);
    for (const [key, object] of this.#stored) this.object(settings, key, object);
    for (const check of this.#checks) check(settings);
  }

  /** Who asks pays for what he asks of this bucket. */
  get charged(): boolean {
    return this.#charged;
  }

  #question(settings: BucketSettings, need: AccessNeed): Question {
    const { account } = this.#asker;
    this.#facts ??= {
      ...this.#asker.facts,
      body: this.#body,
      resourceAccount: this.#resourceAccount,
    };
    return { settings, account, need, facts: this.#facts };
  }

  /**
   * The body has arrived. If the judgement waits for it, the request must be judged again; another
   * policy may ask for it later.
   */
  read(facts: () => BodyFacts): void {
    this.#readBody = facts;
  }

  get awaitsBody(): boolean {
    return this.#awaitsBody;
  }

  /** Whether who asks may do that, too, whatever is stored. */
  allows(settings: BucketSettings, need: AccessNeed): boolean {
    return judge(this.#question(settings, need)) === 'allow';
  }

  /** From now on whoever is judged is held to this, too. */
  require(check: SettingsCheck): void {
    this.#checks.push(check);
  }

  awaitsObject(key: string): boolean {
    return this.#pending.some(({ need, verdict }) => verdict === 'object' && need.key === key);
  }

  awaitsUpload(key: string): boolean {
    return this.#pending.some(({ need, verdict }) => verdict === 'upload' && need.key === key);
  }

  object(settings: BucketSettings, key: string, object: ObjectRecord | undefined): void {
    this.#stored.set(key, object);
    if (object === undefined) {
      this.#absent(settings, key);
      return;
    }
    for (const { need, verdict } of this.#pending) {
      if (verdict !== 'object' || need.key !== key) continue;
      this.#seen.add(need);
      if (judge({ ...this.#question(settings, need), object }) !== 'allow') throw denied();
    }
  }

  /** Who may not list the bucket is not told that a key is not there. */
  #absent(settings: BucketSettings, key: string): void {
    const { operation } = this.#asker.facts;
    const about = this.#needs.filter((need) => need.key === key && isAboutStored(operation, need));
    for (const need of about) this.#seen.add(need);
    const [first] = about;
    if (first !== undefined && !this.allows(settings, missingKeyNeed(first))) throw denied();
  }

  upload(settings: BucketSettings, key: string, found: Upload | undefined): void {
    const upload = {
      initiator: found?.initiator ?? found?.owner ?? '',
      encryption: found?.encryption && {
        algorithm: found.encryption.algorithm,
        kmsKeyId: found.encryption.keyId,
      },
    };
    for (const { need, verdict } of this.#pending) {
      if (verdict !== 'upload' || need.key !== key) continue;
      this.#seen.add(need);
      if (judge({ ...this.#question(settings, need), upload }) !== 'allow') throw denied();
    }
  }

  settled(): boolean {
    return !this.#awaitsBody && this.#pending.every(({ need }) => this.#seen.has(need));
  }
}

function denied(): S3Error {
  return new S3Error('AccessDenied');
}
