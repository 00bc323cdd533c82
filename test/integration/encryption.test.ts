/** Encrypted objects of every mode, through the SDK: content, ranges, parts, copies, keys. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { pack } from 'msgpackr';
import { placementGroup } from '../../base/ids.ts';
import { contentPerBlock } from '../../base/sealed-size.ts';
import {
  copying,
  customerKey,
  ENCRYPTION,
  keyText,
  type Mode,
  MODES,
  reading,
  saidOf,
  shown,
  sourceKey,
  writing,
} from '../support/encryption.ts';
import { refusedWith, useInspectedServer } from '../support/server.ts';

const BLOCK = 64 * 1024;
const CONTENT = contentPerBlock(BLOCK);
const MIB = 1024 * 1024;
const server = useInspectedServer({
  config: { encryption: ENCRYPTION, objects: { blockSize: BLOCK } },
});

const bytesIn = async (body: { transformToByteArray(): Promise<Uint8Array> } | undefined) =>
  Buffer.from((await body?.transformToByteArray()) ?? []);
const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
const HAS_MD5: ReadonlySet<Mode> = new Set<Mode>(['plain', 'sse-s3']);

/** The first block of an object as its nodes have it, and its record, as bytes. */
async function asKept(bucket: string, key: string): Promise<Buffer[]> {
  const found = await server.meta.getObject({ bucket, key });
  assert.ok(found.ok && found.value.object.data.kind === 'blob');
  const { blob } = found.value.object.data;
  const block = { blob, index: 0, group: placementGroup(blob, 0, 1024) };
  const kept = [pack(found.value.object)];
  for (const node of server.nodes.values()) {
    const [there] = await node.has([block]);
    if (there) kept.push((await node.get(block)).bytes);
  }
  return kept;
}

