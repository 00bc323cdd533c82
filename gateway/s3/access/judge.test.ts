/** The decision, held against a second reading of S3's rules, written as a list of reasons to allow. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Grant, Permission } from '../../../meta/protocol.ts';
import type { Account } from '../auth/identity.ts';
import { OPERATION_NAMES } from '../operation.ts';
import { BUCKET } from '../operations/testing-context.ts';
import { parseQuery } from '../query.ts';
import { REGISTRY } from '../registry.ts';
import { encodeAcl } from './acl.ts';
import { BucketSettings } from './bucket-settings.ts';
import { isAboutStored, judge, type JudgedObject, type Question } from './judge.ts';
import { deleteNeeds, requiredAccess } from './needs.ts';
import { encodeOwnership, OBJECT_OWNERSHIPS, type ObjectOwnership } from './ownership.ts';
import { ACTIONS } from './policy/actions.ts';
import { encodePublicAccessBlock, type PublicAccessBlock } from './public-access-block.ts';

function person(digit: string, root = false): Account {
  return { id: digit.repeat(64), number: digit.repeat(12), displayName: `account ${digit}`, root };
}

const OWNER = person('1');
const WRITER = person('2');
const STRANGER = person('3');
const ROOT = person('9', true);
const ASKERS = { owner: OWNER, writer: WRITER, stranger: STRANGER, root: ROOT, nobody: undefined };
type Asker = keyof typeof ASKERS;

const PERMISSIONS: Permission[] = ['FULL_CONTROL', 'READ', 'WRITE', 'READ_ACP', 'WRITE_ACP'];
const grant = fc.record<Grant>({
  grantee: fc.constantFrom<Grant['grantee']>(
    { id: OWNER.id },
    { id: WRITER.id },
    { id: STRANGER.id },
    { group: 'AllUsers' },
    { group: 'AuthenticatedUsers' },
    { group: 'LogDelivery' },
  ),
  permission: fc.constantFrom(...PERMISSIONS),
});
const acl = fc.array(grant, { maxLength: 3 });

/** What the policy says of every action and everybody, or of one account. */
type Policy = 'none' | 'allow everybody' | 'allow stranger' | 'deny everybody' | 'deny owner';
const POLICIES: Policy[] = [
  'none',
  'allow everybody',
  'allow stranger',
  'deny everybody',
  'deny owner',
];

function policyText(policy: Policy): string | undefined {
  if (policy === 'none') return undefined;
  const [effect, whom] = policy.split(' ');
  const account = whom === 'stranger' ? STRANGER : OWNER;
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: {
      Effect: effect === 'allow' ? 'Allow' : 'Deny',
      Principal: whom === 'everybody' ? '*' : { AWS: account.number },
      Action: 's3:*',
      Resource: ['arn:aws:s3:::photos', 'arn:aws:s3:::photos/*'],
    },
  });
}

const BUCKET_ACTIONS = [
  's3:ListBucket',
  's3:ListBucketVersions',
  's3:ListBucketMultipartUploads',
  's3:GetBucketAcl',
  's3:PutBucketAcl',
  's3:GetBucketPolicy',
  's3:PutBucketPolicy',
  's3:DeleteBucketPolicy',
  's3:PutBucketVersioning',
  's3:DeleteBucket',
] as const;
const NEW_OBJECT_ACTIONS = ['s3:PutObject', 's3:DeleteObject', 's3:DeleteObjectVersion'] as const;
const OBJECT_ACTIONS = [
  's3:GetObject',
  's3:GetObjectVersion',
  's3:GetObjectAttributes',
  's3:GetObjectAcl',
  's3:PutObjectAcl',
  's3:GetObjectTagging',
  's3:PutObjectTagging',
] as const;

interface Case {
  asker: Asker;
  action: string;
  ownership: ObjectOwnership;
  bucketAcl: Grant[] | undefined;
  objectAcl: Grant[] | undefined;
  objectOwner: 'owner' | 'writer';
  policy: Policy;
  block: PublicAccessBlock;
}

const cases: fc.Arbitrary<Case> = fc.record({
  asker: fc.constantFrom<Asker>('owner', 'writer', 'stranger', 'root', 'nobody'),
  action: fc.constantFrom(...BUCKET_ACTIONS, ...NEW_OBJECT_ACTIONS, ...OBJECT_ACTIONS),
  ownership: fc.constantFrom(...OBJECT_OWNERSHIPS),
  bucketAcl: fc.option(acl, { nil: undefined }),
  objectAcl: fc.option(acl, { nil: undefined }),
  objectOwner: fc.constantFrom('owner', 'writer'),
  policy: fc.constantFrom(...POLICIES),
  block: fc.record({
    blockPublicAcls: fc.boolean(),
    ignorePublicAcls: fc.boolean(),
    blockPublicPolicy: fc.boolean(),
    restrictPublicBuckets: fc.boolean(),
  }),
});

