import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { digestOf, loadDigests } from '../../../base/digest.ts';
import type { ChecksumAlgorithm } from '../../../base/object-checksum.ts';
import type {
  CompleteUploadCommand,
  CreateUploadCommand,
  PutPartCommand,
  Upload,
} from '../../../meta/protocol.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import { abortMultipartUpload } from './abort-multipart-upload.ts';
import { completeMultipartUpload } from './complete-multipart-upload.ts';
import { createMultipartUpload } from './create-multipart-upload.ts';
import { ok, OWNER, refused, run, runForText, storing, textOf, UPLOAD } from './testing-context.ts';
import { uploadPart } from './upload-part.ts';

before(loadDigests);

function isCode(code: ErrorCode, message?: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof S3Error &&
    error.code === code &&
    (message === undefined || message.test(error.message));
}

const CONTENT = 'the content of a part';
const sum = (algorithm: ChecksumAlgorithm) =>
  digestOf(algorithm, Buffer.from(CONTENT)).toString('base64');
const MD5 = digestOf('MD5', Buffer.from(CONTENT)).toString('hex');

/* ------------------------------------------------------------------ create */

function creating() {
  const created: CreateUploadCommand[] = [];
  return {
    created,
    meta: {
      createUpload: (command: CreateUploadCommand) => {
        created.push(command);
        return ok({ ...UPLOAD, ...command });
      },
    },
  };
}

test('CreateMultipartUpload keeps the metadata of the object to be', async () => {
  const { created, meta } = creating();
  const headers = {
    'content-type': 'text/plain',
    'cache-control': 'no-store',
    'x-amz-meta-colour': 'red',
    'x-amz-storage-class': 'GLACIER_IR',
  };
  const reply = await run(createMultipartUpload, { key: 'big', query: 'uploads', headers, meta });
  assert.deepEqual(created, [
    {
      bucket: 'photos',
      key: 'big',
      initiator: OWNER,
      expect: undefined,
      owner: OWNER,
      system: {
        contentType: 'text/plain',
        cacheControl: 'no-store',
        storageClass: 'GLACIER_IR',
      },
      user: { colour: 'red' },
      checksum: { algorithm: 'CRC64NVME', type: 'FULL_OBJECT' },
    },
  ]);
  assert.deepEqual(reply.headers, {
    'Content-Type': 'application/xml',
    'x-amz-checksum-algorithm': undefined,
    'x-amz-checksum-type': undefined,
  });
  assert.match(textOf(reply), /<Key>big<\/Key><UploadId>upload-1<\/UploadId>/);
});

const TYPES: [algorithm: string, type: string | undefined, outcome: string][] = [
  ['CRC32', undefined, 'COMPOSITE'],
  ['CRC32', 'COMPOSITE', 'COMPOSITE'],
  ['crc32', 'full_object', 'FULL_OBJECT'],
  ['CRC32C', undefined, 'COMPOSITE'],
  ['CRC32C', 'FULL_OBJECT', 'FULL_OBJECT'],
  ['CRC64NVME', undefined, 'FULL_OBJECT'],
  ['CRC64NVME', 'FULL_OBJECT', 'FULL_OBJECT'],
  ['CRC64NVME', 'COMPOSITE', 'InvalidRequest'],
  ['SHA1', undefined, 'COMPOSITE'],
  ['SHA1', 'FULL_OBJECT', 'InvalidRequest'],
  ['SHA256', 'COMPOSITE', 'COMPOSITE'],
  ['SHA256', 'FULL_OBJECT', 'InvalidRequest'],
  ['SHA256', 'HALF', 'InvalidRequest'],
  ['XXHASH64', undefined, 'InvalidRequest'],
];

