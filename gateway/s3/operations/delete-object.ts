import type { WriteCondition } from '../../../meta/protocol.ts';
import { parseDeleteCondition } from '../conditions.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { namesCurrentVersion } from '../version-id.ts';

interface Input {
  bucket: string;
  key: string;
  versionId: string | undefined;
  condition: WriteCondition | undefined;
}

/** DeleteObject: 204 whether there was something or not. */
export const deleteObject = defineOperation<Input, Input>({
  name: 'DeleteObject',
  permission: 's3:DeleteObject',
  body: 'none',
  query: ['versionId'],
  parse: ({ bucket, key, query, headers }) => ({
    bucket,
    key,
    versionId: query.get('versionId'),
    condition: parseDeleteCondition(headers),
  }),
  async execute(input, { meta }) {
    const { bucket, key, condition } = input;
    if (namesCurrentVersion(input.versionId)) {
      unwrap(await meta.deleteObject({ bucket, key, condition }), input);
    } else {
      // A version that does not exist: nothing to delete, which is success.
      unwrap(await meta.getBucket({ bucket }), input);
    }
    return input;
  },
  serialize: ({ versionId }) => ({ status: 204, headers: { 'x-amz-version-id': versionId } }),
});
