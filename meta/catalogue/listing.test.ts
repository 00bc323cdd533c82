import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Range } from '../engine/kv.ts';
import { createMemoryStore } from '../engine/memory.ts';
import { createWorld, OWNER, refusal, value, type World } from './test-support.ts';

const PIECES = ['a', 'b', '/', '..', 'é', '😀', '\uffff', '\u0001', '\u0000', '//', 'aa', ' '];
const text = (max: number) =>
  fc
    .array(fc.constantFrom(...PIECES), { minLength: 0, maxLength: max })
    .map((pieces) => pieces.join(''));
const keyText = text(5).filter((key) => key !== '');
const delimiter = fc.constantFrom(undefined, '/', 'a', '//', 'é', '😀', '\u0000', '');

const compare = (left: string, right: string) =>
  Buffer.compare(Buffer.from(left), Buffer.from(right));

/** The listing as S3 words it, over all keys, without any cleverness. */
function naiveItems(keys: string[], prefix: string, by: string | undefined): string[][] {
  const items: string[][] = [];
  for (const key of [...keys].sort(compare)) {
    if (!key.startsWith(prefix)) continue;
    const at = by === undefined || by === '' ? -1 : key.indexOf(by, prefix.length);
    const item = at < 0 ? ['key', key] : ['prefix', key.slice(0, at + (by ?? '').length)];
    if (items.at(-1)?.join() !== item.join()) items.push(item);
  }
  return items;
}

function naivePage(
  keys: string[],
  query: {
    prefix: string;
    delimiter: string | undefined;
    after: string | undefined;
    limit: number;
  },
) {
  const { prefix, after, limit } = query;
  const all = naiveItems(keys, prefix, query.delimiter).filter(
    ([, name = '']) => after === undefined || compare(name, after) > 0,
  );
  const items = all.slice(0, limit);
  const next = limit > 0 && all.length > limit ? items.at(-1)?.[1] : undefined;
  return { items, next };
}

async function listed(
  { catalogue }: World,
  query: {
    prefix: string;
    delimiter: string | undefined;
    after: string | undefined;
    limit: number;
  },
) {
  const page = value(await catalogue.listObjects({ bucket: 'b', ...query }));
  const items = [
    ...page.objects.map((object) => ['key', object.key]),
    ...page.commonPrefixes.map((prefix) => ['prefix', prefix]),
  ].sort(([, left = ''], [, right = '']) => compare(left, right));
  assert.deepEqual(
    page.objects.map((object) => object.key),
    page.objects.map((object) => object.key).sort(compare),
    'keys come in byte order',
  );
  return { items, next: page.next };
}

async function worldOf(keys: Iterable<string>): Promise<World> {
  const w = await createWorld();
  // Neighbours on both sides: a scan that leaves its bucket is seen.
  for (const name of ['before', 'b', 'later']) {
    value(await w.catalogue.createBucket({ name, owner: OWNER, region: 'r' }));
  }
  for (const key of keys) await w.put('b', key, 0);
  await w.put('before', '\uffff😀', 0);
  await w.put('later', '\u0000', 0);
  return w;
}

test('ListObjects gives what a naive listing gives, page by page, for hostile keys', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(keyText, { maxLength: 40 }),
      text(3),
      delimiter,
      fc.option(text(4), { nil: undefined }),
      fc.integer({ min: 0, max: 12 }),
      async (keys, prefix, by, after, limit) => {
        const w = await worldOf(keys);
        let marker = after;
        for (let pages = 0; pages < 60; pages++) {
          const query = { prefix, delimiter: by, after: marker, limit };
          const page = await listed(w, query);
          assert.deepEqual(page, naivePage(keys, query));
          if (page.next === undefined) return;
          marker = page.next;
        }
        assert.fail('paging ends');
      },
    ),
    { numRuns: 300 },
  );
});

test('ListObjects goes through many keys and prefixes as a naive listing does', async () => {
  const keys: string[] = [];
  for (let index = 0; index < 3000; index++) {
    const group = index % 7 === 0 ? `plain-${index}` : `dir-${index % 23}/${index}`;
    keys.push(index % 11 === 0 ? `deep/${index % 3}/${group}` : group);
  }
  const w = await worldOf(keys);
  for (const prefix of ['', 'dir-1', 'deep/', 'deep/1/', 'none']) {
    for (const by of [undefined, '/', '-']) {
      for (const limit of [1, 7, 999, 1000]) {
        let after: string | undefined;
        for (let pages = 0; pages < 5; pages++) {
          const query = { prefix, delimiter: by, after, limit };
          const page = await listed(w, query);
          assert.deepEqual(page, naivePage(keys, query));
          after = page.next;
          if (after === undefined) break;
        }
      }
    }
  }
});

