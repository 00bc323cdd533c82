/** Keys that break path-shaped stores: each is a flat string of bytes, kept and listed as it is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, refusedWith, useServer } from '../support/server.ts';

const server = useServer();

const KEYS = [
  // A key may be another's "folder".
  'a',
  'a/b',
  'a/b/c',
  'a/',
  'a//b',
  // Nothing is normalised.
  '..',
  '../up',
  'x/../../y',
  'x/./y',
  '.',
  './',
  '/',
  '//',
  '/leading',
  'trailing/',
  // Characters that URLs, forms and XML treat in their own ways.
  'with space',
  ' leading space',
  'trailing space ',
  'a+b',
  'a%25b',
  '%2F',
  'a?b=c&d#e',
  'a&b<c>d"e\'f',
  'semi;colon:comma,=@!$*()',
  '[brackets]{braces}|\\^`~',
  'tab\there',
  'cr\rlf\n',
  '\u0001',
  '\u007f',
  '__proto__',
  'constructor',
  // Beyond ASCII: byte order of UTF-8 differs from JavaScript's order at the last two.
  'ü',
  'u\u0308',
  '日本語/テスト',
  'emoji 🧱',
  '\uFFFD',
  '\uFFFF',
  '\u{10000}',
  // Longest.
  'k'.repeat(1024),
  'é'.repeat(512),
];

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
/** What the SDK makes of `encoding-type=url`. */
const decoded = (key: string | undefined): string =>
  decodeURIComponent((key ?? '').replaceAll('+', ' '));

test('Every key is stored, read, listed in byte order and deleted as itself', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (const Key of KEYS) {
    await s3.putObject({
      Bucket,
      Key,
      Body: `body of ${Key}`,
      Metadata: { n: String(KEYS.indexOf(Key)) },
    });
  }
  for (const Key of KEYS) {
    const answer = await s3.getObject({ Bucket, Key });
    assert.equal((await bytesOf(answer)).toString(), `body of ${Key}`, JSON.stringify(Key));
    assert.equal((await s3.headObject({ Bucket, Key })).Metadata?.['n'], String(KEYS.indexOf(Key)));
  }
  const sorted = KEYS.toSorted(byBytes);
  for (const list of [
    await s3.listObjectsV2({ Bucket, EncodingType: 'url' }),
    await s3.listObjects({ Bucket, EncodingType: 'url' }),
  ]) {
    assert.deepEqual(
      (list.Contents ?? []).map(({ Key }) => decoded(Key)),
      sorted,
    );
  }
  const [gone, ...rest] = KEYS;
  await s3.deleteObject({ Bucket, Key: gone });
  for (const Key of rest) await s3.headObject({ Bucket, Key });
  for (const Key of rest) {
    await s3.deleteObject({ Bucket, Key });
    await refusedWith('NoSuchKey', s3.getObject({ Bucket, Key }));
  }
  assert.equal((await s3.listObjectsV2({ Bucket })).KeyCount, 0);
});

test('Every key can be copied from, uploaded in parts and deleted in a batch', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (const Key of KEYS) {
    const { UploadId } = await s3.createMultipartUpload({ Bucket, Key });
    const part = { Bucket, Key, UploadId, PartNumber: 1 };
    const { ETag } = await s3.uploadPart({ ...part, Body: Key });
    await s3.completeMultipartUpload({
      Bucket,
      Key,
      UploadId,
      MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] },
    });
    const CopySource = `${Bucket}/${encodeURIComponent(Key)}`;
    await s3.copyObject({ Bucket, Key: 'copy', CopySource });
    const copied = await bytesOf(await s3.getObject({ Bucket, Key: 'copy' }));
    assert.equal(copied.toString(), Key);
  }
  // CR and tab cannot be written in XML as they are; the SDK escapes them.
  const Objects = [...KEYS, 'copy'].map((Key) => ({ Key }));
  const { Deleted, Errors } = await s3.deleteObjects({ Bucket, Delete: { Objects } });
  assert.deepEqual(Errors ?? [], []);
  assert.equal(Deleted?.length, Objects.length);
  assert.equal((await s3.listObjectsV2({ Bucket })).KeyCount, 0);
});

test('Prefix and delimiter of several characters, and beyond ASCII, match bytes', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const keys = ['ä→x→1', 'ä→x→2', 'ä→y', 'ä→', 'a→x', 'äb'];
  for (const Key of keys) await s3.putObject({ Bucket, Key });
  const page = await s3.listObjectsV2({ Bucket, Prefix: 'ä→', Delimiter: '→' });
  assert.deepEqual(
    (page.Contents ?? []).map(({ Key }) => Key),
    ['ä→', 'ä→y'],
  );
  assert.deepEqual(
    (page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix),
    ['ä→x→'],
  );
});

test('A key of more than 1,024 bytes is refused', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (const Key of ['k'.repeat(1025), `${'é'.repeat(512)}x`]) {
    await refusedWith('KeyTooLongError', s3.putObject({ Bucket, Key, Body: 'x' }));
    await refusedWith('KeyTooLongError', s3.getObject({ Bucket, Key }));
  }
});
