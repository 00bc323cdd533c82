import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../../base/failure.ts';
import type { Bucket, ObjectRecord, PartRef, VersionName } from '../../../meta/protocol.ts';
import type { ByteRange, OpenedObject } from '../../object/engine.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import type { RawReply } from '../request.ts';
import { getObject } from './get-object.ts';
import { headObject } from './head-object.ts';
import { BUCKET, ok, OWNER, run, type TestRequest } from './testing-context.ts';

const BYTES = Buffer.from('0123456789');

const RECORD: ObjectRecord = {
  version: '0'.repeat(32),
  size: BYTES.length,
  etag: 'abc',
  modifiedMs: Date.UTC(2026, 10, 20, 8, 30, 0, 500),
  owner: OWNER,
  data: { kind: 'none' },
  checksum: { algorithm: 'CRC32', type: 'FULL_OBJECT', value: 'AAAAAA==' },
  system: { contentType: 'text/plain' },
  user: { colour: 'red' },
};

const PARTS: PartRef[] = [
  { number: 2, offset: 0, size: 6, etag: 'p1', checksum: 'BBBBBB==' },
  { number: 5, offset: 6, size: 4, etag: 'p2', checksum: 'CCCCCC==' },
];

const MULTIPART: ObjectRecord = {
  ...RECORD,
  etag: 'abc-2',
  data: { kind: 'parts', list: 'l', size: BYTES.length, count: 2 },
  checksum: { algorithm: 'CRC32', type: 'COMPOSITE', value: 'AAAAAA==-2' },
};

/** An object whose bytes come in chunks, and the number of times it was opened and closed. */
function storing(object: ObjectRecord, chunk = 4) {
  const counts = { opened: 0, closed: 0 };
  async function* read(range: ByteRange = { start: 0, end: object.size }): AsyncGenerator<Buffer> {
    for (let start = range.start; start < range.end; start += chunk) {
      yield BYTES.subarray(start, Math.min(start + chunk, range.end));
    }
  }
  const whole: PartRef = { number: 1, offset: 0, size: object.size, etag: object.etag };
  const parts = object.data.kind === 'parts' ? PARTS : [whole];
  const opened: OpenedObject = {
    bucket: BUCKET,
    object,
    parts: undefined,
    unlock: () => {},
    read,
    part: (number) => Promise.resolve(parts[number - 1]),
    close: () => {
      counts.closed++;
    },
  };
  const objects = {
    open: () => {
      counts.opened++;
      return ok(opened);
    },
  };
  return { counts, objects, meta: { getObject: () => ok({ bucket: BUCKET, object }) } };
}

