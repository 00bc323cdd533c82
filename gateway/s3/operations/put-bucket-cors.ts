import { CORS_CONFIG, type CorsRule, encodeCors } from '../cors.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { readCorsConfiguration } from '../xml/cors-configuration.ts';

/** Largest document of rules, as on S3. */
const XML_BYTES_MAX = 64 * 1024;

interface Input {
  bucket: string;
  rules: CorsRule[];
}

/** PutBucketCors: these rules and no others; every request that is answered later goes by them. */
export const putBucketCors = defineOperation<Input, null>({
  name: 'PutBucketCors',
  permission: 's3:PutBucketCORS',
  body: 'xml',
  query: ['cors'],
  parse({ bucket, xml }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    if (Buffer.byteLength(xml) > XML_BYTES_MAX) throw new S3Error('MaxMessageLengthExceeded');
    return { bucket, rules: readCorsConfiguration(xml) };
  },
  execute: async ({ bucket, rules }, { meta, signal }) =>
    unwrap(
      await meta.setBucketConfig(
        { bucket, name: CORS_CONFIG, value: encodeCors(rules) },
        { signal },
      ),
      { bucket },
    ),
  serialize: () => ({ status: 200, headers: {} }),
});
