import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { requireCurrentVersion } from '../version-id.ts';
import { emptyTagging } from '../xml/tagging.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input {
  bucket: string;
  key: string;
  versionId: string | undefined;
}

/**
 * GetObjectTagging: no object has tags, since none can be given, which S3 says with an empty set.
 * The aws cli asks before it copies a large object, and fails without an answer.
 */
export const getObjectTagging = defineOperation<Input, object>({
  name: 'GetObjectTagging',
  permission: 's3:GetObjectTagging',
  body: 'none',
  query: ['tagging', 'versionId'],
  parse: ({ bucket, key, query }) => ({ bucket, key, versionId: query.get('versionId') }),
  async execute({ bucket, key, versionId }, { meta, signal }) {
    requireCurrentVersion(versionId, key);
    return unwrap(await meta.getObject({ bucket, key }, { signal }), { bucket, key });
  },
  serialize: () => xmlReply(emptyTagging()),
});
