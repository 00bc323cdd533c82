/** How requests and answers look on the wire: addressing, continuation, pipelines, errors. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { SUB_RESOURCES } from '../../gateway/s3/detect.ts';
import { seededBytes } from '../support/files.ts';
import { type RawAnswer, RawConnection, requestHead } from '../support/raw.ts';
import { etagOf, refusedWith, SERVER_KEYS } from '../support/server.ts';
import { sha256 } from '../support/sign.ts';
import { useWireServer, type WireRequest } from '../support/wire.ts';

const DOMAIN = 's3.example.test';
const server = useWireServer({ domains: [DOMAIN] });

function answers(answer: RawAnswer, status: number, code: string, what?: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], what ?? answer.body);
}

/** The bytes of a signed request, to be sent by hand. */
function signedBytes(request: WireRequest): string {
  const { headers } = server.sign(request);
  const target = request.query === undefined ? request.path : `${request.path}?${request.query}`;
  const length = String(Buffer.byteLength(request.body ?? ''));
  return requestHead(request.method, target, { ...headers, 'content-length': length });
}

/* ------------------------------------------------------------------ addressing */

test('Virtual-host style: the bucket is in the Host header, the whole path is the key', async () => {
  const bucket = await server.bucket();
  const hosts = [
    `${bucket}.${DOMAIN}`,
    `${bucket}.${DOMAIN}:9000`,
    `${bucket.toUpperCase()}.${DOMAIN}`,
  ];
  for (const [index, host] of hosts.entries()) {
    const path = `/dir/k${index}`;
    const body = `body ${index}`;
    const headers = { host };
    const put = await server.send({ method: 'PUT', path, headers, body });
    assert.equal(put.status, 200, put.body);
    assert.equal((await server.send({ method: 'GET', path, headers })).body, body);
    const { ContentLength } = await server.s3.headObject({ Bucket: bucket, Key: path.slice(1) });
    assert.equal(ContentLength, body.length);
  }
  const list = await server.send({
    method: 'GET',
    path: '/',
    query: 'list-type=2&prefix=dir',
    headers: { host: `${bucket}.${DOMAIN}` },
  });
  assert.match(list.body, new RegExp(`<Name>${bucket}</Name>.*<KeyCount>3</KeyCount>`, 's'));
});

test('Virtual-host style: bucket operations, bare domain, foreign hosts and bad names', async () => {
  const send = (method: string, path: string, host: string): Promise<RawAnswer> =>
    server.send({ method, path, headers: { host } });
  assert.equal((await send('PUT', '/', `fresh.${DOMAIN}`)).status, 200);
  assert.equal((await send('HEAD', '/', `fresh.${DOMAIN}`)).status, 200);
  assert.equal((await send('DELETE', '/', `fresh.${DOMAIN}`)).status, 204);
  answers(await send('GET', '/', `fresh.${DOMAIN}`), 404, 'NoSuchBucket');
  // The domain itself, and any host that is not below it, are path style.
  for (const host of [DOMAIN, 'localhost:1234', 'other.test']) {
    assert.match((await send('GET', '/', host)).body, /<ListAllMyBucketsResult/);
  }
  answers(await send('GET', '/', `_bad_.${DOMAIN}`), 400, 'InvalidBucketName');
  // A path-style request to a bucket host has the bucket's name in its key.
  const bucket = await server.bucket();
  answers(await send('GET', `/${bucket}/a`, `${bucket}.${DOMAIN}`), 404, 'NoSuchKey');
});

test('Virtual-host style: the host that is signed is the host that counts', async () => {
  const [bucket, other] = [await server.bucket(), await server.bucket()];
  await server.s3.putObject({ Bucket: other, Key: 'a', Body: 'theirs' });
  const { headers } = server.sign({
    method: 'GET',
    path: '/a',
    headers: { host: `${bucket}.${DOMAIN}` },
  });
  const answer = await server.sendUnsigned('GET', '/a', { ...headers, host: `${other}.${DOMAIN}` });
  answers(answer, 403, 'SignatureDoesNotMatch');
});