test('ListObjects seeks past a common prefix: what lies under it is not read', async () => {
  const inner = createMemoryStore();
  let rows = 0;
  let reads = 0;
  const range = async (query: Range) => {
    const found = await inner.range(query);
    reads += 1;
    rows += found.length;
    return found;
  };
  const w = await createWorld({ store: { ...inner, range } });
  value(await w.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
  for (let index = 0; index < 5000; index++) await w.put('b', `d${index % 5}/${index}`, 0);
  rows = 0;
  const page = value(
    await w.catalogue.listObjects({ bucket: 'b', prefix: '', delimiter: '/', limit: 1000 }),
  );
  assert.equal(page.commonPrefixes.length, 5);
  assert.ok(rows < 100, `${rows} rows read for 5 prefixes`);
  rows = 0;
  reads = 0;
  value(await w.catalogue.listObjects({ bucket: 'b', prefix: '', limit: 1000 }));
  assert.ok(rows <= 1004 && reads <= 2, `${rows} rows in ${reads} reads for a page of 1,000`);
});

test('ListObjects takes markers, prefixes and delimiters longer than any key', async () => {
  const w = await worldOf(['a', 'b', 'z'.repeat(1024)]);
  const ask = (changes: object) =>
    listed(w, { prefix: '', delimiter: undefined, after: undefined, limit: 10, ...changes });
  const all = await ask({});
  assert.deepEqual((await ask({ after: `a${'\u0000'.repeat(5000)}` })).items, all.items.slice(1));
  assert.deepEqual((await ask({ after: 'z'.repeat(5000) })).items, []);
  assert.deepEqual((await ask({ after: 'z'.repeat(1023) })).items, all.items.slice(2));
  assert.deepEqual((await ask({ prefix: 'z'.repeat(3000) })).items, []);
  assert.deepEqual((await ask({ delimiter: '/'.repeat(3000) })).items, all.items);
  const inside = { delimiter: '/', after: `b/${'x'.repeat(5000)}` };
  assert.deepEqual((await ask(inside)).items, all.items.slice(2));
});

test('ListObjects shows what a listing shows of an object, and refuses a missing bucket', async () => {
  const w = await worldOf([]);
  const object = w.object(10, {
    system: { storageClass: 'STANDARD_IA' },
    checksum: { algorithm: 'SHA1', type: 'FULL_OBJECT', value: 'AAAA' },
  });
  const put = { writer: 7, bucket: 'b', key: 'k', object, missing: [] };
  const { etag, modifiedMs } = value(await w.catalogue.putObject(put));
  const page = value(await w.catalogue.listObjects({ bucket: 'b', prefix: '', limit: 5 }));
  assert.equal(page.bucket.name, 'b');
  assert.deepEqual(page.objects, [
    {
      key: 'k',
      size: 10,
      etag,
      modifiedMs,
      owner: OWNER,
      storageClass: 'STANDARD_IA',
      checksum: { algorithm: 'SHA1', type: 'FULL_OBJECT' },
    },
  ]);
  const query = { bucket: 'none', prefix: '', limit: 0 };
  assert.equal(refusal(await w.catalogue.listObjects(query)), 'NoSuchBucket');
  assert.equal(refusal(await w.catalogue.listUploads(query)), 'NoSuchBucket');
});

test('ListMultipartUploads gives uploads by key and creation, page by page, with common prefixes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(keyText, { maxLength: 14 }),
      text(2),
      delimiter,
      fc.option(text(3), { nil: undefined }),
      fc.integer({ min: 1, max: 5 }),
      async (keys, prefix, by, keyMarker, limit) => {
        const w = await worldOf([]);
        const made: { key: string; uploadId: string }[] = [];
        for (const key of keys) {
          w.clock.ms += 1;
          const command = { bucket: 'b', key, owner: OWNER, system: {}, user: {} };
          const { uploadId } = value(await w.catalogue.createUpload(command));
          made.push({ key, uploadId });
        }
        // All items in order: each upload by itself, each common prefix once.
        const items: string[][] = [];
        for (const [kind = '', name = ''] of naiveItems([...new Set(keys)], prefix, by)) {
          if (keyMarker !== undefined && keyMarker !== '' && compare(name, keyMarker) <= 0)
            continue;
          if (kind === 'prefix') items.push([name]);
          else for (const one of made) if (one.key === name) items.push([name, one.uploadId]);
        }
        const found: string[][] = [];
        let marker: { key?: string; uploadId?: string | undefined } =
          keyMarker === undefined ? {} : { key: keyMarker };
        for (let pages = 0; pages < 40; pages++) {
          const page = value(
            await w.catalogue.listUploads({
              bucket: 'b',
              prefix,
              delimiter: by,
              keyMarker: marker.key,
              uploadIdMarker: marker.uploadId,
              limit,
            }),
          );
          const here = [
            ...page.uploads.map((upload) => [upload.key, upload.uploadId]),
            ...page.commonPrefixes.map((name) => [name]),
          ].sort(([left = ''], [right = '']) => compare(left, right));
          assert.ok(here.length <= limit);
          found.push(...here);
          if (page.next === undefined) {
            assert.deepEqual(found, items);
            return;
          }
          assert.equal(here.length, limit);
          marker = page.next;
        }
        assert.fail('paging ends');
      },
    ),
    { numRuns: 200 },
  );
});
