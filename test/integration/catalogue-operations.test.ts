/**
 * Bucket, listing and multipart operations over the real catalogue: what the S3 protocol says, down
 * to the rows. Object content is kept in a map, by the second implementation of the object engine.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { systemEffects } from '../../base/clock.ts';
import { digestOf, loadDigests, multipartChecksum } from '../../base/digest.ts';
import { type BlobId, makeBlobId } from '../../base/ids.ts';
import type { ByteRange, ObjectEngine, OpenedObject } from '../../gateway/object/engine.ts';
import { type ErrorCode, S3Error } from '../../gateway/s3/errors.ts';
import type { OperationName } from '../../gateway/s3/operation.ts';
import {
  chunksOf,
  run,
  type TestRequest,
  textOf,
} from '../../gateway/s3/operations/testing-context.ts';
import { REGISTRY } from '../../gateway/s3/registry.ts';
import { readXml, type XmlNode } from '../../gateway/s3/xml/reader.ts';
import { type CatalogueMethods, createCatalogue } from '../../meta/catalogue/catalogue.ts';
import { leaseKey } from '../../meta/cluster/rows.ts';
import { createMemoryStore } from '../../meta/engine/memory.ts';
import type { Meta, PartRef } from '../../meta/protocol.ts';

before(loadDigests);

const WRITER = 7;
const MIB = 1024 * 1024;

/** An object engine that keeps blobs in a map. */
function mapEngine(meta: CatalogueMethods): Omit<ObjectEngine, 'meta'> {
  const blobs = new Map<BlobId, Buffer>();
  let sequence = 0;
  const bytesOf = (data: { blob: BlobId } | undefined): Buffer => {
    if (data === undefined) return Buffer.alloc(0);
    const bytes = blobs.get(data.blob);
    assert.ok(bytes, `blob ${data.blob} is there`);
    return bytes;
  };
  return {
    writer: () => WRITER,
    reread: ({ data }) => chunksOf(bytesOf(data.kind === 'none' ? undefined : data)),
    async store(body, commit) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(Buffer.from(chunk));
      const bytes = Buffer.concat(chunks);
      const size = bytes.length;
      if (size === 0) return commit({ writer: WRITER, size, data: { kind: 'none' }, missing: [] });
      const blob = makeBlobId(WRITER, ++sequence);
      blobs.set(blob, bytes);
      const data = { kind: 'blob', blob, size, blockSize: MIB } as const;
      return commit({ writer: WRITER, size, data, missing: [] });
    },
    async open(query) {
      const found = await meta.getObject({ ...query, withParts: true });
      if (!found.ok) return found;
      const { bucket, object, parts } = found.value;
      const whole = (): Buffer =>
        object.data.kind === 'parts'
          ? Buffer.concat((parts ?? []).map((part: PartRef) => bytesOf(part.data)))
          : bytesOf(object.data.kind === 'none' ? undefined : object.data);
      const opened: OpenedObject = {
        bucket,
        object,
        parts,
        unlock: () => {},
        read: (range: ByteRange = { start: 0, end: object.size }) =>
          chunksOf(whole().subarray(range.start, range.end)),
        part: async (number) => parts?.find((part) => part.number === number),
        close: () => {},
      };
      return { ok: true, value: opened };
    },
  };
}

async function createS3() {
  const store = createMemoryStore();
  // The writer's lease, which every commit of content checks.
  await store.commit({
    id: Buffer.alloc(16, 1),
    checks: [],
    set: [{ key: leaseKey(WRITER), value: Buffer.alloc(0) }],
    del: [],
    add: [],
  });
  const catalogue = createCatalogue({ store, effects: systemEffects });
  const meta: Partial<Meta> = catalogue;
  const engine = mapEngine(catalogue);
  const call = (name: OperationName, request: TestRequest = {}) =>
    run(REGISTRY[name], { meta, objects: engine, ...request });
  return {
    call,
    read: async (name: OperationName, request: TestRequest = {}) =>
      textOf(await call(name, request)),
    put: (key: string, content: string | Uint8Array = 'x') => call('PutObject', { key, content }),
    content: async (key: string): Promise<Buffer> => {
      const opened = await engine.open({ bucket: 'photos', key });
      assert.ok(opened.ok);
      const chunks: Buffer[] = [];
      for await (const chunk of opened.value.read()) chunks.push(chunk);
      return Buffer.concat(chunks);
    },
    catalogue,
  };
}