/* ------------------------------------------------------------------ 100-continue */

test('Expect: 100-continue: a good request is told to go on, and then answered', async () => {
  const bucket = await server.bucket();
  const body = seededBytes('continue', 3_000_000);
  const connection = await RawConnection.open(server.endpoint);
  const request = {
    method: 'PUT',
    path: `/${bucket}/a`,
    body,
    headers: { expect: '100-continue' },
  };
  connection.send(signedBytes(request));
  assert.ok(await connection.receives('HTTP/1.1 100 Continue'));
  connection.send(body);
  const answer = await connection.answer();
  assert.ok(answer.continued);
  assert.deepEqual([answer.status, answer.headers['etag']], [200, etagOf(body)]);
  // The connection goes on.
  connection.send(signedBytes({ method: 'HEAD', path: `/${bucket}/a` }));
  assert.equal((await connection.answer({ head: true })).headers['content-length'], '3000000');
  connection.close();
});

test('an expectation that nobody knows is no reason to refuse', async () => {
  const bucket = await server.bucket();
  for (const expect of ['', '200', '100-CONTINUE']) {
    const connection = await RawConnection.open(server.endpoint);
    const body = Buffer.from('body');
    const request = { method: 'PUT', path: `/${bucket}/a`, body, headers: { expect } };
    connection.send(signedBytes(request));
    connection.send(body);
    assert.equal((await connection.answer()).status, 200, expect);
    connection.close();
  }
});

test('Expect: 100-continue: a request that fails is answered instead, without its body', async () => {
  const bucket = await server.bucket();
  const body = seededBytes('never sent', 3_000_000);
  const headers = { expect: '100-continue' };
  const path = `/${bucket}/a`;
  const table: [WireRequest, number, string][] = [
    [
      { method: 'PUT', path, keys: { ...SERVER_KEYS, secretKey: 'wrong' } },
      403,
      'SignatureDoesNotMatch',
    ],
    [{ method: 'PUT', path: '/no-such-bucket/a' }, 404, 'NoSuchBucket'],
    [{ method: 'PUT', path, query: 'encryption=' }, 501, 'NotImplemented'],
    [
      { method: 'PUT', path, query: `partNumber=1&uploadId=${'f'.repeat(32)}` },
      404,
      'NoSuchUpload',
    ],
    [{ method: 'PUT', path: `/${bucket}/${'k'.repeat(1025)}` }, 400, 'KeyTooLongError'],
  ];
  for (const [request, status, code] of table) {
    const connection = await RawConnection.open(server.endpoint);
    connection.send(signedBytes({ ...request, body, headers }));
    const answer = await connection.answer();
    answers(answer, status, code);
    assert.equal(answer.continued, false, code);
    connection.close();
  }
  await refusedWith(404, server.s3.headObject({ Bucket: bucket, Key: 'a' }));
});

test('A client that sends its large body against a refusal still reads the answer', async () => {
  const connection = await RawConnection.open(server.endpoint);
  const keys = { ...SERVER_KEYS, secretKey: 'wrong' };
  const body = seededBytes('against', 8_000_000);
  connection.send(signedBytes({ method: 'PUT', path: '/bucket-1/a', body, keys }));
  connection.send(body);
  answers(await connection.answer(), 403, 'SignatureDoesNotMatch');
  connection.close();
});

/* ------------------------------------------------------------------ connections */

