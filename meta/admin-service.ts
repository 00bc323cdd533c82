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
  NodeInfo,
  ReplicaHistogram,
} from './admin-protocol.ts';
import { nodesOfGroup } from './cluster/layout.ts';
import { judge } from './health.ts';
import type { Job } from './jobs/job.ts';
import type { BucketUsage, ClusterView, Meta } from './protocol.ts';

export interface AdminParts {
  meta: Pick<Meta, 'status'>;
  view: () => ClusterView;
  usage: () => Promise<BucketUsage>;
  /** In the order in which they are shown. */
  jobs: readonly Job[];
  membership?:
    | Pick<MetaAdmin, 'nodes' | 'layout' | 'stageLayout' | 'applyLayout' | 'revertLayout'>
    | undefined;
  histogram?: (() => Promise<ReplicaHistogram>) | undefined;
  inspect?: Pick<MetaAdmin, 'locateObject' | 'startFsck' | 'fsckReport'> | undefined;
  journal?: Pick<MetaAdmin, 'journal' | 'createBackup'> | undefined;
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
  const { membership, inspect, journal } = parts;
  const nodes = membership?.nodes ?? (() => Promise.resolve(nodesOf(parts.view())));
  const journalStatus = journal?.journal ?? (() => Promise.resolve(NO_JOURNAL));
  const jobStatuses = (): JobStatus[] => parts.jobs.map((job) => job.status());

  async function adminStatus(): Promise<AdminStatus> {
    const [status, nodeInfos, usage, journalNow] = await Promise.all([
      parts.meta.status(),
      nodes(),
      parts.usage(),
      journalStatus(),
    ]);
    const replicas = await (parts.histogram?.() ?? guessed(status.queues.repair));
    const facts = {
      ...status,
      nodes: nodeInfos,
      replicas,
      jobs: jobStatuses(),
      journal: journalNow,
      usage,
    };
    return { ...facts, ...judge(facts) };
  }

  return {
    adminStatus,
    nodes,
    layout: membership?.layout ?? absent,
    stageLayout: membership?.stageLayout ?? absent,
    applyLayout: membership?.applyLayout ?? absent,
    revertLayout: membership?.revertLayout ?? absent,
    jobs: () => Promise.resolve(jobStatuses()),
    async controlJob({ name, action, rate }) {
      const job = parts.jobs.find((one) => one.status().name === name) ?? noJob(name);
      if (rate !== undefined) {
        if (job.setRate === undefined) {
          throw new Failure('invalid', `the ${name} job moves no data: it has no rate to set`);
        }
        await job.setRate(rate);
      }
      if (action === 'pause') await job.pause();
      else if (action === 'resume') await job.resume();
      else job.run();
      return job.status();
    },
    locateObject: inspect?.locateObject ?? absent,
    startFsck: inspect?.startFsck ?? absent,
    fsckReport: inspect?.fsckReport ?? absent,
    journal: journalStatus,
    createBackup: journal?.createBackup ?? absent,
  };
}

function absent(): Promise<never> {
  return Promise.reject(new Failure('invalid', 'not available in this version'));
}

function noJob(name: JobName): never {
  throw new Failure('invalid', `there is no ${name} job in this version`);
}

/** What the repair queue's length says: how many are open, not how many replicas each one misses. */
function guessed(open: number): Promise<ReplicaHistogram> {
  return Promise.resolve({ whole: 0, missingOne: open, missingTwo: 0, lost: 0 });
}

/** What the view alone knows of the nodes. */
function nodesOf({ layout, nodes }: ClusterView): NodeInfo[] {
  const groups = new Map<string, number>();
  for (let group = 0; group < (layout?.groups ?? 0); group++) {
    if (layout === undefined) break;
    for (const index of nodesOfGroup(layout, group)) {
      const id = layout.nodes[index]?.id ?? '';
      groups.set(id, (groups.get(id) ?? 0) + 1);
    }
  }
  return nodes.map((node) => {
    const placed = layout?.nodes.find(({ id }) => id === node.id);
    return {
      id: node.id,
      address: node.address,
      zone: node.zone,
      condition: node.state === 'down' ? 'down' : placed === undefined ? 'spare' : 'up',
      inLayout: placed !== undefined,
      groups: groups.get(node.id) ?? 0,
      weight: placed?.weight ?? 0,
      capacityBytes: node.capacityBytes,
      freeBytes: node.freeBytes,
      full: node.full,
      silentMs: undefined,
      incomingBytes: 0,
    };
  });
}