for (const mode of MODES) {
  test(`PutObject, GetObject and HeadObject of ${mode} at sizes around blocks`, async () => {
    const { s3 } = server;
    const Bucket = await server.bucket();
    for (const size of [0, 1, 13, CONTENT - 1, CONTENT, CONTENT + 1, 3 * CONTENT, 3 * BLOCK + 5]) {
      const name = { Bucket, Key: `k${size}` };
      const body = randomBytes(size);
      const put = await s3.putObject({ ...name, Body: body, ...writing(mode) });
      assert.deepEqual(saidOf(put), shown(mode), String(size));
      assert.equal(put.ETag === `"${md5(body)}"`, HAS_MD5.has(mode));
      assert.match(put.ETag ?? '', /^"[0-9a-f]{32}"$/);
      const got = await s3.getObject({ ...name, ...reading(mode) });
      assert.deepEqual(await bytesIn(got.Body), body);
      assert.deepEqual(saidOf(got), shown(mode));
      const head = await s3.headObject({ ...name, ...reading(mode) });
      assert.deepEqual(saidOf(head), shown(mode));
      assert.equal(head.ContentLength, size);
      assert.deepEqual([head.ETag, got.ETag], [put.ETag, put.ETag]);
    }
    const listed = await s3.listObjectsV2({ Bucket });
    for (const { Key, Size } of listed.Contents ?? []) assert.equal(Key, `k${Size}`);
  });

  test(`GetObject of ${mode} gives exactly the range`, async () => {
    const { s3 } = server;
    const Bucket = await server.bucket();
    const name = { Bucket, Key: 'k' };
    const body = randomBytes(3 * CONTENT + 100);
    await s3.putObject({ ...name, Body: body, ...writing(mode) });
    const edges = [
      0,
      1,
      CONTENT - 1,
      CONTENT,
      CONTENT + 1,
      2 * CONTENT,
      3 * CONTENT,
      body.length - 1,
    ];
    for (const start of edges) {
      for (const end of edges.filter((edge) => edge >= start)) {
        const Range = `bytes=${start}-${end}`;
        const got = await s3.getObject({ ...name, ...reading(mode), Range });
        assert.deepEqual(await bytesIn(got.Body), body.subarray(start, end + 1), Range);
        assert.equal(got.ContentRange, `bytes ${start}-${end}/${body.length}`);
      }
    }
    const tail = await s3.getObject({ ...name, ...reading(mode), Range: 'bytes=-7' });
    assert.deepEqual(await bytesIn(tail.Body), body.subarray(-7));
  });

  test(`a multipart object of ${mode} reads back whole, by part and by range`, async () => {
    const { s3 } = server;
    const Bucket = await server.bucket();
    const name = { Bucket, Key: 'big' };
    const bodies = [randomBytes(5 * MIB + 1), randomBytes(5 * MIB), randomBytes(10)];
    const created = await s3.createMultipartUpload({ ...name, ...writing(mode) });
    assert.deepEqual(saidOf(created), shown(mode));
    const { UploadId = '' } = created;
    const Parts = [];
    for (const [index, Body] of bodies.entries()) {
      const part = { ...name, UploadId, PartNumber: index + 1, Body, ...reading(mode) };
      const first = await s3.uploadPart(part);
      assert.deepEqual(saidOf(first), shown(mode));
      if (index === 2) assert.equal((await s3.uploadPart(part)).ETag, first.ETag, 'sent again');
      Parts.push({ PartNumber: index + 1, ETag: first.ETag });
    }
    const done = await s3.completeMultipartUpload({
      ...name,
      UploadId,
      MultipartUpload: { Parts },
      ...reading(mode),
    });
    if (mode === 'sse-s3' || mode === 'sse-kms') assert.deepEqual(saidOf(done), shown(mode));
    assert.match(done.ETag ?? '', /-3"$/);
    const whole = Buffer.concat(bodies);
    const got = await s3.getObject({ ...name, ...reading(mode) });
    assert.deepEqual(saidOf(got), shown(mode));
    assert.ok((await bytesIn(got.Body)).equals(whole));
    for (const [index, body] of bodies.entries()) {
      const part = await s3.getObject({ ...name, PartNumber: index + 1, ...reading(mode) });
      assert.ok((await bytesIn(part.Body)).equals(body));
      assert.equal(part.PartsCount, 3);
    }
    const start = 5 * MIB - 3;
    const across = await s3.getObject({
      ...name,
      ...reading(mode),
      Range: `bytes=${start}-${whole.length - 5}`,
    });
    assert.ok((await bytesIn(across.Body)).equals(whole.subarray(start, whole.length - 4)));
    const attributes = await s3.getObjectAttributes({
      ...name,
      ...reading(mode),
      ObjectAttributes: ['ObjectSize', 'ObjectParts', 'ETag'],
    });
    assert.equal(attributes.ObjectSize, whole.length);
    assert.equal(attributes.ObjectParts?.TotalPartsCount, 3);
  });
}

test('CopyObject between all modes, onto itself too, keeps the content and has the mode asked for', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = randomBytes(2 * CONTENT + 9);
  for (const from of MODES) {
    await s3.putObject({
      Bucket,
      Key: from,
      Body: body,
      Metadata: { a: 'b' },
      Tagging: 't=1',
      ...writing(from, 'old'),
    });
    for (const to of MODES) {
      const name = { Bucket, Key: `${from}/${to}` };
      const copy = await s3.copyObject({
        ...name,
        CopySource: `${Bucket}/${from}`,
        ...copying(from, 'old'),
        ...writing(to, 'new'),
      });
      assert.deepEqual(saidOf(copy), shown(to, 'new'), `${from} to ${to}`);
      const got = await s3.getObject({ ...name, ...reading(to, 'new') });
      assert.deepEqual(saidOf(got), shown(to, 'new'));
      assert.deepEqual(await bytesIn(got.Body), body);
      assert.deepEqual([got.Metadata, got.TagCount], [{ a: 'b' }, 1]);
      assert.equal(got.ETag === `"${md5(body)}"`, HAS_MD5.has(to), `ETag of ${from} to ${to}`);
      const checked = await s3.headObject({
        ...name,
        ...reading(to, 'new'),
        ChecksumMode: 'ENABLED',
      });
      assert.equal(checked.ChecksumCRC32, copy.CopyObjectResult?.ChecksumCRC32);
      assert.equal(checked.ChecksumType, 'FULL_OBJECT');
    }
  }
  const itself = { Bucket, Key: 'sse-c', CopySource: `${Bucket}/sse-c` };
  await s3.copyObject({ ...itself, ...copying('sse-c', 'old'), ...customerKey('newer') });
  const got = await s3.getObject({ Bucket, Key: 'sse-c', ...customerKey('newer') });
  assert.deepEqual(await bytesIn(got.Body), body);
  await refusedWith('AccessDenied', s3.getObject({ Bucket, Key: 'sse-c', ...customerKey('old') }));
  await refusedWith(
    'InvalidRequest',
    s3.copyObject({ Bucket, Key: 'plain', CopySource: `${Bucket}/plain` }),
  );
});

