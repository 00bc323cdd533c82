import {
  BUCKET_ENCRYPTION,
  type BucketEncryption,
  formatBucketEncryption,
} from '../encryption/bucket-default.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { readServerSideEncryptionConfiguration } from '../xml/server-side-encryption-configuration.ts';

interface Input {
  bucket: string;
  encryption: BucketEncryption;
}

/**
 * PutBucketEncryption: what every later write in the bucket gets that asks for nothing itself. Whether
 * a KMS key exists shows at its first use, as on AWS.
 */
export const putBucketEncryption = defineOperation<Input, null>({
  name: 'PutBucketEncryption',
  permission: 's3:PutEncryptionConfiguration',
  body: 'xml',
  query: ['encryption'],
  parse({ bucket, xml }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return { bucket, encryption: readServerSideEncryptionConfiguration(xml) };
  },
  async execute({ bucket, encryption }, { meta, signal }) {
    const value = formatBucketEncryption(encryption);
    const command = { bucket, name: BUCKET_ENCRYPTION, value };
    return unwrap(await meta.setBucketConfig(command, { signal }), { bucket });
  },
  serialize: () => ({ status: 200, headers: {} }),
});
