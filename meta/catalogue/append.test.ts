import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { digestOf } from '../../base/digest.ts';
import { isFailure } from '../../base/failure.ts';
import { sealedSize } from '../../base/sealed-size.ts';
import { PART_NUMBER_MAX, PARTS_PER_PAGE, type NewObject, type PartRef } from '../protocol.ts';
import {
  checkInvariants,
  complete,
  drainGarbage,
  endLease,
  freshPart,
  MIB,
  OWNER,
  refusal,
  startUpload,
  value,
  worldWithBucket,
  type World,
  WRITER,
} from './test-support.ts';

const appendTo = (w: World, key: string, offset: number, object: NewObject, more: object = {}) =>
  w.catalogue.appendObject({
    writer: WRITER,
    bucket: 'b',
    key,
    offset,
    object,
    missing: [],
    ...more,
  });

const append = (w: World, offset: number, size: number, more: object = {}) =>
  appendTo(w, 'k', offset, w.object(size), more);

const get = async (w: World, key = 'k') =>
  value(await w.catalogue.getObject({ bucket: 'b', key, withParts: true }));

async function partsOf(w: World, key = 'k'): Promise<PartRef[]> {
  const { object } = await get(w, key);
  if (object.data.kind !== 'parts') return [];
  const { list } = object.data;
  const parts: PartRef[] = [];
  for (let after = 0; ; ) {
    const page = await w.catalogue.readParts({ list, from: { after } });
    if (page.length === 0) return parts;
    for (const part of page) if (part.number > after) parts.push(part);
    after = parts.at(-1)?.number ?? Infinity;
  }
}

const join = (...etags: string[]) => {
  const hash = createHash('md5');
  for (const etag of etags) hash.update(etag.split('-')[0] ?? '', 'hex');
  return hash.digest('hex');
};

test('an append at offset 0 creates the object, and each one more adds a part', async () => {
  const w = await worldWithBucket();
  const [one, two, three] = [w.object(10, { user: { a: 'b' } }), w.object(5), w.object(7)];
  assert.equal(value(await appendTo(w, 'k', 0, one)).etag, one.etag);
  const second = value(await appendTo(w, 'k', 10, two));
  assert.equal(second.size, 15);
  assert.equal(second.etag, `${join(one.etag, two.etag)}-2`);
  const third = value(await appendTo(w, 'k', 15, three));
  assert.equal(third.etag, `${join(second.etag, three.etag)}-3`);
  const { object } = await get(w);
  assert.deepEqual([object.size, object.etag, object.user], [22, third.etag, { a: 'b' }]);
  assert.deepEqual(
    (await partsOf(w)).map(({ number, offset, size }) => [number, offset, size]),
    [
      [1, 0, 10],
      [2, 10, 5],
      [3, 15, 7],
    ],
  );
  assert.deepEqual(value(await w.catalogue.bucketUsage({ bucket: 'b' })), {
    objects: 1,
    bytes: 22,
  });
  await checkInvariants(w.store);
  assert.deepEqual(await drainGarbage(w.catalogue), []);
});

test('an offset that is not the end is InvalidWriteOffset, with the size there is', async () => {
  const w = await worldWithBucket();
  assert.equal(refusal(await append(w, 1, 5)), 'InvalidWriteOffset');
  value(await append(w, 0, 10));
  for (const offset of [0, 9, 11]) {
    const answer = await append(w, offset, 5);
    assert.equal(refusal(answer), 'InvalidWriteOffset');
    assert.deepEqual(answer.ok ? undefined : answer.detail, { ObjectSize: '10' });
  }
  assert.equal((await get(w)).object.size, 10);
  await checkInvariants(w.store);
});

test('an empty object keeps its metadata, and nothing at all is appended by an empty body', async () => {
  const w = await worldWithBucket();
  value(await appendTo(w, 'k', 0, w.object(0, { user: { a: 'b' }, system: { contentType: 'x' } })));
  value(await appendTo(w, 'k', 0, w.object(4, { user: { c: 'd' } })));
  const before = (await get(w)).object;
  assert.deepEqual([before.size, before.user], [4, { a: 'b' }]);
  value(await append(w, 4, 0));
  assert.deepEqual((await get(w)).object, before);
  await checkInvariants(w.store);
});

