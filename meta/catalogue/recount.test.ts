import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { test } from 'node:test';
import fc from 'fast-check';
import type { BlobId } from '../../base/ids.ts';
import { type KeyValueStore, STAMP_BYTES } from '../engine/kv.ts';
import { createMemoryStore } from '../engine/memory.ts';
import { blobKey, partListKey, usageKey } from './keyspace.ts';
import { blobCodec, objectCodec, partListCodec } from './records.ts';
import {
  checkInvariants,
  complete,
  createWorld,
  drainGarbage,
  freshPart,
  MIB,
  OWNER,
  startUpload,
  testEffects,
  value,
  type World,
  WRITER,
} from './test-support.ts';

async function findings(w: World, targetsMax = 1000): Promise<string[]> {
  const sentences: string[] = [];
  const parts = { turn: () => {}, targetsMax };
  await w.catalogue.recount({ ...parts, found: (sentence) => sentences.push(sentence) });
  return sentences;
}

/** Returns how many rows were made right. */
async function mend(w: World): Promise<number> {
  let sum = 0;
  const mended = (rows: number) => {
    sum += rows;
  };
  await w.catalogue.recount({ turn: () => {}, found: () => {}, mend: { mended } });
  return sum;
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** A world in which something happens between any two looks at a range, once `meanwhile` is set. */
async function restlessWorld() {
  const inner = createMemoryStore();
  let between: (() => Promise<unknown>) | undefined;
  let running: Promise<unknown> | undefined;
  const inside = new AsyncLocalStorage<boolean>();
  const range: World['store']['range'] = async (query) => {
    const rows = await inner.range(query);
    if (between === undefined || inside.getStore() === true) return rows;
    running ??= inside.run(true, between).finally(() => {
      running = undefined;
    });
    // Mostly it ends here; when it has to wait, as writes to a held bucket do, we go on.
    for (let turn = 0; turn < 200 && running !== undefined; turn++) await nextTurn();
    return rows;
  };
  const w = await busyWorld({ ...inner, range });
  const meanwhile = async (run: (() => Promise<unknown>) | undefined) => {
    between = run;
    await running;
  };
  return { w, meanwhile };
}

let stamps = 0;

function freshStamp(): Buffer {
  const id = Buffer.alloc(STAMP_BYTES, 0xaa);
  id.writeUInt32BE(stamps++, 0);
  return id;
}

async function write(w: World, set: [Buffer, Buffer][]): Promise<void> {
  const id = freshStamp();
  const rows = set.map(([key, bytes]) => ({ key, value: bytes }));
  await w.store.commit({ id, checks: [], set: rows, del: [], add: [] });
}

/** Objects, overwritten ones, an open, a completed and an aborted upload. */
async function busyWorld(store?: KeyValueStore): Promise<World> {
  const w = await createWorld(store === undefined ? {} : { store });
  value(await w.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
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
  const { w, meanwhile } = await restlessWorld();
  let n = 0;
  await meanwhile(async () => {
    await w.put('b', `k${n % 20}`, 50 + n);
    if (n % 3 === 0) await w.catalogue.deleteObject({ bucket: 'b', key: `k${(n + 7) % 20}` });
    n += 1;
  });
  assert.deepEqual(await findings(w), []);
  assert.ok(n > 10);
});

/** Puts a delete marker on the key, or takes it off. */
async function toggle(w: World, key: string): Promise<void> {
  const page = value(await w.catalogue.listVersions({ bucket: 'b', prefix: key, limit: 1 }));
  const [newest] = page.versions;
  if (newest?.marker === true) {
    await w.catalogue.deleteObject({ bucket: 'b', key, versionId: newest.versionId });
  } else await w.catalogue.deleteObject({ bucket: 'b', key });
}

test('versions and parts that move while they are counted are no contradictions', async () => {
  const { w, meanwhile } = await restlessWorld();
  value(await w.catalogue.setVersioning({ bucket: 'b', versioning: 'Enabled' }));
  for (let n = 0; n < 10; n++) await w.put('b', `k${n}`);
  const uploads = await Promise.all(
    Array.from({ length: 8 }, async (_, n) => {
      const upload = await startUpload(w, `late${n}`);
      value(await w.catalogue.putPart(freshPart(w, upload, 1, 5 * MIB)));
      return upload;
    }),
  );
  let n = 0;
  const random = testEffects(w.clock, 7).random;
  await meanwhile(async () => {
    const upload = uploads[n++];
    // A part goes into a list.
    if (upload !== undefined) {
      const { parts } = value(await w.catalogue.listParts({ ...upload, after: 0, limit: 10 }));
      value(await complete(w.catalogue, upload, parts));
    }
    // Current versions go below a delete marker, or come up again.
    for (let key = 0; key < 10; key++) {
      if (random.fraction() < 0.5) await toggle(w, `k${key}`);
    }
  });
  for (let round = 0; round < 10; round++) assert.equal(await mend(w), 0);
  await meanwhile(undefined);
  assert.deepEqual(await findings(w), []);
  await checkInvariants(w.store);
});

async function plantBlobRefs(w: World, blob: BlobId, refs: number): Promise<void> {
  const [row] = await w.store.get([blobKey(blob)]);
  const { size, blockSize } =
    row == null ? { size: 10, blockSize: MIB } : blobCodec.decode(row.value);
  await write(w, [[blobKey(blob), blobCodec.encode({ size, blockSize, refs })]]);
}

async function plantListRefs(w: World, key: string, refs: number): Promise<string> {
  const { object } = value(await w.catalogue.getObject({ bucket: 'b', key }));
  assert.ok(object.data.kind === 'parts');
  const header = partListKey(object.data.list, 0);
  const [row] = await w.store.get([header]);
  assert.ok(row);
  await write(w, [[header, partListCodec.encode({ ...partListCodec.decode(row.value), refs })]]);
  return object.data.list;
}

async function copyOf(w: World, key: string, to: string) {
  const found = await w.catalogue.getObject({ bucket: 'b', key });
  if (!found.ok) return found;
  const source = { bucket: 'b', key, version: found.value.object.version };
  return w.catalogue.copyObject({ writer: WRITER, bucket: 'b', key: to, source, owner: OWNER });
}

/** Counts of every kind that are wrong, in a world where something refers to each. */
async function plantEverything(w: World): Promise<void> {
  const blobOf = async (key: string): Promise<BlobId> => {
    const { data } = await w.put('b', key, 10);
    assert.ok(data.kind === 'blob');
    return data.blob;
  };
  await plantBlobRefs(w, await blobOf('too-many'), 4);
  const shared = await blobOf('too-few');
  value(await copyOf(w, 'too-few', 'too-few-copy'));
  await plantBlobRefs(w, shared, 1);
  // Forgotten by everybody.
  await plantBlobRefs(w, w.blob(10).blob, 1);
  // Its last reference was counted away while another one stands: the blob waits as garbage.
  const doomed = await blobOf('doomed');
  value(await copyOf(w, 'doomed', 'doomed-copy'));
  await plantBlobRefs(w, doomed, 1);
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'doomed-copy' }));
  await plantListRefs(w, 'complete', 7);
  for (const key of ['list', 'list-doomed']) {
    const upload = await startUpload(w, key);
    value(await w.catalogue.putPart(freshPart(w, upload, 1, 5 * MIB)));
    const { parts } = value(await w.catalogue.listParts({ ...upload, after: 0, limit: 10 }));
    value(await complete(w.catalogue, upload, parts));
    value(await copyOf(w, key, `${key}-copy`));
    await plantListRefs(w, key, 1);
  }
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'list-doomed-copy' }));
  const add = [
    { key: usageKey(1, 0, 'objects'), delta: -3n },
    { key: usageKey(1, 0, 'bytes'), delta: 12_345n },
  ];
  await w.store.commit({ id: freshStamp(), checks: [], set: [], del: [], add });
}

