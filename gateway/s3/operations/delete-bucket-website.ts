import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { WEBSITE_CONFIG } from '../website/config.ts';

/** DeleteBucketWebsite: 204 whether there was one or not. */
export const deleteBucketWebsite = defineOperation<{ bucket: string }, null>({
  name: 'DeleteBucketWebsite',
  permission: 's3:DeleteBucketWebsite',
  body: 'none',
  query: ['website'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.setBucketConfig({ bucket, name: WEBSITE_CONFIG }, { signal }), { bucket }),
  serialize: () => ({ status: 204, headers: {} }),
});
