/** PutObject, GetObject, HeadObject and DeleteObject through the official SDK. */
import assert from 'node:assert/strict';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { test } from 'node:test';
import type { PutObjectCommandInput } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { seededBytes } from '../support/files.ts';
import { bytesOf, digest, etagOf, refusedWith, sameBytes, useServer } from '../support/server.ts';

const server = useServer();
const MIB = 1024 * 1024;
/** Around the block size of 1 MiB. */
const SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 7];

for (const size of SIZES) {
  test(`PutObject and GetObject keep ${size} bytes and their MD5`, async () => {
    const { s3 } = server;
    const Bucket = await server.bucket();
    const body = seededBytes(`size ${size}`, size);
    const put = await s3.putObject({ Bucket, Key: 'a', Body: body });
    assert.equal(put.ETag, etagOf(body));
    const got = await s3.getObject({ Bucket, Key: 'a' });
    sameBytes(await bytesOf(got), body);
    const head = await s3.headObject({ Bucket, Key: 'a' });
    for (const answer of [got, head]) {
      assert.equal(answer.ContentLength, size);
      assert.equal(answer.ETag, put.ETag);
      assert.equal(answer.AcceptRanges, 'bytes');
      assert.equal(answer.ContentType, 'application/octet-stream');
      assert.ok(Math.abs(Date.now() - (answer.LastModified?.getTime() ?? 0)) < 60_000);
    }
  });
}

test('PutObject keeps all system metadata and returns it with Get and Head', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const metadata = {
    ContentType: 'text/html; charset=utf-8',
    ContentEncoding: 'identity',
    ContentLanguage: 'de-CH, en',
    ContentDisposition: 'attachment; filename="a b.html"',
    CacheControl: 'max-age=60, private',
    Expires: new Date('2031-01-02T03:04:05Z'),
    WebsiteRedirectLocation: '/elsewhere',
    StorageClass: 'STANDARD_IA',
  } as const;
  await s3.putObject({ Bucket, Key: 'a', Body: 'x', ...metadata });
  for (const answer of [
    await s3.getObject({ Bucket, Key: 'a' }),
    await s3.headObject({ Bucket, Key: 'a' }),
  ]) {
    const { Expires, ...rest } = metadata;
    for (const [name, value] of Object.entries(rest)) {
      assert.equal(answer[name as keyof typeof rest], value, name);
    }
    assert.equal(answer.ExpiresString, Expires.toUTCString());
  }
  const listed = (await s3.listObjectsV2({ Bucket })).Contents?.[0];
  assert.equal(listed?.StorageClass, 'STANDARD_IA');
});

test('PutObject keeps user metadata, also beyond ASCII, and replaces all of it the next time', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const Metadata = { colour: 'red', 'with-hyphen': '  inner  spaces ', long: 'm'.repeat(1900) };
  await s3.putObject({ Bucket, Key: 'a', Body: 'x', Metadata });
  const head = await s3.headObject({ Bucket, Key: 'a' });
  assert.deepEqual(head.Metadata, { ...Metadata, 'with-hyphen': 'inner  spaces' });
  await s3.putObject({ Bucket, Key: 'a', Body: 'x', Metadata: { other: '1' } });
  assert.deepEqual((await s3.headObject({ Bucket, Key: 'a' })).Metadata, { other: '1' });
});

test('PutObject refuses more than 2 KB of user metadata and stores nothing', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const put = (length: number): Promise<unknown> =>
    s3.putObject({ Bucket, Key: 'a', Body: 'x', Metadata: { k: 'v'.repeat(length) } });
  await refusedWith('MetadataTooLarge', put(2048));
  await refusedWith(404, s3.headObject({ Bucket, Key: 'a' }));
  await put(2047);
});

