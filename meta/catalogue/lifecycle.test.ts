/**
 * What a pass of the lifecycle job does to a bucket: exactly what the rules say, whatever happens
 * between finding something and removing it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  DAY_MS,
  daysLater,
  encodeLifecycle,
  LIFECYCLE_CONFIG,
  type LifecycleRule,
} from '../lifecycle-protocol.ts';
import type { ListedVersion, ObjectLock, Tag } from '../protocol.ts';
import type { DueItem, Outcome, RuledBucket } from './lifecycle.ts';
import { createMemoryStore } from '../engine/memory.ts';
import {
  checkInvariants,
  createWorld,
  drainGarbage,
  freshPart,
  interrupted,
  OWNER,
  value,
  type World,
  WRITER,
} from './test-support.ts';

const BUCKET = 'b';
const rule = (given: Partial<LifecycleRule>): LifecycleRule => ({
  id: 'r',
  enabled: true,
  filter: {},
  ...given,
});

type State = 'Enabled' | 'Suspended' | 'plain' | 'locked';

async function bucketWith(rules: LifecycleRule[], state: State = 'plain'): Promise<World> {
  const w = await createWorld();
  const versioned = state === 'Enabled' || state === 'locked';
  value(
    await w.catalogue.createBucket({
      name: BUCKET,
      owner: OWNER,
      region: 'r',
      ...(versioned && { versioning: 'Enabled' as const }),
      ...(state === 'locked' && { configs: { 'object-lock': '{}' } }),
    }),
  );
  if (state === 'Suspended') {
    value(await w.catalogue.setVersioning({ bucket: BUCKET, versioning: 'Enabled' }));
    value(await w.catalogue.setVersioning({ bucket: BUCKET, versioning: 'Suspended' }));
  }
  await setRules(w, rules);
  return w;
}

async function setRules(w: World, rules: LifecycleRule[]): Promise<void> {
  const config = { bucket: BUCKET, name: LIFECYCLE_CONFIG, value: encodeLifecycle({ rules }) };
  value(await w.catalogue.setBucketConfig(config));
}

interface Found {
  bucket: RuledBucket;
  due: DueItem[];
}

/** All that is due now. */
async function find(w: World): Promise<Found> {
  const work = w.catalogue.lifecycle;
  const bucket = await work.ruled(BUCKET);
  assert.ok(bucket);
  const due: DueItem[] = [];
  let place: Parameters<typeof work.page>[1] | undefined = { part: 'objects' };
  while (place !== undefined) {
    const page = await work.page(bucket, place, w.clock.ms);
    due.push(...page.due);
    place = page.next;
  }
  return { bucket, due };
}

async function expireAll(w: World, { bucket, due }: Found): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const item of due) outcomes.push(await w.catalogue.lifecycle.expire(bucket, item));
  return outcomes;
}

async function pass(w: World): Promise<Outcome[]> {
  return expireAll(w, await find(w));
}

async function put(w: World, key: string, given: { tags?: Tag[]; lock?: ObjectLock } = {}) {
  const object = w.object(10, given);
  const command = { writer: WRITER, bucket: BUCKET, key, object, missing: [] };
  return value(await w.catalogue.putObject(command));
}

async function versions(w: World): Promise<ListedVersion[]> {
  const query = { bucket: BUCKET, prefix: '', limit: 1000 };
  return value(await w.catalogue.listVersions(query)).versions;
}

const lines = (listed: readonly ListedVersion[]) =>
  listed.map(({ key, marker }) => (marker === true ? `${key} marker` : key));

/* ------------------------------------------------------------------ what the rules do */

