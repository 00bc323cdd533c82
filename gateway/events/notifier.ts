/** Tells the targets of a bucket's notifications what has happened in it. */
import { isFailure } from '../../base/failure.ts';
import type { EventLease, Meta, StoredEvent } from '../../meta/protocol.ts';
import {
  NOTIFICATION_CONFIG,
  type NotificationRule,
  parseNotifications,
  ruleMatches,
  targetOfArn,
} from '../s3/notification-config.ts';
import type { TargetOwner } from '../s3/target-owner.ts';
import { s3EventMessage } from './s3-event.ts';
import type { Targets } from './targets.ts';
import { createEventWorker, type EventWorker, type Outcome, type WorkerOptions } from './worker.ts';

export interface NotifierOptions
  extends Pick<WorkerOptions, 'effects' | 'log' | 'leaseMs' | 'pollMs'> {
  meta: Meta;
  targets: Targets;
  region: string;
  /** Who a canonical id is. */
  ownerOf(id: string): Promise<TargetOwner>;
  /** Events that are older are given up, in milliseconds. */
  keepMs: number;
  /** Counts what became of a message. */
  count(target: string, outcome: 'delivered' | 'failed' | 'expired'): void;
}

const PAGE = 100;
const CONCURRENCY = 16;

export function createNotifier(options: NotifierOptions): EventWorker {
  const { meta, effects, log } = options;
  return createEventWorker({
    ...options,
    queue: 'notification',
    pageSize: PAGE,
    concurrency: CONCURRENCY,
    ordered: false,
    async prepare({ bucket, bucketId }: EventLease) {
      const answer = await meta.getBucketConfig({ bucket, name: NOTIFICATION_CONFIG });
      if (!answer.ok && answer.refusal !== 'NoSuchBucket') throw new Error(answer.refusal);
      // Gone, or another bucket of the same name.
      if (!answer.ok || answer.value.bucket.id !== bucketId) return undefined;
      const { value, bucket: row } = answer.value;
      if (value === undefined) return undefined;
      const { rules } = parseNotifications(value);
      const owner = await options.ownerOf(row.owner);
      return async (event) => {
        const wanted = rules.filter((rule) => {
          return (
            ruleMatches(rule, event.type, event.key) && event.left?.includes(rule.id) !== false
          );
        });
        if (wanted.length === 0) return { kind: 'done' };
        if (event.atMs + options.keepMs < effects.clock.now()) {
          for (const rule of wanted) options.count(nameOf(rule), 'expired');
          log.error(
            { bucket, key: event.key, event: event.type, problem: event.problem },
            'an event was given up: its target has not taken it in all the time that events are kept',
          );
          return { kind: 'done' };
        }
        return tell(options, event, wanted, owner);
      };
    },
  });
}

function nameOf({ kind, arn }: NotificationRule): string {
  return targetOfArn(kind, arn) ?? arn;
}

/** One message per rule; what could not be told is what is left. */
async function tell(
  options: NotifierOptions,
  event: StoredEvent,
  rules: readonly NotificationRule[],
  owner: TargetOwner,
): Promise<Outcome> {
  const results = await Promise.all(
    rules.map(async (rule) => ({ rule, ...(await tellOne(options, event, rule, owner)) })),
  );
  const open = results.filter(({ told }) => !told);
  if (open.length === 0) return { kind: 'done' };
  const waitMs = Math.max(...open.map((result) => result.waitMs ?? 0));
  const problem = open.find((result) => result.problem !== undefined)?.problem;
  // Nothing was tried and nothing told: the row stays as it is.
  if (problem === undefined && open.length === results.length) return { kind: 'held', waitMs };
  const left = open.map(({ rule }) => rule.id);
  return { kind: 'failed', problem: problem ?? 'the target is left alone for a while', left };
}

interface Told {
  told: boolean;
  problem?: string;
  waitMs?: number;
}

async function tellOne(
  { targets, region, count, log }: NotifierOptions,
  event: StoredEvent,
  rule: NotificationRule,
  owner: TargetOwner,
): Promise<Told> {
  const name = nameOf(rule);
  const target = targets.get(name, owner);
  if (target === undefined) {
    return { told: false, problem: `there is no event target ${name} here` };
  }
  const waitMs = target.circuit.enter();
  if (waitMs > 0) return { told: false, waitMs };
  const message = s3EventMessage(event, {
    region,
    bucketOwner: owner.id,
    configurationId: rule.id,
  });
  try {
    await target.sink.send(message, `${event.bucket}/${event.key}`);
    target.circuit.succeeded();
    count(name, 'delivered');
    return { told: true };
  } catch (error) {
    target.circuit.failed();
    count(name, 'failed');
    if (!isFailure(error)) throw error;
    log.debug({ target: name, error }, 'an event was not taken');
    return { told: false, problem: error.message };
  }
}
