import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { multipartChecksum } from '../../base/digest.ts';
import {
  type CompleteUploadCommand,
  PART_BYTES_MIN,
  PARTS_PER_PAGE,
  type Upload,
} from '../protocol.ts';
import { COMPLETED_KEEP_MS, isUsed, judgeParts, usedBits } from './complete.ts';
import { uploadKey } from './keyspace.ts';
import { uploadCodec } from './records.ts';
import {
  checkInvariants,
  checkNothingLeft,
  complete,
  drainGarbage,
  freshPart,
  md5,
  MIB,
  OWNER,
  refusal,
  rowsOf,
  startUpload as start,
  value,
  WRITER,
  type World,
  worldWithBucket as world,
} from './test-support.ts';

/** Adds parts of these sizes, numbered from 1, and returns what Complete names. */
async function addParts(w: World, upload: Upload, sizes: number[]) {
  const parts: CompleteUploadCommand['parts'] = [];
  for (const [index, size] of sizes.entries()) {
    const part = freshPart(w, upload, index + 1, size);
    value(await w.catalogue.putPart(part));
    parts.push({ number: part.number, etag: part.etag });
  }
  return parts;
}

/* ------------------------------------------------------------------ judging */

const part = (number: number, size: number, checksum?: string) => ({
  number,
  size,
  etag: md5(String(number)),
  modifiedMs: 1,
  ...(checksum === undefined ? {} : { checksum }),
});
const listed = (number: number, etag = md5(String(number)), checksum?: string) => ({
  number,
  etag,
  ...(checksum === undefined ? {} : { checksum }),
});
const crc = (text: string) => Buffer.from(text.padEnd(4, '.')).toString('base64');
const composite = { checksum: { algorithm: 'CRC32' as const, type: 'COMPOSITE' as const } };
const stored = [part(1, PART_BYTES_MIN), part(3, 7), part(5, PART_BYTES_MIN - 1), part(7, 3)];
const summed = [part(1, PART_BYTES_MIN, crc('one')), part(2, 5, crc('two'))];
const both = [listed(1, undefined, crc('one')), listed(2, undefined, crc('two'))];
const sum = multipartChecksum('CRC32', 'COMPOSITE', [
  { value: crc('one'), size: 1 },
  { value: crc('two'), size: 1 },
]);
const base = { bucket: 'b', key: 'k', uploadId: 'u' };
const invalidPart = (number: number, etag: string) => ({
  ok: false,
  refusal: 'InvalidPart',
  detail: { UploadId: 'u', PartNumber: String(number), ETag: etag },
});

const refusals: [
  string,
  object,
  typeof stored,
  Omit<CompleteUploadCommand, keyof typeof base>,
  unknown,
][] = [
  ['a part that was not uploaded', {}, stored, { parts: [listed(2)] }, invalidPart(2, md5('2'))],
  ['an ETag of another content', {}, stored, { parts: [listed(1, 'x')] }, invalidPart(1, 'x')],
  [
    'descending numbers',
    {},
    stored,
    { parts: [listed(3), listed(1)] },
    { ok: false, refusal: 'InvalidPartOrder' },
  ],
  [
    'a number named twice, wrongly the second time',
    {},
    stored,
    { parts: [listed(1), listed(1, 'x')] },
    invalidPart(1, 'x'),
  ],
  [
    'a part but the last that is too small',
    {},
    stored,
    { parts: [listed(1), listed(5), listed(7)] },
    {
      ok: false,
      refusal: 'EntityTooSmall',
      detail: {
        ProposedSize: String(PART_BYTES_MIN - 1),
        MinSizeAllowed: String(PART_BYTES_MIN),
        PartNumber: '5',
        ETag: md5('5'),
      },
    },
  ],
  ['another object size', {}, stored, { parts: [listed(1)], expectedSize: 1 }, 'InvalidRequest'],
  [
    'another checksum type',
    composite,
    summed,
    { parts: both, expectedType: 'FULL_OBJECT' },
    'InvalidRequest',
  ],
  [
    'another algorithm',
    composite,
    summed,
    { parts: both, expected: { algorithm: 'SHA1', value: sum } },
    'InvalidRequest',
  ],
  [
    'another checksum',
    composite,
    summed,
    { parts: both, expected: { algorithm: 'CRC32', value: crc('bad') } },
    'BadDigest',
  ],
  [
    'another checksum of a part',
    composite,
    summed,
    { parts: [listed(1, undefined, crc('two'))] },
    invalidPart(1, md5('1')),
  ],
  [
    'a wrong checksum before a missing one',
    composite,
    summed,
    { parts: [listed(1)], expected: { algorithm: 'CRC32', value: 'bad' } },
    'BadDigest',
  ],
  [
    'a checksum for an upload without',
    {},
    stored,
    { parts: [listed(1)], expected: { algorithm: 'CRC32', value: sum } },
    'InvalidRequest',
  ],
  [
    'a part checksum for an upload without',
    {},
    stored,
    { parts: [listed(1, undefined, sum)] },
    invalidPart(1, md5('1')),
  ],
];

