/**
 * What a layout change has to move: which nodes must be filled, and which give a group up. Pure.
 *
 * Take a node that has a group in the newest layout. Go back through the older ones, as long as it has
 * the group there, too: the last epoch so reached is its `since`. Writes by `since` and later layouts
 * reach the node by themselves; what was written by earlier ones has to be copied to it, once no
 * gateway writes by them any more. When that is done it stays done for as long as the node keeps the
 * group, whatever other changes follow, because `since` stays the same; if it loses the group and gets
 * it back, `since` is another one. So a move is named by group, node and `since`.
 */
import type { Layout } from '../protocol.ts';
import { nodesOfGroup } from './layout.ts';

export interface Move {
  group: number;
  node: string;
  /** Blocks written by layouts before this epoch have to be copied. */
  since: number;
}

export interface GroupChange {
  group: number;
  /** Its nodes in the newest layout. */
  owners: string[];
  moves: Move[];
  /** Nodes of older layouts that are not its nodes any more. */
  leavers: string[];
  /** Its nodes in each older layout, newest first. */
  older: string[][];
}

/** Ids of the nodes of `group`, preferred first. */
export function membersOf(layout: Layout, group: number): string[] {
  return nodesOfGroup(layout, group).map((index) => layout.nodes[index]?.id ?? '');
}

/** Whether a node has any group. One that is being emptied may be named by a layout without any. */
export function hasGroups(layout: Layout, node: string): boolean {
  const index = layout.nodes.findIndex(({ id }) => id === node);
  if (index < 0) return false;
  for (let group = 0; group < layout.groups; group++) {
    if (nodesOfGroup(layout, group).includes(index)) return true;
  }
  return false;
}

/** The groups whose nodes are not the same in all layouts. */
export function changesOf(newest: Layout, previous: readonly Layout[]): GroupChange[] {
  const changes: GroupChange[] = [];
  if (previous.length === 0) return changes;
  for (let group = 0; group < newest.groups; group++) {
    const owners = membersOf(newest, group);
    const older = previous.map((layout) => membersOf(layout, group));
    const moves: Move[] = [];
    for (const node of owners) {
      const missing = older.findIndex((members) => !members.includes(node));
      if (missing < 0) continue;
      const first = missing === 0 ? newest : previous[missing - 1];
      moves.push({ group, node, since: first?.epoch ?? newest.epoch });
    }
    const leavers = [...new Set(older.flat())].filter((node) => !owners.includes(node));
    if (moves.length > 0 || leavers.length > 0) {
      changes.push({ group, owners, moves, leavers, older });
    }
  }
  return changes;
}

/** Fewest nodes of a group that have a block after it was acknowledged. */
const COPIES_MIN = 2;

/**
 * Whether the lists of `listed` nodes name every block of the group that can still be found. A block
 * was acknowledged by two of the three nodes of some layout, so two lists of each older layout leave
 * none out; where nodes are gone for good, the lists of all that are left. A node that is merely
 * silent is no reason to take less.
 */
export function isComplete(
  { older }: GroupChange,
  listed: ReadonlySet<string>,
  isGone: (node: string) => boolean,
): boolean {
  return older.every((members) => {
    const left = members.filter((node) => !isGone(node));
    const heard = left.filter((node) => listed.has(node)).length;
    return heard >= Math.min(COPIES_MIN, left.length);
  });
}
