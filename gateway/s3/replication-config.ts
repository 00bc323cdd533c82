/**
 * The replication of a bucket as it is kept: which new versions go where. Which rule counts follows
 * AWS: of the rules that match, per destination the one with the highest priority.
 *
 * Source: "Replication configuration" and "Replication rule filters", Amazon S3 User Guide.
 */
import type { ReplicationMatch, Tag } from '../../meta/protocol.ts';
import type { BucketSettings } from './access/bucket-settings.ts';

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
  replicaChanges?: boolean | undefined;
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
    .map(({ prefix, tags, deleteMarkers }) => {
      const match: ReplicationMatch = { prefix };
      if (tags.length > 0) match.tags = tags;
      if (deleteMarkers === true) match.deleteMarkers = true;
      return match;
    });
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
