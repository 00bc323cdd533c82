import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryStore } from '../engine/memory.ts';
import { createCatalogue } from './catalogue.ts';
import { bucketKey } from './keyspace.ts';
import { bucketCodec } from './records.ts';
import {
  checkInvariants,
  checkNothingLeft,
  createWorld,
  drainGarbage,
  freshPart,
  OWNER,
  refusal,
  testEffects,
  value,
  type World,
} from './test-support.ts';

const create = ({ catalogue }: World, name: string, owner = OWNER) =>
  catalogue.createBucket({ name, owner, region: 'eu-west-1' });

test('CreateBucket makes a bucket that HeadBucket finds, with a number of its own', async () => {
  const w = await createWorld();
  const first = value(await create(w, 'one'));
  const second = value(await create(w, 'two'));
  assert.notEqual(first.id, second.id);
  assert.deepEqual(value(await w.catalogue.getBucket({ bucket: 'one' })), first);
  assert.equal(await w.catalogue.bucketCount(), 2);
});

test('CreateBucket tells my bucket from that of another', async () => {
  const w = await createWorld();
  value(await create(w, 'one'));
  assert.equal(refusal(await create(w, 'one')), 'BucketAlreadyOwnedByYou');
  assert.equal(refusal(await create(w, 'one', 'cd'.repeat(32))), 'BucketAlreadyExists');
  await checkInvariants(w.store);
});

test('CreateBucket refuses one more than an owner may have, until one is deleted', async () => {
  const store = createMemoryStore();
  const effects = testEffects({ ms: 1 });
  const catalogue = createCatalogue({ store, effects, bucketsMax: 2 });
  const make = (name: string, owner = OWNER) =>
    catalogue.createBucket({ name, owner, region: 'r' });
  const answers = await Promise.all(['aaa', 'bbb', 'ccc', 'ddd'].map((name) => make(name)));
  const refused = answers.filter((answer) => !answer.ok);
  assert.deepEqual(refused.map(refusal), ['TooManyBuckets', 'TooManyBuckets']);
  value(await make('eee', 'another'));
  const mine = (await catalogue.listBuckets({ prefix: '', limit: 10 })).buckets[0];
  value(await catalogue.deleteBucket({ bucket: mine?.name ?? '' }));
  value(await make('fff'));
});

test('a bucket that is created again is another one: nothing of the old shows', async () => {
  const w = await createWorld();
  const before = value(await create(w, 'one'));
  await w.put('one', 'k');
  value(await w.catalogue.deleteObject({ bucket: 'one', key: 'k' }));
  const upload = value(
    await w.catalogue.createUpload({ bucket: 'one', key: 'k', owner: OWNER, system: {}, user: {} }),
  );
  value(await w.catalogue.deleteBucket({ bucket: 'one' }));
  const after = value(await create(w, 'one'));
  assert.ok(after.id > before.id);
  assert.equal(refusal(await w.catalogue.getUpload(upload)), 'NoSuchUpload');
  assert.deepEqual(value(await w.catalogue.bucketUsage({ bucket: 'one' })), {
    objects: 0,
    bytes: 0,
  });
  await checkInvariants(w.store);
});

test('another metadata server sees a name change hands, whatever it remembers of it', async () => {
  const w = await createWorld();
  const other = w.another(2);
  value(await create(w, 'one'));
  await w.put('one', 'k');
  value(await other.getObject({ bucket: 'one', key: 'k' }));
  value(await w.catalogue.deleteObject({ bucket: 'one', key: 'k' }));
  value(await w.catalogue.deleteBucket({ bucket: 'one' }));
  assert.equal(refusal(await other.getObject({ bucket: 'one', key: 'k' })), 'NoSuchBucket');
  value(await create(w, 'one'));
  assert.equal(refusal(await other.getObject({ bucket: 'one', key: 'k' })), 'NoSuchKey');
  const put = { writer: 7, bucket: 'one', key: 'k', object: w.object(5), missing: [] };
  value(await other.putObject(put));
  value(await w.catalogue.getObject({ bucket: 'one', key: 'k' }));
  await checkInvariants(w.store);
});

