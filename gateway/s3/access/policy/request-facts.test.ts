import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseQuery } from '../../query.ts';
import type { AccessNeed } from '../needs.ts';
import { decide, readsStored } from './decide.ts';
import { parsePolicy } from './parse.ts';
import type { PolicyPrincipal } from './policy.ts';
import { conditionLookup, type RequestFacts } from './request-facts.ts';

const NOW = Date.UTC(2026, 10, 20, 8, 30);
const ANN: PolicyPrincipal = {
  canonicalId: 'a'.repeat(64),
  accountNumber: '111122223333',
  arn: 'arn:aws:iam::111122223333:user/ann',
  userName: 'ann',
  userId: 'AIDAANN',
};

interface Sent extends Partial<RequestFacts> {
  action?: string;
  rawQuery?: string;
  versionId?: string;
}

function factsOf(sent: Sent): RequestFacts {
  const { action: _, rawQuery, versionId: __, ...rest } = sent;
  return {
    operation: 'PutObject',
    principal: ANN,
    headers: {},
    query: parseQuery(rawQuery ?? ''),
    remoteAddress: '192.0.2.7',
    secure: false,
    nowMs: NOW,
    region: 'eu-central-1',
    resourceAccount: '444455556666',
    ...rest,
  };
}

function needOf({ action = 's3:PutObject', versionId }: Sent): AccessNeed {
  return { action, bucket: 'photos', key: 'k', versionId };
}

function valuesOf(key: string, sent: Sent = {}): readonly string[] | undefined {
  return conditionLookup(factsOf(sent), needOf(sent))(key);
}

test('global keys tell who, when, from where and how', () => {
  assert.deepEqual(valuesOf('aws:sourceip'), ['192.0.2.7']);
  assert.deepEqual(valuesOf('aws:sourceip', { remoteAddress: '::ffff:198.51.100.1' }), [
    '198.51.100.1',
  ]);
  assert.deepEqual(valuesOf('aws:securetransport'), ['false']);
  assert.deepEqual(valuesOf('aws:currenttime'), ['2026-11-20T08:30:00.000Z']);
  assert.deepEqual(valuesOf('aws:epochtime'), [String(NOW / 1_000)]);
  assert.deepEqual(valuesOf('aws:principalarn'), [ANN.arn]);
  assert.deepEqual(valuesOf('aws:principalaccount'), ['111122223333']);
  assert.deepEqual(valuesOf('aws:username'), ['ann']);
  assert.deepEqual(valuesOf('aws:userid'), ['AIDAANN']);
  assert.deepEqual(valuesOf('aws:principaltype'), ['User']);
  assert.deepEqual(valuesOf('aws:resourceaccount'), ['444455556666']);
  assert.deepEqual(valuesOf('aws:requestedregion'), ['eu-central-1']);
  assert.equal(valuesOf('aws:sourcevpc'), undefined);
  assert.equal(valuesOf('aws:multifactorauthpresent'), undefined);
});

test('what a client says of itself is taken from its own headers only', () => {
  const headers = {
    'user-agent': 'aws-cli',
    referer: 'http://example.com/',
    'x-forwarded-for': '10.0.0.1',
    'x-forwarded-proto': 'https',
    'x-amz-existingobjecttag/a': 'b',
    'aws:username': 'root',
  };
  assert.deepEqual(valuesOf('aws:useragent', { headers }), ['aws-cli']);
  assert.deepEqual(valuesOf('aws:referer', { headers }), ['http://example.com/']);
  assert.deepEqual(valuesOf('aws:sourceip', { headers }), ['192.0.2.7']);
  assert.deepEqual(valuesOf('aws:securetransport', { headers }), ['false']);
  assert.deepEqual(valuesOf('aws:username', { headers }), ['ann']);
  assert.equal(valuesOf('s3:existingobjecttag/a', { headers, action: 's3:GetObject' }), undefined);
});

test('an anonymous request has no names, an account has no user name, a service is no account', () => {
  const anonymous = { principal: undefined };
  assert.deepEqual(valuesOf('aws:principaltype', anonymous), ['Anonymous']);
  assert.deepEqual(valuesOf('aws:principalaccount', anonymous), ['anonymous']);
  assert.equal(valuesOf('aws:username', anonymous), undefined);
  assert.equal(valuesOf('aws:principalarn', anonymous), undefined);
  assert.equal(valuesOf('s3:authtype', anonymous), undefined);
  const account = { principal: { ...ANN, userName: undefined } };
  assert.equal(valuesOf('aws:username', account), undefined);
  assert.deepEqual(valuesOf('aws:principaltype', account), ['Account']);
  const service = { principal: { ...ANN, service: 'logging.s3.amazonaws.com' } };
  assert.deepEqual(valuesOf('aws:principalisawsservice', service), ['true']);
  assert.equal(valuesOf('aws:principalarn', service), undefined);
});

