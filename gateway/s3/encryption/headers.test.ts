import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import { test } from 'node:test';
import fc from 'fast-check';
import { S3Error } from '../errors.ts';
import { isCode } from '../operations/testing-context.ts';
import type { HeaderMap } from '../request.ts';
import {
  ENCRYPTION_HEADERS,
  parsePartEncryption,
  parseReadKey,
  parseSourceKey,
  parseWriteEncryption,
} from './headers.ts';

const SSE = 'x-amz-server-side-encryption';
const bytes = createHash('sha256').update('a key').digest();
const md5 = (key: Buffer) => createHash('md5').update(key).digest('base64');

function customer(key: Buffer = bytes, prefix = SSE): Record<string, string> {
  return {
    [`${prefix}-customer-algorithm`]: 'AES256',
    [`${prefix}-customer-key`]: key.toString('base64'),
    [`${prefix}-customer-key-md5`]: md5(key),
  };
}

test('each mode is read from its headers', () => {
  assert.equal(parseWriteEncryption({}), undefined);
  assert.deepEqual(parseWriteEncryption({ [SSE]: 'AES256' }), { algorithm: 'AES256' });
  const context = Buffer.from('{"a":"b"}').toString('base64');
  assert.deepEqual(
    parseWriteEncryption({
      [SSE]: 'aws:kms',
      [`${SSE}-aws-kms-key-id`]: 'k1',
      [`${SSE}-context`]: context,
      [`${SSE}-bucket-key-enabled`]: 'True',
    }),
    { algorithm: 'aws:kms', keyId: 'k1', context, bucketKey: true },
  );
  const read = parseWriteEncryption(customer());
  assert.ok(read?.algorithm === 'customer');
  assert.deepEqual(read.customer.key.export(), bytes);
  assert.equal(read.customer.md5, md5(bytes));
  assert.ok(!inspect(read, { depth: 9 }).includes(bytes.toString('base64')));
  const source = customer(bytes, 'x-amz-copy-source-server-side-encryption');
  assert.ok(parseSourceKey(source)?.key.export().equals(bytes));
  assert.equal(parseWriteEncryption(source), undefined);
  assert.equal(parseSourceKey(customer()), undefined);
});

const without = (name: string): HeaderMap => {
  const { [`${SSE}-customer-${name}`]: _, ...rest } = customer();
  return rest;
};

const WRITES: [string, HeaderMap, RegExp][] = [
  ['an unknown method', { [SSE]: 'aes:kms' }, /encryption method/],
  ['an empty method', { [SSE]: '' }, /encryption method/],
  ['a KMS key without KMS', { [`${SSE}-aws-kms-key-id`]: 'k' }, /requires HTTP header/],
  ['a KMS key with SSE-S3', { [SSE]: 'AES256', [`${SSE}-aws-kms-key-id`]: 'k' }, /requires HTTP/],
  ['a context without KMS', { [`${SSE}-context`]: 'e30=' }, /requires HTTP header/],
  ['two modes', { [SSE]: 'AES256', ...customer() }, /incompatible/],
  ['two modes, KMS', { [SSE]: 'aws:kms', ...customer() }, /incompatible/],
  ['no algorithm', without('algorithm'), /valid encryption algorithm/],
  ['no key', without('key'), /appropriate secret key/],
  ['no MD5', without('key-md5'), /calculated MD5/],
  [
    'another MD5',
    { ...customer(), [`${SSE}-customer-key-md5`]: md5(Buffer.of(1)) },
    /did not match/,
  ],
  ['a short key', customer(bytes.subarray(1)), /secret key was invalid/],
  ['a long key', customer(Buffer.concat([bytes, bytes])), /secret key was invalid/],
  ['an empty key', customer(Buffer.alloc(0)), /secret key was invalid/],
  ['a context that is none', { [SSE]: 'aws:kms', [`${SSE}-context`]: 'x' }, /string-string map/],
  ['a bucket key', { [SSE]: 'aws:kms', [`${SSE}-bucket-key-enabled`]: 'maybe' }, /bucket key/],
  ['a long key id', { [SSE]: 'aws:kms', [`${SSE}-aws-kms-key-id`]: 'k'.repeat(3000) }, /too long/],
];

for (const [what, headers, message] of WRITES) {
  test(`${what} is InvalidArgument`, () => {
    assert.throws(() => parseWriteEncryption(headers), isCode('InvalidArgument', message));
  });
}

test('other algorithms and two layers have errors of their own', () => {
  const other = { ...customer(), [`${SSE}-customer-algorithm`]: 'AES192' };
  assert.throws(() => parseWriteEncryption(other), isCode('InvalidEncryptionAlgorithmError'));
  assert.throws(() => parseReadKey(other), isCode('InvalidEncryptionAlgorithmError'));
  assert.throws(() => parseWriteEncryption({ [SSE]: 'aws:kms:dsse' }), isCode('NotImplemented'));
});

test('reads take a key of the client and refuse what is for writes', () => {
  assert.equal(parseReadKey({}), undefined);
  assert.ok(parseReadKey(customer())?.key.export().equals(bytes));
  for (const name of [SSE, `${SSE}-aws-kms-key-id`, `${SSE}-context`]) {
    assert.throws(() => parseReadKey({ [name]: 'AES256' }), isCode('InvalidArgument'), name);
  }
});

test('parts take a key of the client, and tell whether they ask for a mode', () => {
  assert.deepEqual(parsePartEncryption({}), { customer: undefined, asks: false });
  assert.equal(parsePartEncryption({ [SSE]: 'aws:kms' }).asks, true);
  assert.ok(parsePartEncryption(customer()).customer);
});

test('whatever the headers hold, the answer is a mode or an S3 error of the client, without the key', () => {
  const value = fc.oneof(
    fc.constantFrom('AES256', 'aws:kms', 'aws:kms:dsse', '', 'true', 'e30=', md5(bytes)),
    fc.constant(bytes.toString('base64')),
    fc.string(),
    fc.base64String(),
  );
  const headers = fc.dictionary(fc.constantFrom(...ENCRYPTION_HEADERS), value);
  fc.assert(
    fc.property(headers, (sent) => {
      for (const parse of [
        parseWriteEncryption,
        parseReadKey,
        parseSourceKey,
        parsePartEncryption,
      ]) {
        try {
          parse(sent);
        } catch (error) {
          assert.ok(error instanceof S3Error && (error.status === 400 || error.status === 501));
          const key = sent[`${SSE}-customer-key`];
          const shown = `${error.message} ${JSON.stringify(error.details)}`;
          // Who sends a key under another name as well is told what stood there.
          const once = Object.values(sent).filter((value) => value === key).length === 1;
          if (key !== undefined && key.length > 20 && once) assert.ok(!shown.includes(key));
        }
      }
    }),
    { numRuns: 500 },
  );
});
