import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ListedObject, ListQuery, ObjectPage, UploadsQuery } from '../../../meta/protocol.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import type { AnyOperation } from '../operation.ts';
import { decodeToken, encodeToken } from '../parameters.ts';
import { listMultipartUploads } from './list-multipart-uploads.ts';
import { listObjects } from './list-objects.ts';
import { listObjectsV2 } from './list-objects-v2.ts';
import { listParts } from './list-parts.ts';
import { BUCKET, ok, OWNER, runForText, run, UPLOAD } from './testing-context.ts';

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

function object(key: string): ListedObject {
  return { key, size: 1, etag: 'ab', modifiedMs: 0, owner: OWNER };
}

/** A metadata service that notes what it is asked and always gives the same page. */
function answering(page: Partial<ObjectPage>) {
  const asked: ListQuery[] = [];
  return {
    asked,
    meta: {
      listObjects: (query: ListQuery) => {
        asked.push(query);
        return ok({ bucket: BUCKET, objects: [], commonPrefixes: [], ...page });
      },
    },
  };
}

function valueOf(body: string, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(body)?.[1];
}

test('ListObjects asks for what the parameters say', async () => {
  const { asked, meta } = answering({});
  await run(listObjects, { query: 'prefix=a/&marker=a/b&delimiter=/&max-keys=7', meta });
  await run(listObjects, { query: 'prefix=&marker=&delimiter=', meta });
  assert.deepEqual(asked, [
    { bucket: 'photos', prefix: 'a/', delimiter: '/', after: 'a/b', limit: 7 },
    { bucket: 'photos', prefix: '', delimiter: undefined, after: undefined, limit: 1000 },
  ]);
});

test('ListObjects gives NextMarker only with a delimiter', async () => {
  const { meta } = answering({ objects: [object('a')], next: 'a' });
  const plain = await runForText(listObjects, { query: 'max-keys=1', meta });
  assert.equal(valueOf(plain, 'IsTruncated'), 'true');
  assert.equal(valueOf(plain, 'NextMarker'), undefined);
  const folded = await runForText(listObjects, { query: 'max-keys=1&delimiter=/', meta });
  assert.equal(valueOf(folded, 'NextMarker'), 'a');
});

test('ListObjectsV2 goes on from its token, which wins over start-after', async () => {
  const { asked, meta } = answering({ objects: [object('b/ö')], next: 'b/ö' });
  const first = await runForText(listObjectsV2, { query: 'list-type=2&start-after=a', meta });
  const token = valueOf(first, 'NextContinuationToken') ?? '';
  assert.match(token, /^[A-Za-z0-9_-]+$/);
  const query = `list-type=2&start-after=a&continuation-token=${token}`;
  const second = await runForText(listObjectsV2, { query, meta });
  assert.equal(valueOf(second, 'ContinuationToken'), token);
  assert.equal(valueOf(second, 'StartAfter'), 'a');
  assert.deepEqual(
    asked.map(({ after }) => after),
    ['a', 'b/ö'],
  );
});

test('ListObjectsV2 takes an empty token as none and echoes it', async () => {
  const { asked, meta } = answering({});
  const body = await runForText(listObjectsV2, { query: 'list-type=2&continuation-token=', meta });
  assert.equal(valueOf(body, 'ContinuationToken'), '');
  assert.equal(asked[0]?.after, undefined);
});

test('ListObjectsV2 shows owners only with fetch-owner=true', async () => {
  const { meta } = answering({ objects: [object('a')] });
  for (const [query, shown] of [
    ['list-type=2', false],
    ['list-type=2&fetch-owner=false', false],
    ['list-type=2&fetch-owner=true', true],
  ] as const) {
    const body = await runForText(listObjectsV2, { query, meta });
    assert.equal(body.includes('<Owner>'), shown, query);
  }
});

test('encoding-type=url encodes every name of a listing', async () => {
  const { meta } = answering({ objects: [object('a b')], commonPrefixes: ['a+/'] });
  const query = 'list-type=2&encoding-type=url&prefix=a&delimiter=%2B&start-after=a%20';
  const body = await runForText(listObjectsV2, { query, meta });
  assert.equal(valueOf(body, 'Key'), 'a%20b');
  assert.equal(valueOf(body, 'Delimiter'), '%2B');
  assert.equal(valueOf(body, 'StartAfter'), 'a%20');
  assert.equal(valueOf(body, 'EncodingType'), 'url');
  assert.match(body, /<CommonPrefixes><Prefix>a%2B\/<\/Prefix><\/CommonPrefixes>/);
});

const COUNTS: [value: string, limit: number | undefined][] = [
  ['', 1000],
  ['1', 1],
  ['1000', 1000],
  ['1001', 1000],
  ['1000000000', 1000],
  ['2147483647', 1000],
  ['2147483648', undefined],
  ['-1', undefined],
  ['+1', undefined],
  ['1.5', undefined],
  ['1e3', undefined],
  ['0x10', undefined],
  ['blah', undefined],
];

