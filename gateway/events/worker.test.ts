import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemEffects } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import type { EventMethods, StoredEvent } from '../../meta/protocol.ts';
import { Circuit } from './circuit.ts';
import { s3EventMessage } from './s3-event.ts';
import { createEventWorker, type EventWorker, type Handle } from './worker.ts';

function event(id: number, key = `k${id}`, changes: Partial<StoredEvent> = {}): StoredEvent {
  return {
    id: id.toString(16).padStart(32, '0'),
    type: 'ObjectCreated:Put',
    bucket: 'b',
    key,
    version: '0'.repeat(32),
    size: 1,
    etag: 'e',
    atMs: 0,
    account: 'a',
    requestId: 'r',
    sourceIp: '::1',
    attempts: 0,
    notBeforeMs: 0,
    ...changes,
  };
}

/** An outbox of one bucket in memory, which one holder at a time may work on. */
function outbox(...stored: StoredEvent[]) {
  const events = new Map(stored.map((one) => [one.id, one]));
  let holder: string | undefined;
  const meta: EventMethods = {
    leaseEvents(command) {
      if (command.leaseMs === 0) {
        if (holder === command.holder) holder = undefined;
        return Promise.resolve({ leases: [] });
      }
      if (events.size === 0) return Promise.resolve({ leases: [] });
      holder ??= command.holder;
      const mine = holder === command.holder;
      return Promise.resolve({ leases: mine ? [{ bucketId: 1, bucket: 'b' }] : [] });
    },
    readEvents: ({ after = '', limit }) =>
      Promise.resolve({
        events: [...events.values()].filter(({ id }) => id > after).slice(0, limit),
      }),
    settleEvents({ done, later }) {
      for (const id of done) events.delete(id);
      for (const change of later) {
        const old = events.get(change.id);
        if (old !== undefined) events.set(change.id, { ...old, ...change });
      }
      return Promise.resolve(null);
    },
    eventStatus: () => Promise.resolve([]),
  };
  return { events, meta, holder: () => holder };
}

function workerOf(
  meta: EventMethods,
  handle: Handle | undefined,
  changes: { ordered?: boolean; pageSize?: number; leaseMs?: number } = {},
): EventWorker {
  return createEventWorker({
    queue: 'replication',
    meta,
    effects: systemEffects,
    log: silentLog,
    prepare: () => Promise.resolve(handle),
    pageSize: 2,
    concurrency: 4,
    ordered: false,
    pollMs: 5,
    ...changes,
  });
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, 'waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test('everything is handled once, page by page, and two workers do not meet', async () => {
  const box = outbox(...Array.from({ length: 7 }, (_, index) => event(index + 1)));
  const seen: string[] = [];
  const handle: Handle = ({ key }) => {
    seen.push(key);
    return Promise.resolve({ kind: 'done' });
  };
  const workers = [workerOf(box.meta, handle), workerOf(box.meta, handle)];
  for (const worker of workers) worker.start();
  await until(() => box.events.size === 0);
  for (const worker of workers) await worker.stop();
  assert.deepEqual(seen.toSorted(), ['k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7']);
});

test('a worker that stops finishes what it has begun and gives its bucket back', async () => {
  const box = outbox(event(1), event(2));
  const begun = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const worker = workerOf(box.meta, async () => {
    begun.resolve();
    await go.promise;
    return { kind: 'done' };
  });
  worker.start();
  await begun.promise;
  const stopping = worker.stop();
  go.resolve();
  await stopping;
  assert.equal(box.events.size, 0);
  assert.equal(box.holder(), undefined);
});

test('what one event runs into is its own failure: the rest of the page is settled', async () => {
  const box = outbox(event(1), event(2, 'k2', { left: ['x'] }), event(3));
  const slow = Promise.withResolvers<void>();
  const seen: string[] = [];
  const worker = workerOf(
    box.meta,
    async ({ key }) => {
      seen.push(key);
      if (key === 'k2') throw new TypeError('a mistake');
      if (key === 'k1') await slow.promise;
      return { kind: 'done' };
    },
    { pageSize: 3 },
  );
  worker.start();
  await until(() => seen.length === 3);
  slow.resolve();
  await until(() => box.events.size === 1);
  await worker.stop();
  assert.deepEqual(seen.toSorted(), ['k1', 'k2', 'k3'], 'nothing was handled twice');
  const left = box.events.get(event(2).id);
  assert.deepEqual([left?.attempts, left?.left], [1, ['x']]);
});

test('what takes long is told when another may be at work on its bucket', async () => {
  const box = outbox(event(1));
  let refusing = false;
  const begun = Promise.withResolvers<void>();
  const told: boolean[] = [];
  const worker = workerOf(
    {
      ...box.meta,
      leaseEvents: (command) =>
        refusing ? Promise.reject(new Error('away')) : box.meta.leaseEvents(command),
    },
    async (_, leased) => {
      told.push(leased());
      begun.resolve();
      await until(() => refusing && !leased());
      told.push(leased());
      return { kind: 'held', waitMs: 0 };
    },
    { leaseMs: 100 },
  );
  worker.start();
  await begun.promise;
  refusing = true;
  await until(() => told.length === 2);
  await worker.stop();
  assert.deepEqual(told, [true, false]);
  assert.equal(box.events.get(event(1).id)?.attempts, 0);
});

