/**
 * Whose buckets may use a target of the operator's: its queue gets their events, its credentials write
 * their replicas. Those of the root account, and of the accounts that the target names.
 */
import { numberOf } from '../../base/account-number.ts';
import type { AccountDirectory } from './auth/accounts.ts';
import type { Account } from './auth/identity.ts';

/** The owner of a bucket. */
export type TargetOwner = Pick<Account, 'id' | 'number' | 'root'>;

/** By the canonical id of the bucket's owner. */
export async function targetOwner(accounts: AccountDirectory, id: string): Promise<TargetOwner> {
  const found = await accounts.account('id', id);
  return found ?? { id, number: numberOf(id), root: false };
}

/** `allowed`: account numbers and canonical ids; `*` is everybody. */
export function mayUse(allowed: readonly string[] | undefined, owner: TargetOwner): boolean {
  if (owner.root) return true;
  return allowed?.some((name) => [owner.id, owner.number, '*'].includes(name)) === true;
}
