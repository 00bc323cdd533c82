import { POLICY_CONFIG } from '../access/policy/parse.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';

/** GetBucketPolicy: the text as it was sent; NoSuchBucketPolicy for a bucket without one. */
export const getBucketPolicy = defineOperation<{ bucket: string }, string>({
  name: 'GetBucketPolicy',
  permission: 's3:GetBucketPolicy',
  body: 'none',
  query: ['policy'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: POLICY_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    if (value === undefined) {
      throw new S3Error('NoSuchBucketPolicy', { details: { BucketName: bucket } });
    }
    return value;
  },
  serialize: (text) => ({
    status: 200,
    headers: { 'Content-Type': 'application/json' },
    body: text,
  }),
});
