/** Checksums: every algorithm, as header and as trailer, right and wrong, and how they come back. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { before, describe, test } from 'node:test';
import { ChecksumAlgorithm, type ChecksumType, S3 } from '@aws-sdk/client-s3';
import { digestOf, loadDigests } from '../../base/digest.ts';
import { CHECKSUM_ALGORITHMS } from '../../base/object-checksum.ts';
import { seededBytes } from '../support/files.ts';
import {
  bytesOf,
  digest,
  etagOf,
  refusedWith,
  sameBytes,
  SERVER_KEYS,
  useServer,
} from '../support/server.ts';

const server = useServer();
before(() => loadDigests());

type Algorithm = (typeof CHECKSUM_ALGORITHMS)[number];
type Field = `Checksum${Algorithm}`;
const fieldOf = (algorithm: Algorithm): Field => `Checksum${algorithm}`;
const sumOf = (algorithm: Algorithm, bytes: Uint8Array): string =>
  digestOf(algorithm, bytes).toString('base64');

/** Published check values of `123456789`; base/digest.test.ts holds the code to more of them. */
const CHECK: Record<Algorithm, string> = {
  CRC32: 'cbf43926',
  CRC32C: 'e3069283',
  CRC64NVME: 'ae8b14860a799888',
  SHA1: 'f7c3bc1d808e04732adf679965ccc34ca7ae3441',
  SHA256: '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225',
};

/** All checksum fields of an answer that are there. */
function found(answer: Partial<Record<Field, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    CHECKSUM_ALGORITHMS.flatMap((algorithm) => {
      const value = answer[fieldOf(algorithm)];
      return value === undefined ? [] : [[algorithm, value]];
    }),
  );
}

for (const algorithm of CHECKSUM_ALGORITHMS) {
  describe(algorithm, () => {
    test('by header is verified, kept and returned by Put, Get, Head, Attributes and List', async () => {
      const { s3 } = server;
      const Bucket = await server.bucket();
      const value = Buffer.from(CHECK[algorithm], 'hex').toString('base64');
      const given = { Bucket, Key: 'a', Body: '123456789', [fieldOf(algorithm)]: value };
      const put = await s3.putObject(given);
      const target = { Bucket, Key: 'a' };
      const answers = [
        put,
        await s3.getObject({ ...target, ChecksumMode: 'ENABLED' }),
        await s3.headObject({ ...target, ChecksumMode: 'ENABLED' }),
      ];
      for (const answer of answers) {
        assert.deepEqual(found(answer), { [algorithm]: value });
        assert.equal(answer.ChecksumType, 'FULL_OBJECT');
      }
      const ObjectAttributes = ['Checksum'] as 'Checksum'[];
      const attributes = await s3.getObjectAttributes({ ...target, ObjectAttributes });
      assert.deepEqual(found(attributes.Checksum ?? {}), { [algorithm]: value });
      const listed = (await s3.listObjectsV2({ Bucket })).Contents?.[0];
      assert.deepEqual(listed?.ChecksumAlgorithm, [algorithm]);
      assert.equal(listed?.ChecksumType, 'FULL_OBJECT');
      // Unasked for, they are not sent; nor with a part of the content.
      assert.deepEqual(found(await s3.headObject(target)), {});
      const part = await s3.getObject({ ...target, ChecksumMode: 'ENABLED', Range: 'bytes=0-1' });
      assert.deepEqual(found(part), {});
    });

    test('by trailer is verified and kept', async () => {
      const { s3 } = server;
      const Bucket = await server.bucket();
      const body = seededBytes(`trailer ${algorithm}`, 1_500_000);
      const put = await s3.putObject({
        Bucket,
        Key: 'a',
        Body: Readable.from([body.subarray(0, 700_000), body.subarray(700_000)]),
        ContentLength: body.length,
        ChecksumAlgorithm: algorithm,
      });
      assert.deepEqual(found(put), { [algorithm]: sumOf(algorithm, body) });
      const answer = await s3.getObject({ Bucket, Key: 'a', ChecksumMode: 'ENABLED' });
      assert.deepEqual(found(answer), { [algorithm]: sumOf(algorithm, body) });
      sameBytes(await bytesOf(answer), body);
    });

    test('that is wrong, or no digest at all, is BadDigest and nothing is stored', async () => {
      const { s3 } = server;
      const Bucket = await server.bucket();
      const target = { Bucket, Key: 'a' };
      await s3.putObject({ ...target, Body: 'old' });
      const wrong = sumOf(algorithm, Buffer.from('something else'));
      const put = { ...target, Body: '123456789' };
      await refusedWith('BadDigest', s3.putObject({ ...put, [fieldOf(algorithm)]: wrong }));
      const nonsense = { [fieldOf(algorithm)]: 'bm8=' };
      await refusedWith('BadDigest', s3.putObject({ ...put, ...nonsense }));
      assert.equal((await s3.headObject(target)).ETag, etagOf('old'));
    });

    test('of a multipart upload is computed from its parts', async () => {
      const types: ChecksumType[] = algorithm.startsWith('CRC') ? ['FULL_OBJECT'] : [];
      if (algorithm !== 'CRC64NVME') types.push('COMPOSITE');
      for (const ChecksumType of types) await multipart(algorithm, ChecksumType);
    });
  });
}