test('PutObject refuses archive classes and a redirect to nowhere', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const StorageClass = 'DEEP_ARCHIVE';
  await refusedWith('InvalidStorageClass', s3.putObject({ Bucket, Key: 'a', StorageClass }));
  const WebsiteRedirectLocation = 'javascript:1';
  await refusedWith(
    'InvalidRedirectLocation',
    s3.putObject({ Bucket, Key: 'a', WebsiteRedirectLocation }),
  );
});

test('PutObject refuses what its bucket cannot keep: ACLs, locks, two layers of encryption', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const put = { Bucket, Key: 'a', Body: 'x' };
  const ObjectLockRetainUntilDate = new Date(Date.now() + 86_400_000);
  const wishes: [Partial<PutObjectCommandInput>, string][] = [
    [{ ACL: 'public-read' }, 'AccessControlListNotSupported'],
    [{ GrantRead: `id=${'a'.repeat(64)}` }, 'InvalidArgument'],
    [{ ServerSideEncryption: 'aws:kms:dsse' }, 'NotImplemented'],
    [{ ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'k' }, 'KMS.NotFoundException'],
    [{ ObjectLockLegalHoldStatus: 'ON' }, 'InvalidRequest'],
    [{ ObjectLockMode: 'COMPLIANCE', ObjectLockRetainUntilDate }, 'InvalidRequest'],
  ];
  for (const [wish, code] of wishes) {
    await refusedWith(code, s3.putObject({ ...put, ...wish }));
  }
  await refusedWith(404, s3.headObject({ Bucket, Key: 'a' }));
  await s3.putObject({ ...put, ACL: 'private' });
});

test('PutObject replaces what was there, and its date does not go back', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  let before = 0;
  for (const size of [2 * MIB, 3, 0, MIB]) {
    const body = seededBytes(`replace ${size}`, size);
    await s3.putObject({ Bucket, Key: 'a', Body: body });
    const answer = await s3.getObject({ Bucket, Key: 'a' });
    sameBytes(await bytesOf(answer), body);
    assert.ok((answer.LastModified?.getTime() ?? 0) >= before);
    before = answer.LastModified?.getTime() ?? 0;
  }
  assert.equal((await s3.listObjectsV2({ Bucket })).KeyCount, 1);
});

test('DeleteObject is 204 with or without an object, and Get and Head are 404 afterwards', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'x' });
  for (let round = 0; round < 2; round++) {
    const removed = await s3.deleteObject({ Bucket, Key: 'a' });
    assert.equal(removed.$metadata.httpStatusCode, 204);
    const error = await refusedWith('NoSuchKey', s3.getObject({ Bucket, Key: 'a' }));
    assert.equal(error.$metadata.httpStatusCode, 404);
    await refusedWith(404, s3.headObject({ Bucket, Key: 'a' }));
  }
  assert.equal((await s3.listObjectsV2({ Bucket })).KeyCount, 0);
});

test('Versions of an unversioned object: null is the current one, all others are missing', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'x' });
  const other = { Bucket, Key: 'a', VersionId: 'abc' };
  assert.equal((await s3.getObject({ ...other, VersionId: 'null' })).ContentLength, 1);
  await refusedWith(404, s3.headObject(other));
  assert.equal((await s3.deleteObject(other)).$metadata.httpStatusCode, 204);
  await s3.headObject({ Bucket, Key: 'a' });
  await s3.deleteObject({ ...other, VersionId: 'null' });
  await refusedWith(404, s3.headObject({ Bucket, Key: 'a' }));
});

test('PutObject takes streams as the SDK sends them: in chunks, with a checksum as trailer', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = seededBytes('stream', 2 * MIB + 100);
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-stream-'));
  try {
    writeFileSync(join(folder, 'file'), body);
    const file = createReadStream(join(folder, 'file'));
    await s3.putObject({ Bucket, Key: 'file', Body: file });
  } finally {
    rmSync(folder, { recursive: true });
  }
  const pieces = Array.from({ length: 50 }, (_, at) => body.subarray(at * 999, at * 999 + 999));
  const whole = Buffer.concat(pieces);
  const ContentLength = whole.length;
  await s3.putObject({ Bucket, Key: 'pieces', Body: Readable.from(pieces), ContentLength });
  const ChecksumMode = 'ENABLED';
  for (const [Key, expected] of [
    ['file', body],
    ['pieces', whole],
  ] as const) {
    const answer = await s3.getObject({ Bucket, Key, ChecksumMode });
    sameBytes(await bytesOf(answer), expected, Key);
    assert.equal(answer.ETag, etagOf(expected));
    assert.match(answer.ChecksumCRC32 ?? '', /^[\w+/]{6}==$/);
    assert.equal(answer.ContentEncoding, undefined, 'aws-chunked is not kept');
  }
});

