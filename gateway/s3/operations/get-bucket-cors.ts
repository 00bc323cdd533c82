import { CORS_CONFIG, type CorsRule, decodeCors } from '../cors.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { corsConfiguration } from '../xml/cors-configuration.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetBucketCors: NoSuchCORSConfiguration for a bucket without rules. */
export const getBucketCors = defineOperation<{ bucket: string }, readonly CorsRule[]>({
  name: 'GetBucketCors',
  permission: 's3:GetBucketCORS',
  body: 'none',
  query: ['cors'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: CORS_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    if (value === undefined) {
      throw new S3Error('NoSuchCORSConfiguration', { details: { BucketName: bucket } });
    }
    return decodeCors(value);
  },
  serialize: (rules) => xmlReply(corsConfiguration(rules)),
});
