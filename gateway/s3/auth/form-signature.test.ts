/** The worked example of AWS's "Browser-based upload using HTTP POST", and what may go wrong. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { S3Error } from '../errors.ts';

import { authenticateForm } from './form-signature.ts';
import { codeOf, EXAMPLE, keysOf } from './test-support.ts';

/** As AWS printed it. */
const POLICY =
  'eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9';

const V4: Record<string, string> = {
  'x-amz-algorithm': 'AWS4-HMAC-SHA256',
  'x-amz-credential': 'AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request',
  'x-amz-date': '20151229T000000Z',
  policy: POLICY,
  'x-amz-signature': '8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e',
};

const V2: Record<string, string> = {
  awsaccesskeyid: EXAMPLE.accessKey,
  policy: POLICY,
  signature: createHmac('sha1', EXAMPLE.secretKey).update(POLICY).digest('base64'),
};

function authenticate(fields: Record<string, string | undefined>, v2 = true) {
  const given = Object.entries(fields).flatMap(([name, value]): [string, string][] =>
    value === undefined ? [] : [[name, value]],
  );
  return authenticateForm(new Map(given), {
    credentials: keysOf(EXAMPLE),
    region: 'us-east-1',
    now: 0,
    signatureV2: v2 ? { domains: [] } : undefined,
  });
}

test('the example of AWS is accepted', () => {
  assert.equal(authenticate(V4)?.accessKey, EXAMPLE.accessKey);
  assert.equal(authenticate(V4, false)?.accessKey, EXAMPLE.accessKey);
});

test('Version 2 is accepted where it is on, and names the setting where it is not', () => {
  assert.equal(authenticate(V2)?.accessKey, EXAMPLE.accessKey);
  assert.throws(() => authenticate(V2, false), { code: 'InvalidRequest', message: /signatureV2/ });
});

test('a form without a policy and without any field of a signature is nobody’s', () => {
  assert.equal(authenticate({ key: 'a', acl: 'private' }), undefined);
});

test('each field of a signature is needed once there is one, or a policy', () => {
  for (const [fields, names] of [
    [V4, Object.keys(V4)],
    [V2, Object.keys(V2)],
  ] as const) {
    for (const name of names) {
      for (const value of [undefined, '']) {
        assert.throws(
          () => authenticate({ ...fields, [name]: value }),
          (error) =>
            error instanceof S3Error &&
            error.code === 'InvalidArgument' &&
            error.details['ArgumentName']?.toLowerCase() === name,
          name,
        );
      }
    }
  }
  assert.equal(
    codeOf(() => authenticate({ policy: POLICY })),
    'InvalidArgument',
  );
});

test('a changed policy or signature, another secret or key are refused', () => {
  const nobody = { awsaccesskeyid: 'AKIANOBODY' };
  const table: [Record<string, string>, Record<string, string>, string][] = [
    [V4, { policy: `${POLICY}A` }, 'SignatureDoesNotMatch'],
    [V4, { 'x-amz-signature': 'f'.repeat(64) }, 'SignatureDoesNotMatch'],
    [V4, { 'x-amz-signature': 'f' }, 'SignatureDoesNotMatch'],
    [V4, { 'x-amz-credential': 'NOBODY/20151229/us-east-1/s3/aws4_request' }, 'InvalidAccessKeyId'],
    [V4, { 'x-amz-credential': 'A/20151229/us-east-2/s3/aws4_request' }, 'InvalidArgument'],
    [V4, { 'x-amz-credential': 'A/20151229/us-east-1/ec2/aws4_request' }, 'InvalidArgument'],
    [V4, { 'x-amz-credential': '' }, 'InvalidArgument'],
    [V4, { 'x-amz-date': '20151230T000000Z' }, 'InvalidArgument'],
    [V4, { 'x-amz-date': '20151229' }, 'InvalidArgument'],
    [V4, { 'x-amz-algorithm': 'AWS4-HMAC-SHA1' }, 'InvalidArgument'],
    [V4, { 'x-amz-security-token': 't' }, 'InvalidToken'],
    [V4, { awsaccesskeyid: EXAMPLE.accessKey }, 'InvalidArgument'],
    [V2, { policy: `${POLICY}A` }, 'SignatureDoesNotMatch'],
    [V2, { signature: 'x' }, 'SignatureDoesNotMatch'],
    [V2, nobody, 'InvalidAccessKeyId'],
    [V2, { 'x-amz-signature': 'f' }, 'InvalidArgument'],
  ];
  for (const [fields, change, code] of table) {
    assert.equal(
      codeOf(() => authenticate({ ...fields, ...change })),
      code,
      JSON.stringify(change),
    );
  }
});
