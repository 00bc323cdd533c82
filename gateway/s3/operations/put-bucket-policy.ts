import { parsePolicy, POLICY_CONFIG } from '../access/policy/parse.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { invalidArgument } from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';

interface Input {
  bucket: string;
  /** As sent. */
  text: string;
}

/** PutBucketPolicy: every request that is answered later goes by it. */
export const putBucketPolicy = defineOperation<Input, null>({
  name: 'PutBucketPolicy',
  permission: 's3:PutBucketPolicy',
  body: 'xml',
  query: ['policy'],
  parse({ bucket, headers, xml }) {
    confirmsRemoval(headers);
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    parsePolicy(xml, bucket);
    return { bucket, text: xml };
  },
  execute: async ({ bucket, text }, { meta, signal }) =>
    unwrap(await meta.setBucketConfig({ bucket, name: POLICY_CONFIG, value: text }, { signal }), {
      bucket,
    }),
  serialize: () => ({ status: 204, headers: {} }),
});

const CONFIRM = 'x-amz-confirm-remove-self-bucket-access';

/** Throws InvalidArgument for anything but a boolean. */
function confirmsRemoval(headers: HeaderMap): boolean {
  const value = headers[CONFIRM]?.toLowerCase() ?? 'false';
  if (value === 'true' || value === 'false') return value === 'true';
  throw invalidArgument(CONFIRM, value, `${CONFIRM} must be true or false`);
}
