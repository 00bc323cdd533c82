/** Pages of public websites, and forms that anybody may post: what access allows to nobody in particular. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { get } from 'node:http';
import { test } from 'node:test';
import type { RoutingRule, WebsiteConfiguration } from '@aws-sdk/client-s3';
import { type Fields, FORM_TYPE, formBody } from '../support/form.ts';
import { bytesOf, etagOf, sameBytes, useInspectedServer } from '../support/server.ts';
import { visit } from '../support/visit.ts';

const server = useInspectedServer();

interface Public {
  pages?: Record<string, string>;
  /** Keys that everybody may read, as in a policy; all by default. */
  readable?: string;
  listable?: boolean;
  rules?: RoutingRule[];
  error?: string;
}

async function allow(Bucket: string, statements: [action: string, resource: string][]) {
  const Statement = statements.map(([Action, Resource]) => ({
    Effect: 'Allow',
    Principal: '*',
    Action,
    Resource: `arn:aws:s3:::${Resource}`,
  }));
  // New buckets are closed to the public.
  await server.s3.deletePublicAccessBlock({ Bucket });
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
  await server.s3.putBucketPolicy({ Bucket, Policy });
}

async function publicSite(site: Public = {}): Promise<string> {
  const { pages = {}, readable = '*', listable = false, rules, error } = site;
  const Bucket = await server.bucket();
  const config: WebsiteConfiguration = {
    IndexDocument: { Suffix: 'index.html' },
    ErrorDocument: error === undefined ? undefined : { Key: error },
    RoutingRules: rules,
  };
  await server.s3.putBucketWebsite({ Bucket, WebsiteConfiguration: config });
  await allow(Bucket, [
    ['s3:GetObject', `${Bucket}/${readable}`],
    ...(listable ? [['s3:ListBucket', Bucket] as [string, string]] : []),
  ]);
  for (const [Key, Body] of Object.entries(pages)) {
    await server.s3.putObject({ Bucket, Key, Body, ContentType: 'text/html' });
  }
  return Bucket;
}

const open = (host: string, target: string, headers: Record<string, string> = {}) =>
  visit(server.website, host, target, { headers });

test('a folder shows its index document, other paths their object, with type and ETag', async () => {
  const site = await publicSite({
    pages: { 'index.html': 'home', 'docs/index.html': 'docs', 'docs/a b/ü.html': 'page' },
  });
  for (const [target, body] of [
    ['/', 'home'],
    ['/?utm=x', 'home'],
    ['/index.html', 'home'],
    ['/docs/', 'docs'],
    ['/docs/a%20b/%C3%BC.html', 'page'],
  ] as const) {
    const answer = await open(site, target);
    assert.deepEqual([answer.status, answer.body], [200, body], target);
    assert.equal(answer.headers['content-type'], 'text/html');
    assert.equal(answer.headers['etag'], etagOf(body));
    const head = await visit(server.website, site, target, { method: 'HEAD' });
    assert.deepEqual(
      [head.status, head.body, head.headers['content-length']],
      [200, '', String(body.length)],
    );
  }
});

test('a folder without its slash is sent to it', async () => {
  for (const listable of [false, true]) {
    const site = await publicSite({ pages: { 'docs/index.html': 'docs' }, listable });
    const answer = await open(site, '/docs');
    assert.deepEqual([answer.status, answer.headers['location']], [302, '/docs/']);
    assert.equal((await open(site, '/doc')).status, listable ? 404 : 403);
  }
});

test('what is missing is 404 for who may list the bucket and 403 for others, with the page of the bucket', async () => {
  const pages = { 'error.html': 'sorry' };
  for (const [listable, status, code] of [
    [true, 404, 'NoSuchKey'],
    [false, 403, 'AccessDenied'],
  ] as const) {
    const plain = await open(await publicSite({ pages, listable }), '/missing');
    assert.deepEqual([plain.status, plain.headers['x-amz-error-code']], [status, code]);
    assert.match(plain.body, new RegExp(`<li>Code: ${code}</li>`));
    const site = await publicSite({ pages, listable, error: 'error.html' });
    const shown = await open(site, '/missing', { range: 'bytes=0-0', 'if-none-match': '*' });
    assert.deepEqual([shown.status, shown.body], [status, 'sorry']);
    assert.equal(shown.headers['x-amz-error-code'], code);
  }
});

test('a website shows nothing that is not public', async () => {
  const site = await publicSite({
    pages: { 'public/a': 'a', 'private/b': 'b', 'index.html': 'home' },
    readable: 'public/*',
  });
  assert.equal((await open(site, '/public/a')).body, 'a');
  for (const target of ['/private/b', '/', '/private/../private/b', '/public/../private/b']) {
    const answer = await open(site, target);
    assert.equal(answer.status, 403, target);
  }
  await server.s3.deleteBucketPolicy({ Bucket: site });
  assert.equal((await open(site, '/public/a')).status, 403, 'at once');
});

test('the query of a visit reaches neither versions nor sub-resources nor headers', async () => {
  const site = await publicSite({ pages: { a: 'now' } });
  for (const query of [
    'versionId=null',
    'acl',
    'response-content-type=text/plain',
    'partNumber=2',
  ]) {
    const answer = await open(site, `/a?${query}`);
    assert.deepEqual([answer.status, answer.body], [200, 'now'], query);
    assert.equal(answer.headers['content-type'], 'text/html');
  }
});

