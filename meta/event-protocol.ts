/**
 * What happened to objects, kept for whoever must be told: the outbox of a bucket. An event is a row
 * of the very commit that it is about, so none is lost and none invented; it stays until a consumer
 * has settled it. Part of `protocol.ts`, which hands it on.
 */
import type { CallOptions } from '../base/call.ts';

/** What S3 calls it, without the prefix `s3:`. Positions are numbers in rows: append only. */
export const EVENT_TYPES = [
  'ObjectCreated:Put',
  'ObjectCreated:Post',
  'ObjectCreated:Copy',
  'ObjectCreated:CompleteMultipartUpload',
  'ObjectRemoved:Delete',
  'ObjectRemoved:DeleteMarkerCreated',
  'ObjectTagging:Put',
  'ObjectTagging:Delete',
  'ObjectAcl:Put',
  'LifecycleExpiration:Delete',
  'LifecycleExpiration:DeleteMarkerCreated',
  'Replication:OperationFailedReplication',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** Who wants to know: targets of notifications, or the replicas of the bucket. */
export const EVENT_QUEUES = ['notification', 'replication'] as const;
export type EventQueue = (typeof EVENT_QUEUES)[number];

/** Events in one page, and in one command that settles them. */
export const EVENT_PAGE_MAX = 1000;
/** Buckets in one answer of `leaseEvents`. */
export const EVENT_LEASES_MAX = 256;

/** What of an object is replicated: its key begins so, and it has all of these tags. */
export interface ReplicationMatch {
  prefix: string;
  /** Keys and values; absent: whatever tags it has. */
  tags?: { key: string; value: string }[] | undefined;
  /** Objects under a KMS key too. */
  kms?: boolean | undefined;
  /** Delete markers too. */
  deleteMarkers?: boolean | undefined;
}

/** Who did it, from where, and why: travels with a command into its events. */
export interface Origin {
  /** Canonical id of the account; empty: nobody's. */
  account: string;
  requestId: string;
  sourceIp: string;
  /** Absent: an ordinary request. `replica`: whatever comes of it is a replica and goes nowhere else. */
  cause?: 'post' | 'lifecycle' | 'replica' | undefined;
  /** The rules of the bucket's replication; what matches none of them is not replicated. */
  replicate?: ReplicationMatch[] | undefined;
}

export interface StoredEvent {
  /** 32 hex digits: unique, ordered by time, and for one key in the order of the commits. */
  id: string;
  type: EventType;
  /** Name of the bucket. */
  bucket: string;
  key: string;
  /** As S3 shows it; absent in a bucket that never had versioning. */
  versionId?: string | undefined;
  /** Identity of the version that it is about. */
  version: string;
  size: number;
  etag: string;
  atMs: number;
  account: string;
  requestId: string;
  sourceIp: string;
  /** Tried so often in vain, and not to be tried before this time. */
  attempts: number;
  notBeforeMs: number;
  /** Of the targets that are yet to be told, when not all of them are. */
  left?: string[] | undefined;
  /** What went wrong the last time. */
  problem?: string | undefined;
}

/** The right to work on the events of a bucket, which one holder has at a time. */
export interface EventLease {
  bucketId: number;
  bucket: string;
}

/** An event that could not be delivered everywhere and is tried again. */
export interface PostponedEvent {
  id: string;
  attempts: number;
  notBeforeMs: number;
  left?: string[] | undefined;
  problem?: string | undefined;
}

/** How the outbox of one bucket stands. */
export interface EventBacklog {
  queue: EventQueue;
  bucketId: number;
  /** Name of the bucket, as far as an event tells it. */
  bucket?: string | undefined;
  waiting: number;
  /** Events that were not kept because the backlog was at its limit; since the bucket was made. */
  dropped: number;
  /** New events are dropped at the moment. */
  full: boolean;
  /** When the oldest waiting one happened, and what went wrong with it. */
  oldestMs?: number | undefined;
  problem?: string | undefined;
  /** Who works on it. */
  holder?: string | undefined;
}

export interface EventMethods {
  /**
   * Takes or renews the leases of buckets with events, for `leaseMs`, and tells which ones the holder
   * has: at most EVENT_LEASES_MAX. With `leaseMs` 0 it gives them back.
   */
  leaseEvents(
    command: { queue: EventQueue; holder: string; leaseMs: number },
    options?: CallOptions,
  ): Promise<{ leases: EventLease[] }>;
  /** In order, from after the event `after`, which need not stand any more. */
  readEvents(
    query: { queue: EventQueue; bucketId: number; after?: string | undefined; limit: number },
    options?: CallOptions,
  ): Promise<{ events: StoredEvent[] }>;
  /** Takes `done` off the queue and rewrites `later`; those that are not there are no error. */
  settleEvents(
    command: { queue: EventQueue; bucketId: number; done: string[]; later: PostponedEvent[] },
    options?: CallOptions,
  ): Promise<null>;
  /** Of all buckets that have a backlog or have dropped something. */
  eventStatus(query: { limit: number }, options?: CallOptions): Promise<EventBacklog[]>;
}
