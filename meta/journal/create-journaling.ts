/** The journal, its snapshots and what operators ask of both, joined to a running service. */
import type { Effects } from '../../base/clock.ts';
import { Failure, isFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import type { StorageNode } from '../../storage-node/protocol.ts';
import type { JournalStatus, MetaAdmin } from '../admin-protocol.ts';
import type { KeyValueStore } from '../engine/kv.ts';
import type { Job, JobRows } from '../jobs/job.ts';
import type { ClusterView, NodeView } from '../protocol.ts';
import { createBackup } from './backup.ts';
import { JournalConnections } from './connections.ts';
import type { MetaJournal } from './journal.ts';
import type { JournaledStore } from './recovery.ts';
import { JournalScrub, type JournalScrubLimits } from './scrub.ts';
import { SnapshotJob } from './snapshot-job.ts';
import { nodesSource } from './source.ts';

/** How long a read waits at the start for the journal to be opened. */
const READ_WAIT_MS = 3000;
const SNAPSHOT_LOOK_MS = 500;
const SCRUB_LOOK_MS = 1000;

export interface JournalingSettings {
  snapshotEveryMs: number;
  journalBytesMax: number;
  /** A store with more rows serves while its first snapshot is made. */
  waitRowsMax: number;
  scrub?: Partial<JournalScrubLimits> | undefined;
}

export interface JournalParts {
  journal: MetaJournal;
  store: JournaledStore & { usage(): { rows: number } };
  settings: JournalingSettings;
}

/** What is read waits until it is certain that this is the newest store. */
export function behindJournal(
  store: KeyValueStore,
  journal: MetaJournal,
  effects: Effects,
): KeyValueStore {
  const ready = async (readable: Promise<void>): Promise<void> => {
    const ended = new AbortController();
    const late = effects.clock.sleep(READ_WAIT_MS, ended.signal).then(() => {
      throw new Failure('unavailable', journal.problem ?? 'the metadata journal is not open yet');
    });
    try {
      await Promise.race([readable, late]);
    } finally {
      late.catch(() => {});
      ended.abort();
    }
  };
  return {
    get(keys) {
      const readable = journal.readable();
      return readable === undefined ? store.get(keys) : ready(readable).then(() => store.get(keys));
    },
    range(range) {
      const readable = journal.readable();
      return readable === undefined
        ? store.range(range)
        : ready(readable).then(() => store.range(range));
    },
    commit: (commit) => store.commit(commit),
    close: () => store.close(),
  };
}

export interface Journaling {
  /** For the operators' list. */
  readonly jobs: readonly Job[];
  readonly admin: Pick<MetaAdmin, 'journal' | 'createBackup'>;
  readonly loops: readonly { name: string; pauseMs: number; round: () => Promise<void> }[];
  start(): void;
  /** Before the loops are stopped: what takes long is given up. */
  end(): void;
  stop(): Promise<void>;
}

export async function createJournaling(
  options: JournalParts & {
    cluster: { clusterId: string; boot: number; view(): ClusterView };
    /** A connection of the journal's own. */
    connectNode: (node: NodeView) => StorageNode & { close?: () => Promise<void> };
    jobRows: JobRows;
    effects: Effects;
    log: Log;
  },
): Promise<Journaling> {
  const { journal, store, cluster, settings, effects, log } = options;
  const job = new SnapshotJob({
    everyMs: settings.snapshotEveryMs,
    journalBytesMax: settings.journalBytesMax,
    waitRowsMax: settings.waitRowsMax,
    journal,
    store,
    rows: () => store.usage().rows,
    jobRows: options.jobRows,
    effects,
    log,
  });
  const scrub = new JournalScrub({
    journal,
    jobRows: options.jobRows,
    effects,
    log,
    limits: settings.scrub,
  });
  await job.load();
  await scrub.load();
  const connections = new JournalConnections(options.connectNode);
  // Also those that are down, as far as is known: at a start nobody has said yet that he is up.
  const peers = () =>
    cluster.view().nodes.flatMap((node) => {
      const kept = connections.journal(node);
      return kept === undefined ? [] : [{ id: node.id, journal: kept }];
    });
  return {
    jobs: [job, scrub],
    loops: [
      { name: 'snapshot', pauseMs: SNAPSHOT_LOOK_MS, round: () => job.round() },
      { name: 'journal', pauseMs: SCRUB_LOOK_MS, round: () => scrub.round() },
    ],
    admin: {
      async journal(): Promise<JournalStatus> {
        const snapshot = job.newest();
        const late = journal.state === 'open' && snapshot === undefined;
        return {
          mode: journal.mode,
          committed: journal.settled.sequence,
          journaled: journal.journaled,
          nodes: journal.live().map(({ id }) => id),
          snapshot,
          problem:
            journal.problem ??
            job.status().problem ??
            (late ? 'the first snapshot of the metadata is not complete yet' : undefined),
        };
      },
      async createBackup({ folder }) {
        const live = journal.live();
        if (live.length === 0) throw new Failure('unavailable', 'no node has the journal now');
        const source = nodesSource(live);
        try {
          return await createBackup(source, { folder, effects });
        } catch (error) {
          if (isFailure(error, 'not-found')) {
            throw new Failure(
              'unavailable',
              'there is no snapshot yet: run `ashlar meta snapshot`',
            );
          }
          throw error;
        }
      },
    },
    start() {
      const { clusterId, boot } = cluster;
      journal.start({
        clusterId,
        boot,
        peers,
        known: () => cluster.view().nodes.length,
        laidOut: () => cluster.view().layout !== undefined,
        findSnapshots: (peers) => job.look(peers),
        firstSnapshot: () => job.first(),
      });
    },
    end: () => scrub.end(),
    async stop() {
      await journal.stop();
      await connections.close();
    },
  };
}