test('what is miscounted is made right: counts of blobs, of part lists, and usage', async () => {
  const w = await busyWorld();
  await plantEverything(w);
  await assert.rejects(checkInvariants(w.store));
  assert.equal((await findings(w)).length, 8);
  assert.equal(await mend(w), 8);
  await checkInvariants(w.store);
  assert.deepEqual(await findings(w), []);
  // What was forgotten is removed now, and nothing else.
  await drainGarbage(w.catalogue);
  await checkInvariants(w.store);
  for (const key of ['too-many', 'too-few', 'too-few-copy', 'doomed', 'complete', 'list-doomed']) {
    value(await w.catalogue.getObject({ bucket: 'b', key }));
  }
});

test('what is miscounted is made right among live writes, and the writes stay right', async () => {
  const operations = fc.array(
    fc.record({
      kind: fc.constantFrom('put', 'delete', 'copy', 'remove-version', 'upload', 'overwrite'),
      key: fc.constantFrom('k1', 'k2', 'too-few', 'doomed', 'complete'),
      other: fc.constantFrom('k2', 'k3', 'too-many'),
    }),
    { minLength: 5, maxLength: 40 },
  );
  await fc.assert(
    fc.asyncProperty(operations, fc.boolean(), async (steps, versioned) => {
      const { w, meanwhile } = await restlessWorld();
      if (versioned) value(await w.catalogue.setVersioning({ bucket: 'b', versioning: 'Enabled' }));
      // Counts that are too high only: one that is too low breaks the writes themselves.
      for (const key of ['too-few', 'doomed', 'too-many']) {
        const { data } = await w.put('b', key, 10);
        assert.ok(data.kind === 'blob');
        await plantBlobRefs(w, data.blob, 5);
      }
      await plantListRefs(w, 'complete', 3);
      let n = 0;
      await meanwhile(async () => {
        const step = steps[n++];
        if (step !== undefined) await live(w, step);
      });
      await mend(w);
      await meanwhile(undefined);
      // What could not be judged among the writes is made right now.
      await mend(w);
      assert.deepEqual(await findings(w), []);
      await checkInvariants(w.store);
    }),
    { numRuns: 60 },
  );
});

