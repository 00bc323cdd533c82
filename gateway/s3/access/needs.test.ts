import assert from 'node:assert/strict';
import { test } from 'node:test';
import { S3Error } from '../errors.ts';
import { parseQuery } from '../query.ts';
import { REGISTRY } from '../registry.ts';
import type { OperationName } from '../operation.ts';
import { deleteNeeds, missingKeyNeed, requiredAccess, resourceArn } from './needs.ts';

interface Sent {
  query?: string;
  headers?: Record<string, string>;
  key?: string;
}

/** `action bucket/key version` of each need. */
function needs(operation: string, { query = '', headers = {}, key = 'k' }: Sent = {}): string[] {
  const { name, permission } = REGISTRY[operation as OperationName] ?? {
    name: operation,
    permission: `s3:${operation}`,
  };
  const found = requiredAccess(
    { name, permission },
    { bucket: 'b', key, query: parseQuery(query), headers },
  );
  if (found === 'per-object') return [found];
  return found.map((need) =>
    [need.action.slice('s3:'.length), `${need.bucket}/${need.key}`, need.versionId]
      .filter((part) => part !== undefined)
      .join(' '),
  );
}

test('most operations need their own permission on what they are addressed to', () => {
  assert.deepEqual(needs('GetObject'), ['GetObject b/k']);
  assert.deepEqual(needs('HeadObject'), ['GetObject b/k']);
  assert.deepEqual(needs('ListObjectsV2', { key: '' }), ['ListBucket b/']);
  assert.deepEqual(needs('HeadBucket', { key: '' }), ['ListBucket b/']);
  assert.deepEqual(needs('ListObjectVersions', { key: '' }), ['ListBucketVersions b/']);
  assert.deepEqual(needs('ListMultipartUploads', { key: '' }), ['ListBucketMultipartUploads b/']);
  assert.deepEqual(needs('ListParts'), ['ListMultipartUploadParts b/k']);
  assert.deepEqual(needs('AbortMultipartUpload'), ['AbortMultipartUpload b/k']);
  for (const name of ['CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload']) {
    assert.deepEqual(needs(name), ['PutObject b/k'], name);
  }
  assert.deepEqual(needs('DeleteBucketTagging', { key: '' }), ['PutBucketTagging b/']);
});

test('a version is another resource: the actions on it are their own, also for null', () => {
  for (const [operation, action] of [
    ['GetObject', 'GetObjectVersion'],
    ['HeadObject', 'GetObjectVersion'],
    ['DeleteObject', 'DeleteObjectVersion'],
    ['GetObjectTagging', 'GetObjectVersionTagging'],
    ['PutObjectTagging', 'PutObjectVersionTagging'],
    ['DeleteObjectTagging', 'DeleteObjectVersionTagging'],
    ['GetObjectAcl', 'GetObjectVersionAcl'],
    ['PutObjectAcl', 'PutObjectVersionAcl'],
    ['GetObjectRetention', 'GetObjectRetention'],
  ] as const) {
    assert.deepEqual(
      needs(operation, { query: 'versionId=null' }),
      [`${action} b/k null`],
      operation,
    );
  }
});

test('GetObjectAttributes needs the right to read, too', () => {
  assert.deepEqual(needs('GetObjectAttributes'), ['GetObjectAttributes b/k', 'GetObject b/k']);
  assert.deepEqual(needs('GetObjectAttributes', { query: 'attributes&versionId=v' }), [
    'GetObjectVersionAttributes b/k v',
    'GetObjectVersion b/k v',
  ]);
});

