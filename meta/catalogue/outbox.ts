/**
 * The outbox as its consumers see it. One holder at a time works on the events of a bucket, under a
 * lease that is a row; it reads them in order, and takes off what it has delivered. A holder that dies
 * in between leaves everything where it is, and the next one delivers again what it had not settled.
 */
import { Failure } from '../../base/failure.ts';
import { type KeyValueStore, KV_LIMITS, readCounter } from '../engine/kv.ts';
import {
  type Answer,
  EVENT_LEASES_MAX,
  EVENT_PAGE_MAX,
  type EventBacklog,
  type EventLease,
  type EventMethods,
  type EventQueue,
  type PostponedEvent,
} from '../protocol.ts';
import type { Draft } from './draft.ts';
import { eventCodec, eventLeaseCodec } from './event-records.ts';
import {
  bucketOfEvent,
  eventBookBounds,
  eventBookKey,
  eventBookOf,
  eventBounds,
  eventIdOf,
  eventKey,
  eventsAfterBucket,
  justAfter,
} from './keyspace.ts';
import { PENDING, type Runner } from './runner.ts';

/** A lease is renewed when less than this share of it is left. */
const RENEW_SHARE = 0.6;
/** Holders whose turn is remembered. */
const TURNS_MAX = 1000;
/** Events that one commit settles. */
const SETTLE_BATCH = 500;

interface OutboxSettings {
  store: KeyValueStore;
  runner: Runner;
  eventsMax: number;
}

/* ------------------------------------------------------------------ steps */

/** Whether the holder has the bucket now. */
function leaseStep(
  draft: Draft,
  key: Buffer,
  { holder, leaseMs }: { holder: string; leaseMs: number },
): Answer<boolean> {
  const row = draft.row(key, eventLeaseCodec);
  if (row === undefined) return PENDING;
  const { value } = row;
  const mine = value?.holder === holder;
  const left = value === null ? 0 : value.untilMs - draft.nowMs;
  if (leaseMs === 0) {
    if (mine) draft.remove(row);
    return { ok: true, value: false };
  }
  if (left > 0 && !mine) return { ok: true, value: false };
  const untilMs = draft.nowMs + leaseMs;
  // A clock that was set back must not keep a bucket from everybody.
  const fresh = mine && left >= leaseMs * RENEW_SHARE && left <= leaseMs;
  if (!fresh) draft.put(row, { holder, untilMs });
  return { ok: true, value: true };
}

interface Settled {
  queue: EventQueue;
  bucketId: number;
  done: readonly string[];
  later: readonly PostponedEvent[];
}

function settleStep(draft: Draft, { queue, bucketId, done, later }: Settled): Answer<null> {
  let read = true;
  for (const id of done) {
    const row = draft.row(eventKey(queue, bucketId, id), eventCodec);
    if (row === undefined) read = false;
    else if (row.value !== null) {
      draft.add(eventBookKey(bucketId, queue, 'waiting', row.value.lane), -1);
      draft.remove(row);
    }
  }
  for (const { id, attempts, notBeforeMs, left, problem } of later) {
    const row = draft.row(eventKey(queue, bucketId, id), eventCodec);
    if (row === undefined) read = false;
    else if (row.value !== null) {
      draft.put(row, { ...row.value, attempts, notBeforeMs, left, problem });
    }
  }
  return read ? { ok: true, value: null } : PENDING;
}

/* ------------------------------------------------------------------ with a store */

