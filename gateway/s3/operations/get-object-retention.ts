import { S3Error } from '../errors.ts';
import { requireLockConfiguration } from '../object-lock.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { versionIdParameter } from '../version-id.ts';
import { retention } from '../xml/retention.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input {
  bucket: string;
  key: string;
  versionId: string | undefined;
}

/** GetObjectRetention: NoSuchObjectLockConfiguration for a version that never had one. */
export const getObjectRetention = defineOperation<Input, { mode: string; untilMs: number }>({
  name: 'GetObjectRetention',
  permission: 's3:GetObjectRetention',
  body: 'none',
  query: ['retention', 'versionId'],
  parse: ({ bucket, key, query }) => ({ bucket, key, versionId: versionIdParameter(query) }),
  async execute(input, { meta, settings, signal }) {
    requireLockConfiguration(settings);
    const { object } = unwrap(await meta.getObject(input, { signal }), input);
    const { mode, untilMs } = object.lock ?? {};
    if (mode === undefined || untilMs === undefined) {
      throw new S3Error('NoSuchObjectLockConfiguration', { details: { Key: input.key } });
    }
    return { mode, untilMs };
  },
  serialize: ({ mode, untilMs }) => xmlReply(retention(mode, untilMs)),
});
