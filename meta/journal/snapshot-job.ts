/**
 * The snapshot job: from time to time, and when the journal has grown long, a copy of all rows goes
 * to every node that follows the journal. When two nodes have it whole, the records that only older
 * snapshots need are dropped. The last two snapshots stay.
 */
import type { Effects } from '../../base/clock.ts';
import { Failure, toFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import type { JournalClaim, JournalPosition, SnapshotName } from '../../storage-node/protocol.ts';
import type { JobStatus, JournalStatus } from '../admin-protocol.ts';
import type { Write } from '../engine/group-commit.ts';
import { KV_LIMITS } from '../engine/kv.ts';
import { type Job, JobControl, type JobRows } from '../jobs/job.ts';
import { COPIES } from './appender.ts';
import type { MetaJournal } from './journal.ts';
import type { JournaledStore } from './recovery.ts';
import type { Peer } from './peer.ts';
import { isOwnRow } from './rows.ts';
import {
  CHUNK_BYTES,
  chunkChecksum,
  digestOf,
  encodeChunk,
  encodeManifest,
  type Manifest,
  MANIFEST_INDEX,
} from './snapshot-format.ts';
import { manifestsOn, newestFirst } from './source.ts';

const JOB_NAME = 'snapshot';
const KEPT = 2;
const CALL_TIMEOUT_MS = 20_000;
/** After a change among the nodes, snapshots that are short of copies are left for so long. */
const SETTLE_MS = 10_000;
/** Between two chunks, so that the service answers meanwhile. */
const CHUNK_PAUSE_MS = 2;
const LAST_KEY = Buffer.alloc(KV_LIMITS.keyBytes, 0xff);
const ROW_OVERHEAD_BYTES = 6;

export interface SnapshotOptions {
  journal: MetaJournal;
  store: JournaledStore;
  /** Rows in the store, for the progress figure. */
  rows: () => number;
  jobRows: JobRows;
  effects: Effects;
  log: Log;
  /** Longest time between two snapshots while there are commits, in milliseconds. */
  everyMs: number;
  /** Bytes of journal after which a snapshot is due. */
  journalBytesMax: number;
  /** A store with more rows serves while its first snapshot is made. */
  waitRowsMax: number;
}

interface Held {
  manifest: Manifest;
  /** Nodes that have it whole. */
  nodes: Set<string>;
}

export class SnapshotJob implements Job {
  readonly #options: SnapshotOptions;
  readonly #control: JobControl;
  #held: Held[] | undefined;
  /** The nodes that followed when they were last asked, and since when. */
  #seen: readonly Peer[] = [];
  #seenAt = 0;
  #wanted = false;
  /** Nodes that did not take the last one: they wait for the next one that is due by itself. */
  #failing = new Set<string>();
  #dueAt: number;
  #progress: { rows: number; total: number; sinceMs: number } | undefined;
  #counts = { taken: 0, failed: 0 };
  #lastFinishedMs: number | undefined;
  #problem: string | undefined;

  constructor(options: SnapshotOptions) {
    this.#options = options;
    this.#control = new JobControl(JOB_NAME, options.jobRows);
    this.#dueAt = options.effects.clock.monotonic() + options.everyMs;
  }

  load(): Promise<void> {
    return this.#control.load();
  }

  status(): JobStatus {
    const { effects } = this.#options;
    const progress = this.#progress;
    const elapsed = progress ? (effects.clock.monotonic() - progress.sinceMs) / 1000 : 0;
    const rate = progress && elapsed > 0 ? progress.rows / elapsed : 0;
    const left = progress ? Math.max(0, progress.total - progress.rows) : 0;
    return {
      name: JOB_NAME,
      state: progress ? 'running' : this.#control.paused ? 'paused' : 'idle',
      done: progress?.rows ?? 0,
      total: progress?.total,
      unit: 'rows',
      rate,
      etaMs: rate > 0 ? (left / rate) * 1000 : undefined,
      lastFinishedMs: this.#lastFinishedMs,
      counts: { ...this.#counts },
      problem: this.#problem,
    };
  }

  run(): void {
    this.#wanted = true;
  }

  pause(): Promise<void> {
    return this.#control.change({ paused: true });
  }

  resume(): Promise<void> {
    return this.#control.change({ paused: false });
  }

  /** The newest whole snapshot that two nodes have. */
  newest(): JournalStatus['snapshot'] {
    const held = this.#held?.find(({ nodes }) => nodes.size >= COPIES)?.manifest;
    return held && { sequence: held.sequence, atMs: held.atMs, bytes: held.bytes };
  }

  /** While the journal is being opened: nothing is acknowledged that could not be made anew. */
  async first(): Promise<void> {
    const { rows, waitRowsMax, journal } = this.#options;
    if (this.#held !== undefined && this.#held.length > 0 && !journal.gapped) return;
    this.#wanted = true;
    if (rows() <= waitRowsMax && journal.mode === 'sync') await this.#take();
  }

  /** One look at whether a snapshot is due, and the snapshot. */
  async round(): Promise<void> {
    const { journal } = this.#options;
    if (journal.state !== 'open') return;
    const live = journal.live();
    // Also one that went and came back in between: it may have an empty disk now.
    if (live.length !== this.#seen.length || live.some((peer) => !this.#seen.includes(peer))) {
      this.#seen = live;
      this.#seenAt = this.#options.effects.clock.monotonic();
      await this.look(live);
    }
    if (!this.#isDue()) return;
    try {
      await this.#take();
      this.#problem = undefined;
    } catch (error) {
      this.#counts.failed += 1;
      this.#problem = toFailure(error).message;
      throw error;
    }
  }

  #isDue(): boolean {
    const { journal, effects, journalBytesMax } = this.#options;
    if (this.#wanted || journal.gapped) return true;
    if (this.#control.paused) return false;
    const newest = this.#held?.[0];
    if (newest === undefined) return true;
    const settled = effects.clock.monotonic() - this.#seenAt >= SETTLE_MS;
    if (settled && newest.nodes.size < COPIES) return true;
    // A new node, or one that lost its copy, has only the journal's last records without a snapshot.
    if (this.#seen.some(({ id }) => !newest.nodes.has(id) && !this.#failing.has(id))) return true;
    if (newest.manifest.until >= journal.head.sequence) return false;
    return journal.bytes > journalBytesMax || effects.clock.monotonic() >= this.#dueAt;
  }

  /** Asks these nodes which snapshots they have. */
  async look(peers: readonly Peer[]): Promise<void> {
    const found = new Map<string, Held>();
    for (const { id, journal: node } of peers) {
      const manifests = await manifestsOn(node).catch(() => []);
      for (const manifest of manifests) {
        const name = `${manifest.generation}/${manifest.sequence}`;
        const held = found.get(name) ?? { manifest, nodes: new Set<string>() };
        held.nodes.add(id);
        found.set(name, held);
      }
    }
    const order = newestFirst([...found.values()].map(({ manifest }) => manifest));
    this.#held = order.flatMap((one) => found.get(`${one.generation}/${one.sequence}`) ?? []);
    this.#setFloor();
  }

  /** The journal on the nodes reaches back to the older of the snapshots that are kept. */
  #setFloor(): void {
    this.#options.journal.floor = (this.#held ?? []).slice(0, KEPT).at(-1)?.manifest.start;
  }

  async #take(): Promise<void> {
    const { journal, log, effects, rows } = this.#options;
    const { clock } = effects;
    const peers = journal.live();
    if (peers.length < COPIES) throw new Failure('unavailable', 'too few nodes for a snapshot');
    const { claim } = journal;
    const start = await journal.stored();
    const name = { sequence: start.sequence, generation: claim.generation };
    journal.gapped = false;
    this.#progress = { rows: 0, total: rows(), sinceMs: clock.monotonic() };
    try {
      const target = new Target(claim, name, peers);
      const checksums = await this.#copyRows(target, name);
      const manifest = this.#manifest(name, start, checksums, target.bytes);
      await target.put(MANIFEST_INDEX, encodeManifest(manifest));
      const nodes = new Set(target.peers.map(({ id }) => id));
      this.#failing = new Set(peers.map(({ id }) => id).filter((id) => !nodes.has(id)));
      this.#held = [{ manifest, nodes }, ...(this.#held ?? [])];
      this.#counts.taken += 1;
      log.info({ ...name, rows: manifest.rows, bytes: manifest.bytes }, 'metadata snapshot taken');
      await this.#clean(claim);
    } catch (error) {
      journal.gapped = true;
      throw error;
    } finally {
      this.#progress = undefined;
    }
    this.#wanted = false;
    this.#dueAt = clock.monotonic() + this.#options.everyMs;
    this.#lastFinishedMs = clock.now();
  }

  #manifest(
    name: SnapshotName,
    start: JournalPosition,
    checksums: bigint[],
    bytes: number,
  ): Manifest {
    const { journal, effects } = this.#options;
    return {
      ...name,
      clusterId: journal.claim.clusterId,
      start,
      // Whatever was read is in the journal up to here.
      until: journal.settled.sequence,
      atMs: effects.clock.now(),
      chunks: checksums.length,
      rows: this.#progress?.rows ?? 0,
      bytes,
      digest: digestOf(checksums),
    };
  }

  async #copyRows(target: Target, name: SnapshotName): Promise<bigint[]> {
    const { store, effects } = this.#options;
    const checksums: bigint[] = [];
    let rows: Write[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      if (rows.length === 0) return;
      const chunk = await encodeChunk(name, checksums.length, rows);
      await target.put(checksums.length, chunk);
      checksums.push(chunkChecksum(chunk));
      if (this.#progress !== undefined) this.#progress.rows += rows.length;
      rows = [];
      bytes = 0;
      await effects.clock.sleep(CHUNK_PAUSE_MS);
    };
    for (let start: Buffer = Buffer.alloc(0); ; ) {
      const page = await store.range({ start, end: LAST_KEY, limit: KV_LIMITS.rangeRows });
      for (const { key, stamp, value } of page) {
        if (isOwnRow(key)) continue;
        rows.push({ key, stored: Buffer.concat([stamp, value]) });
        bytes += key.length + stamp.length + value.length + ROW_OVERHEAD_BYTES;
        if (bytes >= CHUNK_BYTES) await flush();
      }
      const last = page.at(-1);
      if (last === undefined || page.length < KV_LIMITS.rangeRows) break;
      start = Buffer.concat([last.key, Buffer.from([0])]);
    }
    await flush();
    return checksums;
  }

  /** Drops snapshots that are not kept, parts of unfinished ones, and records that nobody needs. */
  async #clean(claim: JournalClaim): Promise<void> {
    const { journal, log } = this.#options;
    const whole = (this.#held ?? []).filter(({ nodes }) => nodes.size >= COPIES);
    const kept = whole.slice(0, KEPT);
    this.#held = kept;
    this.#setFloor();
    const upTo = kept.length === KEPT ? (kept.at(-1)?.manifest.sequence ?? 0) : 0;
    for (const { id, journal: node } of journal.live()) {
      try {
        const options = { timeoutMs: CALL_TIMEOUT_MS };
        for (const { chunks: _, ...snapshot } of await node.snapshots(options)) {
          const known = kept.some(
            ({ manifest: { sequence, generation } }) =>
              sequence === snapshot.sequence && generation === snapshot.generation,
          );
          if (!known) await node.dropSnapshot({ claim, snapshot }, options);
        }
        if (upTo > 0) await node.truncate({ claim, upTo }, options);
      } catch (error) {
        log.warn({ node: id, reason: toFailure(error).message }, 'old snapshots stay for now');
      }
    }
    if (upTo > 0) journal.truncated(upTo);
  }
}

/** The nodes that still take the snapshot; at least two, or it fails. */
class Target {
  readonly #claim: JournalClaim;
  readonly #name: SnapshotName;
  peers: readonly Peer[];
  bytes = 0;

  constructor(claim: JournalClaim, name: SnapshotName, peers: readonly Peer[]) {
    this.#claim = claim;
    this.#name = name;
    this.peers = peers;
  }

  async put(index: number, bytes: Buffer): Promise<void> {
    const command = { claim: this.#claim, snapshot: this.#name, index, bytes };
    const took = await Promise.allSettled(
      this.peers.map((peer) => peer.journal.putChunk(command, { timeoutMs: CALL_TIMEOUT_MS })),
    );
    const problem = took.find((one) => one.status === 'rejected');
    this.peers = this.peers.filter((_, at) => took[at]?.status === 'fulfilled');
    this.bytes += bytes.length;
    if (this.peers.length < COPIES) {
      throw new Failure('unavailable', 'fewer than two nodes took the snapshot', {
        cause: problem?.reason,
      });
    }
  }
}