test('in a plain bucket what is expired is gone, and its blocks with it', async () => {
  const w = await bucketWith([rule({ filter: { prefix: 'a' }, expiration: { days: 1 } })]);
  await put(w, 'a1');
  await put(w, 'b1');
  w.clock.ms += DAY_MS;
  await put(w, 'a2');
  w.clock.ms += DAY_MS - 1;
  assert.deepEqual(await pass(w), []);
  w.clock.ms += 1;
  assert.deepEqual(await pass(w), ['expired']);
  assert.deepEqual(lines(await versions(w)), ['a2', 'b1']);
  await drainGarbage(w.catalogue);
  await checkInvariants(w.store);
});

test('in a versioned bucket it gets a delete marker, which goes when nothing is left below it', async () => {
  const rules = [rule({ expiration: { days: 1 }, noncurrent: { days: 1 } })];
  const w = await bucketWith(rules, 'Enabled');
  await put(w, 'a');
  w.clock.ms += 2 * DAY_MS;
  assert.deepEqual(await pass(w), ['marked']);
  assert.deepEqual(lines(await versions(w)), ['a marker', 'a']);
  assert.deepEqual(await pass(w), []);
  w.clock.ms += 2 * DAY_MS;
  assert.deepEqual(await pass(w), ['expired']);
  assert.deepEqual(lines(await versions(w)), ['a marker']);
  assert.deepEqual(await pass(w), ['expired']);
  assert.deepEqual(await versions(w), []);
});

test('in a suspended bucket the null version makes room for a marker, named versions stay', async () => {
  const w = await bucketWith([rule({ expiration: { days: 1 } })], 'Suspended');
  await put(w, 'a');
  value(await w.catalogue.setVersioning({ bucket: BUCKET, versioning: 'Enabled' }));
  await put(w, 'b');
  value(await w.catalogue.setVersioning({ bucket: BUCKET, versioning: 'Suspended' }));
  w.clock.ms += 2 * DAY_MS;
  assert.deepEqual(await pass(w), ['marked', 'marked']);
  const left = (await versions(w)).map(({ key, versionId, marker }) => [
    key,
    versionId === 'null' ? 'null' : 'named',
    marker === true,
  ]);
  assert.deepEqual(left, [
    ['a', 'null', true],
    ['b', 'null', true],
    ['b', 'named', false],
  ]);
});

test('of noncurrent versions the newest are kept, of a long chain too', async () => {
  const rules = [rule({ noncurrent: { days: 1, newer: 3 } })];
  const w = await bucketWith(rules, 'Enabled');
  const made: string[] = [];
  for (let n = 0; n < 600; n++) made.push((await put(w, 'a')).version);
  w.clock.ms += 2 * DAY_MS;
  const outcomes = await pass(w);
  assert.deepEqual([outcomes.length, new Set(outcomes)], [596, new Set(['expired'])]);
  const left = (await versions(w)).map(({ versionId }) => versionId);
  assert.deepEqual(left, made.slice(-4).reverse());
  assert.deepEqual(await pass(w), []);
});

test('uploads are aborted, and their parts given back', async () => {
  const w = await bucketWith([rule({ filter: { prefix: 'a' }, abortDays: 1 })]);
  const place = { bucket: BUCKET, owner: OWNER, system: {}, user: {} };
  const old = value(await w.catalogue.createUpload({ ...place, key: 'a' }));
  value(await w.catalogue.putPart(freshPart(w, old, 1, 7)));
  value(await w.catalogue.createUpload({ ...place, key: 'b' }));
  w.clock.ms += DAY_MS;
  value(await w.catalogue.createUpload({ ...place, key: 'a' }));
  w.clock.ms += DAY_MS;
  assert.deepEqual(await pass(w), ['expired']);
  const { uploads } = value(
    await w.catalogue.listUploads({ bucket: BUCKET, prefix: '', limit: 10 }),
  );
  assert.deepEqual(
    uploads.map(({ key, uploadId }) => [key, uploadId === old.uploadId]),
    [
      ['a', false],
      ['b', false],
    ],
  );
  await drainGarbage(w.catalogue);
  await checkInvariants(w.store);
});