/** Two parts, checked and completed with the algorithm; everything that shows the checksum. */
async function multipart(algorithm: Algorithm, ChecksumType: ChecksumType): Promise<void> {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const target = { Bucket, Key: 'a' };
  const field = fieldOf(algorithm);
  const bodies = [seededBytes('one', 5 * 1024 * 1024), seededBytes('two', 1000)];
  const sums = bodies.map((body) => digestOf(algorithm, body));
  const made = await s3.createMultipartUpload({
    ...target,
    ChecksumAlgorithm: algorithm,
    ChecksumType,
  });
  assert.equal(made.ChecksumAlgorithm, algorithm);
  assert.equal(made.ChecksumType, ChecksumType);
  const { UploadId } = made;
  const Parts = [];
  for (const [index, Body] of bodies.entries()) {
    const PartNumber = index + 1;
    const sum = { [field]: sums[index]?.toString('base64') };
    const wrong = { [field]: sumOf(algorithm, Buffer.from('no')) };
    const part = { ...target, UploadId, PartNumber, Body, ChecksumAlgorithm: algorithm };
    await refusedWith('BadDigest', s3.uploadPart({ ...part, ...wrong }));
    const { ETag } = await s3.uploadPart({ ...part, ...sum });
    Parts.push({ PartNumber, ETag, ...sum });
  }
  const listed = await s3.listParts({ ...target, UploadId });
  assert.equal(listed.ChecksumAlgorithm, algorithm);
  assert.equal(listed.ChecksumType, ChecksumType);
  assert.deepEqual(
    listed.Parts?.map((part) => part[field]),
    sums.map((sum) => sum.toString('base64')),
  );
  const whole = Buffer.concat(bodies);
  const expected =
    ChecksumType === 'FULL_OBJECT'
      ? sumOf(algorithm, whole)
      : `${sumOf(algorithm, Buffer.concat(sums))}-2`;
  const complete = { ...target, UploadId, MultipartUpload: { Parts }, ChecksumType };
  const wrong = { [field]: sumOf(algorithm, Buffer.from('no')) };
  await refusedWith('BadDigest', s3.completeMultipartUpload({ ...complete, ...wrong }));
  const done = await s3.completeMultipartUpload({ ...complete, [field]: expected });
  assert.deepEqual(found(done), { [algorithm]: expected });
  const head = await s3.headObject({ ...target, ChecksumMode: 'ENABLED' });
  assert.deepEqual(found(head), { [algorithm]: expected });
  assert.equal(head.ChecksumType, ChecksumType);
  const part = await s3.headObject({ ...target, ChecksumMode: 'ENABLED', PartNumber: 2 });
  assert.deepEqual(found(part), { [algorithm]: sums[1]?.toString('base64') });
  const answer = await s3.getObject({ ...target, ChecksumMode: 'ENABLED' });
  sameBytes(await bytesOf(answer), whole);
}

