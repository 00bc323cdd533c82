/** Versions of objects, delete markers and their listing, through the SDK. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { S3ServiceException } from '@aws-sdk/client-s3';
import { refusedWith, useServer } from '../support/server.ts';

const server = useServer();
const PART = 5 * 1024 * 1024;

type Status = 'Enabled' | 'Suspended';

async function setVersioning(Bucket: string, state: Status): Promise<void> {
  const VersioningConfiguration = { Status: state };
  await server.s3.putBucketVersioning({ Bucket, VersioningConfiguration });
}

async function versionedBucket(): Promise<string> {
  const Bucket = await server.bucket();
  await setVersioning(Bucket, 'Enabled');
  return Bucket;
}

async function put(Bucket: string, Key: string, Body: string): Promise<string> {
  const { VersionId } = await server.s3.putObject({ Bucket, Key, Body });
  assert.ok(VersionId !== undefined && VersionId !== 'null');
  return VersionId;
}

async function read(Bucket: string, Key: string, VersionId?: string): Promise<string> {
  const reply = await server.s3.getObject({ Bucket, Key, VersionId });
  return (await reply.Body?.transformToString()) ?? '';
}

/** `id` of every version and `-id` of every delete marker of a key, newest first; `*`: the latest. */
async function listed(Bucket: string, Key: string): Promise<string[]> {
  const page = await server.s3.listObjectVersions({ Bucket, Prefix: Key });
  const all = [
    ...(page.Versions ?? []).map((one) => ({ ...one, sign: '' })),
    ...(page.DeleteMarkers ?? []).map((one) => ({ ...one, sign: '-' })),
  ].filter((one) => one.Key === Key);
  return all.map((one) => `${one.sign}${one.VersionId}${one.IsLatest === true ? '*' : ''}`).sort();
}

function headersOf(error: S3ServiceException): Record<string, string | undefined> {
  return error.$response?.headers ?? {};
}

test('PutBucketVersioning and GetBucketVersioning keep the state; MFA delete is refused', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  assert.equal((await s3.getBucketVersioning({ Bucket })).Status, undefined);
  for (const state of ['Suspended', 'Enabled', 'Enabled', 'Suspended'] as const) {
    await setVersioning(Bucket, state);
    assert.equal((await s3.getBucketVersioning({ Bucket })).Status, state);
  }
  const mfa = { Status: 'Enabled' as const, MFADelete: 'Enabled' as const };
  await refusedWith(
    'NotImplemented',
    s3.putBucketVersioning({ Bucket, VersioningConfiguration: mfa }),
  );
  assert.equal((await s3.getBucketVersioning({ Bucket })).Status, 'Suspended');
  await refusedWith(
    'IllegalVersioningConfigurationException',
    s3.putBucketVersioning({ Bucket, VersioningConfiguration: {} }),
  );
  const missing = { Bucket: 'no-such-bucket', VersioningConfiguration: mfa };
  await refusedWith('NoSuchBucket', s3.putBucketVersioning(missing));
});

test('PutObject returns a version id when versioning is enabled, and only then', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const name = { Bucket, Key: 'a' };
  assert.equal((await s3.putObject({ ...name, Body: 'off' })).VersionId, undefined);
  assert.equal((await s3.headObject(name)).VersionId, undefined);
  await setVersioning(Bucket, 'Enabled');
  assert.equal((await s3.headObject(name)).VersionId, 'null');
  const named = await put(Bucket, 'a', 'on');
  assert.equal((await s3.headObject(name)).VersionId, named);
  await setVersioning(Bucket, 'Suspended');
  assert.equal((await s3.putObject({ ...name, Body: 'later' })).VersionId, undefined);
  assert.equal((await s3.getObject(name)).VersionId, 'null');
  assert.equal(await read(Bucket, 'a', 'null'), 'later');
  assert.equal(await read(Bucket, 'a', named), 'on');
  assert.deepEqual(await listed(Bucket, 'a'), [named, 'null*'].sort());
});

