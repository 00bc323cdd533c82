/**
 * The one place where it is decided who may do what. Default: no. What a request needs is in
 * `access/needs.ts`, how rights are weighed in `access/judge.ts`; here they meet the request, and
 * `access/guard.ts` holds every later step to what was decided.
 */
import type { Answer, BucketState } from '../../meta/protocol.ts';
import { Admission, type Asker } from './access/admission.ts';
import type { SettingsCheck } from './access/request-access.ts';
import { bodyFacts } from './access/body-facts.ts';
import type { BucketSettings, SettingsSource } from './access/bucket-settings.ts';
import type { Guard } from './access/guard.ts';
import { type AccessNeed, requiredAccess } from './access/needs.ts';
import type { RequestAccess } from './access/request-access.ts';
import type { PolicyPrincipal } from './access/policy/policy.ts';
import type { AccountDirectory } from './auth/accounts.ts';
import { type Account, ANONYMOUS, type Authenticated } from './auth/identity.ts';
import { S3Error } from './errors.ts';
import type { QueryParameters } from './operation.ts';
import { refusalError } from './refusal.ts';
import type { HeaderMap, RawRequest } from './request.ts';

/** What of a request decides. */
export interface AccessRequest {
  request: Pick<RawRequest, 'remoteAddress' | 'secure' | 'tlsVersion'>;
  identity: Pick<Authenticated, 'account'>;
  operation: { name: string; permission: string };
  bucket: string;
  key: string;
  query: QueryParameters;
  /** Those hoisted from the query included; of a form, those that its fields say. */
  headers: HeaderMap;
  form: boolean;
}

export interface AuthorizeSurroundings {
  settings: SettingsSource;
  accounts: AccountDirectory;
  region: string;
  nowMs: number;
}

/** A request that may go on. */
export interface Authorization {
  /** Who does it: the anonymous account when nobody signed. */
  account: Account;
  access: RequestAccess;
  /** To be called with an XML body before anything is done: a policy may ask what is in it. */
  read(xml: string): Promise<void>;
  /** Who asks pays for it, as he said: x-amz-request-charged. */
  charged(): boolean;
}

/**
 * Judges a request by all buckets that it is about. Throws NoSuchBucket, AccessDenied, InvalidArgument
 * for a copy source that is none. What depends on an object or an upload is judged when `guard` meets it.
 */
export async function authorize(
  asked: AccessRequest,
  surroundings: AuthorizeSurroundings,
  guard: Guard,
): Promise<Authorization> {
  const { bucket, operation, headers } = asked;
  const { account } = asked.identity;
  if (bucket === '') return outsideBuckets(account);
  if (operation.name === 'CreateBucket') {
    // Whoever has an account may make buckets, and set up what he makes.
    if (account === undefined) throw new S3Error('AccessDenied');
    return outsideBuckets(account);
  }
  const asker = askerOf(asked, surroundings);
  const required = needsOf(asked);
  const needs = required === 'per-object' ? [] : required;
  const expected = headers['x-amz-expected-bucket-owner'];
  const expectedOfSource = headers['x-amz-source-expected-bucket-owner'];
  const isOwn = (need: AccessNeed): boolean => need.bucket === bucket;
  const source = needs.find((need) => !isOwn(need));
  const copiesWithin = source === undefined && headers['x-amz-copy-source'] !== undefined;
  const own = new Admission(asker, needs.filter(isOwn), [
    expected,
    copiesWithin ? expectedOfSource : undefined,
  ]);
  await admit(surroundings.settings, guard, bucket, own);
  const other = source && new Admission(asker, [source], [expectedOfSource]);
  if (source !== undefined && other !== undefined) {
    await admit(surroundings.settings, guard, source.bucket, other);
  }
  return {
    account: account ?? ANONYMOUS,
    access: new BucketAccess(guard, bucket, own),
    charged: () => own.charged || other?.charged === true,
    async read(xml) {
      own.read(() => bodyFacts(operation.name, xml));
      if (!own.awaitsBody) return;
      const settings = guard.settings(bucket);
      if (settings !== undefined) await guard.admit(settings, own);
    },
  };
}

/** Nobody is told what is wrong with a request that he could not make anyway. */
function needsOf(asked: AccessRequest): ReturnType<typeof requiredAccess> {
  try {
    return requiredAccess(asked.operation, asked);
  } catch (error) {
    if (asked.identity.account !== undefined) throw error;
    throw new S3Error('AccessDenied', { cause: error });
  }
}

/**
 * Requests for what is not there, or not yet: nobody is told without credentials. Throws AccessDenied
 * and NoSuchBucket.
 */
export async function authorizeUnknown(
  identity: Pick<Authenticated, 'account'>,
  settings: SettingsSource,
  bucket: string,
): Promise<void> {
  if (identity.account === undefined) throw new S3Error('AccessDenied');
  if (bucket !== '') found(await settings.get(bucket), bucket);
}

async function admit(
  source: SettingsSource,
  guard: Guard,
  bucket: string,
  admission: Admission,
): Promise<void> {
  const kept = source.get(bucket);
  const answer = kept instanceof Promise ? await kept : kept;
  await guard.admit(found(answer, bucket), admission);
}

function found(answer: Answer<BucketSettings>, bucket: string): BucketSettings {
  if (answer.ok) return answer.value;
  throw refusalError(answer, { bucket });
}

const NO_BUCKET: RequestAccess = {
  allows: () => false,
  require: () => undefined,
  inState: (call) => call(undefined),
};

/** ListBuckets shows everybody what is his, which is nothing for nobody. */
function outsideBuckets(account: Account | undefined): Authorization {
  return {
    account: account ?? ANONYMOUS,
    access: NO_BUCKET,
    read: () => Promise.resolve(),
    charged: () => false,
  };
}

class BucketAccess implements RequestAccess {
  readonly #guard: Guard;
  readonly #bucket: string;
  readonly #admission: Admission;

  constructor(guard: Guard, bucket: string, admission: Admission) {
    this.#guard = guard;
    this.#bucket = bucket;
    this.#admission = admission;
  }

  allows(needs: readonly AccessNeed[], settings?: BucketSettings): boolean {
    const by = settings ?? this.#guard.settings(this.#bucket);
    return by !== undefined && needs.every((need) => this.#admission.allows(by, need));
  }

  require(check: SettingsCheck): void | Promise<void> {
    const settings = this.#guard.settings(this.#bucket);
    if (settings === undefined) return undefined;
    this.#admission.require(check);
    try {
      return check(settings);
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      // The guard makes sure that the refusal does not rest on settings that are out of date.
      return this.#guard.admit(settings, this.#admission);
    }
  }

  inState<T>(call: (expect: BucketState | undefined) => Promise<Answer<T>>): Promise<Answer<T>> {
    return this.#guard.step(this.#bucket, call);
  }
}

function askerOf(asked: AccessRequest, surroundings: AuthorizeSurroundings): Asker {
  const { request, identity, operation, query, headers, form } = asked;
  const { account } = identity;
  return {
    account,
    accounts: surroundings.accounts,
    facts: {
      operation: operation.name,
      principal: account && principalOf(account),
      headers,
      query,
      form,
      remoteAddress: request.remoteAddress,
      secure: request.secure,
      tlsVersion: request.tlsVersion,
      nowMs: surroundings.nowMs,
      region: surroundings.region,
    },
  };
}

/** Every key of an account acts as the account itself. */
function principalOf({ id, number }: Account): PolicyPrincipal {
  return {
    canonicalId: id,
    accountNumber: number,
    arn: `arn:aws:iam::${number}:root`,
    userName: undefined,
    userId: number,
  };
}
