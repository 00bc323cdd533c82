/** What S3 answers to bad input: rows 28 and 41 to 61 of the table, by hand where SDKs would not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchange, type RawAnswer, RawConnection, requestHead } from '../support/raw.ts';
import { digest, refusedWith } from '../support/server.ts';
import { useWireServer } from '../support/wire.ts';

const server = useWireServer();
const GIB = 1024 ** 3;

function answers(answer: RawAnswer, status: number, code: string, what?: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], what ?? answer.body);
}

const md5 = (body: string): { 'content-md5': string } => ({
  'content-md5': digest('md5', body, 'base64'),
});

const put = (path: string, headers: Record<string, string> = {}, body = 'x'): Promise<RawAnswer> =>
  server.send({ method: 'PUT', path, headers, body });

const get = (path: string, query?: string): Promise<RawAnswer> =>
  server.send({ method: 'GET', path, ...(query === undefined ? {} : { query }) });

async function keysOf(Bucket: string): Promise<string[]> {
  const { Contents = [] } = await server.s3.listObjectsV2({ Bucket });
  return Contents.map(({ Key }) => Key ?? '');
}

test('row 28: Content-MD5 that is no MD5 is InvalidDigest, a wrong one BadDigest; nothing is stored', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  for (const value of ['x', 'AAAA', '', '=', 'A'.repeat(24), 'AAAAAAAAAAAAAAAAAAAAAA']) {
    answers(await put(path, { 'content-md5': value }), 400, 'InvalidDigest', value);
  }
  answers(await put(path, md5('other')), 400, 'BadDigest');
  const xml = '<Delete><Object><Key>a</Key></Object></Delete>';
  const posted = await server.send({
    method: 'POST',
    path: `/${bucket}`,
    query: 'delete=',
    body: xml,
    headers: md5('other'),
  });
  answers(posted, 400, 'BadDigest');
  await refusedWith(404, server.s3.headObject({ Bucket: bucket, Key: 'a' }));
});

/* ------------------------------------------------------------------ XML */

/** The operations with an XML body, on a bucket with the object `a` and an open upload of it. */
async function xmlRoutes(): Promise<[string, (body: string) => Promise<RawAnswer>][]> {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const { UploadId } = await server.s3.createMultipartUpload({ Bucket: bucket, Key: 'a' });
  const post = (path: string, query: string, method = 'POST') => {
    return (body: string): Promise<RawAnswer> =>
      server.send({ method, path, query, body, headers: md5(body) });
  };
  return [
    ['DeleteObjects', post(`/${bucket}`, 'delete=')],
    ['CompleteMultipartUpload', post(`/${bucket}/a`, `uploadId=${UploadId}`)],
    ['CreateBucket', post(`/${bucket}-2`, '', 'PUT')],
  ];
}

const VALID: Record<string, string> = {
  DeleteObjects: '<Delete><Object><Key>a</Key></Object></Delete>',
  CompleteMultipartUpload:
    '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>',
  CreateBucket:
    '<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>',
};

test('row 41: a document type or an entity of one’s own is MalformedXML, and nothing is read or done', async () => {
  for (const [name, send] of await xmlRoutes()) {
    const valid = VALID[name] ?? '';
    const attacks = [
      `<!DOCTYPE x>${valid}`,
      `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>${valid.replace('>a<', '>&e;<')}`,
      `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>${valid.replace('>a<', '>&b;<')}`,
      `<?xml version="1.0"?><!doctype x>${valid}`,
      valid.replace(/>(a|1|us-east-1)</, '>&unknown;<'),
    ];
    for (const xml of attacks) {
      const answer = await send(xml);
      answers(answer, 400, 'MalformedXML', `${name}: ${xml} ${answer.body}`);
      assert.doesNotMatch(answer.body, /root:/);
    }
  }
});

test('row 42: XML that is not one well-formed document is MalformedXML', async () => {
  for (const [name, send] of await xmlRoutes()) {
    const valid = VALID[name] ?? '';
    const deep = '<a>'.repeat(30) + '</a>'.repeat(30);
    const bad = [
      valid.slice(0, -5),
      valid.replace('</', '</x'),
      `${valid}${valid}`,
      `${valid}junk`,
      `junk${valid}`,
      valid.replace('>', `>${deep}`),
      '<Other/>',
      '{"json": true}',
      '\u0000',
      '<',
      valid.replace('<', '< '),
    ];
    for (const xml of bad) answers(await send(xml), 400, 'MalformedXML', `${name}: ${xml}`);
  }
});

