/** Conditional writes: decided inside the commit, so that exactly one of many rivals wins. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededBytes } from '../support/files.ts';
import { bytesOf, codeOf, etagOf, refusedWith, useServer } from '../support/server.ts';

const server = useServer();
const OTHER = '"0123456789abcdef0123456789abcdef"';

const count = (codes: readonly string[], code: string): number =>
  codes.filter((one) => one === code).length;

/** An upload with one part, ready to be completed. */
async function openUpload(
  Bucket: string,
  Key: string,
  Body: string,
): Promise<(conditions?: { IfMatch?: string; IfNoneMatch?: string }) => Promise<unknown>> {
  const { s3 } = server;
  const { UploadId } = await s3.createMultipartUpload({ Bucket, Key });
  const { ETag } = await s3.uploadPart({ Bucket, Key, UploadId, PartNumber: 1, Body });
  const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
  return (conditions = {}) =>
    s3.completeMultipartUpload({ Bucket, Key, UploadId, MultipartUpload, ...conditions });
}

test('PutObject with If-None-Match: * creates, and never replaces', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const put = (Body: string): Promise<unknown> =>
    s3.putObject({ Bucket, Key: 'a', Body, IfNoneMatch: '*' });
  await put('first');
  const error = await refusedWith('PreconditionFailed', put('second'));
  assert.equal(error.$metadata.httpStatusCode, 412);
  assert.equal((await bytesOf(await s3.getObject({ Bucket, Key: 'a' }))).toString(), 'first');
  await s3.deleteObject({ Bucket, Key: 'a' });
  await put('third');
});

test('PutObject with If-Match replaces that version only, and never creates', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const put = (Body: string, IfMatch: string): Promise<unknown> =>
    s3.putObject({ Bucket, Key: 'a', Body, IfMatch });
  await refusedWith('NoSuchKey', put('x', OTHER));
  await refusedWith('NoSuchKey', put('x', '*'));
  await s3.putObject({ Bucket, Key: 'a', Body: 'one' });
  await refusedWith('PreconditionFailed', put('two', OTHER));
  await put('two', etagOf('one'));
  await refusedWith('PreconditionFailed', put('three', etagOf('one')));
  await put('three', '*');
  await put('four', etagOf('three').replaceAll('"', ''));
  assert.equal((await bytesOf(await s3.getObject({ Bucket, Key: 'a' }))).toString(), 'four');
});

test('PutObject with an ETag in If-None-Match writes unless that object is the current one', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const put = (Body: string, IfNoneMatch: string) =>
    s3.putObject({ Bucket, Key: 'a', Body, IfNoneMatch });
  await put('one', etagOf('one'));
  await refusedWith('PreconditionFailed', put('two', etagOf('one')));
  await put('two', OTHER);
  await put('three', etagOf('one'));
  assert.equal((await bytesOf(await s3.getObject({ Bucket, Key: 'a' }))).toString(), 'three');
});

test('A condition that S3 does not have on writes is refused, not dropped', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const put = { Bucket, Key: 'a', Body: 'x' };
  const two = `${OTHER}, ${etagOf('x')}`;
  await refusedWith('NotImplemented', s3.putObject({ ...put, IfNoneMatch: two }));
  await refusedWith('NotImplemented', s3.putObject({ ...put, IfNoneMatch: '*', IfMatch: OTHER }));
  await refusedWith(404, s3.headObject({ Bucket, Key: 'a' }));
});

test('A write whose condition fails leaves the old object as it was, also a large one', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const old = seededBytes('old', 3_000_000);
  await s3.putObject({ Bucket, Key: 'a', Body: old, Metadata: { n: '1' } });
  const Body = seededBytes('new', 5_000_000);
  await refusedWith(
    'PreconditionFailed',
    s3.putObject({ Bucket, Key: 'a', Body, IfNoneMatch: '*', Metadata: { n: '2' } }),
  );
  const answer = await s3.getObject({ Bucket, Key: 'a' });
  assert.equal(etagOf(await bytesOf(answer)), etagOf(old));
  assert.deepEqual(answer.Metadata, { n: '1' });
});

