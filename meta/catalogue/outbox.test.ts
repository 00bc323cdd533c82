import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  EVENT_LEASES_MAX,
  type EventQueue,
  type EventType,
  type Origin,
  type StoredEvent,
} from '../protocol.ts';
import { type Catalogue, createCatalogue } from './catalogue.ts';
import {
  checkInvariants,
  complete,
  createWorld,
  drainGarbage,
  freshPart,
  interrupted,
  OWNER,
  rowsOf,
  startUpload,
  testEffects,
  value,
  type World,
  worldWithBucket,
  WRITER,
} from './test-support.ts';
import { createMemoryStore } from '../engine/memory.ts';
import { DAY_MS, encodeLifecycle, LIFECYCLE_CONFIG } from '../lifecycle-protocol.ts';

const ORIGIN: Origin = { account: OWNER, requestId: 'ab'.repeat(8), sourceIp: '192.0.2.7' };

async function listening(queue: EventQueue = 'notification', versioned = false): Promise<World> {
  const world = await worldWithBucket();
  const { catalogue } = world;
  if (versioned) value(await catalogue.setVersioning({ bucket: 'b', versioning: 'Enabled' }));
  value(await catalogue.setBucketConfig({ bucket: 'b', name: queue, value: '{}' }));
  return world;
}

async function events(catalogue: Catalogue, queue: EventQueue = 'notification', bucketId = 1) {
  return (await catalogue.readEvents({ queue, bucketId, limit: 1000 })).events;
}

const shapes = (found: readonly StoredEvent[]): [EventType, string][] =>
  found.map(({ type, key }) => [type, key]);

function put({ catalogue, object }: World, key: string, origin: Origin = ORIGIN, tags = {}) {
  const pairs = Object.entries<string>(tags).map(([name, text]) => ({ key: name, value: text }));
  const command = { writer: WRITER, bucket: 'b', key, missing: [], origin };
  return catalogue.putObject({
    ...command,
    object: object(10, pairs.length === 0 ? {} : { tags: pairs }),
  });
}

test('a bucket that nobody listens to has no events', async () => {
  const world = await worldWithBucket();
  value(await put(world, 'k'));
  value(await world.catalogue.deleteObject({ bucket: 'b', key: 'k', origin: ORIGIN }));
  assert.equal((await rowsOf(world.store, 'e')).length, 0);
  assert.equal((await rowsOf(world.store, 'E')).length, 0);
});

test('every change of an object makes one event, in the order of the commits', async () => {
  const world = await listening();
  const { catalogue } = world;
  const written = value(await put(world, 'a'));
  const source = { bucket: 'b', key: 'a', version: written.version };
  value(
    await catalogue.copyObject({
      writer: WRITER,
      source,
      bucket: 'b',
      key: 'c',
      owner: OWNER,
      origin: ORIGIN,
    }),
  );
  value(await catalogue.setObjectTags({ bucket: 'b', key: 'a', tags: [{ key: 't', value: '' }] }));
  value(await catalogue.setObjectTags({ bucket: 'b', key: 'a', tags: [] }));
  const upload = await startUpload(world, 'm');
  const part = freshPart(world, upload, 1, 7);
  value(await catalogue.putPart(part));
  value(await complete(catalogue, upload, [{ number: 1, etag: part.etag }], { origin: ORIGIN }));
  value(await put(world, 'form', { ...ORIGIN, cause: 'post' }));
  value(await catalogue.deleteObject({ bucket: 'b', key: 'a', origin: ORIGIN }));
  value(await catalogue.deleteObjects({ bucket: 'b', keys: [{ key: 'c' }, { key: 'none' }] }));
  const cause = 'lifecycle';
  value(await catalogue.deleteObject({ bucket: 'b', key: 'm', origin: { ...ORIGIN, cause } }));
  const found = await events(catalogue);
  assert.deepEqual(shapes(found), [
    ['ObjectCreated:Put', 'a'],
    ['ObjectCreated:Copy', 'c'],
    ['ObjectTagging:Put', 'a'],
    ['ObjectTagging:Delete', 'a'],
    ['ObjectCreated:CompleteMultipartUpload', 'm'],
    ['ObjectCreated:Post', 'form'],
    ['ObjectRemoved:Delete', 'a'],
    ['ObjectRemoved:Delete', 'c'],
    ['LifecycleExpiration:Delete', 'm'],
  ]);
  const [first, , tagged] = found;
  assert.deepEqual(
    { ...first, id: '' },
    {
      id: '',
      type: 'ObjectCreated:Put',
      bucket: 'b',
      key: 'a',
      version: written.version,
      size: 10,
      etag: written.etag,
      atMs: world.clock.ms,
      account: OWNER,
      requestId: ORIGIN.requestId,
      sourceIp: '192.0.2.7',
      attempts: 0,
      notBeforeMs: 0,
    },
  );
  assert.equal(tagged?.account, '');
  await checkInvariants(world.store);
});

