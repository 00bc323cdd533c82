import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeBlobId } from '../../base/ids.ts';
import { createMemoryStore } from '../engine/memory.ts';
import {
  checkInvariants,
  checkNothingLeft,
  createWorld,
  drainGarbage,
  freshPart,
  interrupted,
  OWNER,
  rowsOf,
  value,
  type World,
} from './test-support.ts';

async function world(): Promise<World> {
  const made = await createWorld();
  value(await made.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
  return made;
}

/** Makes `count` blobs garbage, oldest first. */
async function makeGarbage(w: World, count: number): Promise<string[]> {
  const blobs: string[] = [];
  for (let index = 0; index < count; index++) {
    const { data } = await w.put('b', 'k', 10);
    if (data.kind === 'blob') blobs.push(data.blob);
    w.clock.ms += 1;
  }
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  return blobs;
}

const blobsOf = (entries: Awaited<ReturnType<World['catalogue']['garbage']['next']>>) =>
  entries.map((entry) => (entry.kind === 'blob' ? entry.blob : entry.kind));

test('the garbage queue hands out the oldest first, page by page', async () => {
  const w = await world();
  const blobs = await makeGarbage(w, 7);
  const { garbage } = w.catalogue;
  const first = await garbage.next(3);
  assert.deepEqual(blobsOf(first), blobs.slice(0, 3));
  const second = await garbage.next(3, first[2]?.id);
  assert.deepEqual(blobsOf(second), blobs.slice(3, 6));
  await garbage.done(second.map((entry) => entry.id));
  // The entry that a page went on from need not stand any more.
  assert.deepEqual(blobsOf(await garbage.next(3, second[2]?.id)), blobs.slice(6));
  assert.deepEqual(blobsOf(await garbage.next(10)), [...blobs.slice(0, 3), ...blobs.slice(6)]);
  assert.equal(await garbage.depth(), 4);
  await checkInvariants(w.store);
});

test('done of what is done already, or named twice, counts nothing twice', async () => {
  const w = await world();
  await makeGarbage(w, 2);
  const ids = (await w.catalogue.garbage.next(10)).map((entry) => entry.id);
  await w.catalogue.garbage.done([...ids, ...ids]);
  await w.catalogue.garbage.done(ids);
  assert.equal(await w.catalogue.garbage.depth(), 0);
  await checkNothingLeft(w.store);
});

test('expanding an entry again, or an old copy of it, changes nothing more', async () => {
  const w = await world();
  const upload = value(
    await w.catalogue.createUpload({ bucket: 'b', key: 'k', owner: OWNER, system: {}, user: {} }),
  );
  const parts: { number: number; etag: string }[] = [];
  for (let number = 1; number <= 450; number++) {
    const part = freshPart(w, upload, number, 5 * 1024 * 1024);
    value(await w.catalogue.putPart(part));
    if (number % 2 === 0) parts.push({ number, etag: part.etag });
  }
  const { bucket, key, uploadId } = upload;
  value(await w.catalogue.completeUpload({ bucket, key, uploadId, parts }));
  const [entry] = await w.catalogue.garbage.next(1);
  assert.ok(entry?.kind === 'upload');
  assert.equal(await w.catalogue.garbage.expand(entry), false);
  await checkInvariants(w.store);
  while (!(await w.catalogue.garbage.expand(entry)));
  assert.equal(await w.catalogue.garbage.expand(entry), true);
  await w.catalogue.garbage.done([entry.id]);
  await checkInvariants(w.store);
  assert.equal(await w.catalogue.garbage.depth(), 225, 'the other parts');
  value(await w.catalogue.deleteObject({ bucket, key }));
  const list = (await w.catalogue.garbage.next(1000)).find((other) => other.kind === 'parts');
  assert.ok(list !== undefined);
  while (!(await w.catalogue.garbage.expand(list))) await checkInvariants(w.store);
  assert.equal(await w.catalogue.garbage.expand(list), true);
  await checkInvariants(w.store);
  assert.equal(await w.catalogue.garbage.depth(), 450);
});

test('a blob is not expanded, and what is no id is not taken off', async () => {
  const w = await world();
  await makeGarbage(w, 1);
  const [entry] = await w.catalogue.garbage.next(1);
  assert.ok(entry !== undefined);
  await assert.rejects(w.catalogue.garbage.expand(entry), { kind: 'invalid' });
  await assert.rejects(w.catalogue.garbage.done(['x']), { kind: 'invalid' });
});

test('two servers that work on one queue take everything off once', async () => {
  const w = await world();
  for (const key of ['a', 'b', 'c']) {
    const upload = value(
      await w.catalogue.createUpload({ bucket: 'b', key, owner: OWNER, system: {}, user: {} }),
    );
    for (let number = 1; number <= 30; number++) {
      value(await w.catalogue.putPart(freshPart(w, upload, number, 10)));
    }
    value(await w.catalogue.abortUpload(upload));
  }
  const other = w.another(3);
  await Promise.all([drainGarbage(w.catalogue), drainGarbage(other)]);
  await checkNothingLeft(w.store);
});

/* ------------------------------------------------------------------ repairs */

test('a report queues one repair per blob and node, however often it comes', async () => {
  const w = await world();
  const { data } = await w.put('b', 'k', 10);
  assert.ok(data.kind === 'blob');
  const { blob } = data;
  const missing = { blob, node: 'node-1', reason: 'missing' as const };
  const corrupt = { ...missing, reason: 'corrupt' as const };
  await w.catalogue.repairs.report([missing, missing, { ...missing, node: 'node-2' }]);
  await Promise.all([
    w.catalogue.repairs.report([missing, corrupt]),
    w.another(4).repairs.report([corrupt, missing]),
  ]);
  assert.equal(await w.catalogue.repairs.depth(), 2);
  await checkInvariants(w.store);
});

test('a report of a blob that nothing refers to is dropped', async () => {
  const w = await world();
  const [dead] = await makeGarbage(w, 1);
  const reports = [makeBlobId(7, 999), dead].map((blob) => ({
    blob: blob as ReturnType<typeof makeBlobId>,
    node: 'node-1',
    reason: 'missing' as const,
  }));
  await w.catalogue.repairs.report(reports);
  assert.equal(await w.catalogue.repairs.depth(), 0);
  await assert.rejects(
    w.catalogue.repairs.report([{ blob: 'x' as never, node: 'n', reason: 'missing' }]),
    { kind: 'invalid' },
  );
});

test('a report that comes while its blob goes queues nothing', async () => {
  const { store, beforeNextCommit } = interrupted(createMemoryStore());
  const w = await createWorld({ store });
  value(await w.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
  const { data } = await w.put('b', 'k', 10);
  assert.ok(data.kind === 'blob');
  const other = w.another(2);
  beforeNextCommit(async () => {
    value(await other.deleteObject({ bucket: 'b', key: 'k' }));
    await drainGarbage(other);
  });
  await w.catalogue.repairs.report([{ blob: data.blob, node: 'node-1', reason: 'corrupt' }]);
  assert.equal(await w.catalogue.repairs.depth(), 0);
  await checkNothingLeft(w.store);
});

test('the repairs of a blob leave the queue with the blob', async () => {
  const w = await world();
  const { data } = await w.put('b', 'k', 10);
  const other = await w.put('b', 'other', 10);
  assert.ok(data.kind === 'blob' && other.data.kind === 'blob');
  const nodes = ['node-1', 'node-2'];
  const reports = [data.blob, other.data.blob].flatMap((blob) =>
    nodes.map((node) => ({ blob, node, reason: 'missing' as const })),
  );
  await w.catalogue.repairs.report(reports);
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  await checkInvariants(w.store);
  await drainGarbage(w.catalogue);
  assert.equal(await w.catalogue.repairs.depth(), 2);
  assert.equal((await rowsOf(w.store, 'qr')).length, 2);
  await checkNothingLeft(w.store);
});
