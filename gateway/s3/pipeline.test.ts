import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { type Effects, systemEffects } from '../../base/clock.ts';
import { loadDigests } from '../../base/digest.ts';
import { Failure, type FailureKind } from '../../base/failure.ts';
import { type Log, silentLog } from '../../base/log.ts';
import type { Meta } from '../../meta/protocol.ts';
import type { ObjectEngine } from '../object/engine.ts';
import {
  authenticateExample,
  bytesOf,
  EXAMPLE,
  presigned,
  rawRequest,
  type SignInput,
  signed,
} from './auth/test-support.ts';
import { encodeOwnership } from './access/ownership.ts';
import { ANONYMOUS } from './auth/identity.ts';
import { S3Error } from './errors.ts';
import { BUCKET, ok, refused, storing, TEST_KEYS } from './operations/testing-context.ts';
import { createPipeline, type PipelineOptions, type RequestRecord } from './pipeline.ts';
import { REGISTRY } from './registry.ts';
import type { RawReply, RawRequest } from './request.ts';

await loadDigests();

const HOST = { host: 's3.example.com' };
const bucket = { ...BUCKET, owner: EXAMPLE.account.id };
const found = { getBucket: () => ok(bucket) };

/** A bucket whose ACLs do not count. */
const ENFORCED: World = {
  meta: {
    getBucketSettings: () =>
      ok({ bucket, values: { ownership: encodeOwnership('BucketOwnerEnforced') } }),
  },
};

interface World {
  meta?: Partial<Meta>;
  objects?: Partial<ObjectEngine>;
  more?: Partial<PipelineOptions>;
}

/** What a world does not have must not be used, but for the bucket: it fails the request with a 500. */
function pipelineOf({ meta: given = {}, objects = {}, more = {} }: World = {}) {
  const getBucketSettings: Meta['getBucketSettings'] = async (query) => {
    const answer = await (given.getBucket ?? found.getBucket)(query);
    return answer.ok ? { ok: true, value: { bucket: answer.value, values: {} } } : answer;
  };
  const meta = { getBucketSettings, ...given };
  const effects: Effects = systemEffects;
  return createPipeline({
    meta: meta as Meta,
    objects: { meta, ...objects } as ObjectEngine,
    operations: REGISTRY,
    replicas: { problemOf: () => Promise.resolve('there are none') },
    notifications: { has: () => false, send: () => Promise.reject(new Error('no targets')) },
    encryption: { keys: TEST_KEYS, default: 'off', mayBareKeys: () => true },
    authenticate: (request) => authenticateExample(request),
    // A form with one field and a file; what takes real ones apart is tested in gateway/http.
    forms: {
      readForm: () =>
        Promise.resolve({
          fields: [{ name: 'key', value: 'a' }],
          file: { name: 'a', body: bytesOf(Buffer.from('x')) },
        }),
      authenticateForm: () => undefined,
    },
    accounts: {
      account: () => Promise.resolve(undefined),
      known: () => undefined,
      names: () => Promise.resolve(new Map<string, string>()),
    },
    region: 'us-east-1',
    domains: ['s3.example.com'],
    effects,
    log: silentLog,
    ...more,
  });
}

function sign(input: SignInput & { body?: string; rawQuery?: never } = {}): RawRequest {
  const { body } = input;
  const payloadHash = body && createHash('sha256').update(body).digest('hex');
  const request = signed({
    ...input,
    headers: { ...HOST, ...input.headers },
    ...(payloadHash && { payloadHash }),
  });
  if (body === undefined) return request;
  return { ...request, body: bytesOf(Buffer.from(body)), contentLength: Buffer.byteLength(body) };
}

/** Status and error code. */
async function told(request: RawRequest, world: World = {}): Promise<string> {
  const reply = await pipelineOf(world)(request);
  return `${reply.status} ${codeIn(reply)}`;
}

function codeIn(reply: RawReply): string {
  return typeof reply.body === 'string' ? (/<Code>(\w+)</.exec(reply.body)?.[1] ?? '') : '';
}

