/**
 * The orphan job: walks along what every node stores, slowly and for ever, and removes blocks that
 * no blob row refers to and none ever will: leftovers of uploads that were cut off, of gateways and
 * metadata services that died, of copies that came too late.
 *
 * A block goes if, in this order,
 *  1. the node has listed it,
 *  2. its blob is settled: the writer's lease is gone, and fenced (a commit checks the lease's row),
 *     or the blob's sequence is below the mark that the writer has reported since this start; no
 *     commit of the blob can happen after that,
 *  3. the blob's row is absent,
 *  4. every read that runs began after 3 (`../cluster/reclamation.ts`).
 * The order of 2 and 3 is what makes it safe. After 2 no commit can bring the row into being, so what
 * is absent at 3 stays absent, and so does every reference, for references are only ever added to
 * rows that stand. The other way round, a commit could land between the two looks, and its data would
 * be removed. 4 is for blobs that were deleted just now: they wait in the garbage queue for their
 * readers, and must not lose their blocks earlier here.
 *
 * A writer that has not reported since this start, or is silent, keeps all its blobs safe until its
 * lease ends. Nothing is decided on silence of a node, for only what a node has listed is removed.
 *
 * The bound: one walk takes at most a pause per page (1,000 blocks, or the rest of a group) and node,
 * and the next one begins `walkMs` after the one before began. An orphan is therefore gone `walkMs`,
 * or one walk if that takes longer, plus one walk after its blob is settled.
 */
import type { Clock } from '../../base/clock.ts';
import { toFailure } from '../../base/failure.ts';
import type { BlobId } from '../../base/ids.ts';
import type { Log } from '../../base/log.ts';
import {
  type BlockKey,
  KEYS_PER_CALL_MAX,
  LIST_PAGE_MAX,
  type StorageNode,
} from '../../storage-node/protocol.ts';
import type { JobStatus } from '../admin-protocol.ts';
import type { Blobs } from '../catalogue/catalogue.ts';
import type { Leases } from '../cluster/leases.ts';
import type { Reclamation } from '../cluster/reclamation.ts';
import type { ClusterView } from '../protocol.ts';
import { type Job, JobControl, type JobRows } from './job.ts';
import { Meter } from './rate.ts';

export interface OrphanRuleParts {
  blobs: Pick<Blobs, 'get'>;
  leases: Pick<Leases, 'isSettled' | 'oldestRead'>;
  reclamation: Pick<Reclamation<unknown>, 'begin'>;
}

/** Which of `ids` have no row and will never have one. Steps 2 and 3. */
export async function orphansAmong(
  { blobs, leases }: Pick<OrphanRuleParts, 'blobs' | 'leases'>,
  ids: Iterable<BlobId>,
): Promise<Set<BlobId>> {
  const settled = [...new Set(ids)].filter((id) => leases.isSettled(id));
  // Only now the rows: see above.
  const rows = await blobs.get(settled);
  return new Set(settled.filter((_, index) => rows[index] === undefined));
}

/** Orphaned blocks of nodes, until no read can see them. Step 4. */
export class ReaderGate {
  readonly #parts: Pick<OrphanRuleParts, 'leases' | 'reclamation'>;
  #waiting: { epoch: number; node: string; keys: BlockKey[] }[] = [];

  constructor(parts: Pick<OrphanRuleParts, 'leases' | 'reclamation'>) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** To be called after the rows were found absent. */
  admit(node: string, keys: BlockKey[]): void {
    this.#waiting.push({ epoch: this.#parts.reclamation.begin(), node, keys });
  }

  /** Those that may go now. */
  release(): { node: string; keys: BlockKey[] }[] {
    const oldest = this.#parts.leases.oldestRead();
    if (oldest === undefined) return [];
    const free = this.#waiting.filter(({ epoch }) => epoch <= oldest);
    this.#waiting = this.#waiting.filter(({ epoch }) => epoch > oldest);
    return free;
  }
}

export interface OrphanJobOptions extends OrphanRuleParts {
  view: () => ClusterView;
  /** The node, when it is up. */
  node: (id: string) => StorageNode | undefined;
  rows: JobRows;
  clock: Clock;
  log: Log;
  limits?: Partial<OrphanLimits> | undefined;
}

export interface OrphanLimits {
  /** From the beginning of one walk to that of the next. */
  walkMs: number;
  /** Between two pages of one node; none when an operator has asked for the walk. */
  pagePauseMs: number;
  callTimeoutMs: number;
  /** How often the place that the walk has come to is stored. */
  saveMs: number;
}

