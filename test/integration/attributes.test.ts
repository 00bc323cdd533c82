/** GetObjectAttributes through the official SDK. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededBytes } from '../support/files.ts';
import { putMultipart } from '../support/multipart.ts';
import { digest, refusedWith, useServer } from '../support/server.ts';

const server = useServer();
const ALL = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'] as const;

test('GetObjectAttributes of a plain object gives what was asked for, and no parts', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  await s3.putObject({ ...target, Body: 'four', ChecksumAlgorithm: 'SHA256' });
  const all = await s3.getObjectAttributes({ ...target, ObjectAttributes: [...ALL] });
  assert.equal(all.ETag, digest('md5', 'four'), 'without quotes');
  assert.equal(all.ObjectSize, 4);
  assert.equal(all.StorageClass, 'STANDARD');
  assert.equal(all.Checksum?.ChecksumSHA256, digest('sha256', 'four', 'base64'));
  assert.equal(all.Checksum?.ChecksumType, 'FULL_OBJECT');
  assert.equal(all.ObjectParts, undefined);
  assert.ok(all.LastModified);
  const size = await s3.getObjectAttributes({ ...target, ObjectAttributes: ['ObjectSize'] });
  assert.equal(size.ObjectSize, 4);
  assert.equal(size.ETag, undefined);
  assert.equal(size.Checksum, undefined);
});

test('GetObjectAttributes of a multipart object pages through its parts', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const parts = [5, 5, 5, 1].map((mib, at) => seededBytes(`part ${at}`, mib * 1024 * 1024));
  await putMultipart(s3, target, parts);
  const whole = await s3.getObjectAttributes({ ...target, ObjectAttributes: [...ALL] });
  assert.equal(whole.ObjectParts?.TotalPartsCount, 4);
  assert.match(whole.ETag ?? '', /^[0-9a-f]{32}-4$/);
  assert.equal(whole.ObjectSize, 16 * 1024 * 1024);
  const seen: [number | undefined, number | undefined][] = [];
  let PartNumberMarker: string | undefined;
  for (let more = true; more; ) {
    const { ObjectParts } = await s3.getObjectAttributes({
      ...target,
      ObjectAttributes: ['ObjectParts'],
      MaxParts: 3,
      PartNumberMarker,
    });
    assert.ok((ObjectParts?.Parts ?? []).length <= 3);
    seen.push(
      ...(ObjectParts?.Parts ?? []).map((part): (typeof seen)[number] => [
        part.PartNumber,
        part.Size,
      ]),
    );
    PartNumberMarker = ObjectParts?.NextPartNumberMarker;
    more = ObjectParts?.IsTruncated === true;
  }
  assert.deepEqual(
    seen,
    parts.map((part, at) => [at + 1, part.length]),
  );
});

test('GetObjectAttributes refuses unknown names and missing objects', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  await refusedWith('NoSuchKey', s3.getObjectAttributes({ ...target, ObjectAttributes: ['ETag'] }));
  await s3.putObject({ ...target, Body: 'x' });
  const odd = ['Colour' as 'ETag'];
  await refusedWith(
    'InvalidArgument',
    s3.getObjectAttributes({ ...target, ObjectAttributes: odd }),
  );
});

test('GetObjectTagging of an object without tags is an empty set', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  await refusedWith('NoSuchKey', s3.getObjectTagging(target));
  await s3.putObject({ ...target, Body: 'x' });
  assert.deepEqual((await s3.getObjectTagging(target)).TagSet, []);
});
