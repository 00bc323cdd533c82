/**
 * The repair job: works the repair queue off. An entry names a blob and a node whose replicas of it
 * were never written, are missing or are corrupt; every block of the blob that belongs on the node is
 * looked at there and, if need be, copied from a verified replica (`copy-block.ts`).
 *
 * Blobs with the fewest good replicas come first: the queue is walked twice, for blobs with two
 * entries or more and for the others, and what the first walk finds goes before everything that the
 * second one does. Both walks read a bounded number of rows per round and keep a bounded number of
 * blobs, so a queue of any length takes the same memory.
 *
 * Nothing is decided on silence. A node that does not answer is asked again later, each time after a
 * longer pause, while the entries of other nodes go on. A block of which no replica is good stays in
 * the queue, and its bad replicas stay where they are. Progress is the queue itself: an entry is
 * taken off when all is well, so a restart loses nothing, and finds blocks that are already there.
 */
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { type BlockKey, KEYS_PER_CALL_MAX, type StorageNode } from '../../storage-node/protocol.ts';
import type { JobStatus, ReplicaHistogram } from '../admin-protocol.ts';
import type { Blobs, FoundBlob, RepairEntry, Repairs } from '../catalogue/catalogue.ts';
import type { Leases } from '../cluster/leases.ts';
import type { ClusterView, ReplicaReport } from '../protocol.ts';
import { askReplica, type CopyOutcome, copyBlock, type Peer } from './copy-block.ts';
import { type Job, PacedControl, type JobRows } from './job.ts';
import {
  blockCount,
  blockKeys,
  blockLength,
  holdersOf,
  idsOfGroup,
  isMoving,
  type Placement,
  placementOf,
} from './placed.ts';
import { inParallel, Meter } from './rate.ts';
import { type BlobRepairs, RepairWalk } from './repair-walk.ts';
import { NodePatience } from './patience.ts';

export interface RepairJobOptions {
  repairs: Repairs;
  blobs: Blobs;
  leases: Pick<Leases, 'isSettled'>;
  view: () => ClusterView;
  /** The node, when it is up. */
  node: (id: string) => StorageNode | undefined;
  rows: JobRows;
  clock: Clock;
  log: Log;
  limits?: Partial<RepairLimits> | undefined;
}

export interface RepairLimits {
  /** Blobs at a time, each with one block in memory. */
  atOnce: number;
  /** Blobs of one round. */
  blobsPerRound: number;
  /** Rows of the queue that one round reads, in thousands. */
  pagesPerRound: number;
  /** Bytes read and written per second unless an operator says otherwise; 0 for no limit. */
  bytesPerSecond: number;
  callTimeoutMs: number;
  /** After a walk that found nothing to do, milliseconds until the next when nothing changes. */
  rewalkMs: number;
  /** Milliseconds until a blob is tried again of which no good replica was found. */
  lostRetryMs: number;
}

const REPAIR_LIMITS: RepairLimits = {
  atOnce: 8,
  blobsPerRound: 256,
  pagesPerRound: 10,
  bytesPerSecond: 64 * 1024 * 1024,
  callTimeoutMs: 10_000,
  rewalkMs: 10_000,
  lostRetryMs: 60_000,
};

/** Entries that are remembered as not to be tried again soon. */
const LATER_MAX = 10_000;

interface Later {
  until: number;
  lost: boolean;
}

export class RepairJob implements Job {
  readonly #options: RepairJobOptions;
  readonly #limits: RepairLimits;
  readonly #control: PacedControl;
  readonly #meter: Meter;
  readonly #patience: NodePatience;
  /** Blobs of which two replicas or more are missing, and the others. */
  readonly #walks: { urgent: RepairWalk; normal: RepairWalk };
  readonly #later = new Map<string, Later>();
  #depth = 0;
  #rest: { at: number; depth: number; nodes: string; idle: boolean } | undefined;
  readonly #ending = new AbortController();
  #working = false;
  /** An operator wants a walk now. */
  #kicked = false;
  #worked = false;
  #histogram = { one: 0, more: 0 };
  #finishedMs: number | undefined;
  #problem: string | undefined;
  readonly #counts = { entries: 0, repaired: 0, bytes: 0, sound: 0, obsolete: 0, unanswered: 0 };