test('row 42: DeleteObjects and CompleteMultipartUpload without a body are refused', async () => {
  const [remove, complete] = await xmlRoutes();
  answers((await remove?.[1]('')) ?? fail(), 400, 'MissingRequestBodyError');
  const answer = (await complete?.[1]('')) ?? fail();
  assert.equal(answer.status, 400);
  assert.match(answer.code, /^(MalformedXML|InvalidRequest|MissingRequestBodyError)$/);
});

function fail(): never {
  throw new Error('no such route');
}

test('row 43: an XML body of more than 2 MiB is refused without being read to its end', async () => {
  const bucket = await server.bucket();
  const request = { method: 'POST', path: `/${bucket}`, query: 'delete=' };
  const big = { ...request, length: String(3 * 1024 * 1024), payloadHash: 'UNSIGNED-PAYLOAD' };
  // Only the head is sent: the answer does not wait for the body.
  const declared = await server.send({ ...big, headers: md5('x') });
  answers(declared, 400, 'MaxMessageLengthExceeded');
  const crafted = server.sign({ ...request, payloadHash: 'UNSIGNED-PAYLOAD' });
  const headers = { ...crafted.headers, 'transfer-encoding': 'chunked' };
  const connection = await RawConnection.open(server.endpoint);
  connection.send(requestHead('POST', `/${bucket}?delete=`, headers));
  for (let sent = 0; sent < 3; sent++) {
    connection.send(`100000\r\n${' '.repeat(0x100000)}\r\n`);
  }
  answers(await connection.answer(), 400, 'MaxMessageLengthExceeded');
  connection.close();
});

test('row 44: DeleteObjects takes keys as text, never as numbers, names or markup', async () => {
  const bucket = await server.bucket();
  const keys = ['0001', '1', '1e5', '100000', ' a ', 'a', 'a\u0001b', 'ab', '__proto__', 'true'];
  for (const Key of keys) await server.s3.putObject({ Bucket: bucket, Key });
  const named = ['0001', '1e5', ' a ', 'a&#x1;b', '__proto__', 'true'];
  const body = `<Delete>${named.map((key) => `<Object><Key>${key}</Key></Object>`).join('')}</Delete>`;
  const request = { method: 'POST', path: `/${bucket}`, query: 'delete=' };
  const answer = await server.send({ ...request, body, headers: md5(body) });
  assert.equal(answer.status, 200, answer.body);
  assert.doesNotMatch(answer.body, /<Error>/);
  assert.deepEqual((await keysOf(bucket)).toSorted(), ['1', '100000', 'a', 'ab'].toSorted());
  const many = `<Delete>${'<Object><Key>a</Key></Object>'.repeat(1001)}</Delete>`;
  const tooMany = await server.send({ ...request, body: many, headers: md5(many) });
  answers(tooMany, 400, 'MalformedXML');
  const empty = await server.send({ ...request, body: '<Delete/>', headers: md5('<Delete/>') });
  answers(empty, 400, 'MalformedXML');
  assert.equal((await keysOf(bucket)).length, 4);
});

/* ------------------------------------------------------------------ headers, keys, names */

test('row 46: headers that ask for what cannot be had here are refused, never dropped', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  const table: [Record<string, string>, number, string][] = [
    [{ 'x-amz-server-side-encryption': 'AES256' }, 501, 'NotImplemented'],
    [{ 'x-amz-server-side-encryption': 'aws:kms' }, 400, 'KMS.NotFoundException'],
    [{ 'x-amz-server-side-encryption': 'aws:kms:dsse' }, 501, 'NotImplemented'],
    [{ 'x-amz-server-side-encryption-customer-algorithm': 'AES256' }, 400, 'InvalidArgument'],
    [{ 'x-amz-server-side-encryption-more': 'x' }, 501, 'NotImplemented'],
    [{ 'x-amz-acl': 'public-read' }, 400, 'AccessControlListNotSupported'],
    [{ 'x-amz-grant-read': 'id="x"' }, 400, 'InvalidArgument'],
  ];
  for (const [headers, status, code] of table) {
    for (const [method, query] of [
      ['PUT', undefined],
      ['POST', 'uploads='],
    ] as const) {
      const body = method === 'PUT' ? 'x' : '';
      const request = { method, path, headers, body };
      const answer = await server.send(query === undefined ? request : { ...request, query });
      answers(answer, status, code, `${method} ${JSON.stringify(headers)}`);
    }
  }
  assert.deepEqual(await keysOf(bucket), []);
});

