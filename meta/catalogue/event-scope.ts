/** What a step must know about a bucket's outbox. */
import type { Origin } from '../protocol.ts';
import type { BucketRow } from './records.ts';

/** Events of one bucket and queue that wait at the most, unless configured otherwise. */
export const EVENTS_MAX = 100_000;

/** What a step must know to make events. */
export interface EventScope {
  /** Name of the bucket. */
  bucket: string;
  notification: boolean;
  replication: boolean;
  origin: Origin | undefined;
  /** Backlog at which events are dropped. */
  max: number;
}

/** Undefined: nobody wants to know what happens in the bucket. */
export function eventScope(
  { name, configs }: Pick<BucketRow, 'name' | 'configs'>,
  origin: Origin | undefined,
  max: number,
): EventScope | undefined {
  const notification = configs.includes('notification');
  const replication = configs.includes('replication');
  if (!notification && !replication && origin?.cause !== 'replica') return undefined;
  return { bucket: name, notification, replication, origin, max };
}
