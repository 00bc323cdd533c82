import assert from 'node:assert/strict';
import { test } from 'node:test';
import { S3Error } from './errors.ts';
import {
  parseClientToken,
  parseRenameCondition,
  parseRenameSource,
  SOURCE_PREFIX,
} from './rename-source.ts';

const source = (value: string, bucket = 'photos') =>
  parseRenameSource({ 'x-amz-rename-source': value }, bucket);

const isCode = (code: string) => (error: unknown) =>
  error instanceof S3Error && error.code === code;

test('the source is a key of the same bucket, written in three ways', () => {
  assert.equal(source('a/b%20c%C3%A9'), 'a/b cé');
  assert.equal(source('/a/b'), 'a/b');
  assert.equal(source('/photos/a/b'), 'a/b');
  // Without the slash in front it is the key itself that begins like the bucket.
  assert.equal(source('photos/a'), 'photos/a');
  assert.equal(source('/other/a'), 'other/a');
  assert.equal(source('//a'), '/a');
  assert.equal(source('a+b'), 'a+b');
});

test('what is no key is refused', () => {
  assert.throws(() => parseRenameSource({}, 'photos'), isCode('InvalidRequest'));
  assert.throws(() => source(''), isCode('InvalidRequest'));
  assert.throws(() => source('%ff'), isCode('InvalidArgument'));
  assert.throws(() => source('a%00'), isCode('InvalidArgument'));
  assert.throws(() => source('/'), isCode('InvalidURI'));
  assert.throws(() => source('/photos/'), isCode('InvalidURI'));
  assert.throws(() => source('k'.repeat(1025)), isCode('KeyTooLongError'));
});

test('conditions are read for either object, and none that cannot be read is ignored', () => {
  const date = 'Fri, 20 Nov 2026 08:00:00 GMT';
  const ms = Date.UTC(2026, 10, 20, 8);
  assert.equal(parseRenameCondition({}, ''), undefined);
  assert.deepEqual(parseRenameCondition({ 'if-match': '"e1"', 'if-modified-since': date }, ''), {
    ifMatch: 'e1',
    ifModifiedSinceMs: ms,
  });
  const headers = {
    'if-match': '"destination"',
    'x-amz-rename-source-if-none-match': '*',
    'x-amz-rename-source-if-unmodified-since': date,
  };
  assert.deepEqual(parseRenameCondition(headers, SOURCE_PREFIX), {
    ifNoneMatch: '*',
    ifUnmodifiedSinceMs: ms,
  });
  for (const bad of [
    { 'if-match': '"a", "b"' },
    { 'if-none-match': '' },
    { 'if-modified-since': 'x' },
  ]) {
    assert.throws(() => parseRenameCondition(bad, ''), isCode('InvalidArgument'));
  }
});

test('a client token is 1 to 64 printable characters', () => {
  assert.equal(parseClientToken({}), undefined);
  assert.equal(parseClientToken({ 'x-amz-client-token': 'a-!~' }), 'a-!~');
  for (const bad of ['', 'a b', 'x'.repeat(65), 'é']) {
    assert.throws(() => parseClientToken({ 'x-amz-client-token': bad }), isCode('InvalidArgument'));
  }
});