test('row 47: a key of 1,024 bytes is taken, of 1,025 it is KeyTooLongError', async () => {
  const bucket = await server.bucket();
  for (const key of ['k'.repeat(1024), '%C3%A9'.repeat(512), '%6B'.repeat(1024)]) {
    assert.equal((await put(`/${bucket}/${key}`)).status, 200);
  }
  for (const key of ['k'.repeat(1025), `${'%C3%A9'.repeat(512)}k`]) {
    answers(await put(`/${bucket}/${key}`), 400, 'KeyTooLongError');
    answers(await get(`/${bucket}/${key}`), 400, 'KeyTooLongError');
  }
});

test('row 48: a key that is not UTF-8, a broken escape or a NUL is InvalidURI, in XML', async () => {
  const bucket = await server.bucket();
  for (const key of ['%ff', '%c3', '%ed%a0%80', '%zz', '%', 'a%2', '%00', 'a%00b']) {
    for (const method of ['PUT', 'GET', 'DELETE']) {
      const answer = await server.send({ method, path: `/${bucket}/${key}` });
      answers(answer, 400, 'InvalidURI', key);
      assert.equal(answer.headers['content-type'], 'application/xml');
    }
  }
  assert.deepEqual(await keysOf(bucket), []);
});

test('row 49: dots and slashes in keys are literal: never folded, never a path, never another bucket', async () => {
  const [bucket, other] = [await server.bucket(), await server.bucket()];
  await server.s3.putObject({ Bucket: other, Key: 'x', Body: 'theirs' });
  const keys = [
    `../${other}/x`,
    `../../${other}/x`,
    'a/../../b',
    'a/../b',
    './a',
    'a/.',
    '//',
    '/',
    '.',
    '..',
    'dir/',
    'a//b',
  ];
  for (const key of keys) assert.equal((await put(`/${bucket}/${key}`, {}, key)).status, 200, key);
  assert.equal((await put(`/${bucket}/%2e%2e%2fescaped`, {}, 'e')).status, 200);
  for (const key of keys) assert.equal((await get(`/${bucket}/${key}`)).body, key);
  const all = [...keys, '../escaped'];
  assert.deepEqual(
    await keysOf(bucket),
    all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
  );
  assert.equal((await get(`/${other}/x`)).body, 'theirs');
  assert.deepEqual(await keysOf(other), ['x']);
});

test('row 50: one decoding: %2F, + and double escapes mean one key for signature and storage', async () => {
  const bucket = await server.bucket();
  await put(`/${bucket}/a/b`, {}, 'slash');
  assert.equal((await get(`/${bucket}/a%2Fb`)).body, 'slash');
  assert.equal((await get(`/${bucket}/%61/b`)).body, 'slash');
  await put(`/${bucket}/a+b`, {}, 'plus');
  assert.equal((await get(`/${bucket}/a%2Bb`)).body, 'plus');
  answers(await get(`/${bucket}/a%20b`), 404, 'NoSuchKey');
  await put(`/${bucket}/a%252Fb`, {}, 'double');
  assert.deepEqual(await keysOf(bucket), ['a%2Fb', 'a+b', 'a/b']);
  // An encoded slash ends no bucket name.
  answers(await get(`/${bucket}%2Fa`), 400, 'InvalidBucketName');
});

test('row 51: bad bucket names are InvalidBucketName', async () => {
  const bad = [
    'ab',
    'a'.repeat(64),
    'UPPER',
    'under_score',
    '192.168.0.1',
    '-start',
    'end-',
    'a..b',
    '.start',
    'end.',
    'a.-b',
    'xn--punycode',
    'name-s3alias',
    'with%20space',
    '%C3%BCber',
  ];
  for (const name of bad) {
    answers(await put(`/${name}`, {}, ''), 400, 'InvalidBucketName', name);
    answers(await get(`/${name}/a`), 400, 'InvalidBucketName', name);
  }
  for (const name of ['abc', 'a'.repeat(63), 'a.b-c.1', '1a2']) {
    assert.equal((await put(`/${name}`, {}, '')).status, 200, name);
  }
});

