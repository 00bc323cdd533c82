/**
 * Bucket policies as the gateway holds them: what `parse.ts` makes of the text, what `evaluate.ts`
 * and `public.ts` go by. Pure data and functions; what is stored is the text as it was sent.
 */
import type { ConditionLookup } from './lookup.ts';
import type { Pattern } from './pattern.ts';

/** What a policy says of one request: an explicit deny beats every allow, `none` is silence. */
export type PolicyDecision = 'allow' | 'deny' | 'none';

/** Who asks. A request without credentials has none. */
export interface PolicyPrincipal {
  /** Canonical user id: 64 lower-case hex digits. */
  canonicalId: string;
  /** Account number: 12 digits. */
  accountNumber: string;
  /** `arn:aws:iam::123456789012:root` for the account itself, `…:user/name` for a user of it. */
  arn: string;
  /** `aws:username`; undefined for the account itself, as on AWS. */
  userName: string | undefined;
  /** `aws:userid`: the account number for the account itself. */
  userId: string;
  /** `logging.s3.amazonaws.com` when the store itself acts for a service; otherwise undefined. */
  service?: string | undefined;
}

/** One question to a policy. */
export interface PolicyRequest {
  /** Undefined: anonymous. */
  principal: PolicyPrincipal | undefined;
  /** `s3:GetObject`. */
  action: string;
  /** `arn:aws:s3:::bucket` or `arn:aws:s3:::bucket/key`. */
  resource: string;
  condition: ConditionLookup;
}

/** Who a statement speaks of. */
export type PrincipalPattern =
  | { kind: 'everyone' }
  /** The account and all its users. */
  | { kind: 'account'; number: string }
  | { kind: 'canonical'; id: string }
  /** One user of an account. */
  | { kind: 'user'; arn: string }
  | { kind: 'service'; name: string };

/** One line of a Condition: operator, key, values. */
export interface Condition {
  /** Without set prefix and `IfExists`: `StringLike`. */
  operator: string;
  set: 'ForAllValues' | 'ForAnyValue' | undefined;
  ifExists: boolean;
  /** As `ConditionLookup` takes it. */
  key: string;
  /** As written; numbers and booleans as text. */
  values: readonly string[];
  /** Keys that variables in the values ask for. */
  variables: readonly string[];
  /** Whether the condition holds. */
  holds(lookup: ConditionLookup): boolean;
}

export interface Statement {
  sid: string | undefined;
  effect: 'Allow' | 'Deny';
  principals: readonly PrincipalPattern[];
  /** NotPrincipal: everyone but these. Only with Deny. */
  exceptPrincipals: boolean;
  /** All actions that the statement speaks of, wildcards and NotAction resolved; lower case. */
  actions: ReadonlySet<string>;
  /** ARNs with wildcards and policy variables. */
  resources: readonly Pattern[];
  /** NotResource. */
  exceptResources: boolean;
  conditions: readonly Condition[];
}

export interface BucketPolicy {
  version: '2012-10-17' | '2008-10-17';
  id: string | undefined;
  statements: readonly Statement[];
  /** Keys that conditions and variables ask for, normalized, those of tags up to their `/`. */
  keys: ReadonlySet<string>;
}
