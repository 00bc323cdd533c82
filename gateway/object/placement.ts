/**
 * The layout as the data path uses it: from a block to its nodes without asking anyone. A map counts
 * its users, because a placement group's old nodes may be released only when nobody works with the
 * older epoch any more.
 */
import { assert } from '../../base/failure.ts';
import { type BlobId, placementStart } from '../../base/ids.ts';
import { type Layout, REPLICAS } from '../../meta/protocol.ts';
import type { PooledNode } from './node-pool.ts';

export class PlacementMap {
  readonly epoch: number;
  readonly groups: number;
  /** Block reads and writes that use this map now. */
  holds = 0;
  readonly #nodes: readonly PooledNode[];
  readonly #assignment: Uint16Array;
  /** Layouts before this one whose data is still being moved, newest first. */
  readonly #older: readonly PlacementMap[];

  /**
   * `nodeOf` gives the pooled node of an id; `older`: the maps of layouts whose data has not all been
   * moved yet, newest first. Throws Failure `internal` for a broken layout.
   */
  constructor(
    layout: Layout,
    nodeOf: (id: string) => PooledNode,
    older: readonly PlacementMap[] = [],
  ) {
    this.#older = older;
    const slots = layout.groups * REPLICAS;
    assert(layout.assignment.length === slots * 2, 'a layout names the nodes of every group');
    this.epoch = layout.epoch;
    this.groups = layout.groups;
    this.#nodes = layout.nodes.map((node) => nodeOf(node.id));
    this.#assignment = new Uint16Array(slots);
    for (let slot = 0; slot < slots; slot++) {
      const node = layout.assignment.readUInt16LE(slot * 2);
      assert(node < this.#nodes.length, 'a layout assigns groups to nodes that it names');
      this.#assignment[slot] = node;
    }
  }

  /** Where the first block of `blob` hashes to; block `i` belongs to group `(start + i) % groups`. */
  start(blob: BlobId): number {
    return placementStart(blob, this.groups);
  }

  /** True while data is being moved to where this layout wants it. */
  get changing(): boolean {
    return this.#older.length > 0;
  }

  /**
   * Whether `node`, one of the group's, should have all of its blocks. False while they are still
   * being moved to it: then a block that it does not have is no fault.
   */
  expects(group: number, node: PooledNode): boolean {
    return this.#older.every((map) => map.nodesOf(group).includes(node));
  }

  /** Nodes that had the group in older layouts and may hold blocks that have not been moved yet. */
  olderNodesOf(group: number): PooledNode[] {
    const now = this.nodesOf(group);
    const older = new Set(this.#older.flatMap((map) => map.nodesOf(group)));
    // A node without an address is gone for good: it cannot be asked.
    return [...older].filter((node) => !now.includes(node) && node.client !== undefined);
  }

  /** Groups of which fewer than `least` nodes take blocks at the moment: writes there are refused. */
  blockedGroups(least: number): number {
    const well = this.#nodes.map((node) => node.writable);
    // Replicas of a group lie on distinct nodes.
    if (well.filter((writable) => !writable).length <= REPLICAS - least) return 0;
    let blocked = 0;
    for (let first = 0; first < this.#assignment.length; first += REPLICAS) {
      let writable = 0;
      for (let slot = first; slot < first + REPLICAS; slot++) {
        if (well[this.#assignment[slot] ?? 0] === true) writable++;
      }
      if (writable < least) blocked++;
    }
    return blocked;
  }

  /** The nodes of a group, preferred first; a new array. */
  nodesOf(group: number): PooledNode[] {
    const nodes: PooledNode[] = [];
    const first = group * REPLICAS;
    for (let slot = first; slot < first + REPLICAS; slot++) {
      const node = this.#nodes[this.#assignment[slot] ?? 0];
      assert(node !== undefined, 'a placement group has nodes');
      nodes.push(node);
    }
    return nodes;
  }
}

/**
 * The nodes to ask for a block of `group`, best first. During a layout change: first those that have
 * had the group all along, then those that are getting it, then those that had it before.
 */
export function readOrder(
  map: PlacementMap,
  group: number,
  zone: string | undefined,
): PooledNode[] {
  const nodes = sortForReading(map.nodesOf(group), zone);
  if (!map.changing) return nodes;
  const kept = nodes.filter((node) => map.expects(group, node));
  const fresh = nodes.filter((node) => !kept.includes(node));
  const all = [...kept, ...fresh, ...sortForReading(map.olderNodesOf(group), zone)];
  const well = all.filter((node) => STATE_COST[node.state] < STATE_COST.suspect);
  return [...well, ...all.filter((node) => !well.includes(node))];
}

/**
 * Sorts `nodes` in place into the order in which they should be asked for a block: those that are
 * well first, then those of `zone`, then the fastest, then the least busy. Latencies count by powers
 * of two, so that equals share the load instead of all following the leader of the moment.
 */
export function sortForReading(nodes: PooledNode[], zone: string | undefined): PooledNode[] {
  // A few elements: an insertion sort; stable, so placement breaks the ties.
  for (let i = 1; i < nodes.length; i++) {
    const node = nodes[i];
    if (node === undefined) continue;
    const cost = readCost(node, zone);
    let j = i - 1;
    for (; j >= 0; j--) {
      const other = nodes[j];
      if (other === undefined || readCost(other, zone) <= cost) break;
      nodes[j + 1] = other;
    }
    nodes[j + 1] = node;
  }
  return nodes;
}

const STATE_COST = { up: 0, new: 1, suspect: 2, down: 3 } as const;

function readCost(node: PooledNode, zone: string | undefined): number {
  const far = zone !== undefined && node.zone !== zone ? 1 : 0;
  const slow = Math.min(15, Math.floor(Math.log2(1 + node.latencyMs)));
  const busy = Math.min(999, node.inFlight);
  return ((STATE_COST[node.state] * 2 + far) * 16 + slow) * 1000 + busy;
}
