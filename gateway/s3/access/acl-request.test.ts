import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCode } from '../operations/testing-context.ts';
import { parseAclHeaders } from './acl-request.ts';

test('grantees are named with and without quotes, and a comma inside quotes is part of a name', () => {
  const header = 'id="a,b" ,  URI=http://x/y,emailaddress = "z@example.com"';
  assert.deepEqual(parseAclHeaders({ 'x-amz-grant-read': header }), {
    kind: 'grants',
    grants: [
      { grantee: { by: 'id', value: 'a,b' }, permission: 'READ' },
      { grantee: { by: 'uri', value: 'http://x/y' }, permission: 'READ' },
      { grantee: { by: 'email', value: 'z@example.com' }, permission: 'READ' },
    ],
  });
});

test('anything else is no list of grantees', () => {
  const wrong = ['', ',', 'id=a,', ',id=a', 'id=', 'id=""', 'id="a', 'id=a b', 'id=a id=b', 'x=a'];
  for (const header of wrong) {
    const headers = { 'x-amz-grant-write-acp': header };
    assert.throws(() => parseAclHeaders(headers), isCode('InvalidArgument'), header);
  }
});

test('a long header is read once from front to back', () => {
  // Quadratic matching would take hours.
  const header = `${'id=a,'.repeat(2_000_000)}id=a`;
  const found = parseAclHeaders({ 'x-amz-grant-read': header });
  assert.ok(found?.kind === 'grants' && found.grants.length === 2_000_001);
});