test('every reply carries the ids and the server, an error also in its document', async () => {
  const reply = await pipelineOf()(sign({ path: '/photos', query: [['accelerate', '']] }));
  const id2 = String(reply.headers['x-amz-id-2']);
  assert.equal(reply.headers['x-amz-request-id'], '0123456789abcdef');
  assert.equal(reply.headers['Server'], 'Ashlar');
  assert.equal(reply.headers['Content-Type'], 'application/xml');
  assert.equal(
    reply.body,
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NotImplemented</Code>' +
      '<Message>GetBucketAccelerateConfiguration is not implemented.</Message>' +
      '<Operation>GetBucketAccelerateConfiguration</Operation>' +
      `<Resource>/photos</Resource><RequestId>0123456789abcdef</RequestId><HostId>${id2}</HostId></Error>`,
  );
  const listed = await pipelineOf({
    meta: { listBuckets: () => Promise.resolve({ buckets: [] }) },
  })(sign());
  assert.equal(listed.status, 200);
  assert.equal(listed.headers['x-amz-request-id'], '0123456789abcdef');
});

test('without credentials everything is AccessDenied, also what does not exist or is not there', async () => {
  for (const [method, target] of [
    ['GET', '/photos'],
    ['GET', '/photos/a'],
    ['HEAD', '/photos/a'],
    ['PUT', '/photos'],
    ['PUT', '/other'],
    ['GET', '/photos?policy'],
    ['GET', '/photos?accelerate'],
    ['PATCH', '/photos/a'],
    ['DELETE', '/photos/a?uploadId=x'],
  ] as const) {
    const request = rawRequest({ method, target, headers: HOST });
    assert.match(await told(request, ENFORCED), /^403 (AccessDenied)?$/, `${method} ${target}`);
  }
  const form = { ...HOST, 'content-type': 'multipart/form-data; boundary=x' };
  const post = rawRequest({ method: 'POST', target: '/photos', headers: form });
  assert.equal(await told({ ...post, contentLength: 1 }, ENFORCED), '403 AccessDenied');
  assert.equal(await told(post), '411 MissingContentLength');
});

test('the signature comes before anything that is stored is looked at', async () => {
  const request = sign({ path: '/photos/a' });
  const forged = { ...request, rawPath: '/photos/b' };
  assert.equal(await told(forged), '403 SignatureDoesNotMatch');
  assert.equal(await told({ ...request, method: 'DELETE' }), '403 SignatureDoesNotMatch');
});

test('nobody is told of a bucket that does not exist more than that', async () => {
  const world = { meta: { getBucket: () => refused('NoSuchBucket') } };
  const request = rawRequest({ target: '/photos/a', headers: HOST });
  assert.equal(await told(request, world), '404 NoSuchBucket');
  assert.equal(await told(sign({ path: '/photos/a' }), world), '404 NoSuchBucket');
});

test('nobody has no buckets, and each account its own', async () => {
  const asked: unknown[] = [];
  const meta: Partial<Meta> = {
    listBuckets: ({ owner }) => {
      asked.push(owner);
      return Promise.resolve({ buckets: [] });
    },
  };
  assert.equal(await told(rawRequest({ headers: HOST }), { meta }), '200 ');
  assert.equal(await told(sign(), { meta }), '200 ');
  assert.deepEqual(asked, [ANONYMOUS.id, EXAMPLE.account.id]);
});

test('another account may do nothing in a bucket without a policy or ACLs', async () => {
  const authenticate: PipelineOptions['authenticate'] = (request) => ({
    ...authenticateExample(request),
    account: { ...EXAMPLE.account, id: 'cd'.repeat(32), number: '000000000001', root: false },
  });
  const world = { ...ENFORCED, more: { authenticate } };
  for (const path of ['/photos', '/photos/a']) {
    assert.equal(await told(sign({ path }), world), '403 AccessDenied', path);
  }
});

test('headers and parameters that cannot be honoured are refused, harmless ones pass', async () => {
  const put = (headers: Record<string, string>) =>
    told(sign({ method: 'PUT', path: '/photos/a', headers }), {
      objects: { store: storing },
      meta: { putObject: () => ok({ version: 'v', etag: 'abc', modifiedMs: 0 }) },
    });
  for (const [name, value] of [
    ['x-amz-server-side-encryption-of-the-future', 'x'],
    ['x-amz-bucket-object-lock-enabled', 'true'],
    ['x-amz-rename-source', 'b'],
    ['x-amz-object-ownership', 'ObjectWriter'],
    ['content-range', 'bytes 0-1/2'],
    ['transfer-encoding', 'gzip, chunked'],
  ] as const) {
    assert.equal(await put({ 'content-length': '0', [name]: value }), '501 NotImplemented', name);
  }
  assert.equal(await put({ 'x-amz-acl': 'everyone' }), '400 InvalidArgument');
  const read = { method: 'GET', path: '/photos', headers: { 'x-amz-grant-read': 'id=x' } };
  assert.equal(await told(sign(read)), '501 NotImplemented', 'only what makes something takes it');
  assert.equal(await put({ 'x-amz-acl': 'private' }), '411 MissingContentLength');
  const upload = sign({
    method: 'PUT',
    path: '/photos/a',
    headers: {
      'x-amz-acl': 'bucket-owner-full-control',
      'x-amz-request-payer': 'requester',
      'x-amz-tagging': '',
    },
  });
  const world = {
    objects: { store: storing },
    meta: { putObject: () => ok({ version: 'v', etag: 'abc', modifiedMs: 0 }) },
  };
  assert.equal(await told({ ...upload, contentLength: 0 }, world), '200 ');
  const version = sign({ method: 'PUT', path: '/photos/a', query: [['versionId', 'null']] });
  assert.equal(await told({ ...version, contentLength: 0 }, world), '400 InvalidArgument');
});

