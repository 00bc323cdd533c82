/**
 * The operators' interface over what the rest of the room offers: membership and layout, background
 * jobs, inspection, journal and backups. This file only joins them and judges the whole.
 */
import { Failure } from '../base/failure.ts';
import type {
  AdminStatus,
  JobName,
  JobStatus,
  JournalStatus,
  MetaAdmin,
  ReplicaHistogram,
} from './admin-protocol.ts';
import { judge } from './health.ts';
import type { Job } from './jobs/job.ts';
import type { BucketUsage, Meta, StoreFill } from './protocol.ts';

export interface AdminParts {
  meta: Pick<Meta, 'status'>;
  usage: () => Promise<BucketUsage>;
  /** How full the store is. */
  fill?: (() => StoreFill) | undefined;
  membership: Pick<MetaAdmin, 'nodes' | 'layout' | 'stageLayout' | 'applyLayout' | 'revertLayout'>;
  /** In the order in which they are shown. */
  jobs: readonly Job[];
  histogram: () => Promise<ReplicaHistogram>;
  inspect: Pick<MetaAdmin, 'locateObject' | 'startFsck' | 'fsckReport'>;
  /** Undefined: the journal is off. */
  journal: Pick<MetaAdmin, 'journal' | 'createBackup'> | undefined;
  accounts: Pick<
    MetaAdmin,
    'createAccount' | 'listAccounts' | 'deleteAccount' | 'createAccessKey' | 'deleteAccessKey'
  >;
  dataKeys: Pick<MetaAdmin, 'walkDataKeys' | 'rewrapDataKeys'>;
  buckets: Pick<MetaAdmin, 'listBuckets' | 'bucketInfo' | 'setBucketQuota'>;
}

const NO_JOURNAL: JournalStatus = {
  mode: 'off',
  committed: 0,
  journaled: 0,
  nodes: [],
  snapshot: undefined,
  problem: undefined,
};

export function createAdminService(parts: AdminParts): MetaAdmin {
  const { membership, inspect, accounts, buckets } = parts;
  const journal = parts.journal ?? noJournal;
  const jobStatuses = (): JobStatus[] => parts.jobs.map((job) => job.status());
  return {
    async adminStatus(): Promise<AdminStatus> {
      const [status, nodes, usage, journaled, replicas] = await Promise.all([
        parts.meta.status(),
        membership.nodes(),
        parts.usage(),
        journal.journal(),
        parts.histogram(),
      ]);
      const jobs = jobStatuses();
      const store = parts.fill?.();
      const facts = { ...status, nodes, replicas, jobs, journal: journaled, usage, store };
      return { ...facts, ...judge(facts) };
    },
    nodes: membership.nodes,
    layout: membership.layout,
    stageLayout: membership.stageLayout,
    applyLayout: membership.applyLayout,
    revertLayout: membership.revertLayout,
    jobs: () => Promise.resolve(jobStatuses()),
    controlJob: async ({ name, action, rate }) => {
      const job = parts.jobs.find((one) => one.status().name === name) ?? noJob(name);
      if (rate !== undefined) {
        if (job.setRate === undefined) {
          throw new Failure('invalid', `the ${name} job has no rate to set`);
        }
        await job.setRate(rate);
      }
      if (action === 'pause') await job.pause();
      else if (action === 'resume') await job.resume();
      else job.run();
      return job.status();
    },
    locateObject: inspect.locateObject,
    startFsck: inspect.startFsck,
    fsckReport: inspect.fsckReport,
    journal: journal.journal,
    createBackup: journal.createBackup,
    walkDataKeys: parts.dataKeys.walkDataKeys,
    rewrapDataKeys: parts.dataKeys.rewrapDataKeys,
    createAccount: accounts.createAccount,
    listAccounts: accounts.listAccounts,
    deleteAccount: accounts.deleteAccount,
    createAccessKey: accounts.createAccessKey,
    deleteAccessKey: accounts.deleteAccessKey,
    listBuckets: buckets.listBuckets,
    bucketInfo: buckets.bucketInfo,
    setBucketQuota: buckets.setBucketQuota,
  };
}

const noJournal: NonNullable<AdminParts['journal']> = {
  journal: () => Promise.resolve(NO_JOURNAL),
  createBackup: () =>
    Promise.reject(
      new Failure(
        'invalid',
        'backups are made from the metadata journal, which is off: set meta.journal, or stop the ' +
          'service and copy its folder',
      ),
    ),
};

/** Only the snapshots' job may be missing: without a journal there are none. */
function noJob(name: JobName): never {
  throw new Failure('invalid', `there is no ${name} job: the metadata journal is off`);
}
