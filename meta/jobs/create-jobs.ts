/** The jobs that keep every block in three good replicas, joined, with the loops that drive them. */
import type { Effects } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { StorageNode } from '../../storage-node/protocol.ts';
import type { MetaAdmin, ReplicaHistogram } from '../admin-protocol.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { Leases } from '../cluster/leases.ts';
import type { KeyValueStore } from '../engine/kv.ts';
import type { ClusterView } from '../protocol.ts';
import type { Reclamation } from '../cluster/reclamation.ts';
import { createInspect } from '../inspect.ts';
import { Fsck } from './fsck.ts';
import { type Job, JobRows } from './job.ts';
import { OrphanJob, type OrphanLimits } from './orphans.ts';
import { RepairJob, type RepairLimits } from './repair.ts';
import { ScrubJob, type ScrubLimits } from './scrub.ts';

export interface JobLimits {
  repair?: Partial<RepairLimits> | undefined;
  scrub?: Partial<ScrubLimits> | undefined;
  orphans?: Partial<OrphanLimits> | undefined;
}

export interface JobParts {
  store: KeyValueStore;
  catalogue: Catalogue;
  leases: Leases;
  reclamation: Pick<Reclamation<unknown>, 'begin'>;
  view: () => ClusterView;
  /** The node, when it is up. */
  node: (id: string) => StorageNode | undefined;
  effects: Effects;
  log: Log;
  limits?: JobLimits | undefined;
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
  readonly scrub: ScrubJob;
  readonly orphans: OrphanJob;
  /** For the operators' list. */
  readonly list: readonly Job[];
  readonly loops: readonly JobLoop[];
  histogram(): Promise<ReplicaHistogram>;
  readonly inspect: Pick<MetaAdmin, 'locateObject' | 'startFsck' | 'fsckReport'>;
  /** To be called before the loops are stopped: ends the check, and waits for no slow round. */
  stop(): Promise<void>;
}

/** Reads what operators have said and how far the jobs had come. Throws what the store throws. */
export async function createJobs(parts: JobParts): Promise<HealingJobs> {
  const { catalogue, effects, log, limits } = parts;
  const rows = new JobRows(parts.store, effects.random);
  const common = {
    repairs: catalogue.repairs,
    blobs: catalogue.blobs,
    leases: parts.leases,
    reclamation: parts.reclamation,
    view: parts.view,
    node: parts.node,
    rows,
    clock: effects.clock,
    log,
  };
  const repair = new RepairJob({ ...common, limits: limits?.repair });
  const scrub = new ScrubJob({ ...common, limits: limits?.scrub });
  const orphans = new OrphanJob({ ...common, limits: limits?.orphans });
  for (const job of [repair, scrub, orphans]) await job.restore();
  const fsck = new Fsck({
    ...common,
    recount: (options) => catalogue.recount(options),
    garbage: catalogue.garbage,
    effects,
  });
  const { view, node } = parts;
  const verifiedAt = scrub.verifiedAt.bind(scrub);
  return {
    repair,
    scrub,
    orphans,
    list: [repair, scrub, orphans],
    loops: [
      { name: 'repair', pauseMs: 500, busyMs: 5, round: () => repair.round() },
      { name: 'scrub', pauseMs: 200, busyMs: 5, round: () => scrub.round() },
      { name: 'orphans', pauseMs: 200, busyMs: 5, round: () => orphans.round() },
    ],
    histogram: async () => repair.histogram(scrub.blobCount),
    inspect: {
      ...createInspect({ catalogue, view, node, verifiedAt }),
      startFsck: async ({ repair: mend }) => fsck.start({ repair: mend }),
      fsckReport: async () => fsck.report(),
    },
    async stop() {
      for (const job of [repair, scrub, orphans]) job.end();
      await fsck.stop();
    },
  };
}
