import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import {
  parseReplication,
  REPLICATION_CONFIG,
  type ReplicationConfig,
} from '../replication-config.ts';
import { replicationConfiguration } from '../xml/replication-configuration.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetBucketReplication: ReplicationConfigurationNotFoundError for a bucket that has none. */
export const getBucketReplication = defineOperation<{ bucket: string }, ReplicationConfig>({
  name: 'GetBucketReplication',
  permission: 's3:GetReplicationConfiguration',
  body: 'none',
  query: ['replication'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: REPLICATION_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    if (value === undefined) {
      throw new S3Error('ReplicationConfigurationNotFoundError', {
        details: { BucketName: bucket },
      });
    }
    return parseReplication(value);
  },
  serialize: (config) => xmlReply(replicationConfiguration(config)),
});