type S3 = Awaited<ReturnType<typeof createS3>>;

async function withBucket(): Promise<S3> {
  const s3 = await createS3();
  await s3.call('CreateBucket');
  return s3;
}

async function rejectsWith(code: ErrorCode, work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof S3Error, String(error));
    assert.equal(error.code, code);
    return true;
  });
}

/** All values of the elements `name`, in document order, decoded. */
function values(xml: string, root: string, name: string): string[] {
  const arrays = ['Contents', 'CommonPrefixes', 'Upload', 'Part', 'Deleted', 'Error', 'Bucket'];
  const collect = (node: XmlNode): string[] =>
    node.children.flatMap((child) => (child.name === name ? [child.text] : collect(child)));
  return collect(readXml(xml, { root, arrays }));
}

function value(xml: string, root: string, name: string): string {
  return values(xml, root, name)[0] ?? '';
}

/* ------------------------------------------------------------------ buckets */

test('A bucket lives from CreateBucket to DeleteBucket', async () => {
  const s3 = await createS3();
  await rejectsWith('NoSuchBucket', s3.call('HeadBucket'));
  await s3.call('CreateBucket');
  assert.equal((await s3.call('CreateBucket')).status, 200, 'again, in us-east-1');
  await rejectsWith(
    'BucketAlreadyOwnedByYou',
    s3.call('CreateBucket', { region: 'eu-west-1', bucket: 'photos' }),
  );
  assert.equal((await s3.call('HeadBucket')).headers['x-amz-bucket-region'], 'us-east-1');
  await s3.put('a');
  await rejectsWith('BucketNotEmpty', s3.call('DeleteBucket'));
  await s3.call('DeleteObject', { key: 'a' });
  assert.equal((await s3.call('DeleteBucket')).status, 204);
  await rejectsWith('NoSuchBucket', s3.call('DeleteBucket'));
  await rejectsWith('NoSuchBucket', s3.call('ListObjectsV2', { query: 'list-type=2' }));
  await rejectsWith('NoSuchBucket', s3.call('ListObjectsV2', { query: 'list-type=2&max-keys=0' }));
  await rejectsWith(
    'NoSuchBucket',
    s3.call('ListMultipartUploads', { query: 'uploads&max-uploads=0' }),
  );
});

test('ListBuckets pages through all buckets in name order', async () => {
  const s3 = await createS3();
  const names = ['zebra', 'alpha', 'beta', 'beta-2', 'gamma'];
  for (const bucket of names) await s3.call('CreateBucket', { bucket });
  const seen: string[] = [];
  let token = '';
  do {
    const query = `max-buckets=2&continuation-token=${token}`;
    const xml = await s3.read('ListBuckets', { bucket: '', query });
    seen.push(...values(xml, 'ListAllMyBucketsResult', 'Name'));
    token = value(xml, 'ListAllMyBucketsResult', 'ContinuationToken');
  } while (token !== '');
  assert.deepEqual(seen, names.toSorted());
  const filtered = await s3.read('ListBuckets', { bucket: '', query: 'prefix=beta' });
  assert.deepEqual(values(filtered, 'ListAllMyBucketsResult', 'Name'), ['beta', 'beta-2']);
});

/* ------------------------------------------------------------------ listing */

/** What a listing must give: keys and common prefixes in byte order, each as `k:` or `p:`. */
function model(keys: readonly string[], prefix: string, delimiter: string): string[] {
  const items = new Map<string, string>();
  for (const key of keys) {
    if (!key.startsWith(prefix)) continue;
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    const common = end < 0 ? undefined : key.slice(0, end + delimiter.length);
    items.set(common ?? key, common === undefined ? `k:${key}` : `p:${common}`);
  }
  return [...items]
    .toSorted(([left], [right]) => Buffer.compare(Buffer.from(left), Buffer.from(right)))
    .map(([, item]) => item);
}