test('Without a checksum from the client a CRC64NVME of the object is kept', async () => {
  const Bucket = await server.bucket();
  const s3 = new S3({
    endpoint: server.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: SERVER_KEYS.accessKey, secretAccessKey: SERVER_KEYS.secretKey },
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  try {
    const put = await s3.putObject({ Bucket, Key: 'a', Body: '123456789' });
    const value = Buffer.from(CHECK.CRC64NVME, 'hex').toString('base64');
    assert.deepEqual(found(put), { CRC64NVME: value });
    const head = await s3.headObject({ Bucket, Key: 'a', ChecksumMode: 'ENABLED' });
    assert.deepEqual(found(head), { CRC64NVME: value });
    assert.equal((await bytesOf(await s3.getObject({ Bucket, Key: 'a' }))).length, 9);
  } finally {
    s3.destroy();
  }
});

test('The SDK’s defaults: CRC32 kept of a put, CRC64NVME of an upload whose parts carry CRC32', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = Buffer.from('as it comes');
  const put = await s3.putObject({ Bucket, Key: 'a', Body: body });
  assert.deepEqual(found(put), { CRC32: sumOf('CRC32', body) });
  const { UploadId } = await s3.createMultipartUpload({ Bucket, Key: 'b' });
  const part = await s3.uploadPart({ Bucket, Key: 'b', UploadId, PartNumber: 1, Body: body });
  const Parts = [{ PartNumber: 1, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32 }];
  const MultipartUpload = { Parts };
  await s3.completeMultipartUpload({ Bucket, Key: 'b', UploadId, MultipartUpload });
  const answer = await s3.getObject({ Bucket, Key: 'b', ChecksumMode: 'ENABLED' });
  sameBytes(await bytesOf(answer), body);
});

test('Content-MD5 is verified: wrong is BadDigest, malformed InvalidDigest, nothing stored', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const put = (ContentMD5: string): Promise<unknown> =>
    s3.putObject({ Bucket, Key: 'a', Body: 'body', ContentMD5 });
  await refusedWith('BadDigest', put(digest('md5', 'other', 'base64')));
  await refusedWith('InvalidDigest', put('not base64 of 16 bytes'));
  await refusedWith(404, s3.headObject({ Bucket, Key: 'a' }));
  await put(digest('md5', 'body', 'base64'));
});

test('CreateMultipartUpload refuses a type that its algorithm does not have', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const create = (ChecksumAlgorithm: Algorithm, ChecksumType: ChecksumType): Promise<unknown> =>
    s3.createMultipartUpload({ Bucket, Key: 'a', ChecksumAlgorithm, ChecksumType });
  await refusedWith('InvalidRequest', create('SHA1', 'FULL_OBJECT'));
  await refusedWith('InvalidRequest', create('SHA256', 'FULL_OBJECT'));
  await refusedWith('InvalidRequest', create('CRC64NVME', 'COMPOSITE'));
});

test('A part with another algorithm than its upload asks for is refused', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const { UploadId } = await s3.createMultipartUpload({
    ...target,
    ChecksumAlgorithm: ChecksumAlgorithm.SHA256,
  });
  const part = { ...target, UploadId, PartNumber: 1, Body: 'x' };
  await refusedWith('InvalidRequest', s3.uploadPart({ ...part, ChecksumAlgorithm: 'CRC32C' }));
});

test('Copies keep the checksum, of plain and of multipart objects', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'x', ChecksumAlgorithm: 'SHA1' });
  const CopySource = `${Bucket}/a`;
  const { CopyObjectResult } = await s3.copyObject({ Bucket, Key: 'b', CopySource });
  const expected = { SHA1: digest('sha1', 'x', 'base64') };
  assert.deepEqual(found(CopyObjectResult ?? {}), expected);
  const head = await s3.headObject({ Bucket, Key: 'b', ChecksumMode: 'ENABLED' });
  assert.deepEqual(found(head), expected);
});
