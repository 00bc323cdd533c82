import type { Deleted, WriteCondition } from '../../../meta/protocol.ts';
import { parseDeleteCondition } from '../conditions.ts';
import { bypassesGovernance } from '../object-lock.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { versionIdParameter } from '../version-id.ts';

interface Input {
  bucket: string;
  key: string;
  versionId: string | undefined;
  condition: WriteCondition | undefined;
  bypassGovernance: boolean;
}

/**
 * DeleteObject: 204 whether there was something or not. With versioning it makes a delete marker,
 * unless a version is named: that one goes.
 */
export const deleteObject = defineOperation<Input, Deleted>({
  name: 'DeleteObject',
  permission: 's3:DeleteObject',
  body: 'none',
  query: ['versionId'],
  parse: ({ bucket, key, query, headers }) => ({
    bucket,
    key,
    versionId: versionIdParameter(query),
    condition: parseDeleteCondition(headers),
    bypassGovernance: bypassesGovernance(headers),
  }),
  async execute(input, { meta }) {
    const { versionId, bypassGovernance, ...rest } = input;
    const named = versionId === undefined ? {} : { versionId };
    const bypass = bypassGovernance ? { bypassGovernance } : {};
    return unwrap(await meta.deleteObject({ ...rest, ...named, ...bypass }), input);
  },
  serialize: ({ versionId, marker }) => ({
    status: 204,
    headers: {
      'x-amz-version-id': versionId,
      'x-amz-delete-marker': marker === true ? 'true' : undefined,
    },
  }),
});
