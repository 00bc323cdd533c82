import {
  BUCKET_ENCRYPTION,
  type BucketEncryption,
  parseBucketEncryption,
} from '../encryption/bucket-default.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { xmlReply } from '../xml/reply.ts';
import { serverSideEncryptionConfiguration } from '../xml/server-side-encryption-configuration.ts';

/**
 * GetBucketEncryption: the bucket's default, or the gateway's (`encryption.default`). Where there is
 * neither: ServerSideEncryptionConfigurationNotFoundError, as on AWS before it encrypted everything.
 */
export const getBucketEncryption = defineOperation<{ bucket: string }, BucketEncryption>({
  name: 'GetBucketEncryption',
  permission: 's3:GetEncryptionConfiguration',
  body: 'none',
  query: ['encryption'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, encryption, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: BUCKET_ENCRYPTION }, { signal });
    const { value } = unwrap(answer, { bucket });
    const own = value === undefined ? undefined : parseBucketEncryption(value);
    if (encryption.default !== 'off') return { algorithm: encryption.default, ...own };
    if (own !== undefined) return own;
    throw new S3Error('ServerSideEncryptionConfigurationNotFoundError', {
      details: { BucketName: bucket },
    });
  },
  serialize: (encryption) => xmlReply(serverSideEncryptionConfiguration(encryption)),
});