async function bodyOf(reply: RawReply): Promise<string> {
  if (reply.body === undefined) return '';
  if (typeof reply.body === 'string') return reply.body;
  if (reply.body instanceof Uint8Array) return Buffer.from(reply.body).toString();
  const chunks: Uint8Array[] = [];
  for await (const chunk of reply.body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

/** Runs both; HEAD must say what GET says, without the bytes. */
async function getAndHead(object: ObjectRecord, test: TestRequest) {
  const store = storing(object);
  const request = { key: 'a', ...test, ...store };
  const reply = await run(getObject, request);
  const body = await bodyOf(reply);
  reply.finished?.();
  assert.equal(store.counts.closed, store.counts.opened);
  const head = await run(headObject, request);
  assert.equal(head.body, undefined);
  assert.deepEqual(
    { status: head.status, headers: head.headers },
    {
      status: reply.status,
      headers: reply.headers,
    },
  );
  assert.equal(store.counts.closed, store.counts.opened);
  return { status: reply.status, headers: reply.headers, body };
}

test('GetObject and HeadObject return the object and what is kept with it', async () => {
  const reply = await getAndHead(RECORD, {});
  assert.deepEqual(reply, {
    status: 200,
    headers: {
      'Content-Type': 'text/plain',
      'x-amz-meta-colour': 'red',
      'Accept-Ranges': 'bytes',
      'Last-Modified': 'Fri, 20 Nov 2026 08:30:00 GMT',
      ETag: '"abc"',
      'Content-Length': 10,
    },
    body: '0123456789',
  });
});

test('a range is 206 with its place, anything else the whole', async () => {
  const range = async (header: string, more: Record<string, string> = {}) => {
    const headers = { range: header, ...more };
    const { status, body, headers: reply } = await getAndHead(RECORD, { headers });
    assert.equal(reply['Content-Length'], body.length);
    return [status, body, reply['Content-Range']];
  };
  assert.deepEqual(await range('bytes=2-4'), [206, '234', 'bytes 2-4/10']);
  assert.deepEqual(await range('bytes=2-8'), [206, '2345678', 'bytes 2-8/10']);
  assert.deepEqual(await range('bytes=-3'), [206, '789', 'bytes 7-9/10']);
  assert.deepEqual(await range('bytes=0-'), [206, '0123456789', 'bytes 0-9/10']);
  assert.deepEqual(await range('bytes=0-1,4-5'), [200, '0123456789', undefined]);
  assert.deepEqual(await range('bytes=0-1', { 'if-range': '"abc"' }), [206, '01', 'bytes 0-1/10']);
  assert.deepEqual(await range('bytes=0-1', { 'if-range': '"x"' }), [200, '0123456789', undefined]);
  const date = 'Fri, 20 Nov 2026 08:30:00 GMT';
  assert.deepEqual(await range('bytes=0-1', { 'if-range': date }), [206, '01', 'bytes 0-1/10']);
  const other = 'Fri, 20 Nov 2026 08:30:01 GMT';
  assert.deepEqual((await range('bytes=0-1', { 'if-range': other }))[0], 200);
});

test('the checksum is returned when asked for, and only for the whole', async () => {
  const mode = { 'x-amz-checksum-mode': 'ENABLED' };
  const { headers } = await getAndHead(RECORD, { headers: mode });
  assert.equal(headers['x-amz-checksum-crc32'], 'AAAAAA==');
  assert.equal(headers['x-amz-checksum-type'], 'FULL_OBJECT');
  const part = await getAndHead(RECORD, { headers: { ...mode, range: 'bytes=0-1' } });
  assert.equal(part.headers['x-amz-checksum-crc32'], undefined);
  const bad = run(getObject, { key: 'a', headers: { 'x-amz-checksum-mode': 'maybe' } });
  await assert.rejects(bad, isCode('InvalidArgument'));
});

test('a part number selects a part, with its own checksum', async () => {
  const headers = { 'x-amz-checksum-mode': 'ENABLED' };
  const second = await getAndHead(MULTIPART, { query: 'partNumber=2', headers });
  assert.equal(second.status, 206);
  assert.equal(second.body, '6789');
  assert.equal(second.headers['Content-Range'], 'bytes 6-9/10');
  assert.equal(second.headers['x-amz-mp-parts-count'], 2);
  assert.equal(second.headers['x-amz-checksum-crc32'], 'CCCCCC==');
  assert.equal(second.headers['x-amz-checksum-type'], 'COMPOSITE');
  const only = await getAndHead(RECORD, { query: 'partNumber=1', headers });
  assert.equal(only.status, 206);
  assert.equal(only.headers['x-amz-mp-parts-count'], undefined);
  assert.equal(only.headers['x-amz-checksum-crc32'], 'AAAAAA==');
  for (const operation of [getObject, headObject]) {
    const { objects, counts } = storing(MULTIPART);
    const third = run(operation, { key: 'a', query: 'partNumber=3', objects });
    await assert.rejects(third, isCode('InvalidPart'));
    assert.equal(counts.closed, 1);
    for (const query of ['partNumber=0', 'partNumber=10001', 'partNumber=x', 'partNumber=']) {
      await assert.rejects(run(operation, { key: 'a', query }), isCode('InvalidArgument'));
    }
    const range = { range: 'bytes=0-1' };
    const both = run(operation, { key: 'a', query: 'partNumber=1', headers: range });
    await assert.rejects(both, isCode('InvalidRequest'));
  }
});

test('response-* replaces headers and cannot smuggle one in', async () => {
  const query = 'response-content-type=a%2Fb&response-cache-control=no-store&response-expires=x';
  const { headers } = await getAndHead(RECORD, { query });
  assert.equal(headers['Content-Type'], 'a/b');
  assert.equal(headers['Cache-Control'], 'no-store');
  assert.equal(headers['Expires'], 'x');
  for (const value of ['a%0d%0ab', 'a%0ab', '%01', '%7f']) {
    const smuggled = run(getObject, {
      key: 'a',
      query: `response-content-disposition=${value}`,
      ...storing(RECORD),
    });
    await assert.rejects(smuggled, isCode('InvalidArgument'));
  }
  const unicode = await getAndHead(RECORD, { query: 'response-content-disposition=%E2%82%AC' });
  assert.equal(unicode.headers['Content-Disposition'], Buffer.from('€').toString('latin1'));
});

test('an empty object is 200 without bytes, and no range of it exists', async () => {
  const empty = { ...RECORD, size: 0 };
  const reply = await getAndHead(empty, {});
  assert.deepEqual([reply.status, reply.headers['Content-Length'], reply.body], [200, 0, '']);
  assert.equal((await getAndHead(empty, { query: 'partNumber=1' })).status, 200);
  const { objects, counts } = storing(empty);
  const range = run(getObject, { key: 'a', headers: { range: 'bytes=0-0' }, objects });
  await assert.rejects(range, isCode('InvalidRange'));
  assert.equal(counts.closed, 1);
});

test('the version that is named is asked for, and told with the number of its tags', async () => {
  const named: ObjectRecord = { ...RECORD, named: true, tags: [{ key: 'a', value: '' }] };
  const bucket: Bucket = { ...BUCKET, versioning: 'Suspended' };
  const asked: (string | undefined)[] = [];
  const getObjectAnswer = ({ versionId }: VersionName) => {
    asked.push(versionId);
    return ok({ bucket, object: named });
  };
  const reply = await run(headObject, {
    key: 'a',
    query: 'versionId=abc',
    meta: { getObject: getObjectAnswer },
  });
  assert.deepEqual(asked, ['abc']);
  assert.equal(reply.headers['x-amz-version-id'], named.version);
  assert.equal(reply.headers['x-amz-tagging-count'], 1);
  const plain = await getAndHead(RECORD, { query: 'versionId=null' });
  assert.equal(plain.headers['x-amz-version-id'], undefined);
  assert.equal(plain.headers['x-amz-tagging-count'], undefined);
  for (const operation of [getObject, headObject]) {
    const nonsense = run(operation, { key: 'a', query: 'versionId=' });
    await assert.rejects(nonsense, isCode('InvalidArgument'));
  }
});

test('a delete marker tells that it is one', async () => {
  const marker = { versionId: 'ab', modifiedMs: Date.UTC(2026, 10, 20, 8, 30) };
  const answers = { NoSuchKey: undefined, MethodNotAllowed: 'DELETE' } as const;
  for (const refusal of ['NoSuchKey', 'MethodNotAllowed'] as const) {
    const answer = { ok: false as const, refusal, marker };
    const head = run(headObject, { key: 'a', meta: { getObject: async () => answer } });
    await assert.rejects(head, (error) => {
      assert.ok(error instanceof S3Error && error.code === refusal);
      assert.equal(error.headers['x-amz-delete-marker'], 'true');
      assert.equal(error.headers['x-amz-version-id'], 'ab');
      assert.equal(error.headers['Allow'], answers[refusal]);
      return true;
    });
  }
});

test('conditions end the read lease', async () => {
  const { objects, counts } = storing(RECORD);
  const get = run(getObject, { key: 'a', headers: { 'if-none-match': '"abc"' }, objects });
  await assert.rejects(get, isCode('NotModified'));
  assert.deepEqual(counts, { opened: 1, closed: 1 });
});

test('an object that cannot be read is an error and not a broken reply', async () => {
  const { objects, counts } = storing(RECORD);
  const failing = {
    open: async () => {
      const answer = await objects.open();
      if (!answer.ok) return answer;
      async function* read(): AsyncGenerator<Buffer> {
        throw new Failure('unavailable', 'no replica');
      }
      return ok({ ...answer.value, read });
    },
  };
  const get = run(getObject, { key: 'a', objects: failing });
  await assert.rejects(get, (error) => error instanceof Failure && error.kind === 'unavailable');
  assert.equal(counts.closed, 1);
});

test('an object in one chunk is sent whole and its lease ended at once', async () => {
  const { objects, counts } = storing(RECORD, 10);
  const reply = await run(getObject, { key: 'a', objects });
  assert.ok(reply.body instanceof Uint8Array);
  assert.equal(reply.finished, undefined);
  assert.equal(counts.closed, 1);
});
