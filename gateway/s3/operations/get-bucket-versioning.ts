import type { Versioning } from '../../../meta/protocol.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { xmlReply } from '../xml/reply.ts';
import { versioningConfiguration } from '../xml/versioning-configuration.ts';

/** GetBucketVersioning: an empty document for a bucket that never had versioning. */
export const getBucketVersioning = defineOperation<{ bucket: string }, Versioning | undefined>({
  name: 'GetBucketVersioning',
  permission: 's3:GetBucketVersioning',
  body: 'none',
  query: ['versioning'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.getBucket({ bucket }, { signal }), { bucket }).versioning,
  serialize: (versioning) => xmlReply(versioningConfiguration(versioning)),
});
