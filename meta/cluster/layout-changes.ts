/**
 * Changes of the layout, made durable: the first one, those of operators, those that follow when a
 * node stays away, and the end of each when everything has been moved.
 *
 * A layout is published in three steps. It is committed; then gateways are told (the view has a new
 * revision), each of them works by it from its next renewal on and says so with its mark; and only
 * when all have (`Leases.oldestLayout`) is data moved because of it. So writes by the older layout
 * are over before its blocks are listed, and nothing is released while somebody could still write it.
 */
import type { Clock } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import type { LayoutChange } from '../admin-protocol.ts';
import { type Layout, REPLICAS } from '../protocol.ts';
import { applyChanges, type ChangeSet, planNext, type Situation } from './changes.ts';
import type { ClusterStore } from './cluster-store.ts';
import { type PlacedNode, planLayout } from './layout.ts';
import { Layouts } from './layouts.ts';
import { hasGroups, type Move } from './moves.ts';
import type { Nodes, NodeState } from './nodes.ts';
import {
  encodeNode,
  LAYOUT_CHUNKS,
  layoutKey,
  MOVED_ROWS,
  nodeKey,
  type NodeRow,
  OLDER_LAYOUTS,
  STAGED_CHUNKS,
  STAGED_KEY,
} from './rows.ts';

/** Older layouts beside which an operator may begin another change. */
const PREVIOUS_MAX = 3;
/** The same for what must be done in any case: when a node is out, or its disk is lost. */
const PREVIOUS_AT_ALL = 8;
const ROWS_PER_COMMIT = 1000;

export interface LayoutSettings {
  /** The first layout is made when this many nodes have registered. */
  expectedNodes: number;
  groups: number;
  /** A node that is silent for this long is out. */
  nodeOutMs: number;
}

/** It ends the waiting for a node that will not answer again as it was. */
function unblocks(change: LayoutChange): boolean {
  return change.kind === 'replace' || (change.kind === 'remove' && change.force === true);
}

export class LayoutChanges {
  readonly layouts = new Layouts();
  readonly #store: ClusterStore;
  readonly #nodes: Nodes;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #settings: LayoutSettings;
  /** Releases under way; a change of the layout waits for them, and they for it. */
  readonly #releases = new Set<Promise<unknown>>();
  #changes = 0;
  /** What was said last about nodes that are out and cannot be done without. */
  #complaint = '';

  constructor(options: {
    store: ClusterStore;
    nodes: Nodes;
    clock: Clock;
    log: Log;
    settings: LayoutSettings;
  }) {
    this.#store = options.store;
    this.#nodes = options.nodes;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#settings = options.settings;
  }

  async restore(): Promise<void> {
    const store = this.#store;
    this.layouts.restore({
      newest: await store.rows(LAYOUT_CHUNKS),
      older: await store.rows(OLDER_LAYOUTS),
      moved: await store.rows(MOVED_ROWS),
      staged: await store.get(STAGED_KEY),
      stagedLayout: await store.rows(STAGED_CHUNKS),
    });
  }

  states(): NodeState[] {
    return this.#nodes.states(this.#clock.monotonic());
  }

  /** Throws Failure `conflict` while there is no layout. */
  situation(): Situation {
    const { newest, previous } = this.layouts;
    if (newest === undefined) {
      throw new Failure('conflict', 'the cluster has no layout yet: start its storage nodes first');
    }
    return { newest, previous, nodes: this.states() };
  }

  /** It is silent for so long that its replicas are made again elsewhere. */
  isOut({ up, silentMs }: Pick<NodeState, 'up' | 'silentMs'>): boolean {
    return !up && silentMs >= this.#settings.nodeOutMs;
  }

  /** By the newest layout or an older one it has blocks. */
  isPlaced(id: string): boolean {
    const { newest, previous } = this.layouts;
    const layouts = newest === undefined ? [] : [newest, ...previous];
    return layouts.some((layout) => hasGroups(layout, id));
  }

  /* ---------------------------------------------------------------- the first one */

  /** To be called in turn. Makes the first layout when enough nodes have registered. */
  async layOutFirst(): Promise<void> {
    if (this.layouts.newest !== undefined) return;
    const nodes = this.states();
    const { expectedNodes, groups } = this.#settings;
    if (nodes.length < expectedNodes) {
      this.#log.info({ nodes: nodes.length, expectedNodes }, 'waiting for storage nodes');
      return;
    }
    const placed = nodes.map(({ id, zone, capacityBytes, row }) => ({
      id,
      zone,
      weight: row.weight ?? capacityBytes,
    }));
    const layout = planLayout({ epoch: 1, groups, nodes: placed });
    const { set } = this.layouts.rowsOf(layout, new Set());
    await this.#store.must({ set, checks: [{ key: layoutKey(0), stamp: null }] });
    this.layouts.become(layout, []);
    this.#nodes.touch();
    this.#log.info({ epoch: 1, nodes: nodes.length }, 'the first layout is made');
  }

