import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCode } from '../operations/testing-context.ts';
import { formHeaders, refuseOutsideTheForm } from './form-headers.ts';

function headersOf(fields: Record<string, string>, request: Record<string, string> = {}) {
  const headers = formHeaders(new Map(Object.entries(fields)), request);
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
}

test('fields become the headers of PutObject, and what is none of them is left out', () => {
  const fields = {
    key: 'a',
    bucket: 'b',
    policy: 'p',
    success_action_status: '201',
    submit: 'Upload',
    'x-amz-signature': 's',
    'x-amz-credential': 'c',
    'x-amz-date': 'd',
    'x-amz-algorithm': 'a',
    acl: 'private',
    'content-type': 'image/png',
    'cache-control': 'no-store',
    expires: 'never',
    'x-amz-meta-colour': 'blau \u{1f499}',
    'x-amz-storage-class': 'STANDARD_IA',
    'x-amz-server-side-encryption': 'AES256',
    'x-amz-object-lock-mode': 'GOVERNANCE',
  };
  assert.deepEqual(headersOf(fields), {
    'x-amz-acl': 'private',
    'content-type': 'image/png',
    'cache-control': 'no-store',
    expires: 'never',
    // One character per byte, as headers come from the wire.
    'x-amz-meta-colour': Buffer.from('blau \u{1f499}').toString('latin1'),
    'x-amz-storage-class': 'STANDARD_IA',
    'x-amz-server-side-encryption': 'AES256',
    'x-amz-object-lock-mode': 'GOVERNANCE',
  });
});

test('the tagging field is XML and becomes a list of pairs', () => {
  const tag = (key: string, value: string) => `<Tag><Key>${key}</Key><Value>${value}</Value></Tag>`;
  const xml = (...tags: string[]) => `<Tagging><TagSet>${tags.join('')}</TagSet></Tagging>`;
  assert.deepEqual(headersOf({ tagging: xml(tag('a b', 'c=d'), tag('é', '')) }), {
    'x-amz-tagging': 'a%20b=c%3Dd&%C3%A9=',
  });
  assert.throws(() => headersOf({ tagging: 'a=b' }), isCode('MalformedXML'));
  assert.throws(
    () => headersOf({ tagging: xml(tag('a', '1'), tag('a', '2')) }),
    isCode('InvalidTag'),
  );
});

test('what cannot be kept as a header is InvalidArgument', () => {
  for (const fields of [
    { 'x-amz-meta-a': 'b\r\nSet-Cookie: c' },
    { 'x-amz-meta-a': 'b\0' },
    { 'x-amz-meta-a b': 'c' },
    { 'x-amz-meta-ü': 'c' },
    { 'x-amz-meta-a:': 'c' },
    { 'content-type': 'a\nb' },
    { acl: 'private', 'x-amz-acl': 'private' },
    { 'x-amz-acl': 'private', acl: 'private' },
    { 'x-amz-copy-source': '/b/k' },
    { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
    { 'x-amz-trailer': 'x-amz-checksum-crc32' },
  ]) {
    assert.throws(() => headersOf(fields), isCode('InvalidArgument'), JSON.stringify(fields));
  }
});

test('of the request itself only what describes it counts', () => {
  const request = {
    host: 'h',
    'user-agent': 'browser',
    'content-type': 'multipart/form-data; boundary=x',
    'content-length': '100',
    cookie: 'secret',
  };
  assert.deepEqual(headersOf({}, request), { host: 'h', 'user-agent': 'browser' });
  refuseOutsideTheForm(request);
  for (const name of ['x-amz-acl', 'x-amz-meta-a', 'if-none-match', 'content-encoding']) {
    assert.throws(() => refuseOutsideTheForm({ [name]: 'x' }), isCode('InvalidRequest'), name);
  }
});
