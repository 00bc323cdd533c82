/**
 * The garbage job: takes entries off the catalogue's queue, waits until nobody can read what they
 * name (`../cluster/reclamation.ts`) and until nobody can still commit it (the writer's mark), has
 * every node of the placement groups delete the blocks, and only then marks the entry done.
 *
 * Nothing is decided on silence: an entry whose nodes do not all acknowledge stays queued. Memory and
 * work per round are bounded: when the waiting room is full of entries that an unreachable node
 * holds up, they are dropped from memory and met again when the queue has been walked to its end.
 *
 * The bound: while all leases are renewed and all nodes answer, blocks are gone from every node
 *
 *     3 pauses of this job + 2 renewals of the slowest gateway + the longest read or write under way
 *
 * after the commit that made them garbage, plus the time that the deleting itself takes: a round
 * takes the entry in, every gateway learns the new epoch with one renewal and reports it with the
 * next, and a round deletes. With the usual settings that is a few seconds. A gateway that died holds
 * everything back until its lease ends (10 s), a node that is away only what lies on it.
 *
 * A crash costs nothing: deleting blocks and taking steps on entries may be repeated.
 */
import type { Clock } from '../../base/clock.ts';
import { placementStart } from '../../base/ids.ts';
import { isFailure, toFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import { type BlockKey, KEYS_PER_CALL_MAX, type StorageNode } from '../../storage-node/protocol.ts';
import type { GarbageEntry, GarbageQueue } from '../catalogue/catalogue.ts';
import type { Leases } from '../cluster/leases.ts';
import { membersOf } from '../cluster/moves.ts';
import type { Reclamation } from '../cluster/reclamation.ts';
import type { Layout } from '../protocol.ts';

type BlobEntry = Extract<GarbageEntry, { kind: 'blob' }>;
/** Entries whose data a running read may still see. */
export type ReadableEntry = Extract<GarbageEntry, { kind: 'blob' | 'parts' }>;

export interface GarbageJobOptions {
  queue: GarbageQueue;
  leases: Leases;
  reclamation: Reclamation<ReadableEntry>;
  layout: () => Layout | undefined;
  /** Older layouts whose data is still being moved: their nodes have blocks, too. */
  previous?: (() => readonly Layout[]) | undefined;
  /** Nobody of this id will ever answer again. */
  isGone?: ((node: string) => boolean) | undefined;
  /** The node, when it is up. */
  node: (id: string) => StorageNode | undefined;
  clock: Clock;
  log: Log;
  limits?: Partial<GarbageLimits> | undefined;
}

export interface GarbageLimits {
  /** Entries in memory. */
  entries: number;
  /** Blocks that one round deletes, each on its three nodes. */
  blocksPerRound: number;
  /** Steps on composite entries in one round. */
  stepsPerRound: number;
  /** Milliseconds that a node may take for one call. */
  callTimeoutMs: number;
  /** Milliseconds after which the queue is walked from its beginning again. */
  rewalkMs: number;
}

const GARBAGE_LIMITS: GarbageLimits = {
  entries: 10_000,
  blocksPerRound: 8000,
  stepsPerRound: 64,
  callTimeoutMs: 10_000,
  rewalkMs: 30_000,
};

const PAGE = 1000;

export interface GarbageStats {
  /** Entries in memory: waiting for readers, for nodes, or for their turn. */
  held: number;
  /** Of those, the ones that wait for reads to end. */
  waiting: number;
  /** Since the start. */
  blobsRemoved: number;
  blocksRemoved: number;
  nodeFailures: number;
}

/** A blob whose blocks may go. */
interface Removal {
  entry: BlobEntry;
  blocks: number;
  /** Blocks before this one are gone from every node. */
  next: number;
  /** Its turn came and a node did not acknowledge. */
  stuck: boolean;
}

export class GarbageJob {
  readonly #options: GarbageJobOptions;
  readonly #limits: GarbageLimits;
  /** Ids of all entries in memory. */
  readonly #held = new Set<string>();
  /** Nobody can read it, but its writer may still commit it. */
  #unsettled: BlobEntry[] = [];
  #composites: GarbageEntry[] = [];
  #removals: Removal[] = [];
  /** Where the walk along the queue is. */
  #cursor: string | undefined;
  #walkBeganAt = Number.NEGATIVE_INFINITY;
  readonly #counts = { blobsRemoved: 0, blocksRemoved: 0, nodeFailures: 0 };

  constructor(options: GarbageJobOptions) {
    this.#options = options;
    this.#limits = { ...GARBAGE_LIMITS, ...options.limits };
  }

  stats(): GarbageStats {
    const { waiting } = this.#options.reclamation;
    return { held: this.#held.size, waiting, ...this.#counts };
  }

  /** The next round walks the queue from its beginning, and asks every node again. */
  rewalk(): void {
    this.#walkBeganAt = Number.NEGATIVE_INFINITY;
    for (const removal of this.#removals) removal.stuck = false;
  }

  /** One bounded round. True: there is more to do at once. Throws what the store throws. */
  async round(): Promise<boolean> {
    const taken = await this.#take();
    const { reclamation, leases } = this.#options;
    for (const entry of reclamation.release(leases.oldestRead())) {
      if (entry.kind === 'blob') this.#unsettled.push(entry);
      else this.#composites.push(entry);
    }
    this.#settle();
    const stepped = await this.#expand();
    const removed = await this.#remove();
    return taken || stepped || removed;
  }

  /* ---------------------------------------------------------------- intake */

  async #take(): Promise<boolean> {
    const { queue, reclamation, clock } = this.#options;
    if (this.#limits.entries - this.#held.size < PAGE) this.#makeRoom();
    const room = this.#limits.entries - this.#held.size;
    if (room <= 0) return false;
    if (clock.monotonic() - this.#walkBeganAt >= this.#limits.rewalkMs) {
      this.#walkBeganAt = clock.monotonic();
      this.#cursor = undefined;
    }
    const page = await queue.next(Math.min(PAGE, room), this.#cursor);
    const fresh = page.filter((entry) => !this.#held.has(entry.id));
    const readable: ReadableEntry[] = [];
    for (const entry of page) {
      // Kept answers have a due time and stand behind all others: never skip what comes before them.
      if (entry.kind !== 'completed') this.#cursor = entry.id;
    }
    for (const entry of fresh) {
      this.#held.add(entry.id);
      if (entry.kind === 'blob' || entry.kind === 'parts') readable.push(entry);
      else this.#composites.push(entry);
    }
    reclamation.admit(readable);
    return fresh.length > 0;
  }

  /**
   * Forgets what a node or a writer holds up, so that others come to their turn. It is still queued,
   * and the next walk meets it again.
   */
  #makeRoom(): void {
    const dropped = [
      ...this.#removals.filter((removal) => removal.stuck).map(({ entry }) => entry),
      ...this.#unsettled,
    ];
    this.#removals = this.#removals.filter((removal) => !removal.stuck);
    this.#unsettled = [];
    for (const { id } of dropped) this.#held.delete(id);
  }

  /** Blobs that no commit can bring back go to the removals. */
  #settle(): void {
    const { leases } = this.#options;
    const still: BlobEntry[] = [];
    for (const entry of this.#unsettled) {
      if (!leases.isSettled(entry.blob)) {
        still.push(entry);
        continue;
      }
      const blocks = Math.ceil(entry.size / Math.max(1, entry.blockSize));
      this.#removals.push({ entry, blocks, next: 0, stuck: false });
    }
    this.#unsettled = still;
  }

  /* ---------------------------------------------------------------- composites */

  async #expand(): Promise<boolean> {
    const { queue } = this.#options;
    const due = this.#composites.splice(0, this.#limits.stepsPerRound);
    for (const [index, entry] of due.entries()) {
      try {
        // Finished ones have left the queue; the others go to the back of the row.
        if (await queue.expand(entry)) this.#held.delete(entry.id);
        else this.#composites.push(entry);
      } catch (error) {
        this.#composites.push(...due.slice(index + 1), entry);
        throw error;
      }
    }
    return due.length > 0;
  }

  /* ---------------------------------------------------------------- blobs */

  async #remove(): Promise<boolean> {
    const layout = this.#options.layout();
    if (layout === undefined || this.#removals.length === 0) return false;
    const { batches, steps } = this.#planRound([layout, ...(this.#options.previous?.() ?? [])]);
    const failed = new Set<string>();
    await Promise.all(
      [...batches].map(async ([id, keys]) => {
        if (!(await this.#deleteOn(id, keys))) failed.add(id);
      }),
    );
    const finished: Removal[] = [];
    for (const step of steps) {
      step.removal.stuck = step.nodes.some((node) => failed.has(node));
      if (step.removal.stuck) continue;
      this.#counts.blocksRemoved += step.until - step.removal.next;
      step.removal.next = step.until;
      if (step.until >= step.removal.blocks) finished.push(step.removal);
    }
    await this.#finish(finished);
    // What was looked at and did not move goes to the back.
    const looked = new Set(steps.map((step) => step.removal));
    const rest = this.#removals.filter((removal) => !looked.has(removal));
    this.#removals = [...rest, ...[...looked].filter((removal) => removal.next < removal.blocks)];
    return steps.some(({ removal }) => !removal.stuck);
  }

  async #finish(removals: readonly Removal[]): Promise<void> {
    if (removals.length === 0) return;
    const ids = removals.map(({ entry }) => entry.id);
    await this.#options.queue.done(ids);
    for (const id of ids) this.#held.delete(id);
    this.#counts.blobsRemoved += ids.length;
  }

  /** The next blocks of the removals in line, by node, up to the bound of a round. */
  #planRound(layouts: readonly [Layout, ...Layout[]]): {
    batches: Map<string, BlockKey[]>;
    steps: RemovalStep[];
  } {
    const [{ groups }] = layouts;
    const batches = new Map<string, BlockKey[]>();
    const steps: RemovalStep[] = [];
    let blocks = 0;
    for (const removal of this.#removals) {
      if (blocks >= this.#limits.blocksPerRound) break;
      const until = Math.min(removal.blocks, removal.next + this.#limits.blocksPerRound - blocks);
      const nodes = new Set<string>();
      const start = placementStart(removal.entry.blob, groups);
      for (let index = removal.next; index < until; index++) {
        const key = { group: (start + index) % groups, blob: removal.entry.blob, index };
        for (const id of this.#holders(layouts, key.group)) {
          nodes.add(id);
          const batch = batches.get(id);
          if (batch === undefined) batches.set(id, [key]);
          else batch.push(key);
        }
      }
      blocks += until - removal.next;
      steps.push({ removal, until, nodes: [...nodes] });
    }
    return { batches, steps };
  }

  /** Every node that may have blocks of the group. */
  #holders(layouts: readonly Layout[], group: number): Set<string> {
    const ids = new Set<string>();
    for (const layout of layouts) for (const id of membersOf(layout, group)) ids.add(id);
    if (layouts.length > 1) {
      for (const id of ids) if (this.#options.isGone?.(id) === true) ids.delete(id);
    }
    return ids;
  }

  /** True: the node has acknowledged every key. */
  async #deleteOn(id: string, keys: readonly BlockKey[]): Promise<boolean> {
    const node = this.#options.node(id);
    if (node === undefined) return false;
    const timeoutMs = this.#limits.callTimeoutMs;
    try {
      for (let from = 0; from < keys.length; from += KEYS_PER_CALL_MAX) {
        await node.delete(keys.slice(from, from + KEYS_PER_CALL_MAX), { timeoutMs });
      }
      return true;
    } catch (error) {
      this.#counts.nodeFailures += 1;
      const expected = isFailure(error, 'unavailable', 'timeout', 'unknown-outcome', 'cancelled');
      const fields = { node: id, error: toFailure(error) };
      if (expected) this.#options.log.debug(fields, 'a node did not take deletions');
      else this.#options.log.warn(fields, 'a node refused deletions');
      return false;
    }
  }
}

interface RemovalStep {
  removal: Removal;
  /** Blocks before this one go in this round. */
  until: number;
  nodes: string[];
}