async function live(
  w: World,
  { kind, key, other }: { kind: string; key: string; other: string },
): Promise<void> {
  switch (kind) {
    case 'put':
    case 'overwrite':
      await w.put('b', kind === 'put' ? other : key, 10);
      return;
    case 'delete':
      await w.catalogue.deleteObject({ bucket: 'b', key });
      return;
    case 'copy':
      await copyOf(w, key, other);
      return;
    case 'remove-version': {
      const page = value(await w.catalogue.listVersions({ bucket: 'b', prefix: key, limit: 1 }));
      const versionId = page.versions[0]?.versionId;
      if (versionId !== undefined) await w.catalogue.deleteObject({ bucket: 'b', key, versionId });
      return;
    }
    default: {
      const upload = await startUpload(w, key);
      value(await w.catalogue.putPart(freshPart(w, upload, 1, 5 * MIB)));
      const { parts } = value(await w.catalogue.listParts({ ...upload, after: 0, limit: 10 }));
      value(await complete(w.catalogue, upload, parts));
    }
  }
}

test('usage of a bucket that never rests is made right while its writes wait for a moment', async () => {
  const { w, meanwhile } = await restlessWorld();
  const add = [{ key: usageKey(1, 0, 'objects'), delta: 5n }];
  await w.store.commit({ id: freshStamp(), checks: [], set: [], del: [], add });
  let writes = 0;
  await meanwhile(() => w.put('b', `new${writes++}`, 20));
  assert.equal(await mend(w), 1);
  await meanwhile(undefined);
  assert.ok(writes > 5);
  await checkInvariants(w.store);
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
