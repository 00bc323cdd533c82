import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Permission } from '../../../meta/protocol.ts';
import type { AccountDirectory } from '../auth/accounts.ts';
import { ANONYMOUS } from '../auth/identity.ts';
import { isCode } from '../operations/testing-context.ts';
import { accessControlPolicy, readAccessControlPolicy } from '../xml/access-control-policy.ts';
import {
  aclGrants,
  CANNED_ACLS,
  cannedGrants,
  decodeAcl,
  encodeAcl,
  groupOfUri,
  groupUri,
  isPrivateAcl,
  isPublicAcl,
} from './acl.ts';
import { grantsOf, parseAclHeaders } from './acl-request.ts';

const OWNER = 'a'.repeat(64);
const OTHER = 'b'.repeat(64);
const DIRECTORY: AccountDirectory = {
  account: (by, value) => Promise.resolve(DIRECTORY.known(by, value)),
  known: (by, value) => {
    const known = { ...ANONYMOUS, id: OTHER, email: 'b@example.com', number: '000000000002' };
    return known[by] === value ? known : undefined;
  },
  names: () => Promise.resolve(new Map()),
};
const OWNERS = { owner: OWNER, bucketOwner: OWNER };

test('headers name grantees in three ways, with and without quotes, several at once', () => {
  const headers = {
    'x-amz-grant-read': `id="${OTHER}", emailAddress=b@example.com ,uri="http://a,b"`,
    'x-amz-grant-full-control': `ID=${OTHER}`,
  };
  assert.deepEqual(parseAclHeaders(headers), {
    kind: 'grants',
    grants: [
      { grantee: { by: 'id', value: OTHER }, permission: 'READ' },
      { grantee: { by: 'email', value: 'b@example.com' }, permission: 'READ' },
      { grantee: { by: 'uri', value: 'http://a,b' }, permission: 'READ' },
      { grantee: { by: 'id', value: OTHER }, permission: 'FULL_CONTROL' },
    ],
  });
  assert.equal(parseAclHeaders({ 'x-amz-meta-acl': 'x' }), undefined);
  assert.deepEqual(parseAclHeaders({ 'x-amz-acl': 'public-read' }), {
    kind: 'canned',
    canned: 'public-read',
  });
});

test('whatever a header says, it is a list of grantees or InvalidArgument', () => {
  fc.assert(
    fc.property(fc.string(), (value) => {
      try {
        const request = parseAclHeaders({ 'x-amz-grant-write-acp': value });
        assert.ok(request?.kind === 'grants' && request.grants.length > 0);
        for (const { grantee } of request.grants) assert.ok(grantee.value.length > 0);
      } catch (error) {
        assert.ok(isCode('InvalidArgument')(error));
      }
    }),
  );
});

test('grantees become accounts and groups, unknown ones are refused by what they are', async () => {
  const resolve = (by: 'id' | 'email' | 'uri', value: string) =>
    grantsOf(
      { kind: 'grants', grants: [{ grantee: { by, value }, permission: 'READ' }] },
      OWNERS,
      DIRECTORY,
    );
  const toOther = [{ grantee: { id: OTHER }, permission: 'READ' }];
  assert.deepEqual(await resolve('id', OTHER), toOther);
  assert.deepEqual(await resolve('email', 'B@example.com'), toOther);
  assert.deepEqual(await resolve('uri', groupUri('AllUsers')), [
    { grantee: { group: 'AllUsers' }, permission: 'READ' },
  ]);
  await assert.rejects(resolve('id', OWNER), isCode('InvalidArgument', /Invalid id/));
  await assert.rejects(resolve('uri', 'http://x'), isCode('InvalidArgument', /Invalid group uri/));
  await assert.rejects(resolve('email', 'c@d'), isCode('UnresolvableGrantByEmailAddress'));
});

test('every canned list leaves the owner everything, and two of them nobody else anything', () => {
  for (const canned of CANNED_ACLS) {
    const acl = cannedGrants(canned, { owner: OWNER, bucketOwner: OTHER });
    const account = { ...ANONYMOUS, id: OWNER };
    for (const permission of ['READ', 'WRITE', 'READ_ACP', 'WRITE_ACP'] as const) {
      assert.ok(aclGrants(acl, { account, permission, ignorePublic: true }), canned);
    }
    assert.equal(isPrivateAcl(acl, OWNER), canned === 'private', canned);
    assert.equal(isPublicAcl(acl), /^public|^auth/.test(canned), canned);
    assert.deepEqual(decodeAcl(encodeAcl(acl)), acl);
  }
  for (const group of ['AllUsers', 'AuthenticatedUsers', 'LogDelivery'] as const) {
    assert.equal(groupOfUri(groupUri(group)), group);
  }
});

const permission = fc.constantFrom<Permission>(
  'FULL_CONTROL',
  'READ',
  'WRITE',
  'READ_ACP',
  'WRITE_ACP',
);
const grant = fc.record({
  grantee: fc.oneof(
    fc.record({ id: fc.stringMatching(/^[0-9a-f]{64}$/) }),
    fc.record({
      group: fc.constantFrom(
        'AllUsers' as const,
        'AuthenticatedUsers' as const,
        'LogDelivery' as const,
      ),
    }),
  ),
  permission,
});

test('a document that was written is read as what it was', () => {
  fc.assert(
    fc.property(fc.array(grant, { maxLength: 100 }), fc.string(), (grants, displayName) => {
      const names = new Map([[OWNER, displayName]]);
      const xml = accessControlPolicy({ owner: { id: OWNER, displayName }, grants, names });
      const read = readAccessControlPolicy(xml);
      assert.equal(read.owner, OWNER);
      const written = grants.map(({ grantee, permission: given }) => ({
        grantee:
          'id' in grantee
            ? { by: 'id', value: grantee.id }
            : { by: 'uri', value: groupUri(grantee.group) },
        permission: given,
      }));
      const order = (one: { grantee: { by: string } }) => (one.grantee.by === 'uri' ? 0 : 1);
      assert.deepEqual(
        read.grants,
        written.toSorted((left, right) => order(left) - order(right)),
      );
    }),
  );
});
