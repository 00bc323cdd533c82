/** PostObject: what a web page does with a form, by fetch and FormData as a browser has them. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { type Fields, signedV2, signedV4 } from '../support/form.ts';
import { bytesOf, digest, etagOf, sameBytes, SERVER_KEYS, useServer } from '../support/server.ts';

const server = useServer({ signatureV2: true });

interface Post {
  fields: Fields;
  content?: string | Uint8Array;
  filename?: string;
}

function post(bucket: string, { fields, content = 'hello', filename = 'a.txt' }: Post) {
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value);
  form.append('file', new Blob([content as Uint8Array<ArrayBuffer>]), filename);
  return fetch(`${server.endpoint}/${bucket}`, {
    method: 'POST',
    body: form,
    redirect: 'manual',
  });
}

/** Fields that are covered by conditions of their own, signed. */
function signed(bucket: string, fields: Fields, more: readonly unknown[] = []): [string, string][] {
  const conditions = [
    { bucket },
    ...fields.map(([name, value]) =>
      name === 'key' ? ['starts-with', '$key', ''] : { [name]: value },
    ),
    ...more,
  ];
  return [
    ...fields.map(([name, value]): [string, string] => [name, value]),
    ...signedV4({ keys: SERVER_KEYS, conditions }),
  ];
}

test('PostObject stores the file of a form and answers 204 with its ETag and place', async () => {
  const bucket = await server.bucket();
  const answer = await post(bucket, { fields: signed(bucket, [['key', 'a b/ü.txt']]) });
  assert.equal(answer.status, 204, await answer.text());
  assert.equal(answer.headers.get('etag'), etagOf('hello'));
  const location = `${server.endpoint}/${bucket}/a%20b/%C3%BC.txt`;
  assert.equal(answer.headers.get('location'), location);
  const found = await server.s3.getObject({ Bucket: bucket, Key: 'a b/ü.txt' });
  assert.equal((await bytesOf(found)).toString(), 'hello');
  // The type of the part is the browser's guess; the object's is a field, or none.
  assert.equal(found.ContentType, 'binary/octet-stream');
});

test('PostObject keeps what the fields say: type, metadata, tags, class, checksum', async () => {
  const bucket = await server.bucket();
  const tag = '<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag></TagSet></Tagging>';
  const fields: Fields = [
    ['key', 'k'],
    ['acl', 'private'],
    ['Content-Type', 'text/plain'],
    ['Content-Disposition', 'attachment'],
    ['Cache-Control', 'no-store'],
    ['Content-Encoding', 'identity'],
    ['x-amz-meta-Colour', 'blau'],
    ['x-amz-storage-class', 'STANDARD_IA'],
    ['x-amz-website-redirect-location', '/elsewhere'],
    ['tagging', tag],
    ['x-amz-checksum-sha256', digest('sha256', 'hello', 'base64')],
  ];
  const answer = await post(bucket, { fields: signed(bucket, fields) });
  assert.equal(answer.status, 204, await answer.text());
  const found = await server.s3.getObject({
    Bucket: bucket,
    Key: 'k',
    ChecksumMode: 'ENABLED',
  });
  assert.equal(found.ContentType, 'text/plain');
  assert.equal(found.ContentDisposition, 'attachment');
  assert.equal(found.CacheControl, 'no-store');
  assert.equal(found.ContentEncoding, 'identity');
  assert.deepEqual(found.Metadata, { colour: 'blau' });
  assert.equal(found.StorageClass, 'STANDARD_IA');
  assert.equal(found.WebsiteRedirectLocation, '/elsewhere');
  assert.equal(found.ChecksumSHA256, digest('sha256', 'hello', 'base64'));
  const { TagSet } = await server.s3.getObjectTagging({ Bucket: bucket, Key: 'k' });
  assert.deepEqual(TagSet, [{ Key: 'a', Value: 'b c' }]);
});

test('PostObject puts the name of the file into the key', async () => {
  const bucket = await server.bucket();
  const fields = signed(bucket, [['key', 'user/${filename}']]);
  assert.equal((await post(bucket, { fields, filename: 'cat $& ${filename}.jpg' })).status, 204);
  const { Contents } = await server.s3.listObjectsV2({ Bucket: bucket });
  assert.deepEqual(
    Contents?.map(({ Key }) => Key),
    ['user/cat $& ${filename}.jpg'],
  );
});

test('PostObject answers 200, 201 with a document, or 204, as it is asked', async () => {
  const bucket = await server.bucket();
  const bodies = new Map<string, [number, string]>();
  for (const status of ['200', '201', '204', '404', 'x']) {
    const fields = signed(bucket, [
      ['key', 'a&b'],
      ['success_action_status', status],
    ]);
    const answer = await post(bucket, { fields });
    bodies.set(status, [answer.status, await answer.text()]);
  }
  const etag = etagOf('hello').replaceAll('"', '&quot;');
  assert.deepEqual(Object.fromEntries(bodies), {
    '200': [200, ''],
    '201': [
      201,
      `<?xml version="1.0" encoding="UTF-8"?>\n<PostResponse><Location>${server.endpoint}/${bucket}/a%26b</Location><Bucket>${bucket}</Bucket><Key>a&amp;b</Key><ETag>${etag}</ETag></PostResponse>`,
    ],
    '204': [204, ''],
    '404': [204, ''],
    x: [204, ''],
  });
});

