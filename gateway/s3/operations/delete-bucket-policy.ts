import { POLICY_CONFIG } from '../access/policy/parse.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';

/** DeleteBucketPolicy: 204 whether there was one or not. */
export const deleteBucketPolicy = defineOperation<{ bucket: string }, null>({
  name: 'DeleteBucketPolicy',
  permission: 's3:DeleteBucketPolicy',
  body: 'none',
  query: ['policy'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.setBucketConfig({ bucket, name: POLICY_CONFIG }, { signal }), { bucket }),
  serialize: () => ({ status: 204, headers: {} }),
});
