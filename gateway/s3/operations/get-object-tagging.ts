import type { Tag } from '../../../meta/protocol.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { shownVersionId, versionIdParameter } from '../version-id.ts';
import { tagging } from '../xml/tagging.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input {
  bucket: string;
  key: string;
  versionId: string | undefined;
}

interface Output {
  tags: readonly Tag[];
  versionId: string | undefined;
}

/** GetObjectTagging: an empty set for an object without tags. */
export const getObjectTagging = defineOperation<Input, Output>({
  name: 'GetObjectTagging',
  permission: 's3:GetObjectTagging',
  body: 'none',
  query: ['tagging', 'versionId'],
  parse: ({ bucket, key, query }) => ({ bucket, key, versionId: versionIdParameter(query) }),
  async execute(input, { meta, signal }) {
    const { bucket, object } = unwrap(await meta.getObject(input, { signal }), input);
    return { tags: object.tags ?? [], versionId: shownVersionId(bucket, object) };
  },
  serialize: ({ tags, versionId }) => xmlReply(tagging(tags), { 'x-amz-version-id': versionId }),
});