test('headers that came twice are refused where only one can count', async () => {
  for (const name of ['host', 'content-md5', 'x-amz-copy-source', 'range']) {
    const request = { ...sign(), repeatedHeaders: [name] };
    assert.equal(await told(request), '400 BadRequest', name);
  }
  const world = { meta: { listBuckets: () => Promise.resolve({ buckets: [] }) } };
  const request = { ...sign(), repeatedHeaders: ['accept', 'x-amz-meta-a'] };
  assert.equal(await told(request, world), '200 ');
  assert.equal(await told(rawRequest({ headers: {} })), '400 BadRequest');
});

test('the expected owner of a bucket is held against the real one', async () => {
  const world = { meta: found };
  const head = (owner: string, more: Record<string, string> = {}) =>
    sign({
      method: 'HEAD',
      path: '/photos',
      headers: { 'x-amz-expected-bucket-owner': owner, ...more },
    });
  assert.equal((await pipelineOf(world)(head(EXAMPLE.account.id))).status, 200);
  assert.equal((await pipelineOf(world)(head('123456789012'))).status, 403);
  const missing = { meta: { getBucket: () => refused('NoSuchBucket') } };
  assert.equal((await pipelineOf(missing)(head('123456789012'))).status, 404);
  const copy = sign({
    method: 'PUT',
    path: '/photos/b',
    headers: {
      'x-amz-copy-source': 'photos/a',
      'x-amz-source-expected-bucket-owner': '123456789012',
    },
  });
  assert.equal(await told(copy, world), '403 AccessDenied');
});

test('parameters of a presigned URL count as headers', async () => {
  const kept: unknown[] = [];
  const world: World = {
    objects: { store: storing },
    meta: {
      putObject: (command) => {
        kept.push(command.object.user, command.condition);
        return ok({ version: 'v', etag: 'abc', modifiedMs: 0 });
      },
    },
  };
  const url = (extra: [string, string][]) => ({
    ...presigned({ method: 'PUT', path: '/photos/a', headers: HOST, extra }),
    contentLength: 0,
  });
  assert.equal(await told(url([['x-amz-meta-colour', 'gr%C3%BCn']]), world), '200 ');
  assert.deepEqual(kept, [{ colour: 'grün' }, undefined]);
  assert.equal(await told(url([['x-amz-acl', 'everyone']]), world), '400 InvalidArgument');
  const twice = url([['x-amz-meta-colour', 'red']]);
  const both = { ...twice, headers: { ...twice.headers, 'x-amz-meta-colour': 'blue' } };
  assert.equal(await told(both, world), '400 InvalidArgument');
});

test('the checksum of nothing in a presigned URL is no promise, another one is', async () => {
  const world: World = {
    objects: { store: storing },
    meta: { putObject: () => ok({ version: 'v', etag: 'abc', modifiedMs: 0 }) },
  };
  const put = (checksum: string) => {
    const extra: [string, string][] = [
      ['x-amz-checksum-crc32', encodeURIComponent(checksum)],
      ['x-amz-sdk-checksum-algorithm', 'CRC32'],
    ];
    const url = presigned({ method: 'PUT', path: '/photos/a', headers: HOST, extra });
    const body = Buffer.from('hello');
    return told({ ...url, body: bytesOf(body), contentLength: body.length }, world);
  };
  assert.equal(await put('AAAAAA=='), '200 ');
  assert.equal(await put('NhCmhg=='), '200 ');
  assert.equal(await put('NhCmhA=='), '400 BadDigest');
});

