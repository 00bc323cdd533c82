import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { versionIdParameter } from '../version-id.ts';

interface Input {
  bucket: string;
  key: string;
  versionId: string | undefined;
}

/** DeleteObjectTagging: takes all tags off; the version stays. */
export const deleteObjectTagging = defineOperation<Input, { versionId?: string | undefined }>({
  name: 'DeleteObjectTagging',
  permission: 's3:DeleteObjectTagging',
  body: 'none',
  query: ['tagging', 'versionId'],
  parse: ({ bucket, key, query }) => ({ bucket, key, versionId: versionIdParameter(query) }),
  execute: async (input, { meta, signal }) =>
    unwrap(await meta.setObjectTags({ ...input, tags: [] }, { signal }), input),
  serialize: ({ versionId }) => ({ status: 204, headers: { 'x-amz-version-id': versionId } }),
});
