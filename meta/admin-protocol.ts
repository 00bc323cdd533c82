/**
 * What operators ask of the metadata service: nodes, placement, background jobs, inspection, backups.
 * Served on the same port as `Meta`, over the same authenticated channel; `admin-client.ts` is the
 * interface over the wire. Counts are blocks or rows, sizes bytes, times milliseconds since the epoch
 * unless they say otherwise. What an operator must be told comes as a Failure with a message that
 * says what to do next (`invalid`: cannot be done so; `conflict`: not now; `not-found`).
 */
import type { CallOptions } from '../base/call.ts';
import type { BlobId } from '../base/ids.ts';
import type { Address } from '../base/rpc/rpc.ts';
import type {
  AccountRecord,
  Answer,
  Bucket,
  BucketQuota,
  BucketUsage,
  ClusterView,
  MetaStatus,
  StoreFill,
  ObjectEncryption,
} from './protocol.ts';

/* ------------------------------------------------------------------ nodes */

/**
 * `up`; `down`: silent for seconds, its replicas are still counted on; `out`: silent for so long that
 * its replicas are made again elsewhere; `draining`: serves, but is being emptied; `spare`: registered,
 * not in the layout.
 */
export type NodeCondition = 'up' | 'down' | 'out' | 'draining' | 'spare';

export interface NodeInfo {
  id: string;
  address: Address;
  zone: string;
  condition: NodeCondition;
  /** In the current layout. */
  inLayout: boolean;
  /** Placement groups that name it. */
  groups: number;
  /** Relative share of the data; 0 while draining. */
  weight: number;
  capacityBytes: number;
  freeBytes: number;
  full: boolean;
  /** How full its store is, apart from its disk; undefined before its first heartbeat. */
  store?: StoreFill | undefined;
  /** Milliseconds since its last heartbeat; undefined when it has not been heard since the start. */
  silentMs: number | undefined;
  /** Bytes that a layout change still has to move to it. */
  incomingBytes: number;
}

/* ------------------------------------------------------------------ layout */

/** A change of who holds what; several are staged and applied together. */
export type LayoutChange =
  | { kind: 'add'; node: string }
  /** Empties the node: weight 0. Undone by `undrain` as long as it is not removed. */
  | { kind: 'drain'; node: string }
  | { kind: 'undrain'; node: string }
  /** Takes the node out for good. Refused while it holds the only good copy of anything, unless forced. */
  | { kind: 'remove'; node: string; force?: boolean | undefined }
  /** The node's disk is new and blank: accept it under its old name and fill it. */
  | { kind: 'replace'; node: string }
  | { kind: 'zone'; node: string; zone: string }
  /** Relative weight, > 0; by default a node weighs its capacity. */
  | { kind: 'weight'; node: string; weight: number };

export interface LayoutPlan {
  /** Epoch that applying it would make. */
  epoch: number;
  changes: LayoutChange[];
  /** Replicas of placement groups that change hands. */
  movedReplicas: number;
  /** Estimate from the nodes' fill. */
  movedBytes: number;
  nodes: { id: string; zone: string; weight: number; groupsBefore: number; groupsAfter: number }[];
  /** What an operator should know before applying, one sentence each. */
  warnings: string[];
}

export interface LayoutState {
  view: ClusterView;
  staged: LayoutPlan | undefined;
  /** Placement groups whose data is still being moved; 0 when at rest. */
  movingGroups: number;
}

/* ------------------------------------------------------------------ jobs */

export const JOBS = [
  'repair',
  'rebalance',
  'scrub',
  'garbage',
  'orphans',
  'snapshot',
  'journal',
  'lifecycle',
] as const;
export type JobName = (typeof JOBS)[number];

export interface JobStatus {
  name: JobName;
  state: 'running' | 'idle' | 'paused';
  /** In `unit`, since the job's present run began. `total` undefined: not known. */
  done: number;
  total: number | undefined;
  unit: 'blocks' | 'bytes' | 'groups' | 'rows';
  /** Per second, recent. */
  rate: number;
  etaMs: number | undefined;
  lastFinishedMs: number | undefined;
  /** What it found or did so far, by name: `corrupt`, `missing`, `repaired`, `removed` … */
  counts: Record<string, number>;
  /** The newest problem in a sentence, when there is one. */
  problem: string | undefined;
}