test('only buckets with rules are walked, and only where the rules look', async () => {
  const w = await bucketWith([
    rule({ id: '1', filter: { prefix: 'b' }, expiration: { days: 1 } }),
    rule({ id: '2', filter: { prefix: 'd/' }, expiration: { days: 1 } }),
    rule({ id: '3', filter: { prefix: 'd/e' }, expiration: { days: 1 } }),
    rule({ id: '4', enabled: false, expiration: { days: 1 } }),
  ]);
  value(await w.catalogue.createBucket({ name: 'other', owner: OWNER, region: 'r' }));
  const work = w.catalogue.lifecycle;
  assert.deepEqual((await work.buckets(undefined)).names, [BUCKET]);
  assert.equal(await work.ruled('other'), undefined);
  assert.equal(await work.ruled('none'), undefined);
  for (const key of ['a', 'b', 'b1', 'c', 'd', 'd/', 'd/e', 'e']) await put(w, key);
  w.clock.ms += 2 * DAY_MS;
  const { due } = await find(w);
  assert.deepEqual(
    due.map(({ key }) => key),
    ['b', 'b1', 'd/', 'd/e'],
  );
});

test('removals are events of their own, and no replication', async () => {
  const rules = [rule({ expiration: { days: 1 }, noncurrent: { days: 1 } })];
  const w = await bucketWith(rules, 'Enabled');
  for (const name of ['notification', 'replication']) {
    value(await w.catalogue.setBucketConfig({ bucket: BUCKET, name, value: '{}' }));
  }
  await put(w, 'a');
  for (let day = 0; day < 3; day++) {
    w.clock.ms += 2 * DAY_MS;
    await pass(w);
  }
  assert.deepEqual(await versions(w), []);
  const of = async (queue: 'notification' | 'replication') => {
    const { id } = value(await w.catalogue.getBucket({ bucket: BUCKET }));
    const { events } = await w.catalogue.readEvents({ queue, bucketId: id, limit: 10 });
    return events.map(({ type }) => type);
  };
  assert.deepEqual(await of('notification'), [
    'ObjectCreated:Put',
    'LifecycleExpiration:DeleteMarkerCreated',
    'LifecycleExpiration:Delete',
    'LifecycleExpiration:Delete',
  ]);
  assert.deepEqual(await of('replication'), []);
});

/* ------------------------------------------------------------------ what happens in between */

const days1 = rule({ expiration: { days: 1 } });

test('what was overwritten, tagged or ruled otherwise in between stays', async () => {
  const tags = [{ key: 'k', value: 'v' }];
  const tagged = rule({ filter: { tags }, expiration: { days: 1 } });
  for (const [name, change, expected] of [
    ['overwritten', (w: World) => put(w, 'a', { tags }), 'changed'],
    ['deleted', (w: World) => w.catalogue.deleteObject({ bucket: BUCKET, key: 'a' }), 'changed'],
    [
      'untagged',
      (w: World) => w.catalogue.setObjectTags({ bucket: BUCKET, key: 'a', tags: [] }),
      'changed',
    ],
    ['ruled', (w: World) => setRules(w, [rule({ expiration: { days: 9 } })]), 'ruled'],
    [
      'not ruled',
      (w: World) => w.catalogue.setBucketConfig({ bucket: BUCKET, name: LIFECYCLE_CONFIG }),
      'ruled',
    ],
    [
      'versioned',
      (w: World) => w.catalogue.setVersioning({ bucket: BUCKET, versioning: 'Enabled' }),
      'ruled',
    ],
  ] as const) {
    const w = await bucketWith([tagged]);
    await put(w, 'a', { tags });
    w.clock.ms += 2 * DAY_MS;
    const found = await find(w);
    assert.equal(found.due.length, 1, name);
    await change(w);
    const before = await versions(w);
    assert.deepEqual(await expireAll(w, found), [expected], name);
    assert.deepEqual(await versions(w), before, name);
  }
});