test('row 52: user metadata of 2,048 bytes is taken, more is MetadataTooLarge', async () => {
  const path = `/${await server.bucket()}/a`;
  const meta = (bytes: number): Record<string, string> => ({
    'x-amz-meta-ab': 'v'.repeat(bytes - 4),
    'x-amz-meta-c': 'd',
  });
  assert.equal((await put(path, meta(2048))).status, 200);
  answers(await put(path, meta(2049)), 400, 'MetadataTooLarge');
});

test('row 53: more than 5 GiB in one piece is EntityTooLarge, before a byte is read', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  const length = String(5 * GIB + 1);
  const request = { method: 'PUT', path, length, payloadHash: 'UNSIGNED-PAYLOAD' };
  answers(await server.send(request), 400, 'EntityTooLarge');
  const { UploadId } = await server.s3.createMultipartUpload({ Bucket: bucket, Key: 'a' });
  const part = { ...request, query: `partNumber=1&uploadId=${UploadId}` };
  answers(await server.send(part), 400, 'EntityTooLarge');
});

test('row 53: a part number outside 1 to 10,000 is InvalidArgument', async () => {
  const bucket = await server.bucket();
  const { UploadId } = await server.s3.createMultipartUpload({ Bucket: bucket, Key: 'a' });
  for (const number of ['0', '10001', '-1', 'x', '', '1.5', '1e3', '00000000001']) {
    const query = `partNumber=${number}&uploadId=${UploadId}`;
    const answer = await server.send({ method: 'PUT', path: `/${bucket}/a`, query, body: 'x' });
    answers(answer, 400, 'InvalidArgument', number);
  }
  const last = `partNumber=10000&uploadId=${UploadId}`;
  const answer = await server.send({ method: 'PUT', path: `/${bucket}/a`, query: last, body: 'x' });
  assert.equal(answer.status, 200);
});

/* ------------------------------------------------------------------ HTTP */

test('row 54: an upload without a length that is not chunked either is MissingContentLength', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  answers(await server.send({ method: 'PUT', path, length: null }), 411, 'MissingContentLength');
  const { UploadId } = await server.s3.createMultipartUpload({ Bucket: bucket, Key: 'a' });
  const query = `partNumber=1&uploadId=${UploadId}`;
  const part = await server.send({ method: 'PUT', path, query, length: null });
  answers(part, 411, 'MissingContentLength');
});

test('row 55: messages that two parsers could read differently are 400, and the connection ends', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  const { headers } = server.sign({ method: 'PUT', path, body: 'x' });
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const framings: string[][] = [
    ['Content-Length: -1'],
    ['Content-Length: +5'],
    ['Content-Length: 0x1'],
    ['Content-Length: 1', 'Content-Length: 2'],
    ['Content-Length: 1', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
    ['Transfer-Encoding : chunked'],
    ['Transfer-Encoding: chunked, gzip'],
    ['Content-Length: 1', 'X-Folded: a', ' b'],
    ['Content-Length: 1', 'X-Nul: a\0b'],
    ['Content-Length: 1', 'No colon'],
  ];
  for (const framing of framings) {
    const connection = await RawConnection.open(server.endpoint);
    connection.send([`PUT ${path} HTTP/1.1`, ...lines, ...framing, '', 'x'].join('\r\n'));
    const answer = await connection.answer();
    assert.ok([400, 501].includes(answer.status), `${framing.join(' | ')}: ${answer.status}`);
    assert.match(answer.body, /^<\?xml .*<Error><Code>\w+<\/Code>/s);
    assert.ok(await connection.closedByServer(), framing.join(' | '));
    connection.close();
  }
  const bare = await RawConnection.open(server.endpoint);
  bare.send(`PUT ${path} HTTP/1.1\n${lines.join('\n')}\nContent-Length: 1\n\nx`);
  assert.equal((await bare.answer()).status, 400);
  bare.close();
  assert.deepEqual(await keysOf(bucket), []);
});

test('row 55: a bad chunk size ends the upload and nothing is stored', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  for (const size of ['zz', '-1', 'fffffffffffffffff', '1 1']) {
    const { headers } = server.sign({ method: 'PUT', path, payloadHash: 'UNSIGNED-PAYLOAD' });
    const connection = await RawConnection.open(server.endpoint);
    const chunked = { ...headers, 'transfer-encoding': 'chunked' };
    connection.send(`${requestHead('PUT', path, chunked)}1\r\nx\r\n${size}\r\n`);
    const answer = await connection.answer();
    assert.equal(answer.status, 400, size);
    assert.ok(await connection.closedByServer(), size);
    connection.close();
  }
  assert.deepEqual(await keysOf(bucket), []);
});

