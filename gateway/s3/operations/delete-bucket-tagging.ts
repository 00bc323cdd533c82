import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { TAGGING_CONFIG } from '../tags.ts';

/** DeleteBucketTagging: 204 whether there were tags or not. */
export const deleteBucketTagging = defineOperation<{ bucket: string }, null>({
  name: 'DeleteBucketTagging',
  permission: 's3:PutBucketTagging',
  body: 'none',
  query: ['tagging'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.setBucketConfig({ bucket, name: TAGGING_CONFIG }, { signal }), { bucket }),
  serialize: () => ({ status: 204, headers: {} }),
});
