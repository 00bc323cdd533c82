import { OBJECT_LOCK_CONFIG, type ObjectLockConfiguration } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { decodeLockConfiguration } from '../object-lock.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { objectLockConfiguration } from '../xml/object-lock-configuration.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetObjectLockConfiguration: ObjectLockConfigurationNotFoundError for a bucket without object lock. */
export const getObjectLockConfiguration = defineOperation<
  { bucket: string },
  ObjectLockConfiguration
>({
  name: 'GetObjectLockConfiguration',
  permission: 's3:GetBucketObjectLockConfiguration',
  body: 'none',
  query: ['object-lock'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: OBJECT_LOCK_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    if (value === undefined) {
      throw new S3Error('ObjectLockConfigurationNotFoundError', {
        details: { BucketName: bucket },
      });
    }
    return decodeLockConfiguration(value);
  },
  serialize: (configuration) => xmlReply(objectLockConfiguration(configuration)),
});
