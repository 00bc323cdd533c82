import { LOGGING_CONFIG, type LoggingConfig, parseLogging } from '../access-log/config.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { bucketLoggingStatus } from '../xml/bucket-logging-status.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetBucketLogging: an empty document for a bucket without logging. */
export const getBucketLogging = defineOperation<{ bucket: string }, LoggingConfig | undefined>({
  name: 'GetBucketLogging',
  permission: 's3:GetBucketLogging',
  body: 'none',
  query: ['logging'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: LOGGING_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    return value === undefined ? undefined : parseLogging(value);
  },
  serialize: (config) => xmlReply(bucketLoggingStatus(config)),
});
