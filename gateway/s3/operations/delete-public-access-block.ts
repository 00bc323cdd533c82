import { PUBLIC_ACCESS_BLOCK_CONFIG } from '../access/public-access-block.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';

/** DeletePublicAccessBlock: nothing is blocked any more. */
export const deletePublicAccessBlock = defineOperation<{ bucket: string }, null>({
  name: 'DeletePublicAccessBlock',
  permission: 's3:PutBucketPublicAccessBlock',
  body: 'none',
  query: ['publicAccessBlock'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.setBucketConfig({ bucket, name: PUBLIC_ACCESS_BLOCK_CONFIG }, { signal }), {
      bucket,
    }),
  serialize: () => ({ status: 204, headers: {} }),
});
