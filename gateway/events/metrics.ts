/** What a gateway counts about the events it delivers, and what it knows of those that wait. */
import type { Clock } from '../../base/clock.ts';
import type { Metrics } from '../../base/metrics.ts';
import { EVENT_QUEUES, type EventBacklog, type Meta } from '../../meta/protocol.ts';

/** An answer younger than this is good enough for a scrape. */
const FRESH_MS = 3000;
const TIMEOUT_MS = 2000;
const BACKLOGS_MAX = 1000;

export interface EventMetrics {
  message(target: string, outcome: 'delivered' | 'failed' | 'expired'): void;
  accessLog(outcome: 'delivered' | 'dropped' | 'refused', lines: number): void;
  replica(outcome: 'completed' | 'failed' | 'retried', bytes: number): void;
}

export function createEventMetrics(
  metrics: Metrics,
  meta: Pick<Meta, 'eventStatus'>,
  clock: Clock,
): EventMetrics {
  const messages = metrics.counter({
    name: 'ashlar_event_messages_total',
    help: 'Messages about events, by target and by what became of them.',
    labels: ['target', 'outcome'],
  });
  const replicas = metrics.counter({
    name: 'ashlar_replicas_total',
    help: 'Versions that were replicated to other buckets, failed, or are tried again.',
    labels: ['outcome'],
  });
  const replicaBytes = metrics.counter({
    name: 'ashlar_replicated_bytes_total',
    help: 'Bytes of versions that were replicated to other buckets.',
  });
  const logLines = metrics.counter({
    name: 'ashlar_access_log_lines_total',
    help: 'Lines of server access logs, by what became of them.',
    labels: ['outcome'],
  });
  let asked: { atMs: number; answer: Promise<EventBacklog[] | undefined> } | undefined;
  const backlogs = (): Promise<EventBacklog[] | undefined> => {
    const nowMs = clock.monotonic();
    if (asked === undefined || nowMs - asked.atMs >= FRESH_MS) {
      const query = { limit: BACKLOGS_MAX };
      const answer = meta.eventStatus(query, { timeoutMs: TIMEOUT_MS }).catch(() => undefined);
      asked = { atMs: nowMs, answer };
    }
    return asked.answer;
  };
  const gauge = (name: string, help: string, read: (backlog: EventBacklog) => number): void => {
    metrics.gauge({
      name,
      help,
      labels: ['queue'],
      async collect(face) {
        const found = await backlogs();
        face.clear();
        if (found === undefined) return;
        for (const queue of EVENT_QUEUES) {
          const mine = found.filter((backlog) => backlog.queue === queue);
          face.set(
            mine.reduce((sum, backlog) => sum + read(backlog), 0),
            { queue },
          );
        }
      },
    });
  };
  gauge('ashlar_events_waiting', 'Events that wait for delivery.', ({ waiting }) => waiting);
  gauge(
    'ashlar_events_dropped',
    'Events that were dropped because the backlog of their bucket was full.',
    ({ dropped }) => dropped,
  );
  return {
    message: (target, outcome) => messages.add({ target, outcome }),
    accessLog: (outcome, lines) => logLines.add({ outcome }, lines),
    replica(outcome, bytes) {
      replicas.add({ outcome });
      if (bytes > 0) replicaBytes.add({}, bytes);
    },
  };
}
