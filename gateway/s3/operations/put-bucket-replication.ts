import { withinLimit } from '../config-size.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import {
  checkReplication,
  encodeReplication,
  REPLICATION_CONFIG,
  type ReplicationConfig,
} from '../replication-config.ts';
import { targetOwner } from '../target-owner.ts';
import { readReplicationConfiguration } from '../xml/replication-configuration.ts';

interface Input {
  bucket: string;
  /** A rule without an id has an empty one. */
  config: ReplicationConfig;
}

/** Destinations of one bucket, each of which is asked. */
const DESTINATIONS_MAX = 20;

function tooManyDestinations(): S3Error {
  return new S3Error('InvalidRequest', {
    message: `The rules may name at most ${DESTINATIONS_MAX} destination buckets.`,
  });
}

/**
 * PutBucketReplication: these rules and no others, for a bucket with versioning. Every destination is
 * asked whether it is there and has versioning, too.
 */
export const putBucketReplication = defineOperation<Input, null>({
  name: 'PutBucketReplication',
  permission: 's3:PutReplicationConfiguration',
  body: 'xml',
  query: ['replication'],
  parse({ bucket, xml, headers }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    if (headers['x-amz-bucket-object-lock-token'] !== undefined) {
      throw new S3Error('NotImplemented', {
        message:
          'There are no tokens for replication from buckets with Object Lock; none is needed.',
      });
    }
    const config = readReplicationConfiguration(xml, () => '');
    return { bucket, config };
  },
  async execute({ bucket, config }, { meta, accounts, replicas, requestId, signal }) {
    for (const [index, rule] of config.rules.entries()) {
      if (rule.id === '') rule.id = `${requestId}-${index + 1}`;
    }
    checkReplication(config);
    const { versioning, owner: id } = unwrap(await meta.getBucket({ bucket }, { signal }), {
      bucket,
    });
    if (versioning !== 'Enabled') {
      throw new S3Error('InvalidRequest', {
        message: "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
      });
    }
    const value = withinLimit(encodeReplication(config));
    const owner = await targetOwner(accounts, id);
    const asked = new Set<string>();
    for (const { destination, account } of config.rules) {
      const place = `${account} ${destination}`;
      if (asked.has(place)) continue;
      if (asked.add(place).size > DESTINATIONS_MAX) throw tooManyDestinations();
      const problem = await replicas.problemOf(destination, account, owner);
      if (problem !== undefined) throw new S3Error('InvalidRequest', { message: problem });
    }
    return unwrap(
      await meta.setBucketConfig({ bucket, name: REPLICATION_CONFIG, value }, { signal }),
      { bucket },
    );
  },
  serialize: () => ({ status: 200, headers: {} }),
});
