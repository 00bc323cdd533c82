/** Tags of objects and buckets, through the SDK. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tag } from '@aws-sdk/client-s3';
import { refusedWith, useServer } from '../support/server.ts';

const server = useServer();

const many = (count: number): Tag[] =>
  Array.from({ length: count }, (_, index) => ({
    Key: `key-${String(index).padStart(2, '0')}`,
    Value: `value ${index}`,
  }));

async function tagsOf(Bucket: string, Key: string, VersionId?: string): Promise<Tag[]> {
  return (await server.s3.getObjectTagging({ Bucket, Key, VersionId })).TagSet ?? [];
}

test('PutObjectTagging replaces the tags, DeleteObjectTagging takes them off', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const name = { Bucket, Key: 'a' };
  await s3.putObject({ ...name, Body: 'x' });
  const before = await s3.headObject(name);
  assert.equal(before.TagCount, undefined);
  assert.deepEqual(await tagsOf(Bucket, 'a'), []);
  await s3.putObjectTagging({ ...name, Tagging: { TagSet: many(10) } });
  assert.deepEqual(await tagsOf(Bucket, 'a'), many(10));
  assert.equal((await s3.headObject(name)).TagCount, 10);
  assert.equal((await s3.getObject(name)).TagCount, 10);
  const TagSet = [{ Key: 'ключ', Value: '' }];
  await s3.putObjectTagging({ ...name, Tagging: { TagSet } });
  assert.deepEqual(await tagsOf(Bucket, 'a'), TagSet);
  const tagged = await s3.headObject(name);
  assert.deepEqual([tagged.ETag, tagged.LastModified], [before.ETag, before.LastModified]);
  await s3.deleteObjectTagging(name);
  assert.deepEqual(await tagsOf(Bucket, 'a'), []);
  await s3.deleteObjectTagging(name);
  await refusedWith('NoSuchKey', s3.getObjectTagging({ Bucket, Key: 'none' }));
  await refusedWith('NoSuchKey', s3.putObjectTagging({ Bucket, Key: 'none', Tagging: { TagSet } }));
  await refusedWith('NoSuchKey', s3.deleteObjectTagging({ Bucket, Key: 'none' }));
});

test('PutObjectTagging refuses tags that cannot be and leaves those there are', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const name = { Bucket, Key: 'a' };
  await s3.putObject({ ...name, Body: 'x', Tagging: 'a=b' });
  const wrong: Tag[][] = [
    many(11),
    [{ Key: 'k'.repeat(129), Value: '' }],
    [{ Key: 'k', Value: 'v'.repeat(257) }],
    [{ Key: 'k', Value: '<' }],
    [{ Key: 'aws:k', Value: '' }],
    [...many(1), ...many(1)],
  ];
  for (const TagSet of wrong) {
    await refusedWith('InvalidTag', s3.putObjectTagging({ ...name, Tagging: { TagSet } }));
  }
  await refusedWith(
    'MalformedXML',
    s3.putObjectTagging({ ...name, Tagging: { TagSet: [{ Key: 'k', Value: undefined }] } }),
  );
  assert.deepEqual(await tagsOf(Bucket, 'a'), [{ Key: 'a', Value: 'b' }]);
});

test('PutObject takes tags in a header, and replaces them with the object', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const name = { Bucket, Key: 'a', Body: 'x' };
  await s3.putObject({ ...name, Tagging: 'c&b=x%20y&a=1' });
  assert.deepEqual(await tagsOf(Bucket, 'a'), [
    { Key: 'a', Value: '1' },
    { Key: 'b', Value: 'x y' },
    { Key: 'c', Value: '' },
  ]);
  await s3.putObject(name);
  assert.deepEqual(await tagsOf(Bucket, 'a'), []);
  await refusedWith('InvalidArgument', s3.putObject({ ...name, Tagging: 'a=1&a=2' }));
  await refusedWith('InvalidTag', s3.putObject({ ...name, Tagging: `${'k'.repeat(129)}=1` }));
});

test('CopyObject keeps the tags or takes those of the request', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'x', Tagging: 'a=1' });
  const CopySource = `${Bucket}/a`;
  await s3.copyObject({ Bucket, Key: 'kept', CopySource });
  assert.deepEqual(await tagsOf(Bucket, 'kept'), [{ Key: 'a', Value: '1' }]);
  const replace = { Bucket, CopySource, TaggingDirective: 'REPLACE' as const };
  await s3.copyObject({ ...replace, Key: 'other', Tagging: 'b=2' });
  assert.deepEqual(await tagsOf(Bucket, 'other'), [{ Key: 'b', Value: '2' }]);
  await s3.copyObject({ ...replace, Key: 'without' });
  assert.deepEqual(await tagsOf(Bucket, 'without'), []);
  const metadata = { Bucket, CopySource, MetadataDirective: 'REPLACE' as const };
  await s3.copyObject({ ...metadata, Key: 'metadata' });
  assert.deepEqual(await tagsOf(Bucket, 'metadata'), [{ Key: 'a', Value: '1' }]);
});

test('CreateMultipartUpload gives its tags to the object', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const name = { Bucket, Key: 'a' };
  const { UploadId } = await s3.createMultipartUpload({ ...name, Tagging: 'a=1&b=2' });
  const { ETag } = await s3.uploadPart({ ...name, UploadId, PartNumber: 1, Body: 'x' });
  const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
  await s3.completeMultipartUpload({ ...name, UploadId, MultipartUpload });
  assert.equal((await tagsOf(Bucket, 'a')).length, 2);
});

test('tags belong to a version', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const VersioningConfiguration = { Status: 'Enabled' as const };
  await s3.putBucketVersioning({ Bucket, VersioningConfiguration });
  const name = { Bucket, Key: 'a' };
  const { VersionId } = await s3.putObject({ ...name, Body: 'x', Tagging: 'a=1' });
  await s3.putObject({ ...name, Body: 'y' });
  assert.deepEqual(await tagsOf(Bucket, 'a'), []);
  assert.deepEqual(await tagsOf(Bucket, 'a', VersionId), [{ Key: 'a', Value: '1' }]);
  const TagSet = [{ Key: 'b', Value: '2' }];
  const put = await s3.putObjectTagging({ ...name, VersionId, Tagging: { TagSet } });
  assert.equal(put.VersionId, VersionId);
  assert.deepEqual(await tagsOf(Bucket, 'a'), []);
  assert.deepEqual(await tagsOf(Bucket, 'a', VersionId), TagSet);
  await s3.deleteObjectTagging({ ...name, VersionId });
  assert.deepEqual(await tagsOf(Bucket, 'a', VersionId), []);
  const none = { ...name, VersionId: 'ab'.repeat(16) };
  await refusedWith('NoSuchVersion', s3.getObjectTagging(none));
  const marker = await s3.deleteObject(name);
  const named = { ...name, VersionId: marker.VersionId };
  await refusedWith('MethodNotAllowed', s3.putObjectTagging({ ...named, Tagging: { TagSet } }));
});

test('PutBucketTagging, GetBucketTagging and DeleteBucketTagging', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await refusedWith('NoSuchTagSet', s3.getBucketTagging({ Bucket }));
  await s3.putBucketTagging({ Bucket, Tagging: { TagSet: many(50) } });
  assert.deepEqual((await s3.getBucketTagging({ Bucket })).TagSet, many(50));
  await refusedWith('InvalidTag', s3.putBucketTagging({ Bucket, Tagging: { TagSet: many(51) } }));
  await s3.putBucketTagging({ Bucket, Tagging: { TagSet: many(1) } });
  assert.deepEqual((await s3.getBucketTagging({ Bucket })).TagSet, many(1));
  await s3.deleteBucketTagging({ Bucket });
  await refusedWith('NoSuchTagSet', s3.getBucketTagging({ Bucket }));
  await s3.putBucketTagging({ Bucket, Tagging: { TagSet: many(2) } });
  await s3.deleteBucket({ Bucket });
  await s3.createBucket({ Bucket });
  await refusedWith('NoSuchTagSet', s3.getBucketTagging({ Bucket }));
  await refusedWith('NoSuchBucket', s3.getBucketTagging({ Bucket: 'no-such-bucket' }));
});