  constructor(options: RepairJobOptions) {
    this.#options = options;
    this.#limits = { ...REPAIR_LIMITS, ...options.limits };
    const { clock, rows } = options;
    this.#control = new PacedControl('repair', rows, clock, this.#limits.bytesPerSecond);
    this.#meter = new Meter(options.clock);
    this.#patience = new NodePatience(options.clock);
    this.#walks = {
      urgent: new RepairWalk(options.repairs, (entries) => entries.length > 1),
      normal: new RepairWalk(options.repairs, (entries) => entries.length === 1),
    };
  }

  /** Reads what operators have said before the last restart. */
  async restore(): Promise<void> {
    await this.#control.load();
  }

  status(): JobStatus {
    const rate = this.#meter.perSecond();
    const lost = this.#lostBlobs().size;
    const { entries: done, ...counts } = this.#counts;
    return {
      name: 'repair',
      state: this.#control.paused ? 'paused' : this.#working ? 'running' : 'idle',
      done,
      total: done + this.#depth,
      unit: 'rows',
      rate,
      etaMs: this.#depth === 0 || rate === 0 ? undefined : (this.#depth * 1000) / rate,
      lastFinishedMs: this.#finishedMs,
      counts: { ...counts, lost, waiting: this.#depth },
      problem: this.#problem,
    };
  }

  /** Forgets all waiting and walks the queue now. */
  run(): void {
    this.#kicked = true;
  }

  pause(): Promise<void> {
    return this.#control.pause();
  }

  resume(): Promise<void> {
    return this.#control.resume();
  }

  setRate(bytesPerSecond: number): Promise<void> {
    return this.#control.setRate(bytesPerSecond);
  }

  /** Before the loop is stopped: a round that waits for its turn gives up. */
  end(): void {
    this.#ending.abort();
  }

  /** Blobs by what they miss, as of the last walk along the whole queue. `blobs`: how many there are. */
  histogram(blobs: number): ReplicaHistogram {
    if (this.#depth === 0) return { whole: blobs, missingOne: 0, missingTwo: 0, lost: 0 };
    const { one, more: missingTwo } = this.#histogram;
    // Before the first walk is through, every entry is taken for a blob of its own.
    const missingOne = one + missingTwo === 0 ? this.#depth : one;
    const lost = this.#lostBlobs().size;
    const whole = Math.max(0, blobs - missingOne - missingTwo);
    return { whole, missingOne, missingTwo, lost };
  }

  /** One bounded round. True: there is more to do at once. Throws what the store throws. */
  async round(): Promise<boolean> {
    this.#working = false;
    const placement = placementOf(this.#options.view());
    this.#depth = await this.#options.repairs.depth();
    if (this.#control.paused || placement === undefined) return false;
    if (!this.#due(placement)) return false;
    this.#working = true;
    const blobs = await this.#collect(placement);
    if (blobs.length > 0) {
      this.#worked = true;
      await this.#repairAll(blobs, placement);
      this.#depth = await this.#options.repairs.depth();
    }
    if (!this.#walks.urgent.ended || !this.#walks.normal.ended) return true;
    this.#endWalk(placement);
    return false;
  }

  /* ---------------------------------------------------------------- what to do */

  /** False: everything in the queue was looked at and has to wait. */
  #due(placement: Placement): boolean {
    if (this.#depth === 0) {
      if (this.#rest === undefined) this.#endWalk(placement);
      return false;
    }
    const { clock } = this.#options;
    if (this.#kicked) {
      this.#kicked = false;
      this.#patience.forget();
      this.#later.clear();
      this.#restart();
      return true;
    }
    const rest = this.#rest;
    if (rest === undefined) return true;
    const changed = rest.depth !== this.#depth || rest.nodes !== this.#answering(placement);
    const pause = rest.idle ? this.#limits.rewalkMs : 1000;
    if (!changed && clock.monotonic() - rest.at < pause) return false;
    this.#restart();
    return true;
  }

  #restart(): void {
    this.#rest = undefined;
    this.#worked = false;
    this.#walks.urgent.restart();
    this.#walks.normal.restart();
  }

  #endWalk(placement: Placement): void {
    const { clock } = this.#options;
    const { urgent, normal } = this.#walks;
    this.#histogram = { one: normal.matched, more: urgent.matched };
    const nodes = this.#answering(placement);
    this.#forgetOld();
    this.#rest = { at: clock.monotonic(), depth: this.#depth, nodes, idle: !this.#worked };
    const lost = this.#lostBlobs();
    const [first] = lost;
    if (lost.size > 0) {
      this.#problem = `${lost.size} blobs have a block without any good replica, for example ${first}`;
    } else if (this.#depth === 0) this.#problem = undefined;
    if (this.#depth === 0 && this.#worked) this.#finishedMs = clock.now();
  }

  /** The nodes that can be worked on now, as one text. */
  #answering({ layout }: Placement): string {
    const { node } = this.#options;
    const ids = layout.nodes.map(({ id }) => id);
    return ids.filter((id) => node(id) !== undefined && this.#patience.mayAsk(id)).join(' ');
  }

  async #collect(placement: Placement): Promise<BlobRepairs[]> {
    const { urgent, normal } = this.#walks;
    const room = this.#limits.blobsPerRound;
    const workable = (entry: RepairEntry): boolean => this.#workable(entry, placement);
    const first = await urgent.take(room, this.#limits.pagesPerRound, workable);
    if (first.length > 0) return first;
    return await normal.take(room, this.#limits.pagesPerRound, workable);
  }

  #workable({ blob, node }: RepairEntry, { layout }: Placement): boolean {
    const later = this.#later.get(nameOf(blob, node));
    if (later !== undefined && later.until > this.#options.clock.monotonic()) return false;
    // Entries of nodes that are in the layout no more are taken off.
    if (!layout.nodes.some(({ id }) => id === node)) return true;
    return this.#patience.mayAsk(node) && this.#options.node(node) !== undefined;
  }

  /* ---------------------------------------------------------------- blobs */

  async #repairAll(work: readonly BlobRepairs[], placement: Placement): Promise<void> {
    const rows = await this.#options.blobs.get(work.map(({ blob }) => blob));
    const pairs = work.map((one, index) => ({ ...one, row: rows[index] }));
    const finished: RepairEntry[] = [];
    const reports: ReplicaReport[] = [];
    try {
      await inParallel(pairs, this.#limits.atOnce, async ({ entries, row }) => {
        for (const entry of entries) {
          if (await this.#repairOne(entry, row, placement, reports)) finished.push(entry);
        }
      });
    } finally {
      await this.#options.repairs.drop(finished);
      this.#counts.entries += finished.length;
      this.#meter.add(finished.length);
      if (reports.length > 0) await this.#options.repairs.report(reports);
    }
  }

  /** True: the entry has done its duty. */
  async #repairOne(
    entry: RepairEntry,
    row: FoundBlob | undefined,
    placement: Placement,
    reports: ReplicaReport[],
  ): Promise<boolean> {
    const outcome =
      row === undefined ? 'obsolete' : await this.#mend(entry, row, placement, reports);
    const name = nameOf(entry.blob, entry.node);
    if (outcome === 'whole' || outcome === 'obsolete') {
      if (outcome === 'obsolete') this.#counts.obsolete += 1;
      this.#later.delete(name);
      return true;
    }
    if (outcome === 'lost' || outcome === 'no-source') this.#remember(name, outcome === 'lost');
    return false;
  }

  /**
   * All blocks of the blob on the entry's node. `whole`: nothing is missing there now; `waiting`: the
   * node does not take it, or the job was paused; the others as in `CopyOutcome`.
   */
  async #mend(
    entry: RepairEntry,
    row: FoundBlob,
    placement: Placement,
    reports: ReplicaReport[],
  ): Promise<'whole' | 'obsolete' | 'waiting' | 'lost' | 'no-source'> {
    const { layout } = placement;
    let worst: 'whole' | 'no-source' | 'lost' = 'whole';
    let mine = 0;
    let chunk: BlockKey[] = [];
    const flush = async (): Promise<'on' | 'waiting' | 'obsolete'> => {
      const keys = chunk;
      chunk = [];
      for (const [index, state] of (await this.#statesOn(entry, row, keys)).entries()) {
        const key = keys[index];
        if (key === undefined || state === 'good') continue;
        if (state === 'unreachable' || this.#control.paused) return 'waiting';
        const result = await this.#copy(entry, row, placement, { key, found: state });
        reports.push(...this.#reportable(result, key, placement));
        if (result.outcome === 'gone') return 'obsolete';
        if (result.outcome === 'no-target') return this.#failed(entry.node, result.problem);
        if (result.outcome === 'lost') worst = 'lost';
        if (result.outcome === 'no-source' && worst !== 'lost') worst = 'no-source';
      }
      return 'on';
    };
    for (const key of blockKeys(entry.blob, layout.groups, 0, blockCount(row))) {
      if (!idsOfGroup(layout, key.group).includes(entry.node)) continue;
      mine += 1;
      chunk.push(key);
      if (chunk.length < KEYS_PER_CALL_MAX / 4) continue;
      const went = await flush();
      if (went !== 'on') return went;
    }
    if (mine === 0) return 'obsolete';
    const went = await flush();
    if (went !== 'on') return went;
    // Another layout may have made this node responsible for more.
    return this.#options.view().layout?.epoch === layout.epoch ? worst : 'waiting';
  }

  /** What the entry's node says of `keys`, up to the first that it does not answer. */
  async #statesOn(
    entry: RepairEntry,
    row: FoundBlob,
    keys: readonly BlockKey[],
  ): Promise<('good' | 'missing' | 'corrupt' | 'unreachable')[]> {
    const target = this.#peer(entry.node);
    const timeoutMs = this.#limits.callTimeoutMs;
    // It may have fallen silent since the round began.
    if (!this.#patience.mayAsk(entry.node)) return ['unreachable'];
    if (target.node === undefined) return [this.#silent(entry.node)];
    if (entry.reason === 'missing') {
      try {
        const found = await target.node.has(keys, { timeoutMs });
        this.#patience.answered(entry.node);
        this.#counts.sound += found.filter(Boolean).length;
        return found.map((there) => (there ? 'good' : 'missing'));
      } catch {
        return [this.#silent(entry.node)];
      }
    }
    const states: ('good' | 'missing' | 'corrupt' | 'unreachable')[] = [];
    for (const key of keys) {
      const length = blockLength(row, key.index);
      await this.#control.limit.take(length, this.#ending.signal);
      if (this.#control.paused) return [...states, 'unreachable'];
      const { state } = await askReplica(target, key, length, timeoutMs);
      if (state === 'good') this.#counts.sound += 1;
      states.push(state === 'unreachable' ? this.#silent(entry.node) : state);
      if (state === 'unreachable') return states;
      this.#patience.answered(entry.node);
    }
    return states;
  }

  async #copy(
    entry: RepairEntry,
    row: FoundBlob,
    placement: Placement,
    { key, found }: { key: BlockKey; found: 'missing' | 'corrupt' },
  ): Promise<CopyOutcome> {
    const length = blockLength(row, key.index);
    await this.#control.limit.take(length, this.#ending.signal);
    if (this.#control.paused) return { outcome: 'no-target', bad: [], problem: undefined };
    const holders = holdersOf(placement, key.group);
    // Sources share the work: consecutive blocks begin with different ones.
    const turn = key.index % holders.length;
    const order = [...holders.slice(turn), ...holders.slice(0, turn)];
    const sources = order.map((id) => this.#peer(id));
    const result = await copyBlock(
      { key, length, target: this.#peer(entry.node), found, sources },
      {
        stands: (blob) => this.#options.blobs.stands(blob),
        isSettled: (blob) => this.#options.leases.isSettled(blob),
        callTimeoutMs: this.#limits.callTimeoutMs,
      },
    );
    if (result.outcome === 'copied') {
      this.#counts.repaired += 1;
      this.#counts.bytes += length;
      this.#patience.answered(entry.node);
    }
    return result;
  }

  /** Bad replicas that copying has met, where they are certainly expected. */
  #reportable(result: CopyOutcome, key: BlockKey, placement: Placement): ReplicaReport[] {
    if (isMoving(placement, key.group)) return [];
    return result.bad.map(({ node, reason }) => ({ blob: key.blob, node, reason }));
  }

  /* ---------------------------------------------------------------- patience */

  #peer(id: string): Peer {
    return { id, node: this.#options.node(id) };
  }

  #silent(node: string): 'unreachable' {
    this.#counts.unanswered += 1;
    this.#patience.silent(node);
    return 'unreachable';
  }

  #failed(node: string, problem: string | undefined): 'waiting' {
    if (this.#control.paused) return 'waiting';
    this.#silent(node);
    if (problem !== undefined) {
      this.#problem = `node ${node} does not take copies: ${problem}`;
      this.#options.log.debug({ node, problem }, 'a node did not take a copy');
    }
    return 'waiting';
  }

  #remember(name: string, lost: boolean): void {
    const retryMs = lost ? this.#limits.lostRetryMs : this.#limits.rewalkMs;
    const known = this.#later.get(name);
    if (lost && known?.lost !== true) {
      this.#options.log.error({ entry: name }, 'no good replica is left of a block');
    }
    this.#later.delete(name);
    this.#later.set(name, { until: this.#options.clock.monotonic() + retryMs, lost });
    if (this.#later.size <= LATER_MAX) return;
    for (const oldest of this.#later.keys()) {
      this.#later.delete(oldest);
      return;
    }
  }

  /** What is in the queue is tried again in time; what was not has left it, or its node is away. */
  #forgetOld(): void {
    const longAgo = this.#options.clock.monotonic() - 2 * this.#limits.lostRetryMs;
    for (const [name, { until }] of this.#later) if (until < longAgo) this.#later.delete(name);
  }

  #lostBlobs(): Set<string> {
    const lost = new Set<string>();
    for (const [name, later] of this.#later) if (later.lost) lost.add(name.slice(0, 32));
    return lost;
  }
}

const nameOf = (blob: string, node: string): string => `${blob} ${node}`;
