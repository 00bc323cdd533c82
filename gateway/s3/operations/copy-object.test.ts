import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { digestOf, loadDigests } from '../../../base/digest.ts';
import { Failure } from '../../../base/failure.ts';
import type { CopyObjectCommand, ObjectRecord } from '../../../meta/protocol.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import { copyObject } from './copy-object.ts';
import { BUCKET, chunksOf, ok, OWNER, refused, run, TEST_KEYS, textOf } from './testing-context.ts';

before(loadDigests);

const CONTENT = 'the source';
const SOURCE: ObjectRecord = {
  version: '1'.repeat(32),
  size: CONTENT.length,
  etag: 'abc',
  modifiedMs: Date.UTC(2026, 10, 20),
  owner: OWNER,
  data: { kind: 'none' },
  checksum: { algorithm: 'CRC32', type: 'FULL_OBJECT', value: 'AAAAAA==' },
  system: { contentType: 'text/plain', storageClass: 'STANDARD_IA' },
  user: { colour: 'red' },
};

/** A catalogue with one object, which changes `changes` times while it is being copied. */
function copying(object: ObjectRecord = SOURCE, changes = 0) {
  const commands: CopyObjectCommand[] = [];
  const found = () => ok({ bucket: BUCKET, object });
  return {
    commands,
    meta: {
      getObject: found,
      copyObject: (command: CopyObjectCommand) => {
        commands.push(command);
        if (commands.length <= changes) return refused('SourceChanged');
        const checksum = command.checksum ?? object.checksum;
        return ok({ version: 'v', etag: object.etag, modifiedMs: object.modifiedMs, checksum });
      },
    },
    objects: {
      writer: () => 7,
      open: () =>
        ok({
          bucket: BUCKET,
          object,
          parts: undefined,
          unlock: () => {},
          read: () => chunksOf(CONTENT),
          part: () => Promise.resolve(undefined),
          close: () => {},
        }),
    },
  };
}

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

function copy(
  headers: Record<string, string>,
  store: Omit<ReturnType<typeof copying>, 'commands'>,
) {
  return run(copyObject, {
    key: 'b',
    headers: { 'x-amz-copy-source': '/photos/a', ...headers },
    meta: store.meta,
    objects: store.objects,
  });
}

test('a source that is replaced while its checksum is computed is never copied with the old data key', async () => {
  const keyed = async (version: string): Promise<ObjectRecord> => {
    const { encryption } = await TEST_KEYS.create({ algorithm: 'AES256' });
    return { ...SOURCE, version: version.repeat(32), encryption };
  };
  const [old, current] = [await keyed('1'), await keyed('2')];
  const store = copying(current);
  let asked = 0;
  const getObject = () => ok({ bucket: BUCKET, object: asked++ === 0 ? old : current });
  const headers = {
    'x-amz-checksum-algorithm': 'SHA256',
    'x-amz-server-side-encryption': 'AES256',
  };
  await copy(headers, { ...store, meta: { ...store.meta, getObject } });
  assert.deepEqual(
    store.commands.map(({ source, extras }) => [source.version, extras?.encryption]),
    [[current.version, current.encryption]],
  );
});

test('CopyObject refers to the source as it was read and answers in XML', async () => {
  const store = copying();
  const reply = await copy({ 'x-amz-storage-class': 'STANDARD_IA', 'if-none-match': '*' }, store);
  assert.deepEqual(store.commands, [
    {
      writer: 7,
      source: { bucket: 'photos', key: 'a', version: SOURCE.version },
      bucket: 'photos',
      key: 'b',
      expect: undefined,
      owner: OWNER,
      metadata: undefined,
      checksum: undefined,
      condition: { ifNoneMatch: '*' },
    },
  ]);
  assert.equal(
    textOf(reply),
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
      '<CopyObjectResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' +
      '<LastModified>2026-11-20T00:00:00.000Z</LastModified><ETag>&quot;abc&quot;</ETag>' +
      '<ChecksumType>FULL_OBJECT</ChecksumType><ChecksumCRC32>AAAAAA==</ChecksumCRC32>' +
      '</CopyObjectResult>',
  );
});

