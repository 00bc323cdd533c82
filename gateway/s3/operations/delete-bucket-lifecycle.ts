import { LIFECYCLE_CONFIG } from '../../../meta/lifecycle-protocol.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';

/** DeleteBucketLifecycle: 204 whether there were rules or not. */
export const deleteBucketLifecycle = defineOperation<{ bucket: string }, null>({
  name: 'DeleteBucketLifecycle',
  permission: 's3:PutLifecycleConfiguration',
  body: 'none',
  query: ['lifecycle'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.setBucketConfig({ bucket, name: LIFECYCLE_CONFIG }, { signal }), { bucket }),
  serialize: () => ({ status: 204, headers: {} }),
});