test('versions and delete markers are told by their ids', async () => {
  const world = await listening('notification', true);
  const { catalogue } = world;
  const { versionId } = value(await put(world, 'k'));
  const marker = value(await catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  value(await catalogue.deleteObject({ bucket: 'b', key: 'k', versionId: marker.versionId }));
  value(await catalogue.deleteObject({ bucket: 'b', key: 'k', versionId: 'f'.repeat(32) }));
  const found = await events(catalogue);
  assert.deepEqual(
    found.map((event) => [event.type, event.versionId]),
    [
      ['ObjectCreated:Put', versionId],
      ['ObjectRemoved:DeleteMarkerCreated', marker.versionId],
      ['ObjectRemoved:Delete', marker.versionId],
    ],
  );
});

test('a refused step makes no event, and a repeated commit not a second one', async () => {
  const world = await listening();
  const { catalogue } = world;
  const object = world.object(10);
  const command = { writer: WRITER, bucket: 'b', key: 'k', object, missing: [], origin: ORIGIN };
  value(await catalogue.putObject(command));
  value(await catalogue.putObject(command));
  const refused = await catalogue.putObject({
    ...command,
    object: world.object(10),
    condition: { ifNoneMatch: '*' },
  });
  assert.equal(refused.ok, false);
  assert.deepEqual(shapes(await events(catalogue)), [['ObjectCreated:Put', 'k']]);
});

test('the ids of one key grow even when the clock is set back', async () => {
  const world = await listening();
  value(await put(world, 'k'));
  world.clock.ms -= 60_000;
  value(await put(world, 'k'));
  value(await world.catalogue.deleteObject({ bucket: 'b', key: 'k', origin: ORIGIN }));
  assert.deepEqual(shapes(await events(world.catalogue)), [
    ['ObjectCreated:Put', 'k'],
    ['ObjectCreated:Put', 'k'],
    ['ObjectRemoved:Delete', 'k'],
  ]);
});

test('a bucket is worked on by one holder at a time, until its lease has ended', async () => {
  const world = await listening();
  const { catalogue, clock } = world;
  const queue = 'notification';
  assert.deepEqual(await catalogue.leaseEvents({ queue, holder: 'one', leaseMs: 1000 }), {
    leases: [],
  });
  value(await put(world, 'k'));
  const lease = (holder: string, leaseMs = 1000) =>
    world.another(3).leaseEvents({ queue, holder, leaseMs });
  const mine = { leases: [{ bucketId: 1, bucket: 'b' }] };
  assert.deepEqual(await lease('one'), mine);
  assert.deepEqual(await lease('two'), { leases: [] });
  clock.ms += 700;
  assert.deepEqual(await lease('one'), mine);
  clock.ms += 700;
  assert.deepEqual(await lease('two'), { leases: [] });
  clock.ms += 301;
  assert.deepEqual(await lease('two'), mine);
  assert.deepEqual(await lease('one'), { leases: [] });
  await lease('two', 0);
  assert.deepEqual(await lease('one'), mine);
  clock.ms -= 3_600_000;
  assert.deepEqual(await lease('one'), mine);
  clock.ms += 1001;
  assert.deepEqual(await lease('two'), mine);
});

test('with more buckets than leases each bucket has its turn', async () => {
  const world = await createWorld();
  const { catalogue } = world;
  const buckets = EVENT_LEASES_MAX + 5;
  for (let index = 0; index < buckets; index++) {
    const name = `bucket-${index}`;
    const configs = { notification: '{}' };
    value(await catalogue.createBucket({ name, owner: OWNER, region: 'r', configs }));
    await world.put(name, 'k', 0);
  }
  const command = { queue: 'notification' as const, holder: 'one', leaseMs: 60_000 };
  const first = await catalogue.leaseEvents(command);
  assert.equal(first.leases.length, EVENT_LEASES_MAX);
  const second = await catalogue.leaseEvents(command);
  assert.deepEqual(
    second.leases.map(({ bucketId }) => bucketId),
    [1, 2, 3, 4, 5].map((index) => EVENT_LEASES_MAX + index),
  );
  const third = await catalogue.leaseEvents(command);
  assert.deepEqual(third, first);
});

test('a settled event is gone, a postponed one keeps what is left to do', async () => {
  const world = await listening();
  const { catalogue } = world;
  for (const key of ['a', 'b', 'c']) value(await put(world, key));
  const [first, second, third] = await events(catalogue);
  assert.ok(first && second && third);
  const later = [{ id: second.id, attempts: 2, notBeforeMs: 5, left: ['x'], problem: 'down' }];
  const settle = { queue: 'notification' as const, bucketId: 1 };
  await world.another(4).settleEvents({ ...settle, done: [first.id], later });
  await catalogue.settleEvents({ ...settle, done: [first.id], later: [] });
  assert.deepEqual(await events(catalogue), [{ ...second, ...later[0] }, third]);
  const rest = await catalogue.readEvents({ ...settle, after: second.id, limit: 10 });
  assert.deepEqual(rest.events, [third]);
  const status = await catalogue.eventStatus({ limit: 10 });
  assert.deepEqual(status, [
    {
      queue: 'notification',
      bucketId: 1,
      waiting: 2,
      dropped: 0,
      full: false,
      bucket: 'b',
      oldestMs: second.atMs,
      problem: 'down',
    },
  ]);
  await checkInvariants(world.store);
});

test('a full backlog drops events and says so, and never refuses a write', async () => {
  const world = await createWorld();
  const settings = { store: world.store, effects: testEffects(world.clock, 5), eventsMax: 2 };
  const catalogue = createCatalogue(settings);
  const full = { ...world, catalogue };
  value(await catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
  value(await catalogue.setVersioning({ bucket: 'b', versioning: 'Enabled' }));
  for (const name of ['notification', 'replication']) {
    value(await catalogue.setBucketConfig({ bucket: 'b', name, value: '{}' }));
  }
  const origin = { ...ORIGIN, replicate: [{ prefix: '' }] };
  for (const key of ['a', 'b', 'c']) value(await put(full, key, origin));
  assert.equal((await events(catalogue)).length, 2);
  const status = await catalogue.eventStatus({ limit: 10 });
  assert.deepEqual(
    status.map(({ queue, waiting, dropped, full: isFull }) => [queue, waiting, dropped, isFull]),
    [
      ['notification', 2, 1, true],
      ['replication', 2, 1, true],
    ],
  );
  const { object } = value(await catalogue.getObject({ bucket: 'b', key: 'c' }));
  assert.equal(object.replication, 'FAILED', 'nothing says PENDING that has no event');
  const [first] = await events(catalogue);
  const settle = { queue: 'notification' as const, bucketId: 1, later: [] };
  await catalogue.settleEvents({ ...settle, done: [first?.id ?? ''] });
  value(await put(full, 'd', origin));
  assert.deepEqual(shapes(await events(catalogue)), [
    ['ObjectCreated:Put', 'b'],
    ['ObjectCreated:Put', 'd'],
  ]);
  await checkInvariants(world.store);
});

test('the events of a deleted bucket go with it', async () => {
  const world = await listening();
  const { catalogue } = world;
  value(await put(world, 'k'));
  await catalogue.leaseEvents({ queue: 'notification', holder: 'one', leaseMs: 1000 });
  value(await catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  value(await catalogue.deleteBucket({ bucket: 'b' }));
  await drainGarbage(catalogue);
  assert.equal((await rowsOf(world.store, 'e')).length, 0);
  assert.equal((await rowsOf(world.store, 'E')).length, 0);
});

test('what matches a rule is PENDING with its event, in one commit', async () => {
  const world = await listening('replication', true);
  const { catalogue } = world;
  const tags = [{ key: 'x', value: '1' }];
  const origin: Origin = {
    ...ORIGIN,
    replicate: [
      { prefix: 'in/', tags },
      { prefix: 'all/', deleteMarkers: true },
    ],
  };
  const statusOf = async (key: string) =>
    value(await catalogue.getObject({ bucket: 'b', key })).object.replication;
  value(await put(world, 'out', origin));
  assert.equal(await statusOf('out'), undefined);
  value(await put(world, 'in/plain', origin));
  assert.equal(await statusOf('in/plain'), undefined);
  value(await put(world, 'in/tagged', origin, { x: '1', y: '2' }));
  assert.equal(await statusOf('in/tagged'), 'PENDING');
  value(await put(world, 'all/k', origin));
  value(await put(world, 'all/copy', { ...origin, cause: 'replica' }));
  assert.equal(await statusOf('all/copy'), 'REPLICA');
  value(await catalogue.deleteObject({ bucket: 'b', key: 'all/k', origin }));
  value(await catalogue.deleteObject({ bucket: 'b', key: 'in/tagged', origin }));
  assert.deepEqual(shapes(await events(catalogue, 'replication')), [
    ['ObjectCreated:Put', 'in/tagged'],
    ['ObjectCreated:Put', 'all/k'],
    ['ObjectRemoved:DeleteMarkerCreated', 'all/k'],
  ]);
  assert.deepEqual(await events(catalogue), []);
});

test('the status of a replication is set on exactly the version, and changed tags reset it', async () => {
  const world = await listening('replication', true);
  const { catalogue } = world;
  const origin: Origin = { ...ORIGIN, replicate: [{ prefix: '' }] };
  const old = value(await put(world, 'k', origin));
  const current = value(await put(world, 'k', origin));
  const set = (version: string, status: 'COMPLETED' | 'FAILED') =>
    catalogue.setReplication({ bucket: 'b', key: 'k', version, status });
  assert.deepEqual(value(await set(old.version, 'COMPLETED')), { changed: true });
  assert.deepEqual(value(await set('0'.repeat(32), 'COMPLETED')), { changed: false });
  const read = async (versionId: string | undefined) =>
    value(await catalogue.getObject({ bucket: 'b', key: 'k', versionId })).object.replication;
  assert.equal(await read(old.versionId), 'COMPLETED');
  assert.equal(await read(current.versionId), 'PENDING');
  const tags = [{ key: 't', value: 'v' }];
  const name = { bucket: 'b', key: 'k', versionId: old.versionId };
  value(await catalogue.setObjectTags({ ...name, tags, origin }));
  assert.equal(await read(old.versionId), 'PENDING');
  assert.deepEqual(shapes(await events(catalogue, 'replication')).at(-1), [
    'ObjectTagging:Put',
    'k',
  ]);
});

test('lifecycle waits for the replica, and tells that it was lifecycle', async () => {
  const world = await listening('replication', true);
  const { catalogue, clock } = world;
  const rules = [{ id: 'r', enabled: true, filter: {}, expiration: { days: 1 } }];
  const config = { bucket: 'b', name: LIFECYCLE_CONFIG, value: encodeLifecycle({ rules }) };
  value(await catalogue.setBucketConfig(config));
  value(await catalogue.setBucketConfig({ bucket: 'b', name: 'notification', value: '{}' }));
  const origin: Origin = { ...ORIGIN, replicate: [{ prefix: '', deleteMarkers: true }] };
  const { version } = value(await put(world, 'k', origin));
  clock.ms += 3 * DAY_MS;
  const expire = async () => {
    const bucket = (await catalogue.lifecycle.ruled('b')) ?? assert.fail();
    return catalogue.lifecycle.expire(bucket, { kind: 'current', key: 'k', version });
  };
  assert.equal(await expire(), 'changed');
  value(await catalogue.setReplication({ bucket: 'b', key: 'k', version, status: 'COMPLETED' }));
  assert.equal(await expire(), 'marked');
  assert.deepEqual(
    (await events(catalogue)).map(({ type, account }) => [type, account]),
    [
      ['ObjectCreated:Put', OWNER],
      ['LifecycleExpiration:DeleteMarkerCreated', ''],
    ],
  );
  assert.equal((await events(catalogue, 'replication')).length, 1, 'its marker stays here');
});

test('a failed replication is an event for those who want to know', async () => {
  const world = await listening('notification', true);
  const { catalogue } = world;
  value(await catalogue.setBucketConfig({ bucket: 'b', name: 'replication', value: '{}' }));
  const { version } = value(await put(world, 'k', { ...ORIGIN, replicate: [{ prefix: '' }] }));
  value(await catalogue.setReplication({ bucket: 'b', key: 'k', version, status: 'FAILED' }));
  assert.deepEqual(
    (await events(catalogue)).map(({ type }) => type),
    ['ObjectCreated:Put', 'Replication:OperationFailedReplication'],
  );
  assert.equal((await events(catalogue, 'replication')).length, 1);
});

test('an event is lost or invented in no race', async () => {
  const inner = createMemoryStore();
  const { store, beforeNextCommit } = interrupted(inner);
  const world = await createWorld({ store });
  value(await world.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
  const config = { bucket: 'b', name: 'notification', value: '{}' };
  // The configuration comes between the decision and the commit of the first write.
  beforeNextCommit(() => world.another(2).setBucketConfig(config));
  value(await put(world, 'k'));
  assert.equal((await events(world.catalogue)).length, 1, 'the write came after the configuration');
  beforeNextCommit(() => world.another(3).deleteObject({ bucket: 'b', key: 'k' }));
  value(await world.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  assert.equal((await events(world.catalogue)).length, 2, 'it was deleted once');
  await checkInvariants(inner);
});

test('the events of any history are those of its commits', async () => {
  const step = fc.record({
    kind: fc.constantFrom('put', 'delete', 'tag', 'drop'),
    key: fc.constantFrom('a', 'b'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.boolean(), async (steps, versioned) => {
      const world = await listening('notification', versioned);
      const { catalogue } = world;
      const expected: [EventType, string][] = [];
      const standing = new Map<string, string[]>();
      for (const { kind, key } of steps) {
        const versions = standing.get(key) ?? [];
        standing.set(key, versions);
        if (kind === 'put') {
          const { versionId } = value(await put(world, key));
          if (!versioned) versions.length = 0;
          versions.push(versionId ?? 'null');
          expected.push(['ObjectCreated:Put', key]);
        } else if (kind === 'tag') {
          const tags = [{ key: 't', value: '' }];
          const answer = await catalogue.setObjectTags({ bucket: 'b', key, tags });
          if (answer.ok) expected.push(['ObjectTagging:Put', key]);
        } else if (kind === 'delete') {
          const { existed, marker } = value(await catalogue.deleteObject({ bucket: 'b', key }));
          if (marker) expected.push(['ObjectRemoved:DeleteMarkerCreated', key]);
          else if (existed) expected.push(['ObjectRemoved:Delete', key]);
          if (!versioned) versions.length = 0;
        } else {
          const versionId = versions.pop();
          if (versionId === undefined) continue;
          value(await catalogue.deleteObject({ bucket: 'b', key, versionId }));
          expected.push(['ObjectRemoved:Delete', key]);
        }
      }
      assert.deepEqual(shapes(await events(catalogue)), expected);
      await checkInvariants(world.store);
    }),
    { numRuns: 40 },
  );
});