test('what was overwritten is another version, though a rule by date concerns it, too', async () => {
  const w = await bucketWith([rule({ expiration: { dateMs: 0 } })]);
  await put(w, 'a');
  const found = await find(w);
  await put(w, 'a');
  assert.deepEqual(await expireAll(w, found), ['changed']);
  assert.deepEqual(await pass(w), ['expired']);
});

test('other tags put it under another rule, whose time has not come', async () => {
  const short = [{ key: 'keep', value: 'short' }];
  const long = [{ key: 'keep', value: 'long' }];
  const w = await bucketWith([
    rule({ id: '1', filter: { tags: short }, expiration: { days: 1 } }),
    rule({ id: '2', filter: { tags: long }, expiration: { days: 9 } }),
  ]);
  await put(w, 'a', { tags: short });
  w.clock.ms += 2 * DAY_MS;
  const found = await find(w);
  value(await w.catalogue.setObjectTags({ bucket: BUCKET, key: 'a', tags: long }));
  assert.deepEqual(await expireAll(w, found), ['changed']);
  w.clock.ms += 8 * DAY_MS;
  assert.deepEqual(await pass(w), ['expired']);
});

test('of the versions of one key those go first that others are counted for', async () => {
  const tags = [{ key: 'go', value: '' }];
  const rules = [
    rule({ id: '1', filter: { tags }, noncurrent: { days: 1 } }),
    rule({ id: '2', noncurrent: { days: 1, newer: 1 } }),
  ];
  const w = await bucketWith(rules, 'Enabled');
  await put(w, 'a');
  await put(w, 'a', { tags });
  await put(w, 'a');
  w.clock.ms += 2 * DAY_MS;
  assert.deepEqual(await pass(w), ['expired', 'expired']);
  assert.equal((await versions(w)).length, 1);
});

test('a version stays when one that it was counted against goes in the same moment', async () => {
  const inner = createMemoryStore();
  const { store, beforeNextCommit } = interrupted(inner);
  const w = await createWorld({ store });
  const bucket = { name: BUCKET, owner: OWNER, region: 'r', versioning: 'Enabled' as const };
  value(await w.catalogue.createBucket(bucket));
  await setRules(w, [rule({ noncurrent: { days: 1, newer: 3 } })]);
  await put(w, 'a');
  for (let n = 0; n < 2; n++) await put(w, 'a');
  const { versionId } = await put(w, 'a');
  await put(w, 'a');
  w.clock.ms += 2 * DAY_MS;
  const found = await find(w);
  assert.equal(found.due.length, 1);
  beforeNextCommit(async () => {
    value(await w.another(2).deleteObject({ bucket: BUCKET, key: 'a', versionId }));
  });
  assert.deepEqual(await expireAll(w, found), ['changed']);
  assert.equal((await versions(w)).length, 4);
});

test('a commit that comes while the pass decides is never lost', async () => {
  const w = await bucketWith([days1]);
  await put(w, 'a');
  w.clock.ms += 2 * DAY_MS;
  const { bucket, due } = await find(w);
  const [item] = due;
  assert.ok(item);
  const other = w.another(2);
  const object = w.object(20);
  const command = { writer: WRITER, bucket: BUCKET, key: 'a', object, missing: [] };
  const [written] = await Promise.all([
    other.putObject(command),
    w.catalogue.lifecycle.expire(bucket, item),
  ]);
  const { version } = value(written);
  const current = value(await w.catalogue.getObject({ bucket: BUCKET, key: 'a' })).object;
  assert.equal(current.version, version);
});

test('a noncurrent version that has become the current one stays', async () => {
  const w = await bucketWith([rule({ noncurrent: { days: 1 } })], 'Enabled');
  await put(w, 'a');
  const { versionId } = await put(w, 'a');
  w.clock.ms += 2 * DAY_MS;
  const found = await find(w);
  assert.equal(found.due.length, 1);
  value(await w.catalogue.deleteObject({ bucket: BUCKET, key: 'a', versionId }));
  assert.deepEqual(await expireAll(w, found), ['changed']);
  assert.equal((await versions(w)).length, 1);
});

