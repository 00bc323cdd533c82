/** Hostile renames and appends, and everything of S3 that Ashlar does not do: by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SUB_RESOURCES } from '../../gateway/s3/detect.ts';
import type { RawAnswer } from '../support/raw.ts';
import { refusedWith } from '../support/server.ts';
import { useWireServer } from '../support/wire.ts';

const server = useWireServer();

function answers(answer: RawAnswer, status: number, code: string, what?: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], what ?? answer.body);
}

const put = (path: string, headers: Record<string, string>, query?: string, body = '') =>
  server.send({
    method: 'PUT',
    path,
    headers,
    body,
    ...(query === undefined ? {} : { query }),
  });

test('an offset that is no number is InvalidArgument, one beyond the end InvalidWriteOffset', async () => {
  const bucket = await server.bucket();
  for (const offset of ['', '-1', '+1', '1.0', '0x1', '1e3', ' ', 'NaN', '9'.repeat(16)]) {
    const answer = await put(
      `/${bucket}/a`,
      { 'x-amz-write-offset-bytes': offset },
      undefined,
      'x',
    );
    answers(answer, 400, 'InvalidArgument', offset);
  }
  const far = { 'x-amz-write-offset-bytes': '9'.repeat(15) };
  answers(await put(`/${bucket}/a`, far, undefined, 'x'), 400, 'InvalidWriteOffset');
  await refusedWith(404, server.s3.headObject({ Bucket: bucket, Key: 'a' }));
});

test('an append with a wrong digest, or a body that is cut short, changes nothing', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'four' });
  const headers = { 'x-amz-write-offset-bytes': '4', 'content-md5': 'CY9rzUYh03PK3k6DJie09g==' };
  answers(await put(`/${bucket}/a`, headers, undefined, 'x'), 400, 'BadDigest');
  assert.equal((await server.s3.headObject({ Bucket: bucket, Key: 'a' })).ContentLength, 4);
});

test('a write offset on anything but PutObject is NotImplemented, never ignored', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'four' });
  const { UploadId = '' } = await server.s3.createMultipartUpload({ Bucket: bucket, Key: 'a' });
  const offset = { 'x-amz-write-offset-bytes': '4' };
  const part = `partNumber=1&uploadId=${UploadId}`;
  answers(await put(`/${bucket}/a`, offset, part, 'x'), 501, 'NotImplemented');
  const copy = { ...offset, 'x-amz-copy-source': `${bucket}/a` };
  answers(await put(`/${bucket}/b`, copy), 501, 'NotImplemented');
});

test('a rename says which object it is about, or is refused', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const rename = (headers: Record<string, string>, body = '') =>
    put(`/${bucket}/b`, headers, 'renameObject=', body);
  const source = { 'x-amz-rename-source': 'a' };
  answers(await rename({}), 400, 'InvalidRequest');
  answers(await rename({ 'x-amz-rename-source': '%zz' }), 400, 'InvalidArgument');
  answers(await rename({ 'x-amz-rename-source': 'a%00b' }), 400, 'InvalidArgument');
  answers(await rename({ 'x-amz-rename-source': 'k'.repeat(1025) }), 400, 'KeyTooLongError');
  answers(await rename({ ...source, 'if-match': '"a", "b"' }), 400, 'InvalidArgument');
  answers(await rename({ ...source, 'if-modified-since': 'soon' }), 400, 'InvalidArgument');
  answers(
    await rename({ ...source, 'x-amz-client-token': 't'.repeat(65) }),
    400,
    'InvalidArgument',
  );
  answers(await rename({ 'x-amz-rename-source': '../a' }), 404, 'NoSuchKey');
  answers(await rename({ 'x-amz-rename-source': `/other/${bucket}/a` }), 404, 'NoSuchKey');
  // Without the sub-resource it would be an upload of nothing.
  answers(await put(`/${bucket}/b`, source), 501, 'NotImplemented');
  answers(await put(`/${bucket}`, source, 'renameObject='), 405, 'MethodNotAllowed');
  const { Contents = [] } = await server.s3.listObjectsV2({ Bucket: bucket });
  assert.deepEqual(
    Contents.map(({ Key }) => Key),
    ['a'],
  );
  assert.equal((await rename(source)).status, 200);
});

test('what S3 has and Ashlar has not answers NotImplemented, by name, and changes nothing', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const refused: string[] = [];
  for (const [place, path] of [
    ['bucket', `/${bucket}`],
    ['object', `/${bucket}/a`],
  ] as const) {
    for (const [resource, methods] of Object.entries(SUB_RESOURCES[place])) {
      for (const [method, name] of Object.entries(methods)) {
        if (!name.startsWith('!')) continue;
        const answer = await server.send({ method, path, query: `${resource}=`, body: '' });
        answers(answer, 501, 'NotImplemented', `${method} ?${resource}`);
        assert.ok(answer.body.includes(`<Operation>${name.slice(1)}</Operation>`), answer.body);
        refused.push(name.slice(1));
      }
    }
  }
  for (const name of [
    'GetBucketAccelerateConfiguration',
    'PutBucketAnalyticsConfiguration',
    'PutBucketInventoryConfiguration',
    'SelectObjectContent',
    'GetObjectTorrent',
    'CreateSession',
  ]) {
    assert.ok(refused.includes(name), name);
  }
  const { Contents = [] } = await server.s3.listObjectsV2({ Bucket: bucket });
  assert.equal(Contents.length, 1);
});

test('the payer is one of two, in a document of its own', async () => {
  const bucket = await server.bucket();
  const pay = (body: string) => put(`/${bucket}`, {}, 'requestPayment=', body);
  const of = (inside: string) =>
    `<RequestPaymentConfiguration>${inside}</RequestPaymentConfiguration>`;
  answers(await pay(''), 400, 'MissingRequestBodyError');
  for (const bad of [
    of(''),
    of('<Payer/>'),
    of('<Payer>requester</Payer>'),
    of('<Payer>Requester</Payer><Payer>BucketOwner</Payer>'),
    of('<Payer>Requester</Payer><Other/>'),
    '<VersioningConfiguration/>',
    '<RequestPaymentConfiguration>',
  ]) {
    answers(await pay(bad), 400, 'MalformedXML', bad);
  }
  assert.equal((await server.s3.getBucketRequestPayment({ Bucket: bucket })).Payer, 'BucketOwner');
});

test('nothing secret has been logged', () => server.assertLogHoldsNoSecrets());
