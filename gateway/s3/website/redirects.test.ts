import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoutingRule, WebsiteConfig } from './config.ts';
import { redirectionAfter, redirectionBefore, type Visit } from './redirects.ts';

const site = (...rules: RoutingRule[]): WebsiteConfig => ({ index: 'index.html', rules });
const visit = (key: string, more: Partial<Visit> = {}): Visit => ({
  host: 'photos.web.test:9002',
  secure: false,
  key,
  rawQuery: '',
  ...more,
});

test('everything may go to another host, with its path and query', () => {
  const config: WebsiteConfig = { redirectAll: { host: 'www.example.com' } };
  const to = (one: Visit) => redirectionBefore(config, one);
  assert.deepEqual(to(visit('')), { status: 301, location: 'http://www.example.com/' });
  assert.deepEqual(to(visit('a b/ü', { rawQuery: 'x=1&y', secure: true })), {
    status: 301,
    location: 'https://www.example.com/a%20b/%C3%BC?x=1&y',
  });
  const secure: WebsiteConfig = { redirectAll: { host: 'www.example.com', protocol: 'https' } };
  assert.equal(redirectionBefore(secure, visit('a'))?.location, 'https://www.example.com/a');
  assert.equal(redirectionAfter(config, visit('a'), 404), undefined);
});

test("the examples of AWS's user guide go where it says", () => {
  const renamed = site({ prefix: 'docs/', redirect: { replacePrefix: 'documents/' } });
  assert.deepEqual(redirectionBefore(renamed, visit('docs/a.html')), {
    status: 301,
    location: 'http://photos.web.test:9002/documents/a.html',
  });
  assert.equal(redirectionBefore(renamed, visit('doc')), undefined);
  const deleted = site({ prefix: 'images/', redirect: { replaceKey: 'folderdeleted.html' } });
  assert.equal(
    redirectionBefore(deleted, visit('images/any'))?.location,
    'http://photos.web.test:9002/folderdeleted.html',
  );
  const missing = site({
    errorCode: 404,
    redirect: { host: 'ec2-11-22-333-44.compute-1.amazonaws.com', replacePrefix: 'report-404/' },
  });
  assert.equal(redirectionBefore(missing, visit('a.html')), undefined);
  assert.deepEqual(redirectionAfter(missing, visit('a.html'), 404), {
    status: 301,
    location: 'http://ec2-11-22-333-44.compute-1.amazonaws.com/report-404/a.html',
  });
  assert.equal(redirectionAfter(missing, visit('a.html'), 403), undefined);
});

test('the first rule that matches counts, those for errors only after one', () => {
  const config = site(
    { prefix: 'a', errorCode: 404, redirect: { replaceKey: 'error' } },
    { prefix: 'ab', redirect: { replaceKey: 'first', status: 302 } },
    { redirect: { protocol: 'https', status: 307 } },
  );
  assert.deepEqual(redirectionBefore(config, visit('abc')), {
    status: 302,
    location: 'http://photos.web.test:9002/first',
  });
  assert.deepEqual(redirectionBefore(config, visit('x')), {
    status: 307,
    location: 'https://photos.web.test:9002/x',
  });
  assert.equal(
    redirectionAfter(config, visit('abc'), 404)?.location,
    'http://photos.web.test:9002/error',
  );
  assert.equal(redirectionAfter(config, visit('b'), 404), undefined);
});
