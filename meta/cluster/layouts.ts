/**
 * The layouts that count at present, as they are stored: the newest one, older ones whose data is
 * still being moved, what has been moved, and what is staged. Says which rows a change writes; the
 * caller commits them and then tells.
 */
import type { LayoutChange } from '../admin-protocol.ts';
import type { Entry } from '../engine/kv.ts';
import type { Layout } from '../protocol.ts';
import type { Move } from './moves.ts';
import {
  decodeCount,
  decodeLayout,
  decodeStaged,
  encodeCount,
  encodeLayout,
  encodeStaged,
  epochOfKey,
  layoutKey,
  movedKey,
  moveOfKey,
  olderLayoutKey,
  STAGED_KEY,
  stagedLayoutKey,
} from './rows.ts';

export interface Staged {
  changes: LayoutChange[];
  layout: Layout;
}

export interface LayoutRows {
  newest: readonly Entry[];
  older: readonly Entry[];
  moved: readonly Entry[];
  staged: Entry | null;
  stagedLayout: readonly Entry[];
}

export interface RowChanges {
  set: { key: Buffer; value: Buffer }[];
  del: Buffer[];
}

/** A disk that was lost: a name that no node can have, so that it is gone for good. */
const lostName = (node: string, epoch: number): string => `${node}#${epoch}`;

export class Layouts {
  #newest: Layout | undefined;
  #previous: readonly Layout[] = [];
  /** `since` of the finished moves, by group and node. */
  #moved = new Map<string, number>();
  #staged: Staged | undefined;

  get newest(): Layout | undefined {
    return this.#newest;
  }

  /** Newest first. */
  get previous(): readonly Layout[] {
    return this.#previous;
  }

  get staged(): Staged | undefined {
    return this.#staged;
  }

  restore(rows: LayoutRows): void {
    if (rows.newest.length > 0) this.#newest = decodeLayout(rows.newest.map((row) => row.value));
    const chunks = Map.groupBy(rows.older, (row) => epochOfKey(row.key));
    this.#previous = [...chunks]
      .sort(([a], [b]) => b - a)
      .map(([, older]) => decodeLayout(older.map((row) => row.value)));
    for (const row of rows.moved) {
      const { group, node } = moveOfKey(row.key);
      this.#moved.set(nameOf(group, node), decodeCount(row));
    }
    if (rows.staged === null || rows.stagedLayout.length === 0) return;
    this.#staged = {
      changes: decodeStaged(rows.staged.value),
      layout: decodeLayout(rows.stagedLayout.map((row) => row.value)),
    };
  }

  isMoved({ group, node, since }: Move): boolean {
    return this.#moved.get(nameOf(group, node)) === since;
  }

  /** Whether something has been moved because of layouts of `epoch` and later. */
  hasMoved(epoch: number): boolean {
    return [...this.#moved.values()].some((since) => since >= epoch);
  }

  /**
   * Rows of a change to `next`; the present layout becomes an older one. The disks of `lost` nodes
   * are no sources any more. Call `become` when they are stored.
   */
  rowsOf(next: Layout, lost: ReadonlySet<string>): RowChanges & { previous: Layout[] } {
    const { newest } = this;
    const older = newest === undefined ? [] : [newest, ...this.#previous];
    const previous = older.map((layout) => withoutDisks(layout, lost, next.epoch));
    const set = encodeLayout(next).map((value, chunk) => ({ key: layoutKey(chunk), value }));
    for (const layout of previous) {
      for (const [chunk, value] of encodeLayout(layout).entries()) {
        set.push({ key: olderLayoutKey(layout.epoch, chunk), value });
      }
    }
    const now = newest === undefined ? 0 : encodeLayout(newest).length;
    const shorter = Array.from({ length: now }, (_, chunk) => chunk)
      .slice(encodeLayout(next).length)
      .map(layoutKey);
    const unstaged = this.rowsOfUnstage();
    return { set: [...set, ...unstaged.set], del: [...shorter, ...unstaged.del], previous };
  }

  become(next: Layout, previous: readonly Layout[]): void {
    this.#newest = next;
    this.#previous = previous;
    this.#staged = undefined;
  }

  rowsOfMoved(moves: readonly Move[]): RowChanges {
    const set = moves.map(({ group, node, since }) => ({
      key: movedKey(group, node),
      value: encodeCount(since),
    }));
    return { set, del: [] };
  }

  moved(moves: readonly Move[]): void {
    for (const { group, node, since } of moves) this.#moved.set(nameOf(group, node), since);
  }

  /** Rows that go when everything has been moved. Those of moves go in parts: see `settledMoves`. */
  rowsOfSettle(): RowChanges {
    const del = this.#previous.flatMap((layout) =>
      encodeLayout(layout).map((_, chunk) => olderLayoutKey(layout.epoch, chunk)),
    );
    return { set: [], del };
  }

  settled(): void {
    this.#previous = [];
  }

  /** Marks that mean nothing while no layout is older than the newest. */
  settledMoves(): Buffer[] {
    if (this.#previous.length > 0) return [];
    return [...this.#moved.keys()].map((name) => {
      const at = name.indexOf(' ');
      return movedKey(Number(name.slice(0, at)), name.slice(at + 1));
    });
  }

  forgetMoves(): void {
    this.#moved.clear();
  }

  rowsOfStage(staged: Staged): RowChanges {
    const before = this.rowsOfUnstage();
    const set = encodeLayout(staged.layout).map((value, chunk) => ({
      key: stagedLayoutKey(chunk),
      value,
    }));
    const kept = new Set(set.map(({ key }) => key.toString('hex')));
    const del = before.del.filter(
      (key) => !kept.has(key.toString('hex')) && !key.equals(STAGED_KEY),
    );
    return { set: [...set, { key: STAGED_KEY, value: encodeStaged(staged.changes) }], del };
  }

  rowsOfUnstage(): RowChanges {
    if (this.#staged === undefined) return { set: [], del: [] };
    const chunks = encodeLayout(this.#staged.layout).map((_, chunk) => stagedLayoutKey(chunk));
    return { set: [], del: [STAGED_KEY, ...chunks] };
  }

  stage(staged: Staged | undefined): void {
    this.#staged = staged;
  }
}

const nameOf = (group: number, node: string): string => `${group} ${node}`;

function withoutDisks(layout: Layout, lost: ReadonlySet<string>, epoch: number): Layout {
  if (lost.size === 0) return layout;
  const nodes = layout.nodes.map((node) =>
    lost.has(node.id) ? { ...node, id: lostName(node.id, epoch) } : node,
  );
  return { ...layout, nodes };
}