test('Pipelined requests are answered in order, writes before the reads behind them', async () => {
  const bucket = await server.bucket();
  const connection = await RawConnection.open(server.endpoint);
  const put = (key: string, body: string): string =>
    signedBytes({ method: 'PUT', path: `/${bucket}/${key}`, body }) + body;
  const get = (key: string): string => signedBytes({ method: 'GET', path: `/${bucket}/${key}` });
  await server.s3.putObject({ Bucket: bucket, Key: 'large', Body: seededBytes('l', 2_500_000) });
  connection.send(put('a', 'one') + get('large') + get('none') + put('b', 'two') + get('large'));
  const statuses: number[] = [];
  const lengths: number[] = [];
  for (let at = 0; at < 5; at++) {
    const answer = await connection.answer();
    statuses.push(answer.status);
    lengths.push(Number(answer.headers['content-length']));
  }
  assert.deepEqual(statuses, [200, 200, 404, 200, 200]);
  assert.equal(lengths[1], 2_500_000);
  assert.equal(lengths[4], 2_500_000);
  connection.close();
  for (const [Key, size] of [
    ['a', 3],
    ['b', 3],
  ] as const) {
    assert.equal((await server.s3.headObject({ Bucket: bucket, Key })).ContentLength, size);
  }
});

test('An upload that breaks off stores nothing and leaves the old object in place', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'old' });
  const body = seededBytes('broken', 4_000_000);
  for (const sent of [0, 1, 1_048_576, 3_999_999]) {
    for (const payloadHash of [sha256(body), 'UNSIGNED-PAYLOAD']) {
      const connection = await RawConnection.open(server.endpoint);
      connection.send(signedBytes({ method: 'PUT', path, body, payloadHash }));
      connection.send(body.subarray(0, sent));
      await setTimeout(20);
      connection.close();
    }
  }
  await setTimeout(100);
  const { ETag } = await server.s3.headObject({ Bucket: bucket, Key: 'a' });
  assert.equal(ETag, etagOf('old'));
});

test('A client that leaves in the middle of a download harms nobody', async () => {
  const bucket = await server.bucket();
  const body = seededBytes('left', 20_000_000);
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: body });
  for (let at = 0; at < 5; at++) {
    const connection = await RawConnection.open(server.endpoint);
    connection.send(signedBytes({ method: 'GET', path: `/${bucket}/a` }));
    assert.ok(await connection.receives('HTTP/1.1 200 OK'));
    connection.close();
  }
  const answer = await server.s3.getObject({ Bucket: bucket, Key: 'a' });
  const found = await answer.Body?.transformToByteArray();
  assert.equal(etagOf(found ?? ''), etagOf(body));
});

test('PUT without Content-Length in HTTP chunks is taken', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  const { headers } = server.sign({ method: 'PUT', path, body: 'hello world' });
  const connection = await RawConnection.open(server.endpoint);
  connection.send(requestHead('PUT', path, { ...headers, 'transfer-encoding': 'chunked' }));
  connection.send('6;ext=1\r\nhello \r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\n');
  assert.equal((await connection.answer()).status, 200);
  connection.close();
  assert.equal((await server.send({ method: 'GET', path })).body, 'hello world');
});

/* ------------------------------------------------------------------ errors */

test('An error is XML with Code, Message, Resource, RequestId and HostId, as the headers have them', async () => {
  const bucket = await server.bucket();
  const answer = await server.send({ method: 'GET', path: `/${bucket}/a%20%26b` });
  assert.equal(answer.status, 404);
  assert.equal(answer.headers['content-type'], 'application/xml');
  const id = answer.headers['x-amz-request-id'] ?? '';
  const hostId = answer.headers['x-amz-id-2'] ?? '';
  assert.match(id, /^[0-9A-Fa-f]{16}$/);
  assert.ok(hostId.length > 8);
  assert.equal(
    answer.body,
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>' +
      '<Message>The specified key does not exist.</Message><Key>a &amp;b</Key>' +
      `<Resource>/${bucket}/a &amp;b</Resource><RequestId>${id}</RequestId>` +
      `<HostId>${hostId}</HostId></Error>`,
  );
  const other = await server.send({ method: 'GET', path: `/${bucket}/a` });
  assert.notEqual(other.headers['x-amz-request-id'], id);
});

