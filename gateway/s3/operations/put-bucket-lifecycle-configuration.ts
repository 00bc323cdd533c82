import {
  encodeLifecycle,
  LIFECYCLE_CONFIG,
  type LifecycleConfiguration,
} from '../../../meta/lifecycle-protocol.ts';
import { BUCKET_CONFIG_BYTES_MAX } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { parseTransitionSize, STANDARD_TRANSITION_SIZE, TRANSITION_SIZE } from '../lifecycle.ts';
import { requireBodyDigest } from '../object-lock.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { readLifecycleConfiguration } from '../xml/lifecycle-configuration.ts';

interface Input {
  bucket: string;
  configuration: LifecycleConfiguration;
}

/** PutBucketLifecycleConfiguration: these rules and no others, for what is there already, too. */
export const putBucketLifecycleConfiguration = defineOperation<Input, LifecycleConfiguration>({
  name: 'PutBucketLifecycleConfiguration',
  permission: 's3:PutLifecycleConfiguration',
  body: 'xml',
  query: ['lifecycle'],
  parse({ bucket, headers, xml }) {
    requireBodyDigest(headers);
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    const configuration: LifecycleConfiguration = { rules: readLifecycleConfiguration(xml) };
    const size = parseTransitionSize(headers[TRANSITION_SIZE]);
    if (size !== undefined) configuration.minimumTransitionSize = size;
    return { bucket, configuration };
  },
  async execute({ bucket, configuration }, { meta, signal }) {
    const value = encodeLifecycle(configuration);
    if (Buffer.byteLength(value) > BUCKET_CONFIG_BYTES_MAX) {
      throw new S3Error('InvalidRequest', {
        message: 'The rules are too long to be kept: use fewer or shorter IDs, prefixes and tags.',
      });
    }
    const command = { bucket, name: LIFECYCLE_CONFIG, value };
    unwrap(await meta.setBucketConfig(command, { signal }), { bucket });
    return configuration;
  },
  serialize: ({ minimumTransitionSize = STANDARD_TRANSITION_SIZE }) => ({
    status: 200,
    headers: { [TRANSITION_SIZE]: minimumTransitionSize },
  }),
});