test('a version is counted for only by those that are there', async () => {
  const rules = [rule({ noncurrent: { days: 1, newer: 1 } })];
  const w = await bucketWith(rules, 'Enabled');
  await put(w, 'a');
  const { versionId } = await put(w, 'a');
  await put(w, 'a');
  w.clock.ms += 2 * DAY_MS;
  const found = await find(w);
  assert.equal(found.due.length, 1);
  // The one for which it was to go goes itself: now it is the newest noncurrent one.
  value(await w.catalogue.deleteObject({ bucket: BUCKET, key: 'a', versionId }));
  assert.deepEqual(await expireAll(w, found), ['changed']);
  assert.equal((await versions(w)).length, 2);
});

test('locked versions stay, current ones under a delete marker', async () => {
  const rules = [rule({ expiration: { days: 1 }, noncurrent: { days: 1 } })];
  const w = await bucketWith(rules, 'locked');
  const lock: ObjectLock = { mode: 'COMPLIANCE', untilMs: w.clock.ms + 10 * DAY_MS };
  const first = await put(w, 'a', { lock });
  w.clock.ms += 2 * DAY_MS;
  assert.deepEqual(await pass(w), ['marked']);
  w.clock.ms += 2 * DAY_MS;
  assert.deepEqual(await pass(w), []);
  // Found free, locked before it went.
  w.clock.ms += 10 * DAY_MS;
  const found = await find(w);
  assert.equal(found.due.length, 1);
  const hold = { bucket: BUCKET, key: 'a', versionId: first.versionId, legalHold: true };
  value(await w.catalogue.setObjectLock(hold));
  assert.deepEqual(await expireAll(w, found), ['locked']);
  assert.deepEqual(lines(await versions(w)), ['a marker', 'a']);
});

test('an upload that was completed in between is an object', async () => {
  const w = await bucketWith([rule({ abortDays: 1 })]);
  const start = { bucket: BUCKET, key: 'a', owner: OWNER, system: {}, user: {} };
  const upload = value(await w.catalogue.createUpload(start));
  const part = freshPart(w, upload, 1, 7);
  value(await w.catalogue.putPart(part));
  w.clock.ms += 2 * DAY_MS;
  const found = await find(w);
  const parts = [{ number: 1, etag: part.etag }];
  value(await w.catalogue.completeUpload({ ...upload, parts }));
  assert.deepEqual(await expireAll(w, found), ['changed']);
  assert.deepEqual(lines(await versions(w)), ['a']);
});

/* ------------------------------------------------------------------ any history */

const key = fc.constantFrom('a', 'a/b', 'b');
const HOUR_MS = 3_600_000;
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('put' as const), key, tagged: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('deleteVersion' as const), key, which: fc.nat(3) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      hours: fc.integer({ max: 40, min: 1 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const) }) },
);
const PLAIN = { noNullPrototype: true };
const days = fc.integer({ min: 1, max: 3 });
const anyRule: fc.Arbitrary<LifecycleRule> = fc.record(
  {
    id: fc.constant('r'),
    enabled: fc.constantFrom(true, true, true, false),
    filter: fc.constantFrom(
      {},
      { prefix: 'a' },
      { prefix: 'a/' },
      { tags: [{ key: 't', value: '' }] },
    ),
    expiration: fc.oneof(
      fc.record({ days }, PLAIN),
      fc.record({ expiredMarker: fc.boolean() }, PLAIN),
    ),
    noncurrent: fc.record(
      { days, newer: fc.integer({ min: 1, max: 2 }) },
      { requiredKeys: ['days'], ...PLAIN },
    ),
  },
  { requiredKeys: ['id', 'enabled', 'filter'], ...PLAIN },
);

