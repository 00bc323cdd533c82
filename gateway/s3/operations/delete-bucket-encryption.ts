import { BUCKET_ENCRYPTION } from '../encryption/bucket-default.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';

/** DeleteBucketEncryption: 204 whether there was a default or not. */
export const deleteBucketEncryption = defineOperation<{ bucket: string }, null>({
  name: 'DeleteBucketEncryption',
  permission: 's3:PutEncryptionConfiguration',
  body: 'none',
  query: ['encryption'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.setBucketConfig({ bucket, name: BUCKET_ENCRYPTION }, { signal }), { bucket }),
  serialize: () => ({ status: 204, headers: {} }),
});
