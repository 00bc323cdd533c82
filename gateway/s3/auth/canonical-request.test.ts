import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  canonicalPath,
  canonicalQuery,
  canonicalRequests,
  parseQuery,
} from './canonical-request.ts';
import { rawRequest } from './test-support.ts';

const PATHS: [sent: string, canonical: string][] = [
  ['', '/'],
  ['/', '/'],
  ['/bucket/key', '/bucket/key'],
  ['/b//x', '/b//x'],
  ['/b/../x/./y/', '/b/../x/./y/'],
  ['/b/%2e%2E/x', '/b/../x'],
  ['/b/a%2Fb', '/b/a/b'],
  ['/b/a%2fb%7e~', '/b/a/b~~'],
  ['/b/a+b', '/b/a%2Bb'],
  ['/b/a%20b', '/b/a%20b'],
  ['/b/%252F', '/b/%252F'],
  ["/b/$&',:;=@!()*", '/b/%24%26%27%2C%3A%3B%3D%40%21%28%29%2A'],
  ['/b/%d0%ba', '/b/%D0%BA'],
  ['/b/\u00d0\u00ba', '/b/%D0%BA'],
  ['/b/%', '/b/%25'],
  ['/b/%z1%4', '/b/%25z1%254'],
];

test('a path is decoded and encoded once, and never folded', () => {
  for (const [sent, canonical] of PATHS) assert.equal(canonicalPath(sent), canonical);
});

test('the canonical form of a canonical form is itself', () => {
  const bytes = fc.uint8Array({ maxLength: 30 }).map((b) => Buffer.from(b).toString('latin1'));
  fc.assert(
    fc.property(bytes, (text) => {
      const path = canonicalPath(text);
      assert.equal(canonicalPath(path), path);
      const query = canonicalQuery(parseQuery(text));
      assert.equal(canonicalQuery(parseQuery(query)), query);
    }),
    { numRuns: 1000 },
  );
});

const QUERIES: [sent: string, canonical: string][] = [
  ['', ''],
  ['acl', 'acl='],
  ['acl=', 'acl='],
  ['b=1&a=2&a=1', 'a=1&a=2&b=1'],
  ['prefix=a/b&delimiter=/', 'delimiter=%2F&prefix=a%2Fb'],
  ['prefix=a+b', 'prefix=a%20b'],
  ['prefix=a%2Bb', 'prefix=a%2Bb'],
  ['a=b=c', 'a=b%3Dc'],
  ['&&a=1&', 'a=1'],
  ['=x', '=x'],
  ['a-b=1&a=2&A=3', 'A=3&a=2&a-b=1'],
  ['X-Amz-Signature=abc&x=1', 'x=1'],
];

test('a query is sorted by encoded name, then value, with empty values written out', () => {
  for (const [sent, canonical] of QUERIES) {
    assert.equal(canonicalQuery(parseQuery(sent)), canonical);
  }
});

/** Path and query of every form that may have been signed. */
function formsOf(target: string): (string[] | undefined)[] {
  const request = rawRequest({ target, headers: { host: 'h' } });
  const forms = [...canonicalRequests(request, parseQuery(request.rawQuery), ['host'], 'X')];
  return forms.map((form) => form.split('\n').slice(1, 3));
}

test('a client may have signed the path and the query as it sent them', () => {
  assert.deepEqual(formsOf('/b/a+b?prefix=a/b&acl'), [
    ['/b/a%2Bb', 'acl=&prefix=a%2Fb'],
    ['/b/a%2Bb', 'prefix=a/b&acl'],
    ['/b/a+b', 'acl=&prefix=a%2Fb'],
    ['/b/a+b', 'prefix=a/b&acl'],
  ]);
  assert.deepEqual(formsOf('/b/k?acl='), [['/b/k', 'acl=']]);
  assert.deepEqual(formsOf('/b/k?z&X-Amz-Signature=s'), [['/b/k', 'z=']]);
});

test('header values are trimmed, runs of blanks are one space, absent headers are empty', () => {
  const headers = { host: 'h', 'x-amz-meta-a': '  a \t b  c ', 'x-amz-meta-b': 'a\tb\u00c3\u00a0' };
  const signed = ['constructor', 'host', 'x-amz-meta-a', 'x-amz-meta-b', 'x-amz-meta-c'];
  const [form] = canonicalRequests(rawRequest({ headers }), [], signed, 'X');
  assert.equal(
    form,
    `GET\n/\n\nconstructor:\nhost:h\nx-amz-meta-a:a b c\nx-amz-meta-b:a b\u00c3\u00a0\nx-amz-meta-c:\n\n${signed.join(';')}\nX`,
  );
});
