/** Principal and NotPrincipal. */
import type { Json } from './json.ts';
import { isObject } from './json.ts';
import { malformedPolicy } from './malformed.ts';
import type { BucketPolicy, PolicyPrincipal, PrincipalPattern } from './policy.ts';
import { textList } from './text-list.ts';

const ACCOUNT = /^[0-9]{12}$/;
const CANONICAL = /^[0-9a-f]{64}$/;
const ROOT = /^arn:aws:iam::([0-9]{12}):root$/;
/** Path and name of a user (IAM API Reference, CreateUser). */
const USER = /^arn:aws:iam::[0-9]{12}:user\/(?:[\x21-\x7e]{1,510}\/)?[\w+=,.@-]{1,64}$/;
const SERVICE = /^[a-z0-9-]+(?:\.[a-z0-9-]+)*\.amazonaws\.com$/;

/** Throws MalformedPolicy. Roles and federated users do not exist here, so none can be named. */
export function parsePrincipals(value: Json): PrincipalPattern[] {
  if (value === '*') return [{ kind: 'everyone' }];
  if (!isObject(value)) throw invalid();
  const entries = Object.entries(value);
  if (entries.length === 0) throw invalid();
  return entries.flatMap(([type, names]) => {
    const list = textList(names);
    if (list === undefined) throw invalid();
    return list.map((name) => principal(type, name));
  });
}

function principal(type: string, name: string): PrincipalPattern {
  if (type === 'AWS') {
    if (name === '*') return { kind: 'everyone' };
    const number = ACCOUNT.test(name) ? name : ROOT.exec(name)?.[1];
    if (number !== undefined) return { kind: 'account', number };
    // S3 itself shows the canonical ids of accounts here.
    if (CANONICAL.test(name)) return { kind: 'canonical', id: name };
    if (USER.test(name)) return { kind: 'user', arn: name };
  }
  if (type === 'CanonicalUser' && CANONICAL.test(name)) return { kind: 'canonical', id: name };
  if (type === 'Service' && SERVICE.test(name)) return { kind: 'service', name };
  throw invalid();
}

function invalid(): Error {
  return malformedPolicy('Invalid principal in policy');
}

/** The accounts that a policy names, by number or canonical id; each once. */
export function namedAccounts(policy: BucketPolicy): { by: 'number' | 'id'; value: string }[] {
  const numbers = new Set<string>();
  const ids = new Set<string>();
  for (const { principals } of policy.statements) {
    for (const pattern of principals) {
      if (pattern.kind === 'account') numbers.add(pattern.number);
      else if (pattern.kind === 'canonical') ids.add(pattern.id);
      else if (pattern.kind === 'user') numbers.add(pattern.arn.split(':')[4] ?? '');
    }
  }
  return [
    ...[...numbers].map((value) => ({ by: 'number' as const, value })),
    ...[...ids].map((value) => ({ by: 'id' as const, value })),
  ];
}

/** Whether one of the patterns names who asks; `undefined` is anonymous. */
export function namesPrincipal(
  patterns: readonly PrincipalPattern[],
  who: PolicyPrincipal | undefined,
): boolean {
  return patterns.some((pattern) => {
    if (pattern.kind === 'everyone') return true;
    if (who === undefined) return false;
    if (pattern.kind === 'service') return who.service === pattern.name;
    if (who.service !== undefined) return false;
    switch (pattern.kind) {
      case 'account':
        return who.accountNumber === pattern.number;
      case 'canonical':
        return who.canonicalId === pattern.id;
      case 'user':
        return who.arn === pattern.arn;
      default:
        return pattern satisfies never;
    }
  });
}
