import {
  decodeLifecycle,
  LIFECYCLE_CONFIG,
  type LifecycleConfiguration,
} from '../../../meta/lifecycle-protocol.ts';
import { S3Error } from '../errors.ts';
import { STANDARD_TRANSITION_SIZE, TRANSITION_SIZE } from '../lifecycle.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { lifecycleConfiguration } from '../xml/lifecycle-configuration.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetBucketLifecycleConfiguration: NoSuchLifecycleConfiguration for a bucket without rules. */
export const getBucketLifecycleConfiguration = defineOperation<
  { bucket: string },
  LifecycleConfiguration
>({
  name: 'GetBucketLifecycleConfiguration',
  permission: 's3:GetLifecycleConfiguration',
  body: 'none',
  query: ['lifecycle'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: LIFECYCLE_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    if (value === undefined) {
      throw new S3Error('NoSuchLifecycleConfiguration', { details: { BucketName: bucket } });
    }
    return decodeLifecycle(value);
  },
  serialize: ({ rules, minimumTransitionSize }) =>
    xmlReply(lifecycleConfiguration(rules), {
      [TRANSITION_SIZE]: minimumTransitionSize ?? STANDARD_TRANSITION_SIZE,
    }),
});