for (const [title, upload, parts, command, expected] of refusals) {
  test(`CompleteMultipartUpload refuses ${title}`, () => {
    const answer = judgeParts(upload, parts, { ...base, ...command });
    if (typeof expected === 'string') assert.equal(refusal(answer), expected);
    else assert.deepEqual(answer, expected);
  });
}

test('CompleteMultipartUpload makes size, ETag and checksum from the parts that are named', () => {
  const command = { ...base, parts: both, expectedSize: PART_BYTES_MIN + 5 };
  const judged = value(
    judgeParts(composite, summed, { ...command, expected: { algorithm: 'CRC32', value: sum } }),
  );
  const digest = createHash('md5')
    .update(Buffer.from(md5('1') + md5('2'), 'hex'))
    .digest('hex');
  assert.equal(judged.etag, `${digest}-2`);
  assert.equal(judged.size, PART_BYTES_MIN + 5);
  assert.deepEqual(judged.checksum, { algorithm: 'CRC32', type: 'COMPOSITE', value: sum });
  // A part that is named twice counts once, as it is named last.
  const [one, two] = [listed(1), listed(2)];
  const twice = { ...base, parts: [listed(1, 'older'), one, two] };
  assert.equal(value(judgeParts({}, summed, twice)).etag, judged.etag);
  // The parts' checksums need not be repeated in the request.
  const bare = value(judgeParts(composite, summed, { ...base, parts: [listed(1), listed(2)] }));
  assert.deepEqual(bare.checksum, judged.checksum);
  const full = { checksum: { algorithm: 'CRC32' as const, type: 'FULL_OBJECT' as const } };
  const whole = value(judgeParts(full, summed, { ...base, parts: [listed(1), listed(2)] }));
  assert.equal(whole.checksum?.type, 'FULL_OBJECT');
});

test('the used parts of an upload are told by their bits', () => {
  const bits = usedBits([{ number: 1 }, { number: 8 }, { number: 10_000 }]);
  const used = Array.from({ length: 10_001 }, (_, number) => number).filter((number) =>
    isUsed(bits, number),
  );
  assert.deepEqual(used, [1, 8, 10_000]);
  assert.ok(!isUsed(usedBits([]), 0) && !isUsed(Buffer.alloc(0), 77));
});

/* ------------------------------------------------------------------ completing */

test('CompleteMultipartUpload makes one object of the named parts and drops the others', async () => {
  const w = await world();
  await w.put('b', 'k', 3);
  const upload = await start(w);
  const parts = await addParts(w, upload, [5 * MIB, 5 * MIB, 6 * MIB, 9]);
  const chosen = parts.filter((one) => one.number !== 2);
  const done = value(await complete(w.catalogue, upload, chosen));
  await checkInvariants(w.store);
  const found = value(await w.catalogue.getObject({ bucket: 'b', key: 'k', withParts: true }));
  assert.equal(found.object.size, 11 * MIB + 9);
  assert.equal(found.object.etag, done.etag);
  assert.match(done.etag, /-3$/);
  assert.deepEqual(found.object.user, { a: 'b' });
  assert.deepEqual(
    found.parts?.map((one) => [one.number, one.offset, one.size]),
    [
      [1, 0, 5 * MIB],
      [3, 5 * MIB, 6 * MIB],
      [4, 11 * MIB, 9],
    ],
  );
  assert.deepEqual(value(await w.catalogue.bucketUsage({ bucket: 'b' })), {
    objects: 1,
    bytes: 11 * MIB + 9,
  });
  const removed = await drainGarbage(w.catalogue);
  assert.equal(removed.length, 2, 'the old object and the part that was not used');
  assert.deepEqual(await rowsOf(w.store, 'p'), []);
  await checkInvariants(w.store);
});

test('an object of one part stays a multipart object', async () => {
  const w = await world();
  const upload = await start(w);
  const parts = await addParts(w, upload, [0]);
  const done = value(await complete(w.catalogue, upload, parts));
  assert.match(done.etag, /-1$/);
  const { object, parts: refs } = value(
    await w.catalogue.getObject({ bucket: 'b', key: 'k', withParts: true }),
  );
  assert.equal(object.data.kind === 'parts' && object.data.count, 1);
  assert.deepEqual(
    refs?.map((ref) => [ref.size, ref.data]),
    [[0, undefined]],
  );
});

