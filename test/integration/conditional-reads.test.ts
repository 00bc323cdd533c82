/** Conditional reads: the four headers and their order (RFC 9110 section 13.2.2). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GetObjectCommandInput } from '@aws-sdk/client-s3';
import { codeOf, refusedWith, useServer } from '../support/server.ts';

const server = useServer();
type Conditions = Pick<
  GetObjectCommandInput,
  'IfMatch' | 'IfNoneMatch' | 'IfModifiedSince' | 'IfUnmodifiedSince'
>;

let Bucket = '';
let etag = '';
let modified = new Date(0);

async function givenObject(): Promise<void> {
  Bucket = await server.bucket();
  const { ETag } = await server.s3.putObject({ Bucket, Key: 'a', Body: 'x' });
  etag = ETag ?? '';
  modified = (await server.s3.headObject({ Bucket, Key: 'a' })).LastModified ?? modified;
}

const OTHER = '"0123456789abcdef0123456789abcdef"';
const EARLIER = new Date('2015-01-01T00:00:00Z');
const LATER = new Date('2099-01-01T00:00:00Z');

/** Every outcome that a row may have. */
const table = (): [Conditions, 200 | 304 | 412][] => [
  [{ IfMatch: etag }, 200],
  [{ IfMatch: '*' }, 200],
  [{ IfMatch: `${OTHER}, ${etag}` }, 200],
  [{ IfMatch: etag.replaceAll('"', '') }, 200],
  [{ IfMatch: OTHER }, 412],
  [{ IfNoneMatch: OTHER }, 200],
  [{ IfNoneMatch: etag }, 304],
  [{ IfNoneMatch: '*' }, 304],
  [{ IfNoneMatch: `W/${etag}` }, 304],
  [{ IfNoneMatch: `${OTHER}, ${etag}` }, 304],
  [{ IfModifiedSince: EARLIER }, 200],
  [{ IfModifiedSince: modified }, 304],
  [{ IfModifiedSince: LATER }, 304],
  [{ IfUnmodifiedSince: EARLIER }, 412],
  [{ IfUnmodifiedSince: modified }, 200],
  [{ IfUnmodifiedSince: LATER }, 200],
  // An ETag header makes its date twin irrelevant.
  [{ IfMatch: etag, IfUnmodifiedSince: EARLIER }, 200],
  [{ IfMatch: OTHER, IfUnmodifiedSince: LATER }, 412],
  [{ IfNoneMatch: OTHER, IfModifiedSince: LATER }, 200],
  [{ IfNoneMatch: etag, IfModifiedSince: EARLIER }, 304],
  // The 412 of the first pair comes before the 304 of the second.
  [{ IfMatch: OTHER, IfNoneMatch: etag }, 412],
  [{ IfMatch: etag, IfNoneMatch: etag }, 304],
  [{ IfUnmodifiedSince: EARLIER, IfModifiedSince: LATER }, 412],
  [{ IfUnmodifiedSince: EARLIER, IfNoneMatch: etag }, 412],
  [{ IfMatch: etag, IfModifiedSince: LATER }, 304],
  [{ IfMatch: etag, IfNoneMatch: OTHER, IfModifiedSince: LATER, IfUnmodifiedSince: EARLIER }, 200],
];

test('GetObject and HeadObject judge the four conditions in order', async () => {
  await givenObject();
  const { s3 } = server;
  for (const [conditions, expected] of table()) {
    const title = JSON.stringify(conditions);
    const request = { Bucket, Key: 'a', ...conditions };
    for (const [name, answer] of [
      ['get', () => s3.getObject(request)],
      ['head', () => s3.headObject(request)],
    ] as const) {
      if (expected === 200) {
        assert.equal((await answer()).$metadata.httpStatusCode, 200, `${name} ${title}`);
      } else {
        await refusedWith(expected, answer()).catch((error: unknown) => {
          throw new Error(`${name} ${title}`, { cause: error });
        });
      }
    }
  }
});

test('Conditions on a missing key are a plain 404', async () => {
  await givenObject();
  const { s3 } = server;
  for (const conditions of [{ IfMatch: '*' }, { IfNoneMatch: '*' }, { IfMatch: etag }]) {
    assert.equal(await codeOf(s3.getObject({ Bucket, Key: 'none', ...conditions })), 'NoSuchKey');
    await refusedWith(404, s3.headObject({ Bucket, Key: 'none', ...conditions }));
  }
});

test('A condition comes before the range: 304 and 412 win over 206 and 416', async () => {
  await givenObject();
  const { s3 } = server;
  const get = (conditions: Conditions, Range: string): Promise<unknown> =>
    s3.getObject({ Bucket, Key: 'a', Range, ...conditions });
  await refusedWith(304, get({ IfNoneMatch: etag }, 'bytes=0-0'));
  await refusedWith(412, get({ IfMatch: OTHER }, 'bytes=9-'));
  await refusedWith(416, get({ IfMatch: etag }, 'bytes=9-'));
});
