/** ListObjects and ListObjectsV2, held against a naive listing of the same keys. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { byBytes, type NaivePage, naiveList } from '../support/model.ts';
import { refusedWith, useServer } from '../support/server.ts';

const server = useServer();

/** Short keys over few characters, so that prefixes, delimiters and markers meet. */
const name = fc.string({
  unit: fc.constantFrom('a', 'b', '/', '-', 'é', '\u{10000}', '\uFFFD', '0'),
  minLength: 1,
  maxLength: 6,
});
const delimiters = fc.constantFrom(undefined, '/', '-', 'a', 'ab', '//', 'é');

async function fill(Bucket: string, keys: readonly string[]): Promise<void> {
  const { s3 } = server;
  const queue = [...keys];
  const worker = async (): Promise<void> => {
    for (let Key = queue.pop(); Key !== undefined; Key = queue.pop()) {
      await s3.putObject({ Bucket, Key, Body: Key });
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

/** One page, as either version of the operation gives it. */
async function page(
  version: 1 | 2,
  Bucket: string,
  query: {
    prefix: string;
    delimiter: string | undefined;
    after: string | undefined;
    limit: number;
  },
): Promise<NaivePage> {
  const { s3 } = server;
  const common = { Bucket, Prefix: query.prefix, Delimiter: query.delimiter, MaxKeys: query.limit };
  const answer =
    version === 1
      ? await s3.listObjects({ ...common, Marker: query.after })
      : await s3.listObjectsV2({ ...common, StartAfter: query.after });
  const keys = (answer.Contents ?? []).map(({ Key }) => Key ?? '');
  const prefixes = (answer.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? '');
  assert.equal(answer.MaxKeys, query.limit);
  if ('KeyCount' in answer) assert.equal(answer.KeyCount, keys.length + prefixes.length);
  const last = [...keys, ...prefixes].toSorted(byBytes).at(-1);
  return { keys, prefixes, next: answer.IsTruncated === true ? last : undefined };
}

test('ListObjects and V2 give the same page as a naive listing, for any parameters', async () => {
  let round = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(name, { minLength: 1, maxLength: 30 }),
      fc.array(
        fc.record({
          prefix: fc.oneof(fc.constant(''), name),
          delimiter: delimiters,
          after: fc.option(name, { nil: undefined }),
          limit: fc.integer({ min: 1, max: 5 }),
        }),
        { minLength: 6, maxLength: 6 },
      ),
      async (keys, queries) => {
        const Bucket = await server.bucket();
        await fill(Bucket, keys);
        for (const query of queries) {
          const expected = naiveList(keys, query);
          for (const version of [1, 2] as const) {
            assert.deepEqual(await page(version, Bucket, query), expected, `version ${version}`);
          }
        }
        round++;
      },
    ),
    { numRuns: 15 },
  );
  assert.ok(round >= 15);
});

test('Paging by marker and by token shows every key and prefix once, in byte order', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const keys = [...fc.sample(name, { seed: 7, numRuns: 120 })];
  await fill(Bucket, [...new Set(keys)]);
  for (const Delimiter of [undefined, '/', 'a', 'ab']) {
    for (let MaxKeys = 1; MaxKeys <= 5; MaxKeys++) {
      const all = naiveList(keys, {
        prefix: '',
        delimiter: Delimiter,
        after: undefined,
        limit: 1e9,
      });
      const seen: NaivePage = { keys: [], prefixes: [], next: undefined };
      const take = (answer: {
        Contents?: { Key?: string | undefined }[] | undefined;
        CommonPrefixes?: { Prefix?: string | undefined }[] | undefined;
      }): string => {
        const found = (answer.Contents ?? []).map(({ Key }) => Key ?? '');
        const prefixes = (answer.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? '');
        assert.ok(found.length + prefixes.length <= MaxKeys);
        seen.keys.push(...found);
        seen.prefixes.push(...prefixes);
        return [...found, ...prefixes].toSorted(byBytes).at(-1) ?? '';
      };
      for (let token: string | undefined, more = true; more; ) {
        const answer = await s3.listObjectsV2({
          Bucket,
          Delimiter,
          MaxKeys,
          ContinuationToken: token,
        });
        take(answer);
        token = answer.NextContinuationToken;
        assert.equal(token !== undefined, answer.IsTruncated);
        more = token !== undefined;
      }
      assert.deepEqual(seen, all, `V2, delimiter ${Delimiter}, ${MaxKeys} a page`);
      seen.keys = [];
      seen.prefixes = [];
      for (let Marker = '', more = true; more; ) {
        const answer = await s3.listObjects({ Bucket, Delimiter, MaxKeys, Marker });
        const last = take(answer);
        // NextMarker comes only with a delimiter: without one the last key is the marker.
        if (Delimiter === undefined) assert.equal(answer.NextMarker, undefined);
        else if (answer.IsTruncated === true) assert.equal(answer.NextMarker, last);
        Marker = answer.NextMarker ?? last;
        more = answer.IsTruncated === true;
      }
      assert.deepEqual(seen, all, `V1, delimiter ${Delimiter}, ${MaxKeys} a page`);
    }
  }
});

