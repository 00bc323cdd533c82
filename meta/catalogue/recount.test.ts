import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STAMP_BYTES } from '../engine/kv.ts';
import { blobKey, partListKey } from './keyspace.ts';
import { recount } from './recount.ts';
import { blobCodec, objectCodec, partListCodec } from './records.ts';
import {
  complete,
  freshPart,
  MIB,
  startUpload,
  value,
  type World,
  worldWithBucket,
} from './test-support.ts';

async function findings(w: World, targetsMax = 1000): Promise<string[]> {
  const sentences: string[] = [];
  const parts = { store: w.store, garbage: w.catalogue.garbage, turn: () => {}, targetsMax };
  await recount({ ...parts, found: (sentence) => sentences.push(sentence) });
  return sentences;
}

let stamps = 0;

async function write(w: World, set: [Buffer, Buffer][]): Promise<void> {
  const id = Buffer.alloc(STAMP_BYTES, 0xaa);
  id.writeUInt32BE(stamps++, 0);
  const rows = set.map(([key, bytes]) => ({ key, value: bytes }));
  await w.store.commit({ id, checks: [], set: rows, del: [], add: [] });
}

/** Objects, overwritten ones, an open, a completed and an aborted upload. */
async function busyWorld(): Promise<World> {
  const w = await worldWithBucket();
  for (let n = 0; n < 30; n++) await w.put('b', `k${n % 20}`, n % 7 === 0 ? 0 : 100 + n);
  for (const key of ['open', 'complete', 'aborted']) {
    const upload = await startUpload(w, key);
    for (const number of [1, 2, 5]) {
      value(await w.catalogue.putPart(freshPart(w, upload, number, 5 * MIB)));
    }
    const { parts } = value(await w.catalogue.listParts({ ...upload, after: 0, limit: 10 }));
    // One part stays out of the object, and goes later.
    if (key === 'complete') value(await complete(w.catalogue, upload, parts.slice(0, 2)));
    if (key === 'aborted') value(await w.catalogue.abortUpload(upload));
  }
  return w;
}

test('a recount finds nothing in a catalogue that is in order, however many passes it takes', async () => {
  const w = await busyWorld();
  assert.deepEqual(await findings(w), []);
  assert.deepEqual(await findings(w, 5), []);
});

test('a recount finds wrong reference counts of blobs and part lists in any pass', async () => {
  const w = await busyWorld();
  const { data } = await w.put('b', 'victim', 10);
  assert.ok(data.kind === 'blob');
  const { size, blockSize } = data;
  await write(w, [[blobKey(data.blob), blobCodec.encode({ size, blockSize, refs: 2 })]]);
  const found = value(await w.catalogue.getObject({ bucket: 'b', key: 'complete' }));
  assert.ok(found.object.data.kind === 'parts');
  const header = partListKey(found.object.data.list, 0);
  const [row] = await w.store.get([header]);
  assert.ok(row);
  const list = partListCodec.decode(row.value);
  await write(w, [[header, partListCodec.encode({ ...list, refs: 9 })]]);
  for (const targetsMax of [1000, 3]) {
    assert.deepEqual((await findings(w, targetsMax)).sort(), [
      `blob ${data.blob} counts 2 references, there are 1`,
      `part list ${found.object.data.list} counts 9 references, there are 1`,
    ]);
  }
});

test('a recount does not take writes that go on meanwhile for contradictions', async () => {
  const w = await busyWorld();
  let n = 0;
  const range: World['store']['range'] = async (query) => {
    const rows = await w.store.range(query);
    // Between any two looks something comes, goes, or is overwritten.
    await w.put('b', `k${n % 20}`, 50 + n);
    if (n % 3 === 0) await w.catalogue.deleteObject({ bucket: 'b', key: `k${(n + 7) % 20}` });
    n += 1;
    return rows;
  };
  const sentences: string[] = [];
  await recount({
    store: { get: (keys) => w.store.get(keys), range },
    garbage: w.catalogue.garbage,
    turn: () => {},
    found: (sentence) => sentences.push(sentence),
  });
  assert.deepEqual(sentences, []);
  assert.ok(n > 10);
});

test('a recount tells wrong usage of a bucket', async () => {
  const w = await busyWorld();
  const { objects, bytes } = value(await w.catalogue.bucketUsage({ bucket: 'b' }));
  const [row] = await w.store.range({ start: Buffer.from('o'), end: Buffer.from('p'), limit: 1 });
  assert.ok(row);
  const object = objectCodec.decode(row.value);
  await write(w, [[row.key, objectCodec.encode({ ...object, size: object.size + 1 })]]);
  assert.deepEqual(await findings(w), [
    `bucket b counts ${objects} objects of ${bytes} bytes, there are ${objects} of ${bytes + 1}`,
  ]);
});