export const ORPHAN_LIMITS: OrphanLimits = {
  walkMs: 3_600_000,
  pagePauseMs: 200,
  callTimeoutMs: 10_000,
  saveMs: 30_000,
};

/** Pages of one node that may wait for readers before the walk along it waits, too. */
const GATE_MAX = 64;
/** Nodes whose place is stored, so that it fits a row. */
const PLACES_MAX = 500;
/** Empty groups that one step passes over: they cost a call each, and nothing else. */
const CALLS_PER_STEP = 64;

/** The walk along one node. */
interface Lane {
  id: string;
  group: number;
  after: BlockKey | undefined;
  dueAt: number;
  ended: boolean;
}

export class OrphanJob implements Job {
  readonly #options: OrphanJobOptions;
  readonly #limits: OrphanLimits;
  readonly #control: JobControl;
  readonly #gate: ReaderGate;
  readonly #meter: Meter;
  readonly #ending = new AbortController();
  #lanes: Lane[] = [];
  #groups = 0;
  /** Wall clock: it holds over restarts. */
  #beganMs: number | undefined;
  #savedAt = 0;
  #walking = false;
  #asked = false;
  #hurried = false;
  #finishedMs: number | undefined;
  #problem: string | undefined;
  readonly #counts = { blocks: 0, orphaned: 0, removed: 0, unanswered: 0 };

  constructor(options: OrphanJobOptions) {
    this.#options = options;
    this.#limits = { ...ORPHAN_LIMITS, ...options.limits };
    this.#control = new JobControl('orphans', options.rows);
    this.#gate = new ReaderGate(options);
    this.#meter = new Meter(options.clock);
  }

  /** Reads what operators have said, and where the walk had come to. */
  async restore(): Promise<void> {
    await this.#control.load();
    const state = await this.#options.rows.state('orphans');
    const { layout } = this.#options.view();
    if (state === undefined || layout === undefined) return;
    const { beganMs, finishedMs, places } = state;
    if (typeof finishedMs === 'number') this.#finishedMs = finishedMs;
    if (typeof beganMs !== 'number') return;
    this.#beganMs = beganMs;
    if (typeof places !== 'object' || places === null) return;
    this.#start(layout.groups);
    for (const lane of this.#lanes) {
      const group = (places as Record<string, unknown>)[lane.id];
      if (typeof group !== 'number') continue;
      lane.group = Math.min(group, this.#groups);
      lane.ended = lane.group >= this.#groups;
    }
  }

  /**
   * What was found and waits for readers is not stored: the walk goes on behind it, and the next one
   * finds it again.
   */
  async #save(): Promise<void> {
    this.#savedAt = this.#options.clock.monotonic();
    const places = Object.fromEntries(
      this.#lanes
        .slice(0, PLACES_MAX)
        .map(({ id, group, ended }) => [id, ended ? this.#groups : group]),
    );
    await this.#options.rows.putState('orphans', {
      beganMs: this.#beganMs ?? null,
      finishedMs: this.#finishedMs ?? null,
      places: this.#walking ? places : null,
    });
  }