const ROOT = 'ListBucketResult';

/** All pages of a listing: how each goes on is what the two versions differ in. */
async function listAll(
  s3: S3,
  version: 1 | 2,
  { prefix, delimiter, maxKeys }: { prefix: string; delimiter: string; maxKeys: number },
): Promise<string[]> {
  const seen: string[] = [];
  const common = `prefix=${encodeURIComponent(prefix)}&delimiter=${encodeURIComponent(delimiter)}&max-keys=${maxKeys}`;
  let next = '';
  for (;;) {
    const marker = encodeURIComponent(next);
    const xml =
      version === 1
        ? await s3.read('ListObjects', { query: `${common}&marker=${marker}` })
        : await s3.read('ListObjectsV2', {
            query: `${common}&list-type=2&continuation-token=${marker}`,
          });
    const keys = values(xml, ROOT, 'Key').map((key) => ({ name: key, item: `k:${key}` }));
    const prefixes = values(xml, ROOT, 'Prefix')
      .slice(1)
      .map((name) => ({ name, item: `p:${name}` }));
    const page = [...keys, ...prefixes].toSorted((left, right) =>
      Buffer.compare(Buffer.from(left.name), Buffer.from(right.name)),
    );
    assert.ok(page.length <= maxKeys);
    if (version === 2) assert.equal(value(xml, ROOT, 'KeyCount'), String(page.length));
    seen.push(...page.map(({ item }) => item));
    if (value(xml, ROOT, 'IsTruncated') === 'false') return seen;
    next =
      version === 2
        ? value(xml, ROOT, 'NextContinuationToken')
        : value(xml, ROOT, 'NextMarker') || (page.at(-1)?.name ?? '');
    assert.notEqual(next, '');
  }
}

const keyText = fc.string({
  unit: fc.constantFrom('a', 'b', '/', '%', ' ', '+', '\n', '\u0001', 'ä', '😀'),
  minLength: 1,
  maxLength: 6,
});

test('Both listings give every key and common prefix once, in byte order, at any page size', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(keyText, { maxLength: 20 }),
      fc.constantFrom('', 'a', 'a/', '/', 'b%'),
      fc.constantFrom('', '/', '%', 'a/', 'ä', '\n'),
      fc.integer({ min: 1, max: 6 }),
      async (keys, prefix, delimiter, maxKeys) => {
        const s3 = await withBucket();
        for (const key of keys) await s3.put(key);
        const expected = model(keys, prefix, delimiter);
        const query = { prefix, delimiter, maxKeys };
        assert.deepEqual(await listAll(s3, 1, query), expected, 'version 1');
        assert.deepEqual(await listAll(s3, 2, query), expected, 'version 2');
      },
    ),
    { numRuns: 60 },
  );
});

test('A marker or start-after in the middle leaves out what does not sort after it', async () => {
  const s3 = await withBucket();
  for (const key of ['bar', 'baz', 'foo', 'quxx']) await s3.put(key);
  for (const [marker, keys] of [
    ['bar', ['baz', 'foo', 'quxx']],
    ['blah', ['foo', 'quxx']],
    ['zzz', []],
    ['\n', ['bar', 'baz', 'foo', 'quxx']],
  ] as const) {
    const name = encodeURIComponent(marker);
    const first = await s3.read('ListObjects', { query: `marker=${name}` });
    assert.deepEqual(values(first, ROOT, 'Key'), keys);
    assert.equal(value(first, ROOT, 'Marker'), marker);
    const second = await s3.read('ListObjectsV2', { query: `list-type=2&start-after=${name}` });
    assert.deepEqual(values(second, ROOT, 'Key'), keys);
    assert.equal(value(second, ROOT, 'StartAfter'), marker);
  }
});

test('encoding-type=url gives the names that s3-tests wants', async () => {
  const s3 = await withBucket();
  for (const key of ['foo+1/bar', 'foo/bar/xyzzy', 'quux ab/thud', 'asdf+b']) await s3.put(key);
  const query = 'list-type=2&delimiter=/&encoding-type=url';
  const xml = await s3.read('ListObjectsV2', { query });
  assert.deepEqual(values(xml, ROOT, 'Key'), ['asdf%2Bb']);
  assert.deepEqual(values(xml, ROOT, 'Prefix'), ['', 'foo%2B1/', 'foo/', 'quux%20ab/']);
});

