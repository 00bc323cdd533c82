/** Lifecycle rules held against a naive reading of AWS's description of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  abortOf,
  DAY_MS,
  daysLater,
  decodeLifecycle,
  encodeLifecycle,
  expirationOf,
  type LifecycleConfiguration,
  type LifecycleRule,
  type LifecycleVersion,
  markerExpirationOf,
  noncurrentExpirationOf,
  prefixesOf,
} from './lifecycle-protocol.ts';

const rule = (given: Partial<LifecycleRule>): LifecycleRule => ({
  id: 'r',
  enabled: true,
  filter: {},
  ...given,
});
const version = (given: Partial<LifecycleVersion> = {}): LifecycleVersion => ({
  size: 10,
  modifiedMs: Date.UTC(2014, 0, 15, 10, 30),
  ...given,
});

/* ------------------------------------------------------------------ AWS's own examples */

test('days end at the midnight that follows', () => {
  const created = Date.UTC(2014, 0, 15, 10, 30);
  assert.equal(daysLater(created, 3, DAY_MS), Date.UTC(2014, 0, 19));
  assert.equal(daysLater(Date.UTC(2014, 0, 15), 1, DAY_MS), Date.UTC(2014, 0, 17));
  assert.equal(daysLater(Date.UTC(2014, 0, 15) - 1, 1, DAY_MS), Date.UTC(2014, 0, 16));
  // A shortened day has no midnight.
  assert.equal(daysLater(created, 3, 1000), created + 3000);
});

test('the shortest expiration counts, of equal ones the first rule', () => {
  const rules = [
    rule({ id: 'year', expiration: { days: 365 } }),
    rule({ id: 'week', filter: { prefix: 'logs/' }, expiration: { days: 7 } }),
    rule({ id: 'other week', expiration: { days: 7 } }),
    rule({ id: 'off', enabled: false, expiration: { days: 1 } }),
  ];
  const due = expirationOf(rules, 'logs/a', version());
  assert.deepEqual([due?.rule.id, due?.atMs], ['week', Date.UTC(2014, 0, 23)]);
  assert.equal(expirationOf(rules, 'a', version())?.rule.id, 'other week');
  const dated = [...rules, rule({ id: 'date', expiration: { dateMs: Date.UTC(2014, 0, 1) } })];
  assert.equal(expirationOf(dated, 'a', version())?.rule.id, 'date');
});

test('a delete marker goes by rules for markers and for days, not by date, tag or size', () => {
  const marker = version({ size: 0, marker: true });
  const at = (given: Partial<LifecycleRule>) =>
    markerExpirationOf([rule(given)], 'a', marker)?.atMs;
  assert.equal(at({ expiration: { expiredMarker: true } }), marker.modifiedMs);
  assert.equal(at({ expiration: { expiredMarker: false } }), undefined);
  assert.equal(at({ expiration: { days: 1 } }), Date.UTC(2014, 0, 17));
  assert.equal(at({ expiration: { dateMs: 0 } }), undefined);
  const tags = [{ key: 'a', value: 'b' }];
  assert.equal(at({ filter: { tags }, expiration: { days: 1 } }), undefined);
  assert.equal(at({ filter: { sizeLess: 100 }, expiration: { days: 1 } }), undefined);
  assert.equal(expirationOf([rule({ expiration: { days: 1 } })], 'a', marker), undefined);
});

test('newer noncurrent versions are kept whatever their age', () => {
  const rules = [rule({ noncurrent: { days: 1, newer: 2 } })];
  const sinceMs = Date.UTC(2014, 0, 1, 12);
  const at = (newer: number) =>
    noncurrentExpirationOf(rules, 'a', version(), { sinceMs, newer })?.atMs;
  assert.equal(at(1), undefined);
  assert.equal(at(2), Date.UTC(2014, 0, 3));
});

test('uploads are aborted by prefix alone', () => {
  const created = Date.UTC(2014, 0, 15, 10, 30);
  const rules = [rule({ filter: { prefix: 'a/' }, abortDays: 2 })];
  assert.equal(abortOf(rules, 'a/b', created)?.atMs, Date.UTC(2014, 0, 18));
  assert.equal(abortOf(rules, 'b', created), undefined);
  assert.equal(abortOf([rule({ enabled: false, abortDays: 2 })], 'a', created), undefined);
});

/* ------------------------------------------------------------------ against a naive model */