test('CompleteMultipartUpload repeated gives the same answer for a day, even over newer objects', async () => {
  const w = await world();
  const upload = await start(w, 'k', { algorithm: 'CRC64NVME', type: 'FULL_OBJECT' });
  const one = freshPart(w, upload, 1, 10, Buffer.alloc(8, 1).toString('base64'));
  value(await w.catalogue.putPart(one));
  const parts = [{ number: 1, etag: one.etag }];
  const done = value(await complete(w.catalogue, upload, parts));
  assert.equal(done.checksum?.type, 'FULL_OBJECT');
  await w.put('b', 'k', 1);
  w.clock.ms += 24 * 60 * 60 * 1000;
  await drainGarbage(w.catalogue);
  assert.deepEqual(value(await complete(w.catalogue, upload, parts)), done);
  assert.deepEqual(value(await complete(w.catalogue, upload, [])), done);
  const other = await complete(w.catalogue, { ...upload, key: 'x' }, parts);
  assert.equal(refusal(other), 'NoSuchUpload');
  assert.equal(refusal(await w.catalogue.abortUpload(upload)), 'NoSuchUpload');
  assert.equal(refusal(await w.catalogue.putPart({ ...one, number: 2 })), 'NoSuchUpload');
  w.clock.ms += COMPLETED_KEEP_MS;
  await drainGarbage(w.catalogue);
  assert.equal(refusal(await complete(w.catalogue, upload, parts)), 'NoSuchUpload');
  await checkNothingLeft(w.store);
});

test('CompleteMultipartUpload that is refused leaves the upload open', async () => {
  const w = await world();
  await w.put('b', 'k');
  const upload = await start(w);
  const parts = await addParts(w, upload, [10]);
  const wrong = await complete(w.catalogue, upload, [{ number: 1, etag: 'x' }]);
  assert.equal(refusal(wrong), 'InvalidPart');
  const exists = await complete(w.catalogue, upload, parts, { condition: { ifNoneMatch: '*' } });
  assert.equal(refusal(exists), 'PreconditionFailed');
  const [row] = await rowsOf(w.store, 'u');
  assert.equal(uploadCodec.decode(row?.value ?? Buffer.alloc(0)).completing, undefined);
  const changed = await complete(w.catalogue, upload, parts, { condition: { ifMatch: 'x' } });
  assert.equal(refusal(changed), 'PreconditionFailed');
  value(await w.catalogue.putPart(freshPart(w, upload, 2, 5)));
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  const missing = await complete(w.catalogue, upload, parts, { condition: { ifMatch: '*' } });
  assert.equal(refusal(missing), 'NoSuchKey');
  value(await complete(w.catalogue, upload, parts, { condition: { ifNoneMatch: '*' } }));
  await checkInvariants(w.store);
});

test('AbortMultipartUpload ends the upload: Complete, parts and Abort find none', async () => {
  const w = await world();
  const upload = await start(w);
  const parts = await addParts(w, upload, [10, 20]);
  value(await w.catalogue.abortUpload(upload));
  assert.equal(refusal(await w.catalogue.abortUpload(upload)), 'NoSuchUpload');
  assert.equal(refusal(await complete(w.catalogue, upload, parts)), 'NoSuchUpload');
  assert.equal(refusal(await w.catalogue.putPart(freshPart(w, upload, 3, 5))), 'NoSuchUpload');
  assert.equal((await drainGarbage(w.catalogue)).length, 2);
  await checkNothingLeft(w.store);
});

/** Leaves the upload as a process does that dies between the two commits of Complete. */
async function freeze(w: World, upload: Upload): Promise<void> {
  const key = uploadKey(1, upload.key, upload.uploadId);
  const [entry] = await w.store.get([key]);
  const row = uploadCodec.decode(entry?.value ?? Buffer.alloc(0));
  const frozen = uploadCodec.encode({ ...row, completing: 'dead-boot-0' });
  const set = [{ key, value: frozen }];
  await w.store.commit({ id: Buffer.alloc(16, 3), checks: [], set, del: [], add: [] });
}

test('an upload that a crash left frozen is open: parts, Complete and Abort work', async () => {
  for (const next of ['part', 'complete', 'abort'] as const) {
    const w = await world();
    const upload = await start(w);
    const parts = await addParts(w, upload, [10]);
    await freeze(w, upload);
    if (next === 'part') {
      value(await w.catalogue.putPart(freshPart(w, upload, 2, 5)));
      const [row] = await rowsOf(w.store, 'u');
      assert.equal(uploadCodec.decode(row?.value ?? Buffer.alloc(0)).completing, undefined);
    }
    if (next === 'complete') value(await complete(w.catalogue, upload, parts));
    if (next === 'abort') value(await w.catalogue.abortUpload(upload));
    await checkInvariants(w.store);
  }
});

