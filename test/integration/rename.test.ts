/** RenameObject, through the SDK. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, codeOf, etagOf, refusedWith, sameBytes, useServer } from '../support/server.ts';
import { seededBytes } from '../support/files.ts';
import { putMultipart } from '../support/multipart.ts';

const server = useServer();

test('an object under another key has its content, metadata, tags and time', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({
    Bucket,
    Key: 'old name/é',
    Body: 'content',
    ContentType: 'text/plain',
    Metadata: { a: 'b' },
    Tagging: 'c=d',
  });
  const before = await s3.headObject({ Bucket, Key: 'old name/é' });
  await s3.renameObject({ Bucket, Key: 'new', RenameSource: encodeURIComponent('old name/é') });
  const after = await s3.getObject({ Bucket, Key: 'new' });
  assert.equal((await bytesOf(after)).toString(), 'content');
  assert.deepEqual(
    [after.ETag, after.LastModified, after.ContentType, after.Metadata, after.TagCount],
    [before.ETag, before.LastModified, 'text/plain', { a: 'b' }, 1],
  );
  await refusedWith(404, s3.headObject({ Bucket, Key: 'old name/é' }));
  const { Contents = [] } = await s3.listObjectsV2({ Bucket });
  assert.deepEqual(
    Contents.map(({ Key }) => Key),
    ['new'],
  );
});

test('a multipart object moves whole, and replaces what was there', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const parts = [5 * 1024 * 1024, 12].map((size, at) => seededBytes(`part ${at}`, size));
  await putMultipart(s3, { Bucket, Key: 'a' }, parts);
  await s3.putObject({ Bucket, Key: 'b', Body: 'replaced' });
  await s3.renameObject({ Bucket, Key: 'b', RenameSource: `/${Bucket}/a` });
  sameBytes(await bytesOf(await s3.getObject({ Bucket, Key: 'b' })), Buffer.concat(parts));
  await refusedWith('NoSuchKey', s3.getObject({ Bucket, Key: 'a' }));
});

test('conditions hold for the object and for what stands in its place', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'a' });
  await s3.putObject({ Bucket, Key: 'b', Body: 'b' });
  const rename = { Bucket, Key: 'b', RenameSource: 'a' };
  const past = new Date(Date.UTC(2020, 0, 1));
  for (const condition of [
    { DestinationIfNoneMatch: '*' },
    { DestinationIfMatch: etagOf('other') },
    { DestinationIfUnmodifiedSince: past },
    { SourceIfMatch: etagOf('other') },
    { SourceIfNoneMatch: etagOf('a') },
    { SourceIfUnmodifiedSince: past },
  ]) {
    await refusedWith('PreconditionFailed', s3.renameObject({ ...rename, ...condition }));
  }
  await refusedWith(
    'PreconditionFailed',
    s3.renameObject({ ...rename, Key: 'c', DestinationIfMatch: '*' }),
  );
  await refusedWith('NoSuchKey', s3.renameObject({ Bucket, Key: 'c', RenameSource: 'none' }));
  await refusedWith('InvalidRequest', s3.renameObject({ Bucket, Key: 'a', RenameSource: 'a' }));
  await s3.renameObject({
    ...rename,
    SourceIfMatch: etagOf('a'),
    DestinationIfMatch: etagOf('b'),
    SourceIfModifiedSince: past,
  });
  assert.equal((await s3.headObject({ Bucket, Key: 'b' })).ETag, etagOf('a'));
});

test('a rename that is repeated with its token is answered, not repeated', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: '1' });
  const rename = { Bucket, Key: 'b', RenameSource: 'a', ClientToken: 'token-1' };
  await s3.renameObject(rename);
  await s3.putObject({ Bucket, Key: 'a', Body: '2' });
  await s3.renameObject(rename);
  assert.equal((await s3.headObject({ Bucket, Key: 'a' })).ETag, etagOf('2'));
  await refusedWith('IdempotencyParameterMismatch', s3.renameObject({ ...rename, Key: 'c' }));
});

test('with versioning the old key keeps its versions behind a delete marker', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: 'Enabled' } });
  const { VersionId } = await s3.putObject({ Bucket, Key: 'a', Body: '1' });
  await s3.renameObject({ Bucket, Key: 'b', RenameSource: 'a' });
  await refusedWith('NoSuchKey', s3.getObject({ Bucket, Key: 'a' }));
  assert.equal((await s3.getObject({ Bucket, Key: 'a', VersionId })).ETag, etagOf('1'));
  assert.equal((await s3.headObject({ Bucket, Key: 'b' })).ETag, etagOf('1'));
  const { DeleteMarkers = [] } = await s3.listObjectVersions({ Bucket });
  assert.deepEqual(
    DeleteMarkers.map(({ Key }) => Key),
    ['a'],
  );
});

test('of renames of one object at once exactly one happens', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (let round = 0; round < 10; round++) {
    await s3.putObject({ Bucket, Key: `a${round}`, Body: 'x' });
    const codes = await Promise.all(
      ['b', 'c', 'd'].map((letter) =>
        codeOf(s3.renameObject({ Bucket, Key: `${letter}${round}`, RenameSource: `a${round}` })),
      ),
    );
    assert.deepEqual(codes.sort(), ['NoSuchKey', 'NoSuchKey', 'ok']);
  }
  assert.equal((await s3.listObjectsV2({ Bucket })).KeyCount, 10);
});
