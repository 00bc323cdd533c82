import { CORS_CONFIG } from '../cors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';

/** DeleteBucketCors: 204 whether there were rules or not. */
export const deleteBucketCors = defineOperation<{ bucket: string }, null>({
  name: 'DeleteBucketCors',
  permission: 's3:PutBucketCORS',
  body: 'none',
  query: ['cors'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.setBucketConfig({ bucket, name: CORS_CONFIG }, { signal }), { bucket }),
  serialize: () => ({ status: 204, headers: {} }),
});
