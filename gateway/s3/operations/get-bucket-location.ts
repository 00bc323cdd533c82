import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { locationConstraint } from '../xml/location-constraint.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetBucketLocation: the bucket's region, which is empty for us-east-1. */
export const getBucketLocation = defineOperation<{ bucket: string }, { region: string }>({
  name: 'GetBucketLocation',
  permission: 's3:GetBucketLocation',
  body: 'none',
  query: ['location'],
  parse: ({ bucket }) => ({ bucket }),
  execute: async ({ bucket }, { meta, signal }) =>
    unwrap(await meta.getBucket({ bucket }, { signal }), { bucket }),
  serialize: ({ region }) => xmlReply(locationConstraint(region)),
});