test('HEAD errors have a status and no body, and the connection goes on', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const table: [WireRequest, number][] = [
    [{ method: 'HEAD', path: `/${bucket}/none` }, 404],
    [{ method: 'HEAD', path: '/no-such-bucket' }, 404],
    [{ method: 'HEAD', path: `/${bucket}/a`, headers: { range: 'bytes=9-' } }, 416],
    [{ method: 'HEAD', path: `/${bucket}/a`, headers: { 'if-match': '"x"' } }, 412],
    [{ method: 'HEAD', path: `/${bucket}/a`, headers: { 'if-none-match': '*' } }, 304],
    [{ method: 'HEAD', path: `/${bucket}/a`, keys: { ...SERVER_KEYS, secretKey: 'wrong' } }, 403],
    [{ method: 'HEAD', path: '/UPPER' }, 400],
    [{ method: 'HEAD', path: '/' }, 405],
    [{ method: 'HEAD', path: `/${bucket}/a` }, 200],
  ];
  const connection = await RawConnection.open(server.endpoint);
  for (const [request, status] of table) {
    connection.send(signedBytes(request));
    const answer = await connection.answer({ head: true });
    assert.equal(answer.status, status, `${request.path} ${JSON.stringify(request.headers)}`);
    assert.match(answer.headers['x-amz-request-id'] ?? '', /^[0-9A-Fa-f]{16}$/);
  }
  connection.close();
});

test('304 and 204 have no body; 304 carries the validators', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const connection = await RawConnection.open(server.endpoint);
  connection.send(signedBytes({ method: 'GET', path, headers: { 'if-none-match': '*' } }));
  const unchanged = await connection.answer();
  assert.equal(unchanged.status, 304);
  assert.equal(unchanged.headers['etag'], etagOf('x'));
  assert.ok(unchanged.headers['last-modified']);
  connection.send(signedBytes({ method: 'DELETE', path }));
  const removed = await connection.answer();
  assert.equal(removed.status, 204);
  assert.equal(removed.headers['content-length'], undefined);
  connection.send(signedBytes({ method: 'GET', path }));
  answers(await connection.answer(), 404, 'NoSuchKey');
  connection.close();
});

test('A failed condition names itself, a missing bucket and upload name theirs', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const send = (request: Partial<WireRequest>): Promise<RawAnswer> =>
    server.send({ method: 'GET', path, ...request });
  const failed = await send({ headers: { 'if-match': '"x"' } });
  assert.match(failed.body, /<Condition>If-Match<\/Condition>/);
  const written = await send({ method: 'PUT', headers: { 'if-none-match': '*' }, body: 'y' });
  assert.match(written.body, /<Condition>If-None-Match<\/Condition>/);
  const noBucket = await send({ path: '/no-such-bucket/a' });
  assert.match(noBucket.body, /<BucketName>no-such-bucket<\/BucketName>/);
  const noUpload = await send({ query: `uploadId=${'f'.repeat(32)}` });
  assert.match(noUpload.body, /<UploadId>f{32}<\/UploadId>/);
});

/* ------------------------------------------------------------------ what is not there */

/** Sub-resource, method, and whether Ashlar carries it out. */
function* table(place: 'bucket' | 'object'): Generator<[string, string, boolean]> {
  for (const [name, methods] of Object.entries(SUB_RESOURCES[place])) {
    for (const [method, operation] of Object.entries(methods)) {
      yield [name, method, !operation.startsWith('!')];
    }
  }
}

