import type { Tag } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { checkTags } from '../tags.ts';
import { versionIdParameter } from '../version-id.ts';
import { readTagging } from '../xml/tagging.ts';

interface Input {
  bucket: string;
  key: string;
  versionId: string | undefined;
  tags: Tag[];
}

/** PutObjectTagging: these tags and no others, on the current version or the one that is named. */
export const putObjectTagging = defineOperation<Input, { versionId?: string | undefined }>({
  name: 'PutObjectTagging',
  permission: 's3:PutObjectTagging',
  body: 'xml',
  query: ['tagging', 'versionId'],
  parse({ bucket, key, query, xml }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    const tags = readTagging(xml);
    checkTags(tags, 'object');
    return { bucket, key, versionId: versionIdParameter(query), tags };
  },
  execute: async (input, { meta, signal }) =>
    unwrap(await meta.setObjectTags(input, { signal }), input),
  serialize: ({ versionId }) => ({ status: 200, headers: { 'x-amz-version-id': versionId } }),
});