  /* ---------------------------------------------------------------- by operators */

  /** Adds to what is staged. Throws what `applyChanges` and `planNext` throw. */
  stage(changes: readonly LayoutChange[]): Promise<void> {
    return this.#store.inTurn(async () => {
      const situation = this.situation();
      const { staged } = this.layouts;
      const fresh = staged?.layout.epoch === situation.newest.epoch + 1 ? staged.changes : [];
      const all = [...fresh, ...changes];
      if (all.length === 0) throw new Failure('invalid', 'no changes are given, none are staged');
      const { placed } = applyChanges(situation, all);
      const next = { changes: all, layout: planNext(situation.newest, placed) };
      await this.#store.must(this.layouts.rowsOfStage(next));
      this.layouts.stage(next);
    });
  }

  revert(): Promise<void> {
    return this.#store.inTurn(async () => {
      await this.#store.must(this.layouts.rowsOfUnstage());
      this.layouts.stage(undefined);
    });
  }

  /** What is staged, as long as nothing else has changed the layout since. */
  staged(): { changes: LayoutChange[]; layout: Layout } | undefined {
    const { staged, newest } = this.layouts;
    return staged?.layout.epoch === (newest?.epoch ?? 0) + 1 ? staged : undefined;
  }

  apply(epoch: number): Promise<void> {
    return this.#exclusively(async () => {
      const situation = this.situation();
      const staged = this.staged();
      if (staged === undefined) {
        throw new Failure(
          'conflict',
          'nothing is staged: `ashlar layout stage` shows what it would do',
        );
      }
      if (staged.layout.epoch !== epoch) {
        throw new Failure(
          'conflict',
          `what is staged would make epoch ${staged.layout.epoch}, not ${epoch}: look at it again ` +
            'with `ashlar layout diff`',
        );
      }
      const { previous } = this.layouts;
      // What others wait for may be the very disk that this replaces.
      const most = staged.changes.every(unblocks) ? PREVIOUS_AT_ALL : PREVIOUS_MAX;
      if (previous.length >= most) {
        throw new Failure(
          'conflict',
          `${previous.length} layout changes are still being carried out: wait until data has been ` +
            'moved (`ashlar layout show`)',
        );
      }
      // Once more: a node that was up when this was staged may be down now.
      const set = applyChanges(situation, staged.changes);
      await this.#become(staged.layout, set);
      this.#log.info({ epoch, changes: staged.changes }, 'a new layout is applied');
    });
  }

  /* ---------------------------------------------------------------- by themselves */

  /** To be called with every sweep: does without nodes that are out, takes back those that return. */
  async follow(): Promise<void> {
    const { newest } = this.layouts;
    if (newest === undefined) return;
    const states = this.states();
    const returned = states.filter(({ up, row }) => up && row.outEpoch !== undefined);
    if (returned.length > 0) await this.#exclusively(() => this.#takeBack());
    const placed = new Set(newest.nodes.map(({ id }) => id));
    const out = states.filter((state) => placed.has(state.id) && this.isOut(state));
    if (out.length > 0) await this.#doWithout(out.map(({ id }) => id));
    else this.#complaint = '';
  }

  async #doWithout(out: readonly string[]): Promise<void> {
    const { newest, previous } = this.situation();
    const others = newest.nodes.filter(({ id }) => !out.includes(id));
    const able = others.filter(({ id, weight }) => this.#nodes.isUp(id) && weight > 0);
    if (able.length < REPLICAS || previous.length >= PREVIOUS_AT_ALL) {
      const complaint = out.join(', ');
      if (complaint === this.#complaint) return;
      this.#complaint = complaint;
      const message =
        'nodes are out, and there are too few others to make their replicas again: start them, ' +
        'or add nodes';
      this.#log.error({ out, others: able.length }, message);
      return;
    }
    await this.#exclusively(async () => {
      const situation = this.situation();
      if (situation.newest !== newest) return;
      const next = planNext(newest, others);
      const rows = new Map(out.map((id) => [id, { outEpoch: next.epoch, leftovers: true }]));
      await this.#become(next, { placed: others, rows, lost: new Set() });
      this.#log.warn({ epoch: next.epoch, out }, 'nodes are out: their replicas are made again');
    });
  }

  /** As long as nothing was moved because it was out, a node gets back what it had. */
  async #takeBack(): Promise<void> {
    const { newest, previous, nodes } = this.situation();
    const returned = nodes.filter(({ up, row }) => up && row.outEpoch !== undefined);
    const before = previous[0];
    const undo = returned.filter(
      ({ row }) => row.outEpoch === newest.epoch && !this.layouts.hasMoved(newest.epoch),
    );
    const rows = new Map<string, Partial<NodeRow>>();
    for (const { id } of returned) rows.set(id, { outEpoch: undefined });
    if (before === undefined || undo.length === 0) {
      await this.#store.must({ set: this.#rowSets(rows) });
      this.#putRows(rows);
      for (const { id } of returned) {
        const message =
          'a node is back after its replicas were made again elsewhere: it is a spare until it is added';
        this.#log.warn({ node: id }, message);
      }
      return;
    }
    const again: PlacedNode[] = before.nodes.filter(({ id }) => undo.some((one) => one.id === id));
    for (const { id } of again) rows.set(id, { outEpoch: undefined, leftovers: false });
    const next = planLayout({
      epoch: newest.epoch + 1,
      groups: newest.groups,
      nodes: [...newest.nodes, ...again],
      previous: before,
    });
    await this.#become(next, { placed: next.nodes, rows, lost: new Set() });
    this.#log.info({ epoch: next.epoch, nodes: again.map(({ id }) => id) }, 'nodes are taken back');
  }

  /* ---------------------------------------------------------------- while data is moved */

  /** The moves are done: their targets have everything, durably. */
  markMoved(moves: readonly Move[]): Promise<void> {
    return this.#store.inTurn(async () => {
      await this.#store.must(this.layouts.rowsOfMoved(moves));
      this.layouts.moved(moves);
    });
  }

  /** A node has, or has no more, blocks that are not its own. */
  markLeftovers(id: string, leftovers: boolean): Promise<void> {
    return this.#store.inTurn(async () => {
      const row = this.#nodes.row(id);
      if (row === undefined || row.leftovers === leftovers) return;
      const rows = new Map([[id, { leftovers }]]);
      await this.#store.must({ set: this.#rowSets(rows) });
      this.#putRows(rows);
    });
  }

  /**
   * Everything is where the layout of `epoch` wants it: the older ones are forgotten, and with them
   * the nodes that were to leave. False: the layout has changed meanwhile.
   */
  settle(epoch: number): Promise<boolean> {
    return this.#exclusively(async () => {
      if (this.layouts.newest?.epoch !== epoch) return false;
      const rows = new Map<string, Partial<NodeRow>>();
      for (const { id, row } of this.states()) {
        if (row.removal === 'leaving') rows.set(id, { removal: 'gone' });
      }
      const { del } = this.layouts.rowsOfSettle();
      await this.#store.must({ set: this.#rowSets(rows), del });
      this.layouts.settled();
      this.#putRows(rows);
      this.#nodes.touch();
      this.#log.info({ epoch, removed: [...rows.keys()] }, 'the layout change is complete');
      await this.#dropMarks();
      return true;
    });
  }

  /** Marks name their `since`, so those that a crash leaves behind are harmless. */
  async #dropMarks(): Promise<void> {
    const marks = this.layouts.settledMoves();
    for (let from = 0; from < marks.length; from += ROWS_PER_COMMIT) {
      await this.#store.must({ del: marks.slice(from, from + ROWS_PER_COMMIT) });
    }
    this.layouts.forgetMoves();
  }

  /**
   * Runs `work`, which deletes blocks on nodes that have given a group up, while the layout of
   * `epoch` is certain to stay: a node must not get a group back while its blocks are being deleted.
   * Undefined: the layout has changed, or is about to.
   */
  async whileStable<T>(epoch: number, work: () => Promise<T>): Promise<T | undefined> {
    if (this.#changes > 0 || this.layouts.newest?.epoch !== epoch) return undefined;
    const running = work();
    this.#releases.add(running);
    try {
      return await running;
    } finally {
      this.#releases.delete(running);
    }
  }

  /** Holds new deletions back and waits for those under way, before anybody else has to wait. */
  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    this.#changes += 1;
    try {
      await Promise.allSettled(this.#releases);
      return await this.#store.inTurn(work);
    } finally {
      this.#changes -= 1;
    }
  }

  /* ---------------------------------------------------------------- rows */

  async #become(next: Layout, change: ChangeSet): Promise<void> {
    const { set, del, previous } = this.layouts.rowsOf(next, change.lost);
    await this.#store.must({ set: [...set, ...this.#rowSets(change.rows)], del });
    this.layouts.become(next, previous);
    this.#putRows(change.rows);
    this.#nodes.touch();
  }

  #rowSets(rows: ReadonlyMap<string, Partial<NodeRow>>): { key: Buffer; value: Buffer }[] {
    return [...rows].flatMap(([id, fields]) => {
      const row = this.#nodes.row(id);
      return row === undefined
        ? []
        : [{ key: nodeKey(id), value: encodeNode({ ...row, ...fields }) }];
    });
  }

  #putRows(rows: ReadonlyMap<string, Partial<NodeRow>>): void {
    for (const [id, fields] of rows) {
      const row = this.#nodes.row(id);
      if (row !== undefined) this.#nodes.putRow(id, { ...row, ...fields });
    }
  }
}