for (const [algorithm, type, outcome] of TYPES) {
  test(`CreateMultipartUpload with ${algorithm} and type ${type ?? 'unnamed'}: ${outcome}`, async () => {
    const { created, meta } = creating();
    const headers: Record<string, string> = { 'x-amz-checksum-algorithm': algorithm };
    if (type !== undefined) headers['x-amz-checksum-type'] = type;
    const creation = run(createMultipartUpload, { key: 'big', headers, meta });
    if (outcome === 'InvalidRequest') {
      await assert.rejects(creation, isCode('InvalidRequest'));
      assert.equal(created.length, 0);
      return;
    }
    const reply = await creation;
    assert.deepEqual(created[0]?.checksum, { algorithm: algorithm.toUpperCase(), type: outcome });
    assert.equal(reply.headers['x-amz-checksum-algorithm'], algorithm.toUpperCase());
    assert.equal(reply.headers['x-amz-checksum-type'], outcome);
  });
}

test('CreateMultipartUpload takes a checksum type only beside an algorithm', async () => {
  const headers = { 'x-amz-checksum-type': 'FULL_OBJECT' };
  await assert.rejects(
    run(createMultipartUpload, { key: 'big', headers, ...creating() }),
    isCode('InvalidRequest'),
  );
});

/* ------------------------------------------------------------------ parts */

const QUERY = 'uploadId=upload-1&partNumber=3';

function uploading(checksum: Upload['checksum']) {
  const parts: PutPartCommand[] = [];
  return {
    parts,
    meta: {
      getUpload: () => ok({ ...UPLOAD, checksum }),
      putPart: (command: PutPartCommand) => {
        parts.push(command);
        return ok({ modifiedMs: 0 });
      },
    },
    objects: { store: storing },
  };
}

test('UploadPart stores the part under its number with MD5 and checksum', async () => {
  const { parts, ...services } = uploading({ algorithm: 'SHA256', type: 'COMPOSITE' });
  const headers = { 'x-amz-checksum-sha256': sum('SHA256') };
  const reply = await run(uploadPart, {
    key: 'big',
    query: QUERY,
    headers,
    content: CONTENT,
    ...services,
  });
  assert.deepEqual(parts, [
    {
      bucket: 'photos',
      key: 'big',
      uploadId: 'upload-1',
      number: 3,
      writer: 7,
      size: CONTENT.length,
      etag: MD5,
      checksum: sum('SHA256'),
      data: {
        kind: 'fresh',
        blob: '00000000000000070000000000000001',
        size: CONTENT.length,
        blockSize: 1 << 20,
      },
      missing: [],
    },
  ]);
  assert.deepEqual(reply, {
    status: 200,
    headers: { ETag: `"${MD5}"`, 'x-amz-checksum-sha256': sum('SHA256') },
  });
});

test('UploadPart computes the checksum of its upload when the client sends none', async () => {
  const { parts, ...services } = uploading({ algorithm: 'CRC32C', type: 'FULL_OBJECT' });
  const reply = await run(uploadPart, { key: 'big', query: QUERY, content: CONTENT, ...services });
  assert.equal(parts[0]?.checksum, sum('CRC32C'));
  assert.equal(reply.headers['x-amz-checksum-crc32c'], sum('CRC32C'));
});

test('UploadPart checks any algorithm for an upload that keeps CRC64NVME', async () => {
  const { parts, ...services } = uploading({ algorithm: 'CRC64NVME', type: 'FULL_OBJECT' });
  const request = { key: 'big', query: QUERY, content: CONTENT, ...services };
  const headers = { 'x-amz-checksum-crc32': sum('CRC32') };
  const reply = await run(uploadPart, { ...request, headers });
  assert.equal(parts[0]?.checksum, sum('CRC64NVME'));
  assert.equal(reply.headers['x-amz-checksum-crc32'], sum('CRC32'));
  await assert.rejects(
    run(uploadPart, { ...request, headers: { 'x-amz-checksum-crc32': 'AAAAAA==' } }),
    isCode('BadDigest'),
  );
  assert.equal(parts.length, 1);
});

