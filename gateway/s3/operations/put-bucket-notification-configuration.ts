import { isFailure } from '../../../base/failure.ts';
import { withinLimit } from '../config-size.ts';
import { S3Error } from '../errors.ts';
import {
  checkNotifications,
  encodeNotifications,
  NOTIFICATION_CONFIG,
  type NotificationRule,
  targetOfArn,
  unreachableTarget,
} from '../notification-config.ts';
import { type Context, defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { targetOwner } from '../target-owner.ts';
import { readNotificationConfiguration } from '../xml/notification-configuration.ts';

interface Input {
  bucket: string;
  /** A rule without an id has an empty one. */
  rules: NotificationRule[];
  /** Targets are not sent a message to see whether they are there. */
  skip: boolean;
}

/**
 * PutBucketNotificationConfiguration: these rules and no others. Every target gets a test event
 * first; one that does not take it is InvalidArgument.
 */
export const putBucketNotificationConfiguration = defineOperation<Input, null>({
  name: 'PutBucketNotificationConfiguration',
  permission: 's3:PutBucketNotification',
  body: 'xml',
  query: ['notification'],
  parse({ bucket, xml, headers }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    const skip = headers['x-amz-skip-destination-validation']?.toLowerCase() === 'true';
    return { bucket, rules: readNotificationConfiguration(xml, () => ''), skip };
  },
  async execute({ bucket, rules, skip }, context) {
    for (const [index, rule] of rules.entries()) {
      if (rule.id === '') rule.id = `${context.requestId}-${index + 1}`;
    }
    const { notifications, meta, accounts, signal } = context;
    const { owner: id } = unwrap(await meta.getBucket({ bucket }, { signal }), { bucket });
    const owner = await targetOwner(accounts, id);
    checkNotifications({ rules }, (name) => notifications.has(name, owner));
    if (!skip) {
      // Functions are not called to see whether they are there, as on AWS.
      const messengers = rules.filter(({ kind }) => kind !== 'CloudFunction');
      const asked = new Map(messengers.map((rule) => [targetOfArn(rule.kind, rule.arn), rule]));
      for (const [name, { arn }] of asked) await tryTarget(name ?? '', arn, bucket, context);
    }
    const value = rules.length === 0 ? undefined : withinLimit(encodeNotifications({ rules }));
    return unwrap(
      await meta.setBucketConfig({ bucket, name: NOTIFICATION_CONFIG, value }, { signal }),
      { bucket },
    );
  },
  serialize: () => ({ status: 200, headers: {} }),
});

async function tryTarget(
  name: string,
  arn: string,
  bucket: string,
  { notifications, clock, requestId }: Context,
): Promise<void> {
  const message = JSON.stringify({
    Service: 'Amazon S3',
    Event: 's3:TestEvent',
    Time: new Date(clock.now()).toISOString(),
    Bucket: bucket,
    RequestId: requestId,
    HostId: 'Ashlar',
  });
  try {
    await notifications.send(name, message, bucket);
  } catch (error) {
    if (!isFailure(error)) throw error;
    throw unreachableTarget(arn, 'The destination did not take the test event');
  }
}
