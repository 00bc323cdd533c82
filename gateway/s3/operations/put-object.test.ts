import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, loadDigests } from '../../../base/digest.ts';
import type { PutObjectCommand } from '../../../meta/protocol.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import { putObject } from './put-object.ts';
import { BUCKET, ok, OWNER, refused, run, storing } from './testing-context.ts';

await loadDigests();

const CONTENT = 'the content of an object';
const BYTES = Buffer.from(CONTENT);
const MD5 = digestOf('MD5', BYTES).toString('hex');
const CRC64 = digestOf('CRC64NVME', BYTES).toString('base64');

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

function keeping() {
  const kept: PutObjectCommand[] = [];
  return {
    kept,
    objects: { store: storing },
    meta: {
      getBucket: () => ok(BUCKET),
      putObject: (command: PutObjectCommand) => {
        kept.push(command);
        return ok({ version: 'v', etag: command.object.etag, modifiedMs: 1 });
      },
    },
  };
}

test('PutObject keeps ETag, checksum and metadata, and returns the first two', async () => {
  const { kept, meta, objects } = keeping();
  const headers = {
    'content-type': 'text/plain',
    'x-amz-meta-colour': 'red',
    'if-none-match': '*',
  };
  const reply = await run(putObject, { key: 'a', content: CONTENT, headers, meta, objects });
  assert.deepEqual(reply, {
    status: 200,
    headers: {
      ETag: `"${MD5}"`,
      'x-amz-checksum-crc64nvme': CRC64,
      'x-amz-checksum-type': 'FULL_OBJECT',
    },
  });
  const [command] = kept;
  assert.deepEqual(command?.object, {
    size: BYTES.length,
    etag: MD5,
    owner: OWNER,
    data: command?.object.data,
    checksum: { algorithm: 'CRC64NVME', type: 'FULL_OBJECT', value: CRC64 },
    system: { contentType: 'text/plain' },
    user: { colour: 'red' },
  });
  assert.equal(command?.writer, 7);
  assert.deepEqual(command?.condition, { ifNoneMatch: '*' });
});

test('PutObject keeps the checksum that the client sends, by header or by trailer', async () => {
  const value = digestOf('SHA256', BYTES).toString('base64');
  for (const sent of [
    { headers: { 'x-amz-checksum-sha256': value } },
    { trailer: { algorithm: 'SHA256', value: () => value } as const },
  ]) {
    const { kept, meta, objects } = keeping();
    const reply = await run(putObject, { key: 'a', content: CONTENT, meta, objects, ...sent });
    assert.equal(reply.headers['x-amz-checksum-sha256'], value);
    assert.equal(kept[0]?.object.checksum?.value, value);
  }
});

test('PutObject of nothing stores an empty object', async () => {
  const { kept, meta, objects } = keeping();
  const reply = await run(putObject, { key: 'a', content: '', meta, objects });
  assert.equal(reply.headers['ETag'], '"d41d8cd98f00b204e9800998ecf8427e"');
  assert.deepEqual(kept[0]?.object.data, { kind: 'none' });
});

test('PutObject commits nothing when the content is not what was promised', async () => {
  const { kept, meta, objects } = keeping();
  const headers = { 'content-md5': digestOf('MD5', Buffer.from('x')).toString('base64') };
  const put = run(putObject, { key: 'a', content: CONTENT, headers, meta, objects });
  await assert.rejects(put, isCode('BadDigest'));
  assert.equal(kept.length, 0);
});

test('PutObject passes on why the commit was refused', async () => {
  const meta = { putObject: () => refused('PreconditionFailed') };
  const objects = { store: storing };
  const put = run(putObject, { key: 'a', content: CONTENT, meta, objects });
  await assert.rejects(put, isCode('PreconditionFailed'));
});
