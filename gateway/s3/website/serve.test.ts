/** Visits to a website whose objects are in a map: which page comes, with which status. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { S3Error } from '../errors.ts';
import type { HeaderMap, RawReply } from '../request.ts';
import type { WebsiteConfig } from './config.ts';
import { serveSite, SiteFailure } from './serve.ts';

/** `denied` and `broken` are no pages. */
type Page = string | { redirect: string };

interface Visited {
  key: string;
  method?: 'GET' | 'HEAD';
  headers?: HeaderMap;
}

/** Pages by key; what is not there is NoSuchKey. */
function siteOf(
  pages: Record<string, Page>,
  more: Partial<{ error: string; hidden: boolean }> = {},
) {
  const asked: string[] = [];
  let finished = 0;
  const read = async (
    method: 'GET' | 'HEAD',
    key: string,
    headers: HeaderMap,
  ): Promise<RawReply> => {
    asked.push(`${method} ${key}`);
    const page = pages[key];
    if (page === undefined) throw new S3Error(more.hidden === true ? 'AccessDenied' : 'NoSuchKey');
    if (page === 'denied') throw new S3Error('AccessDenied');
    if (page === 'broken') throw new S3Error('ServiceUnavailable');
    if (headers['if-none-match'] !== undefined) throw new S3Error('NotModified');
    const redirect = typeof page === 'string' ? undefined : page.redirect;
    return {
      status: headers['range'] === undefined ? 200 : 206,
      headers: { ETag: 'x', 'x-amz-website-redirect-location': redirect },
      body: typeof page === 'string' ? page : '',
      finished: () => finished++,
    };
  };
  const visit = ({ key, method = 'GET', headers = {} }: Visited) => {
    const config: WebsiteConfig = {
      index: 'index.html',
      rules: [{ prefix: 'gone/', errorCode: 404, redirect: { replaceKey: 'moved', status: 302 } }],
      ...(more.error !== undefined && { error: more.error }),
    };
    const place = { host: 'h', secure: false, key, rawQuery: '' };
    return serveSite({ config, visit: place, method, headers, read });
  };
  return { visit, asked, finished: () => finished };
}

/** Status, and body or Location. */
async function told(reply: Promise<RawReply>): Promise<unknown[]> {
  try {
    const { status, headers, body } = await reply;
    return [status, headers['Location'] ?? body];
  } catch (thrown) {
    assert.ok(thrown instanceof SiteFailure, String(thrown));
    const { error, second } = thrown;
    return second === undefined ? [error.code] : [error.code, second.code];
  }
}

test('a folder shows its index document, any other key its object', async () => {
  const site = siteOf({ 'index.html': 'home', 'a/index.html': 'a home', 'a/b': 'page' });
  assert.deepEqual(await told(site.visit({ key: '' })), [200, 'home']);
  assert.deepEqual(await told(site.visit({ key: 'a/' })), [200, 'a home']);
  assert.deepEqual(await told(site.visit({ key: 'a/b' })), [200, 'page']);
  assert.deepEqual(await told(site.visit({ key: 'a/b', headers: { range: 'x' } })), [206, 'page']);
});

test('a folder without its slash is sent to it, when it has an index document', async () => {
  for (const hidden of [false, true]) {
    const site = siteOf({ 'a ü/index.html': 'home' }, { hidden });
    assert.deepEqual(await told(site.visit({ key: 'a ü' })), [302, '/a%20%C3%BC/']);
    const missing = hidden ? 'AccessDenied' : 'NoSuchKey';
    assert.deepEqual(await told(site.visit({ key: 'b' })), [missing]);
    // A folder that is asked for as such is not looked for twice.
    site.asked.length = 0;
    assert.deepEqual(await told(site.visit({ key: 'b/' })), [missing]);
    assert.deepEqual(site.asked, ['GET b/index.html']);
  }
});

test('an object may send its visitors elsewhere, and is not sent itself', async () => {
  const site = siteOf({
    a: { redirect: 'https://example.com/b' },
    'c/index.html': { redirect: '/d' },
  });
  assert.deepEqual(await told(site.visit({ key: 'a' })), [301, 'https://example.com/b']);
  assert.deepEqual(await told(site.visit({ key: 'c/', method: 'HEAD' })), [301, '/d']);
  assert.equal(site.finished(), 2, 'what was opened is closed');
});

test("the bucket's error page comes with the status of the error", async () => {
  const pages = { 'errors/page': 'sorry', secret: 'denied' } as const;
  const site = siteOf(pages, { error: 'errors/page' });
  assert.deepEqual(await told(site.visit({ key: 'missing' })), [404, 'sorry']);
  assert.deepEqual(await told(site.visit({ key: 'secret' })), [403, 'sorry']);
  const reply = await site.visit({ key: 'missing', headers: { range: 'x', 'if-none-match': 'x' } });
  assert.equal(reply.headers['x-amz-error-code'], 'NoSuchKey');
  assert.equal(reply.headers['x-amz-error-message'], 'The specified key does not exist.');
  site.asked.length = 0;
  await site.visit({ key: 'missing', method: 'HEAD' });
  assert.deepEqual(site.asked, ['HEAD missing', 'HEAD missing/index.html', 'HEAD errors/page']);
});

test('an error page that is not there either, or not allowed, is told beside the error', async () => {
  assert.deepEqual(await told(siteOf({}, { error: 'e' }).visit({ key: 'a' })), [
    'NoSuchKey',
    'NoSuchKey',
  ]);
  const denied = siteOf({ e: 'denied' }, { error: 'e' });
  assert.deepEqual(await told(denied.visit({ key: 'a' })), ['NoSuchKey', 'AccessDenied']);
});

test('a rule for the error comes before the error page', async () => {
  const site = siteOf({ e: 'sorry' }, { error: 'e' });
  assert.deepEqual(await told(site.visit({ key: 'gone/x' })), [302, 'http://h/moved']);
});

test('conditions and faults of ours have no page of the bucket', async () => {
  const site = siteOf({ a: 'page', b: 'broken', e: 'sorry' }, { error: 'e' });
  assert.deepEqual(await told(site.visit({ key: 'a', headers: { 'if-none-match': 'x' } })), [
    'NotModified',
  ]);
  assert.deepEqual(await told(site.visit({ key: 'b' })), ['ServiceUnavailable']);
});