test('CompleteMultipartUpload takes 10,000 parts, ReadParts finds each, and all of it can go again', async () => {
  const w = await world();
  const upload = await start(w, 'big', { algorithm: 'CRC64NVME', type: 'FULL_OBJECT' });
  const checksum = Buffer.alloc(8, 7).toString('base64');
  const parts: CompleteUploadCommand['parts'] = [];
  for (let number = 1; number <= 10_000; number++) {
    const one = freshPart(w, upload, number, PART_BYTES_MIN, checksum);
    value(await w.catalogue.putPart(one));
    parts.push({ number, etag: one.etag });
  }
  value(await complete(w.catalogue, upload, parts));
  const { object, parts: first } = value(
    await w.catalogue.getObject({ bucket: 'b', key: 'big', withParts: true }),
  );
  assert.ok(object.data.kind === 'parts');
  const { list } = object.data;
  assert.equal(first?.length, PARTS_PER_PAGE);
  const seen: number[] = [];
  for (let after = 0; ; ) {
    const page = await w.catalogue.readParts({ list, from: { after } });
    const last = page.at(-1);
    if (last === undefined) break;
    assert.ok(page.length <= PARTS_PER_PAGE);
    for (const ref of page) {
      assert.equal(ref.offset, (ref.number - 1) * PART_BYTES_MIN);
      seen.push(ref.number);
    }
    after = last.number;
  }
  assert.deepEqual(
    seen,
    parts.map((one) => one.number),
  );
  for (const number of [1, 256, 257, 5000, 10_000]) {
    const offset = number * PART_BYTES_MIN - 1;
    for (const from of [{ part: number }, { offset }]) {
      const page = await w.catalogue.readParts({ list, from });
      const hit = page.find((ref) => ref.number === number);
      assert.ok(hit !== undefined && hit.offset <= offset && offset < hit.offset + hit.size);
    }
  }
  for (const from of [{ part: 10_001 }, { part: 0 }, { offset: object.size }, { offset: -1 }]) {
    assert.deepEqual(await w.catalogue.readParts({ list, from }), []);
  }
  assert.deepEqual(await w.catalogue.readParts({ list: 'ab'.repeat(16), from: { part: 1 } }), []);
  await checkInvariants(w.store);
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'big' }));
  w.clock.ms += COMPLETED_KEEP_MS;
  assert.equal((await drainGarbage(w.catalogue)).length, 10_000);
  await checkNothingLeft(w.store);
  assert.deepEqual(await rowsOf(w.store, 'm'), []);
});

test('ReadParts finds parts among gaps in their numbers', async () => {
  const w = await world();
  const upload = await start(w);
  const parts: CompleteUploadCommand['parts'] = [];
  for (let number = 5; number <= 9000; number += 15) {
    const one = freshPart(w, upload, number, PART_BYTES_MIN);
    value(await w.catalogue.putPart(one));
    parts.push({ number, etag: one.etag });
  }
  value(await complete(w.catalogue, upload, parts));
  const { object } = value(await w.catalogue.getObject({ bucket: 'b', key: 'k' }));
  assert.ok(object.data.kind === 'parts');
  const { list } = object.data;
  for (const { number } of parts) {
    const [next] = (await w.catalogue.readParts({ list, from: { after: number - 1 } })).filter(
      (ref) => ref.number > number - 1,
    );
    assert.equal(next?.number, number);
    assert.ok((await w.catalogue.readParts({ list, from: { part: number } })).length > 0);
    assert.deepEqual(await w.catalogue.readParts({ list, from: { part: number + 1 } }), []);
  }
});

test('CopyObject of a multipart object shares the part list until the last copy goes', async () => {
  const w = await world();
  const upload = await start(w);
  value(await complete(w.catalogue, upload, await addParts(w, upload, [5 * MIB, 5])));
  const { object } = value(await w.catalogue.getObject({ bucket: 'b', key: 'k' }));
  const source = { bucket: 'b', key: 'k', version: object.version };
  const copy = { writer: WRITER, source, bucket: 'b', key: 'copy', owner: OWNER };
  value(await w.catalogue.copyObject(copy));
  value(await w.catalogue.copyObject({ ...copy, key: 'k' }));
  await checkInvariants(w.store);
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  assert.equal((await drainGarbage(w.catalogue)).length, 0);
  const found = value(await w.catalogue.getObject({ bucket: 'b', key: 'copy', withParts: true }));
  assert.equal(found.parts?.length, 2);
  assert.equal(found.object.etag, object.etag);
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'copy' }));
  w.clock.ms += COMPLETED_KEEP_MS;
  assert.equal((await drainGarbage(w.catalogue)).length, 2);
  await checkNothingLeft(w.store);
});