test('Of many PutObjects with If-None-Match: * at once exactly one succeeds', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (let round = 0; round < 5; round++) {
    const Key = `k${round}`;
    const codes = await Promise.all(
      Array.from({ length: 16 }, (_, index) =>
        codeOf(s3.putObject({ Bucket, Key, Body: `rival ${index}`, IfNoneMatch: '*' })),
      ),
    );
    assert.equal(count(codes, 'ok'), 1, codes.join());
    assert.equal(count(codes, 'PreconditionFailed'), 15, codes.join());
    const body = (await bytesOf(await s3.getObject({ Bucket, Key }))).toString();
    assert.equal(body, `rival ${codes.indexOf('ok')}`);
  }
});

test('Put, Complete and Copy rival for one new key: exactly one of them creates it', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'source', Body: 'copied' });
  for (let round = 0; round < 8; round++) {
    const Key = `k${round}`;
    const IfNoneMatch = '*';
    const complete = await openUpload(Bucket, Key, 'in parts');
    const codes = await Promise.all([
      codeOf(s3.putObject({ Bucket, Key, Body: 'put', IfNoneMatch })),
      codeOf(complete({ IfNoneMatch })),
      codeOf(s3.copyObject({ Bucket, Key, CopySource: `${Bucket}/source`, IfNoneMatch })),
      codeOf(s3.putObject({ Bucket, Key, Body: 'put', IfNoneMatch })),
    ]);
    assert.equal(count(codes, 'ok'), 1, codes.join());
    const body = (await bytesOf(await s3.getObject({ Bucket, Key }))).toString();
    assert.equal(body, ['put', 'in parts', 'copied', 'put'][codes.indexOf('ok')]);
  }
});

test('Five workers count to fifty with If-Match without losing an update', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'counter', Body: '0' });
  let conflicts = 0;
  const worker = async (): Promise<void> => {
    for (let added = 0; added < 10; ) {
      const answer = await s3.getObject({ Bucket, Key: 'counter' });
      const value = Number((await bytesOf(answer)).toString());
      const Body = String(value + 1);
      const put = s3.putObject({ Bucket, Key: 'counter', Body, IfMatch: answer.ETag });
      const code = await codeOf(put);
      if (code === 'ok') {
        added++;
      } else {
        assert.ok(['PreconditionFailed', 'ConditionalRequestConflict'].includes(code), code);
        conflicts++;
      }
    }
  };
  await Promise.all(Array.from({ length: 5 }, worker));
  const total = (await bytesOf(await s3.getObject({ Bucket, Key: 'counter' }))).toString();
  assert.equal(total, '50');
  assert.ok(conflicts > 0, 'the workers never met');
});

test('CompleteMultipartUpload with a condition: a failure keeps the upload open', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const Key = 'a';
  await s3.putObject({ Bucket, Key, Body: 'in the way' });
  const complete = await openUpload(Bucket, Key, 'in parts');
  await refusedWith('PreconditionFailed', complete({ IfNoneMatch: '*' }));
  await refusedWith('PreconditionFailed', complete({ IfMatch: OTHER }));
  assert.equal((await s3.listMultipartUploads({ Bucket })).Uploads?.length, 1);
  await complete({ IfMatch: etagOf('in the way') });
  assert.equal((await bytesOf(await s3.getObject({ Bucket, Key }))).toString(), 'in parts');
  assert.equal((await s3.listMultipartUploads({ Bucket })).Uploads, undefined);

  const creating = await openUpload(Bucket, 'new', 'in parts');
  await refusedWith('NoSuchKey', creating({ IfMatch: OTHER }));
  await creating({ IfNoneMatch: '*' });
});

test('CopyObject with If-Match and If-None-Match on its target', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'source', Body: 'copied' });
  const copy = (conditions: { IfMatch?: string; IfNoneMatch?: string }): Promise<unknown> =>
    s3.copyObject({ Bucket, Key: 'a', CopySource: `${Bucket}/source`, ...conditions });
  await refusedWith('NoSuchKey', copy({ IfMatch: OTHER }));
  await copy({ IfNoneMatch: '*' });
  await refusedWith('PreconditionFailed', copy({ IfNoneMatch: '*' }));
  await refusedWith('PreconditionFailed', copy({ IfMatch: OTHER }));
  await copy({ IfMatch: etagOf('copied') });
});