/* ------------------------------------------------------------------ inspection */

export interface LocatedReplica {
  node: string;
  zone: string;
  /** As the node answered just now. */
  state: 'good' | 'missing' | 'corrupt' | 'unreachable';
  /** When scrubbing or repair last verified it. */
  verifiedMs: number | undefined;
}

export interface LocatedBlock {
  blob: BlobId;
  index: number;
  group: number;
  /** Where it lies in the object. */
  offset: number;
  size: number;
  replicas: LocatedReplica[];
}

export interface LocatedObject {
  bucket: string;
  key: string;
  /** When it was asked for. */
  versionId?: string | undefined;
  size: number;
  etag: string;
  blocks: LocatedBlock[];
  /** Index of the next block to ask for, when there are more. */
  next: number | undefined;
}

export interface FsckReport {
  state: 'running' | 'done' | 'failed';
  /** Share of the work, 0 … 1. */
  progress: number;
  checked: { blobs: number; blocks: number; replicas: number };
  findings: {
    /** The metadata refers to them, a node that answered does not have them. */
    missing: number;
    corrupt: number;
    /** On a node that is not one of the group's. */
    surplus: number;
    /** No blob row refers to them and no writer can still commit them. */
    orphaned: number;
    /** Blocks with no good replica at all on the nodes that answered. */
    lost: number;
    /** Rows that contradict each other (reference counts, usage). */
    metadata: number;
  };
  /** With `repair`: what was queued or done. */
  repaired: number;
  /** Nodes that did not answer: what they hold is not judged. */
  unreachable: string[];
  /** The first findings, a sentence each. */
  samples: string[];
  problem: string | undefined;
}

/** How many blobs have how many good replicas of all of their blocks, as far as is known. */
export interface ReplicaHistogram {
  /** Blobs with no open repair. */
  whole: number;
  /** Blobs that miss one replica somewhere; that miss two; of which a block is lost. */
  missingOne: number;
  missingTwo: number;
  lost: number;
}

export interface AdminStatus extends MetaStatus {
  /** One sentence: what state everything is in, and what to do if something should be done. */
  sentence: string;
  healthy: boolean;
  nodes: NodeInfo[];
  replicas: ReplicaHistogram;
  jobs: JobStatus[];
  journal: JournalStatus;
  /** How full the metadata service's own store is. */
  store?: StoreFill | undefined;
  usage: { objects: number; bytes: number };
}

/* ------------------------------------------------------------------ journal and backups */

export interface JournalStatus {
  mode: 'sync' | 'async' | 'off';
  /** Newest sequence committed here, and newest that two nodes or more have on stable storage. */
  committed: number;
  journaled: number;
  nodes: string[];
  /** Sequence and time of the newest complete snapshot. */
  snapshot: { sequence: number; atMs: number; bytes: number } | undefined;
  problem: string | undefined;
}

export interface Backup {
  name: string;
  atMs: number;
  sequence: number;
  bytes: number;
}

/* ------------------------------------------------------------------ accounts */

/** An account as operators see it; secrets are never shown again. */
export interface ShownAccount extends AccountRecord {
  accessKeys: string[];
}

export interface NewAccount {
  /** Canonical id: 64 lower-case hex digits. */
  id: string;
  /** 12 digits. */
  number: string;
  displayName: string;
  email?: string | undefined;
  /** Its first access key. */
  key?: { accessKey: string; secretKey: string } | undefined;
}

/* ------------------------------------------------------------------ buckets */

export interface BucketInfo extends Bucket {
  /** All versions count, older ones and delete markers too. */
  usage: BucketUsage;
  /** Empty: no limits. */
  quota: BucketQuota;
}

/* ------------------------------------------------------------------ data keys */