test('a copy within SSE-S3 or SSE-KMS writes no block anew', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (const mode of ['sse-s3', 'sse-kms'] as const) {
    await s3.putObject({ Bucket, Key: mode, Body: randomBytes(3 * CONTENT), ...writing(mode) });
    const before = server.meta.getObject({ bucket: Bucket, key: mode });
    const to = mode === 'sse-kms' ? { ...writing(mode), SSEKMSKeyId: 'k2' } : writing(mode);
    const CopySource = `${Bucket}/${mode}`;
    const copy = await s3.copyObject({ Bucket, Key: `${mode}-2`, CopySource, ...to });
    const source = await before;
    const target = await server.meta.getObject({ bucket: Bucket, key: `${mode}-2` });
    assert.ok(source.ok && target.ok);
    assert.deepEqual(target.value.object.data, source.value.object.data);
    assert.equal(copy.CopyObjectResult?.ETag, `"${source.value.object.etag}"`);
    if (mode === 'sse-kms') assert.equal(copy.SSEKMSKeyId, 'k2');
    await s3.deleteObject({ Bucket, Key: mode });
    const got = await s3.getObject({ Bucket, Key: `${mode}-2` });
    assert.equal((await bytesIn(got.Body)).length, 3 * CONTENT);
  }
});

test('UploadPartCopy between all modes, whole and in ranges', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = randomBytes(5 * MIB + 77);
  for (const from of MODES) {
    await s3.putObject({ Bucket, Key: from, Body: body, ...writing(from, 'old') });
    for (const to of MODES) {
      const name = { Bucket, Key: `${from}/${to}` };
      const { UploadId } = await s3.createMultipartUpload({ ...name, ...writing(to, 'new') });
      const part = { ...name, UploadId, CopySource: `${Bucket}/${from}`, ...copying(from, 'old') };
      const keys = reading(to, 'new');
      const one = await s3.uploadPartCopy({ ...part, PartNumber: 1, ...keys });
      assert.deepEqual(saidOf(one), shown(to, 'new'));
      const CopySourceRange = `bytes=${CONTENT - 1}-${CONTENT + 1}`;
      const two = await s3.uploadPartCopy({ ...part, PartNumber: 2, CopySourceRange, ...keys });
      const Parts = [one, two].map(({ CopyPartResult }, index) => ({
        PartNumber: index + 1,
        ETag: CopyPartResult?.ETag,
      }));
      await s3.completeMultipartUpload({ ...name, UploadId, MultipartUpload: { Parts } });
      const got = await s3.getObject({ ...name, ...keys });
      const expected = Buffer.concat([body, body.subarray(CONTENT - 1, CONTENT + 2)]);
      assert.ok((await bytesIn(got.Body)).equals(expected), `${from} to ${to}`);
    }
  }
});

test('an object under a key of the client is read, headed, described and copied with that key only', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const name = { Bucket, Key: 'secret' };
  await s3.putObject({ ...name, Body: 'x', ...customerKey('mine') });
  await s3.putObject({ Bucket, Key: 'plain', Body: 'x' });
  const attributes = { ...name, ObjectAttributes: ['ETag' as const] };
  const copy = { Bucket, Key: 'copy', CopySource: `${Bucket}/secret` };
  await refusedWith('InvalidRequest', s3.getObject(name));
  await refusedWith(400, s3.headObject(name));
  await refusedWith('InvalidRequest', s3.getObjectAttributes(attributes));
  await refusedWith('InvalidRequest', s3.copyObject(copy));
  const other = customerKey('other');
  await refusedWith('AccessDenied', s3.getObject({ ...name, ...other }));
  await refusedWith(403, s3.headObject({ ...name, ...other }));
  await refusedWith('AccessDenied', s3.getObjectAttributes({ ...attributes, ...other }));
  await refusedWith('AccessDenied', s3.copyObject({ ...copy, ...sourceKey('other') }));
  await refusedWith(
    'InvalidRequest',
    s3.getObject({ Bucket, Key: 'plain', ...customerKey('mine') }),
  );
  await refusedWith(
    'InvalidRequest',
    s3.copyObject({ ...copy, CopySource: `${Bucket}/plain`, ...sourceKey('mine') }),
  );
  await refusedWith('AccessDenied', s3.getObject({ ...name, ...other, IfNoneMatch: '*' }));
  await s3.deleteObject(name);
});

