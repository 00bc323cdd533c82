import {
  NOTIFICATION_CONFIG,
  type NotificationRule,
  parseNotifications,
} from '../notification-config.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { notificationConfiguration } from '../xml/notification-configuration.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetBucketNotificationConfiguration: an empty document for a bucket that has none. */
export const getBucketNotificationConfiguration = defineOperation<
  { bucket: string },
  readonly NotificationRule[]
>({
  name: 'GetBucketNotificationConfiguration',
  permission: 's3:GetBucketNotification',
  body: 'none',
  query: ['notification'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: NOTIFICATION_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    return value === undefined ? [] : parseNotifications(value).rules;
  },
  serialize: (rules) => xmlReply(notificationConfiguration(rules)),
});
