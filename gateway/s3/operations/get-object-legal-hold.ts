import { S3Error } from '../errors.ts';
import { requireLockConfiguration } from '../object-lock.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { versionIdParameter } from '../version-id.ts';
import { legalHold } from '../xml/legal-hold.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input {
  bucket: string;
  key: string;
  versionId: string | undefined;
}

/** GetObjectLegalHold: NoSuchObjectLockConfiguration for a version on which none was ever set. */
export const getObjectLegalHold = defineOperation<Input, boolean>({
  name: 'GetObjectLegalHold',
  permission: 's3:GetObjectLegalHold',
  body: 'none',
  query: ['legal-hold', 'versionId'],
  parse: ({ bucket, key, query }) => ({ bucket, key, versionId: versionIdParameter(query) }),
  async execute(input, { meta, settings, signal }) {
    requireLockConfiguration(settings);
    const { object } = unwrap(await meta.getObject(input, { signal }), input);
    const on = object.lock?.legalHold;
    if (on === undefined) {
      throw new S3Error('NoSuchObjectLockConfiguration', { details: { Key: input.key } });
    }
    return on;
  },
  serialize: (on) => xmlReply(legalHold(on)),
});
