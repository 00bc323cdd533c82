/** Range and partNumber through the official SDK. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededBytes } from '../support/files.ts';
import { signedClient } from '../support/http.ts';
import {
  bytesOf,
  etagOf,
  refusedWith,
  sameBytes,
  SERVER_KEYS,
  useServer,
} from '../support/server.ts';

const server = useServer();
const MIB = 1024 * 1024;

/** Range header → [first, after last], against an object of `size` bytes. */
function table(size: number): [header: string, start: number, end: number][] {
  return [
    ['bytes=0-0', 0, 1],
    ['bytes=0-9', 0, 10],
    [`bytes=${MIB - 1}-${MIB}`, MIB - 1, MIB + 1],
    [`bytes=${MIB}-${2 * MIB - 1}`, MIB, 2 * MIB],
    [`bytes=10-${2 * MIB + 5}`, 10, 2 * MIB + 6],
    ['bytes=100-', 100, size],
    [`bytes=${size - 1}-`, size - 1, size],
    [`bytes=${size - 5}-${size + 1000}`, size - 5, size],
    ['bytes=0-99999999999999999999', 0, size],
    ['bytes=-1', size - 1, size],
    ['bytes=-100', size - 100, size],
    [`bytes=-${size + 7}`, 0, size],
    [`bytes=0-${size - 1}`, 0, size],
    ['bytes = 5 - 6', 5, 7],
  ];
}

test('GetObject and HeadObject answer ranges with 206 and exactly those bytes', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = seededBytes('ranges', 3 * MIB + 7);
  await s3.putObject({ Bucket, Key: 'a', Body: body });
  for (const [Range, start, end] of table(body.length)) {
    const got = await s3.getObject({ Bucket, Key: 'a', Range });
    sameBytes(await bytesOf(got), body.subarray(start, end), Range);
    const head = await s3.headObject({ Bucket, Key: 'a', Range });
    for (const answer of [got, head]) {
      assert.equal(answer.$metadata.httpStatusCode, 206, Range);
      assert.equal(answer.ContentRange, `bytes ${start}-${end - 1}/${body.length}`);
      assert.equal(answer.ContentLength, end - start);
      assert.equal(answer.ETag, etagOf(body));
    }
  }
});

test('A range that S3 does not understand, or several, is answered with everything', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = Buffer.from('0123456789');
  await s3.putObject({ Bucket, Key: 'a', Body: body });
  for (const Range of ['bytes=5-2', 'bytes=-', 'bytes=a-b', 'lines=0-1', 'bytes=0-1,3-4', '0-1']) {
    const answer = await s3.getObject({ Bucket, Key: 'a', Range });
    assert.equal(answer.$metadata.httpStatusCode, 200, Range);
    assert.equal(answer.ContentRange, undefined);
    sameBytes(await bytesOf(answer), body, Range);
  }
});

test('A range beyond the object is InvalidRange, also for an empty object', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'ten', Body: '0123456789' });
  await s3.putObject({ Bucket, Key: 'empty' });
  const refused: [string, string][] = [
    ['ten', 'bytes=10-'],
    ['ten', 'bytes=10-20'],
    ['ten', 'bytes=-0'],
    ['ten', 'bytes=99999999999999999999-'],
    ['empty', 'bytes=0-'],
    ['empty', 'bytes=0-0'],
    ['empty', 'bytes=-5'],
  ];
  for (const [Key, Range] of refused) {
    const error = await refusedWith('InvalidRange', s3.getObject({ Bucket, Key, Range }));
    assert.equal(error.$metadata.httpStatusCode, 416);
    await refusedWith(416, s3.headObject({ Bucket, Key, Range }));
  }
});