test('A listing of no keys is empty and not truncated', async () => {
  const s3 = await withBucket();
  await s3.put('a');
  const xml = await s3.read('ListObjectsV2', { query: 'list-type=2&max-keys=0' });
  assert.equal(value(xml, ROOT, 'IsTruncated'), 'false');
  assert.equal(value(xml, ROOT, 'KeyCount'), '0');
});

/* ------------------------------------------------------------------ delete */

test('DeleteObjects deletes exactly what it names and reports missing keys as deleted', async () => {
  const s3 = await withBucket();
  const kept = ['1', '100000', 'a', 'ab', 'x\ny'];
  const gone = ['0001', '1e5', ' a ', 'a\u0001b', '__proto__', 'x\r\ny'];
  for (const key of [...kept, ...gone]) await s3.put(key);
  const written = ['0001', '1e5', ' a ', 'a&#x1;b', '__proto__', 'x&#13;&#10;y', 'never there'];
  const xml = `<Delete>${written.map((key) => `<Object><Key>${key}</Key></Object>`).join('')}</Delete>`;
  const result = await s3.read('DeleteObjects', {
    query: 'delete',
    headers: { 'content-md5': 'verified by the pipeline' },
    xml,
  });
  assert.deepEqual(values(result, 'DeleteResult', 'Key'), [...gone, 'never there']);
  assert.deepEqual(values(result, 'DeleteResult', 'Code'), []);
  const listing = await s3.read('ListObjects');
  assert.deepEqual(values(listing, ROOT, 'Key'), kept);
});

test('DeleteObjects deletes under a condition only what meets it', async () => {
  const s3 = await withBucket();
  await s3.put('a', 'one');
  await s3.put('b', 'two');
  const etag = digestOf('MD5', Buffer.from('one')).toString('hex');
  const xml =
    `<Delete><Object><Key>a</Key><ETag>"${etag}"</ETag><Size>3</Size></Object>` +
    `<Object><Key>b</Key><ETag>"${etag}"</ETag></Object></Delete>`;
  const result = await s3.read('DeleteObjects', {
    query: 'delete',
    headers: { 'content-md5': 'verified by the pipeline' },
    xml,
  });
  assert.match(result, /<Deleted><Key>a<\/Key><\/Deleted><Error><Key>b<\/Key>/);
  assert.deepEqual(values(result, 'DeleteResult', 'Code'), ['PreconditionFailed']);
});

/* ------------------------------------------------------------------ multipart */

async function createUpload(
  s3: S3,
  key = 'big',
  headers: Record<string, string> = {},
): Promise<string> {
  const xml = await s3.read('CreateMultipartUpload', { key, query: 'uploads', headers });
  return value(xml, 'InitiateMultipartUploadResult', 'UploadId');
}

