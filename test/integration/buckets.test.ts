/** Buckets through the official SDK. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ObjectOwnership } from '@aws-sdk/client-s3';
import { codeOf, refusedWith, useServer } from '../support/server.ts';

const server = useServer();

test('CreateBucket makes a bucket that HeadBucket and ListBuckets show', async () => {
  const { s3 } = server;
  const made = await s3.createBucket({ Bucket: 'made-here' });
  assert.equal(made.Location, '/made-here');
  const head = await s3.headBucket({ Bucket: 'made-here' });
  assert.equal(head.$metadata.httpStatusCode, 200);
  const { Buckets = [], Owner } = await s3.listBuckets();
  const found = Buckets.find(({ Name }) => Name === 'made-here');
  assert.ok(found?.CreationDate && Math.abs(Date.now() - found.CreationDate.getTime()) < 60_000);
  assert.match(Owner?.ID ?? '', /^[0-9a-f]{64}$/);
});

test('CreateBucket of one’s own bucket succeeds in us-east-1 and keeps its objects', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'kept', Body: 'still here' });
  await s3.createBucket({ Bucket });
  assert.equal((await s3.headObject({ Bucket, Key: 'kept' })).ContentLength, 10);
});

test('CreateBucket refuses another region and what is no region', async () => {
  const { s3 } = server;
  const create = (region: string): Promise<unknown> =>
    s3.createBucket({
      Bucket: 'elsewhere',
      CreateBucketConfiguration: { LocationConstraint: region as 'eu-west-1' },
    });
  await refusedWith('IllegalLocationConstraintException', create('eu-west-1'));
  await refusedWith('InvalidLocationConstraint', create('the moon'));
  await refusedWith(404, s3.headBucket({ Bucket: 'elsewhere' }));
});

test('GetBucketLocation is empty in us-east-1, GetBucketVersioning says nothing', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  assert.equal((await s3.getBucketLocation({ Bucket })).LocationConstraint, undefined);
  const versioning = await s3.getBucketVersioning({ Bucket });
  assert.equal(versioning.Status, undefined);
  assert.equal(versioning.MFADelete, undefined);
});

test('DeleteBucket removes an empty bucket only', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a' });
  const error = await refusedWith('BucketNotEmpty', s3.deleteBucket({ Bucket }));
  assert.equal(error.$metadata.httpStatusCode, 409);
  await s3.deleteObject({ Bucket, Key: 'a' });
  assert.equal((await s3.deleteBucket({ Bucket })).$metadata.httpStatusCode, 204);
  await refusedWith(404, s3.headBucket({ Bucket }));
  await refusedWith('NoSuchBucket', s3.deleteBucket({ Bucket }));
});

test('DeleteBucket takes open uploads with it, and a new bucket of that name has none', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const { UploadId } = await s3.createMultipartUpload({ Bucket, Key: 'open' });
  await s3.uploadPart({ Bucket, Key: 'open', UploadId, PartNumber: 1, Body: 'part' });
  await s3.deleteBucket({ Bucket });
  await s3.createBucket({ Bucket });
  assert.deepEqual((await s3.listMultipartUploads({ Bucket })).Uploads ?? [], []);
  await refusedWith('NoSuchUpload', s3.listParts({ Bucket, Key: 'open', UploadId }));
  assert.equal((await s3.listObjectsV2({ Bucket })).KeyCount, 0);
});

test('Every operation on a missing bucket is NoSuchBucket', async () => {
  const { s3 } = server;
  const Bucket = 'never-made';
  const Key = 'a';
  const upload = { Bucket, Key, UploadId: '0'.repeat(32) };
  const requests: Record<string, Promise<unknown>> = {
    GetBucketLocation: s3.getBucketLocation({ Bucket }),
    GetBucketVersioning: s3.getBucketVersioning({ Bucket }),
    ListObjects: s3.listObjects({ Bucket }),
    ListObjectsV2: s3.listObjectsV2({ Bucket }),
    ListMultipartUploads: s3.listMultipartUploads({ Bucket }),
    DeleteObjects: s3.deleteObjects({ Bucket, Delete: { Objects: [{ Key }] } }),
    PutObject: s3.putObject({ Bucket, Key, Body: 'x' }),
    GetObject: s3.getObject({ Bucket, Key }),
    DeleteObject: s3.deleteObject({ Bucket, Key }),
    CopyObject: s3.copyObject({ Bucket, Key, CopySource: `${Bucket}/b` }),
    GetObjectAttributes: s3.getObjectAttributes({ Bucket, Key, ObjectAttributes: ['ETag'] }),
    CreateMultipartUpload: s3.createMultipartUpload({ Bucket, Key }),
    UploadPart: s3.uploadPart({ ...upload, PartNumber: 1, Body: 'x' }),
    ListParts: s3.listParts(upload),
    AbortMultipartUpload: s3.abortMultipartUpload(upload),
  };
  const codes = await Promise.all(
    Object.entries(requests).map(async ([name, request]) => [name, await codeOf(request)]),
  );
  assert.deepEqual(
    codes,
    Object.keys(requests).map((name) => [name, 'NoSuchBucket']),
  );
});

test('ListBuckets pages by name, with and without a prefix', async () => {
  const { s3 } = server;
  const names = Array.from({ length: 7 }, (_, index) => `paged-${index}`);
  await Promise.all(names.map((Bucket) => s3.createBucket({ Bucket })));
  const seen: string[] = [];
  let token: string | undefined;
  do {
    const page = await s3.listBuckets({
      Prefix: 'paged-',
      MaxBuckets: 3,
      ...(token === undefined ? {} : { ContinuationToken: token }),
    });
    assert.ok((page.Buckets ?? []).length <= 3);
    assert.equal(page.Prefix, 'paged-');
    for (const { Name, BucketRegion } of page.Buckets ?? []) {
      seen.push(Name ?? '');
      assert.equal(BucketRegion, 'us-east-1');
    }
    token = page.ContinuationToken;
  } while (token !== undefined);
  assert.deepEqual(seen, names);
  const all = (await s3.listBuckets()).Buckets?.map(({ Name = '' }) => Name) ?? [];
  assert.deepEqual(
    all,
    all.toSorted((a, b) => (a < b ? -1 : 1)),
  );
  assert.ok(names.every((name) => all.includes(name)));
});

test('DeleteBucket racing PutObject never leaves an object without a bucket', async () => {
  const { s3 } = server;
  for (let round = 0; round < 15; round++) {
    const Bucket = `race-${round}`;
    await s3.createBucket({ Bucket });
    const [put, removed] = await Promise.all([
      codeOf(s3.putObject({ Bucket, Key: 'a', Body: 'x' })),
      codeOf(s3.deleteBucket({ Bucket })),
    ]);
    if (put === 'ok') {
      assert.equal(removed, 'BucketNotEmpty');
      assert.equal((await s3.headObject({ Bucket, Key: 'a' })).ContentLength, 1);
    } else {
      assert.deepEqual([put, removed], ['NoSuchBucket', 'ok']);
      await refusedWith(404, s3.headBucket({ Bucket }));
    }
  }
});

describe('in another region', () => {
  const other = useServer({ region: 'eu-central-1' });

  test('CreateBucket of one’s own bucket is BucketAlreadyOwnedByYou, also in a race', async () => {
    const codes = await Promise.all(
      Array.from({ length: 8 }, () =>
        codeOf(
          other.s3.createBucket({
            Bucket: 'once',
            CreateBucketConfiguration: { LocationConstraint: 'eu-central-1' },
          }),
        ),
      ),
    );
    assert.deepEqual(codes.toSorted(), [
      ...Array.from({ length: 7 }, () => 'BucketAlreadyOwnedByYou'),
      'ok',
    ]);
  });

  test('GetBucketLocation names the region', async () => {
    const Bucket = await other.bucket();
    const { LocationConstraint } = await other.s3.getBucketLocation({ Bucket });
    assert.equal(LocationConstraint, 'eu-central-1');
    assert.equal((await other.s3.headBucket({ Bucket })).BucketRegion, 'eu-central-1');
  });
});

test('CreateBucket of a bucket that one has is no success where it asks for another ownership', async () => {
  const Bucket = await server.bucket();
  const again = (ObjectOwnership?: ObjectOwnership) =>
    server.s3.createBucket({ Bucket, ObjectOwnership });
  await again();
  await again('BucketOwnerEnforced');
  await refusedWith('BucketAlreadyOwnedByYou', again('ObjectWriter'));
});