for (const [value, limit] of COUNTS) {
  test(`max-keys=${value} is ${limit ?? 'InvalidArgument'}`, async () => {
    const { asked, meta } = answering({});
    const query = `max-keys=${encodeURIComponent(value)}`;
    if (limit === undefined) {
      await assert.rejects(run(listObjects, { query, meta }), isCode('InvalidArgument'));
    } else {
      await run(listObjects, { query, meta });
      assert.equal(asked[0]?.limit, limit);
    }
  });
}

const long = 'k'.repeat(1025);
const BAD_LISTINGS: [operation: AnyOperation, query: string, code: ErrorCode][] = [
  [listObjects, 'encoding-type=base64', 'InvalidArgument'],
  [listObjects, `prefix=${long}`, 'KeyTooLongError'],
  [listObjects, `marker=${long}`, 'KeyTooLongError'],
  [listObjects, `delimiter=${long}`, 'KeyTooLongError'],
  [listObjectsV2, `start-after=${long}`, 'KeyTooLongError'],
  [listObjectsV2, 'fetch-owner=maybe', 'InvalidArgument'],
  [listObjectsV2, 'continuation-token=garbage!', 'InvalidArgument'],
  [listObjectsV2, 'continuation-token=Z2FyYmFnZQ', 'InvalidArgument'],
  [listObjectsV2, 'continuation-token=Af8', 'InvalidArgument'],
  [listMultipartUploads, 'max-uploads=x', 'InvalidArgument'],
  [listMultipartUploads, 'encoding-type=x', 'InvalidArgument'],
  [listParts, 'uploadId=u&max-parts=-1', 'InvalidArgument'],
  [listParts, 'uploadId=u&part-number-marker=x', 'InvalidArgument'],
  [listParts, 'uploadId=', 'NoSuchUpload'],
];

for (const [operation, query, code] of BAD_LISTINGS) {
  test(`${operation.name} with ${query.slice(0, 40)} is ${code}`, async () => {
    await assert.rejects(run(operation, { key: 'k', query }), isCode(code));
  });
}

test('Only RestoreStatus may be asked for beside the ordinary attributes', async () => {
  const { meta } = answering({});
  const headers = { 'x-amz-optional-object-attributes': 'RestoreStatus' };
  assert.equal((await run(listObjects, { headers, meta })).status, 200);
  await assert.rejects(
    run(listObjectsV2, { headers: { 'x-amz-optional-object-attributes': 'Colour' }, meta }),
    isCode('InvalidArgument'),
  );
});

test('A continuation token gives back any name', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (name) => {
      assert.equal(decodeToken(encodeToken(name)), name);
    }),
  );
});

test('Text that is no token never becomes a name', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        assert.equal(encodeToken(decodeToken(text)), text);
      } catch (error) {
        assert.ok(isCode('InvalidArgument')(error));
      }
    }),
  );
});

test('ListMultipartUploads looks at the upload id marker only beside a key marker', async () => {
  const asked: UploadsQuery[] = [];
  const meta = {
    listUploads: (query: UploadsQuery) => {
      asked.push(query);
      return ok({ uploads: [UPLOAD], commonPrefixes: [], next: { key: 'big', uploadId: 'u' } });
    },
  };
  const query = 'uploads&key-marker=k&upload-id-marker=u&prefix=p&delimiter=/&max-uploads=3';
  const body = await runForText(listMultipartUploads, { query, meta });
  assert.equal(valueOf(body, 'NextUploadIdMarker'), 'u');
  await run(listMultipartUploads, { query: 'uploads&upload-id-marker=u', meta });
  const common = { bucket: 'photos' };
  assert.deepEqual(asked, [
    { ...common, prefix: 'p', delimiter: '/', keyMarker: 'k', uploadIdMarker: 'u', limit: 3 },
    {
      ...common,
      prefix: '',
      delimiter: undefined,
      keyMarker: undefined,
      uploadIdMarker: undefined,
      limit: 1000,
    },
  ]);
});

test('ListParts pages by part number', async () => {
  const asked: object[] = [];
  const parts = [{ number: 5, size: 1, etag: 'ab', modifiedMs: 0 }];
  const meta = {
    listParts: (query: { after: number; limit: number }) => {
      asked.push({ after: query.after, limit: query.limit });
      return ok({ upload: UPLOAD, parts, next: 5 });
    },
  };
  const query = 'uploadId=upload-1&part-number-marker=4&max-parts=1&encoding-type=url';
  const body = await runForText(listParts, { key: 'big', query, meta });
  assert.equal(valueOf(body, 'NextPartNumberMarker'), '5');
  assert.equal(valueOf(body, 'IsTruncated'), 'true');
  await run(listParts, { key: 'big', query: 'uploadId=u&part-number-marker=2147483647', meta });
  assert.deepEqual(asked, [
    { after: 4, limit: 1 },
    { after: 10_000, limit: 1000 },
  ]);
});