test('Every sub-resource that S3 knows and Ashlar has not is NotImplemented, and nothing happens', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'untouched' });
  let seen = 0;
  for (const place of ['bucket', 'object'] as const) {
    const path = place === 'bucket' ? `/${bucket}` : `/${bucket}/a`;
    for (const [name, method, there] of table(place)) {
      if (there) continue;
      seen++;
      const body = method === 'PUT' || method === 'POST' ? '<x/>' : '';
      for (const query of [`${name}=`, `${name}=&id=1`]) {
        const answer = await server.send({ method, path, query, body });
        answers(answer, 501, 'NotImplemented', `${method} ${path}?${query}: ${answer.status}`);
        assert.match(answer.body, /<Operation>\w+<\/Operation>/);
      }
    }
  }
  assert.ok(seen > 20, `${seen} sub-resources`);
  const { ETag } = await server.s3.headObject({ Bucket: bucket, Key: 'a' });
  assert.equal(ETag, etagOf('untouched'));
});

test('A sub-resource with a method that it does not have is MethodNotAllowed, never the plain operation', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'untouched' });
  for (const place of ['bucket', 'object'] as const) {
    const path = place === 'bucket' ? `/${bucket}` : `/${bucket}/a`;
    for (const name of Object.keys(SUB_RESOURCES[place])) {
      const known = Object.keys(SUB_RESOURCES[place][name] ?? {});
      for (const method of ['GET', 'PUT', 'POST', 'DELETE', 'PATCH']) {
        if (known.includes(method)) continue;
        const answer = await server.send({ method, path, query: `${name}=1` });
        answers(answer, 405, 'MethodNotAllowed', `${method} ${path}?${name}: ${answer.status}`);
        assert.equal(answer.headers['allow'], known.join(', '));
      }
    }
  }
  const { ETag } = await server.s3.headObject({ Bucket: bucket, Key: 'a' });
  assert.equal(ETag, etagOf('untouched'));
});

test('A sub-resource of objects on a bucket, or of buckets on an object, is MethodNotAllowed', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'untouched' });
  const own = { bucket: SUB_RESOURCES.bucket, object: SUB_RESOURCES.object };
  for (const [place, path] of [
    ['object', `/${bucket}`],
    ['bucket', `/${bucket}/a`],
  ] as const) {
    const here = place === 'object' ? own.bucket : own.object;
    for (const name of Object.keys(own[place])) {
      if (Object.hasOwn(here, name)) continue;
      for (const method of ['GET', 'PUT', 'DELETE']) {
        const answer = await server.send({ method, path, query: `${name}=1` });
        answers(answer, 405, 'MethodNotAllowed', `${method} ${path}?${name}: ${answer.status}`);
      }
    }
  }
  const { ETag } = await server.s3.headObject({ Bucket: bucket, Key: 'a' });
  assert.equal(ETag, etagOf('untouched'));
});

test('Methods that S3 does not have there are MethodNotAllowed with an Allow header', async () => {
  const bucket = await server.bucket();
  const table: [string, string][] = [
    ['POST', '/'],
    ['PUT', '/'],
    ['DELETE', '/'],
    ['PATCH', `/${bucket}`],
    ['POST', `/${bucket}`],
    ['POST', `/${bucket}/a`],
    ['PATCH', `/${bucket}/a`],
    ['TRACE', `/${bucket}/a`],
  ];
  for (const [method, path] of table) {
    const answer = await server.send({ method, path });
    answers(answer, 405, 'MethodNotAllowed', `${method} ${path}`);
    assert.match(answer.headers['allow'] ?? '', /GET/);
    assert.match(answer.body, new RegExp(`<Method>${method}</Method>`));
  }
});

test('Two sub-resources at once, and a list type that does not exist, are InvalidArgument', async () => {
  const bucket = await server.bucket();
  for (const query of ['acl=&tagging=', 'uploads=&delete=', 'list-type=3', 'list-type=']) {
    const answer = await server.send({ method: 'GET', path: `/${bucket}`, query });
    answers(answer, 400, 'InvalidArgument', query);
  }
});

test('row 75: neither secrets nor signatures are in the log', () => {
  server.assertLogHoldsNoSecrets();
});
