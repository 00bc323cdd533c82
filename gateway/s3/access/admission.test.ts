import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectRecord } from '../../../meta/protocol.ts';
import type { Account } from '../auth/identity.ts';
import { BUCKET, isCode } from '../operations/testing-context.ts';
import { parseQuery } from '../query.ts';
import { Admission } from './admission.ts';
import { BucketSettings } from './bucket-settings.ts';

const BOB: Account = {
  id: 'b'.repeat(64),
  number: '222222222222',
  displayName: 'bob',
  root: false,
};
const NOBODY = { account: () => Promise.resolve(undefined), known: () => undefined };

function settings(...statements: object[]): BucketSettings {
  const Resource = `arn:aws:s3:::${BUCKET.name}/*`;
  const Statement = statements.map((one) => ({ Principal: '*', Resource, ...one }));
  return new BucketSettings(BUCKET, {
    ownership: '{"ownership":"BucketOwnerEnforced"}',
    policy: JSON.stringify({ Version: '2012-10-17', Statement }),
  });
}

function admission(operation: string, ...actions: string[]): Admission {
  const { name: bucket } = BUCKET;
  return new Admission(
    {
      account: BOB,
      accounts: { ...NOBODY, names: () => Promise.resolve(new Map()) },
      facts: {
        operation,
        principal: {
          canonicalId: BOB.id,
          accountNumber: BOB.number,
          arn: `arn:aws:iam::${BOB.number}:root`,
          userName: undefined,
          userId: BOB.number,
        },
        headers: {},
        query: parseQuery(''),
        remoteAddress: '192.0.2.1',
        secure: true,
        nowMs: 0,
        region: 'us-east-1',
      },
    },
    actions.map((action) => ({ action, bucket, key: 'k', versionId: undefined })),
    [],
  );
}

test('a policy that comes to ask for the body after it has been read gets it', async () => {
  const allow = { Effect: 'Allow', Action: 's3:PutObjectTagging' };
  const deny = {
    Effect: 'Deny',
    Action: 's3:PutObjectTagging',
    Condition: { StringEquals: { 's3:RequestObjectTag/secret': 'yes' } },
  };
  for (const [value, allowed] of [
    ['yes', false],
    ['no', true],
  ] as const) {
    const one = admission('PutObjectTagging', 's3:PutObjectTagging');
    await one.judge(settings(allow));
    assert.equal(one.awaitsBody, false);
    one.read(() => ({ tags: [{ key: 'secret', value }] }));
    const again = async () => await one.judge(settings(allow, deny));
    if (allowed) {
      await again();
      assert.ok(one.settled());
    } else await assert.rejects(again, isCode('AccessDenied'));
  }
});

test('an object that was judged is judged again by other settings', async () => {
  const allow = { Effect: 'Allow', Action: ['s3:GetObject', 's3:PutObject'] };
  const deny = {
    Effect: 'Deny',
    Action: 's3:GetObject',
    Condition: { StringEquals: { 's3:ExistingObjectTag/secret': 'yes' } },
  };
  const object: ObjectRecord = {
    version: '0'.repeat(32),
    size: 1,
    etag: 'e',
    modifiedMs: 0,
    owner: BUCKET.owner,
    data: { kind: 'none' },
    system: {},
    user: {},
    tags: [{ key: 'secret', value: 'yes' }],
  };
  const one = admission('CopyObject', 's3:PutObject', 's3:GetObject');
  await one.judge(settings(allow));
  one.object(settings(allow), 'k', object);
  const closed = settings(allow, deny);
  await assert.rejects(async () => await one.judge(closed), isCode('AccessDenied'));
});
