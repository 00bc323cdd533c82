import { decodeOwnership, type ObjectOwnership, OWNERSHIP_CONFIG } from '../access/ownership.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { ownershipControls } from '../xml/ownership-controls.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetBucketOwnershipControls: OwnershipControlsNotFoundError for a bucket without them. */
export const getBucketOwnershipControls = defineOperation<{ bucket: string }, ObjectOwnership>({
  name: 'GetBucketOwnershipControls',
  permission: 's3:GetBucketOwnershipControls',
  body: 'none',
  query: ['ownershipControls'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: OWNERSHIP_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    if (value === undefined) {
      throw new S3Error('OwnershipControlsNotFoundError', { details: { BucketName: bucket } });
    }
    return decodeOwnership(value);
  },
  serialize: (ownership) => xmlReply(ownershipControls(ownership)),
});
