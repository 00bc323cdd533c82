/** The configured replication targets, and which of them a rule means. */
import type { Effects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import type { ReplicaTargets } from '../s3/operation.ts';
import { bucketOfArn } from '../s3/replication-config.ts';
import { mayUse, type TargetOwner } from '../s3/target-owner.ts';
import { Destination, type ReplicaTarget } from './destination.ts';

export interface Destinations extends ReplicaTargets {
  /** Undefined: no target is for that bucket and this owner of the source. */
  find(
    arn: string,
    account: string | undefined,
    owner: TargetOwner,
  ): { destination: Destination; bucket: string } | undefined;
  close(): Promise<void>;
}

/** Throws Failure `invalid` for a name given twice. */
export function createDestinations(
  targets: readonly ReplicaTarget[],
  effects: Effects,
): Destinations {
  if (new Set(targets.map(({ name }) => name)).size < targets.length) {
    throw new Failure('invalid', 'two replication targets have the same name');
  }
  const all = targets.map((target) => new Destination(target, effects));

  const find: Destinations['find'] = (arn, account, owner) => {
    const bucket = bucketOfArn(arn);
    if (bucket === undefined) return undefined;
    const destination = all.find(({ target }) => {
      const named = account === undefined || account === (target.account ?? account);
      if (!mayUse(target.accounts, owner)) return false;
      return named && target.buckets?.includes(bucket) !== false;
    });
    return destination && { destination, bucket };
  };

  return {
    find,
    async problemOf(arn, account, owner) {
      const found = find(arn, account, owner);
      return found === undefined
        ? 'Destination bucket must exist.'
        : found.destination.problemOf(found.bucket);
    },
    async close() {
      await Promise.all(all.map((destination) => destination.close()));
    },
  };
}
