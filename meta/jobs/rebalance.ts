/**
 * The rebalance job carries layout changes out (`../cluster/moves.ts` says what there is to do,
 * `group-move.ts` how one step goes). For every placement group whose nodes have changed:
 *
 *  1. A node that gets the group is filled, once no gateway writes by a layout in which it did not
 *     have it: every lease has reported `oldestLayout` of `since` or later. A lease that has not
 *     reported since this service started holds everything back. What was filled is marked durably.
 *  2. When all its nodes are full and every gateway works by the newest layout, the nodes that have
 *     given the group up are emptied, after its nodes have been asked for every single block.
 *  3. When that is done for all groups, the older layouts are forgotten.
 *
 * A node that is out is not waited for in step 2. It may come back with blocks that are not its own:
 * that is noted in its row, and it is emptied like the others when it does.
 *
 * A read that looks for a block by an older view, or asked the new nodes just before step 1 and the
 * old ones just after step 2, finds it nowhere. The gateway then asks for the newest view and looks
 * once more (`gateway/object/get.ts`). Only reads of objects that have been deleted meanwhile are
 * waited for in step 2, because those are not copied.
 */
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { StorageNode } from '../../storage-node/protocol.ts';
import type { JobStatus } from '../admin-protocol.ts';
import type { Blobs, Repairs } from '../catalogue/catalogue.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { changesOf, type GroupChange, membersOf, type Move } from '../cluster/moves.ts';
import { emptyNode, fillNode, type GroupMoveParts, type MoveResult } from './group-move.ts';
import { type Job, PacedControl, type JobRows } from './job.ts';
import { inParallel, Meter } from './rate.ts';
import { ReadWait } from './read-wait.ts';

export interface RebalanceOptions {
  cluster: Pick<Cluster<unknown>, 'changes' | 'leases' | 'nodes' | 'reclamation'>;
  blobs: Pick<Blobs, 'get' | 'stands'>;
  repairs: Pick<Repairs, 'report'>;
  /** The node, when it is up. */
  node: (id: string) => StorageNode | undefined;
  rows: JobRows;
  clock: Clock;
  log: Log;
  limits?: Partial<RebalanceLimits> | undefined;
}

export interface RebalanceLimits {
  /** Placement groups at a time. */
  groupsAtOnce: number;
  /** Blocks of one group at a time, each in memory once. */
  copiesAtOnce: number;
  /** Steps (a node filled or emptied) of one round. */
  stepsPerRound: number;
  /** Bytes per second unless an operator says otherwise; 0 for no limit. */
  bytesPerSecond: number;
  callTimeoutMs: number;
  /** Milliseconds until what was stuck is tried again. */
  retryMs: number;
}

const REBALANCE_LIMITS: RebalanceLimits = {
  groupsAtOnce: 4,
  copiesAtOnce: 4,
  stepsPerRound: 64,
  bytesPerSecond: 64 * 1024 * 1024,
  callTimeoutMs: 10_000,
  retryMs: 3000,
};

const NAME = 'rebalance';

type Step =
  | { kind: 'fill'; change: GroupChange; move: Move }
  | { kind: 'empty'; group: number; owners: string[]; node: string };

interface Work {
  steps: Step[];
  /** Steps that are not done, those that have to wait included. */
  left: number;
  /** Nodes that have no leftovers any more. */
  clean: string[];
}

export class RebalanceJob implements Job {
  readonly #options: RebalanceOptions;
  readonly #limits: RebalanceLimits;
  readonly #control: PacedControl;
  readonly #meter: Meter;
  /** Steps that were stuck, by name, until when. */
  readonly #later = new Map<string, number>();
  /** Moves that are done and not marked yet. */
  readonly #filled: Move[] = [];
  /** Nodes that were emptied of a group, by the newest layout. */
  #emptied = new Set<string>();
  #emptiedEpoch = 0;
  #plan: { of: string; changes: GroupChange[] } = { of: '', changes: [] };
  #ending = false;
  #working = false;
  #finishedMs: number | undefined;
  #problem: string | undefined;
  readonly #unread: ReadWait;
  readonly #counts = { copied: 0, copiedBytes: 0, released: 0 };

