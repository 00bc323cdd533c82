import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCredentials } from './credentials.ts';
import { EXAMPLE } from './test-support.ts';

const { account } = EXAMPLE;
const OTHER = {
  accessKey: 'OTHERKEY',
  secretKey: 'other secret',
  account: { ...account, id: 'cd'.repeat(32), number: '210987654321', email: 'a@example.com' },
};

test('accounts that have nothing in common are taken', () => {
  checkCredentials([EXAMPLE, OTHER]);
});

test('keys that could not work are refused, without showing a secret', () => {
  const refused = [
    [EXAMPLE, EXAMPLE],
    [{ ...EXAMPLE, accessKey: 'a,b' }],
    [{ ...EXAMPLE, accessKey: 'a b' }],
    [{ ...EXAMPLE, accessKey: 'ab' }],
    [{ ...EXAMPLE, accessKey: 'schlüssel' }],
    [{ ...EXAMPLE, secretKey: 'tooshrt' }],
    [EXAMPLE, { ...OTHER, account: { ...OTHER.account, id: account.id } }],
    [EXAMPLE, { ...OTHER, account: { ...OTHER.account, number: account.number } }],
    [{ ...EXAMPLE, account: { ...account, email: 'a@example.com' } }, OTHER],
  ];
  for (const list of refused) {
    assert.throws(
      () => checkCredentials(list),
      (error: Error & { kind?: string }) =>
        error.kind === 'invalid' && !error.message.includes(list[0]?.secretKey ?? ''),
    );
  }
});