test('a part must come with the key of its upload, and with no other', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'source', Body: 'x' });
  const begin = async (mode: Mode) =>
    (await s3.createMultipartUpload({ Bucket, Key: mode, ...writing(mode) })).UploadId;
  const customer = { Bucket, Key: 'sse-c', UploadId: await begin('sse-c'), PartNumber: 1 };
  const plain = { Bucket, Key: 'plain', UploadId: await begin('plain'), PartNumber: 1 };
  const CopySource = `${Bucket}/source`;
  for (const keys of [{}, customerKey('other')]) {
    await refusedWith('InvalidRequest', s3.uploadPart({ ...customer, Body: 'x', ...keys }));
    await refusedWith('InvalidRequest', s3.uploadPartCopy({ ...customer, CopySource, ...keys }));
  }
  const wrong = customerKey('mine');
  await refusedWith('InvalidRequest', s3.uploadPart({ ...plain, Body: 'x', ...wrong }));
  await refusedWith('InvalidRequest', s3.uploadPartCopy({ ...plain, CopySource, ...wrong }));
  const { ETag } = await s3.uploadPart({ ...customer, Body: 'x', ...wrong });
  const end = {
    Bucket,
    Key: 'sse-c',
    UploadId: customer.UploadId,
    MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] },
  };
  await refusedWith('InvalidRequest', s3.completeMultipartUpload({ ...end, ...customerKey('x') }));
  await s3.completeMultipartUpload({ ...end, ...wrong });
});

test('every version has its own key', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: 'Enabled' } });
  const name = { Bucket, Key: 'k' };
  const versions = [];
  for (const key of ['a', 'b']) {
    versions.push(await s3.putObject({ ...name, Body: key, ...customerKey(key) }));
  }
  const [a] = versions;
  const VersionId = a?.VersionId;
  const got = await s3.getObject({ ...name, VersionId, ...customerKey('a') });
  assert.equal((await bytesIn(got.Body)).toString(), 'a');
  await refusedWith('AccessDenied', s3.getObject({ ...name, VersionId, ...customerKey('b') }));
  await refusedWith('AccessDenied', s3.getObject({ ...name, ...customerKey('a') }));
});

test('an encryption context and a bucket key belong to their object', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const name = { Bucket, Key: 'k' };
  const SSEKMSEncryptionContext = Buffer.from('{"b":"2","a":"1"}').toString('base64');
  const put = await s3.putObject({
    ...name,
    Body: 'x',
    ...writing('sse-kms'),
    SSEKMSEncryptionContext,
    BucketKeyEnabled: true,
  });
  assert.equal(put.SSEKMSEncryptionContext, SSEKMSEncryptionContext);
  assert.equal(put.BucketKeyEnabled, true);
  const got = await s3.getObject(name);
  assert.equal((await bytesIn(got.Body)).toString(), 'x');
  assert.equal(got.BucketKeyEnabled, true);
  const unknown = { ...writing('sse-kms'), SSEKMSKeyId: 'nobody' };
  await refusedWith('KMS.NotFoundException', s3.putObject({ ...name, Body: 'y', ...unknown }));
  await refusedWith('KMS.NotFoundException', s3.createMultipartUpload({ ...name, ...unknown }));
  assert.equal((await bytesIn((await s3.getObject(name)).Body)).toString(), 'x');
});

test('neither content nor keys are on the disks, in the metadata or in the log', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const marker = 'a sentence that nobody else writes';
  const names = ['mine', 'wrong', 'master', 'k1'];
  for (const mode of MODES.filter((one) => one !== 'plain')) {
    await s3.putObject({ Bucket, Key: mode, Body: marker, ...writing(mode) });
    const kept = await asKept(Bucket, mode);
    assert.equal(kept.length, 4, 'a record and three replicas');
    for (const bytes of kept) {
      assert.ok(!bytes.includes(marker));
      for (const name of names) assert.ok(!bytes.includes(Buffer.from(keyText(name), 'base64')));
    }
    await s3.getObject({ Bucket, Key: mode, ...reading(mode) });
    await refusedWith(
      mode === 'sse-c' ? 'AccessDenied' : 'InvalidRequest',
      s3.getObject({ Bucket, Key: mode, ...customerKey('wrong') }),
    );
  }
  for (const name of names) {
    const key = keyText(name);
    assert.ok(!server.log().includes(key), name);
    assert.ok(!server.log().includes(Buffer.from(key, 'base64').toString('hex')), name);
  }
});
