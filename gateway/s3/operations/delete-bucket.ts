import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';

/** DeleteBucket: only an empty one; its open uploads go with it. */
export const deleteBucket = defineOperation<{ bucket: string }, null>({
  name: 'DeleteBucket',
  permission: 's3:DeleteBucket',
  body: 'none',
  query: [],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.deleteBucket({ bucket }, { signal }), { bucket }),
  serialize: () => ({ status: 204, headers: {} }),
});
