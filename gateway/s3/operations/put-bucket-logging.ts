import { BucketSettings } from '../access/bucket-settings.ts';
import { ownershipOf } from '../access/bucket-access.ts';
import { encodeLogging, LOGGING_CONFIG, type LoggingConfig, logKey } from '../access-log/config.ts';
import { mayDeliver } from '../access-log/delivery-right.ts';
import { numberOf } from '../../../base/account-number.ts';
import { withinLimit } from '../config-size.ts';
import { S3Error } from '../errors.ts';
import { type Context, defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { readBucketLoggingStatus } from '../xml/bucket-logging-status.ts';

interface Input {
  bucket: string;
  config: LoggingConfig | undefined;
}

/**
 * PutBucketLogging: the target must be there, be the same owner's, and let logs be delivered, by its
 * policy or by its ACL; InvalidTargetBucketForLogging otherwise.
 */
export const putBucketLogging = defineOperation<Input, null>({
  name: 'PutBucketLogging',
  permission: 's3:PutBucketLogging',
  body: 'xml',
  query: ['logging'],
  parse({ bucket, xml }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return { bucket, config: readBucketLoggingStatus(xml) };
  },
  async execute({ bucket, config }, context) {
    if (config !== undefined) await checkTarget(bucket, config, context);
    const { meta, signal } = context;
    const value = config && withinLimit(encodeLogging(config));
    return unwrap(await meta.setBucketConfig({ bucket, name: LOGGING_CONFIG, value }, { signal }), {
      bucket,
    });
  },
  serialize: () => ({ status: 200, headers: {} }),
});

function refused(bucket: string, message: string): S3Error {
  return new S3Error('InvalidTargetBucketForLogging', {
    message,
    details: { TargetBucket: bucket },
  });
}

async function checkTarget(
  bucket: string,
  config: LoggingConfig,
  { meta, accounts, region, clock, signal }: Context,
): Promise<void> {
  const { owner } = unwrap(await meta.getBucket({ bucket }, { signal }), { bucket });
  const found = await meta.getBucketSettings({ bucket: config.bucket }, { signal });
  if (!found.ok) throw refused(config.bucket, 'The target bucket for logging does not exist');
  const target = new BucketSettings(found.value.bucket, found.value.values);
  if (target.bucket.owner !== owner) {
    throw refused(
      config.bucket,
      'The owner for the bucket to be logged and the target bucket must be the same.',
    );
  }
  if (config.grants !== undefined && ownershipOf(target) === 'BucketOwnerEnforced') {
    throw new S3Error('InvalidArgument', {
      message: 'Bucket with BucketOwnerEnforced object ownership cannot have target grants',
      details: { ArgumentName: 'TargetGrants', ArgumentValue: config.bucket },
    });
  }
  const account = (await accounts.account('id', owner))?.number ?? numberOf(owner);
  const nowMs = clock.now();
  const at = { eventMs: nowMs, nowMs, unique: '0'.repeat(16) };
  const key = logKey(config, { bucket, account, region }, at);
  if (!mayDeliver(target, key, { bucket, account })) {
    throw refused(
      config.bucket,
      'You must give the log-delivery group WRITE permission to the target bucket, or allow logging.s3.amazonaws.com s3:PutObject in its policy',
    );
  }
}
