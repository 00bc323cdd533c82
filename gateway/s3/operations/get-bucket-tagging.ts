import type { Tag } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { decodeBucketTags, TAGGING_CONFIG } from '../tags.ts';
import { tagging } from '../xml/tagging.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetBucketTagging: NoSuchTagSet for a bucket without tags. */
export const getBucketTagging = defineOperation<{ bucket: string }, readonly Tag[]>({
  name: 'GetBucketTagging',
  permission: 's3:GetBucketTagging',
  body: 'none',
  query: ['tagging'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: TAGGING_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    if (value === undefined) {
      throw new S3Error('NoSuchTagSet', { details: { BucketName: bucket } });
    }
    return decodeBucketTags(value);
  },
  serialize: (tags) => xmlReply(tagging(tags)),
});