  status(): JobStatus {
    const total = this.#lanes.length * this.#groups;
    const done = this.#lanes.reduce(
      (sum, lane) => sum + (lane.ended ? this.#groups : lane.group),
      0,
    );
    const rate = this.#walking ? this.#meter.perSecond() : 0;
    return {
      name: 'orphans',
      state: this.#control.paused ? 'paused' : this.#walking ? 'running' : 'idle',
      done,
      total: this.#walking ? total : undefined,
      unit: 'groups',
      rate,
      etaMs: rate === 0 ? undefined : ((total - done) * 1000) / rate,
      lastFinishedMs: this.#finishedMs,
      counts: { ...this.#counts, waitingForReaders: this.#gate.size },
      problem: this.#problem,
    };
  }

  /** Begins a walk, or goes on with the one under way, without pauses. */
  run(): void {
    this.#asked = true;
  }

  async pause(): Promise<void> {
    await this.#control.change({ paused: true });
  }

  async resume(): Promise<void> {
    await this.#control.change({ paused: false });
  }

  /** Before the loop is stopped: calls under way are given up. */
  end(): void {
    this.#ending.abort();
  }

  /** One step of every node that is due. True: there is more to do at once. */
  async round(): Promise<boolean> {
    const { clock } = this.#options;
    if (this.#control.paused) return false;
    if (this.#begin()) await this.#save();
    await this.#removeReleased();
    const now = clock.monotonic();
    const due = this.#lanes.filter((lane) => !lane.ended && lane.dueAt <= now);
    if (this.#gate.size < GATE_MAX) await Promise.all(due.map((lane) => this.#step(lane)));
    if (this.#walking && this.#gate.size === 0 && this.#lanes.every((lane) => lane.ended)) {
      this.#walking = false;
      this.#hurried = false;
      this.#finishedMs = clock.now();
      await this.#save();
    } else if (this.#walking && now - this.#savedAt >= this.#limits.saveMs) await this.#save();
    return this.#walking && this.#hurried;
  }

  /** True: a walk has begun. */
  #begin(): boolean {
    const { clock, view } = this.#options;
    const { layout } = view();
    if (this.#asked) this.#hurried = true;
    if (this.#walking || layout === undefined) return false;
    const now = clock.now();
    const age = this.#beganMs === undefined ? Number.POSITIVE_INFINITY : now - this.#beganMs;
    // A clock that was set back must not stop the walks for as long.
    if (!this.#asked && age >= 0 && age < this.#limits.walkMs) return false;
    this.#asked = false;
    this.#beganMs = now;
    this.#start(layout.groups);
    return true;
  }

  #start(groups: number): void {
    const { layout, nodes } = this.#options.view();
    this.#walking = true;
    this.#groups = groups;
    // All nodes that are known, in the layout or not: orphans lie anywhere.
    const ids = new Set([...(layout?.nodes ?? []), ...nodes].map(({ id }) => id));
    this.#lanes = [...ids].map((id) => ({
      id,
      group: 0,
      after: undefined,
      dueAt: 0,
      ended: false,
    }));
  }

  async #step(lane: Lane): Promise<void> {
    const { clock, log } = this.#options;
    const node = this.#options.node(lane.id);
    if (node === undefined) {
      // The next walk asks it again.
      this.#counts.unanswered += 1;
      lane.ended = true;
      return;
    }
    let listed = 0;
    for (let call = 0; call < CALLS_PER_STEP && listed === 0 && !lane.ended; call++) {
      try {
        listed = await this.#page(lane, node);
      } catch (error) {
        this.#counts.unanswered += 1;
        lane.ended = true;
        log.debug({ node: lane.id, error: toFailure(error) }, 'a node did not list its blocks');
      }
    }
    const pause = this.#hurried ? 0 : this.#limits.pagePauseMs;
    lane.dueAt = clock.monotonic() + pause;
  }

  /** Blocks on the page. Throws what the node and the store throw. */
  async #page(lane: Lane, node: StorageNode): Promise<number> {
    const { group, after } = lane;
    const query = { group, after, limit: LIST_PAGE_MAX };
    const blocks = await node.list(query, this.#call());
    this.#counts.blocks += blocks.length;
    const keys = blocks.map(({ key }) => key);
    const orphans = await orphansAmong(
      this.#options,
      keys.map(({ blob }) => blob),
    );
    const garbage = keys.filter(({ blob }) => orphans.has(blob));
    if (garbage.length > 0) {
      this.#counts.orphaned += garbage.length;
      this.#gate.admit(lane.id, garbage);
    }
    lane.after = keys.at(-1);
    if (blocks.length < LIST_PAGE_MAX) {
      lane.after = undefined;
      lane.group += 1;
      lane.ended = lane.group >= this.#groups;
      this.#meter.add(1);
    }
    return blocks.length;
  }

  #call(): { timeoutMs: number; signal: AbortSignal } {
    return { timeoutMs: this.#limits.callTimeoutMs, signal: this.#ending.signal };
  }

  async #removeReleased(): Promise<void> {
    for (const { node: id, keys } of this.#gate.release()) {
      const node = this.#options.node(id);
      try {
        for (let from = 0; from < keys.length; from += KEYS_PER_CALL_MAX) {
          await node?.delete(keys.slice(from, from + KEYS_PER_CALL_MAX), this.#call());
        }
        if (node !== undefined) this.#counts.removed += keys.length;
        this.#problem = undefined;
      } catch (error) {
        // Still there, so the next walk finds it again.
        this.#problem = `node ${id} does not delete orphaned blocks: ${toFailure(error).message}`;
      }
    }
  }
}