test('GetObject, HeadObject and GetObjectAttributes read the version that is named', async () => {
  const { s3 } = server;
  const Bucket = await versionedBucket();
  const first = await put(Bucket, 'a', 'first');
  const second = await put(Bucket, 'a', 'second!');
  assert.equal(await read(Bucket, 'a'), 'second!');
  assert.equal(await read(Bucket, 'a', first), 'first');
  const head = await s3.headObject({ Bucket, Key: 'a', VersionId: first });
  assert.deepEqual([head.ContentLength, head.VersionId], [5, first]);
  const attributes = await s3.getObjectAttributes({
    Bucket,
    Key: 'a',
    VersionId: first,
    ObjectAttributes: ['ObjectSize'],
  });
  assert.deepEqual([attributes.ObjectSize, attributes.VersionId], [5, first]);
  const range = await s3.getObject({ Bucket, Key: 'a', VersionId: second, Range: 'bytes=1-2' });
  assert.equal(await range.Body?.transformToString(), 'ec');
  for (const VersionId of ['null', 'ab'.repeat(16), 'something-else']) {
    await refusedWith('NoSuchVersion', s3.getObject({ Bucket, Key: 'a', VersionId }));
  }
  await refusedWith('InvalidArgument', s3.getObject({ Bucket, Key: 'a', VersionId: 'a b' }));
});

test('DeleteObject makes a delete marker, and deleting that brings the object back', async () => {
  const { s3 } = server;
  const Bucket = await versionedBucket();
  const name = { Bucket, Key: 'a' };
  const first = await put(Bucket, 'a', 'x');
  const deleted = await s3.deleteObject(name);
  assert.equal(deleted.DeleteMarker, true);
  const marker = deleted.VersionId ?? '';
  const missing = await refusedWith('NoSuchKey', s3.getObject(name));
  assert.equal(headersOf(missing)['x-amz-delete-marker'], 'true');
  assert.equal(headersOf(missing)['x-amz-version-id'], marker);
  await refusedWith(404, s3.headObject(name));
  const never = await refusedWith(404, s3.headObject({ Bucket, Key: 'never there' }));
  assert.equal(headersOf(never)['x-amz-delete-marker'], 'false');
  const named = await refusedWith('MethodNotAllowed', s3.getObject({ ...name, VersionId: marker }));
  assert.equal(headersOf(named)['x-amz-delete-marker'], 'true');
  assert.equal(headersOf(named)['allow'], 'DELETE');
  assert.ok(headersOf(named)['last-modified'] !== undefined);
  await refusedWith(405, s3.headObject({ ...name, VersionId: marker }));
  assert.equal((await s3.listObjectsV2({ Bucket })).KeyCount, 0);
  assert.deepEqual(await listed(Bucket, 'a'), [`-${marker}*`, first].sort());
  await refusedWith('BucketNotEmpty', s3.deleteBucket({ Bucket }));
  const removed = await s3.deleteObject({ ...name, VersionId: marker });
  assert.deepEqual([removed.DeleteMarker, removed.VersionId], [true, marker]);
  assert.equal(await read(Bucket, 'a'), 'x');
  const gone = await s3.deleteObject({ ...name, VersionId: first });
  assert.deepEqual([gone.DeleteMarker, gone.VersionId], [undefined, first]);
  // What is not there is deleted already.
  await s3.deleteObject({ ...name, VersionId: first });
  await s3.deleteBucket({ Bucket });
});

test('DeleteObject of the current version makes the one before it current', async () => {
  const { s3 } = server;
  const Bucket = await versionedBucket();
  const ids = [
    await put(Bucket, 'a', '1'),
    await put(Bucket, 'a', '2'),
    await put(Bucket, 'a', '3'),
  ];
  await s3.deleteObject({ Bucket, Key: 'a', VersionId: ids[1] });
  await s3.deleteObject({ Bucket, Key: 'a', VersionId: ids[2] });
  assert.equal(await read(Bucket, 'a'), '1');
  assert.deepEqual(await listed(Bucket, 'a'), [`${ids[0]}*`]);
});

test('DeleteObject in a suspended bucket replaces the null version by a null marker', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'old' });
  await setVersioning(Bucket, 'Enabled');
  const named = await put(Bucket, 'a', 'named');
  await setVersioning(Bucket, 'Suspended');
  const deleted = await s3.deleteObject({ Bucket, Key: 'a' });
  assert.deepEqual([deleted.DeleteMarker, deleted.VersionId], [true, 'null']);
  assert.deepEqual(await listed(Bucket, 'a'), ['-null*', named].sort());
  await s3.deleteObject({ Bucket, Key: 'a', VersionId: 'null' });
  assert.equal(await read(Bucket, 'a'), 'named');
});

