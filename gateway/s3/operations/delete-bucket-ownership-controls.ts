import { OWNERSHIP_CONFIG } from '../access/ownership.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';

/** DeleteBucketOwnershipControls: whoever uploads owns again, and ACLs count. */
export const deleteBucketOwnershipControls = defineOperation<{ bucket: string }, null>({
  name: 'DeleteBucketOwnershipControls',
  permission: 's3:PutBucketOwnershipControls',
  body: 'none',
  query: ['ownershipControls'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.setBucketConfig({ bucket, name: OWNERSHIP_CONFIG }, { signal }), { bucket }),
  serialize: () => ({ status: 204, headers: {} }),
});
