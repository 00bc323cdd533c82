import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Event } from '@aws-sdk/client-s3';
import { useReceiver } from '../support/receiver.ts';
import { refusedWith, useInspectedServer } from '../support/server.ts';

const receiver = useReceiver();
const server = useInspectedServer({
  config: {
    events: {
      keepMs: 60_000,
      targets: [
        {
          name: 'hook',
          type: 'webhook',
          get url() {
            return receiver.url;
          },
          token: 'open-sesame',
          timeoutMs: 2000,
        },
        { name: 'nobody', type: 'webhook', url: 'http://127.0.0.1:1/', timeoutMs: 500 },
      ],
    },
  },
});

const HOOK = 'arn:aws:sqs:us-east-1:0:hook';

async function listening(
  rules: { events: Event[]; prefix?: string; suffix?: string; id?: string }[],
): Promise<string> {
  const bucket = await server.bucket();
  await server.s3.putBucketNotificationConfiguration({
    Bucket: bucket,
    NotificationConfiguration: {
      QueueConfigurations: rules.map(({ id, events, prefix, suffix }) => ({
        Id: id,
        QueueArn: HOOK,
        Events: events,
        Filter: {
          Key: {
            FilterRules: [
              ...(prefix === undefined ? [] : [{ Name: 'prefix' as const, Value: prefix }]),
              ...(suffix === undefined ? [] : [{ Name: 'suffix' as const, Value: suffix }]),
            ],
          },
        },
      })),
    },
  });
  return bucket;
}