test('DeleteObjects makes markers and deletes versions, and tells which', async () => {
  const { s3 } = server;
  const Bucket = await versionedBucket();
  const a = await put(Bucket, 'a', 'x');
  const b = await put(Bucket, 'b', 'x');
  const first = await s3.deleteObjects({
    Bucket,
    Delete: { Objects: [{ Key: 'a' }, { Key: 'b', VersionId: b }, { Key: 'none', VersionId: b }] },
  });
  assert.equal(first.Errors, undefined);
  const [marked, removed, none] = first.Deleted ?? [];
  assert.equal(marked?.DeleteMarker, true);
  assert.equal(marked?.VersionId, undefined);
  assert.deepEqual(removed, { Key: 'b', VersionId: b });
  assert.deepEqual(none, { Key: 'none', VersionId: b });
  const VersionId = marked?.DeleteMarkerVersionId ?? '';
  const second = await s3.deleteObjects({
    Bucket,
    Delete: {
      Objects: [
        { Key: 'a', VersionId },
        { Key: 'a', VersionId: a },
      ],
    },
  });
  assert.deepEqual(second.Deleted, [
    { Key: 'a', VersionId, DeleteMarker: true, DeleteMarkerVersionId: VersionId },
    { Key: 'a', VersionId: a },
  ]);
  await s3.deleteBucket({ Bucket });
});

test('CopyObject copies an older version, also onto its own key, and names both', async () => {
  const { s3 } = server;
  const Bucket = await versionedBucket();
  const first = await put(Bucket, 'a', 'first');
  const second = await put(Bucket, 'a', 'second');
  const CopySource = `${Bucket}/a?versionId=${first}`;
  const copy = await s3.copyObject({ Bucket, Key: 'b', CopySource });
  assert.equal(copy.CopySourceVersionId, first);
  assert.equal(await read(Bucket, 'b', copy.VersionId), 'first');
  const restored = await s3.copyObject({ Bucket, Key: 'a', CopySource });
  assert.equal(await read(Bucket, 'a'), 'first');
  assert.deepEqual(await listed(Bucket, 'a'), [first, second, `${restored.VersionId}*`].sort());
  // The blobs are shared: the copy outlives what it was made of.
  await s3.deleteObject({ Bucket, Key: 'a', VersionId: first });
  assert.equal(await read(Bucket, 'b'), 'first');
  const plain = await server.bucket();
  const from = `${Bucket}/a?versionId=${second}`;
  assert.equal(
    (await s3.copyObject({ Bucket: plain, Key: 'c', CopySource: from })).VersionId,
    undefined,
  );
  assert.equal(await read(plain, 'c'), 'second');
});

test('CopyObject from a delete marker is refused', async () => {
  const { s3 } = server;
  const Bucket = await versionedBucket();
  await put(Bucket, 'a', 'x');
  const { VersionId } = await s3.deleteObject({ Bucket, Key: 'a' });
  const copy = (CopySource: string) => s3.copyObject({ Bucket, Key: 'b', CopySource });
  await refusedWith('NoSuchKey', copy(`${Bucket}/a`));
  await refusedWith('InvalidRequest', copy(`${Bucket}/a?versionId=${VersionId}`));
  await refusedWith('NoSuchVersion', copy(`${Bucket}/a?versionId=${'ab'.repeat(16)}`));
});

test('CompleteMultipartUpload and UploadPartCopy keep to versions', async () => {
  const { s3 } = server;
  const Bucket = await versionedBucket();
  const source = await put(Bucket, 'source', 'a'.repeat(PART));
  await put(Bucket, 'source', 'b');
  const name = { Bucket, Key: 'big' };
  const { UploadId } = await s3.createMultipartUpload(name);
  const copied = await s3.uploadPartCopy({
    ...name,
    UploadId,
    PartNumber: 1,
    CopySource: `${Bucket}/source?versionId=${source}`,
  });
  assert.equal(copied.CopySourceVersionId, source);
  const second = await s3.uploadPart({ ...name, UploadId, PartNumber: 2, Body: 'end' });
  const Parts = [
    { PartNumber: 1, ETag: copied.CopyPartResult?.ETag },
    { PartNumber: 2, ETag: second.ETag },
  ];
  const request = { ...name, UploadId, MultipartUpload: { Parts } };
  const done = await s3.completeMultipartUpload(request);
  assert.ok(done.VersionId);
  assert.equal((await s3.completeMultipartUpload(request)).VersionId, done.VersionId);
  await put(Bucket, 'big', 'small');
  assert.equal((await read(Bucket, 'big', done.VersionId)).length, PART + 3);
  const part = await s3.headObject({ ...name, VersionId: done.VersionId, PartNumber: 2 });
  assert.deepEqual([part.ContentLength, part.PartsCount], [3, 2]);
});

