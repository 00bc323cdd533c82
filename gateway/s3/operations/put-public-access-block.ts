import {
  encodePublicAccessBlock,
  PUBLIC_ACCESS_BLOCK_CONFIG,
  type PublicAccessBlock,
} from '../access/public-access-block.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { readPublicAccessBlockConfiguration } from '../xml/public-access-block-configuration.ts';

interface Input {
  bucket: string;
  block: PublicAccessBlock;
}

/** PutPublicAccessBlock: from the next request on. */
export const putPublicAccessBlock = defineOperation<Input, null>({
  name: 'PutPublicAccessBlock',
  permission: 's3:PutBucketPublicAccessBlock',
  body: 'xml',
  query: ['publicAccessBlock'],
  parse({ bucket, xml }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return { bucket, block: readPublicAccessBlockConfiguration(xml) };
  },
  async execute({ bucket, block }, { meta, signal }) {
    const value = encodePublicAccessBlock(block);
    const command = { bucket, name: PUBLIC_ACCESS_BLOCK_CONFIG, value };
    return unwrap(await meta.setBucketConfig(command, { signal }), { bucket });
  },
  serialize: () => ({ status: 200, headers: {} }),
});
