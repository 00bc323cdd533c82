/** Appending by write offset, through the SDK. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, codeOf, etagOf, refusedWith, sameBytes, useServer } from '../support/server.ts';
import { seededBytes } from '../support/files.ts';
import { putMultipart } from '../support/multipart.ts';

const server = useServer();

const MIB = 1024 * 1024;

test('appends grow an object, which reads as one', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'log' };
  const pieces = [10, 3 * MIB + 7, 1, 0, 70_000].map((size, at) =>
    seededBytes(`piece ${at}`, size),
  );
  let WriteOffsetBytes = 0;
  let tag: string | undefined;
  for (const Body of pieces) {
    const answer = await s3.putObject({ ...target, Body, WriteOffsetBytes });
    WriteOffsetBytes += Body.length;
    assert.equal(answer.Size, WriteOffsetBytes);
    if (Body.length > 0) assert.notEqual(answer.ETag, tag);
    tag = answer.ETag;
    const head = await s3.headObject(target);
    assert.deepEqual([head.ContentLength, head.ETag], [WriteOffsetBytes, tag]);
  }
  const whole = Buffer.concat(pieces);
  sameBytes(await bytesOf(await s3.getObject(target)), whole);
  for (const [from, to] of [
    [5, 20],
    [8, 3 * MIB + 20],
    [3 * MIB + 10, 3 * MIB + 18],
    [whole.length - 3, whole.length - 1],
  ] as const) {
    const part = await s3.getObject({ ...target, Range: `bytes=${from}-${to}` });
    sameBytes(await bytesOf(part), whole.subarray(from, to + 1), `${from}-${to}`);
  }
  const second = await s3.getObject({ ...target, PartNumber: 2 });
  assert.equal(second.PartsCount, 4);
  sameBytes(await bytesOf(second), pieces[1] ?? Buffer.alloc(0));
  const listed = (await s3.listObjectsV2({ Bucket: target.Bucket })).Contents?.[0];
  assert.deepEqual([listed?.Size, listed?.ETag], [whole.length, tag]);
});

test('the checksum of the object is that of all its bytes, with the algorithm it began with', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'CRC64NVME'] as const) {
    const target = { Bucket, Key: ChecksumAlgorithm };
    const whole = { Bucket, Key: `${ChecksumAlgorithm} at once`, Body: 'appending' };
    const expected = await s3.putObject({ ...whole, ChecksumAlgorithm });
    await s3.putObject({ ...target, Body: 'app', ChecksumAlgorithm, WriteOffsetBytes: 0 });
    await s3.putObject({ ...target, Body: 'end', ChecksumAlgorithm, WriteOffsetBytes: 3 });
    const last = await s3.putObject({
      ...target,
      Body: 'ing',
      ChecksumAlgorithm,
      WriteOffsetBytes: 6,
    });
    const field = `Checksum${ChecksumAlgorithm}` as const;
    assert.equal(last[field], expected[field]);
    const head = await s3.headObject({ ...target, ChecksumMode: 'ENABLED' });
    assert.deepEqual([head[field], head.ChecksumType], [expected[field], 'FULL_OBJECT']);
  }
  // Another algorithm is checked, and the object goes on in its own.
  const other = { Bucket, Key: 'CRC32', Body: '!', WriteOffsetBytes: 9 };
  const wrong = { ...other, ChecksumCRC32C: 'AAAAAA==' };
  await refusedWith('BadDigest', s3.putObject(wrong));
  const mixed = await s3.putObject({ ...other, ChecksumAlgorithm: 'CRC32C' });
  const whole = { Bucket, Key: 'whole', Body: 'appending!' };
  const expected = await s3.putObject({ ...whole, ChecksumAlgorithm: 'CRC32' });
  assert.equal(mixed.ChecksumCRC32, expected.ChecksumCRC32);
  await s3.putObject({ Bucket, Key: 'sha', Body: 'x', ChecksumAlgorithm: 'SHA256' });
  await refusedWith(
    'InvalidRequest',
    s3.putObject({
      Bucket,
      Key: 'sha',
      Body: 'y',
      ChecksumAlgorithm: 'SHA256',
      WriteOffsetBytes: 1,
    }),
  );
});

test('a wrong offset is InvalidWriteOffset, and the object stays as it is', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  await refusedWith(
    'InvalidWriteOffset',
    s3.putObject({ ...target, Body: 'x', WriteOffsetBytes: 1 }),
  );
  await refusedWith('NotFound', s3.headObject(target));
  await s3.putObject({ ...target, Body: 'four' });
  for (const WriteOffsetBytes of [0, 3, 5]) {
    await refusedWith(
      'InvalidWriteOffset',
      s3.putObject({ ...target, Body: 'x', WriteOffsetBytes }),
    );
  }
  assert.equal((await s3.headObject(target)).ETag, etagOf('four'));
  await refusedWith(
    'NoSuchBucket',
    s3.putObject({ ...target, Bucket: 'none', WriteOffsetBytes: 0 }),
  );
});

test('of many appends at one offset one wins; together they build what the winners wrote', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'race' };
  let expected = '';
  for (let round = 0; round < 8; round++) {
    const codes = await Promise.all(
      ['a', 'b', 'c', 'd'].map((letter) =>
        codeOf(
          s3.putObject({
            ...target,
            Body: letter.repeat(round + 1),
            WriteOffsetBytes: expected.length,
          }),
        ),
      ),
    );
    const winner = codes.indexOf('ok');
    assert.deepEqual(
      codes.filter((_, at) => at !== winner),
      ['InvalidWriteOffset', 'InvalidWriteOffset', 'InvalidWriteOffset'],
    );
    expected += 'abcd'.charAt(winner).repeat(round + 1);
  }
  assert.equal((await bytesOf(await s3.getObject(target))).toString(), expected);
});

test('multipart objects and copies are appended to, each for itself', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const parts = [seededBytes('one', 5 * MIB), seededBytes('two', 99)];
  await putMultipart(s3, { Bucket, Key: 'a' }, parts);
  const size = 5 * MIB + 99;
  await s3.copyObject({ Bucket, Key: 'b', CopySource: `${Bucket}/a` });
  await s3.putObject({ Bucket, Key: 'a', Body: 'to a', WriteOffsetBytes: size });
  await s3.putObject({ Bucket, Key: 'b', Body: 'to b!', WriteOffsetBytes: size });
  for (const [Key, tail] of [
    ['a', 'to a'],
    ['b', 'to b!'],
  ] as const) {
    const body = await bytesOf(await s3.getObject({ Bucket, Key }));
    sameBytes(body, Buffer.concat([...parts, Buffer.from(tail)]), Key);
  }
});

test('what an append cannot say or cannot be done to is refused', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const target = { Bucket, Key: 'a', Body: 'x' };
  await s3.putObject({ ...target, Metadata: { kept: 'yes' }, WriteOffsetBytes: 0 });
  const more = { ...target, WriteOffsetBytes: 1 };
  await refusedWith('InvalidRequest', s3.putObject({ ...more, Metadata: { a: 'b' } }));
  await refusedWith('InvalidRequest', s3.putObject({ ...more, Tagging: 'a=b' }));
  await refusedWith('InvalidRequest', s3.putObject({ ...more, CacheControl: 'no-store' }));
  await refusedWith('PreconditionFailed', s3.putObject({ ...more, IfMatch: 'other' }));
  await s3.putObject({ ...more, ContentType: 'application/octet-stream' });
  assert.deepEqual((await s3.headObject({ Bucket, Key: 'a' })).Metadata, { kept: 'yes' });
  await s3.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: 'Enabled' } });
  await refusedWith('InvalidRequest', s3.putObject({ ...target, WriteOffsetBytes: 2 }));
});

test('nothing that is encrypted is appended to, by header or by the default of the bucket', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const target = { Bucket, Key: 'a', Body: 'x' };
  const asked = { ...target, WriteOffsetBytes: 0, ServerSideEncryption: 'AES256' as const };
  await refusedWith('InvalidRequest', s3.putObject(asked));
  const ApplyServerSideEncryptionByDefault = { SSEAlgorithm: 'AES256' as const };
  await s3.putBucketEncryption({
    Bucket,
    ServerSideEncryptionConfiguration: { Rules: [{ ApplyServerSideEncryptionByDefault }] },
  });
  await s3.putObject(target);
  await refusedWith('InvalidRequest', s3.putObject({ ...target, WriteOffsetBytes: 1 }));
  await s3.deleteBucketEncryption({ Bucket });
  await refusedWith('InvalidRequest', s3.putObject({ ...target, WriteOffsetBytes: 1 }));
});