async function uploadPart(
  s3: S3,
  uploadId: string,
  number: number,
  content: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<string> {
  const query = `partNumber=${number}&uploadId=${uploadId}`;
  const reply = await s3.call('UploadPart', { key: 'big', query, content, headers });
  return String(reply.headers['ETag']);
}

function complete(
  s3: S3,
  uploadId: string,
  parts: readonly (readonly [number: number, etag: string, extra?: string])[],
  headers: Record<string, string> = {},
): Promise<string> {
  const inner = parts.map(
    ([number, etag, extra = '']) =>
      `<Part><PartNumber>${number}</PartNumber><ETag>${etag}</ETag>${extra}</Part>`,
  );
  return s3.read('CompleteMultipartUpload', {
    key: 'big',
    query: `uploadId=${uploadId}`,
    headers,
    xml: `<CompleteMultipartUpload>${inner.join('')}</CompleteMultipartUpload>`,
  });
}

const FIRST = Buffer.alloc(5 * MIB, 'A');
const SECOND = Buffer.from('the rest');
const RESULT = 'CompleteMultipartUploadResult';

function multipartEtag(...parts: Buffer[]): string {
  const digests = parts.map((part) => digestOf('MD5', part));
  return `"${digestOf('MD5', Buffer.concat(digests)).toString('hex')}-${parts.length}"`;
}

test('A multipart upload becomes an object with the right ETag, checksum and content', async () => {
  const s3 = await withBucket();
  const uploadId = await createUpload(s3, 'big', { 'x-amz-meta-colour': 'red' });
  const first = await uploadPart(s3, uploadId, 1, FIRST);
  // As the JavaScript SDK does: a CRC32 with each part, though none was named at the creation.
  const crc32 = digestOf('CRC32', SECOND).toString('base64');
  const second = await uploadPart(s3, uploadId, 5, SECOND, { 'x-amz-checksum-crc32': crc32 });
  const parts = [
    [1, first],
    [5, second, `<ChecksumCRC32>${crc32}</ChecksumCRC32>`],
  ] as const;
  const xml = await complete(s3, uploadId, parts, { host: 'localhost:9000' });
  assert.equal(value(xml, RESULT, 'ETag'), multipartEtag(FIRST, SECOND));
  assert.equal(value(xml, RESULT, 'Location'), 'http://localhost:9000/photos/big');
  const whole = Buffer.concat([FIRST, SECOND]);
  assert.equal(
    value(xml, RESULT, 'ChecksumCRC64NVME'),
    digestOf('CRC64NVME', whole).toString('base64'),
  );
  assert.equal(value(xml, RESULT, 'ChecksumType'), 'FULL_OBJECT');
  assert.deepEqual(await s3.content('big'), whole);
  assert.equal(
    await complete(s3, uploadId, [
      [1, first],
      [5, second],
    ]),
    xml.replace('http://localhost:9000', ''),
    'repeated',
  );
  await rejectsWith(
    'NoSuchUpload',
    s3.call('ListParts', { key: 'big', query: `uploadId=${uploadId}` }),
  );
});

test('A composite checksum is that of the parts, which may be named and must then be right', async () => {
  const s3 = await withBucket();
  const uploadId = await createUpload(s3, 'big', { 'x-amz-checksum-algorithm': 'SHA256' });
  const sums = [FIRST, SECOND].map((part) => ({
    value: digestOf('SHA256', part).toString('base64'),
    size: part.length,
  }));
  const etags = [
    await uploadPart(s3, uploadId, 1, FIRST, { 'x-amz-checksum-sha256': sums[0]?.value ?? '' }),
    await uploadPart(s3, uploadId, 2, SECOND),
  ];
  const named = etags.map((etag, index) => {
    const sum = sums[index]?.value ?? '';
    return [index + 1, etag, `<ChecksumSHA256>${sum}</ChecksumSHA256>`] as const;
  });
  const expected = multipartChecksum('SHA256', 'COMPOSITE', sums);
  const swapped = named.map(([number, etag], index) => {
    return [number, etag, named[1 - index]?.[2] ?? ''] as const;
  });
  await rejectsWith('InvalidPart', complete(s3, uploadId, swapped));
  await rejectsWith('BadDigest', complete(s3, uploadId, named, { 'x-amz-checksum-sha256': 'bad' }));
  await rejectsWith(
    'InvalidRequest',
    complete(s3, uploadId, named, { 'x-amz-mp-object-size': '1' }),
  );
  const xml = await complete(s3, uploadId, named, {
    'x-amz-checksum-sha256': expected,
    'x-amz-checksum-type': 'COMPOSITE',
    'x-amz-mp-object-size': String(FIRST.length + SECOND.length),
  });
  assert.equal(value(xml, RESULT, 'ChecksumSHA256'), expected);
  assert.equal(value(xml, RESULT, 'ChecksumType'), 'COMPOSITE');
});

test('CompleteMultipartUpload refuses what the parts do not make, and leaves the upload open', async () => {
  const s3 = await withBucket();
  const uploadId = await createUpload(s3);
  const first = await uploadPart(s3, uploadId, 1, 'small');
  const second = await uploadPart(s3, uploadId, 2, 'small too');
  await rejectsWith('MalformedXML', complete(s3, uploadId, []));
  await rejectsWith('InvalidPart', complete(s3, uploadId, [[9999, first]]));
  await rejectsWith('InvalidPart', complete(s3, uploadId, [[1, 'f'.repeat(32)]]));
  await rejectsWith(
    'InvalidPartOrder',
    complete(s3, uploadId, [
      [2, second],
      [1, first],
    ]),
  );
  await rejectsWith(
    'EntityTooSmall',
    complete(s3, uploadId, [
      [1, first],
      [2, second],
    ]),
  );
  await rejectsWith('NoSuchUpload', complete(s3, 'abc1234def', [[1, first]]));
  await s3.put('big', 'in the way');
  const ifNew = { 'if-none-match': '*' };
  await rejectsWith('PreconditionFailed', complete(s3, uploadId, [[2, second]], ifNew));
  await s3.call('DeleteObject', { key: 'big' });
  await rejectsWith('NoSuchKey', complete(s3, uploadId, [[2, second]], { 'if-match': '"ab"' }));
  await complete(s3, uploadId, [[2, second]], ifNew);
  assert.equal((await s3.content('big')).toString(), 'small too');
});

test('AbortMultipartUpload ends an upload once and for all', async () => {
  const s3 = await withBucket();
  const uploadId = await createUpload(s3);
  const query = `uploadId=${uploadId}`;
  assert.equal((await s3.call('AbortMultipartUpload', { key: 'big', query })).status, 204);
  await rejectsWith('NoSuchUpload', s3.call('AbortMultipartUpload', { key: 'big', query }));
  await rejectsWith('NoSuchUpload', uploadPart(s3, uploadId, 1, 'late'));
  await rejectsWith('NoSuchUpload', complete(s3, uploadId, [[1, 'ab']]));
  await rejectsWith(
    'NoSuchUpload',
    s3.call('AbortMultipartUpload', { key: 'big', query: 'uploadId=56788' }),
  );
  await rejectsWith(
    'NoSuchBucket',
    s3.call('AbortMultipartUpload', { bucket: 'other', key: 'big', query }),
  );
});

test('An upload belongs to its key', async () => {
  const s3 = await withBucket();
  const uploadId = await createUpload(s3);
  const query = `uploadId=${uploadId}`;
  await rejectsWith('NoSuchUpload', s3.call('ListParts', { key: 'other', query }));
  await rejectsWith('NoSuchUpload', s3.call('AbortMultipartUpload', { key: 'other', query }));
});

test('ListParts pages through the parts by number', async () => {
  const s3 = await withBucket();
  const uploadId = await createUpload(s3);
  for (const number of [7, 2, 10_000, 3]) await uploadPart(s3, uploadId, number, `part ${number}`);
  const seen: string[] = [];
  let marker = '0';
  let truncated = true;
  while (truncated) {
    const query = `uploadId=${uploadId}&max-parts=3&part-number-marker=${marker}`;
    const xml = await s3.read('ListParts', { key: 'big', query });
    seen.push(...values(xml, 'ListPartsResult', 'PartNumber'));
    marker = value(xml, 'ListPartsResult', 'NextPartNumberMarker');
    truncated = value(xml, 'ListPartsResult', 'IsTruncated') === 'true';
  }
  assert.deepEqual(seen, ['2', '3', '7', '10000']);
  const none = await s3.read('ListParts', {
    key: 'big',
    query: `uploadId=${uploadId}&max-parts=0`,
  });
  assert.equal(value(none, 'ListPartsResult', 'IsTruncated'), 'false');
});

test('ListMultipartUploads pages through uploads and common prefixes', async () => {
  const s3 = await withBucket();
  const keys = ['a', 'a', 'a', 'b/1', 'b/2', 'c'];
  const ids: string[] = [];
  for (const key of keys) ids.push(await createUpload(s3, key));
  const root = 'ListMultipartUploadsResult';
  const seen: string[] = [];
  const prefixes: string[] = [];
  let markers = '';
  let truncated = true;
  while (truncated) {
    const query = `uploads&delimiter=/&max-uploads=2${markers}`;
    const xml = await s3.read('ListMultipartUploads', { query });
    seen.push(...values(xml, root, 'UploadId'));
    prefixes.push(...values(xml, root, 'Prefix').slice(1));
    truncated = value(xml, root, 'IsTruncated') === 'true';
    const key = value(xml, root, 'NextKeyMarker');
    const uploadId = value(xml, root, 'NextUploadIdMarker');
    markers = `&key-marker=${encodeURIComponent(key)}&upload-id-marker=${uploadId}`;
  }
  assert.deepEqual(new Set(seen), new Set([0, 1, 2, 5].map((index) => ids[index])));
  assert.equal(seen.length, 4);
  assert.deepEqual(prefixes, ['b/']);
  const below = await s3.read('ListMultipartUploads', { query: 'uploads&prefix=b/' });
  assert.deepEqual(values(below, root, 'Key'), ['b/1', 'b/2']);
});

/* ------------------------------------------------------------------ copies */

async function copyPart(
  s3: S3,
  uploadId: string,
  number: number,
  source: string,
  range?: string,
): Promise<string> {
  const headers: Record<string, string> = { 'x-amz-copy-source': source };
  if (range !== undefined) headers['x-amz-copy-source-range'] = range;
  const query = `partNumber=${number}&uploadId=${uploadId}`;
  const xml = await s3.read('UploadPartCopy', { key: 'big', query, headers });
  return value(xml, 'CopyPartResult', 'ETag');
}

test('UploadPartCopy makes parts of whole objects, of parts and of ranges', async () => {
  const s3 = await withBucket();
  await s3.put('a b?', FIRST);
  const uploadId = await createUpload(s3);
  const whole = await copyPart(s3, uploadId, 1, '/photos/a%20b%3F');
  const range = await copyPart(s3, uploadId, 2, 'photos/a%20b%3F', 'bytes=0-9');
  assert.equal(whole, `"${digestOf('MD5', FIRST).toString('hex')}"`);
  assert.equal(range, `"${digestOf('MD5', FIRST.subarray(0, 10)).toString('hex')}"`);
  // The source goes; what the upload took from it stays.
  await s3.call('DeleteObject', { key: 'a b?' });
  await complete(s3, uploadId, [
    [1, whole],
    [2, range],
  ]);
  assert.deepEqual(await s3.content('big'), Buffer.concat([FIRST, FIRST.subarray(0, 10)]));

  // From the multipart object: its first part by reference, then bytes over the seam.
  const again = await createUpload(s3);
  const part = await copyPart(s3, again, 1, 'photos/big', `bytes=0-${FIRST.length - 1}`);
  const seam = await copyPart(
    s3,
    again,
    2,
    'photos/big',
    `bytes=${FIRST.length - 2}-${FIRST.length + 1}`,
  );
  assert.equal(part, whole);
  await complete(s3, again, [
    [1, part],
    [2, seam],
  ]);
  assert.deepEqual(await s3.content('big'), Buffer.concat([FIRST, Buffer.from('AAAA')]));
});

test('UploadPartCopy shares the blob of a whole object', async () => {
  const s3 = await withBucket();
  await s3.put('source', FIRST);
  const uploadId = await createUpload(s3);
  const etag = await copyPart(s3, uploadId, 1, 'photos/source');
  await complete(s3, uploadId, [[1, etag]]);
  const source = await s3.catalogue.getObject({ bucket: 'photos', key: 'source' });
  const target = await s3.catalogue.getObject({ bucket: 'photos', key: 'big', withParts: true });
  assert.ok(source.ok && target.ok && source.value.object.data.kind === 'blob');
  assert.equal(target.value.parts?.[0]?.data?.blob, source.value.object.data.blob);
});

test('UploadPartCopy from what is not there says what is missing', async () => {
  const s3 = await withBucket();
  const uploadId = await createUpload(s3);
  await rejectsWith('NoSuchKey', copyPart(s3, uploadId, 1, 'photos/nothing'));
  await rejectsWith('NoSuchBucket', copyPart(s3, uploadId, 1, 'nowhere/nothing'));
  await rejectsWith('NoSuchUpload', copyPart(s3, 'nothing', 1, 'photos/nothing'));
});
