import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BucketSettings } from '../access/bucket-settings.ts';
import { BUCKET, isCode, OWNER } from '../operations/testing-context.ts';
import { bucketLoggingStatus, readBucketLoggingStatus } from '../xml/bucket-logging-status.ts';
import { type LoggingConfig, logKey } from './config.ts';
import { mayDeliver } from './delivery-right.ts';
import { accessLogLine, type LoggedRequest, sideActionLine } from './record.ts';

const AT = Date.UTC(2026, 1, 6, 0, 0, 38);

function line(changes: Partial<LoggedRequest> = {}, request = {}, reply = {}): string {
  return accessLogLine({
    bucketOwner: OWNER,
    bucket: 'photos',
    key: 'a b/ä',
    atMs: AT,
    requester: OWNER,
    operation: 'GetObject',
    code: undefined,
    sentBytes: 113,
    receivedBytes: 0,
    totalMs: 7.4,
    turnAroundMs: 5,
    ...changes,
    request: {
      id: '3e57427f3example',
      method: 'GET',
      rawPath: '/photos/a%20b/%C3%A4',
      rawQuery: 'versionId=v1',
      headers: {
        host: 'photos.example.com',
        authorization: 'AWS4-HMAC-SHA256 Credential=x',
        'user-agent': 'S3Console/0.4',
      },
      remoteAddress: '::ffff:192.0.2.3',
      secure: true,
      tlsVersion: '1.3',
      ...request,
    },
    reply: {
      status: 200,
      headers: { 'Content-Length': 113, 'x-amz-id-2': 'host==' },
      ...reply,
    },
  });
}

test('a line is as in the format of AWS, field by field', () => {
  assert.equal(
    line(),
    `${OWNER} photos [06/Feb/2026:00:00:38 +0000] 192.0.2.3 ${OWNER} 3E57427F3EXAMPLE REST.GET.OBJECT a%20b/%C3%A4 "GET /photos/a%20b/%C3%A4?versionId=v1 HTTP/1.1" 200 - 113 113 7 5 "-" "S3Console/0.4" v1 host== SigV4 - AuthHeader photos.example.com TLSv1.3 - -\n`,
  );
});

test('what a request does beside what it is about has a line of its own', () => {
  const entry = {
    bucketOwner: OWNER,
    bucket: 'photos',
    atMs: AT,
    requester: OWNER,
    operation: 'DeleteObjects',
    code: undefined,
    sentBytes: 113,
    receivedBytes: 7,
    totalMs: 7,
    turnAroundMs: 5,
    request: {
      id: 'a1',
      method: 'POST',
      rawPath: '/photos',
      rawQuery: 'delete',
      headers: { authorization: 'AWS4-HMAC-SHA256 x', 'user-agent': 'agent' },
      remoteAddress: '192.0.2.3',
      secure: false,
    },
    reply: { status: 200, headers: { 'x-amz-id-2': 'h' } },
  };
  const action = { bucket: 'photos', key: 'a b', versionId: 'v', status: 204, code: undefined };
  const head = `${OWNER} photos [06/Feb/2026:00:00:38 +0000] 192.0.2.3 ${OWNER} A1`;
  assert.equal(
    sideActionLine({ ...action, name: 'BATCH.DELETE.OBJECT' }, entry),
    `${head} BATCH.DELETE.OBJECT a%20b - 204 - - - - - - - v h SigV4 - AuthHeader - - - -\n`,
  );
  assert.equal(
    sideActionLine({ ...action, name: 'REST.COPY.OBJECT_GET', status: 200 }, entry),
    `${head} REST.COPY.OBJECT_GET a%20b "POST /photos?delete HTTP/1.1" 200 - - - 7 5 "-" "agent" v h SigV4 - AuthHeader - - - -\n`,
  );
});

