import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { encodeWebsite, WEBSITE_CONFIG, type WebsiteConfig } from '../website/config.ts';
import { readWebsiteConfiguration } from '../xml/website-configuration.ts';

interface Input {
  bucket: string;
  config: WebsiteConfig;
}

/** PutBucketWebsite. */
export const putBucketWebsite = defineOperation<Input, null>({
  name: 'PutBucketWebsite',
  permission: 's3:PutBucketWebsite',
  body: 'xml',
  query: ['website'],
  parse({ bucket, xml }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return { bucket, config: readWebsiteConfiguration(xml) };
  },
  execute: async ({ bucket, config }, { meta, signal }) =>
    unwrap(
      await meta.setBucketConfig(
        { bucket, name: WEBSITE_CONFIG, value: encodeWebsite(config) },
        { signal },
      ),
      { bucket },
    ),
  serialize: () => ({ status: 200, headers: {} }),
});
