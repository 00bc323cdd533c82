import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Effects, systemEffects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import { silentLog } from '../../base/log.ts';
import type { Meta, PostponedEvent, StoredEvent } from '../../meta/protocol.ts';
import { encodeNotifications, type NotificationRule } from '../s3/notification-config.ts';
import { Circuit } from './circuit.ts';
import { createNotifier } from './notifier.ts';
import type { Target, Targets } from './targets.ts';

const BUCKET = {
  id: 1,
  name: 'b',
  owner: 'o',
  region: 'r',
  createdMs: 0,
  revision: 1,
  configs: [],
};

const rule = (id: string, name: string, changes: Partial<NotificationRule> = {}) => ({
  id,
  kind: 'Queue' as const,
  arn: `arn:aws:sqs:r:0:${name}`,
  events: ['s3:ObjectCreated:*'],
  ...changes,
});

function eventOf(changes: Partial<StoredEvent> = {}): StoredEvent {
  return {
    id: '1'.padStart(32, '0'),
    type: 'ObjectCreated:Put',
    bucket: 'b',
    key: 'k',
    version: '0'.repeat(32),
    size: 1,
    etag: 'e',
    atMs: Date.now(),
    account: 'a',
    requestId: 'r',
    sourceIp: '::1',
    attempts: 0,
    notBeforeMs: 0,
    ...changes,
  };
}

interface World {
  rules: NotificationRule[];
  event: StoredEvent;
  /** Names of targets that are there, with what they do. */
  targets: Record<string, () => Promise<void>>;
  bucketId?: number;
  keepMs?: number;
  /** Failures that the circuits of all targets have seen. */
  failures?: number;
}

/** Delivers one event once; what was settled, and what was counted. */
async function deliver({ rules, event, targets, ...world }: World) {
  const settled = Promise.withResolvers<{ done: string[]; later: PostponedEvent[] }>();
  let reads = 0;
  const meta = {
    leaseEvents: () => Promise.resolve({ leases: reads > 2 ? [] : [{ bucketId: 1, bucket: 'b' }] }),
    readEvents() {
      reads++;
      if (reads === 3) settled.resolve({ done: [], later: [] });
      return Promise.resolve({ events: reads > 2 ? [] : [event] });
    },
    settleEvents(command: { done: string[]; later: PostponedEvent[] }) {
      settled.resolve(command);
      reads = 3;
      return Promise.resolve(null);
    },
    getBucketConfig: () =>
      Promise.resolve({
        ok: true,
        value: {
          bucket: { ...BUCKET, id: world.bucketId ?? 1 },
          value: encodeNotifications({ rules }),
        },
      }),
  } as unknown as Meta;
  const counts: string[] = [];
  const effects: Effects = systemEffects;
  const circuit = new Circuit(effects);
  for (let failures = world.failures ?? 0; failures > 0; failures--) circuit.failed();
  const known = new Map<string, Target>(
    Object.entries(targets).map(([name, send]) => [
      name,
      { name, circuit, accounts: undefined, sink: { send, close: () => Promise.resolve() } },
    ]),
  );
  const notifier = createNotifier({
    meta,
    targets: { get: (name: string) => known.get(name) } as unknown as Targets,
    ownerOf: (id) => Promise.resolve({ id, number: '1', root: true }),
    effects,
    log: silentLog,
    region: 'r',
    keepMs: world.keepMs ?? 60_000,
    pollMs: 5,
    count: (target, outcome) => counts.push(`${target} ${outcome}`),
  });
  notifier.start();
  const result = await settled.promise;
  await notifier.stop();
  return { ...result, counts };
}

const taken = () => Promise.resolve();
const refused = () => Promise.reject(new Failure('unavailable', 'it is closed'));

test('each rule that matches has its own message; the event is done when all are told', async () => {
  const rules = [rule('1', 'a'), rule('2', 'b'), rule('3', 'a', { prefix: 'other' })];
  const event = eventOf();
  const result = await deliver({ rules, event, targets: { a: taken, b: taken } });
  assert.deepEqual(result, { ...result, done: [event.id], later: [] });
  assert.deepEqual(result.counts.toSorted(), ['a delivered', 'b delivered']);
});

test('what one target refuses is left for it alone', async () => {
  const rules = [rule('1', 'a'), rule('2', 'b')];
  const event = eventOf({ attempts: 3 });
  const { done, later } = await deliver({ rules, event, targets: { a: taken, b: refused } });
  assert.deepEqual(done, []);
  assert.equal(later.length, 1);
  const { attempts, left, problem, notBeforeMs } = later[0] ?? assert.fail();
  assert.deepEqual([attempts, left, problem], [4, ['2'], 'it is closed']);
  assert.ok(notBeforeMs > Date.now() + 4000, 'the wait grows');
  const rest = await deliver({
    rules,
    event: { ...event, left: ['2'] },
    targets: { a: refused, b: taken },
  });
  assert.deepEqual(rest.counts, ['b delivered']);
  assert.deepEqual(rest.done, [event.id]);
});

test('what no rule wants any more is done, and so are the events of another bucket', async () => {
  const event = eventOf({ type: 'ObjectRemoved:Delete' });
  const none = await deliver({ rules: [rule('1', 'a')], event, targets: { a: taken } });
  assert.deepEqual([none.done, none.counts], [[event.id], []]);
  const created = eventOf();
  const rules = [rule('1', 'a')];
  const other = await deliver({ rules, event: created, targets: { a: taken }, bucketId: 2 });
  assert.deepEqual([other.done, other.counts], [[created.id], []]);
});

test('a target that is gone is a problem that is told', async () => {
  const { later } = await deliver({ rules: [rule('1', 'gone')], event: eventOf(), targets: {} });
  assert.match(later[0]?.problem ?? '', /no event target gone/);
});

test('an event that is too old is given up and counted', async () => {
  const event = eventOf({ atMs: Date.now() - 1001 });
  const rules = [rule('1', 'a')];
  const result = await deliver({ rules, event, targets: { a: refused }, keepMs: 1000 });
  assert.deepEqual([result.done, result.counts], [[event.id], ['a expired']]);
});

test('while a target is left alone its events are not touched', async () => {
  const rules = [rule('1', 'a')];
  const targets = { a: () => assert.fail('it was asked') };
  const result = await deliver({ rules, event: eventOf(), targets, failures: 5 });
  assert.deepEqual(result, { done: [], later: [], counts: [] });
});