/** One step of a walk over everything that can be encrypted: versions and open uploads. */
export interface DataKeyWalk {
  /** Rows that were looked at. */
  rows: number;
  /** Of these, how many are encrypted and by what. */
  counts: {
    algorithm: ObjectEncryption['algorithm'];
    keyId?: string | undefined;
    count: number;
  }[];
  /** Those of SSE-S3 whose data key another master key than the active one wraps. */
  outdated: { place: Buffer; encryption: ObjectEncryption }[];
  /** Where the next step begins; undefined at the end. */
  next?: Buffer | undefined;
}

/** A data key wrapped anew, for a row that still has the old one. */
export interface DataKeyChange {
  place: Buffer;
  /** The wrapped key as it was seen. */
  from: Buffer;
  encryption: ObjectEncryption;
}

export const DATA_KEY_ROWS_MAX = 1000;
export const DATA_KEY_CHANGES_MAX = 200;

/* ------------------------------------------------------------------ the service */

export interface MetaAdmin {
  adminStatus(options?: CallOptions): Promise<AdminStatus>;
  nodes(options?: CallOptions): Promise<NodeInfo[]>;

  layout(options?: CallOptions): Promise<LayoutState>;
  /** Adds changes to what is staged and shows what applying it would do. */
  stageLayout(command: { changes: LayoutChange[] }, options?: CallOptions): Promise<LayoutPlan>;
  /** `epoch` must be the staged plan's: what was read is what is applied. */
  applyLayout(command: { epoch: number }, options?: CallOptions): Promise<LayoutState>;
  /** Drops what is staged. */
  revertLayout(options?: CallOptions): Promise<LayoutState>;

  jobs(options?: CallOptions): Promise<JobStatus[]>;
  /** `run`: now; `pause` holds over restarts until `resume`. `rate`: bytes per second, 0 for no limit. */
  controlJob(
    command: { name: JobName; action: 'run' | 'pause' | 'resume'; rate?: number | undefined },
    options?: CallOptions,
  ): Promise<JobStatus>;

  locateObject(
    query: {
      bucket: string;
      key: string;
      /** The current version unless it is named. */
      versionId?: string | undefined;
      from: number;
      limit: number;
      verify: boolean;
    },
    options?: CallOptions,
  ): Promise<Answer<LocatedObject>>;
  startFsck(command: { repair: boolean }, options?: CallOptions): Promise<FsckReport>;
  fsckReport(options?: CallOptions): Promise<FsckReport>;

  journal(options?: CallOptions): Promise<JournalStatus>;
  /** A copy of the metadata in a folder on the service's machine. */
  createBackup(command: { folder: string }, options?: CallOptions): Promise<Backup>;

  /** `conflict`: its id, number, name, e-mail address or access key is another's. */
  createAccount(command: NewAccount, options?: CallOptions): Promise<ShownAccount>;
  /** In the order of their ids. */
  listAccounts(
    query: { after?: string | undefined; limit: number },
    options?: CallOptions,
  ): Promise<{ accounts: ShownAccount[]; next?: string | undefined }>;
  /** By id or name, with its keys. `conflict` while it owns buckets. */
  deleteAccount(command: { account: string }, options?: CallOptions): Promise<null>;
  createAccessKey(
    command: { account: string; accessKey: string; secretKey: string },
    options?: CallOptions,
  ): Promise<ShownAccount>;
  /** Gateways refuse it within a second. */
  deleteAccessKey(command: { accessKey: string }, options?: CallOptions): Promise<null>;

  /** In the order of their names. */
  listBuckets(
    query: { prefix: string; after?: string | undefined; limit: number },
    options?: CallOptions,
  ): Promise<{ buckets: BucketInfo[]; next?: string | undefined }>;
  walkDataKeys(
    query: { after?: Buffer | undefined; active?: string | undefined; limit: number },
    options?: CallOptions,
  ): Promise<DataKeyWalk>;
  /** What has changed since it was seen stays as it is. */
  rewrapDataKeys(
    command: { changes: DataKeyChange[] },
    options?: CallOptions,
  ): Promise<{ changed: number }>;

  bucketInfo(query: { bucket: string }, options?: CallOptions): Promise<BucketInfo>;
  /** Both limits as they are to be; every write that is answered later goes by them. */
  setBucketQuota(
    command: { bucket: string } & BucketQuota,
    options?: CallOptions,
  ): Promise<BucketInfo>;
}
