import type { SetObjectLockCommand } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { requireBodyDigest } from '../object-lock.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { versionIdParameter } from '../version-id.ts';
import { readLegalHold } from '../xml/legal-hold.ts';

/** PutObjectLegalHold: on or off, whatever retention the version has. */
export const putObjectLegalHold = defineOperation<SetObjectLockCommand, null>({
  name: 'PutObjectLegalHold',
  permission: 's3:PutObjectLegalHold',
  body: 'xml',
  query: ['legal-hold', 'versionId'],
  parse({ bucket, key, query, headers, xml }) {
    requireBodyDigest(headers);
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return { bucket, key, versionId: versionIdParameter(query), legalHold: readLegalHold(xml) };
  },
  async execute(command, { meta, signal }) {
    unwrap(await meta.setObjectLock(command, { signal }), command);
    return null;
  },
  serialize: () => ({ status: 200, headers: {} }),
});