test('lib-storage uploads a stream of unknown length, small and large', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (const size of [0, 100, 5 * MIB, 12 * MIB + 3]) {
    const body = seededBytes(`upload ${size}`, size);
    const stream = new PassThrough();
    const upload = new Upload({ client: s3, params: { Bucket, Key: `s${size}`, Body: stream } });
    const done = upload.done();
    for (let at = 0; at < size; at += 70_001) stream.write(body.subarray(at, at + 70_001));
    stream.end();
    const { ETag } = await done;
    const answer = await s3.getObject({ Bucket, Key: `s${size}` });
    sameBytes(await bytesOf(answer), body, `${size} bytes`);
    assert.equal(answer.ETag, ETag);
    const parts = Math.ceil(size / (5 * MIB));
    if (parts > 1) assert.match(ETag ?? '', new RegExp(`^"[0-9a-f]{32}-${parts}"$`));
  }
});

test('GetObject that has begun ends with the old bytes, whatever happens to the key meanwhile', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const body = seededBytes('slow reader', 24 * MIB);
  await s3.putObject({ Bucket, Key: 'a', Body: body });
  const answer = await s3.getObject({ Bucket, Key: 'a' });
  const chunks: Buffer[] = [];
  let first = true;
  for await (const chunk of answer.Body as Readable) {
    chunks.push(chunk as Buffer);
    if (first) {
      first = false;
      await s3.putObject({ Bucket, Key: 'a', Body: 'new' });
      await s3.deleteObject({ Bucket, Key: 'a' });
      // Time for the garbage collector to do wrong.
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  sameBytes(Buffer.concat(chunks), body);
  await refusedWith('NoSuchKey', s3.getObject({ Bucket, Key: 'a' }));
});

test('Concurrent PutObjects of one key leave one of them, whole', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const bodies = Array.from({ length: 8 }, (_, index) =>
    seededBytes(`rival ${index}`, MIB + index * 1000),
  );
  await Promise.all(bodies.map((Body) => s3.putObject({ Bucket, Key: 'a', Body })));
  const answer = await s3.getObject({ Bucket, Key: 'a' });
  const found = await bytesOf(answer);
  assert.equal(answer.ETag, etagOf(found));
  assert.ok(bodies.some((body) => digest('md5', body) === digest('md5', found)));
});

test('GetObject returns response-* overrides', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'x', ContentType: 'text/plain' });
  const answer = await s3.getObject({
    Bucket,
    Key: 'a',
    ResponseContentType: 'text/csv',
    ResponseCacheControl: 'no-store',
    ResponseContentDisposition: 'attachment; filename="ü 日本.csv"',
    ResponseContentEncoding: 'identity',
    ResponseContentLanguage: 'fr',
    ResponseExpires: new Date('2031-01-02T03:04:05Z'),
  });
  assert.equal(answer.ContentType, 'text/csv');
  assert.equal(answer.CacheControl, 'no-store');
  assert.equal(
    Buffer.from(answer.ContentDisposition ?? '', 'latin1').toString(),
    'attachment; filename="ü 日本.csv"',
  );
  assert.equal(answer.ContentEncoding, 'identity');
  assert.equal(answer.ContentLanguage, 'fr');
  assert.equal(answer.ExpiresString, 'Thu, 02 Jan 2031 03:04:05 GMT');
});
