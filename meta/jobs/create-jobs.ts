/** The jobs that keep every block in three good replicas, joined, with the loops that drive them. */
import type { Effects } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { StorageNode } from '../../storage-node/protocol.ts';
import type { ReplicaHistogram } from '../admin-protocol.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { Leases } from '../cluster/leases.ts';
import type { KeyValueStore } from '../engine/kv.ts';
import type { ClusterView } from '../protocol.ts';
import { type Job, JobRows } from './job.ts';
import { RepairJob, type RepairLimits } from './repair.ts';

export interface JobParts {
  store: KeyValueStore;
  catalogue: Catalogue;
  leases: Leases;
  view: () => ClusterView;
  /** The node, when it is up. */
  node: (id: string) => StorageNode | undefined;
  effects: Effects;
  log: Log;
  limits?: { repair?: Partial<RepairLimits> | undefined } | undefined;
}

/** What `startLoop` wants to know of a job. */
export interface JobLoop {
  name: string;
  pauseMs: number;
  busyMs: number;
  round: () => Promise<boolean>;
}

export interface HealingJobs {
  readonly repair: RepairJob;
  /** For the operators' list. */
  readonly list: readonly Job[];
  readonly loops: readonly JobLoop[];
  histogram(): Promise<ReplicaHistogram>;
}

/** Reads what operators have said and how far the jobs had come. Throws what the store throws. */
export async function createJobs(parts: JobParts): Promise<HealingJobs> {
  const { catalogue, leases, view, node, effects, log } = parts;
  const rows = new JobRows(parts.store, effects.random);
  const common = { ...catalogue, leases, view, node, rows, clock: effects.clock, log };
  const repair = new RepairJob({ ...common, limits: parts.limits?.repair });
  await repair.restore();
  return {
    repair,
    list: [repair],
    loops: [{ name: 'repair', pauseMs: 500, busyMs: 5, round: () => repair.round() }],
    histogram: async () => repair.histogram(0),
  };
}