test('the same commit again has happened already', async () => {
  const w = await worldWithBucket();
  const objects = [w.object(3), w.object(4), w.object(5)];
  let offset = 0;
  for (const object of objects) {
    const first = value(await appendTo(w, 'k', offset, object));
    assert.deepEqual(value(await appendTo(w, 'k', offset, object)), first);
    offset += object.size;
  }
  assert.equal((await get(w)).object.size, 12);
  await checkInvariants(w.store);
});

test('of appends at one offset one wins, on one server and on two', async () => {
  const w = await worldWithBucket();
  const other = w.another(2);
  let size = 0;
  for (let round = 0; round < 10; round++) {
    const place = { writer: WRITER, bucket: 'b', key: 'k', offset: size, missing: [] };
    const command = () => ({ ...place, object: w.object(round + 1) });
    const answers = await Promise.all([
      w.catalogue.appendObject(command()),
      other.appendObject(command()),
      w.catalogue.appendObject(command()),
    ]);
    assert.equal(answers.filter((answer) => answer.ok).length, 1);
    size += round + 1;
  }
  assert.equal((await get(w)).object.size, size);
  assert.equal((await partsOf(w)).length, 10);
  await checkInvariants(w.store);
});

test('the list grows over its pages, and a reader of the object before goes on', async () => {
  const w = await worldWithBucket();
  const before = PARTS_PER_PAGE - 1;
  for (let at = 0; at < before; at++) value(await append(w, at, 1));
  const { object } = await get(w);
  for (let at = before; at < PARTS_PER_PAGE + 3; at++) value(await append(w, at, 1));
  const parts = await partsOf(w);
  assert.equal(parts.length, PARTS_PER_PAGE + 3);
  assert.deepEqual(
    parts.map((part) => part.offset),
    parts.map((_, at) => at),
  );
  assert.ok(object.data.kind === 'parts');
  const page = await w.catalogue.readParts({ list: object.data.list, from: { offset: 200 } });
  assert.equal(page.find((part) => part.offset === 200)?.number, 201);
  await checkInvariants(w.store);
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  assert.equal((await drainGarbage(w.catalogue)).length, PARTS_PER_PAGE + 3);
  await checkInvariants(w.store);
});

test('a copy and its source grow apart', async () => {
  const w = await worldWithBucket();
  value(await append(w, 0, 3));
  value(await append(w, 3, 4));
  const { version } = (await get(w)).object;
  const source = { bucket: 'b', key: 'k', version };
  const copy = { writer: WRITER, source, bucket: 'b', key: 'copy', owner: OWNER };
  value(await w.catalogue.copyObject(copy));
  value(await append(w, 7, 5));
  value(await appendTo(w, 'copy', 7, w.object(6)));
  const sizes = async (key: string) => (await partsOf(w, key)).map((part) => part.size);
  assert.deepEqual(await sizes('k'), [3, 4, 5]);
  assert.deepEqual(await sizes('copy'), [3, 4, 6]);
  await checkInvariants(w.store);
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  await drainGarbage(w.catalogue);
  assert.deepEqual(await sizes('copy'), [3, 4, 6]);
  await checkInvariants(w.store);
});

test('a multipart object is appended to after its last part, up to the last part number', async () => {
  const w = await worldWithBucket();
  const upload = await startUpload(w, 'k');
  const parts = [freshPart(w, upload, 2, 5 * MIB), freshPart(w, upload, PART_NUMBER_MAX - 1, 7)];
  for (const part of parts) value(await w.catalogue.putPart(part));
  const named = parts.map(({ number, etag }) => ({ number, etag }));
  const { etag } = value(await complete(w.catalogue, upload, named));
  const object = w.object(9);
  const answer = value(await appendTo(w, 'k', 5 * MIB + 7, object));
  assert.equal(answer.etag, `${join(etag, object.etag)}-3`);
  assert.equal((await partsOf(w)).at(-1)?.number, PART_NUMBER_MAX);
  assert.equal(refusal(await append(w, answer.size, 1)), 'TooManyParts');
  await checkInvariants(w.store);
});

const crc = (text: string) => ({
  algorithm: 'CRC32' as const,
  type: 'FULL_OBJECT' as const,
  value: digestOf('CRC32', Buffer.from(text)).toString('base64'),
});