const isObjectAction = (action: string): boolean => OBJECT_ACTIONS.some((one) => one === action);
const isBucketAction = (action: string): boolean => BUCKET_ACTIONS.some((one) => one === action);

/** Whether a list mentions the asker with one of the permissions. */
function listed(given: Grant[], wanted: Permission[], { asker, block }: Case): boolean {
  const names: string[] = [];
  const who = ASKERS[asker];
  if (who !== undefined) names.push(who.id);
  if (!block.ignorePublicAcls) names.push('AllUsers');
  if (!block.ignorePublicAcls && who !== undefined) names.push('AuthenticatedUsers');
  return given.some(({ grantee, permission }) => {
    const name = 'id' in grantee ? grantee.id : grantee.group;
    return names.includes(name) && [...wanted, 'FULL_CONTROL'].includes(permission);
  });
}

/** The second reading: every reason for a yes, after every reason for a no. */
function naive(one: Case): boolean {
  const { asker, action, policy, ownership, block } = one;
  const hasOwnersRights = asker === 'owner' || asker === 'root';
  const denies = policy === 'deny everybody' || (policy === 'deny owner' && asker === 'owner');
  if (denies) return hasOwnersRights && action.endsWith('BucketPolicy');

  const lists = ownership !== 'BucketOwnerEnforced';
  const isPublicPolicy = policy === 'allow everybody';
  const policyAllows =
    (isPublicPolicy && (hasOwnersRights || !block.restrictPublicBuckets)) ||
    (policy === 'allow stranger' && asker === 'stranger');

  if (isObjectAction(action) && lists) {
    const owner = one.objectOwner;
    if (asker === 'root' || asker === owner) return true;
    // Of what somebody else owns the bucket's owner may change the tags, and not look inside.
    if (asker === 'owner' && action.endsWith('Tagging')) return true;
    if (owner === 'owner' && policyAllows) return true;
    const given = one.objectAcl ?? [];
    if (action.endsWith('Tagging')) return false;
    if (action === 's3:GetObjectAcl') return listed(given, ['READ_ACP'], one);
    if (action === 's3:PutObjectAcl') return listed(given, ['WRITE_ACP'], one);
    return listed(given, ['READ'], one);
  }
  if (hasOwnersRights || policyAllows) return true;
  if (!lists || isObjectAction(action)) return false;
  const given = one.bucketAcl ?? [];
  if (action.startsWith('s3:ListBucket')) return listed(given, ['READ'], one);
  if (action === 's3:PutObject' || action === 's3:DeleteObject') {
    return listed(given, ['WRITE'], one);
  }
  if (action === 's3:GetBucketAcl') return listed(given, ['READ_ACP'], one);
  if (action === 's3:PutBucketAcl') return listed(given, ['WRITE_ACP'], one);
  return false;
}

function questionOf(one: Case): Question {
  const policy = policyText(one.policy);
  const account = ASKERS[one.asker];
  const settings = new BucketSettings(
    { ...BUCKET, owner: OWNER.id },
    {
      ownership: encodeOwnership(one.ownership),
      'public-access-block': encodePublicAccessBlock(one.block),
      ...(policy && { policy }),
      ...(one.bucketAcl && { acl: encodeAcl(one.bucketAcl) }),
    },
  );
  return {
    settings,
    account,
    need: {
      action: one.action,
      bucket: 'photos',
      key: isBucketAction(one.action) ? '' : 'a',
      versionId: undefined,
    },
    facts: {
      operation: 'Test',
      principal: account && {
        canonicalId: account.id,
        accountNumber: account.number,
        arn: `arn:aws:iam::${account.number}:root`,
        userName: undefined,
        userId: account.number,
      },
      headers: {},
      query: parseQuery(''),
      remoteAddress: '192.0.2.1',
      secure: false,
      nowMs: 0,
      region: 'us-east-1',
      resourceAccount: OWNER.number,
    },
  };
}

const objectOf = ({ objectOwner, objectAcl }: Case): JudgedObject => ({
  owner: ASKERS[objectOwner].id,
  acl: objectAcl,
  tags: undefined,
});

test('every decision is that of a second reading of the rules', () => {
  fc.assert(
    fc.property(cases, (one) => {
      const question = { ...questionOf(one), object: objectOf(one) };
      assert.equal(judge(question), naive(one) ? 'allow' : 'deny');
    }),
    { numRuns: 5000 },
  );
});

