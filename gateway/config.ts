/** What a gateway process needs to know; where it comes from is the command's business. */
import type { TargetConfig } from './events/sinks/sink.ts';
import type { KeyringConfig } from './keys/open-keyring.ts';
import type { ReplicaTarget } from './replication/destination.ts';
import type { ObjectSettings } from './object/settings.ts';
import type { NewBuckets } from './s3/access/new-buckets.ts';

export { NEW_BUCKETS, type NewBuckets } from './s3/access/new-buckets.ts';

export interface ConfiguredAccount {
  displayName: string;
  /** Canonical id, 64 hex digits; made of the name by default. */
  id?: string | undefined;
  /** 12 digits; made of the id by default. */
  number?: string | undefined;
  email?: string | undefined;
  accessKey: string;
  secretKey: string;
}

export interface EncryptionConfig extends KeyringConfig {
  /** What objects get in buckets without a default encryption of their own. */
  default: 'off' | 'AES256';
}

export interface GatewayConfig {
  /** Name of this process in the metadata service's list of writers. */
  name: string;
  /** Of Ashlar; shown in metrics. */
  version: string;
  s3: {
    host: string;
    /** 0: any free port. */
    port: number;
    /** Several processes listen on the same port and the kernel spreads connections (Linux). */
    sharePort: boolean;
    region: string;
    domains: readonly string[];
    /** Whether Signature Version 2 is taken beside Version 4; false by default. */
    signatureV2?: boolean | undefined;
    /** From where clients may send keys of their own without TLS; loopback by default. */
    insecureCustomerKeys?: 'never' | 'loopback' | 'always' | undefined;
  };
  /** Websites of buckets; undefined: there are none. */
  websites?:
    | {
        /** On the S3 port, `bucket.domain` is a website. */
        domains: readonly string[];
        /** A port for websites only, where any other host is the name of a bucket. */
        listen: { host: string; port: number } | undefined;
      }
    | undefined;
  /** Health and metrics; undefined: no admin endpoint. */
  admin: { host: string; port: number } | undefined;
  root: { accessKey: string; secretKey: string };
  /** Absent: no keys, so nothing but customers' keys encrypts. */
  encryption?: EncryptionConfig | undefined;
  /** Accounts beside root, the same on every gateway; the metadata service keeps others. */
  accounts?: readonly ConfiguredAccount[] | undefined;
  /** What buckets are like that are made without saying anything about access; `aws` by default. */
  newBuckets?: NewBuckets | undefined;
  /** Created at start, when they are not there yet. */
  buckets: readonly string[];
  objects: Partial<ObjectSettings>;
  /** Where replicas of whole buckets can go; nowhere when absent. */
  replicaTargets?: readonly ReplicaTarget[] | undefined;
  /** Longest time that lines of access logs wait in memory; 5 min by default. */
  accessLogFlushMs?: number | undefined;
  /** Where notifications can go, and how long an event is kept for them; nowhere when absent. */
  events?: { targets: readonly TargetConfig[]; keepMs: number } | undefined;
  /** Longest time for running requests to finish at a stop, in milliseconds. */
  drainMs: number;
}
