import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCopySource } from './copy-source.ts';
import { S3Error } from './errors.ts';
import { matchesEtag, quoteEtag, unquoteEtag } from './etag.ts';
import { isBucketName, validateKey } from './names.ts';
import { checkedVersionId, shownVersionId, writtenVersionId } from './version-id.ts';

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'none';
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
}

test('bucket names follow the rules of S3', () => {
  for (const name of ['abc', 'a-b', 'a.b', '1bucket', 'a'.repeat(63), 'my-bucket.v2', '10.20.30']) {
    assert.ok(isBucketName(name), name);
  }
  for (const name of [
    '',
    'ab',
    'a'.repeat(64),
    'Abc',
    'a_b',
    'a b',
    '-ab',
    'ab-',
    '.ab',
    'ab.',
    'a..b',
    'a.-b',
    'a-.b',
    '192.168.5.4',
    'minio',
    'xn--abc',
    'sthree-abc',
    'abc-s3alias',
    'abc--x-s3',
    'äbc',
    'abc\n',
    '__proto__',
  ]) {
    assert.ok(!isBucketName(name), name);
  }
});

test('a key is 1 to 1,024 bytes of well-formed Unicode without NUL', () => {
  for (const key of ['a', '/', '../..', '€'.repeat(341), '\u0001', '😀']) {
    assert.equal(
      codeOf(() => validateKey(key)),
      'none',
    );
  }
  assert.equal(
    codeOf(() => validateKey('€'.repeat(342))),
    'KeyTooLongError',
  );
  for (const key of ['', 'a\0b', '\ud800'])
    assert.equal(
      codeOf(() => validateKey(key)),
      'InvalidURI',
    );
});

test('a copy source is bucket, key and perhaps a version', () => {
  for (const [header, expected] of [
    ['photos/a', { bucket: 'photos', key: 'a' }],
    ['/photos/a/b', { bucket: 'photos', key: 'a/b' }],
    ['photos//a', { bucket: 'photos', key: '/a' }],
    ['photos%2Fa%20b', { bucket: 'photos', key: 'a b' }],
    ['photos/a+b', { bucket: 'photos', key: 'a+b' }],
    ['photos/../x', { bucket: 'photos', key: '../x' }],
    ['photos/a%3FversionId=1', { bucket: 'photos', key: 'a?versionId=1' }],
    ['photos/a?b', { bucket: 'photos', key: 'a?b' }],
    ['photos/a?versionId=null', { bucket: 'photos', key: 'a', versionId: 'null' }],
    ['photos/\u00c3\u00a4', { bucket: 'photos', key: 'ä' }],
  ] as const) {
    assert.deepEqual(parseCopySource(header), expected, header);
  }
  for (const header of [
    '',
    '/',
    'photos',
    'photos/',
    '//a',
    '/Photos/a',
    'photos/%zz',
    'photos/%ff',
  ]) {
    assert.equal(
      codeOf(() => parseCopySource(header)),
      'InvalidArgument',
      header,
    );
  }
  assert.equal(
    codeOf(() => parseCopySource(`photos/${'a'.repeat(1025)}`)),
    'KeyTooLongError',
  );
});

test('a version id is taken as it is, nonsense is refused', () => {
  for (const id of [undefined, 'null', '3sL4kqtJlcpXroDTDmJ']) {
    assert.equal(checkedVersionId(id), id);
  }
  for (const id of ['', 'a b', 'ü', 'a'.repeat(1025)]) {
    assert.equal(
      codeOf(() => checkedVersionId(id)),
      'InvalidArgument',
    );
  }
});

test('a version has an id once its bucket had versioning, and null is not told after a write', () => {
  const version = 'ab'.repeat(16);
  assert.equal(shownVersionId({}, { version }), undefined);
  assert.equal(shownVersionId({ versioning: 'Suspended' }, { version }), 'null');
  assert.equal(shownVersionId({ versioning: 'Suspended' }, { version, named: true }), version);
  assert.equal(writtenVersionId({ versionId: version }), version);
  assert.equal(writtenVersionId({ versionId: 'null' }), undefined);
  assert.equal(writtenVersionId({}), undefined);
});

test('entity tags are quoted on the wire and bare inside', () => {
  assert.equal(unquoteEtag(quoteEtag('abc')), 'abc');
  assert.equal(unquoteEtag(' "abc" '), 'abc');
  assert.equal(unquoteEtag('"'), '"');
  assert.equal(matchesEtag('"a","b-2"', 'b-2'), true);
  assert.equal(matchesEtag('W/"a"', 'a'), false);
  assert.equal(matchesEtag('W/"a"', 'a', true), true);
  assert.equal(matchesEtag('', 'a'), false);
});