test('DeleteBucket is refused while there are keys, and the bucket goes on as before', async () => {
  const w = await createWorld();
  value(await create(w, 'one'));
  await w.put('one', '\uffff');
  assert.equal(refusal(await w.catalogue.deleteBucket({ bucket: 'one' })), 'BucketNotEmpty');
  await w.put('one', 'more');
  assert.equal(refusal(await w.catalogue.deleteBucket({ bucket: 'none' })), 'NoSuchBucket');
  await checkInvariants(w.store);
});

test('DeleteBucket drops open uploads and their parts through the queue', async () => {
  const w = await createWorld();
  value(await create(w, 'one'));
  for (const key of ['a', 'b']) {
    const upload = value(
      await w.catalogue.createUpload({ bucket: 'one', key, owner: OWNER, system: {}, user: {} }),
    );
    value(await w.catalogue.putPart(freshPart(w, upload, 1, 10)));
    value(await w.catalogue.putPart(freshPart(w, upload, 2, 20)));
  }
  value(await w.catalogue.deleteBucket({ bucket: 'one' }));
  await checkInvariants(w.store);
  const removed = await drainGarbage(w.catalogue);
  assert.equal(removed.length, 4);
  await checkNothingLeft(w.store);
  assert.equal(await w.catalogue.bucketCount(), 0);
});

test('a bucket that a crash left half deleted serves reads and takes writes again', async () => {
  for (const next of ['put', 'delete', 'create'] as const) {
    const w = await createWorld();
    value(await create(w, 'one'));
    const [entry] = await w.store.get([bucketKey('one')]);
    const row = bucketCodec.decode(entry?.value ?? Buffer.alloc(0));
    const marked = bucketCodec.encode({ ...row, deleting: 'dead-boot-0' });
    await w.store.commit({
      id: Buffer.alloc(16, 9),
      checks: [],
      set: [{ key: bucketKey('one'), value: marked }],
      del: [],
      add: [],
    });
    value(await w.catalogue.getBucket({ bucket: 'one' }));
    if (next === 'put') await w.put('one', 'k');
    if (next === 'delete') value(await w.catalogue.deleteBucket({ bucket: 'one' }));
    if (next === 'create') assert.equal(refusal(await create(w, 'one')), 'BucketAlreadyOwnedByYou');
    await checkInvariants(w.store);
  }
});

test('a deletion that another server undid does not remove the bucket after all', async () => {
  let hold: Promise<void> | undefined;
  let ranges = 0;
  const inner = createMemoryStore();
  const w = await createWorld({
    store: {
      ...inner,
      range: async (range) => {
        ranges += 1;
        await hold;
        return inner.range(range);
      },
    },
  });
  const other = createCatalogue({ store: inner, effects: testEffects(w.clock, 9), lane: 1 });
  value(await create(w, 'one'));
  let release = () => {};
  hold = new Promise((resolve) => {
    release = resolve;
  });
  const deletion = w.catalogue.deleteBucket({ bucket: 'one' });
  while (ranges === 0) await new Promise((resolve) => setImmediate(resolve));
  // The look through the bucket hangs; another server takes the mark for a dead one's.
  const put = { writer: 7, bucket: 'one', key: 'k', object: w.object(5), missing: [] };
  const written = other.putObject(put);
  value(await written);
  release();
  assert.notEqual(refusal(await deletion), 'NoSuchBucket');
  value(await other.getObject({ bucket: 'one', key: 'k' }));
  await checkInvariants(inner);
});

test('ListBuckets goes through names in byte order, by prefix and page', async () => {
  const w = await createWorld();
  const names = ['b-1', 'b', 'b.1', 'ab', 'c', 'a'];
  for (const name of names) value(await create(w, name));
  const list = async (query: { prefix: string; after?: string; limit: number }) => {
    const { buckets, next } = await w.catalogue.listBuckets(query);
    return { names: buckets.map((bucket) => bucket.name), next };
  };
  assert.deepEqual(await list({ prefix: '', limit: 10 }), {
    names: [...names].sort(),
    next: undefined,
  });
  assert.deepEqual(await list({ prefix: 'b', limit: 2 }), { names: ['b', 'b-1'], next: 'b-1' });
  assert.deepEqual(await list({ prefix: 'b', after: 'b-1', limit: 2 }), {
    names: ['b.1'],
    next: undefined,
  });
  assert.deepEqual(await list({ prefix: 'b', after: 'c', limit: 2 }), {
    names: [],
    next: undefined,
  });
  assert.deepEqual(await list({ prefix: '', limit: 0 }), { names: [], next: undefined });
});
