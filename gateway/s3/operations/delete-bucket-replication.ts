import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { REPLICATION_CONFIG } from '../replication-config.ts';

/** DeleteBucketReplication: what waits for its replica stays as it is. */
export const deleteBucketReplication = defineOperation<{ bucket: string }, null>({
  name: 'DeleteBucketReplication',
  permission: 's3:PutReplicationConfiguration',
  body: 'none',
  query: ['replication'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.setBucketConfig({ bucket, name: REPLICATION_CONFIG }, { signal }), {
      bucket,
    }),
  serialize: () => ({ status: 204, headers: {} }),
});
