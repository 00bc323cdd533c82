/** `ashlar events status`: what waits in the outboxes of the buckets. */
import { systemClock } from '../../base/clock.ts';
import type { EventBacklog } from '../../meta/protocol.ts';
import type { Operator } from './connect.ts';
import { ago, count } from './format.ts';
import type { Paint } from './paint.ts';
import type { Screen } from './screen.ts';
import { columns } from './table.ts';

const BUCKETS_MAX = 1000;

export async function showEvents(operator: Operator, screen: Screen): Promise<void> {
  const backlogs = await operator.meta.eventStatus({ limit: BUCKETS_MAX }, operator.call);
  screen.show(backlogs, () => eventScreen(backlogs, screen.paint, systemClock.now()));
}

export function eventScreen(
  backlogs: readonly EventBacklog[],
  paint: Paint,
  nowMs: number,
): string[] {
  if (backlogs.length === 0) return [paint.good('No events wait.')];
  const rows = backlogs.map((backlog) => [
    backlog.queue,
    backlog.bucket ?? `number ${backlog.bucketId}`,
    count(backlog.waiting),
    backlog.oldestMs === undefined ? '-' : ago(backlog.oldestMs, nowMs),
    backlog.dropped === 0 ? '0' : paint.bad(count(backlog.dropped)),
    backlog.full ? paint.bad('full') : backlog.holder === undefined ? 'idle' : 'delivering',
    backlog.problem ?? '',
  ]);
  const head = ['QUEUE', 'BUCKET', 'WAITING', 'OLDEST', 'DROPPED', 'STATE', 'LAST PROBLEM'];
  return columns([head, ...rows], [2, 3, 4]);
}