test('UploadPart refuses another algorithm than the upload was created with', async () => {
  const { parts, ...services } = uploading({ algorithm: 'SHA256', type: 'COMPOSITE' });
  const request = { key: 'big', query: QUERY, content: CONTENT, ...services };
  const headers = { 'x-amz-checksum-crc32': sum('CRC32') };
  const mismatch = isCode('InvalidRequest', /expected checksum Type: sha256, actual .*: crc32$/);
  await assert.rejects(run(uploadPart, { ...request, headers }), mismatch);
  const trailer = { algorithm: 'CRC32' as const, value: () => sum('CRC32') };
  await assert.rejects(run(uploadPart, { ...request, trailer }), mismatch);
  assert.equal(parts.length, 0);
});

test('UploadPart to an upload without a checksum keeps none', async () => {
  const { parts, ...services } = uploading(undefined);
  const headers = { 'x-amz-checksum-crc32': sum('CRC32') };
  await run(uploadPart, { key: 'big', query: QUERY, headers, content: CONTENT, ...services });
  assert.equal(parts[0]?.checksum, undefined);
});

test('UploadPart takes an empty part', async () => {
  const { parts, ...services } = uploading({ algorithm: 'CRC32', type: 'COMPOSITE' });
  await run(uploadPart, { key: 'big', query: QUERY, content: '', ...services });
  assert.deepEqual(parts[0]?.data, { kind: 'none' });
  assert.equal(parts[0]?.etag, 'd41d8cd98f00b204e9800998ecf8427e');
});

test('UploadPart does not read the body of a part whose upload is gone', async () => {
  const meta = { getUpload: () => refused('NoSuchUpload') };
  await assert.rejects(
    run(uploadPart, { key: 'big', query: QUERY, content: CONTENT, meta }),
    isCode('NoSuchUpload'),
  );
});

const BAD_PARTS: [query: string, code: ErrorCode][] = [
  ['uploadId=u&partNumber=0', 'InvalidArgument'],
  ['uploadId=u&partNumber=10001', 'InvalidArgument'],
  ['uploadId=u&partNumber=-1', 'InvalidArgument'],
  ['uploadId=u&partNumber=1.0', 'InvalidArgument'],
  ['uploadId=u&partNumber=', 'InvalidArgument'],
  ['uploadId=&partNumber=1', 'NoSuchUpload'],
  [`uploadId=${'u'.repeat(300)}&partNumber=1`, 'NoSuchUpload'],
];

for (const [query, code] of BAD_PARTS) {
  test(`UploadPart with ${query.slice(0, 40)} is ${code}`, async () => {
    await assert.rejects(run(uploadPart, { key: 'big', query, content: 'x' }), isCode(code));
  });
}

test('AbortMultipartUpload answers 204, and NotImplemented for its condition', async () => {
  const meta = { abortUpload: () => ok(null) };
  const request = { key: 'big', query: 'uploadId=upload-1', meta };
  assert.deepEqual(await run(abortMultipartUpload, request), { status: 204, headers: {} });
  const headers = { 'x-amz-if-match-initiated-time': 'Thu, 01 Jan 1970 00:00:00 GMT' };
  await assert.rejects(
    run(abortMultipartUpload, { ...request, headers }),
    isCode('NotImplemented'),
  );
});

/* ------------------------------------------------------------------ complete */

function completing(checksum?: Upload['checksum']) {
  const commands: CompleteUploadCommand[] = [];
  return {
    commands,
    meta: {
      getUpload: () => ok({ ...UPLOAD, checksum }),
      completeUpload: (command: CompleteUploadCommand) => {
        commands.push(command);
        return ok({
          version: '0',
          etag: 'ab-1',
          modifiedMs: 0,
          size: 9,
          checksum: { algorithm: 'CRC32' as const, type: 'COMPOSITE' as const, value: 'AA==-1' },
        });
      },
    },
  };
}

function partsXml(extra = ''): string {
  return `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"ab"</ETag>${extra}</Part></CompleteMultipartUpload>`;
}

const COMPLETE = { key: 'a b/ö', query: 'uploadId=upload-1' };

