import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { digestOf, loadDigests } from '../../../base/digest.ts';
import { makeBlobId } from '../../../base/ids.ts';
import type { ChecksumAlgorithm } from '../../../base/object-checksum.ts';
import type {
  Answer,
  ObjectRecord,
  PartRef,
  PutPartCommand,
  Upload,
} from '../../../meta/protocol.ts';
import type { OpenedObject } from '../../object/engine.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import {
  BUCKET,
  chunksOf,
  ok,
  OWNER,
  refused,
  run,
  storing,
  textOf,
  type TestRequest,
  UPLOAD,
} from './testing-context.ts';
import { uploadPartCopy } from './upload-part-copy.ts';

before(loadDigests);

const CONTENT = 'abcdefghijklmnopqrstuvwxyz';
const sum = (algorithm: ChecksumAlgorithm, text = CONTENT) =>
  digestOf(algorithm, Buffer.from(text)).toString('base64');
const md5 = (text: string) => digestOf('MD5', Buffer.from(text)).toString('hex');
const SOURCE_BLOB = { blob: makeBlobId(1, 2), size: CONTENT.length, blockSize: 4096 };
const FRESH_BLOB = makeBlobId(7, 1);

const ORDINARY: ObjectRecord = {
  version: '0',
  size: CONTENT.length,
  etag: md5(CONTENT),
  modifiedMs: Date.UTC(2026, 10, 20),
  owner: OWNER,
  data: { kind: 'blob', ...SOURCE_BLOB },
  system: {},
  user: {},
};

/** The alphabet in parts of 10, 10 and 6 letters. */
const PARTS: PartRef[] = [0, 10, 20].map((offset, index) => {
  const text = CONTENT.slice(offset, offset + 10);
  return {
    number: index + 1,
    offset,
    size: text.length,
    data: { blob: makeBlobId(1, 10 + index), size: text.length, blockSize: 4096 },
    etag: md5(text),
    checksum: sum('CRC32', text),
  };
});
const MULTIPART: ObjectRecord = {
  ...ORDINARY,
  etag: `${md5('whatever')}-3`,
  data: { kind: 'parts', list: 'l', size: CONTENT.length, count: 3 },
  checksum: { algorithm: 'CRC32', type: 'COMPOSITE', value: 'AA==-3' },
};

interface Source {
  object?: ObjectRecord;
  checksum?: Upload['checksum'];
  putPart?: (command: PutPartCommand) => Promise<Answer<{ modifiedMs: number }>>;
}

function copying(source: Source = {}) {
  const object = source.object ?? ORDINARY;
  const commands: PutPartCommand[] = [];
  const reads: object[] = [];
  let closed = 0;
  const opened: OpenedObject = {
    bucket: BUCKET,
    object,
    parts: undefined,
    unlock: () => {},
    read: (range = { start: 0, end: object.size }) => {
      reads.push(range);
      return chunksOf(CONTENT.slice(range.start, range.end));
    },
    part: async () => undefined,
    close: () => {
      closed++;
    },
  };
  return {
    commands,
    reads,
    closed: () => closed,
    services: {
      meta: {
        getUpload: () => ok({ ...UPLOAD, checksum: source.checksum }),
        readParts: async () => PARTS,
        putPart: (command: PutPartCommand) => {
          commands.push(command);
          return source.putPart?.(command) ?? ok({ modifiedMs: 0 });
        },
      },
      objects: { store: storing, open: () => ok(opened), writer: () => 9 },
    },
  };
}

function copy(
  services: Pick<TestRequest, 'meta' | 'objects'>,
  headers: Record<string, string> = {},
) {
  return run(uploadPartCopy, {
    key: 'big',
    query: 'uploadId=upload-1&partNumber=2',
    headers: { 'x-amz-copy-source': '/other/a%20b', ...headers },
    ...services,
  });
}

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

test('UploadPartCopy of a whole ordinary object shares its blob', async () => {
  const { commands, reads, closed, services } = copying();
  const reply = await copy(services);
  assert.deepEqual(commands, [
    {
      bucket: 'photos',
      key: 'big',
      uploadId: 'upload-1',
      number: 2,
      writer: 9,
      missing: [],
      data: { kind: 'reference', ...SOURCE_BLOB },
      size: CONTENT.length,
      etag: ORDINARY.etag,
      checksum: undefined,
    },
  ]);
  assert.deepEqual(reads, []);
  assert.equal(closed(), 1);
  assert.match(textOf(reply), new RegExp(`<ETag>&quot;${ORDINARY.etag}&quot;</ETag></Copy`));
});