test('what is not there is a dash', () => {
  const bare = { rawQuery: '', headers: {}, tlsVersion: undefined, remoteAddress: '::1' };
  const none = { requester: undefined, key: '', operation: 'ListObjectsV2', sentBytes: 0 };
  assert.equal(
    line({ ...none, code: 'AccessDenied' }, bare, { status: 403, headers: {} }),
    `${OWNER} photos [06/Feb/2026:00:00:38 +0000] ::1 - 3E57427F3EXAMPLE REST.GET.BUCKET - "GET /photos/a%20b/%C3%A4 HTTP/1.1" 403 AccessDenied - - 7 5 "-" "-" - - - - - - - - -\n`,
  );
});

test('no client ends a field or a line', () => {
  const text = line(
    { key: 'a"b\nc' },
    { headers: { 'user-agent': 'x" 200 -\r\nevil', referer: 'http://a/"b"' } },
  );
  assert.equal(text.indexOf('\n'), text.length - 1);
  assert.ok(text.includes('"x%22 200 -%0D%0Aevil"'));
  assert.ok(text.includes('"http://a/%22b%22"'));
  assert.ok(text.includes(' a%22b%0Ac '));
});

test('operations have the names of AWS', () => {
  const cases: [string, string, string, string][] = [
    ['PutObject', 'PUT', 'k', 'REST.PUT.OBJECT'],
    ['CopyObject', 'PUT', 'k', 'REST.COPY.OBJECT'],
    ['UploadPart', 'PUT', 'k', 'REST.PUT.PART'],
    ['CreateMultipartUpload', 'POST', 'k', 'REST.POST.UPLOADS'],
    ['CompleteMultipartUpload', 'POST', 'k', 'REST.POST.UPLOAD'],
    ['DeleteObjects', 'POST', '', 'REST.POST.MULTI_OBJECT_DELETE'],
    ['PutObjectTagging', 'PUT', 'k', 'REST.PUT.OBJECT_TAGGING'],
    ['GetBucketLogging', 'GET', '', 'REST.GET.LOGGING_STATUS'],
    ['ListObjectVersions', 'GET', '', 'REST.GET.BUCKETVERSIONS'],
    ['HeadBucket', 'HEAD', '', 'REST.HEAD.BUCKET'],
    ['WebsiteVisit', 'GET', 'k', 'WEBSITE.GET.OBJECT'],
  ];
  for (const [operation, method, key, name] of cases) {
    assert.ok(line({ operation, key }, { method }).includes(` ${name} `), name);
  }
});

test('sizes are of objects, not of replies', () => {
  const sizeOf = (text: string) => text.split('HTTP/1.1" ')[1]?.split(' ')[3];
  const part = { status: 206, headers: { 'Content-Length': 5, 'Content-Range': 'bytes 0-4/77' } };
  assert.equal(sizeOf(line({}, {}, part)), '77');
  assert.equal(sizeOf(line({ operation: 'PutObject', receivedBytes: 12 })), '12');
  assert.equal(sizeOf(line({ operation: 'ListObjectsV2' })), '-');
});

test('signatures are told by version and place', () => {
  const told = (request: object) => line({}, request).split(' host== ')[1];
  assert.match(told({ headers: { authorization: 'AWS x:y' } }) ?? '', /^SigV2 - AuthHeader /);
  const query = { headers: {}, rawQuery: 'X-Amz-Algorithm=a&X-Amz-Signature=b' };
  assert.match(told(query) ?? '', /^SigV4 - QueryString /);
});

test('log objects are named by format', () => {
  const at = { eventMs: AT, nowMs: AT + 86_400_000, unique: '0123456789ABCDEF' };
  const source = { bucket: 'photos', account: '123456789012', region: 'eu-west-1' };
  const key = (format?: LoggingConfig['format']) =>
    logKey({ bucket: 'logs', prefix: 'p/', ...(format && { format }) }, source, at);
  assert.equal(key(), 'p/2026-02-07-00-00-38-0123456789ABCDEF');
  assert.equal(key('simple'), key());
  const place = 'p/123456789012/eu-west-1/photos/2026/02';
  assert.equal(key('delivery-time'), `${place}/07/2026-02-07-00-00-38-0123456789ABCDEF`);
  assert.equal(key('event-time'), `${place}/06/2026-02-06-00-00-00-0123456789ABCDEF`);
});

