import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePolicy } from './parse.ts';
import { isPublic } from './public.ts';

type Json = Record<string, unknown>;

function publicWith(...statements: Json[]): boolean {
  const Statement = statements.map((statement) => ({
    Effect: 'Allow',
    Principal: '*',
    Action: 's3:*',
    Resource: ['arn:aws:s3:::photos', 'arn:aws:s3:::photos/*'],
    ...statement,
  }));
  return isPublic(parsePolicy(JSON.stringify({ Version: '2012-10-17', Statement }), 'photos'));
}

test('an allow for everyone is public, for named principals it is not', () => {
  assert.equal(publicWith({}), true);
  assert.equal(publicWith({ Principal: { AWS: ['111122223333', '*'] } }), true);
  assert.equal(publicWith({ Principal: { AWS: '111122223333' } }), false);
  assert.equal(publicWith({ Principal: { CanonicalUser: 'a'.repeat(64) } }), false);
  assert.equal(publicWith({ Principal: { Service: 'logging.s3.amazonaws.com' } }), false);
});

test('denies make a policy neither public nor private', () => {
  assert.equal(publicWith({ Effect: 'Deny' }), false);
  assert.equal(publicWith({}, { Effect: 'Deny' }), true);
});

test('one public statement among others is enough', () => {
  assert.equal(
    publicWith({ Principal: { AWS: '111122223333' } }, { Action: 's3:GetObject' }),
    true,
  );
});

test('conditions bind an allow to few only with fixed values of some keys', () => {
  const table: [condition: Json, expected: boolean][] = [
    [{ IpAddress: { 'aws:SourceIp': '10.0.0.0/32' } }, false],
    [{ IpAddress: { 'aws:SourceIp': ['192.0.2.0/24', '2001:db8::/32'] } }, false],
    [{ IpAddress: { 'aws:SourceIp': '11.0.0.0/8' } }, false],
    [{ IpAddress: { 'aws:SourceIp': '0.0.0.0/1' } }, true],
    [{ IpAddress: { 'aws:SourceIp': ['192.0.2.0/24', '128.0.0.0/2'] } }, true],
    [{ IpAddress: { 'aws:SourceIp': '2000::/3' } }, true],
    [{ IpAddressIfExists: { 'aws:SourceIp': '192.0.2.0/24' } }, true],
    [{ NotIpAddress: { 'aws:SourceIp': '192.0.2.0/24' } }, true],
    [{ StringLike: { 'aws:SourceIp': '192.*' } }, true],
    [{ StringEquals: { 'aws:SourceVpc': 'vpc-91237329' } }, false],
    [{ StringLike: { 'aws:SourceVpc': 'vpc-*' } }, true],
    [{ StringNotEquals: { 'aws:SourceVpc': 'vpc-91237329' } }, true],
    [{ StringEquals: { 'aws:PrincipalOrgID': '${aws:PrincipalOrgID}' } }, true],
    [{ 'ForAllValues:StringEquals': { 'aws:PrincipalOrgPaths': 'o-a/r-b/' } }, true],
    [{ 'ForAnyValue:StringEquals': { 'aws:PrincipalOrgPaths': 'o-a/r-b/' } }, false],
    [{ ArnLike: { 'aws:SourceArn': 'arn:aws:sns:us-east-1:111122223333:topic' } }, false],
    [{ ArnLike: { 'aws:SourceArn': 'arn:aws:sns:*:*:*' } }, true],
    [{ StringLike: { 'aws:userid': 'AROAEXAMPLEID:*' } }, true],
    [
      {
        StringLike: { 's3:DataAccessPointArn': 'arn:aws:s3:us-west-2:123456789012:accesspoint/*' },
      },
      false,
    ],
    [{ StringLike: { 's3:DataAccessPointArn': 'arn:aws:s3:us-west-2:*:accesspoint/x' } }, true],
    [{ StringEquals: { 'aws:Referer': 'http://example.com' } }, true],
    [{ StringEquals: { 's3:ExistingObjectTag/public': 'yes' } }, true],
    [{ Bool: { 'aws:SecureTransport': true } }, true],
    [{ Null: { 'aws:SourceVpc': false } }, true],
  ];
  for (const [Condition, expected] of table) {
    const Action = 's3:GetObject';
    assert.equal(publicWith({ Action, Condition }), expected, JSON.stringify(Condition));
  }
});

test('a second condition can only bind further', () => {
  const Condition = {
    Bool: { 'aws:SecureTransport': true },
    IpAddress: { 'aws:SourceIp': '192.0.2.0/24' },
  };
  assert.equal(publicWith({ Condition }), false);
});