test('CompleteMultipartUpload hands on what the client expects of the object', async () => {
  const { commands, meta } = completing();
  const headers = {
    'if-match': '"old"',
    'x-amz-checksum-crc32': 'AA==-1',
    'x-amz-checksum-type': 'COMPOSITE',
    'x-amz-mp-object-size': '9',
  };
  await run(completeMultipartUpload, { ...COMPLETE, headers, xml: partsXml(), meta });
  assert.deepEqual(commands, [
    {
      bucket: 'photos',
      key: 'a b/ö',
      uploadId: 'upload-1',
      parts: [{ number: 1, etag: 'ab', checksum: undefined }],
      condition: { ifMatch: 'old' },
      expected: { algorithm: 'CRC32', value: 'AA==-1' },
      expectedType: 'COMPOSITE',
      expectedSize: 9,
    },
  ]);
});

const HOSTS: [host: string | undefined, location: string][] = [
  ['s3.example.com:9000', 'http://s3.example.com:9000/photos/a%20b/%C3%B6'],
  ['photos.s3.example.com', 'http://photos.s3.example.com/a%20b/%C3%B6'],
  [undefined, '/photos/a%20b/%C3%B6'],
];

for (const [host, location] of HOSTS) {
  test(`CompleteMultipartUpload reached at ${host ?? 'no host'} tells the location`, async () => {
    const headers: Record<string, string> = host === undefined ? {} : { host };
    const { meta } = completing();
    const body = await runForText(completeMultipartUpload, {
      ...COMPLETE,
      headers,
      xml: partsXml(),
      meta,
    });
    assert.match(body, /<ChecksumCRC32>AA==-1<\/ChecksumCRC32><ChecksumType>COMPOSITE</);
    assert.equal(/<Location>([^<]*)</.exec(body)?.[1], location);
  });
}

const CRC32_ELEMENT = '<ChecksumCRC32>AAAAAA==</ChecksumCRC32>';
const KEPT: [upload: ChecksumAlgorithm, element: string, kept: string | undefined][] = [
  ['CRC32', CRC32_ELEMENT, 'AAAAAA=='],
  ['SHA256', CRC32_ELEMENT, 'AAAAAA=='],
  ['CRC64NVME', CRC32_ELEMENT, undefined],
  ['CRC64NVME', '<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>', 'AAAAAAAAAAA='],
];

for (const [algorithm, element, kept] of KEPT) {
  test(`CompleteMultipartUpload of a ${algorithm} upload compares ${kept ?? 'nothing'} for ${element}`, async () => {
    const { commands, meta } = completing({ algorithm, type: 'COMPOSITE' });
    await run(completeMultipartUpload, { ...COMPLETE, xml: partsXml(element), meta });
    assert.equal(commands[0]?.parts[0]?.checksum, kept);
  });
}

test('CompleteMultipartUpload that is repeated still reaches the metadata service', async () => {
  const { commands, meta } = completing();
  await run(completeMultipartUpload, {
    ...COMPLETE,
    xml: partsXml(CRC32_ELEMENT),
    meta: { ...meta, getUpload: () => refused('NoSuchUpload') },
  });
  assert.equal(commands[0]?.parts[0]?.checksum, 'AAAAAA==');
});

const BAD_COMPLETES: [headers: Record<string, string>, code: ErrorCode][] = [
  [{ 'x-amz-mp-object-size': '-1' }, 'InvalidRequest'],
  [{ 'x-amz-mp-object-size': 'big' }, 'InvalidRequest'],
  [{ 'x-amz-checksum-type': 'HALF' }, 'InvalidRequest'],
  [{ 'x-amz-checksum-crc32': 'a', 'x-amz-checksum-sha1': 'b' }, 'InvalidRequest'],
  [{ 'if-none-match': '"abc", "d"' }, 'NotImplemented'],
];

for (const [headers, code] of BAD_COMPLETES) {
  test(`CompleteMultipartUpload with ${JSON.stringify(headers)} is ${code}`, async () => {
    await assert.rejects(
      run(completeMultipartUpload, { ...COMPLETE, headers, xml: partsXml(), ...completing() }),
      isCode(code),
    );
  });
}