const PLAIN = { noNullPrototype: true };
const prefix = fc.constantFrom('', 'a', 'a/', 'a/b', 'b', 'é');
const tag = fc.constantFrom(
  { key: 'k', value: 'v' },
  { key: 'k', value: '' },
  { key: 'l', value: 'v' },
);
const criteria = fc.record(
  {
    prefix,
    tags: fc.uniqueArray(tag, { selector: ({ key }) => key, maxLength: 2 }),
    sizeGreater: fc.integer({ min: 0, max: 12 }),
    sizeLess: fc.integer({ min: 1, max: 12 }),
  },
  { requiredKeys: [], ...PLAIN },
);
const days = fc.integer({ min: 1, max: 4 });
const DAY_0 = Date.UTC(2026, 0, 1);
const anyRule: fc.Arbitrary<LifecycleRule> = fc.record(
  {
    id: fc.string(),
    enabled: fc.boolean(),
    prefix,
    filter: fc.oneof(
      criteria,
      fc.tuple(criteria, criteria).map(([beside, and]) => ({ ...beside, and })),
    ),
    expiration: fc.oneof(
      fc.record({ days }, PLAIN),
      fc.record({ dateMs: days.map((day) => DAY_0 + day * DAY_MS) }, PLAIN),
      fc.record({ expiredMarker: fc.boolean() }, PLAIN),
    ),
    noncurrent: fc.record(
      { days, newer: fc.integer({ min: 1, max: 3 }) },
      { requiredKeys: ['days'], ...PLAIN },
    ),
    abortDays: days,
  },
  { requiredKeys: ['id', 'enabled'], ...PLAIN },
);
const rules = fc.array(anyRule, { maxLength: 4 });
const key = fc.constantFrom('a', 'a/', 'a/b', 'a/bc', 'b', 'é/x', 'z');
const someVersion: fc.Arbitrary<LifecycleVersion> = fc.record(
  {
    size: fc.integer({ min: 0, max: 13 }),
    modifiedMs: fc.integer({ min: DAY_0, max: DAY_0 + 3 * DAY_MS }),
    tags: fc.uniqueArray(tag, { selector: (one) => one.key, maxLength: 2 }),
  },
  { requiredKeys: ['size', 'modifiedMs'], ...PLAIN },
);

/** Every single condition that a rule makes, as a list of yes and no. */
function conditions(one: LifecycleRule, name: string, object: LifecycleVersion): boolean[] {
  const list = [one.enabled];
  if (one.prefix !== undefined) list.push(name.indexOf(one.prefix) === 0);
  for (const part of [one.filter, one.filter?.and]) {
    if (part?.prefix !== undefined) list.push(name.indexOf(part.prefix) === 0);
    if (part?.sizeGreater !== undefined) list.push(object.size > part.sizeGreater);
    if (part?.sizeLess !== undefined) list.push(object.size < part.sizeLess);
    for (const wanted of part?.tags ?? []) {
      list.push(
        (object.tags ?? []).filter((has) => has.key === wanted.key && has.value === wanted.value)
          .length === 1,
      );
    }
  }
  return list;
}

/** The first midnight after so many whole days, found by walking along the calendar. */
function midnightAfter(fromMs: number, count: number): number {
  let midnight = DAY_0;
  while (midnight <= fromMs + count * DAY_MS) midnight += DAY_MS;
  return midnight;
}

test('an object expires at the earliest time that any rule which matches it names', () => {
  fc.assert(
    fc.property(rules, key, someVersion, (list, name, object) => {
      const times = list.flatMap((one) => {
        if (conditions(one, name, object).includes(false)) return [];
        const { expiration = { expiredMarker: true } } = one;
        if ('dateMs' in expiration) return [expiration.dateMs];
        return 'days' in expiration ? [midnightAfter(object.modifiedMs, expiration.days)] : [];
      });
      const expected = times.length === 0 ? undefined : Math.min(...times);
      assert.equal(expirationOf(list, name, object)?.atMs, expected);
    }),
    { numRuns: 2000 },
  );
});

test('a noncurrent version goes by when it became one and how many are newer', () => {
  const newer = fc.integer({ min: 0, max: 4 });
  const since = fc.integer({ min: DAY_0, max: DAY_0 + 3 * DAY_MS });
  fc.assert(
    fc.property(rules, key, someVersion, since, newer, (list, name, object, sinceMs, count) => {
      const times = list.flatMap(({ noncurrent, ...one }) => {
        if (noncurrent === undefined || conditions(one, name, object).includes(false)) return [];
        return count < (noncurrent.newer ?? 0) ? [] : [midnightAfter(sinceMs, noncurrent.days)];
      });
      const expected = times.length === 0 ? undefined : Math.min(...times);
      const found = noncurrentExpirationOf(list, name, object, { sinceMs, newer: count });
      assert.equal(found?.atMs, expected);
    }),
    { numRuns: 2000 },
  );
});

test('the prefixes of rules cover every key that one of them may concern, each once', () => {
  fc.assert(
    fc.property(rules, key, someVersion, (list, name, object) => {
      const covering = prefixesOf(list).filter((one) => name.startsWith(one));
      assert.ok(covering.length <= 1);
      const concerned = list.some((one) => !conditions(one, name, object).includes(false));
      if (concerned) assert.equal(covering.length, 1);
    }),
    { numRuns: 2000 },
  );
});

test('rules come back from storage as they were, many of them compressed', () => {
  fc.assert(
    fc.property(rules, (list) => {
      const given: LifecycleConfiguration = { rules: list };
      assert.deepEqual(decodeLifecycle(encodeLifecycle(given)), given);
    }),
  );
  const many = Array.from({ length: 1000 }, (_, index) =>
    rule({ id: `rule number ${index}`, filter: { prefix: `logs/application-${index}/` } }),
  );
  const text = encodeLifecycle({ rules: many });
  assert.ok(text.length < 30_000, `${text.length}`);
  assert.deepEqual(decodeLifecycle(text), { rules: many });
  assert.throws(() => decodeLifecycle('deflate:AAAA'));
  assert.throws(() => decodeLifecycle('{'));
});
