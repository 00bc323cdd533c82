import type { Versioning } from '../../../meta/protocol.ts';
import type { BucketSettings } from '../access/bucket-settings.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { REPLICATION_CONFIG } from '../replication-config.ts';
import { readVersioningConfiguration } from '../xml/versioning-configuration.ts';

interface Input {
  bucket: string;
  versioning: Versioning;
}

/** PutBucketVersioning: enables or suspends; every write that is answered later goes by it. */
export const putBucketVersioning = defineOperation<Input, object>({
  name: 'PutBucketVersioning',
  permission: 's3:PutBucketVersioning',
  body: 'xml',
  query: ['versioning'],
  parse({ bucket, headers, xml }) {
    if (headers['x-amz-mfa'] !== undefined) {
      throw new S3Error('NotImplemented', {
        message: 'MFA delete is not implemented.',
        details: { Header: 'x-amz-mfa' },
      });
    }
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return { bucket, versioning: readVersioningConfiguration(xml) };
  },
  async execute(input, { meta, access, signal }) {
    if (input.versioning === 'Suspended') await access.require(refuseReplicated);
    return unwrap(await meta.setVersioning(input, { signal }), { bucket: input.bucket });
  },
  serialize: () => ({ status: 200, headers: {} }),
});

function refuseReplicated(settings: BucketSettings): void {
  if (settings.text(REPLICATION_CONFIG) === undefined) return;
  throw new S3Error('InvalidBucketState', {
    message:
      'A replication configuration is present on this bucket, so the versioning state cannot be changed.',
  });
}