test('DeleteObject with If-Match, size and date deletes that version only', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const Key = 'a';
  await s3.putObject({ Bucket, Key, Body: 'three' });
  const { LastModified } = await s3.headObject({ Bucket, Key });
  const remove = (conditions: object): Promise<unknown> =>
    s3.deleteObject({ Bucket, Key, ...conditions });
  await refusedWith('PreconditionFailed', remove({ IfMatch: OTHER }));
  await refusedWith('PreconditionFailed', remove({ IfMatchSize: 4 }));
  const early = new Date('2015-01-01T00:00:00Z');
  await refusedWith('PreconditionFailed', remove({ IfMatchLastModifiedTime: early }));
  await s3.headObject({ Bucket, Key });
  await remove({
    IfMatch: etagOf('three'),
    IfMatchSize: 5,
    IfMatchLastModifiedTime: LastModified,
  });
  await refusedWith(404, s3.headObject({ Bucket, Key }));
  await s3.putObject({ Bucket, Key, Body: 'again' });
  await remove({ IfMatch: '*' });
  await refusedWith(404, s3.headObject({ Bucket, Key }));
});

test('DeleteObject with If-Match on a missing key is NoSuchKey', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await refusedWith('NoSuchKey', s3.deleteObject({ Bucket, Key: 'a', IfMatch: OTHER }));
});

test('a delete marker has a size and a time for the conditions of DeleteObject, and no ETag', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const VersioningConfiguration = { Status: 'Enabled' as const };
  await s3.putBucketVersioning({ Bucket, VersioningConfiguration });
  const target = { Bucket, Key: 'a' };
  await s3.putObject({ ...target, Body: 'four' });
  await s3.deleteObject({ ...target, IfMatchSize: 4 });
  const past = new Date(Date.UTC(2015, 0, 1));
  await refusedWith('PreconditionFailed', s3.deleteObject({ ...target, IfMatchSize: 4 }));
  await refusedWith(
    'PreconditionFailed',
    s3.deleteObject({ ...target, IfMatchLastModifiedTime: past }),
  );
  await refusedWith('NoSuchKey', s3.deleteObject({ ...target, IfMatch: OTHER }));
  assert.equal((await s3.listObjectVersions({ Bucket })).DeleteMarkers?.length, 1);
  await s3.deleteObject({ ...target, IfMatchSize: 0 });
  assert.equal((await s3.listObjectVersions({ Bucket })).DeleteMarkers?.length, 2);
});

test('a version that is gone is deleted, whatever the condition says of it', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const VersioningConfiguration = { Status: 'Enabled' as const };
  await s3.putBucketVersioning({ Bucket, VersioningConfiguration });
  const { VersionId } = await s3.putObject({ Bucket, Key: 'a', Body: 'four' });
  const target = { Bucket, Key: 'a', VersionId };
  await refusedWith('PreconditionFailed', s3.deleteObject({ ...target, IfMatch: OTHER }));
  await s3.deleteObject({ ...target, IfMatch: '*' });
  await s3.deleteObject({ ...target, IfMatch: OTHER });
});

test('Of two conditional DeleteObjects and one PutObject of a version, exactly one wins', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (let round = 0; round < 10; round++) {
    const Key = `k${round}`;
    const { ETag: IfMatch } = await s3.putObject({ Bucket, Key, Body: 'old' });
    const codes = await Promise.all([
      codeOf(s3.deleteObject({ Bucket, Key, IfMatch })),
      codeOf(s3.putObject({ Bucket, Key, Body: 'new', IfMatch })),
      codeOf(s3.deleteObject({ Bucket, Key, IfMatch })),
    ]);
    assert.equal(count(codes, 'ok'), 1, codes.join());
  }
});
