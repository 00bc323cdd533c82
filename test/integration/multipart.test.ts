/** Multipart uploads: one state machine per upload, whatever is late, repeated or at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { seededBytes } from '../support/files.ts';
import { byBytes } from '../support/model.ts';
import { putMultipart, uploadParts } from '../support/multipart.ts';
import {
  bytesOf,
  codeOf,
  digest,
  etagOf,
  refusedWith,
  sameBytes,
  useServer,
} from '../support/server.ts';

const server = useServer();
const MIB = 1024 * 1024;
const PART = 5 * MIB;

function multipartEtag(parts: readonly Buffer[]): string {
  const md5s = parts.map((part) => Buffer.from(digest('md5', part), 'hex'));
  return `"${digest('md5', Buffer.concat(md5s))}-${parts.length}"`;
}

async function content(Bucket: string, Key: string): Promise<Buffer> {
  return bytesOf(await server.s3.getObject({ Bucket, Key }));
}

test('Parts uploaded out of order and at once make the object in order, with its metadata', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const bodies = [PART, PART + 3, PART, 9].map((size, at) => seededBytes(`part ${at}`, size));
  const { UploadId } = await s3.createMultipartUpload({
    ...target,
    ContentType: 'video/mp4',
    CacheControl: 'no-cache',
    Metadata: { colour: 'red' },
    StorageClass: 'STANDARD_IA',
  });
  const upload = async (at: number): Promise<{ PartNumber: number; ETag?: string | undefined }> => {
    const PartNumber = at * 100 + 7;
    const Body = bodies[at] ?? Buffer.alloc(0);
    const { ETag } = await s3.uploadPart({ ...target, UploadId, PartNumber, Body });
    assert.equal(ETag, etagOf(Body));
    return { PartNumber, ETag };
  };
  const Parts = await Promise.all([3, 1, 0, 2].map(upload));
  Parts.sort((a, b) => a.PartNumber - b.PartNumber);
  await refusedWith(404, s3.headObject(target));
  const done = await s3.completeMultipartUpload({
    ...target,
    UploadId,
    MultipartUpload: { Parts },
  });
  assert.equal(done.ETag, multipartEtag(bodies));
  assert.equal(done.Location, `${server.endpoint}/${target.Bucket}/a`);
  const answer = await s3.getObject(target);
  sameBytes(await bytesOf(answer), Buffer.concat(bodies));
  assert.equal(answer.ETag, done.ETag);
  assert.equal(answer.ContentType, 'video/mp4');
  assert.equal(answer.CacheControl, 'no-cache');
  assert.deepEqual(answer.Metadata, { colour: 'red' });
  assert.equal(answer.StorageClass, 'STANDARD_IA');
  assert.equal((await s3.listObjectsV2({ Bucket: target.Bucket })).Contents?.[0]?.ETag, done.ETag);
});

test('A part uploaded again replaces the first one, and only the named ETag completes', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const { UploadId, Parts } = await uploadParts(s3, target, ['first']);
  const { ETag } = await s3.uploadPart({ ...target, UploadId, PartNumber: 1, Body: 'second' });
  const listed = await s3.listParts({ ...target, UploadId });
  assert.deepEqual(
    listed.Parts?.map((part) => [part.PartNumber, part.Size, part.ETag]),
    [[1, 6, ETag]],
  );
  const complete = (parts: typeof Parts): Promise<unknown> =>
    s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload: { Parts: parts } });
  await refusedWith('InvalidPart', complete(Parts));
  await complete([{ PartNumber: 1, ETag }]);
  assert.equal((await content(target.Bucket, 'a')).toString(), 'second');
});

test('A part that breaks off or fails its checksum leaves the earlier part in place', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const { UploadId, Parts } = await uploadParts(s3, target, ['good']);
  const bad = s3.uploadPart({
    ...target,
    UploadId,
    PartNumber: 1,
    Body: 'bad!',
    ChecksumCRC32: 'AAAAAA==',
  });
  await refusedWith('BadDigest', bad);
  await s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload: { Parts } });
  assert.equal((await content(target.Bucket, 'a')).toString(), 'good');
});

test('CompleteMultipartUpload takes the named parts only, and forgets the others', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const big = seededBytes('big', PART);
  const { UploadId, Parts } = await uploadParts(s3, target, [big, 'unused', 'last']);
  const named = Parts.filter(({ PartNumber }) => PartNumber !== 2);
  await s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload: { Parts: named } });
  sameBytes(await content(target.Bucket, 'a'), Buffer.concat([big, Buffer.from('last')]));
  await refusedWith('NoSuchUpload', s3.listParts({ ...target, UploadId }));
});

test('CompleteMultipartUpload refuses wrong, missing, small and unordered parts, and stays open', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const { UploadId, Parts } = await uploadParts(s3, target, ['one', 'two']);
  const complete = (parts: typeof Parts): Promise<unknown> =>
    s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload: { Parts: parts } });
  await refusedWith('EntityTooSmall', complete(Parts));
  await refusedWith('InvalidPartOrder', complete(Parts.toReversed()));
  const [one = {}] = Parts;
  await refusedWith('InvalidPart', complete([one, { PartNumber: 3, ETag: etagOf('x') }]));
  await refusedWith('InvalidPart', complete([{ PartNumber: 1, ETag: etagOf('x') }]));
  await refusedWith('MalformedXML', complete([]));
  await refusedWith(404, s3.headObject(target));
  await complete([one]);
  assert.equal((await content(target.Bucket, 'a')).toString(), 'one');
});

test('CompleteMultipartUpload sent again gives the same answer, alone or at once', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const { UploadId, Parts } = await uploadParts(s3, target, ['once']);
  const complete = { ...target, UploadId, MultipartUpload: { Parts } };
  const answers = await Promise.all([1, 2, 3, 4].map(() => s3.completeMultipartUpload(complete)));
  const again = await s3.completeMultipartUpload(complete);
  for (const answer of answers) {
    assert.equal(answer.ETag, again.ETag);
    assert.equal(answer.ChecksumCRC64NVME, again.ChecksumCRC64NVME);
  }
  assert.equal((await content(target.Bucket, 'a')).toString(), 'once');
  // A retry after the key has moved on must not bring the old object back.
  await s3.putObject({ ...target, Body: 'newer' });
  await codeOf(s3.completeMultipartUpload(complete));
  assert.equal((await content(target.Bucket, 'a')).toString(), 'newer');
});

test('A part that comes after the end is NoSuchUpload and changes nothing', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const { UploadId, Parts } = await uploadParts(s3, target, ['done']);
  const late = { ...target, UploadId, PartNumber: 1, Body: 'late' };
  await s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload: { Parts } });
  await refusedWith('NoSuchUpload', s3.uploadPart(late));
  await refusedWith('NoSuchUpload', s3.abortMultipartUpload({ ...target, UploadId }));
  assert.equal((await content(target.Bucket, 'a')).toString(), 'done');

  const aborted = await uploadParts(s3, target, ['gone']);
  await s3.abortMultipartUpload({ ...target, UploadId: aborted.UploadId });
  await refusedWith('NoSuchUpload', s3.uploadPart({ ...late, UploadId: aborted.UploadId }));
  await refusedWith(
    'NoSuchUpload',
    s3.completeMultipartUpload({
      ...target,
      UploadId: aborted.UploadId,
      MultipartUpload: { Parts: aborted.Parts },
    }),
  );
  assert.equal((await content(target.Bucket, 'a')).toString(), 'done');
});

test('Complete racing Abort: one of them wins, and what is listed can be read', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const seen = new Set<string>();
  for (let round = 0; round < 25; round++) {
    const target = { Bucket, Key: `k${round}` };
    const { UploadId, Parts } = await uploadParts(s3, target, [`body ${round}`]);
    const MultipartUpload = { Parts };
    const complete = (): Promise<string> =>
      codeOf(s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload }));
    const abort = (): Promise<string> => codeOf(s3.abortMultipartUpload({ ...target, UploadId }));
    // Complete is the slower one: without a head start now and then it would lose every time.
    const completing = complete();
    if (round % 3 === 1) await setImmediate();
    if (round % 3 === 2) await setTimeout(round % 4);
    const [completed, aborted] = await Promise.all([completing, abort()]);
    seen.add(`${completed}/${aborted}`);
    if (completed === 'ok') {
      assert.equal(aborted, 'NoSuchUpload');
      assert.equal((await content(Bucket, target.Key)).toString(), `body ${round}`);
    } else {
      assert.deepEqual([completed, aborted], ['NoSuchUpload', 'ok']);
      await refusedWith(404, s3.headObject(target));
    }
  }
  assert.equal(seen.size, 2, `both sides should win now and then: ${[...seen].join()}`);
});

test('UploadPart racing Complete: the object is of parts that were there, whole', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (let round = 0; round < 15; round++) {
    const target = { Bucket, Key: `k${round}` };
    const { UploadId, Parts } = await uploadParts(s3, target, ['early']);
    const [completed, late] = await Promise.all([
      codeOf(s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload: { Parts } })),
      codeOf(s3.uploadPart({ ...target, UploadId, PartNumber: 1, Body: 'late!' })),
    ]);
    if (completed === 'ok') {
      assert.equal((await content(Bucket, target.Key)).toString(), 'early', late);
    } else {
      assert.deepEqual([completed, late], ['InvalidPart', 'ok']);
      await refusedWith(404, s3.headObject(target));
    }
  }
});

test('Two uploads of one key are strangers to each other', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const one = await uploadParts(s3, target, ['one']);
  const two = await uploadParts(s3, target, ['two']);
  const complete = ({ UploadId, Parts }: typeof one): Promise<unknown> =>
    s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload: { Parts } });
  await refusedWith('InvalidPart', complete({ UploadId: one.UploadId, Parts: two.Parts }));
  await complete(two);
  assert.equal((await content(target.Bucket, 'a')).toString(), 'two');
  await complete(one);
  assert.equal((await content(target.Bucket, 'a')).toString(), 'one');
});

test('An upload id of another key or bucket is NoSuchUpload for every operation', async () => {
  const { s3 } = server;
  const [Bucket, other] = [await server.bucket(), await server.bucket()];
  const { UploadId, Parts } = await uploadParts(s3, { Bucket, Key: 'a' }, ['x']);
  for (const target of [
    { Bucket, Key: 'b' },
    { Bucket: other, Key: 'a' },
  ]) {
    const upload = { ...target, UploadId };
    await refusedWith('NoSuchUpload', s3.listParts(upload));
    await refusedWith('NoSuchUpload', s3.uploadPart({ ...upload, PartNumber: 1, Body: 'x' }));
    await refusedWith('NoSuchUpload', s3.abortMultipartUpload(upload));
    const MultipartUpload = { Parts };
    await refusedWith('NoSuchUpload', s3.completeMultipartUpload({ ...upload, MultipartUpload }));
  }
  assert.equal((await s3.listParts({ Bucket, Key: 'a', UploadId })).Parts?.length, 1);
});

test('ListParts pages by part number', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const { UploadId } = await s3.createMultipartUpload(target);
  const numbers = [1, 2, 5, 99, 1000, 10_000];
  for (const PartNumber of numbers.toReversed()) {
    await s3.uploadPart({ ...target, UploadId, PartNumber, Body: `part ${PartNumber}` });
  }
  for (let MaxParts = 1; MaxParts <= 7; MaxParts++) {
    const seen: number[] = [];
    let marker: string | undefined;
    for (let more = true; more; ) {
      const page = await s3.listParts({
        ...target,
        UploadId,
        MaxParts,
        PartNumberMarker: marker,
      });
      assert.ok((page.Parts ?? []).length <= MaxParts);
      for (const part of page.Parts ?? []) {
        assert.equal(part.ETag, etagOf(`part ${part.PartNumber}`));
        assert.equal(part.Size, `part ${part.PartNumber}`.length);
        assert.ok(part.LastModified);
        seen.push(part.PartNumber ?? 0);
      }
      marker = page.NextPartNumberMarker;
      more = page.IsTruncated === true;
    }
    assert.deepEqual(seen, numbers);
  }
});

test('ListMultipartUploads pages by key and upload, with prefix and delimiter', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const keys = ['a', 'a', 'a', 'b/1', 'b/2', 'b/2', 'c', 'ü/x', '-'];
  const uploads: { Key: string; UploadId: string }[] = [];
  for (const Key of keys) {
    const { UploadId = '' } = await s3.createMultipartUpload({ Bucket, Key });
    uploads.push({ Key, UploadId });
  }
  const expected = uploads.toSorted((a, b) => byBytes(a.Key, b.Key)).map(({ Key }) => Key);
  for (const Delimiter of [undefined, '/']) {
    for (let MaxUploads = 1; MaxUploads <= 4; MaxUploads++) {
      const ids = new Set<string>();
      const seen: string[] = [];
      const prefixes: string[] = [];
      let markers: { KeyMarker?: string; UploadIdMarker?: string } = {};
      for (let more = true; more; ) {
        const page = await s3.listMultipartUploads({ Bucket, Delimiter, MaxUploads, ...markers });
        for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? []) {
          assert.ok(Initiated);
          assert.ok(!ids.has(UploadId), 'an upload comes once');
          ids.add(UploadId);
          seen.push(Key);
        }
        prefixes.push(...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? ''));
        markers = {
          ...(page.NextKeyMarker === undefined ? {} : { KeyMarker: page.NextKeyMarker }),
          ...(page.NextUploadIdMarker === undefined
            ? {}
            : { UploadIdMarker: page.NextUploadIdMarker }),
        };
        more = page.IsTruncated === true;
      }
      const plain = expected.filter((key) => Delimiter === undefined || !key.includes(Delimiter));
      assert.deepEqual(seen, plain, `delimiter ${Delimiter}, ${MaxUploads} a page`);
      assert.deepEqual(prefixes, Delimiter === undefined ? [] : ['b/', 'ü/']);
    }
  }
  const below = await s3.listMultipartUploads({ Bucket, Prefix: 'b/' });
  assert.deepEqual(
    below.Uploads?.map(({ Key }) => Key),
    ['b/1', 'b/2', 'b/2'],
  );
  const after = await s3.listMultipartUploads({ Bucket, KeyMarker: 'b/1' });
  assert.deepEqual(
    after.Uploads?.map(({ Key }) => Key),
    ['b/2', 'b/2', 'c', 'ü/x'],
  );
});

test('UploadPartCopy takes whole objects, ranges and parts, across the seams', async () => {
  const { s3 } = server;
  const [from, Bucket] = [await server.bucket(), await server.bucket()];
  const plain = seededBytes('plain', PART + 77);
  const [one, two] = [seededBytes('one', PART + 1), seededBytes('two', PART)];
  await s3.putObject({ Bucket: from, Key: 'plain', Body: plain });
  await putMultipart(s3, { Bucket: from, Key: 'many' }, [one, two]);
  const many = Buffer.concat([one, two]);
  const target = { Bucket, Key: 'a' };
  const { UploadId } = await s3.createMultipartUpload(target);
  const copies: [source: string, range: [number, number] | undefined, bytes: Buffer][] = [
    ['plain', undefined, plain],
    ['plain', [1, PART + 1], plain.subarray(1, PART + 2)],
    ['many', [0, PART], one],
    ['many', undefined, many],
    ['many', [PART - 9, 2 * PART - 10], many.subarray(PART - 9, 2 * PART - 9)],
    ['plain', [0, 0], plain.subarray(0, 1)],
  ];
  const Parts = [];
  for (const [index, [key, range, bytes]] of copies.entries()) {
    const PartNumber = index + 1;
    const { CopyPartResult } = await s3.uploadPartCopy({
      ...target,
      UploadId,
      PartNumber,
      CopySource: `${from}/${key}`,
      CopySourceRange: range && `bytes=${range[0]}-${range[1]}`,
    });
    if (key === 'plain' || range !== undefined) assert.equal(CopyPartResult?.ETag, etagOf(bytes));
    Parts.push({ PartNumber, ETag: CopyPartResult?.ETag });
  }
  // The sources go before the upload is finished.
  await s3.deleteObject({ Bucket: from, Key: 'plain' });
  await s3.deleteObject({ Bucket: from, Key: 'many' });
  const MultipartUpload = { Parts };
  const { ETag } = await s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload });
  const bodies = copies.map(([, , bytes]) => bytes);
  sameBytes(await content(Bucket, 'a'), Buffer.concat(bodies));
  assert.equal(ETag, multipartEtag(bodies));
});

test('UploadPartCopy refuses ranges outside its source, other forms, and failed conditions', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  await s3.putObject({ Bucket: target.Bucket, Key: 'ten', Body: '0123456789' });
  const { UploadId } = await s3.createMultipartUpload(target);
  const copy = (more: object): Promise<unknown> =>
    s3.uploadPartCopy({
      ...target,
      UploadId,
      PartNumber: 1,
      CopySource: `${target.Bucket}/ten`,
      ...more,
    });
  for (const CopySourceRange of ['bytes=5-', 'bytes=-5', '0-5', 'bytes=5-2', 'bytes=0-1,3-4']) {
    await refusedWith('InvalidArgument', copy({ CopySourceRange }));
  }
  await refusedWith('InvalidRange', copy({ CopySourceRange: 'bytes=5-10' }));
  await refusedWith('NoSuchKey', copy({ CopySource: `${target.Bucket}/none` }));
  await refusedWith('NoSuchUpload', copy({ UploadId: 'f'.repeat(32) }));
  await refusedWith('PreconditionFailed', copy({ CopySourceIfMatch: etagOf('x') }));
  await refusedWith('InvalidArgument', copy({ PartNumber: 10_001 }));
  assert.equal((await s3.listParts({ ...target, UploadId })).Parts, undefined);
});

test('An upload of empty and missing data: one empty part is an empty object', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const { ETag } = await putMultipart(s3, target, [Buffer.alloc(0)]);
  assert.equal(ETag, multipartEtag([Buffer.alloc(0)]));
  assert.equal((await s3.headObject(target)).ContentLength, 0);
  assert.equal((await content(target.Bucket, 'a')).length, 0);
});

test('An object of 1,200 parts can be read, in ranges and by part number', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const source = seededBytes('many parts', PART);
  // With the checksum that the upload needs, so that the parts share the source's blocks.
  const ChecksumAlgorithm = 'CRC64NVME';
  await s3.putObject({ Bucket, Key: 'source', Body: source, ChecksumAlgorithm });
  const target = { Bucket, Key: 'a' };
  const { UploadId } = await s3.createMultipartUpload(target);
  const numbers = Array.from({ length: 1200 }, (_, at) => at + 1);
  const queue = [...numbers];
  const ETag = etagOf(source);
  const worker = async (): Promise<void> => {
    for (let PartNumber = queue.pop(); PartNumber !== undefined; PartNumber = queue.pop()) {
      await s3.uploadPartCopy({ ...target, UploadId, PartNumber, CopySource: `${Bucket}/source` });
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  const Parts = numbers.map((PartNumber) => ({ PartNumber, ETag }));
  await s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload: { Parts } });
  assert.equal((await s3.headObject(target)).ContentLength, 1200 * PART);
  for (const number of [1, 599, 1000, 1001, 1200]) {
    const start = number * PART - 10;
    const last = Math.min(start + 19, 1200 * PART - 1);
    const answer = await s3.getObject({ ...target, Range: `bytes=${start}-${last}` });
    const expected = Buffer.concat([
      source.subarray(PART - 10),
      source.subarray(0, last - start - 9),
    ]);
    sameBytes(await bytesOf(answer), expected, `seam ${number}`);
  }
  const part = await s3.headObject({ ...target, PartNumber: 1001 });
  assert.equal(part.PartsCount, 1200);
  assert.equal(part.ContentLength, PART);
});
