/**
 * Works a queue of the outbox off: leases buckets, reads their events in order, hands each to the
 * handler, and settles what came of it. Every gateway runs one for each queue; the leases see to it
 * that one at a time works on a bucket. What is not settled when a gateway dies is handed out again
 * when its lease has ended, so a target may be told twice, and never not at all.
 */
import type { Effects } from '../../base/clock.ts';
import { isFailure, toFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import type {
  EventLease,
  EventMethods,
  EventQueue,
  PostponedEvent,
  StoredEvent,
} from '../../meta/protocol.ts';

/** What became of an event. */
export type Outcome =
  | { kind: 'done' }
  /** Tried in vain; to be tried again, with the wait that grows. */
  | { kind: 'failed'; problem: string; left?: string[] | undefined }
  /** Not tried: nobody is to be asked for so long. */
  | { kind: 'held'; waitMs: number };

/**
 * Handles the events of one bucket, by its settings as they are at this moment. When `leased` says no,
 * another gateway may be at work on the bucket: what takes long must ask.
 */
export type Handle = (event: StoredEvent, leased: () => boolean) => Promise<Outcome>;

export interface WorkerOptions {
  queue: EventQueue;
  meta: EventMethods;
  effects: Effects;
  log: Log;
  /** Before every page of a bucket; undefined: nobody wants its events any more. */
  prepare(lease: EventLease): Promise<Handle | undefined>;
  /** Events that one page takes on, and those that are handled at once. */
  pageSize: number;
  concurrency: number;
  /** An event waits while an earlier one of its key is not done. */
  ordered: boolean;
  leaseMs?: number | undefined;
  pollMs?: number | undefined;
}

const LEASE_MS = 10_000;
const POLL_MS = 250;
/** Buckets that one gateway works on at once. */
const BUCKETS_MAX = 16;
const RETRY_MS_FIRST = 1000;
const RETRY_MS_MAX = 300_000;
/** With a backlog that cannot be worked on, it is looked through only so often. */
const SCAN_PAUSE_MS = 2000;

/** A backlog that is left is large. */
const MANY = 1000;
/** How often a large one is looked through from its beginning. */
const WHOLE_SCAN_MS = 10_000;

/** How far a large backlog has been looked through, and what was left of it. */
interface Place {
  after: string;
  /** Keys of events before it that are not done. */
  waiting: Set<string>;
  left: number;
  /** When to begin anew. */
  wholeAtMs: number;
}

export interface EventWorker {
  start(): void;
  /** Lets running deliveries finish, as far as the leases reach, and gives these back. */
  stop(): Promise<void>;
}

export function createEventWorker(options: WorkerOptions): EventWorker {
  const { queue, meta, effects, log } = options;
  const { clock } = effects;
  const holder = `${queue}-${effects.random.bytes(12).toString('hex')}`;
  const leaseMs = options.leaseMs ?? LEASE_MS;
  const running = new Map<number, Promise<void>>();
  /** Where large backlogs have been looked through to. */
  const places = new Map<number, Place>();
  /** Not to be looked at before this time, by bucket. */
  const resting = new Map<number, number>();
  let held = new Set<number>();
  let heldUntilMs = 0;
  /** The same for each bucket by itself, also while its lease is not renewed. */
  const leasedUntil = new Map<number, number>();
  const stopped = new AbortController();
  let loop: Promise<void> | undefined;

  const holds = (bucketId: number): boolean =>
    held.has(bucketId) && clock.monotonic() < heldUntilMs && !stopped.signal.aborted;

  async function poll(): Promise<void> {
    const askedMs = clock.monotonic();
    const { leases } = await meta.leaseEvents({ queue, holder, leaseMs });
    held = new Set(leases.map(({ bucketId }) => bucketId));
    // The lease may be that much older than this call: whoever holds it must stop before its end.
    heldUntilMs = askedMs + leaseMs / 2;
    for (const [id, untilMs] of leasedUntil) if (untilMs <= askedMs) leasedUntil.delete(id);
    for (const { bucketId } of leases) leasedUntil.set(bucketId, heldUntilMs);
    for (const [bucketId, untilMs] of resting) if (untilMs <= askedMs) resting.delete(bucketId);
    for (const lease of leases) {
      if (running.size >= BUCKETS_MAX) break;
      const { bucketId } = lease;
      if (running.has(bucketId) || (resting.get(bucketId) ?? 0) > askedMs) continue;
      const work = drain(lease)
        .catch((error: unknown) => {
          log.warn({ queue, bucket: lease.bucket, error }, 'events could not be worked on');
          resting.set(bucketId, clock.monotonic() + RETRY_MS_FIRST);
        })
        .finally(() => running.delete(bucketId));
      running.set(bucketId, work);
    }
  }

  /**
   * Looks once through all events of a bucket. Where very many are left that cannot be delivered now,
   * only at those that have come since the last time, and at all of them every few seconds.
   */
  async function drain(lease: EventLease): Promise<void> {
    const { bucketId } = lease;
    const known = places.get(bucketId);
    places.delete(bucketId);
    const begun = known !== undefined && clock.monotonic() < known.wholeAtMs ? known : undefined;
    const waiting = begun?.waiting ?? new Set<string>();
    let after = begun?.after;
    let left = begun?.left ?? 0;
    let waitMs = 0;
    let idle = true;
    for (;;) {
      const limit = options.pageSize;
      const { events } = await meta.readEvents({ queue, bucketId, after, limit });
      const page = await handlePage(lease, events, waiting);
      idle &&= page.handled === 0;
      left += page.left;
      waitMs = Math.max(waitMs, page.waitMs);
      after = events.at(-1)?.id ?? after;
      if (!holds(bucketId)) break;
      if (events.length === limit) continue;
      if (left >= MANY && after !== undefined) {
        const wholeAtMs = begun?.wholeAtMs ?? clock.monotonic() + WHOLE_SCAN_MS;
        places.set(bucketId, { after, waiting, left, wholeAtMs });
      }
      break;
    }
    const pauseMs = idle ? Math.max(Math.min(waitMs, SCAN_PAUSE_MS), 0) : 0;
    resting.set(bucketId, clock.monotonic() + pauseMs);
  }

  /** Whatever one event runs into, the others of its page are handled and settled. */
  async function attempt(handle: Handle, event: StoredEvent, bucketId: number): Promise<Outcome> {
    const leased = (): boolean => clock.monotonic() < (leasedUntil.get(bucketId) ?? 0);
    try {
      return await handle(event, leased);
    } catch (error) {
      const { bucket, key, type, left } = event;
      log.warn({ queue, bucket, key, event: type, error }, 'an event could not be worked on');
      return { kind: 'failed', problem: toFailure(error).message, left };
    }
  }

  async function handlePage(
    lease: EventLease,
    events: readonly StoredEvent[],
    waiting: Set<string>,
  ): Promise<{ handled: number; left: number; waitMs: number }> {
    const handle = await options.prepare(lease);
    const done: string[] = [];
    const later: PostponedEvent[] = [];
    let waitMs = 0;
    let handled = 0;
    const one = async (event: StoredEvent): Promise<void> => {
      if (options.ordered && waiting.has(event.key)) return;
      const dueMs = event.notBeforeMs - clock.now();
      // No wait is longer than that: the clock of the one who wrote it was wrong.
      const outcome: Outcome =
        dueMs > 0 && dueMs <= 2 * RETRY_MS_MAX
          ? { kind: 'held', waitMs: dueMs }
          : handle === undefined
            ? { kind: 'done' }
            : await attempt(handle, event, lease.bucketId);
      if (outcome.kind === 'done') {
        handled++;
        done.push(event.id);
        return;
      }
      waiting.add(event.key);
      if (outcome.kind === 'held') {
        waitMs = Math.max(waitMs, outcome.waitMs);
        return;
      }
      handled++;
      const { problem, left } = outcome;
      const attempts = event.attempts + 1;
      later.push({ id: event.id, attempts, notBeforeMs: retryAt(attempts), left, problem });
    };
    await inLanes(events, options, () => holds(lease.bucketId), one);
    if (done.length > 0 || later.length > 0) {
      await meta.settleEvents({ queue, bucketId: lease.bucketId, done, later });
    }
    return { handled, left: events.length - done.length, waitMs };
  }

  function retryAt(attempts: number): number {
    const waitMs = Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** Math.min(attempts - 1, 16));
    return Math.floor(clock.now() + waitMs * (0.75 + effects.random.fraction() / 2));
  }

  return {
    start() {
      loop ??= (async () => {
        while (!stopped.signal.aborted) {
          await poll().catch((error: unknown) => {
            const told = { queue, error };
            if (isFailure(error)) log.debug(told, 'the outbox could not be asked');
            else log.error(told, 'the outbox could not be asked');
          });
          await clock.sleep(options.pollMs ?? POLL_MS, stopped.signal).catch(() => {});
        }
      })();
    },
    async stop() {
      stopped.abort();
      await loop;
      await Promise.all(running.values());
      if (held.size === 0) return;
      await meta.leaseEvents({ queue, holder, leaseMs: 0 }).catch(() => {});
    },
  };
}

/** Handles events at once, those of one key one after the other, while `goOn`. */
async function inLanes(
  events: readonly StoredEvent[],
  { concurrency }: { concurrency: number },
  goOn: () => boolean,
  handle: (event: StoredEvent) => Promise<void>,
): Promise<void> {
  const lanes = new Map<string, StoredEvent[]>();
  for (const event of events) {
    const lane = lanes.get(event.key);
    if (lane === undefined) lanes.set(event.key, [event]);
    else lane.push(event);
  }
  const waiting = [...lanes.values()];
  const work = async (): Promise<void> => {
    for (let lane = waiting.shift(); lane !== undefined; lane = waiting.shift()) {
      for (const event of lane) {
        if (!goOn()) return;
        await handle(event);
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
}