test('what a write carries with it needs a right of its own', () => {
  const headers = {
    'x-amz-tagging': 'a=b',
    'x-amz-acl': 'private',
    'x-amz-object-lock-mode': 'GOVERNANCE',
    'x-amz-object-lock-retain-until-date': '2030-01-01T00:00:00Z',
    'x-amz-object-lock-legal-hold': 'ON',
  };
  for (const name of ['PutObject', 'PostObject', 'CreateMultipartUpload']) {
    assert.deepEqual(needs(name, { headers }).slice(name === 'PostObject' ? 1 : 0), [
      ...(name === 'PostObject' ? [] : ['PutObject b/k']),
      'PutObjectTagging b/k',
      'PutObjectAcl b/k',
      'PutObjectRetention b/k',
      'PutObjectLegalHold b/k',
    ]);
  }
  assert.deepEqual(needs('PutObject', { headers: { 'x-amz-grant-read': 'id=x' } }), [
    'PutObject b/k',
    'PutObjectAcl b/k',
  ]);
  assert.deepEqual(needs('PutObject', { headers: { 'x-amz-tagging': '' } }), ['PutObject b/k']);
  assert.deepEqual(needs('UploadPart', { headers }), ['PutObject b/k']);
});

test('a copy reads its source, by version if it names one, and writes its target', () => {
  const copy = { 'x-amz-copy-source': '/src/a%20b?versionId=v1', 'x-amz-tagging': 'a=b' };
  assert.deepEqual(needs('CopyObject', { headers: copy }), [
    'PutObject b/k',
    'GetObjectVersion src/a b v1',
  ]);
  assert.deepEqual(
    needs('CopyObject', {
      headers: { ...copy, 'x-amz-copy-source': 'src/x', 'x-amz-tagging-directive': 'REPLACE' },
    }),
    ['PutObject b/k', 'PutObjectTagging b/k', 'GetObject src/x'],
  );
  assert.deepEqual(needs('UploadPartCopy', { headers: { 'x-amz-copy-source': 'src/x' } }), [
    'PutObject b/k',
    'GetObject src/x',
  ]);
  assert.throws(() => needs('CopyObject', { headers: { 'x-amz-copy-source': 'src' } }), S3Error);
  assert.deepEqual(needs('GetObject', { headers: { 'x-amz-copy-source': 'src/x' } }), [
    'GetObject b/k',
  ]);
});

test('overruling a retention needs the right to', () => {
  const headers = { 'x-amz-bypass-governance-retention': 'True' };
  assert.deepEqual(needs('DeleteObject', { headers, query: 'versionId=v' }), [
    'DeleteObjectVersion b/k v',
    'BypassGovernanceRetention b/k v',
  ]);
  assert.deepEqual(needs('PutObjectRetention', { headers }), [
    'PutObjectRetention b/k',
    'BypassGovernanceRetention b/k',
  ]);
  headers['x-amz-bypass-governance-retention'] = 'false';
  assert.deepEqual(needs('DeleteObject', { headers }), ['DeleteObject b/k']);
});

test('DeleteObjects is judged key by key', () => {
  assert.deepEqual(needs('DeleteObjects', { key: '' }), ['per-object']);
  assert.deepEqual(deleteNeeds('b', { key: 'k' }, false), [
    { action: 's3:DeleteObject', bucket: 'b', key: 'k', versionId: undefined },
  ]);
  assert.deepEqual(
    deleteNeeds('b', { key: 'k', versionId: 'v' }, true).map(({ action }) => action),
    ['s3:DeleteObjectVersion', 's3:BypassGovernanceRetention'],
  );
});

test('CreateBucket needs the rights to set what its headers set', () => {
  assert.deepEqual(needs('CreateBucket', { key: '' }), ['CreateBucket b/']);
  const headers = {
    'x-amz-acl': 'private',
    'x-amz-bucket-object-lock-enabled': 'true',
    'x-amz-object-ownership': 'ObjectWriter',
  };
  assert.deepEqual(needs('CreateBucket', { key: '', headers }), [
    'CreateBucket b/',
    'PutBucketAcl b/',
    'PutBucketObjectLockConfiguration b/',
    'PutBucketVersioning b/',
    'PutBucketOwnershipControls b/',
  ]);
});

test('resources are written as ARNs', () => {
  assert.equal(resourceArn({ bucket: '', key: '' }), '*');
  assert.equal(resourceArn(missingKeyNeed({ bucket: 'b', key: 'k' })), 'arn:aws:s3:::b');
  assert.equal(resourceArn({ bucket: 'b', key: '/a//../*' }), 'arn:aws:s3:::b//a//../*');
});
