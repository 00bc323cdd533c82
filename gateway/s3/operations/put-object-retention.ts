import type { SetObjectLockCommand } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { bypassesGovernance, requireBodyDigest } from '../object-lock.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { versionIdParameter } from '../version-id.ts';
import { readRetention } from '../xml/retention.ts';

/**
 * PutObjectRetention: sets, extends or, where nothing forbids it, shortens and removes the retention
 * of a version. Whether it may is decided in the commit, by the clock of the metadata service.
 */
export const putObjectRetention = defineOperation<SetObjectLockCommand, null>({
  name: 'PutObjectRetention',
  permission: 's3:PutObjectRetention',
  body: 'xml',
  query: ['retention', 'versionId'],
  parse({ bucket, key, query, headers, xml }) {
    requireBodyDigest(headers);
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return {
      bucket,
      key,
      versionId: versionIdParameter(query),
      retention: readRetention(xml),
      bypassGovernance: bypassesGovernance(headers),
    };
  },
  async execute(command, { meta, signal }) {
    unwrap(await meta.setObjectLock(command, { signal }), command);
    return null;
  },
  serialize: () => ({ status: 200, headers: {} }),
});