test('UploadPartCopy of a range that is all of the object shares its blob, too', async () => {
  const { commands, services } = copying();
  await copy(services, { 'x-amz-copy-source-range': 'bytes=0-25' });
  assert.equal(commands[0]?.data.kind, 'reference');
});

test('UploadPartCopy of a range that is exactly one part shares that part', async () => {
  const { commands, services } = copying({
    object: MULTIPART,
    checksum: { algorithm: 'CRC32', type: 'FULL_OBJECT' },
  });
  const reply = await copy(services, { 'x-amz-copy-source-range': 'bytes=10-19' });
  const [command] = commands;
  assert.deepEqual(command?.data, { kind: 'reference', ...PARTS[1]?.data });
  assert.equal(command?.etag, PARTS[1]?.etag);
  assert.equal(command?.checksum, PARTS[1]?.checksum);
  assert.match(textOf(reply), /<ChecksumCRC32>/);
});

const STREAMED: [title: string, source: Source, range: string | undefined][] = [
  ['a range inside an ordinary object', {}, 'bytes=3-12'],
  ['a range inside a part', { object: MULTIPART }, 'bytes=10-18'],
  ['a range over two parts', { object: MULTIPART }, 'bytes=10-25'],
  ['a whole multipart object', { object: MULTIPART }, undefined],
  ['an object whose ETag is no MD5', { object: { ...ORDINARY, etag: 'custom' } }, undefined],
];

for (const [title, source, range] of STREAMED) {
  test(`UploadPartCopy of ${title} copies bytes`, async () => {
    const { commands, closed, services } = copying(source);
    await copy(services, range === undefined ? {} : { 'x-amz-copy-source-range': range });
    const [, first, last] = /bytes=(\d+)-(\d+)/.exec(range ?? 'bytes=0-25') ?? [];
    const text = CONTENT.slice(Number(first), Number(last) + 1);
    const [command] = commands;
    assert.deepEqual(command?.data, {
      kind: 'fresh',
      blob: FRESH_BLOB,
      size: text.length,
      blockSize: 1 << 20,
    });
    assert.equal(command?.etag, md5(text));
    const algorithm = source.checksum?.algorithm;
    assert.equal(command?.checksum, algorithm && sum(algorithm, text));
    assert.equal(closed(), 1);
  });
}

test('UploadPartCopy computes a checksum that nobody kept, and shares the blob all the same', async () => {
  const checksum = { algorithm: 'SHA256', type: 'COMPOSITE' } as const;
  const whole = copying({ checksum });
  await copy(whole.services);
  assert.deepEqual(whole.commands[0]?.data, { kind: 'reference', ...SOURCE_BLOB });
  assert.equal(whole.commands[0]?.checksum, sum('SHA256'));
  const part = copying({ object: MULTIPART, checksum });
  await copy(part.services, { 'x-amz-copy-source-range': 'bytes=10-19' });
  assert.deepEqual(part.commands[0]?.data, { kind: 'reference', ...PARTS[1]?.data });
  assert.equal(part.commands[0]?.checksum, sum('SHA256', CONTENT.slice(10, 20)));
});

test('UploadPartCopy takes the checksum over when it is of the right kind', async () => {
  const checksum = { algorithm: 'CRC64NVME', type: 'FULL_OBJECT' } as const;
  const { commands, services } = copying({
    object: { ...ORDINARY, checksum: { ...checksum, value: sum('CRC64NVME') } },
    checksum,
  });
  await copy(services);
  assert.equal(commands[0]?.data.kind, 'reference');
  assert.equal(commands[0]?.checksum, sum('CRC64NVME'));
});

