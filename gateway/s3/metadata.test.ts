import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { S3Error } from './errors.ts';
import {
  encodeHeaderText,
  metadataHeaders,
  parseSystemMetadata,
  parseUserMetadata,
} from './metadata.ts';

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'none';
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
}

test('system metadata comes back as it was sent', () => {
  const sent = {
    'content-type': 'text/html; charset=utf-8',
    'content-encoding': 'gzip',
    'content-language': 'de',
    'content-disposition': 'attachment; filename="a"',
    'cache-control': 'no-cache',
    expires: 'whenever',
    'x-amz-website-redirect-location': '/elsewhere',
    'x-amz-storage-class': 'STANDARD_IA',
  };
  const headers = metadataHeaders(parseSystemMetadata(sent), {});
  const lower = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  assert.deepEqual(lower, sent);
  assert.deepEqual(metadataHeaders({}, {}), { 'Content-Type': 'binary/octet-stream' });
});

test('aws-chunked is the transfer and not the object', () => {
  const encoding = (value: string) =>
    parseSystemMetadata({ 'content-encoding': value }).contentEncoding;
  assert.equal(encoding('aws-chunked'), undefined);
  assert.equal(encoding('aws-chunked,gzip'), 'gzip');
  assert.equal(encoding('gzip, AWS-chunked'), 'gzip');
  assert.equal(encoding('gzip, br'), 'gzip, br');
});

test('storage classes that three replicas honour are kept, others refused', () => {
  const stored = (value: string) =>
    parseSystemMetadata({ 'x-amz-storage-class': value }).storageClass;
  assert.equal(stored('STANDARD'), undefined);
  assert.equal(stored('GLACIER_IR'), 'GLACIER_IR');
  for (const value of ['GLACIER', 'DEEP_ARCHIVE', 'EXPRESS_ONEZONE', 'standard', 'COLD', '']) {
    assert.equal(
      codeOf(() => stored(value)),
      'InvalidStorageClass',
      value,
    );
  }
});

test('a redirect leads to a path or a web address', () => {
  const redirect = (value: string) =>
    parseSystemMetadata({ 'x-amz-website-redirect-location': value });
  assert.equal(redirect('https://example.com/').websiteRedirectLocation, 'https://example.com/');
  assert.equal(
    codeOf(() => redirect('javascript:alert(1)')),
    'InvalidRedirectLocation',
  );
});

test('user metadata holds 2 KB of names and values and not a byte more', () => {
  const fill = (length: number) => parseUserMetadata({ 'x-amz-meta-ab': 'x'.repeat(length) });
  assert.equal(fill(2046)['ab']?.length, 2046);
  assert.equal(
    codeOf(() => fill(2047)),
    'MetadataTooLarge',
  );
  // Two bytes each in UTF-8, also when they came as Latin-1.
  assert.equal(
    codeOf(() => parseUserMetadata({ 'x-amz-meta-ab': '\u00e9'.repeat(1024) })),
    'MetadataTooLarge',
  );
  assert.equal(
    codeOf(() => parseUserMetadata({ 'x-amz-meta-': 'x' })),
    'InvalidArgument',
  );
  assert.deepEqual(parseUserMetadata({ 'x-amz-metadata-directive': 'COPY', host: 'h' }), {});
});

test('names that objects have by nature are names like any other', () => {
  const headers = Object.assign(Object.create(null), {
    'x-amz-meta-__proto__': 'a',
    'x-amz-meta-constructor': 'b',
  }) as Record<string, string>;
  const user = parseUserMetadata(headers);
  assert.deepEqual(Object.keys(user), ['__proto__', 'constructor']);
  assert.equal(metadataHeaders({}, user)['x-amz-meta-__proto__'], 'a');
});

test('text beyond ASCII is taken as UTF-8 or Latin-1 and returned as RFC 2047 words', () => {
  const returned = (value: string) =>
    metadataHeaders({}, parseUserMetadata({ 'x-amz-meta-n': value }))['x-amz-meta-n'];
  assert.equal(returned('plain = text?'), 'plain = text?');
  const utf8 = Buffer.from('Grüße €').toString('latin1');
  assert.equal(returned(utf8), `=?UTF-8?B?${Buffer.from('Grüße €').toString('base64')}?=`);
  assert.equal(returned('caf\u00e9'), `=?UTF-8?B?${Buffer.from('café').toString('base64')}?=`);
  assert.equal(returned('=?UTF-8?Q?caf=C3=A9?='), '=?UTF-8?Q?caf=C3=A9?=');
});

test('encoded words are short, printable and decode to the text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 }), (text) => {
      const encoded = encodeHeaderText(`é${text}`);
      const words = encoded.split(' ');
      const decoded = words.map((word) => {
        assert.match(word, /^=\?UTF-8\?B\?[A-Za-z0-9+/=]+\?=$/);
        assert.ok(word.length <= 75);
        return Buffer.from(word.slice(10, -2), 'base64').toString();
      });
      assert.equal(decoded.join(''), `é${text}`);
    }),
  );
});
