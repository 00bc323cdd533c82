import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { xmlReply } from '../xml/reply.ts';
import { versioningConfiguration } from '../xml/versioning-configuration.ts';

/** GetBucketVersioning: no bucket has versioning, which S3 says with an empty document. */
export const getBucketVersioning = defineOperation<{ bucket: string }, object>({
  name: 'GetBucketVersioning',
  permission: 's3:GetBucketVersioning',
  body: 'none',
  query: ['versioning'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.getBucket({ bucket }, { signal }), { bucket }),
  serialize: () => xmlReply(versioningConfiguration()),
});