test('CopyObject takes storage class and redirect from the request, the rest from the source', async () => {
  const store = copying();
  await copy({ 'content-type': 'ignored/with-copy' }, store);
  assert.deepEqual(store.commands[0]?.metadata, {
    system: {
      contentType: 'text/plain',
      storageClass: undefined,
      websiteRedirectLocation: undefined,
    },
    user: { colour: 'red' },
  });
});

test('CopyObject with REPLACE takes all metadata from the request', async () => {
  const store = copying();
  const headers = {
    'x-amz-metadata-directive': 'REPLACE',
    'content-type': 'a/b',
    'x-amz-meta-size': 'big',
  };
  await copy(headers, store);
  assert.deepEqual(store.commands[0]?.metadata, {
    system: { contentType: 'a/b' },
    user: { size: 'big' },
  });
});

test('CopyObject onto itself must change something', async () => {
  const onto = (headers: Record<string, string>) =>
    copy({ 'x-amz-copy-source': 'photos/b', ...headers }, copying());
  await assert.rejects(onto({}), isCode('InvalidRequest'));
  await assert.rejects(onto({ 'x-amz-metadata-directive': 'COPY' }), isCode('InvalidRequest'));
  for (const headers of [
    { 'x-amz-metadata-directive': 'REPLACE' },
    { 'x-amz-storage-class': 'STANDARD' },
    { 'x-amz-website-redirect-location': '/x' },
    { 'x-amz-checksum-algorithm': 'CRC32' },
  ]) {
    assert.equal((await onto(headers)).status, 200);
  }
});

test('CopyObject reads the bytes only for a checksum that is not there', async () => {
  const same = copying();
  await copy({ 'x-amz-checksum-algorithm': 'CRC32' }, same);
  assert.equal(same.commands[0]?.checksum, undefined);
  const other = copying();
  await copy({ 'x-amz-checksum-algorithm': 'SHA256' }, other);
  assert.deepEqual(other.commands[0]?.checksum, {
    algorithm: 'SHA256',
    type: 'FULL_OBJECT',
    value: digestOf('SHA256', Buffer.from(CONTENT)).toString('base64'),
  });
  const unknown = copy({ 'x-amz-checksum-algorithm': 'MD4' }, copying());
  await assert.rejects(unknown, isCode('InvalidRequest'));
});

test('CopyObject reads a source that changed meanwhile again, a few times', async () => {
  const store = copying(SOURCE, 3);
  assert.equal((await copy({}, store)).status, 200);
  assert.equal(store.commands.length, 4);
  await assert.rejects(copy({}, copying(SOURCE, 99)), isCode('OperationAborted'));
});

test('CopyObject judges the source before it copies', async () => {
  const store = copying();
  const headers = { 'x-amz-copy-source-if-match': '"x"' };
  await assert.rejects(copy(headers, store), isCode('PreconditionFailed'));
  const unmodified = { 'x-amz-copy-source-if-none-match': '"abc"' };
  await assert.rejects(copy(unmodified, store), isCode('PreconditionFailed'));
  const version = { 'x-amz-copy-source': 'photos/a?versionId=' };
  await assert.rejects(copy(version, store), isCode('InvalidArgument'));
  assert.equal(store.commands.length, 0);
});

test('CopyObject refuses what it would have to drop', async () => {
  for (const headers of [
    { 'x-amz-copy-source-range': 'bytes=0-1' },
    { 'x-amz-metadata-directive': 'MERGE' },
    { 'x-amz-copy-source': 'photos' },
  ]) {
    await assert.rejects(copy(headers, copying()), isCode('InvalidArgument'));
  }
});

test('a copy that was made is a success, also when nobody can say any more when it will expire', async () => {
  const store = copying();
  let asked = 0;
  const getObject = () => {
    if (asked++ > 0) throw new Failure('unavailable', 'the metadata service is away');
    return ok({ bucket: BUCKET, object: SOURCE });
  };
  const reply = await run(copyObject, {
    key: 'b',
    headers: { 'x-amz-copy-source': '/photos/a' },
    bucketRow: { configs: ['lifecycle'] },
    configs: { lifecycle: '{"rules":[]}' },
    meta: { ...store.meta, getObject: async () => await getObject() },
    objects: store.objects,
  });
  assert.equal(reply.status, 200);
  assert.equal(asked, 2);
});