test('the CRC of the whole is that of all the bytes; digests cannot be continued', async () => {
  const w = await worldWithBucket();
  value(await appendTo(w, 'k', 0, w.object(6, { checksum: crc('append') })));
  const answer = value(await appendTo(w, 'k', 6, w.object(3, { checksum: crc('ing') })));
  assert.deepEqual(answer.checksum, crc('appending'));
  const again = value(await appendTo(w, 'k', 9, w.object(2, { checksum: crc('!!') })));
  assert.deepEqual(again.checksum, crc('appending!!'));
  assert.deepEqual(
    (await partsOf(w)).map((part) => part.checksum),
    [crc('append').value, crc('ing').value, crc('!!').value],
  );
  assert.equal(refusal(await append(w, 11, 1)), 'InvalidRequest');
  const sha = { algorithm: 'SHA256' as const, type: 'FULL_OBJECT' as const, value: 'AAAA' };
  value(await appendTo(w, 's', 0, w.object(1, { checksum: sha })));
  assert.equal(
    refusal(await appendTo(w, 's', 1, w.object(1, { checksum: sha }))),
    'InvalidRequest',
  );
});

test('what cannot be appended to is refused: versions, encrypted objects, without a lease', async () => {
  const w = await worldWithBucket();
  const encryption = { algorithm: 'AES256' as const, wrappedKey: Buffer.alloc(60) };
  const sealed = w.blob(sealedSize(4, w.blob(1).blockSize));
  const data = { kind: 'blob' as const, ...sealed };
  value(await appendTo(w, 'k', 0, w.object(4, { encryption, data })));
  assert.equal(refusal(await append(w, 4, 1)), 'InvalidRequest');
  value(await w.catalogue.setVersioning({ bucket: 'b', versioning: 'Suspended' }));
  assert.equal(refusal(await append(w, 4, 1)), 'InvalidRequest');
  assert.equal(refusal(await appendTo(w, 'new', 0, w.object(1))), 'InvalidRequest');
  await endLease(w.store, WRITER);
  await assert.rejects(append(w, 4, 1), (error) => isFailure(error, 'fenced'));
});

test('conditions are judged on the object as it is', async () => {
  const w = await worldWithBucket();
  const { etag } = value(await append(w, 0, 4));
  const failed = await append(w, 4, 1, { condition: { ifMatch: 'other' } });
  assert.equal(refusal(failed), 'PreconditionFailed');
  const exists = await append(w, 4, 1, { condition: { ifNoneMatch: '*' } });
  assert.equal(refusal(exists), 'PreconditionFailed');
  value(await append(w, 4, 1, { condition: { ifMatch: etag } }));
});

test('a quota bounds what is appended', async () => {
  const w = await worldWithBucket();
  const quota = { bucket: 'b', name: 'quota', value: '{"bytes":10}' };
  value(await w.catalogue.setBucketConfig(quota));
  value(await append(w, 0, 6));
  assert.equal(refusal(await append(w, 6, 5)), 'QuotaExceeded');
  value(await append(w, 6, 4));
  await checkInvariants(w.store);
});

test('any sequence of puts, appends, copies and deletes leaves every reference right', async () => {
  const key = fc.constantFrom('x', 'y');
  const action = fc.record({
    kind: fc.constantFrom('put', 'append', 'append', 'append', 'copy', 'delete'),
    key,
    to: key,
    size: fc.integer({ min: 0, max: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 25 }), async (actions) => {
      const w = await worldWithBucket();
      const sizes = new Map<string, number>();
      for (const { kind, key: name, to, size } of actions) {
        const now = sizes.get(name);
        if (kind === 'put') {
          await w.put('b', name, size);
          sizes.set(name, size);
        } else if (kind === 'append') {
          value(await appendTo(w, name, now ?? 0, w.object(size)));
          sizes.set(name, (now ?? 0) + size);
        } else if (kind === 'copy' && now !== undefined) {
          const { version } = (await get(w, name)).object;
          const source = { bucket: 'b', key: name, version };
          const command = { writer: WRITER, source, bucket: 'b', key: to, owner: OWNER };
          value(await w.catalogue.copyObject(command));
          sizes.set(to, now);
        } else if (kind === 'delete') {
          value(await w.catalogue.deleteObject({ bucket: 'b', key: name }));
          sizes.delete(name);
        }
      }
      await checkInvariants(w.store);
      await drainGarbage(w.catalogue);
      for (const [name, size] of sizes) {
        const { object } = await get(w, name);
        assert.equal(object.size, size);
        if (object.data.kind !== 'parts') continue;
        const parts = await partsOf(w, name);
        assert.equal(object.data.count, parts.length);
        assert.equal(
          parts.reduce((sum, part) => sum + part.size, 0),
          size,
        );
      }
      await checkInvariants(w.store);
    }),
    { numRuns: 60 },
  );
});
