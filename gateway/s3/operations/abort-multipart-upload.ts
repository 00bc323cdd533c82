import type { UploadName } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { uploadIdParameter } from '../parameters.ts';
import { unwrap } from '../refusal.ts';

const CONDITION = 'x-amz-if-match-initiated-time';

/** AbortMultipartUpload: drops an open upload and its parts. */
export const abortMultipartUpload = defineOperation<UploadName, null>({
  name: 'AbortMultipartUpload',
  permission: 's3:AbortMultipartUpload',
  body: 'none',
  query: ['uploadId'],
  parse({ bucket, key, query, headers }) {
    if (headers[CONDITION] !== undefined) {
      throw new S3Error('NotImplemented', { details: { Header: CONDITION } });
    }
    return { bucket, key, uploadId: uploadIdParameter(query) };
  },
  execute: async (name, { meta, signal }) => unwrap(await meta.abortUpload(name, { signal }), name),
  serialize: () => ({ status: 204, headers: {} }),
});