describe('event notifications', () => {
  test('an object that is put is told as S3 tells it', async () => {
    const bucket = await listening([{ id: 'all', events: ['s3:ObjectCreated:*'] }]);
    const Key = 'a folder/ä+(1).txt';
    const put = await server.s3.putObject({ Bucket: bucket, Key, Body: 'hello' });
    const [event] = await receiver.until(1, bucket);
    assert.ok(event);
    const { eventTime, responseElements, userIdentity, s3, ...rest } = event;
    assert.deepEqual(rest, {
      eventVersion: '2.1',
      eventSource: 'aws:s3',
      awsRegion: 'us-east-1',
      eventName: 'ObjectCreated:Put',
      requestParameters: { sourceIPAddress: '127.0.0.1' },
    });
    assert.match(eventTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.equal(responseElements['x-amz-request-id'], put.$metadata.requestId);
    assert.match(userIdentity.principalId, /^[0-9a-f]{64}$/);
    const { sequencer, ...object } = s3.object;
    assert.match(sequencer, /^[0-9A-F]{32}$/);
    assert.deepEqual(object, {
      key: 'a+folder/%C3%A4%2B%281%29.txt',
      size: 5,
      eTag: put.ETag?.replaceAll('"', ''),
    });
    assert.deepEqual(
      { ...s3, object: undefined },
      {
        s3SchemaVersion: '1.0',
        configurationId: 'all',
        bucket: {
          name: bucket,
          ownerIdentity: { principalId: userIdentity.principalId },
          arn: `arn:aws:s3:::${bucket}`,
        },
        object: undefined,
      },
    );
    assert.ok(receiver.authorizations.every((value) => value === 'Bearer open-sesame'));
  });

  test('every kind of change is told once, and only what is asked for', async () => {
    const bucket = await listening([
      { events: ['s3:ObjectCreated:*', 's3:ObjectRemoved:*', 's3:ObjectTagging:*'], prefix: 'in/' },
    ]);
    const { s3 } = server;
    const Bucket = bucket;
    await s3.putObject({ Bucket, Key: 'out', Body: 'x' });
    await s3.putObject({ Bucket, Key: 'in/a', Body: 'x' });
    await s3.copyObject({ Bucket, Key: 'in/b', CopySource: `${bucket}/in/a` });
    const Tagging = { TagSet: [{ Key: 'k', Value: 'v' }] };
    await s3.putObjectTagging({ Bucket, Key: 'in/a', Tagging });
    await s3.deleteObjectTagging({ Bucket, Key: 'in/a' });
    const { UploadId } = await s3.createMultipartUpload({ Bucket, Key: 'in/c' });
    const part = await s3.uploadPart({
      Bucket,
      Key: 'in/c',
      UploadId,
      PartNumber: 1,
      Body: 'part',
    });
    const Parts = [{ PartNumber: 1, ETag: part.ETag }];
    await s3.completeMultipartUpload({ Bucket, Key: 'in/c', UploadId, MultipartUpload: { Parts } });
    await s3.deleteObject({ Bucket, Key: 'in/a' });
    await s3.deleteObject({ Bucket, Key: 'in/none' });
    await s3.deleteObjects({ Bucket, Delete: { Objects: [{ Key: 'in/b' }, { Key: 'out' }] } });
    const events = await receiver.until(7, bucket);
    const inOrder = events.toSorted((one, other) =>
      one.s3.object.sequencer < other.s3.object.sequencer ? -1 : 1,
    );
    assert.deepEqual(
      inOrder.map(({ eventName, s3: { object } }) => [eventName, object.key]),
      [
        ['ObjectCreated:Put', 'in/a'],
        ['ObjectCreated:Copy', 'in/b'],
        ['ObjectTagging:Put', 'in/a'],
        ['ObjectTagging:Delete', 'in/a'],
        ['ObjectCreated:CompleteMultipartUpload', 'in/c'],
        ['ObjectRemoved:Delete', 'in/a'],
        ['ObjectRemoved:Delete', 'in/b'],
      ],
    );
    assert.equal(inOrder[2]?.eventVersion, '2.3');
  });

  test('delete markers and versions are named', async () => {
    const bucket = await listening([{ events: ['s3:ObjectRemoved:*'], suffix: '.jpg' }]);
    const Bucket = bucket;
    const VersioningConfiguration = { Status: 'Enabled' as const };
    await server.s3.putBucketVersioning({ Bucket, VersioningConfiguration });
    const put = await server.s3.putObject({ Bucket, Key: 'a.jpg', Body: 'x' });
    await server.s3.putObject({ Bucket, Key: 'a.png', Body: 'x' });
    await server.s3.deleteObject({ Bucket, Key: 'a.png' });
    const marker = await server.s3.deleteObject({ Bucket, Key: 'a.jpg' });
    await server.s3.deleteObject({ Bucket, Key: 'a.jpg', VersionId: put.VersionId });
    const events = await receiver.until(2, bucket);
    assert.deepEqual(
      events.map(({ eventName, s3 }) => `${eventName} ${s3.object.versionId}`).toSorted(),
      [
        `ObjectRemoved:Delete ${put.VersionId}`,
        `ObjectRemoved:DeleteMarkerCreated ${marker.VersionId}`,
      ],
    );
  });

  test('a target that refuses is told later, and nothing is lost', async () => {
    const bucket = await listening([{ events: ['s3:ObjectCreated:Put'] }]);
    receiver.status = 503;
    try {
      for (const Key of ['a', 'b', 'c']) await server.s3.putObject({ Bucket: bucket, Key });
      const deadline = performance.now() + 10_000;
      for (;;) {
        const [backlog] = await server.meta.eventStatus({ limit: 10 });
        if (backlog?.problem !== undefined) {
          assert.equal(backlog.waiting, 3);
          assert.match(backlog.problem, /hook answered 503/);
          break;
        }
        assert.ok(performance.now() < deadline);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    } finally {
      receiver.status = 200;
    }
    const events = await receiver.until(3, bucket);
    assert.deepEqual(events.map(({ s3 }) => s3.object.key).sort(), ['a', 'b', 'c']);
  });

  test('a configuration comes back as it was sent, and an empty one takes it away', async () => {
    const bucket = await listening([
      { id: 'one', events: ['s3:ObjectCreated:Put'], prefix: 'a/', suffix: '.x' },
      { id: 'two', events: ['s3:ObjectCreated:Put'], prefix: 'b/' },
    ]);
    const Bucket = bucket;
    const { QueueConfigurations } = await server.s3.getBucketNotificationConfiguration({ Bucket });
    assert.deepEqual(QueueConfigurations, [
      {
        Id: 'one',
        QueueArn: HOOK,
        Events: ['s3:ObjectCreated:Put'],
        Filter: {
          Key: {
            FilterRules: [
              { Name: 'Prefix', Value: 'a/' },
              { Name: 'Suffix', Value: '.x' },
            ],
          },
        },
      },
      {
        Id: 'two',
        QueueArn: HOOK,
        Events: ['s3:ObjectCreated:Put'],
        Filter: { Key: { FilterRules: [{ Name: 'Prefix', Value: 'b/' }] } },
      },
    ]);
    const tests = receiver.bodies.map((body) => JSON.parse(body) as Record<string, string>);
    const own = tests.filter((body) => body['Bucket'] === bucket);
    assert.equal(own.length, 1);
    assert.equal(own[0]?.['Event'], 's3:TestEvent');
    await server.s3.putBucketNotificationConfiguration({ Bucket, NotificationConfiguration: {} });
    const empty = await server.s3.getBucketNotificationConfiguration({ Bucket });
    assert.equal(empty.QueueConfigurations, undefined);
    await server.s3.putObject({ Bucket, Key: 'a/a.x' });
    assert.deepEqual(await server.meta.eventStatus({ limit: 10 }), []);
  });

  test('what cannot be done is refused', async () => {
    const Bucket = await server.bucket();
    const put = (QueueArn: string, events: string[], more = {}) =>
      server.s3.putBucketNotificationConfiguration({
        Bucket,
        NotificationConfiguration: {
          QueueConfigurations: [{ QueueArn, Events: events as Event[] }],
          ...more,
        },
      });
    const created = ['s3:ObjectCreated:*'];
    const absent = await refusedWith('InvalidArgument', put(`${HOOK}-2`, created));
    assert.equal(absent.message, 'Unable to validate the following destination configurations');
    await refusedWith('InvalidArgument', put('arn:aws:sqs:us-east-1:0:nobody', created));
    await refusedWith('InvalidArgument', put('arn:aws:sns:us-east-1:0:hook', created));
    await refusedWith('InvalidArgument', put('hook', created));
    await refusedWith('InvalidArgument', put(HOOK, ['s3:ObjectCreated']));
    await refusedWith('NotImplemented', put(HOOK, ['s3:ObjectRestore:*']));
    await refusedWith('NotImplemented', put(HOOK, created, { EventBridgeConfiguration: {} }));
    const TopicConfigurations = [
      { TopicArn: 'arn:aws:sns:us-east-1:0:hook', Events: ['s3:ObjectCreated:Put' as const] },
    ];
    await refusedWith('InvalidArgument', put(HOOK, created, { TopicConfigurations }));
    const none = await server.s3.getBucketNotificationConfiguration({ Bucket });
    assert.equal(none.QueueConfigurations, undefined);
  });
});