test('an XML body is capped, verified and must be UTF-8', async () => {
  const xml = (body: string, headers: Record<string, string> = {}) =>
    sign({ method: 'POST', path: '/photos', query: [['delete', '']], headers, body });
  const md5 = createHash('md5').update('other').digest('base64');
  assert.equal(await told(xml('<Delete/>', { 'content-md5': md5 })), '400 BadDigest');
  const large = { ...xml('x'), contentLength: 2 * 1024 * 1024 + 1 };
  assert.equal(await told(large), '400 MaxMessageLengthExceeded');
  const forged = { ...xml('<Delete/>'), body: bytesOf(Buffer.from('<Delete>x')) };
  assert.equal(await told({ ...forged, contentLength: 9 }), '400 XAmzContentSHA256Mismatch');
  const latin = Buffer.from([0x3c, 0xff, 0x3e]);
  const request = signed({
    method: 'POST',
    path: '/photos',
    query: [['delete', '']],
    headers: HOST,
    payloadHash: createHash('sha256').update(latin).digest('hex'),
  });
  const bad = { ...request, body: bytesOf(latin), contentLength: latin.length };
  assert.equal(await told(bad), '400 MalformedXML');
});

test('an operation without a body refuses one, and an empty one that was promised otherwise', async () => {
  const get = { method: 'GET', path: '/photos', query: [['location', ''] as [string, string]] };
  assert.equal(await told(sign({ ...get, body: 'x' }), { meta: found }), '400 InvalidRequest');
  const empty = { ...sign(get), chunked: true };
  assert.equal(await told(empty, { meta: found }), '200 ');
  const promised = sign({ ...get, payloadHash: 'a'.repeat(64) });
  assert.equal(await told(promised, { meta: found }), '400 XAmzContentSHA256Mismatch');
});

test('HEAD errors and 304 have no body', async () => {
  const world = { meta: { getBucket: () => refused('NoSuchBucket') } };
  const head = await pipelineOf(world)(sign({ method: 'HEAD', path: '/photos' }));
  assert.equal(head.status, 404);
  assert.equal(head.body, undefined);
  assert.equal(head.headers['x-amz-request-id'], '0123456789abcdef');
  const notModified: PipelineOptions['operations'] = {
    ...REGISTRY,
    GetObject: {
      ...REGISTRY.GetObject,
      run: () => () => Promise.reject(new S3Error('NotModified', { headers: { ETag: '"abc"' } })),
    },
  };
  const more = { operations: notModified };
  const get = await pipelineOf({ more })(sign({ path: '/photos/a' }));
  assert.equal(get.status, 304);
  assert.equal(get.body, undefined);
  assert.equal(get.headers['ETag'], '"abc"');
  assert.equal(get.headers['Content-Type'], undefined);
});

test('a preflight needs no signature and finds no rule', async () => {
  const ask = (headers: Record<string, string>) =>
    told(rawRequest({ method: 'OPTIONS', target: '/photos/a', headers: { ...HOST, ...headers } }));
  assert.equal(await ask({ origin: 'https://example.com' }), '403 AccessForbidden');
  assert.equal(await ask({}), '400 BadRequest');
});

test('a method that does not fit says which ones do', async () => {
  const reply = await pipelineOf()(sign({ method: 'POST', path: '/photos/a' }));
  assert.equal(reply.status, 405);
  assert.equal(reply.headers['Allow'], 'GET, HEAD, PUT, DELETE');
});

test('failures become the answers that S3 clients understand, and the log alone has the reason', async () => {
  const logged: object[] = [];
  const keep = (fields: object): void => {
    logged.push(fields);
  };
  const log: Log = { ...silentLog, error: keep, warn: keep };
  for (const [kind, expected, retry] of [
    ['unavailable', '503 ServiceUnavailable', '1'],
    ['timeout', '503 ServiceUnavailable', '1'],
    ['unknown-outcome', '503 ServiceUnavailable', '1'],
    ['fenced', '503 ServiceUnavailable', '1'],
    ['full', '503 ServiceUnavailable', '30'],
    ['corrupt', '500 InternalError', undefined],
    ['internal', '500 InternalError', undefined],
  ] as const satisfies [FailureKind, string, string | undefined][]) {
    const failing = { getBucket: () => Promise.reject(new Failure(kind, 'node-2 at 10.0.0.7')) };
    const world = { meta: failing, more: { log } };
    const reply = await pipelineOf(world)(sign({ path: '/photos', query: [['location', '']] }));
    assert.equal(`${reply.status} ${codeIn(reply)}`, expected);
    assert.equal(reply.headers['Retry-After'], retry);
    assert.doesNotMatch(textOf(reply), /node-2/);
  }
  assert.equal(logged.length, 7);
  const broken = { getBucket: () => Promise.reject(new TypeError('secret state')) };
  const reply = await pipelineOf({ meta: broken })(
    sign({ path: '/photos', query: [['location', '']] }),
  );
  assert.equal(codeIn(reply), 'InternalError');
  assert.doesNotMatch(textOf(reply), /secret/);
});