test('what is decided without the object is decided the same with it', () => {
  fc.assert(
    fc.property(cases, (one) => {
      const question = questionOf(one);
      const first = judge(question);
      const second = judge({ ...question, object: objectOf(one) });
      if (first === 'object') assert.ok(isObjectAction(one.action));
      else assert.equal(first, second);
    }),
    { numRuns: 3000 },
  );
});

test('a grant or an allow never takes a right away, and a deny never gives one', () => {
  const allowed = (one: Case) => judge({ ...questionOf(one), object: objectOf(one) }) === 'allow';
  fc.assert(
    fc.property(cases, grant, (one, more) => {
      const wider = { ...one, bucketAcl: [...(one.bucketAcl ?? []), more] };
      const widest = { ...wider, objectAcl: [...(one.objectAcl ?? []), more] };
      if (allowed(one)) assert.ok(allowed(widest));
      if (one.policy === 'none' && allowed(one)) {
        assert.ok(allowed({ ...one, policy: 'allow everybody' }));
      }
      if (allowed({ ...one, policy: 'deny everybody' })) {
        assert.ok(one.action.endsWith('BucketPolicy'));
      }
    }),
    { numRuns: 2000 },
  );
});

test('in a bucket as AWS makes them now nobody but the owner has any right', () => {
  const everything = {
    blockPublicAcls: true,
    ignorePublicAcls: true,
    blockPublicPolicy: true,
    restrictPublicBuckets: true,
  };
  fc.assert(
    fc.property(cases, (one) => {
      const asMade: Case = { ...one, ownership: 'BucketOwnerEnforced', block: everything };
      const verdict = judge({ ...questionOf(asMade), object: objectOf(asMade) });
      const mine = one.asker === 'owner' || one.asker === 'root';
      if (!mine && one.policy !== 'allow stranger') assert.equal(verdict, 'deny');
      if (mine && one.policy === 'none') assert.equal(verdict, 'allow');
    }),
  );
});

test('whoever began an upload may list and abort it, others may not', () => {
  const base: Case = {
    asker: 'writer',
    action: 's3:AbortMultipartUpload',
    ownership: 'ObjectWriter',
    bucketAcl: [{ grantee: { group: 'AllUsers' }, permission: 'WRITE' }],
    objectAcl: undefined,
    objectOwner: 'owner',
    policy: 'none',
    block: {
      blockPublicAcls: false,
      ignorePublicAcls: false,
      blockPublicPolicy: false,
      restrictPublicBuckets: false,
    },
  };
  const upload = { initiator: WRITER.id, encryption: undefined };
  for (const action of ['s3:AbortMultipartUpload', 's3:ListMultipartUploadParts']) {
    const question = questionOf({ ...base, action });
    assert.equal(judge(question), 'upload');
    assert.equal(judge({ ...question, upload }), 'allow');
    const stranger = questionOf({ ...base, action, asker: 'stranger' });
    assert.equal(judge({ ...stranger, upload }), 'deny');
    assert.equal(judge(questionOf({ ...base, action, asker: 'nobody' })), 'deny');
    assert.equal(judge(questionOf({ ...base, action, asker: 'owner' })), 'allow');
  }
});

test('headers of a new object need no ACL of one that is there', () => {
  const need = { action: 's3:PutObjectAcl', bucket: 'photos', key: 'a', versionId: undefined };
  assert.equal(isAboutStored('PutObject', need), false);
  assert.equal(isAboutStored('CopyObject', need), false);
  assert.equal(isAboutStored('PutObjectAcl', need), true);
  assert.equal(isAboutStored('CopyObject', { ...need, action: 's3:GetObject' }), true);
  assert.equal(isAboutStored('GetObject', { ...need, key: '' }), false);
});

test('every right that an operation can need is an action of S3', () => {
  const headers = {
    'x-amz-acl': 'private',
    'x-amz-tagging': 'a=b',
    'x-amz-object-lock-mode': 'GOVERNANCE',
    'x-amz-object-lock-legal-hold': 'ON',
    'x-amz-bucket-object-lock-enabled': 'true',
    'x-amz-object-ownership': 'ObjectWriter',
    'x-amz-bypass-governance-retention': 'true',
    'x-amz-copy-source': 'photos/b?versionId=null',
    'x-amz-rename-source': 'b',
  };
  for (const name of OPERATION_NAMES) {
    const operation = REGISTRY[name];
    for (const query of ['', 'versionId=null']) {
      const asked = { bucket: 'photos', key: 'a', query: parseQuery(query), headers };
      const needs = requiredAccess(operation, asked);
      const all = needs === 'per-object' ? deleteNeeds('photos', { key: 'a' }, true) : needs;
      for (const { action } of all) assert.ok(ACTIONS.has(action.toLowerCase()), action);
    }
  }
});
