import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redactKeys } from './redact.ts';

test('keys of clients are taken out of a query, however their names are written, and nothing else', () => {
  const name = 'x-amz-server-side-encryption-customer-key';
  for (const written of [
    name,
    'X-Amz-Server-Side-Encryption-Customer-Key',
    name.replaceAll('-', '%2D'),
    'x-amz-copy-source-server-side-encryption-customer-key',
  ]) {
    assert.equal(redactKeys(`a=1&${written}=c2VjcmV0&b`), `a=1&${written}=REDACTED&b`);
  }
  const kept = `x-id=GetObject&${name}-md5=abc&customer-key=1&%zz=2&&=`;
  assert.equal(redactKeys(kept), kept);
  assert.equal(redactKeys(''), '');
});