test('If-Range sends the range of the same object, and all of another one', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const { ETag } = await s3.putObject({ Bucket, Key: 'a', Body: '0123456789' });
  // The SDK has no field for it.
  const client = signedClient(() => server.endpoint, SERVER_KEYS);
  const get = async (ifRange: string): Promise<string> => {
    const headers = { range: 'bytes=2-4', 'if-range': ifRange };
    const answer = await client.send({ method: 'GET', path: `/${Bucket}/a`, headers });
    return `${answer.status} ${answer.body.toString()}`;
  };
  const { LastModified } = await s3.headObject({ Bucket, Key: 'a' });
  assert.equal(await get(ETag ?? ''), '206 234');
  assert.equal(await get('"0123456789abcdef0123456789abcdef"'), '200 0123456789');
  assert.equal(await get(LastModified?.toUTCString() ?? ''), '206 234');
  assert.equal(await get('Thu, 01 Jan 2015 00:00:00 GMT'), '200 0123456789');
  client.close();
});

test('partNumber selects a part of a multipart object, or all of an ordinary one', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const Key = 'a';
  const parts = [5 * MIB, 5 * MIB + 11, 17].map((size) => seededBytes(`part ${size}`, size));
  const { UploadId } = await s3.createMultipartUpload({ Bucket, Key });
  const Parts = await Promise.all(
    parts.map(async (Body, index) => {
      const PartNumber = 3 * index + 2;
      const { ETag } = await s3.uploadPart({ Bucket, Key, UploadId, PartNumber, Body });
      return { PartNumber, ETag };
    }),
  );
  await s3.completeMultipartUpload({ Bucket, Key, UploadId, MultipartUpload: { Parts } });
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  let offset = 0;
  for (const [index, part] of parts.entries()) {
    const PartNumber = Parts[index]?.PartNumber;
    const got = await s3.getObject({ Bucket, Key, PartNumber });
    sameBytes(await bytesOf(got), part, `part ${PartNumber}`);
    const head = await s3.headObject({ Bucket, Key, PartNumber });
    for (const answer of [got, head]) {
      assert.equal(answer.$metadata.httpStatusCode, 206);
      assert.equal(answer.ContentLength, part.length);
      assert.equal(answer.ContentRange, `bytes ${offset}-${offset + part.length - 1}/${size}`);
      assert.equal(answer.PartsCount, 3);
    }
    offset += part.length;
  }
  await refusedWith('InvalidPart', s3.getObject({ Bucket, Key, PartNumber: 1 }));
  await refusedWith(400, s3.headObject({ Bucket, Key, PartNumber: 9 }));
  const both = s3.getObject({ Bucket, Key, PartNumber: 2, Range: 'bytes=0-1' });
  await refusedWith('InvalidRequest', both);

  await s3.putObject({ Bucket, Key: 'plain', Body: 'plain' });
  const plain = await s3.getObject({ Bucket, Key: 'plain', PartNumber: 1 });
  assert.equal((await bytesOf(plain)).toString(), 'plain');
  assert.equal(plain.PartsCount, undefined);
  await refusedWith(400, s3.headObject({ Bucket, Key: 'plain', PartNumber: 2 }));
});

test('Ranges of a multipart object cross its seams', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const Key = 'a';
  const parts = [5 * MIB + 1, 5 * MIB + 13, 99].map((size) => seededBytes(`seam ${size}`, size));
  const body = Buffer.concat(parts);
  const { UploadId } = await s3.createMultipartUpload({ Bucket, Key });
  const Parts = [];
  for (const [index, Body] of parts.entries()) {
    const PartNumber = index + 1;
    const { ETag } = await s3.uploadPart({ Bucket, Key, UploadId, PartNumber, Body });
    Parts.push({ PartNumber, ETag });
  }
  await s3.completeMultipartUpload({ Bucket, Key, UploadId, MultipartUpload: { Parts } });
  const first = 5 * MIB + 1;
  const ranges: [number, number][] = [
    [first - 1, first],
    [first - 2 * MIB, first + 2 * MIB],
    [0, body.length - 1],
    [body.length - 100, body.length - 1],
    [first + 5 * MIB + 12, first + 5 * MIB + 13],
  ];
  for (const [start, last] of ranges) {
    const answer = await s3.getObject({ Bucket, Key, Range: `bytes=${start}-${last}` });
    sameBytes(await bytesOf(answer), body.subarray(start, last + 1), `${start}-${last}`);
  }
});
