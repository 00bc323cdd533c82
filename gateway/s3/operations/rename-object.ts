import type { RenameCondition, Written } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import {
  parseClientToken,
  parseRenameCondition,
  parseRenameSource,
  SOURCE_PREFIX,
} from '../rename-source.ts';
import { writtenVersionId } from '../version-id.ts';

interface Input {
  bucket: string;
  key: string;
  source: string;
  sourceCondition: RenameCondition | undefined;
  condition: RenameCondition | undefined;
  token: string | undefined;
}

/**
 * RenameObject: one commit, no data moves. In a bucket with versioning the new key gets a version
 * and the old one a delete marker. AWS has it in directory buckets only.
 */
export const renameObject = defineOperation<Input, Written>({
  name: 'RenameObject',
  permission: 's3:PutObject',
  body: 'none',
  query: ['renameObject'],
  parse({ bucket, key, headers }) {
    const source = parseRenameSource(headers, bucket);
    if (source === key) {
      throw new S3Error('InvalidRequest', { message: 'The object has this key already.' });
    }
    return {
      bucket,
      key,
      source,
      sourceCondition: parseRenameCondition(headers, SOURCE_PREFIX),
      condition: parseRenameCondition(headers, ''),
      token: parseClientToken(headers),
    };
  },
  async execute(input, { meta, signal }) {
    const { bucket, source: key } = input;
    return unwrap(await meta.renameObject(input, { signal }), { bucket, key });
  },
  serialize(written) {
    const versionId = writtenVersionId(written);
    return {
      status: 200,
      headers: versionId === undefined ? {} : { 'x-amz-version-id': versionId },
    };
  },
});
