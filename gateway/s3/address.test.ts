import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Address, isReserved, parseAddress } from './address.ts';
import { S3Error } from './errors.ts';

const DOMAINS = ['s3.example.com', 'eu.s3.example.com'];

function path(rawPath: string, host = '127.0.0.1:9000'): Pick<Address, 'bucket' | 'key'> {
  const { bucket, key } = parseAddress(rawPath, host, DOMAINS);
  return { bucket, key };
}

function code(rawPath: string, host = 'localhost'): string {
  try {
    parseAddress(rawPath, host, DOMAINS);
    return 'none';
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
}

test('a path is taken literally, whatever it looks like', () => {
  assert.deepEqual(path('/'), { bucket: '', key: '' });
  for (const [raw, key] of [
    ['/photos', ''],
    ['/photos/', ''],
    ['/photos/a', 'a'],
    ['/photos/a/', 'a/'],
    ['/photos//a//b', '/a//b'],
    ['/photos//', '/'],
    ['/photos/../other/x', '../other/x'],
    ['/photos/./a/../../b', './a/../../b'],
    ['/photos/%2e%2e%2fx', '../x'],
    ['/photos/a%2Fb', 'a/b'],
    ['/photos/a+b', 'a+b'],
    ['/photos/a%2Bb%20c', 'a+b c'],
    ['/photos/%252F', '%2F'],
    ['/photos/%E2%82%AC', '€'],
    ['/photos/\u00e2\u0082\u00ac', '€'],
    ['/photos/%F0%9F%98%80', '😀'],
    ['/photos/a#b', 'a#b'],
    ['/photos/%01%0A', '\u0001\n'],
  ] as const) {
    assert.deepEqual(path(raw), { bucket: 'photos', key }, raw);
  }
});

test('what is no UTF-8, a broken escape or a NUL is InvalidURI', () => {
  for (const raw of ['%ff', '%zz', '%', '%4', 'a%00b', '%C3', '%ED%A0%80', '%C0%AF', '\u00ff']) {
    assert.equal(code(`/photos/${raw}`), 'InvalidURI', raw);
  }
  assert.equal(code('/%ff/x'), 'InvalidURI');
  assert.equal(code('*'), 'InvalidURI');
  assert.equal(code(''), 'InvalidURI');
});

test('a first segment that is no bucket name is InvalidBucketName', () => {
  for (const raw of ['//x', '/Photos/x', '/ab', '/_ashlar', '/..%2fphotos/x', '/a%20b/x']) {
    assert.equal(code(raw), 'InvalidBucketName', raw);
  }
});

test('a key above 1,024 bytes is KeyTooLongError, measured in UTF-8', () => {
  assert.equal(code(`/photos/${'a'.repeat(1024)}`), 'none');
  assert.equal(code(`/photos/${'a'.repeat(1025)}`), 'KeyTooLongError');
  assert.equal(code(`/photos/${'%E2%82%AC'.repeat(341)}a`), 'none');
  assert.equal(code(`/photos/${'%E2%82%AC'.repeat(342)}`), 'KeyTooLongError');
});

test('a host below a configured domain names the bucket', () => {
  const at = (host: string, raw: string) => parseAddress(raw, host, DOMAINS);
  assert.deepEqual(at('photos.s3.example.com', '/a/b'), {
    style: 'virtual',
    bucket: 'photos',
    key: 'a/b',
  });
  assert.equal(at('photos.s3.example.com', '/').key, '');
  assert.equal(at('photos.s3.example.com', '//').key, '/');
  assert.equal(at('Photos.S3.Example.COM:9000', '/k').bucket, 'photos');
  assert.equal(at('photos.s3.example.com.', '/k').bucket, 'photos');
  assert.equal(at('a.b.s3.example.com', '/k').bucket, 'a.b');
  // The longest domain counts, and a domain itself is no bucket of another one.
  assert.equal(at('photos.eu.s3.example.com', '/k').bucket, 'photos');
  assert.equal(at('eu.s3.example.com', '/photos/k').bucket, 'photos');
  assert.equal(at('s3.example.com:443', '/photos/k').bucket, 'photos');
  assert.equal(at('[::1]:9000', '/photos/k').bucket, 'photos');
  assert.equal(at('xs3.example.com', '/photos/k').bucket, 'photos');
  assert.equal(code('/k', 'A_b.s3.example.com'), 'InvalidBucketName');
});

test('the reserved path is ours, except on the host of a bucket', () => {
  assert.equal(isReserved('/_ashlar/health/live', 'localhost', DOMAINS), true);
  assert.equal(isReserved('/_ashlar/health/live', 'photos.s3.example.com', DOMAINS), false);
  assert.equal(isReserved('/minio/health/ready', 'localhost', DOMAINS), true);
  assert.equal(isReserved('/minio/health/live', 'photos.s3.example.com', DOMAINS), false);
  assert.equal(isReserved('/minio/health/live/x', 'localhost', DOMAINS), false);
  assert.equal(isReserved('/photos/_ashlar/', 'localhost', DOMAINS), false);
  assert.equal(parseAddress('/_ashlar/x', 'photos.s3.example.com', DOMAINS).key, '_ashlar/x');
});

test('every key that can be encoded comes back from its path as it was', () => {
  const keys = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 200 })
    .filter((key) => !key.includes('\0') && key.isWellFormed());
  fc.assert(
    fc.property(keys, fc.boolean(), (key, slashes) => {
      const encoded = encodeURIComponent(key);
      const raw = slashes ? encoded.replaceAll('%2F', '/') : encoded;
      assert.equal(parseAddress(`/photos/${raw}`, 'localhost', []).key, key);
      const bytes = Buffer.from(key).toString('latin1');
      if (!key.includes('%')) {
        assert.equal(parseAddress(`/photos/${bytes}`, 'localhost', []).key, key);
      }
    }),
  );
});