test('keys of signatures tell how a request was signed, and the age of presigned URLs', () => {
  const v4 = { headers: { authorization: 'AWS4-HMAC-SHA256 Credential=…' } };
  assert.deepEqual(valuesOf('s3:authtype', v4), ['REST-HEADER']);
  assert.deepEqual(valuesOf('s3:signatureversion', v4), ['AWS4-HMAC-SHA256']);
  assert.equal(valuesOf('s3:signatureage', v4), undefined);
  assert.deepEqual(valuesOf('s3:signatureversion', { headers: { authorization: 'AWS a:b' } }), [
    'AWS',
  ]);
  const url = { rawQuery: 'X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261120T082500Z' };
  assert.deepEqual(valuesOf('s3:authtype', url), ['REST-QUERY-STRING']);
  assert.deepEqual(valuesOf('s3:signatureversion', url), ['AWS4-HMAC-SHA256']);
  assert.deepEqual(valuesOf('s3:signatureage', url), ['300000']);
  const old = { rawQuery: 'AWSAccessKeyId=a&Signature=b&Expires=1' };
  assert.deepEqual(valuesOf('s3:signatureversion', old), ['AWS']);
  assert.equal(valuesOf('s3:signatureage', old), undefined);
  assert.deepEqual(valuesOf('s3:authtype', { form: true }), ['POST']);
});

test('keys of S3 are the headers and parameters of their names, for the actions that take them', () => {
  const headers = {
    'x-amz-acl': 'public-read',
    'x-amz-grant-read': 'id="x"',
    'x-amz-storage-class': 'STANDARD_IA',
    'x-amz-metadata-directive': 'COPY',
    'x-amz-copy-source': 'src/a%20b?versionId=v',
    'x-amz-website-redirect-location': 'http://ex\u00c3\u00a4mple/',
    'if-none-match': '*',
    'x-amz-tagging': 'security=public&a=b',
  };
  const put = { headers };
  assert.deepEqual(valuesOf('s3:x-amz-acl', put), ['public-read']);
  assert.deepEqual(valuesOf('s3:x-amz-grant-read', put), ['id="x"']);
  assert.deepEqual(valuesOf('s3:x-amz-storage-class', put), ['STANDARD_IA']);
  assert.deepEqual(valuesOf('s3:x-amz-metadata-directive', put), ['COPY']);
  assert.deepEqual(valuesOf('s3:x-amz-copy-source', put), ['src/a b', '/src/a b']);
  assert.deepEqual(valuesOf('s3:x-amz-website-redirect-location', put), ['http://exämple/']);
  assert.deepEqual(valuesOf('s3:if-none-match', put), ['*']);
  assert.deepEqual(valuesOf('s3:requestobjecttag/security', put), ['public']);
  assert.deepEqual(valuesOf('s3:requestobjecttagkeys', put), ['security', 'a']);
  assert.equal(
    valuesOf('s3:requestobjecttag/Security', put),
    undefined,
    'keys of tags have a case',
  );
  // The source of a copy is read: what the target gets is no matter there.
  assert.equal(valuesOf('s3:x-amz-acl', { ...put, action: 's3:GetObject' }), undefined);
  assert.equal(valuesOf('s3:x-amz-copy-source', { ...put, action: 's3:GetObject' }), undefined);
  const list = { action: 's3:ListBucket', rawQuery: 'prefix=a%2F&delimiter=/&max-keys=5' };
  assert.deepEqual(valuesOf('s3:prefix', list), ['a/']);
  assert.deepEqual(valuesOf('s3:delimiter', list), ['/']);
  assert.deepEqual(valuesOf('s3:max-keys', list), ['5']);
  assert.equal(valuesOf('s3:prefix', { action: 's3:ListBucket' }), undefined);
  assert.deepEqual(valuesOf('s3:versionid', { action: 's3:GetObjectVersion', versionId: 'v' }), [
    'v',
  ]);
});

