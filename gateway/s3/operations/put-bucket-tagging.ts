import type { Tag } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { checkTags, encodeBucketTags, TAGGING_CONFIG } from '../tags.ts';
import { readTagging } from '../xml/tagging.ts';

interface Input {
  bucket: string;
  tags: Tag[];
}

/** PutBucketTagging: these tags and no others; an empty set is none. */
export const putBucketTagging = defineOperation<Input, null>({
  name: 'PutBucketTagging',
  permission: 's3:PutBucketTagging',
  body: 'xml',
  query: ['tagging'],
  parse({ bucket, xml }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    const tags = readTagging(xml);
    checkTags(tags, 'bucket');
    return { bucket, tags };
  },
  async execute({ bucket, tags }, { meta, signal }) {
    const config = { bucket, name: TAGGING_CONFIG };
    const command = tags.length === 0 ? config : { ...config, value: encodeBucketTags(tags) };
    return unwrap(await meta.setBucketConfig(command, { signal }), { bucket });
  },
  serialize: () => ({ status: 204, headers: {} }),
});