test('a failure is written down, and later events of its key wait when order matters', async () => {
  const box = outbox(event(1, 'a'), event(2, 'a'), event(3, 'b'), event(4, 'a'));
  const seen: string[] = [];
  const worker = workerOf(
    box.meta,
    ({ id, key }) => {
      seen.push(id.at(-1) ?? '');
      return Promise.resolve(
        key === 'a' ? { kind: 'failed', problem: 'no', left: ['x'] } : { kind: 'done' },
      );
    },
    { ordered: true, pageSize: 10 },
  );
  worker.start();
  await until(() => box.events.size === 3 && seen.length === 2);
  await worker.stop();
  assert.deepEqual(seen.toSorted(), ['1', '3']);
  const first = box.events.get(event(1).id);
  assert.equal(first?.attempts, 1);
  assert.deepEqual(first.left, ['x']);
  assert.equal(first.problem, 'no');
  assert.ok(first.notBeforeMs > Date.now());
  assert.equal(box.events.get(event(2).id)?.attempts, 0);
});

test('of a large backlog that cannot be delivered only what is new is looked at, for a while', async () => {
  const stuck = Array.from({ length: 1500 }, (_, index) => event(index + 1));
  const box = outbox(...stuck);
  let reads = 0;
  const seen: string[] = [];
  const meta: EventMethods = {
    ...box.meta,
    readEvents(query) {
      reads++;
      return box.meta.readEvents(query);
    },
  };
  const handle: Handle = ({ key }) => {
    if (!key.startsWith('new')) return Promise.resolve({ kind: 'held', waitMs: 1 });
    seen.push(key);
    return Promise.resolve({ kind: 'done' });
  };
  const worker = workerOf(meta, handle, { pageSize: 100, ordered: true });
  worker.start();
  await until(() => reads > 20);
  const scanned = reads;
  for (const [id, key] of [
    [2001, 'new-1'],
    [2002, 'k7'],
    [2003, 'new-2'],
  ] as const) {
    const one = event(id, key);
    box.events.set(one.id, one);
  }
  await until(() => seen.length === 2);
  await worker.stop();
  assert.deepEqual(seen, ['new-1', 'new-2']);
  assert.ok(reads - scanned < 16, `looked through again: ${reads} reads`);
  assert.ok(box.events.has(event(2002).id), 'its key waits');
});

test('nobody wants the events of a bucket: they go', async () => {
  const box = outbox(event(1), event(2, 'k', { notBeforeMs: Date.now() - 1 }));
  const worker = workerOf(box.meta, undefined);
  worker.start();
  await until(() => box.events.size === 0);
  await worker.stop();
});

test('a wait from a wrong clock holds nothing up for ever', async () => {
  const box = outbox(event(1, 'k', { notBeforeMs: Date.now() + 10 * 365 * 86_400_000 }));
  const worker = workerOf(box.meta, () => Promise.resolve({ kind: 'done' }));
  worker.start();
  await until(() => box.events.size === 0);
  await worker.stop();
});

test('a circuit opens after three failures, lets one try through, and closes on success', () => {
  let nowMs = 0;
  const clock = { ...systemEffects.clock, monotonic: () => nowMs };
  const random = { ...systemEffects.random, fraction: () => 0.5 };
  const circuit = new Circuit({ clock, random });
  for (let failures = 0; failures < 3; failures++) {
    assert.equal(circuit.enter(), 0);
    circuit.failed();
  }
  assert.equal(circuit.open, true);
  assert.equal(circuit.enter(), 1000);
  nowMs = 1000;
  assert.equal(circuit.enter(), 0);
  assert.equal(circuit.enter(), 1000, 'one at a time');
  circuit.failed();
  assert.equal(circuit.enter(), 2000);
  nowMs += 2000;
  assert.equal(circuit.enter(), 0);
  circuit.succeeded();
  assert.equal(circuit.open, false);
  assert.equal(circuit.enter(), 0);
});

test('what an event says follows from what happened', () => {
  const context = { region: 'r', bucketOwner: 'o', configurationId: 'c' };
  const told = (changes: Partial<StoredEvent>) => {
    const message = s3EventMessage(event(1, "a b/ü'~*", { ...changes }), context);
    return JSON.parse(message).Records[0];
  };
  assert.deepEqual(told({ type: 'ObjectRemoved:Delete', versionId: 'v' }).s3.object, {
    key: 'a+b/%C3%BC%27%7E*',
    versionId: 'v',
    sequencer: event(1).id,
  });
  assert.equal(
    told({ type: 'ObjectRemoved:Delete', versionId: 'null' }).s3.object.versionId,
    undefined,
  );
  const expired = told({ type: 'LifecycleExpiration:Delete' });
  assert.equal(expired.eventVersion, '2.3');
  assert.equal(expired.userIdentity.principalId, 's3.amazonaws.com');
  assert.equal(told({ type: 'Replication:OperationFailedReplication' }).eventVersion, '2.2');
  assert.equal(told({ account: '' }).userIdentity.principalId, 'Anonymous');
});