const SOURCE = { bucket: 'photos', account: '123456789012' };
const target = (values: Record<string, string>) =>
  new BucketSettings({ ...BUCKET, name: 'logs' }, values);

test('a log is delivered where the policy allows the service, or the ACL the group', () => {
  const statement = (changes: object = {}) =>
    JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { Service: 'logging.s3.amazonaws.com' },
          Action: 's3:PutObject',
          Resource: 'arn:aws:s3:::logs/p/*',
          Condition: {
            ArnLike: { 'aws:SourceArn': 'arn:aws:s3:::photos' },
            StringEquals: { 'aws:SourceAccount': '123456789012' },
          },
          ...changes,
        },
      ],
    });
  const may = (values: Record<string, string>, key = 'p/x', source = SOURCE) =>
    mayDeliver(target(values), key, source);
  assert.equal(may({}), false);
  assert.equal(may({ policy: statement() }), true);
  assert.equal(may({ policy: statement() }, 'q/x'), false);
  assert.equal(may({ policy: statement() }, 'p/x', { ...SOURCE, bucket: 'other' }), false);
  assert.equal(may({ policy: statement() }, 'p/x', { ...SOURCE, account: '1' }), false);
  const acl = JSON.stringify([{ grantee: { group: 'LogDelivery' }, permission: 'WRITE' }]);
  assert.equal(may({ acl }), true);
  assert.equal(may({ acl, policy: statement({ Effect: 'Deny' }) }), false);
  const ownership = JSON.stringify({ ownership: 'BucketOwnerEnforced' });
  assert.equal(may({ acl, ownership }), false);
  assert.equal(may({ ownership, policy: statement() }), true);
  const others = JSON.stringify([{ grantee: { group: 'AllUsers' }, permission: 'WRITE' }]);
  assert.equal(may({ acl: others }), false);
});

test('a document is read as it is written', () => {
  const configs: (LoggingConfig | undefined)[] = [
    undefined,
    { bucket: 'logs', prefix: '' },
    { bucket: 'logs', prefix: 'a&b/', format: 'simple' },
    { bucket: 'logs', prefix: 'p', format: 'event-time' },
    {
      bucket: 'logs',
      prefix: 'p',
      format: 'delivery-time',
      grants: [
        { grantee: { id: OWNER }, permission: 'READ' },
        { grantee: { group: 'AuthenticatedUsers' }, permission: 'FULL_CONTROL' },
      ],
    },
  ];
  for (const config of configs) {
    assert.deepEqual(readBucketLoggingStatus(bucketLoggingStatus(config)), config);
  }
});

test('what the document must not say is refused', () => {
  const read = (inner: string) => () =>
    readBucketLoggingStatus(
      `<BucketLoggingStatus><LoggingEnabled>${inner}</LoggingEnabled></BucketLoggingStatus>`,
    );
  const place = '<TargetBucket>b</TargetBucket>';
  for (const bad of [
    '',
    `${place}<Other/>`,
    `${place}<TargetObjectKeyFormat/>`,
    `${place}<TargetObjectKeyFormat><SimplePrefix/><PartitionedPrefix/></TargetObjectKeyFormat>`,
    `${place}<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>x</PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat>`,
    `${place}<TargetGrants><Grant><Grantee><ID>${OWNER}</ID></Grantee><Permission>READ_ACP</Permission></Grant></TargetGrants>`,
  ]) {
    assert.throws(read(bad), isCode('MalformedXML'), bad);
  }
  const mail =
    '<TargetGrants><Grant><Grantee><EmailAddress>a@b</EmailAddress></Grantee><Permission>READ</Permission></Grant></TargetGrants>';
  assert.throws(read(place + mail), isCode('InvalidArgument'));
});