interface ModelVersion {
  madeMs: number;
  marker: boolean;
  tagged: boolean;
}

/** One key of a versioned bucket, newest first, and what rules make of it, one sentence each. */
function expireNaively(
  chain: readonly ModelVersion[],
  name: string,
  rules: readonly LifecycleRule[],
  now: number,
): ModelVersion[] {
  const concerned = (version: ModelVersion) =>
    rules.filter(({ enabled, filter = {} }) => {
      if (!enabled || !name.startsWith(filter.prefix ?? '')) return false;
      return filter.tags === undefined || (!version.marker && version.tagged);
    });
  const over = (fromMs: number, count: number) => daysLater(fromMs, count, DAY_MS) <= now;
  const [head] = chain;
  if (head === undefined) return [];
  const left = chain.filter((version, index) => {
    const successor = chain[index - 1];
    return (
      successor === undefined ||
      !concerned(version).some(({ noncurrent }) => {
        if (noncurrent === undefined || index - 1 < (noncurrent.newer ?? 0)) return false;
        return over(successor.madeMs, noncurrent.days);
      })
    );
  });
  // A marker was alone before the pass, or it waits for the next one.
  const alone = chain.length === 1;
  const ends = concerned(head).some(({ expiration }) => {
    if (expiration === undefined || 'dateMs' in expiration) return false;
    if ('days' in expiration) return (!head.marker || alone) && over(head.madeMs, expiration.days);
    return head.marker && alone && expiration.expiredMarker;
  });
  if (!ends) return left;
  return head.marker ? left.slice(1) : [{ madeMs: now, marker: true, tagged: false }, ...left];
}

test('whatever the history, a pass leaves what a naive reading of the rules leaves', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyRule, { minLength: 1, maxLength: 3 }),
      fc.array(step, { maxLength: 40, size: 'max' }),
      async (rules, steps) => {
        const w = await bucketWith(rules, 'Enabled');
        const model = new Map<string, ModelVersion[]>();
        const of = (name: string) => model.get(name) ?? [];
        for (const one of steps) {
          w.clock.ms += 1;
          if (one.do === 'put') {
            const tags = one.tagged ? [{ key: 't', value: '' }] : [];
            await put(w, one.key, { tags });
            const made = { madeMs: w.clock.ms, marker: false, tagged: one.tagged };
            model.set(one.key, [made, ...of(one.key)]);
          } else if (one.do === 'delete') {
            value(await w.catalogue.deleteObject({ bucket: BUCKET, key: one.key }));
            const made = { madeMs: w.clock.ms, marker: true, tagged: false };
            model.set(one.key, [made, ...of(one.key)]);
          } else if (one.do === 'deleteVersion') {
            const own = (await versions(w)).filter((version) => version.key === one.key);
            const versionId = own[one.which]?.versionId;
            if (versionId === undefined) continue;
            value(await w.catalogue.deleteObject({ bucket: BUCKET, key: one.key, versionId }));
            model.set(one.key, of(one.key).toSpliced(one.which, 1));
          } else if (one.do === 'wait') {
            w.clock.ms += one.hours * HOUR_MS;
          } else {
            const outcomes = await pass(w);
            assert.ok(!outcomes.includes('changed') && !outcomes.includes('ruled'));
            for (const [name, chain] of model) {
              model.set(name, expireNaively(chain, name, rules, w.clock.ms));
            }
          }
          const expected = [...model]
            .sort(([left], [right]) => (left < right ? -1 : 1))
            .flatMap(([name, chain]) =>
              chain.map(({ madeMs, marker }) => [name, madeMs, marker] as const),
            );
          const found = (await versions(w)).map(({ key: name, modifiedMs, marker }) => {
            return [name, modifiedMs, marker === true] as const;
          });
          assert.deepEqual(found, expected);
        }
        await checkInvariants(w.store);
      },
    ),
    { numRuns: 200 },
  );
});
