/**
 * The replication of a bucket as it is kept: which new versions go where. Which rule counts follows
 * AWS: of the rules that match, per destination the one with the highest priority.
 *
 * Source: "Replication configuration" and "Replication rule filters", Amazon S3 User Guide.
 */
import type { ReplicationMatch, Tag } from '../../meta/protocol.ts';
import type { BucketSettings } from './access/bucket-settings.ts';
import { S3Error } from './errors.ts';

export const REPLICATION_CONFIG = 'replication';

export interface ReplicationRule {
  id: string;
  enabled: boolean;
  priority: number;
  prefix: string;
  /** All of them; empty: whatever tags an object has. */
  tags: Tag[];
  /** With the element Prefix of the first version of the document, instead of Filter. */
  plain?: true | undefined;
  /** Undefined: not said (first version of the document). */
  deleteMarkers?: boolean | undefined;
  existing?: boolean | undefined;
  /** Objects under a KMS key, too; undefined: not said, and so not. */
  kms?: boolean | undefined;
  /** `arn:aws:s3:::bucket`. */
  destination: string;
  account?: string | undefined;
  storageClass?: string | undefined;
}

export interface ReplicationConfig {
  role: string;
  rules: ReplicationRule[];
}

export function parseReplication(text: string): ReplicationConfig {
  return JSON.parse(text) as ReplicationConfig;
}

export function encodeReplication(config: ReplicationConfig): string {
  return JSON.stringify(config);
}

/** What the metadata service must know to tell, in the commit, whether a version is replicated. */
export function replicationMatches(settings: BucketSettings): ReplicationMatch[] {
  return settings.parsed(REPLICATION_CONFIG, matchesOf) ?? [];
}

function matchesOf(text: string): ReplicationMatch[] {
  return parseReplication(text)
    .rules.filter(({ enabled }) => enabled)
    .map(({ prefix, tags, deleteMarkers, kms }) => {
      const match: ReplicationMatch = { prefix };
      if (tags.length > 0) match.tags = tags;
      if (deleteMarkers === true) match.deleteMarkers = true;
      if (kms === true) match.kms = true;
      return match;
    });
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidRequest', { message });
}

const RULES_MAX = 1000;
const ID_MAX = 255;

/** What the document itself does not show. Throws InvalidRequest and InvalidArgument. */
export function checkReplication({ rules }: ReplicationConfig): void {
  if (rules.length > RULES_MAX) {
    throw invalid(
      'The number of replication rules must not exceed the allowed limit of 1000 rules.',
    );
  }
  const ids = new Set<string>();
  const priorities = new Set<string>();
  for (const rule of rules) {
    if (rule.id.length > ID_MAX) {
      throw new S3Error('InvalidArgument', {
        message: 'The maximum value is 255 characters.',
        details: { ArgumentName: 'ID', ArgumentValue: rule.id.slice(0, ID_MAX) },
      });
    }
    if (ids.has(rule.id)) {
      throw new S3Error('InvalidArgument', {
        message: 'Rule Id must be unique. Found same ID for more than one rule',
        details: { ArgumentName: 'ID', ArgumentValue: rule.id },
      });
    }
    ids.add(rule.id);
    const place = `${rule.priority} ${rule.account ?? ''} ${rule.destination}`;
    if (rule.plain !== true && priorities.has(place)) {
      throw invalid(
        `Found duplicate priority ${rule.priority}. Each rule must have a unique priority`,
      );
    }
    priorities.add(place);
    if (rule.deleteMarkers === true && rule.tags.length > 0) {
      throw invalid(
        'Delete marker replication is not supported if any Tag filter is specified. Please refer to S3 Developer Guide for more information.',
      );
    }
    if (bucketOfArn(rule.destination) === undefined) {
      throw new S3Error('InvalidArgument', {
        message: 'Invalid bucket ARN.',
        details: { ArgumentName: 'Bucket', ArgumentValue: rule.destination.slice(0, 200) },
      });
    }
  }
}

/** The rules that count for an object, one per destination. */
export function rulesFor(
  { rules }: ReplicationConfig,
  key: string,
  tags: readonly Tag[],
): ReplicationRule[] {
  const chosen = new Map<string, ReplicationRule>();
  for (const rule of rules) {
    if (!rule.enabled || !key.startsWith(rule.prefix)) continue;
    if (!rule.tags.every((tag) => hasTag(tags, tag))) continue;
    const place = `${rule.account ?? ''} ${rule.destination}`;
    const other = chosen.get(place);
    if (other === undefined || other.priority < rule.priority) chosen.set(place, rule);
  }
  return [...chosen.values()];
}

function hasTag(tags: readonly Tag[], { key, value }: Tag): boolean {
  return tags.some((tag) => tag.key === key && tag.value === value);
}

/** The bucket in `arn:aws:s3:::bucket`; undefined for anything else. */
export function bucketOfArn(arn: string): string | undefined {
  return /^arn:aws[a-z-]*:s3:::([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])$/.exec(arn)?.[1];
}