test('conditions and ranges work as in GetObject', async () => {
  const site = await publicSite({ pages: { a: '0123456789' }, error: 'error.html' });
  const etag = etagOf('0123456789');
  const part = await open(site, '/a', { range: 'bytes=2-4' });
  assert.deepEqual([part.status, part.body], [206, '234']);
  assert.equal(part.headers['content-range'], 'bytes 2-4/10');
  assert.equal((await open(site, '/a', { 'if-none-match': etag })).status, 304);
  assert.equal((await open(site, '/a', { 'if-match': '"other"' })).status, 412);
  assert.equal((await open(site, '/a', { range: 'bytes=20-' })).status, 416);
});

test('an object with a redirect is one on the website, and an object in the API', async () => {
  const site = await publicSite();
  const put = { Bucket: site, Body: 'kept', WebsiteRedirectLocation: '/else?a=b' };
  await server.s3.putObject({ ...put, Key: 'old.html' });
  await server.s3.putObject({
    ...put,
    Key: 'docs/index.html',
    WebsiteRedirectLocation: 'https://x/',
  });
  const answer = await open(site, '/old.html');
  assert.deepEqual(
    [answer.status, answer.headers['location'], answer.body],
    [301, '/else?a=b', ''],
  );
  assert.equal((await open(site, '/docs/')).headers['location'], 'https://x/');
  const { Body, WebsiteRedirectLocation, $metadata } = await server.s3.getObject({
    Bucket: site,
    Key: 'old.html',
  });
  assert.equal(await Body?.transformToString(), 'kept');
  assert.deepEqual([$metadata.httpStatusCode, WebsiteRedirectLocation], [200, '/else?a=b']);
});

test('rules for prefixes come before objects, rules for errors after them', async () => {
  const site = await publicSite({
    pages: { 'docs/a': 'old place', b: 'page' },
    listable: true,
    error: 'error.html',
    rules: [
      {
        Condition: { KeyPrefixEquals: 'docs/' },
        Redirect: { ReplaceKeyPrefixWith: 'documents/', HttpRedirectCode: '302' },
      },
      {
        Condition: { HttpErrorCodeReturnedEquals: '404' },
        Redirect: { HostName: 'search.example', Protocol: 'https', ReplaceKeyPrefixWith: 'q/' },
      },
    ],
  });
  const moved = await open(site, '/docs/a');
  assert.deepEqual([moved.status, moved.headers['location']], [302, `http://${site}/documents/a`]);
  const missing = await open(site, '/c?d');
  assert.deepEqual(
    [missing.status, missing.headers['location']],
    [301, 'https://search.example/q/c?d'],
  );
  assert.equal((await open(site, '/b')).body, 'page');
});

/** The bytes of a page; unlike fetch, this sends the Host that it is given. */
function download(host: string, path: string, headers: Record<string, string> = {}) {
  return new Promise<Buffer>((resolve, reject) => {
    const { hostname, port } = new URL(server.website);
    const options = { hostname, port, path, headers: { ...headers, host } };
    get(options, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => resolve(Buffer.concat(chunks)));
      answer.on('error', reject);
    }).on('error', reject);
  });
}

test('a page of several blocks comes whole, and in ranges', async () => {
  const site = await publicSite();
  const content = randomBytes(2_500_000);
  await server.s3.putObject({ Bucket: site, Key: 'film.bin', Body: content });
  sameBytes(await download(site, '/film.bin'), content);
  const range = 'bytes=1048570-1048580';
  sameBytes(await download(site, '/film.bin', { range }), content.subarray(1048570, 1048581));
});

test('a page of another origin may ask before it reads, by the rules of the bucket', async () => {
  const Bucket = await publicSite({ pages: { a: 'page' } });
  await server.s3.putBucketCors({
    Bucket,
    CORSConfiguration: {
      CORSRules: [{ AllowedOrigins: ['https://app.example'], AllowedMethods: ['GET'] }],
    },
  });
  const headers = { origin: 'https://app.example', 'access-control-request-method': 'GET' };
  const preflight = await visit(server.website, Bucket, '/a', { method: 'OPTIONS', headers });
  assert.equal(preflight.status, 200);
  const answer = await open(Bucket, '/a', { origin: 'https://app.example' });
  assert.equal(answer.headers['access-control-allow-origin'], 'https://app.example');
});

test('anybody may post a form where anybody may put, and only there', async () => {
  const Bucket = await server.bucket();
  await allow(Bucket, [['s3:PutObject', `${Bucket}/inbox/*`]]);
  const post = (key: string, more: Fields = []) =>
    fetch(`${server.endpoint}/${Bucket}`, {
      method: 'POST',
      headers: { 'content-type': FORM_TYPE },
      body: new Uint8Array(formBody([['key', key], ...more], { content: 'hi' })),
    });
  assert.equal((await post('inbox/a')).status, 204);
  const found = await server.s3.getObject({ Bucket, Key: 'inbox/a' });
  assert.equal((await bytesOf(found)).toString(), 'hi');
  assert.equal((await post('outbox/a')).status, 403);
  const tag = '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>';
  assert.equal(
    (await post('inbox/b', [['tagging', tag]])).status,
    403,
    'tags need a right of their own',
  );
  await allow(Bucket, [
    ['s3:PutObject', `${Bucket}/inbox/*`],
    ['s3:PutObjectTagging', `${Bucket}/inbox/*`],
  ]);
  assert.equal((await post('inbox/b', [['tagging', tag]])).status, 204);
});