test('3,000 keys are listed in pages of 1,000, whatever MaxKeys asks for', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const keys = Array.from(
    { length: 3000 },
    (_, at) => `dir-${at % 7}/${String(at).padStart(5, '0')}`,
  );
  await fill(Bucket, keys);
  const sizes: number[] = [];
  const seen: string[] = [];
  let token: string | undefined;
  do {
    const answer = await s3.listObjectsV2({ Bucket, MaxKeys: 5000, ContinuationToken: token });
    assert.equal(answer.MaxKeys, 1000);
    sizes.push(answer.KeyCount ?? 0);
    seen.push(...(answer.Contents ?? []).map(({ Key }) => Key ?? ''));
    token = answer.NextContinuationToken;
  } while (token !== undefined);
  assert.deepEqual(sizes, [1000, 1000, 1000]);
  assert.deepEqual(seen, keys.toSorted(byBytes));
  const folders = await s3.listObjectsV2({ Bucket, Delimiter: '/' });
  assert.equal(folders.IsTruncated, false);
  assert.deepEqual(
    (folders.CommonPrefixes ?? []).map(({ Prefix }) => Prefix),
    Array.from({ length: 7 }, (_, at) => `dir-${at}/`),
  );
});

test('Entries of a listing carry size, ETag, date, class, and the owner when it is asked for', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const { ETag } = await s3.putObject({ Bucket, Key: 'a', Body: 'four' });
  const { LastModified } = await s3.headObject({ Bucket, Key: 'a' });
  const v2 = (await s3.listObjectsV2({ Bucket })).Contents?.[0];
  assert.equal(v2?.ETag, ETag);
  assert.equal(v2?.Size, 4);
  assert.equal(v2?.StorageClass, 'STANDARD');
  assert.deepEqual(v2?.ChecksumAlgorithm, ['CRC32']);
  assert.equal(v2?.ChecksumType, 'FULL_OBJECT');
  assert.equal(v2?.Owner, undefined);
  const seconds = (date: Date | undefined): number => Math.floor((date?.getTime() ?? 0) / 1000);
  assert.equal(seconds(v2?.LastModified), seconds(LastModified));
  const owned = (await s3.listObjectsV2({ Bucket, FetchOwner: true })).Contents?.[0];
  assert.match(owned?.Owner?.ID ?? '', /^[0-9a-f]{64}$/);
  const v1 = (await s3.listObjects({ Bucket })).Contents?.[0];
  assert.match(v1?.Owner?.ID ?? '', /^[0-9a-f]{64}$/);
});

test('EncodingType url encodes keys, prefixes, delimiter and markers', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await fill(Bucket, ['a b/c+d/1', 'a b/c+d/2', 'a b/é', 'a b/é2']);
  const query = {
    Bucket,
    Prefix: 'a b/',
    Delimiter: '+',
    EncodingType: 'url',
    MaxKeys: 2,
  } as const;
  const v2 = await s3.listObjectsV2({ ...query, StartAfter: 'a b/!' });
  assert.equal(v2.EncodingType, 'url');
  const plain = (text: string | undefined): string =>
    decodeURIComponent((text ?? '').replaceAll('+', ' '));
  assert.doesNotMatch(`${v2.Prefix}${v2.StartAfter}${v2.CommonPrefixes?.[0]?.Prefix}`, / /);
  assert.equal(plain(v2.Prefix), 'a b/');
  assert.equal(plain(v2.Delimiter), '+');
  assert.equal(plain(v2.StartAfter), 'a b/!');
  assert.deepEqual(
    (v2.CommonPrefixes ?? []).map(({ Prefix }) => plain(Prefix)),
    ['a b/c+'],
  );
  assert.deepEqual(
    (v2.Contents ?? []).map(({ Key }) => plain(Key)),
    ['a b/é'],
  );
  const v1 = await s3.listObjects({ ...query, Marker: 'a b/!' });
  assert.equal(plain(v1.NextMarker), 'a b/é');
  assert.match(v1.NextMarker ?? '', /%C3%A9$/);
});

test('MaxKeys 0 is an empty page that is not truncated', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await fill(Bucket, ['a', 'b']);
  for (const answer of [
    await s3.listObjects({ Bucket, MaxKeys: 0 }),
    await s3.listObjectsV2({ Bucket, MaxKeys: 0 }),
  ]) {
    assert.equal(answer.IsTruncated, false);
    assert.deepEqual(answer.Contents ?? [], []);
  }
});

test('Listings refuse a negative MaxKeys, an unknown encoding and a token that is not theirs', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await refusedWith('InvalidArgument', s3.listObjectsV2({ Bucket, MaxKeys: -1 }));
  await refusedWith('InvalidArgument', s3.listObjects({ Bucket, MaxKeys: -1 }));
  await refusedWith('InvalidArgument', s3.listObjects({ Bucket, EncodingType: 'gzip' as 'url' }));
  await refusedWith('InvalidArgument', s3.listObjectsV2({ Bucket, ContinuationToken: 'bogus' }));
});

test('A listing shows every acknowledged write and no deleted key, at once', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const list = async (): Promise<string[]> =>
    ((await s3.listObjectsV2({ Bucket })).Contents ?? []).map(({ Key }) => Key ?? '');
  for (let round = 0; round < 20; round++) {
    await s3.putObject({ Bucket, Key: `k${round}` });
    assert.ok((await list()).includes(`k${round}`));
    await s3.deleteObject({ Bucket, Key: `k${round}` });
    assert.deepEqual(await list(), []);
  }
});
