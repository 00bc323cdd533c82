import {
  decodePublicAccessBlock,
  PUBLIC_ACCESS_BLOCK_CONFIG,
  type PublicAccessBlock,
} from '../access/public-access-block.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { publicAccessBlockConfiguration } from '../xml/public-access-block-configuration.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetPublicAccessBlock: NoSuchPublicAccessBlockConfiguration for a bucket without one. */
export const getPublicAccessBlock = defineOperation<{ bucket: string }, PublicAccessBlock>({
  name: 'GetPublicAccessBlock',
  permission: 's3:GetBucketPublicAccessBlock',
  body: 'none',
  query: ['publicAccessBlock'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const config = { bucket, name: PUBLIC_ACCESS_BLOCK_CONFIG };
    const { value } = unwrap(await meta.getBucketConfig(config, { signal }), { bucket });
    if (value === undefined) {
      throw new S3Error('NoSuchPublicAccessBlockConfiguration', {
        details: { BucketName: bucket },
      });
    }
    return decodePublicAccessBlock(value);
  },
  serialize: (block) => xmlReply(publicAccessBlockConfiguration(block)),
});
