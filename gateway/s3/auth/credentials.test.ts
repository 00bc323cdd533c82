import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCredentialSource } from './credentials.ts';
import { EXAMPLE } from './test-support.ts';

test('a source finds the keys that it was given, and no other', () => {
  const source = createCredentialSource([EXAMPLE]);
  assert.equal(source.find(EXAMPLE.accessKey), EXAMPLE);
  for (const other of ['', 'constructor', '__proto__', EXAMPLE.accessKey.toLowerCase()]) {
    assert.equal(source.find(other), undefined);
  }
});

test('keys that could not work are refused, without showing a secret', () => {
  const refused = [
    [EXAMPLE, EXAMPLE],
    [{ ...EXAMPLE, accessKey: 'a,b' }],
    [{ ...EXAMPLE, accessKey: 'a b' }],
    [{ ...EXAMPLE, accessKey: 'ab' }],
    [{ ...EXAMPLE, accessKey: 'schlüssel' }],
    [{ ...EXAMPLE, secretKey: 'tooshrt' }],
  ];
  for (const list of refused) {
    assert.throws(
      () => createCredentialSource(list),
      (error: Error & { kind?: string }) =>
        error.kind === 'invalid' && !error.message.includes(list[0]?.secretKey ?? ''),
    );
  }
});