test('UploadPartCopy of an empty object makes an empty part', async () => {
  const object: ObjectRecord = {
    ...ORDINARY,
    size: 0,
    etag: md5(''),
    data: { kind: 'none' },
  };
  const { commands, services } = copying({
    object,
    checksum: { algorithm: 'CRC32', type: 'COMPOSITE' },
  });
  await copy(services);
  assert.deepEqual(commands[0]?.data, { kind: 'none' });
  assert.equal(commands[0]?.checksum, sum('CRC32', ''));
});

test('UploadPartCopy copies bytes when the source is replaced meanwhile', async () => {
  const { commands, closed, services } = copying({
    putPart: ({ data }) =>
      data.kind === 'reference' ? refused('SourceChanged') : ok({ modifiedMs: 0 }),
  });
  await copy(services);
  assert.deepEqual(
    commands.map(({ data }) => data.kind),
    ['reference', 'fresh'],
  );
  assert.equal(closed(), 1);
});

const RANGES: [range: string, code: ErrorCode][] = [
  ['0-2', 'InvalidArgument'],
  ['bytes=0', 'InvalidArgument'],
  ['bytes=hello-world', 'InvalidArgument'],
  ['bytes=0-bar', 'InvalidArgument'],
  ['bytes=hello-', 'InvalidArgument'],
  ['bytes=0-', 'InvalidArgument'],
  ['bytes=-5', 'InvalidArgument'],
  ['bytes=0-2,3-5', 'InvalidArgument'],
  ['bytes=5-3', 'InvalidArgument'],
  ['bytes=0-26', 'InvalidRange'],
  ['bytes=26-26', 'InvalidRange'],
];

for (const [range, code] of RANGES) {
  test(`UploadPartCopy with range ${range} is ${code}`, async () => {
    const { commands, services } = copying();
    await assert.rejects(copy(services, { 'x-amz-copy-source-range': range }), isCode(code));
    assert.equal(commands.length, 0);
  });
}

const CONDITIONS: [headers: Record<string, string>, passes: boolean][] = [
  [{ 'x-amz-copy-source-if-match': `"${ORDINARY.etag}"` }, true],
  [{ 'x-amz-copy-source-if-match': '"other"' }, false],
  [{ 'x-amz-copy-source-if-none-match': `"${ORDINARY.etag}"` }, false],
  [{ 'x-amz-copy-source-if-modified-since': 'Sun, 22 Nov 2026 00:00:00 GMT' }, false],
  [{ 'x-amz-copy-source-if-unmodified-since': 'Sun, 22 Nov 2026 00:00:00 GMT' }, true],
];

for (const [headers, passes] of CONDITIONS) {
  test(`UploadPartCopy with ${JSON.stringify(headers)} ${passes ? 'copies' : 'fails'}`, async () => {
    const { commands, closed, services } = copying();
    if (passes) await copy(services, headers);
    else await assert.rejects(copy(services, headers), isCode('PreconditionFailed'));
    assert.equal(commands.length, passes ? 1 : 0);
    assert.equal(closed(), 1);
  });
}

const BAD_SOURCES: [source: string, code: ErrorCode][] = [
  ['', 'InvalidArgument'],
  ['nokey', 'InvalidArgument'],
  ['//', 'InvalidArgument'],
  ['bucket/%zz', 'InvalidArgument'],
  ['other/a?versionId=', 'InvalidArgument'],
];

for (const [source, code] of BAD_SOURCES) {
  test(`UploadPartCopy from ${JSON.stringify(source)} is ${code}`, async () => {
    await assert.rejects(copy(copying().services, { 'x-amz-copy-source': source }), isCode(code));
  });
}

test('UploadPartCopy above 5 GiB is InvalidRequest', async () => {
  const size = 5 * 1024 ** 3 + 1;
  const object: ObjectRecord = {
    ...ORDINARY,
    size,
    data: { kind: 'blob', ...SOURCE_BLOB, size },
  };
  await assert.rejects(copy(copying({ object }).services), isCode('InvalidRequest'));
});

test('UploadPartCopy from a missing source answers for the source', async () => {
  const { services } = copying();
  const objects = { ...services.objects, open: () => refused('NoSuchKey') };
  await assert.rejects(copy({ ...services, objects }), (error) => {
    assert.ok(error instanceof S3Error);
    assert.equal(error.code, 'NoSuchKey');
    assert.deepEqual(error.details, { Key: 'a b' });
    return true;
  });
});
