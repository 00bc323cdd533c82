/** URLs that the SDK's presigner makes, used with plain fetch. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { bytesOf, sdk, refusedWith, useServer } from '../support/server.ts';

const server = useServer();

async function codeIn(answer: Response): Promise<string> {
  return /<Code>(\w+)<\/Code>/.exec(await answer.text())?.[1] ?? 'no code';
}

test('A presigned GET and HEAD need no credentials and answer response-* overrides', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const Key = 'a b/ü+%.txt';
  await s3.putObject({ Bucket, Key, Body: 'content', ContentType: 'text/plain' });
  const get = new GetObjectCommand({
    Bucket,
    Key,
    ResponseContentType: 'text/csv',
    ResponseContentDisposition: 'attachment; filename="x.csv"',
  });
  const url = await getSignedUrl(s3, get, { expiresIn: 60 });
  const answer = await fetch(url);
  assert.equal(answer.status, 200);
  assert.equal(await answer.text(), 'content');
  assert.equal(answer.headers.get('content-type'), 'text/csv');
  assert.equal(answer.headers.get('content-disposition'), 'attachment; filename="x.csv"');
  const range = await fetch(url, { headers: { range: 'bytes=0-2' } });
  assert.equal(range.status, 206);
  assert.equal(await range.text(), 'con');
  const head = await getSignedUrl(s3, new HeadObjectCommand({ Bucket, Key }));
  assert.equal((await fetch(head, { method: 'HEAD' })).headers.get('content-length'), '7');
});

test('A presigned PUT stores what is sent, with the metadata that was signed', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const put = new PutObjectCommand({ Bucket, Key: 'a', Metadata: { colour: 'red' } });
  const url = await getSignedUrl(s3, put, { expiresIn: 60 });
  const answer = await fetch(url, {
    method: 'PUT',
    body: 'content',
    headers: { 'content-type': 'text/x-own' },
  });
  assert.equal(answer.status, 200, await answer.text());
  const stored = await s3.getObject({ Bucket, Key: 'a' });
  assert.equal((await bytesOf(stored)).toString(), 'content');
  assert.deepEqual(stored.Metadata, { colour: 'red' });
  assert.equal(stored.ContentType, 'text/x-own');
});

test('Presigned UploadPart and DELETE work', async () => {
  const { s3 } = server;
  const target = { Bucket: await server.bucket(), Key: 'a' };
  const { UploadId } = await s3.createMultipartUpload(target);
  const part = new UploadPartCommand({ ...target, UploadId, PartNumber: 1 });
  const sent = await fetch(await getSignedUrl(s3, part), { method: 'PUT', body: 'part' });
  assert.equal(sent.status, 200, await sent.text());
  const MultipartUpload = {
    Parts: [{ PartNumber: 1, ETag: sent.headers.get('etag') ?? '' }],
  };
  await s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload });
  const url = await getSignedUrl(s3, new DeleteObjectCommand(target));
  assert.equal((await fetch(url, { method: 'DELETE' })).status, 204);
  await refusedWith(404, s3.headObject(target));
});

test('A presigned URL is for one method, key and set of parameters', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'x' });
  await s3.putObject({ Bucket, Key: 'b', Body: 'x' });
  const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'a' }));
  const others: [string, RequestInit?][] = [
    [url, { method: 'PUT', body: 'x' }],
    [url, { method: 'DELETE' }],
    [url.replace('/a?', '/b?')],
    [`${url}&versionId=null`],
    [`${url}&response-content-type=text%2Fhtml`],
    [url.replace(/X-Amz-Expires=\d+/, 'X-Amz-Expires=999')],
  ];
  for (const [address, init] of others) {
    const answer = await fetch(address, init);
    assert.equal(answer.status, 403, address);
    assert.equal(await codeIn(answer), 'SignatureDoesNotMatch', address);
  }
  await s3.headObject({ Bucket, Key: 'a' });
});

test('A presigned URL expires, and is not valid before its time', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await s3.putObject({ Bucket, Key: 'a', Body: 'x' });
  const get = new GetObjectCommand({ Bucket, Key: 'a' });
  const hour = 3_600_000;
  const sign = (signingDate: Date): Promise<string> =>
    getSignedUrl(s3, get, { expiresIn: 1800, signingDate });
  const expired = await fetch(await sign(new Date(Date.now() - hour)));
  assert.equal(expired.status, 403);
  assert.match(await expired.text(), /<Code>AccessDenied<.*<Message>Request has expired</s);
  const early = await fetch(await sign(new Date(Date.now() + hour)));
  assert.equal(early.status, 403);
  assert.match(await early.text(), /<Code>AccessDenied<.*not valid yet/s);
  assert.equal((await fetch(await sign(new Date(Date.now() - hour / 3)))).status, 200);
});

test('A presigned URL of another key is InvalidAccessKeyId', async () => {
  const Bucket = await server.bucket();
  const stranger = sdk(server.endpoint);
  const url = await getSignedUrl(stranger, new GetObjectCommand({ Bucket, Key: 'a' }));
  const answer = await fetch(url.replace(/Credential=\w+/, 'Credential=AKIDSTRANGER'));
  stranger.destroy();
  assert.equal(answer.status, 403);
  assert.equal(await codeIn(answer), 'InvalidAccessKeyId');
});
