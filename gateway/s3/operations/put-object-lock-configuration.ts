import { OBJECT_LOCK_CONFIG, type ObjectLockConfiguration } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { encodeLockConfiguration, requireBodyDigest } from '../object-lock.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { readObjectLockConfiguration } from '../xml/object-lock-configuration.ts';

interface Input {
  bucket: string;
  configuration: ObjectLockConfiguration;
}

/**
 * PutObjectLockConfiguration: turns object lock on in a bucket with versioning, for ever, and sets
 * the default retention of versions that come later. InvalidBucketState without versioning.
 */
export const putObjectLockConfiguration = defineOperation<Input, null>({
  name: 'PutObjectLockConfiguration',
  permission: 's3:PutBucketObjectLockConfiguration',
  body: 'xml',
  query: ['object-lock'],
  parse({ bucket, headers, xml }) {
    requireBodyDigest(headers);
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return { bucket, configuration: readObjectLockConfiguration(xml) };
  },
  async execute({ bucket, configuration }, { meta, signal }) {
    const value = encodeLockConfiguration(configuration);
    const command = { bucket, name: OBJECT_LOCK_CONFIG, value };
    return unwrap(await meta.setBucketConfig(command, { signal }), { bucket });
  },
  serialize: () => ({ status: 200, headers: {} }),
});