export function createOutbox({ store, runner, eventsMax }: OutboxSettings): EventMethods {
  async function must<T>(keys: readonly Buffer[], step: (draft: Draft) => Answer<T>): Promise<T> {
    const answer = await runner.run(keys, step);
    if (answer.ok) return answer.value;
    throw new Failure('unavailable', `the outbox lost too many races: ${answer.refusal}`);
  }

  /** With which bucket a holder of very many begins the next time: each has its turn. */
  const turns = new Map<string, number>();

  /** The first event of every bucket after one that has some: its name is in there. */
  async function* firstEvents(queue: EventQueue, from: number): AsyncGenerator<EventLease> {
    let after = from;
    for (;;) {
      const [row] = await store.range({ ...eventsAfterBucket(queue, after), limit: 1 });
      if (row === undefined) return;
      after = bucketOfEvent(row.key);
      yield { bucketId: after, bucket: eventCodec.decode(row.value).bucket };
    }
  }

  return {
    async leaseEvents({ queue, holder, leaseMs }) {
      const leases: EventLease[] = [];
      const turn = `${queue} ${holder}`;
      const from = turns.get(turn) ?? 0;
      turns.delete(turn);
      for await (const lease of firstEvents(queue, from)) {
        const key = eventBookKey(lease.bucketId, queue, 'lease', 0);
        const mine = await must([key], (draft) => leaseStep(draft, key, { holder, leaseMs }));
        if (!mine || leases.push(lease) < EVENT_LEASES_MAX) continue;
        if (turns.size >= TURNS_MAX) turns.clear();
        turns.set(turn, lease.bucketId);
        break;
      }
      return { leases };
    },

    async readEvents({ queue, bucketId, after, limit }) {
      const wanted = Math.max(1, Math.min(limit, EVENT_PAGE_MAX, KV_LIMITS.rangeRows));
      const rows = await store.range({ ...eventBounds(queue, bucketId, after), limit: wanted });
      return {
        events: rows.map(({ key, value }) => {
          const { lane: _, ...event } = eventCodec.decode(value);
          return { id: eventIdOf(key), ...event };
        }),
      };
    },

    async settleEvents({ queue, bucketId, done, later }) {
      if (done.length > EVENT_PAGE_MAX || later.length > EVENT_PAGE_MAX) {
        throw new Failure('invalid', `at most ${EVENT_PAGE_MAX} events are settled at once`);
      }
      for (let from = 0; from < Math.max(done.length, later.length); from += SETTLE_BATCH) {
        const batch = {
          queue,
          bucketId,
          done: done.slice(from, from + SETTLE_BATCH),
          later: later.slice(from, from + SETTLE_BATCH),
        };
        const ids = [...batch.done, ...batch.later.map(({ id }) => id)];
        const keys = ids.map((id) => eventKey(queue, bucketId, id));
        await must(keys, (draft) => settleStep(draft, batch));
      }
      return null;
    },

    eventStatus: ({ limit }) => backlogs(store, { limit, eventsMax, nowMs: runner.ids.nowMs() }),
  };
}

async function backlogs(
  store: KeyValueStore,
  { limit, eventsMax, nowMs }: { limit: number; eventsMax: number; nowMs: number },
): Promise<EventBacklog[]> {
  const found = new Map<string, EventBacklog>();
  const { start, end } = eventBookBounds();
  let from = start;
  for (;;) {
    const rows = await store.range({ start: from, end, limit: KV_LIMITS.rangeRows });
    for (const row of rows) {
      const { bucket: bucketId, queue, kind } = eventBookOf(row.key);
      const name = `${bucketId}/${queue}`;
      const known = found.get(name);
      if (known === undefined && found.size === limit) continue;
      const entry = known ?? { queue, bucketId, waiting: 0, dropped: 0, full: false };
      found.set(name, entry);
      if (kind === 'lease') {
        const { holder, untilMs } = eventLeaseCodec.decode(row.value);
        if (untilMs > nowMs) entry.holder = holder;
        continue;
      }
      const count = Number(readCounter(row));
      entry[kind] += count;
      if (kind === 'waiting' && count >= eventsMax) entry.full = true;
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < KV_LIMITS.rangeRows) break;
    from = justAfter(last.key);
  }
  const standing = [...found.values()].filter(({ waiting, dropped }) => waiting > 0 || dropped > 0);
  for (const entry of standing) await describeOldest(store, entry);
  return standing;
}

async function describeOldest(store: KeyValueStore, entry: EventBacklog): Promise<void> {
  const [row] = await store.range({ ...eventBounds(entry.queue, entry.bucketId), limit: 1 });
  if (row === undefined) return;
  const { bucket, atMs, problem } = eventCodec.decode(row.value);
  entry.bucket = bucket;
  entry.oldestMs = atMs;
  if (problem !== undefined) entry.problem = problem;
}
