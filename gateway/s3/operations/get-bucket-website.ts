import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { decodeWebsite, WEBSITE_CONFIG, type WebsiteConfig } from '../website/config.ts';
import { xmlReply } from '../xml/reply.ts';
import { websiteConfiguration } from '../xml/website-configuration.ts';

/** GetBucketWebsite: NoSuchWebsiteConfiguration for a bucket without one. */
export const getBucketWebsite = defineOperation<{ bucket: string }, WebsiteConfig>({
  name: 'GetBucketWebsite',
  permission: 's3:GetBucketWebsite',
  body: 'none',
  query: ['website'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: WEBSITE_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    if (value === undefined) {
      throw new S3Error('NoSuchWebsiteConfiguration', { details: { BucketName: bucket } });
    }
    return decodeWebsite(value);
  },
  serialize: (config) => xmlReply(websiteConfiguration(config)),
});
