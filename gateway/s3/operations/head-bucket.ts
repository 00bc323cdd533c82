import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';

/** HeadBucket: whether the bucket exists, and where. */
export const headBucket = defineOperation<{ bucket: string }, { region: string }>({
  name: 'HeadBucket',
  permission: 's3:ListBucket',
  body: 'none',
  query: [],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.getBucket({ bucket }, { signal }), { bucket }),
  serialize: ({ region }) => ({
    status: 200,
    headers: {
      'Content-Type': 'application/xml',
      'x-amz-bucket-region': region,
      'x-amz-access-point-alias': 'false',
    },
  }),
});