test('row 56: two Host headers, or none, are 400', async () => {
  const { headers } = server.sign({ method: 'GET', path: '/' });
  const pairs = Object.entries(headers);
  const twice = requestHead('GET', '/', [...pairs, ['Host', 'elsewhere']]);
  assert.equal((await exchange(server.endpoint, twice)).status, 400);
  const none = requestHead(
    'GET',
    '/',
    pairs.filter(([name]) => name !== 'host'),
  );
  assert.equal((await exchange(server.endpoint, none)).status, 400);
});

test('row 57: a header block of more than 16 KiB is 431 in XML', async () => {
  const { headers } = server.sign({ method: 'GET', path: '/' });
  const long = { ...headers, 'x-filler': 'x'.repeat(17 * 1024) };
  const answer = await exchange(server.endpoint, requestHead('GET', '/', long));
  answers(answer, 431, 'RequestHeaderSectionTooLarge');
});

/* ------------------------------------------------------------------ parameters */

test('row 59: max-keys beyond 1,000 is 1,000; negative or no number is InvalidArgument', async () => {
  const bucket = await server.bucket();
  for (const list of ['', '&list-type=2']) {
    const page = await get(`/${bucket}`, `max-keys=1000000000${list}`);
    assert.match(page.body, /<MaxKeys>1000<\/MaxKeys>/);
    for (const value of ['-1', 'ten', '1e3', '1.5', '99999999999']) {
      answers(await get(`/${bucket}`, `max-keys=${value}${list}`), 400, 'InvalidArgument', value);
    }
  }
  for (const [query, name] of [
    ['uploads=', 'max-uploads'],
    ['max-buckets=', ''],
  ] as const) {
    const target = name === '' ? '/' : `/${bucket}`;
    const bad = name === '' ? 'max-buckets=-1' : `${query}&${name}=-1`;
    answers(await get(target, bad), 400, 'InvalidArgument', bad);
  }
});

test('row 60: nonsense in Range is ignored, a range beyond the end is InvalidRange', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  await put(path, {}, '0123456789');
  const ranged = (range: string): Promise<RawAnswer> =>
    server.send({ method: 'GET', path, headers: { range } });
  for (const range of [
    'bytes=',
    'bytes=a-b',
    'bytes=5-2',
    'chapters=1-2',
    'x',
    'bytes=1-2-3',
    '',
  ]) {
    const answer = await ranged(range);
    assert.deepEqual([answer.status, answer.body], [200, '0123456789'], range);
  }
  for (const range of ['bytes=10-', 'bytes=10-11', 'bytes=-0']) {
    const answer = await ranged(range);
    answers(answer, 416, 'InvalidRange', range);
    assert.equal(answer.headers['content-range'], 'bytes */10');
    assert.match(answer.body, /<ActualObjectSize>10<\/ActualObjectSize>/);
  }
});

test('row 61: a bad x-amz-copy-source is InvalidArgument, a missing bucket NoSuchBucket', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/copy`;
  const copy = (source: string, query?: string): Promise<RawAnswer> =>
    server.send({
      method: 'PUT',
      path,
      headers: { 'x-amz-copy-source': source },
      ...(query === undefined ? {} : { query }),
    });
  const { UploadId } = await server.s3.createMultipartUpload({ Bucket: bucket, Key: 'copy' });
  for (const query of [undefined, `partNumber=1&uploadId=${UploadId}`]) {
    for (const source of [
      '',
      bucket,
      '/',
      '//',
      '///',
      `/${bucket}/`,
      `${bucket}/%zz`,
      `${bucket}/%ff`,
      'A/b',
    ]) {
      answers(await copy(source, query), 400, 'InvalidArgument', source);
    }
    answers(await copy('/no-such-bucket/a', query), 404, 'NoSuchBucket');
    answers(await copy(`/${bucket}/none`, query), 404, 'NoSuchKey');
  }
  assert.deepEqual(await keysOf(bucket), []);
});

test('row 70: control characters in metadata and response-* are refused', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  await put(path);
  for (const value of ['a%0D%0Ax-injected:%201', 'a%0Ab', '%7F', '%1B']) {
    answers(await get(path, `response-content-type=${value}`), 400, 'InvalidArgument', value);
  }
});

test('row 75: neither secrets nor signatures are in the log', () => {
  server.assertLogHoldsNoSecrets();
});
