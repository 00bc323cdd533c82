/** Websites: their configuration, where they are found, and where they send their visitors. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CreateBucketCommand,
  PutBucketWebsiteCommand,
  type WebsiteConfiguration,
} from '@aws-sdk/client-s3';
import { startCluster } from '../support/cluster.ts';
import { refusedWith, useInspectedServer } from '../support/server.ts';
import { visit } from '../support/visit.ts';

const server = useInspectedServer({ domains: ['s3.test'], websiteDomains: ['web.test'] });

const PAGES: WebsiteConfiguration = {
  IndexDocument: { Suffix: 'index.html' },
  ErrorDocument: { Key: 'error.html' },
};

async function websiteOf(config: WebsiteConfiguration): Promise<string> {
  const Bucket = await server.bucket();
  await server.s3.putBucketWebsite({ Bucket, WebsiteConfiguration: config });
  return Bucket;
}

test('GetBucketWebsite returns what PutBucketWebsite was given, DeleteBucketWebsite ends it', async () => {
  const Bucket = await server.bucket();
  await refusedWith('NoSuchWebsiteConfiguration', server.s3.getBucketWebsite({ Bucket }));
  const config: WebsiteConfiguration = {
    ...PAGES,
    RoutingRules: [
      {
        Condition: { KeyPrefixEquals: 'docs/', HttpErrorCodeReturnedEquals: '404' },
        Redirect: {
          HostName: 'example.com',
          HttpRedirectCode: '302',
          Protocol: 'https',
          ReplaceKeyPrefixWith: 'documents/',
        },
      },
      { Redirect: { ReplaceKeyWith: 'a&b' } },
    ],
  };
  const got = async (): Promise<WebsiteConfiguration> => {
    const { $metadata: _, ...rest } = await server.s3.getBucketWebsite({ Bucket });
    return rest;
  };
  await server.s3.putBucketWebsite({ Bucket, WebsiteConfiguration: config });
  assert.deepEqual(await got(), config);
  const elsewhere = { RedirectAllRequestsTo: { HostName: 'www.example.com' } };
  await server.s3.putBucketWebsite({ Bucket, WebsiteConfiguration: elsewhere });
  assert.deepEqual(await got(), elsewhere);
  for (let time = 0; time < 2; time++) {
    const { $metadata } = await server.s3.deleteBucketWebsite({ Bucket });
    assert.equal($metadata.httpStatusCode, 204);
  }
  await refusedWith('NoSuchWebsiteConfiguration', server.s3.getBucketWebsite({ Bucket }));
  await refusedWith('NoSuchBucket', server.s3.getBucketWebsite({ Bucket: 'missing' }));
  await refusedWith(
    'NoSuchBucket',
    server.s3.putBucketWebsite({ Bucket: 'missing', WebsiteConfiguration: PAGES }),
  );
});

test('PutBucketWebsite refuses what is no website and keeps the one that there is', async () => {
  const Bucket = await websiteOf(PAGES);
  const bad: WebsiteConfiguration[] = [
    { ErrorDocument: { Key: 'e' } },
    { IndexDocument: { Suffix: 'a/b' } },
    { ...PAGES, RedirectAllRequestsTo: { HostName: 'h' } },
    { ...PAGES, RoutingRules: [{ Redirect: { HttpRedirectCode: '200' } }] },
  ];
  for (const config of bad) {
    await refusedWith(400, server.s3.putBucketWebsite({ Bucket, WebsiteConfiguration: config }));
  }
  const { IndexDocument } = await server.s3.getBucketWebsite({ Bucket });
  assert.deepEqual(IndexDocument, PAGES.IndexDocument);
});

test('a website is found below its domain, and on its own port under its own name', async () => {
  const bucket = await websiteOf({ RedirectAllRequestsTo: { HostName: 'x', Protocol: 'https' } });
  const target = '/a%20b/c?d=e';
  for (const [endpoint, host] of [
    [server.endpoint, `${bucket}.web.test`],
    [server.endpoint, `${bucket}.WEB.test:9000`],
    [server.website, `${bucket}.web.test`],
    [server.website, bucket],
    [server.website, `${bucket}:9002`],
  ] as const) {
    const answer = await visit(endpoint, host, target);
    assert.deepEqual([answer.status, answer.headers['location']], [301, 'https://x/a%20b/c?d=e']);
    assert.ok(answer.headers['x-amz-request-id']);
  }
  // The S3 API goes on under its own names.
  const api = await visit(server.endpoint, `${bucket}.s3.test`, '/');
  assert.deepEqual([api.status, api.code], [403, 'AccessDenied']);
  assert.equal((await visit(server.endpoint, 'web.test', `/${bucket}`)).code, 'AccessDenied');
});

test('a change of the website is seen by the next visitor', async () => {
  const Bucket = await websiteOf({ RedirectAllRequestsTo: { HostName: 'a' } });
  const location = async (): Promise<string | undefined> =>
    (await visit(server.website, Bucket, '/k')).headers['location'];
  assert.equal(await location(), 'http://a/k');
  await server.s3.putBucketWebsite({
    Bucket,
    WebsiteConfiguration: { RedirectAllRequestsTo: { HostName: 'b' } },
  });
  assert.equal(await location(), 'http://b/k');
  await server.s3.deleteBucketWebsite({ Bucket });
  const gone = await visit(server.website, Bucket, '/k');
  assert.equal(gone.headers['x-amz-error-code'], 'NoSuchWebsiteConfiguration');
});

test('a bucket that is not there, and one without a website, have a page that says so', async () => {
  const bucket = await server.bucket();
  for (const [host, code] of [
    ['missing', 'NoSuchBucket'],
    ['127.0.0.1:9002', 'NoSuchBucket'],
    [bucket, 'NoSuchWebsiteConfiguration'],
  ] as const) {
    const answer = await visit(server.website, host, '/');
    assert.equal(answer.status, 404);
    assert.match(answer.headers['content-type'] ?? '', /^text\/html/);
    assert.match(answer.body, /<h1>404 Not Found<\/h1>/);
    assert.match(answer.body, new RegExp(`<li>Code: ${code}</li>`));
    assert.match(answer.body, new RegExp(`<li>RequestId: ${answer.headers['x-amz-request-id']}`));
    assert.equal(answer.headers['x-amz-error-code'], code);
  }
});

test('pages are read as nobody reads them: what is not public is 403, with the page of the bucket if that is', async () => {
  const Bucket = await websiteOf(PAGES);
  await server.s3.putObject({ Bucket, Key: 'index.html', Body: 'secret' });
  const answer = await visit(server.website, Bucket, '/');
  assert.equal(answer.status, 403);
  assert.match(answer.body, /<li>Code: AccessDenied<\/li>/);
  assert.match(answer.body, /Attempting to Retrieve a Custom Error Document/);
  assert.doesNotMatch(answer.body, /secret/);
  const head = await visit(server.website, Bucket, '/', { method: 'HEAD' });
  assert.deepEqual([head.status, head.body], [403, '']);
});

test('a rule for errors sends a visitor on before any page of the bucket', async () => {
  const bucket = await websiteOf({
    ...PAGES,
    RoutingRules: [
      { Condition: { HttpErrorCodeReturnedEquals: '403' }, Redirect: { ReplaceKeyWith: 'login' } },
    ],
  });
  const answer = await visit(server.website, `${bucket}.web.test`, '/any');
  assert.equal(answer.status, 301);
  assert.equal(answer.headers['location'], `http://${bucket}.web.test/login`);
});

test('a website is only read, and by visitors without credentials', async () => {
  const bucket = await websiteOf(PAGES);
  for (const method of ['PUT', 'POST', 'DELETE', 'PATCH']) {
    const answer = await visit(server.website, bucket, '/a', { method });
    assert.deepEqual([answer.status, answer.headers['allow']], [405, 'GET, HEAD'], method);
  }
  const headers = { authorization: 'AWS4-HMAC-SHA256 Credential=x' };
  assert.equal((await visit(server.website, bucket, '/', { headers })).status, 400);
});

test('hostile paths and hosts end in a page, escaped, and in no header', async () => {
  const bucket = await websiteOf({ RedirectAllRequestsTo: { HostName: 'x' } });
  const crlf = await visit(server.website, bucket, '/a%0d%0aSet-Cookie:%20b=c');
  assert.equal(crlf.headers['location'], 'http://x/a%0D%0ASet-Cookie%3A%20b%3Dc');
  assert.equal(crlf.headers['set-cookie'], undefined);
  for (const target of ['/%ff', '/%zz', '/a%00b', `/${'a'.repeat(1025)}`]) {
    const answer = await visit(server.website, bucket, target);
    assert.equal(answer.status, 400, target);
    assert.match(answer.headers['content-type'] ?? '', /^text\/html/);
  }
  const script = await visit(server.website, '<script>alert(1)</script>', '/');
  assert.equal(script.status, 404);
  assert.match(script.body, /&lt;script&gt;/);
  assert.doesNotMatch(script.body, /<script>/);
  const smuggled = await visit(server.website, `${bucket}:80/@evil.example`, '/');
  assert.deepEqual([smuggled.status, smuggled.headers['location']], [404, undefined]);
  // Ashlar's own paths are those of the S3 port.
  assert.equal((await visit(server.website, bucket, '/_ashlar/health/live')).status, 301);
});

test('`ashlar start` serves websites from all its gateways on one port of their own, also after one was killed', async () => {
  const cluster = await startCluster({
    args: [
      '--gateways',
      '2',
      '--website-listen',
      '127.0.0.1:0',
      '--s3-website-domains',
      'web.test',
    ],
  });
  const s3 = cluster.client();
  try {
    const { website, s3: api } = cluster.ready();
    assert.ok(website, 'the ready file names no endpoint for websites');
    await s3.send(new CreateBucketCommand({ Bucket: 'pages' }));
    const WebsiteConfiguration = { RedirectAllRequestsTo: { HostName: 'elsewhere' } };
    await s3.send(new PutBucketWebsiteCommand({ Bucket: 'pages', WebsiteConfiguration }));
    const both = async (): Promise<void> => {
      for (let time = 0; time < 10; time++) {
        for (const [endpoint, host] of [
          [website, 'pages'],
          [api, 'pages.web.test'],
        ] as const) {
          const answer = await visit(endpoint, host, '/k');
          assert.equal(answer.headers['location'], 'http://elsewhere/k');
        }
      }
    };
    await both();
    const [first] = cluster.processes('gateway');
    assert.ok(first);
    process.kill(first.pid, 'SIGKILL');
    await cluster.until(
      ({ processes }) =>
        processes.filter(({ role, pid }) => role === 'gateway' && pid !== first.pid).length === 2,
      'the gateway to be back',
    );
    assert.equal(cluster.ready().website, website);
    await both();
  } finally {
    s3.destroy();
    await cluster.stop();
  }
});
