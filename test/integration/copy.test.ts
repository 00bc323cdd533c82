/** CopyObject: metadata, conditions, and blocks that are shared instead of copied. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CopyObjectCommandInput } from '@aws-sdk/client-s3';
import { seededBytes } from '../support/files.ts';
import {
  bytesOf,
  digest,
  etagOf,
  refusedWith,
  sameBytes,
  useInspectedServer,
} from '../support/server.ts';

const server = useInspectedServer();
const MIB = 1024 * 1024;

async function blocks(): Promise<number> {
  const counts = [...server.nodes.values()].map(async (node) => (await node.stats()).blocks);
  return (await Promise.all(counts)).reduce((sum, one) => sum + one, 0);
}

/** Waits until the garbage collector has brought the number of blocks down to `wanted`. */
async function blocksBecome(wanted: number): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const found = await blocks();
    if (found === wanted) return;
    assert.ok(performance.now() < deadline, `${found} blocks, waiting for ${wanted}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function multipart(Bucket: string, Key: string, parts: readonly Buffer[]): Promise<string> {
  const { s3 } = server;
  const { UploadId } = await s3.createMultipartUpload({ Bucket, Key, Metadata: { n: '1' } });
  const Parts = [];
  for (const [index, Body] of parts.entries()) {
    const PartNumber = index + 1;
    const { ETag } = await s3.uploadPart({ Bucket, Key, UploadId, PartNumber, Body });
    Parts.push({ PartNumber, ETag });
  }
  const MultipartUpload = { Parts };
  const { ETag } = await s3.completeMultipartUpload({ Bucket, Key, UploadId, MultipartUpload });
  return ETag ?? '';
}

async function content(Bucket: string, Key: string): Promise<Buffer> {
  return bytesOf(await server.s3.getObject({ Bucket, Key }));
}

const METADATA = {
  ContentType: 'text/html',
  ContentLanguage: 'de',
  CacheControl: 'no-cache',
  ContentDisposition: 'inline',
  ContentEncoding: 'identity',
  Metadata: { colour: 'red' },
} as const;

test('CopyObject with COPY keeps content and metadata, whatever the request says', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = seededBytes('copy', MIB + 5);
  await s3.putObject({ Bucket, Key: 'a', Body: body, ...METADATA });
  const CopySource = `${Bucket}/a`;
  const answer = await s3.copyObject({ Bucket, Key: 'b', CopySource, ContentType: 'text/plain' });
  assert.equal(answer.CopyObjectResult?.ETag, etagOf(body));
  assert.ok(answer.CopyObjectResult?.LastModified);
  const head = await s3.headObject({ Bucket, Key: 'b' });
  for (const [name, value] of Object.entries(METADATA)) {
    assert.deepEqual(head[name as keyof typeof METADATA], value, name);
  }
  sameBytes(await content(Bucket, 'b'), body);
});

test('CopyObject with REPLACE takes all metadata from the request', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'x', ...METADATA });
  await s3.copyObject({
    Bucket,
    Key: 'b',
    CopySource: `${Bucket}/a`,
    MetadataDirective: 'REPLACE',
    ContentType: 'text/plain',
    Metadata: { shape: 'round' },
  });
  const head = await s3.headObject({ Bucket, Key: 'b' });
  assert.equal(head.ContentType, 'text/plain');
  assert.equal(head.ContentLanguage, undefined);
  assert.equal(head.CacheControl, undefined);
  assert.deepEqual(head.Metadata, { shape: 'round' });
  assert.deepEqual((await s3.headObject({ Bucket, Key: 'a' })).Metadata, { colour: 'red' });
});

test('CopyObject onto itself must change something', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const self = { Bucket, Key: 'a', CopySource: `${Bucket}/a` };
  await s3.putObject({ Bucket, Key: 'a', Body: 'x', Metadata: { n: '1' } });
  await refusedWith('InvalidRequest', s3.copyObject(self));
  await s3.copyObject({ ...self, MetadataDirective: 'REPLACE', Metadata: { n: '2' } });
  assert.deepEqual((await s3.headObject({ Bucket, Key: 'a' })).Metadata, { n: '2' });
  await s3.copyObject({ ...self, StorageClass: 'STANDARD_IA' });
  const head = await s3.headObject({ Bucket, Key: 'a' });
  assert.equal(head.StorageClass, 'STANDARD_IA');
  assert.deepEqual(head.Metadata, { n: '2' });
  assert.equal((await content(Bucket, 'a')).toString(), 'x');
});

test('CopyObject across buckets, from multipart and from empty objects', async () => {
  const { s3 } = server;
  const [from, Bucket] = [await server.bucket(), await server.bucket()];
  const parts = [seededBytes('one', 5 * MIB), seededBytes('two', 10)];
  const ETag = await multipart(from, 'many', parts);
  await s3.putObject({ Bucket: from, Key: 'empty' });
  await s3.copyObject({ Bucket, Key: 'many', CopySource: `/${from}/many` });
  await s3.copyObject({ Bucket, Key: 'empty', CopySource: `${from}/empty` });
  sameBytes(await content(Bucket, 'many'), Buffer.concat(parts));
  const head = await s3.headObject({ Bucket, Key: 'many' });
  assert.equal(head.ETag, ETag);
  assert.deepEqual(head.Metadata, { n: '1' });
  assert.equal((await content(Bucket, 'empty')).length, 0);
});

test('CopyObject moves no data: the nodes hold as many blocks as before', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = seededBytes('shared', 3 * MIB);
  await s3.putObject({ Bucket, Key: 'a', Body: body });
  await multipart(Bucket, 'm', [seededBytes('one', 5 * MIB), seededBytes('two', MIB)]);
  const before = await blocks();
  for (let copy = 0; copy < 10; copy++) {
    await s3.copyObject({ Bucket, Key: `a${copy}`, CopySource: `${Bucket}/a` });
    await s3.copyObject({ Bucket, Key: `m${copy}`, CopySource: `${Bucket}/m` });
  }
  assert.equal(await blocks(), before);
  sameBytes(await content(Bucket, 'a9'), body);
});

test('UploadPartCopy of whole objects and parts moves no data, when the checksum is known', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = seededBytes('part', 5 * MIB);
  // CRC64NVME is what an upload keeps whose client names none.
  await s3.putObject({ Bucket, Key: 'a', Body: body, ChecksumAlgorithm: 'CRC64NVME' });
  await multipart(Bucket, 'm', [body, seededBytes('two', MIB)]);
  const before = await blocks();
  const target = { Bucket, Key: 'joined' };
  const { UploadId } = await s3.createMultipartUpload(target);
  const part = { ...target, UploadId };
  const whole = { ...part, PartNumber: 1, CopySource: `${Bucket}/a` };
  const one = await s3.uploadPartCopy(whole);
  const first = { ...part, PartNumber: 2, CopySource: `${Bucket}/m` };
  const two = await s3.uploadPartCopy({ ...first, CopySourceRange: `bytes=0-${5 * MIB - 1}` });
  const Parts = [one, two].map(({ CopyPartResult }, at) => ({
    PartNumber: at + 1,
    ETag: CopyPartResult?.ETag,
  }));
  await s3.completeMultipartUpload({ ...part, MultipartUpload: { Parts } });
  assert.equal(await blocks(), before);
  for (const Key of ['a', 'm']) await s3.deleteObject({ Bucket, Key });
  sameBytes(await content(Bucket, 'joined'), Buffer.concat([body, body]));
  // The one block that nobody copied goes.
  await blocksBecome(before - 3);
  sameBytes(await content(Bucket, 'joined'), Buffer.concat([body, body]));
});

test('A copy outlives its source, the source its copy, and blocks go with the last of them', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const before = await blocks();
  const body = seededBytes('outlive', 2 * MIB + 1);
  await s3.putObject({ Bucket, Key: 'a', Body: body });
  await s3.copyObject({ Bucket, Key: 'b', CopySource: `${Bucket}/a` });
  await s3.deleteObject({ Bucket, Key: 'a' });
  sameBytes(await content(Bucket, 'b'), body);
  await s3.copyObject({ Bucket, Key: 'c', CopySource: `${Bucket}/b` });
  await s3.putObject({ Bucket, Key: 'c', Body: 'overwritten' });
  sameBytes(await content(Bucket, 'b'), body);
  // The oldest garbage goes first: once the canary is gone, a collector that miscounts would have
  // taken the shared blocks, too. Left are the three blocks of `b` and the one of `c`, on three nodes.
  await s3.putObject({ Bucket, Key: 'canary', Body: seededBytes('canary', MIB) });
  await s3.deleteObject({ Bucket, Key: 'canary' });
  await blocksBecome(before + 12);
  sameBytes(await content(Bucket, 'b'), body);
  await s3.deleteObject({ Bucket, Key: 'b' });
  await s3.deleteObject({ Bucket, Key: 'c' });
  await blocksBecome(before);
});

test('Blocks of overwritten, deleted and aborted data are given back', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const before = await blocks();
  for (let round = 0; round < 3; round++) {
    await s3.putObject({ Bucket, Key: 'a', Body: seededBytes(`round ${round}`, 2 * MIB) });
  }
  const { UploadId } = await s3.createMultipartUpload({ Bucket, Key: 'm' });
  const part = { Bucket, Key: 'm', UploadId, PartNumber: 1 };
  await s3.uploadPart({ ...part, Body: seededBytes('first', MIB) });
  await s3.uploadPart({ ...part, Body: seededBytes('again', MIB) });
  await s3.abortMultipartUpload({ Bucket, Key: 'm', UploadId });
  const many = seededBytes('refused', MIB);
  await refusedWith(
    'PreconditionFailed',
    s3.putObject({ Bucket, Key: 'a', Body: many, IfNoneMatch: '*' }),
  );
  await blocksBecome(before + 6);
  await s3.deleteObject({ Bucket, Key: 'a' });
  await blocksBecome(before);
});

const OTHER = '"0123456789abcdef0123456789abcdef"';

test('CopyObject judges the four conditions on its source, and every failure is a 412', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const { ETag } = await s3.putObject({ Bucket, Key: 'a', Body: 'x' });
  const early = new Date('2015-01-01T00:00:00Z');
  const late = new Date('2099-01-01T00:00:00Z');
  const table: [Partial<CopyObjectCommandInput>, boolean][] = [
    [{ CopySourceIfMatch: ETag }, true],
    [{ CopySourceIfMatch: OTHER }, false],
    [{ CopySourceIfNoneMatch: OTHER }, true],
    [{ CopySourceIfNoneMatch: ETag }, false],
    [{ CopySourceIfModifiedSince: early }, true],
    [{ CopySourceIfModifiedSince: late }, false],
    [{ CopySourceIfUnmodifiedSince: late }, true],
    [{ CopySourceIfUnmodifiedSince: early }, false],
    [{ CopySourceIfMatch: ETag, CopySourceIfUnmodifiedSince: early }, true],
    [{ CopySourceIfNoneMatch: ETag, CopySourceIfModifiedSince: early }, false],
  ];
  for (const [index, [conditions, holds]] of table.entries()) {
    const Key = `copy-${index}`;
    const copy = s3.copyObject({ Bucket, Key, CopySource: `${Bucket}/a`, ...conditions });
    if (holds) {
      await copy;
      await s3.headObject({ Bucket, Key });
    } else {
      await refusedWith('PreconditionFailed', copy);
      await refusedWith(404, s3.headObject({ Bucket, Key }));
    }
  }
});

test('CopyObject from what is not there says what is missing', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const copy = (CopySource: string): Promise<unknown> =>
    s3.copyObject({ Bucket, Key: 'a', CopySource });
  await refusedWith('NoSuchKey', copy(`${Bucket}/none`));
  await refusedWith('NoSuchBucket', copy('no-such-bucket/none'));
  await s3.putObject({ Bucket, Key: 'b', Body: 'x' });
  await refusedWith(404, copy(`${Bucket}/b?versionId=abc`));
  await copy(`${Bucket}/b?versionId=null`);
  for (const bad of ['', Bucket, `${Bucket}/`, '/', '//', `${Bucket}/%zz`, 'UPPER/a']) {
    await refusedWith('InvalidArgument', copy(bad));
  }
});

test('CopyObject computes another checksum when it is asked for', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = seededBytes('checksum', MIB + 1);
  await s3.putObject({ Bucket, Key: 'a', Body: body });
  const answer = await s3.copyObject({
    Bucket,
    Key: 'b',
    CopySource: `${Bucket}/a`,
    ChecksumAlgorithm: 'SHA256',
  });
  const sha256 = digest('sha256', body, 'base64');
  assert.equal(answer.CopyObjectResult?.ChecksumSHA256, sha256);
  const head = await s3.headObject({ Bucket, Key: 'b', ChecksumMode: 'ENABLED' });
  assert.equal(head.ChecksumSHA256, sha256);
  assert.equal(head.ChecksumCRC32, undefined);
});

test('CopyObject of a key that is overwritten all the time copies one version, whole', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const bodies = Array.from({ length: 6 }, (_, at) => seededBytes(`version ${at}`, 100_000 + at));
  await s3.putObject({ Bucket, Key: 'a', Body: seededBytes('version 0', 100_000) });
  const overwrite = async (): Promise<void> => {
    for (const Body of bodies) await s3.putObject({ Bucket, Key: 'a', Body });
  };
  const copy = async (): Promise<void> => {
    for (let at = 0; at < 10; at++) {
      await s3.copyObject({ Bucket, Key: `b${at}`, CopySource: `${Bucket}/a` });
    }
  };
  await Promise.all([overwrite(), copy()]);
  const known = new Set(bodies.map((body) => digest('md5', body)));
  for (let at = 0; at < 10; at++) {
    const found = await content(Bucket, `b${at}`);
    assert.ok(known.has(digest('md5', found)), `copy ${at}`);
  }
});