  constructor(options: RebalanceOptions) {
    this.#options = options;
    this.#limits = { ...REBALANCE_LIMITS, ...options.limits };
    const { clock, rows } = options;
    this.#control = new PacedControl(NAME, rows, clock, this.#limits.bytesPerSecond);
    this.#meter = new Meter(options.clock);
    this.#unread = new ReadWait(options.cluster);
  }

  /** Reads what operators have said before the last restart. */
  async restore(): Promise<void> {
    await this.#control.load();
  }

  status(): JobStatus {
    const moves = this.#changes().flatMap((change) => change.moves);
    const { layouts } = this.#options.cluster.changes;
    const done = moves.filter((move) => layouts.isMoved(move)).length;
    const rate = this.#meter.perSecond();
    const left = moves.length - done;
    return {
      name: NAME,
      state: this.#control.paused ? 'paused' : this.#working ? 'running' : 'idle',
      done,
      total: moves.length,
      unit: 'groups',
      rate,
      etaMs: left === 0 || rate === 0 ? undefined : (left * 1000) / rate,
      lastFinishedMs: this.#finishedMs,
      counts: { ...this.#counts },
      problem: this.#problem,
    };
  }

  run(): void {
    this.#later.clear();
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

  /** No further step begins; to be called before the job's loop is stopped. */
  end(): void {
    this.#ending = true;
  }

  /** One bounded round. True: there is more to do at once. Throws what the store throws. */
  async round(): Promise<boolean> {
    if (this.#halted()) return false;
    const { changes } = this.#options.cluster;
    const { newest, previous } = changes.layouts;
    if (newest === undefined) return false;
    if (newest.epoch !== this.#emptiedEpoch) {
      this.#emptied.clear();
      this.#unread.forget();
      this.#emptiedEpoch = newest.epoch;
      this.#later.clear();
    }
    const work = previous.length > 0 ? this.#changeSteps() : this.#leftoverSteps();
    this.#working = work.left > 0;
    const steps = work.steps.filter((step) => !this.#isLater(step));
    const batch = steps.slice(0, this.#limits.stepsPerRound);
    try {
      await inParallel(batch, this.#limits.groupsAtOnce, (step) => this.#take(step));
    } finally {
      // One commit for all: what a crash makes forget is looked at again.
      const filled = this.#filled.splice(0);
      if (filled.length > 0) await changes.markMoved(filled);
    }
    for (const id of work.clean) await changes.markLeftovers(id, false);
    if (work.left === 0) await this.#finish(newest.epoch);
    return steps.length > batch.length || (batch.length > 0 && batch.length === steps.length);
  }

  #halted(): boolean {
    return this.#ending || this.#control.paused;
  }

  /** As of the layouts that stand. */
  #changes(): GroupChange[] {
    const { newest, previous } = this.#options.cluster.changes.layouts;
    if (newest === undefined) return [];
    const ids = previous.flatMap((layout) => layout.nodes.map(({ id }) => id));
    const of = [newest, ...previous].map(({ epoch }) => epoch).join(' ') + ids.join(' ');
    if (this.#plan.of !== of) this.#plan = { of, changes: changesOf(newest, previous) };
    return this.#plan.changes;
  }

  /* ---------------------------------------------------------------- what there is to do */

  #changeSteps(): Work {
    const { changes, leases } = this.#options.cluster;
    const newest = changes.layouts.newest?.epoch ?? 0;
    const oldest = leases.oldestLayout();
    const steps: Step[] = [];
    let left = 0;
    for (const change of this.#changes()) {
      const open = change.moves.filter((move) => !changes.layouts.isMoved(move));
      left += open.length;
      for (const move of open) {
        if (oldest !== undefined && oldest >= move.since)
          steps.push({ kind: 'fill', change, move });
      }
      for (const node of this.#toEmpty(change)) {
        left += 1;
        const { group, owners } = change;
        if (open.length > 0 || oldest === undefined || oldest < newest) continue;
        steps.push({ kind: 'empty', group, owners, node });
      }
    }
    if (left > 0 && oldest === undefined) {
      this.#problem = 'a gateway has not reported yet which layout it uses: waiting for it';
    }
    return { steps, left, clean: [] };
  }

  #toEmpty({ group, leavers }: GroupChange): string[] {
    const { nodes } = this.#options.cluster;
    return leavers.filter((id) => !nodes.isGone(id) && !this.#emptied.has(`${group} ${id}`));
  }

  /** Nodes that were away while groups of theirs were given to others, and are back. */
  #leftoverSteps(): Work {
    const { changes, leases } = this.#options.cluster;
    const { newest } = changes.layouts;
    const oldest = leases.oldestLayout();
    const steps: Step[] = [];
    const clean: string[] = [];
    if (newest === undefined) return { steps, left: 0, clean };
    for (const { id, row, up } of changes.states()) {
      if (!row.leftovers || !up) continue;
      const before = steps.length;
      for (let group = 0; group < newest.groups; group++) {
        const owners = membersOf(newest, group);
        if (owners.includes(id) || this.#emptied.has(`${group} ${id}`)) continue;
        steps.push({ kind: 'empty', group, owners, node: id });
      }
      if (steps.length === before) clean.push(id);
    }
    const ready = oldest !== undefined && oldest >= newest.epoch;
    return { steps: ready ? steps : [], left: steps.length, clean };
  }

  /* ---------------------------------------------------------------- steps */

  async #take(step: Step): Promise<void> {
    if (this.#halted()) return;
    const result = step.kind === 'fill' ? await this.#fill(step) : await this.#empty(step);
    if (result.state === 'done') this.#meter.add(1);
    if (result.state !== 'stuck') return;
    this.#problem = result.why;
    this.#later.set(nameOf(step), this.#options.clock.monotonic() + this.#limits.retryMs);
  }

  async #fill({ change, move }: Step & { kind: 'fill' }): Promise<MoveResult> {
    const result = await fillNode(this.#parts(), change, move.node);
    if (result.state === 'done') this.#filled.push(move);
    return result;
  }

  async #empty({ group, owners, node }: Step & { kind: 'empty' }): Promise<MoveResult> {
    const { changes } = this.#options.cluster;
    const state = changes.states().find(({ id }) => id === node);
    if (state !== undefined && changes.isOut(state)) {
      await changes.markLeftovers(node, true);
      this.#emptied.add(`${group} ${node}`);
      return { state: 'done' };
    }
    const epoch = this.#emptiedEpoch;
    const whileStable = <T>(work: () => Promise<T>) => changes.whileStable(epoch, work);
    const result = await emptyNode(this.#parts(), group, owners, node, whileStable);
    if (result.state === 'done' && epoch === this.#emptiedEpoch) {
      this.#emptied.add(`${group} ${node}`);
    }
    return result;
  }

  async #finish(epoch: number): Promise<void> {
    const { changes } = this.#options.cluster;
    this.#problem = undefined;
    if (changes.layouts.previous.length === 0) return;
    if (!(await changes.settle(epoch))) return;
    this.#emptied.clear();
    this.#finishedMs = this.#options.clock.now();
    this.#working = false;
  }

  #parts(): GroupMoveParts {
    const { blobs, cluster, node, repairs } = this.#options;
    const { callTimeoutMs, copiesAtOnce } = this.#limits;
    return {
      blobs,
      leases: cluster.leases,
      node,
      isGone: (id) => cluster.nodes.isGone(id),
      limit: this.#control.limit,
      callTimeoutMs,
      copiesAtOnce,
      unread: this.#unread,
      halted: () => this.#halted(),
      copied: (bytes) => {
        this.#counts.copied += 1;
        this.#counts.copiedBytes += bytes;
      },
      released: (blocks) => {
        this.#counts.released += blocks;
      },
      report: (reports) => repairs.report(reports),
    };
  }

  #isLater(step: Step): boolean {
    const until = this.#later.get(nameOf(step));
    if (until === undefined) return false;
    if (this.#options.clock.monotonic() < until) return true;
    this.#later.delete(nameOf(step));
    return false;
  }
}

function nameOf(step: Step): string {
  return step.kind === 'fill'
    ? `fill ${step.move.group} ${step.move.node}`
    : `empty ${step.group} ${step.node}`;
}