test('keys of locks come from headers or from the body', () => {
  const headers = {
    'x-amz-object-lock-mode': 'COMPLIANCE',
    'x-amz-object-lock-retain-until-date': '2026-11-30T08:29:59Z',
    'x-amz-object-lock-legal-hold': 'ON',
  };
  assert.deepEqual(valuesOf('s3:object-lock-mode', { headers }), ['COMPLIANCE']);
  assert.deepEqual(valuesOf('s3:object-lock-legal-hold', { headers }), ['ON']);
  assert.deepEqual(valuesOf('s3:object-lock-retain-until-date', { headers }), [
    '2026-11-30T08:29:59.000Z',
  ]);
  assert.deepEqual(valuesOf('s3:object-lock-remaining-retention-days', { headers }), ['10']);
  const body = { lockMode: 'GOVERNANCE', retainUntilMs: NOW + 1 };
  const retention = { action: 's3:PutObjectRetention', body };
  assert.deepEqual(valuesOf('s3:object-lock-mode', retention), ['GOVERNANCE']);
  assert.deepEqual(valuesOf('s3:object-lock-remaining-retention-days', retention), ['1']);
  assert.equal(valuesOf('s3:object-lock-mode'), undefined);
  assert.equal(valuesOf('s3:object-lock-remaining-retention-days'), undefined);
});

test('only what makes an object is an object creation', () => {
  for (const operation of ['PutObject', 'CopyObject', 'CompleteMultipartUpload', 'PostObject']) {
    assert.deepEqual(valuesOf('s3:objectcreationoperation', { operation }), ['true'], operation);
  }
  for (const operation of ['CreateMultipartUpload', 'UploadPart', 'UploadPartCopy']) {
    assert.deepEqual(valuesOf('s3:objectcreationoperation', { operation }), ['false'], operation);
  }
});

function policyOf(statement: Record<string, unknown>) {
  const Statement = {
    Effect: 'Allow',
    Principal: '*',
    Resource: 'arn:aws:s3:::photos/*',
    ...statement,
  };
  return parsePolicy(JSON.stringify({ Version: '2012-10-17', Statement }), 'photos');
}

test('tags of the object are read only for a policy that asks for them', () => {
  const plain = policyOf({ Action: 's3:GetObject' });
  const sent = { action: 's3:GetObject', operation: 'GetObject' };
  assert.equal(readsStored(plain, 'GetObject', needOf(sent)), undefined);
  assert.equal(decide(plain, factsOf(sent), needOf(sent)), 'allow');
  const tagged = policyOf({
    Action: ['s3:GetObject', 's3:GetObjectTagging'],
    Condition: { StringEquals: { 's3:ExistingObjectTag/security': 'public' } },
  });
  assert.equal(readsStored(tagged, 'GetObject', needOf(sent)), 'object');
  const withTag = (value: string) => ({
    ...factsOf(sent),
    objectTags: [{ key: 'security', value }],
  });
  assert.equal(decide(tagged, withTag('public'), needOf(sent)), 'allow');
  assert.equal(decide(tagged, withTag('no'), needOf(sent)), 'none');
  assert.equal(decide(tagged, factsOf(sent), needOf(sent)), 'none');
  const put = { action: 's3:PutObject' };
  assert.equal(readsStored(tagged, 'PutObject', needOf(put)), undefined, 'takes no such key');
});

test('requests that go on with an upload have the encryption that it was begun with', () => {
  const sealed = policyOf({
    Action: 's3:PutObject',
    Condition: { StringEquals: { 's3:x-amz-server-side-encryption': 'AES256' } },
  });
  const uploadEncryption = { algorithm: 'AES256' };
  for (const operation of ['UploadPart', 'UploadPartCopy', 'CompleteMultipartUpload']) {
    const sent = { operation };
    assert.equal(readsStored(sealed, operation, needOf(sent)), 'upload', operation);
    const facts = { ...factsOf(sent), uploadEncryption };
    assert.equal(decide(sealed, facts, needOf(sent)), 'allow', operation);
  }
  assert.equal(readsStored(sealed, 'PutObject', needOf({})), undefined);
  assert.equal(decide(sealed, factsOf({}), needOf({})), 'none');
  const headers = { 'x-amz-server-side-encryption': 'AES256' };
  assert.equal(decide(sealed, factsOf({ headers }), needOf({})), 'allow');
});