test('PostObject sends the browser on with bucket, key and etag', async () => {
  const bucket = await server.bucket();
  const etag = encodeURIComponent(etagOf('hello'));
  const table: [string, string | null][] = [
    [
      'https://example.com/done',
      `https://example.com/done?bucket=${bucket}&key=a%26b&etag=${etag}`,
    ],
    ['http://x/?q=1#top', `http://x/?q=1&bucket=${bucket}&key=a%26b&etag=${etag}#top`],
    ['https://x/ü', `https://x/%C3%BC?bucket=${bucket}&key=a%26b&etag=${etag}`],
    ['javascript:alert(1)', null],
    ['not a url', null],
  ];
  for (const [url, location] of table) {
    const fields = signed(bucket, [
      ['key', 'a&b'],
      ['success_action_redirect', url],
      ['success_action_status', '200'],
    ]);
    const answer = await post(bucket, { fields });
    if (location === null) {
      assert.equal(answer.status, 200, url);
    } else {
      assert.deepEqual([answer.status, answer.headers.get('location')], [303, location]);
    }
  }
});

test('PostObject takes files of several blocks, and in a versioned bucket makes versions', async () => {
  const bucket = await server.bucket();
  await server.s3.putBucketVersioning({
    Bucket: bucket,
    VersioningConfiguration: { Status: 'Enabled' },
  });
  const content = randomBytes(3 * 1024 * 1024 + 7);
  const range = ['content-length-range', 1024, 5 * 1024 * 1024];
  const fields = signed(bucket, [['key', 'big']], [range]);
  const first = await post(bucket, { fields, content });
  assert.equal(first.status, 204, await first.text());
  assert.ok(first.headers.get('x-amz-version-id'));
  const second = await post(bucket, { fields, content: content.subarray(1) });
  assert.notEqual(second.headers.get('x-amz-version-id'), first.headers.get('x-amz-version-id'));
  const VersionId = first.headers.get('x-amz-version-id') ?? '';
  const found = await server.s3.getObject({ Bucket: bucket, Key: 'big', VersionId });
  sameBytes(await bytesOf(found), content);
});

test('PostObject keeps the object that there is when the new file is outside its range', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'k', Body: 'old' });
  const fields = signed(bucket, [['key', 'k']], [['content-length-range', 3, 10]]);
  const table: [string, string][] = [
    ['xx', 'EntityTooSmall'],
    ['x'.repeat(11), 'EntityTooLarge'],
    ['x'.repeat(3_000_000), 'EntityTooLarge'],
  ];
  for (const [content, code] of table) {
    const answer = await post(bucket, { fields, content });
    assert.equal(answer.status, 400);
    assert.match(await answer.text(), new RegExp(`<Code>${code}</Code>`));
  }
  const found = await server.s3.getObject({ Bucket: bucket, Key: 'k' });
  assert.equal((await bytesOf(found)).toString(), 'old');
  for (const content of ['xxx', 'x'.repeat(10)]) {
    assert.equal((await post(bucket, { fields, content })).status, 204);
  }
});

test('PostObject takes forms that are signed by Version 2 where that is on', async () => {
  const bucket = await server.bucket();
  const conditions = [{ bucket }, ['starts-with', '$key', 'foo'], { acl: 'private' }];
  const fields: Fields = [
    ['kEy', 'foo.txt'],
    ['aCl', 'private'],
    ...signedV2({ keys: SERVER_KEYS, conditions }),
  ];
  const answer = await post(bucket, { fields });
  assert.equal(answer.status, 204, await answer.text());
  await server.s3.headObject({ Bucket: bucket, Key: 'foo.txt' });
});

test('PostObject locks what a form asks to lock, and a locked bucket locks it anyway', async () => {
  const Bucket = 'locked-forms';
  await server.s3.createBucket({ Bucket, ObjectLockEnabledForBucket: true });
  const until = new Date(Date.now() + 3_600_000).toISOString();
  const fields: Fields = [
    ['key', 'k'],
    ['x-amz-object-lock-mode', 'GOVERNANCE'],
    ['x-amz-object-lock-retain-until-date', until],
    ['x-amz-object-lock-legal-hold', 'ON'],
    ['Content-MD5', digest('md5', 'hello', 'base64')],
  ];
  const answer = await post(Bucket, { fields: signed(Bucket, fields) });
  assert.equal(answer.status, 204, await answer.text());
  const VersionId = answer.headers.get('x-amz-version-id') ?? '';
  const head = await server.s3.headObject({ Bucket, Key: 'k', VersionId });
  assert.equal(head.ObjectLockMode, 'GOVERNANCE');
  assert.equal(head.ObjectLockRetainUntilDate?.toISOString(), until);
  assert.equal(head.ObjectLockLegalHoldStatus, 'ON');
  const bare = await post(Bucket, { fields: signed(Bucket, fields.slice(0, -1)) });
  assert.equal(bare.status, 400, 'a lock needs a digest of the file');
});

test('PostObject into a bucket that is not there is NoSuchBucket', async () => {
  const answer = await post('missing', { fields: signed('missing', [['key', 'k']]) });
  assert.equal(answer.status, 404);
  assert.match(await answer.text(), /<Code>NoSuchBucket</);
});