test('the reserved path is answered by its own handler and never by a bucket', async () => {
  const more: Partial<PipelineOptions> = {
    reserved: ({ rawPath }) =>
      Promise.resolve(
        rawPath === '/_ashlar/health/live' ? { status: 200, headers: {} } : undefined,
      ),
  };
  const at = (target: string) => told(rawRequest({ target, headers: HOST }), { more });
  assert.equal(await at('/_ashlar/health/live'), '200 ');
  assert.equal(await at('/_ashlar/other'), '400 InvalidURI');
});

test('a request is recorded once, when its reply has been sent', async () => {
  const records: RequestRecord[] = [];
  const more = { observe: (record: RequestRecord) => records.push(record) };
  const reply = await pipelineOf({ meta: { getBucket: () => refused('NoSuchBucket') }, more })(
    sign({ path: '/photos', query: [['location', '']] }),
  );
  assert.equal(records.length, 0);
  reply.finished?.();
  const [record] = records;
  assert.equal(record?.operation, 'GetBucketLocation');
  assert.equal(record?.code, 'NoSuchBucket');
  assert.equal(record?.status, 404);
  assert.equal(record?.bucket, 'photos');
  assert.equal(record?.accessKey, EXAMPLE.accessKey);
  assert.equal(record?.sentBytes, Buffer.byteLength(textOf(reply)));
});

function textOf({ body }: RawReply): string {
  assert.equal(typeof body, 'string');
  return typeof body === 'string' ? body : '';
}

test('a body is not taken in for a bucket that does not exist', async () => {
  const meta = { getBucket: () => refused('NoSuchBucket') };
  // The engine is given no `store`: reaching it would be a 500.
  const put = sign({ method: 'PUT', path: '/photos/a', body: 'content' });
  assert.equal(await told(put, { meta }), '404 NoSuchBucket');
});

test('a request whose bucket changed since it was judged is judged again', async () => {
  let revision = 1;
  const asked: unknown[] = [];
  const meta: Partial<Meta> = {
    getBucketSettings: () => ok({ bucket: { ...bucket, revision }, values: {} }),
    getBucketConfig(query) {
      asked.push(query.expect);
      const changed = query.expect?.revision !== revision;
      return changed ? refused('BucketChanged') : ok({ bucket: { ...bucket, revision } });
    },
  };
  const pipeline = pipelineOf({ meta });
  const get = () => pipeline(sign({ path: '/photos', query: [['tagging', '']] }));
  assert.equal(codeIn(await get()), 'NoSuchTagSet');
  revision = 2;
  assert.equal(codeIn(await get()), 'NoSuchTagSet');
  assert.deepEqual(asked, [
    { id: 1, revision: 1 },
    { id: 1, revision: 1 },
    { id: 1, revision: 2 },
  ]);
});

test('a right that was given after the settings were read counts at once', async () => {
  let revision = 1;
  let values: Record<string, string> = {};
  const Statement = {
    Effect: 'Allow',
    Principal: '*',
    Action: 's3:GetBucketLocation',
    Resource: 'arn:aws:s3:::photos',
  };
  const changing: World = {
    meta: {
      getBucketSettings: () => ok({ bucket: { ...bucket, revision }, values }),
      getBucket({ expect }) {
        const stale = expect !== undefined && expect.revision !== revision;
        return stale ? refused('BucketChanged') : ok({ ...bucket, revision });
      },
    },
  };
  const pipeline = pipelineOf(changing);
  const request = () => rawRequest({ target: '/photos?location', headers: HOST });
  assert.equal((await pipeline(request())).status, 403);
  revision = 2;
  values = { policy: JSON.stringify({ Version: '2012-10-17', Statement }) };
  assert.equal((await pipeline(request())).status, 200);
  values = {};
  revision = 3;
  assert.equal((await pipeline(request())).status, 403);
});