test('conditional writes see the current version and nothing behind a delete marker', async () => {
  const { s3 } = server;
  const Bucket = await versionedBucket();
  const name = { Bucket, Key: 'a' };
  const first = await s3.putObject({ ...name, Body: '1', IfNoneMatch: '*' });
  await refusedWith('PreconditionFailed', s3.putObject({ ...name, Body: '2', IfNoneMatch: '*' }));
  const second = await s3.putObject({ ...name, Body: '2', IfMatch: first.ETag });
  await refusedWith('PreconditionFailed', s3.putObject({ ...name, IfMatch: first.ETag }));
  await s3.deleteObject({ ...name, IfMatch: second.ETag });
  await refusedWith('NoSuchKey', s3.putObject({ ...name, Body: '3', IfMatch: '*' }));
  await s3.putObject({ ...name, Body: '3', IfNoneMatch: '*' });
  assert.equal((await listed(Bucket, 'a')).length, 4);
  const wrong = { ...name, VersionId: second.VersionId, IfMatch: first.ETag };
  await refusedWith('PreconditionFailed', s3.deleteObject(wrong));
  await s3.deleteObject({ ...wrong, IfMatch: second.ETag });
  assert.equal((await listed(Bucket, 'a')).length, 3);
});

test('ListObjectVersions pages through versions, markers and common prefixes', async () => {
  const { s3 } = server;
  const Bucket = await versionedBucket();
  const expected: string[] = [];
  for (const Key of ['a', 'b/1', 'b/2', 'c d']) {
    const ids = [await put(Bucket, Key, '1'), await put(Bucket, Key, '2')];
    const { VersionId } = await s3.deleteObject({ Bucket, Key });
    ids.push(VersionId ?? '');
    expected.push(...ids.reverse().map((id) => `${Key}=${id}`));
  }
  const pages = async (MaxKeys: number, Delimiter?: string) => {
    const versions: string[] = [];
    const prefixes: string[] = [];
    let KeyMarker: string | undefined;
    let VersionIdMarker: string | undefined;
    for (;;) {
      const query = { Bucket, MaxKeys, Delimiter, KeyMarker, VersionIdMarker };
      const page = await s3.listObjectVersions({ ...query, EncodingType: 'url' });
      const found = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])];
      const count = found.length + (page.CommonPrefixes ?? []).length;
      assert.ok(count <= MaxKeys && (count === MaxKeys || page.IsTruncated === false));
      for (const one of found) {
        versions.push(`${decodeURIComponent(one.Key ?? '')}=${one.VersionId}`);
        assert.equal(one.Owner?.ID?.length, 64);
      }
      prefixes.push(...(page.CommonPrefixes ?? []).map((one) => one.Prefix ?? ''));
      if (page.IsTruncated !== true) return { versions: versions.sort(), prefixes };
      KeyMarker = decodeURIComponent(page.NextKeyMarker ?? '');
      VersionIdMarker = page.NextVersionIdMarker;
    }
  };
  for (const size of [1, 2, 5, 1000]) {
    assert.deepEqual(await pages(size), { versions: [...expected].sort(), prefixes: [] });
    const outside = expected.filter((one) => !one.startsWith('b/'));
    assert.deepEqual(await pages(size, '/'), { versions: outside.sort(), prefixes: ['b/'] });
  }
  const none = await s3.listObjectVersions({ Bucket, MaxKeys: 0 });
  assert.deepEqual([none.IsTruncated, none.Versions], [false, undefined]);
  const only = await s3.listObjectVersions({ Bucket, KeyMarker: 'b/2', Prefix: 'c' });
  assert.deepEqual([only.Versions?.length, only.DeleteMarkers?.length], [2, 1]);
  await refusedWith('InvalidArgument', s3.listObjectVersions({ Bucket, VersionIdMarker: 'null' }));
});

test('ListObjectVersions of a bucket without versioning shows each object as null', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'x' });
  await s3.putObject({ Bucket, Key: 'a', Body: 'y' });
  assert.deepEqual(await listed(Bucket, 'a'), ['null*']);
});

test('many writers of one key leave one version each', async () => {
  const Bucket = await versionedBucket();
  const ids = await Promise.all(
    Array.from({ length: 20 }, (_, index) => put(Bucket, 'a', `${index}`)),
  );
  assert.equal(new Set(ids).size, 20);
  const left = await listed(Bucket, 'a');
  assert.deepEqual(new Set(left.map((id) => id.replace('*', ''))), new Set(ids));
  for (const [index, id] of ids.entries()) assert.equal(await read(Bucket, 'a', id), `${index}`);
});
