/**
 * The placement map: which three nodes hold each placement group. Pure and deterministic.
 *
 * Loads are decided first (`idealLoads`): proportional to weight, as far as the rules allow. Then
 * groups keep the nodes they had, missing places are filled, and places move along shortest chains
 * from nodes with too many to nodes with too few, until every load is what it should be. The rules:
 * a group's nodes are distinct; with three or more zones so are their zones; with two zones both
 * hold a replica.
 */
import { Failure } from '../../base/failure.ts';
import { type Layout, REPLICAS } from '../protocol.ts';

/** A node as placement sees it. `weight`: its share of the data, usually its capacity in bytes. */
export interface PlacedNode {
  id: string;
  zone: string;
  weight: number;
}

const NODES_MAX = 0xffff;

/**
 * The layout that follows `previous` when the nodes are `nodes`. Throws Failure `invalid` for fewer
 * than three nodes, two nodes of one id, or a weight that is no finite number of at least 0.
 */
export function planLayout(input: {
  epoch: number;
  groups: number;
  nodes: readonly PlacedNode[];
  previous?: Layout | undefined;
}): Layout {
  const { epoch, groups, previous } = input;
  const nodes = input.nodes
    .map(({ id, zone, weight }) => ({ id, zone, weight }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  checkNodes(nodes);
  if (previous !== undefined && previous.groups !== groups) {
    throw new Failure('invalid', 'the number of placement groups never changes');
  }
  // Nodes that are being emptied take part only if there is no other way; their zones, too.
  const able = nodes.filter(({ weight }) => weight > 0);
  const placed = able.length >= REPLICAS ? able : nodes;
  const plan = new Plan(placed, groups);
  if (previous !== undefined) plan.keep(previous);
  plan.fill();
  plan.balance();
  const assignment = plan.encode(placed.map((node) => nodes.indexOf(node)));
  return { epoch, groups, nodes, assignment };
}

/** Indices into `layout.nodes` of the nodes of `group`, preferred first. */
export function nodesOfGroup(layout: Layout, group: number): number[] {
  return Array.from({ length: REPLICAS }, (_, replica) =>
    layout.assignment.readUInt16LE((group * REPLICAS + replica) * 2),
  );
}

/** Replicas that are in `next` and were not on the same node in `previous`. */
export function movedReplicas(previous: Layout, next: Layout): number {
  let moved = 0;
  for (let group = 0; group < next.groups; group++) {
    const before = new Set(nodesOfGroup(previous, group).map((node) => previous.nodes[node]?.id));
    for (const node of nodesOfGroup(next, group)) {
      if (!before.has(next.nodes[node]?.id)) moved += 1;
    }
  }
  return moved;
}

function checkNodes(nodes: readonly PlacedNode[]): void {
  if (nodes.length < REPLICAS) {
    throw new Failure('invalid', `a layout needs ${REPLICAS} nodes, there are ${nodes.length}`);
  }
  if (nodes.length > NODES_MAX) throw new Failure('invalid', `more than ${NODES_MAX} nodes`);
  for (const [index, { id, weight }] of nodes.entries()) {
    if (id === nodes[index + 1]?.id) throw new Failure('invalid', `two nodes are called ${id}`);
    if (!(weight >= 0 && weight < Number.POSITIVE_INFINITY)) {
      throw new Failure('invalid', `the weight of node ${id} is no size: ${weight}`);
    }
  }
}

/* ------------------------------------------------------------------ loads */

/** How many replicas of one group a zone may hold. */
function zoneLimit(zones: number): number {
  return zones >= REPLICAS ? 1 : zones === 2 ? REPLICAS - 1 : REPLICAS;
}

/**
 * Replicas per node, whole numbers with the sum `groups × 3`: proportional to weight, but never more
 * than one per group on a node, nor more per group in a zone than the rules allow. What a capped node
 * or zone cannot take goes to the others, again by weight. Some assignment has exactly these loads.
 */
export function idealLoads(nodes: readonly PlacedNode[], groups: number): number[] {
  const largest = Math.max(...nodes.map((node) => node.weight), Number.MIN_VALUE);
  // Weight 0 means "only if there is no other way".
  const weights = nodes.map((node) => Math.max(node.weight / largest, 1e-9));
  const zones = [...new Set(nodes.map((node) => node.zone))].sort();
  const members = zones.map((zone) =>
    nodes.flatMap((node, index) => (node.zone === zone ? [index] : [])),
  );
  const limit = zoneLimit(zones.length);
  const caps = members.map((list) => groups * Math.min(limit, list.length));
  const weightsOf = (list: readonly number[]) => list.map((index) => weights[index] ?? 0);

  const zoneLoadAt = (zone: number, level: number): number => {
    const full = sum(weightsOf(members[zone] ?? []).map((w) => Math.min(groups, level * w)));
    return Math.min(caps[zone] ?? 0, full);
  };
  const total = groups * REPLICAS;
  const level = solve((x) => sum(zones.map((_, zone) => zoneLoadAt(zone, x))), total, groups);
  const zoneLoads = roundTo(
    zones.map((_, zone) => zoneLoadAt(zone, level)),
    total,
  );

  const loads = nodes.map(() => 0);
  for (const [zone, list] of members.entries()) {
    const load = zoneLoads[zone] ?? 0;
    const own = weightsOf(list);
    const at = (x: number) => own.map((w) => Math.min(groups, x * w));
    const rounded = roundTo(at(solve((x) => sum(at(x)), load, groups)), load);
    for (const [position, index] of list.entries()) loads[index] = rounded[position] ?? 0;
  }
  return loads;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** The least `x` at which the growing function `f` reaches `goal`. */
function solve(f: (x: number) => number, goal: number, groups: number): number {
  let low = 0;
  let high = groups * 1e9;
  for (let step = 0; step < 200; step++) {
    const middle = (low + high) / 2;
    if (f(middle) < goal) low = middle;
    else high = middle;
  }
  return high;
}

/** Whole numbers with the sum `total`: each rounded down, the largest remainders up. */
function roundTo(values: readonly number[], total: number): number[] {
  const rounded = values.map((value) => Math.floor(value + 1e-6));
  const order = values
    .map((value, index) => ({ index, rest: value - (rounded[index] ?? 0) }))
    .sort((a, b) => b.rest - a.rest || a.index - b.index);
  let missing = total - sum(rounded);
  for (const { index } of order) {
    if (missing <= 0) break;
    rounded[index] = (rounded[index] ?? 0) + 1;
    missing -= 1;
  }
  return rounded;
}

/* ------------------------------------------------------------------ the plan */

/** Nodes are indices. Invariant: every group in `#groups` obeys the rules, as far as it is filled. */
class Plan {
  readonly #nodes: readonly PlacedNode[];
  readonly #zones: number[];
  readonly #limit: number;
  readonly #targets: number[];
  readonly #loads: number[];
  readonly #groups: number[][];
  readonly #groupsOf: Set<number>[];
  readonly #seeds: number[];

  constructor(nodes: readonly PlacedNode[], groups: number) {
    this.#nodes = nodes;
    const zones = [...new Set(nodes.map((node) => node.zone))];
    this.#zones = nodes.map((node) => zones.indexOf(node.zone));
    this.#limit = zoneLimit(zones.length);
    this.#targets = idealLoads(nodes, groups);
    this.#loads = nodes.map(() => 0);
    this.#groups = Array.from({ length: groups }, () => []);
    this.#groupsOf = nodes.map(() => new Set());
    this.#seeds = nodes.map((node) => seedOf(node.id));
  }

  /** Takes over what the rules still allow. */
  keep(previous: Layout): void {
    const indexOf = new Map(this.#nodes.map((node, index) => [node.id, index]));
    for (let group = 0; group < this.#groups.length; group++) {
      const kept = nodesOfGroup(previous, group)
        .map((node) => indexOf.get(previous.nodes[node]?.id ?? ''))
        .filter((node) => node !== undefined)
        // If one of two in a zone must go, then the one on the node with the smaller share.
        .sort((a, b) => this.#target(b) - this.#target(a) || a - b);
      for (const node of kept) if (this.#allows(group, node)) this.#add(group, node);
    }
  }

  /** Gives every group its three nodes: by weighted rendezvous, nodes with room first. */
  fill(): void {
    for (const [group, members] of this.#groups.entries()) {
      if (members.length === REPLICAS) continue;
      const order = this.#nodes
        .map((node, index) => ({ index, score: this.#score(group, index, node.weight) }))
        .sort((a, b) => b.score - a.score || a.index - b.index)
        .map(({ index }) => index);
      while (members.length < REPLICAS) {
        const allowed = order.filter((node) => this.#allows(group, node));
        const best = allowed.find((node) => this.#surplus(node) < 0) ?? allowed[0];
        // With three distinct nodes at hand a group can always be completed (see zoneLimit).
        if (best === undefined) throw new Failure('internal', 'a group cannot be filled');
        this.#add(group, best);
      }
    }
  }

  /** Moves places from nodes with too many to nodes with too few, along shortest chains. */
  balance(): void {
    for (;;) {
      const chain = this.#findChain();
      if (chain === undefined) return;
      for (const { group, from, to } of chain) {
        this.#remove(group, from);
        this.#add(group, to);
      }
    }
  }

  /**
   * `groups × 3` u16, little endian; each node is first in its share of the groups. `numbers`: what
   * to call each node.
   */
  encode(numbers: readonly number[]): Buffer {
    const assignment = Buffer.alloc(this.#groups.length * REPLICAS * 2);
    const first = this.#nodes.map(() => 0);
    const share = (node: number) => ((first[node] ?? 0) + 1) / Math.max(1, this.#target(node));
    for (const [group, members] of this.#groups.entries()) {
      const order = [...members].sort((a, b) => share(a) - share(b) || a - b);
      const preferred = order[0] ?? 0;
      first[preferred] = (first[preferred] ?? 0) + 1;
      for (const [replica, node] of order.entries()) {
        assignment.writeUInt16LE(numbers[node] ?? 0, (group * REPLICAS + replica) * 2);
      }
    }
    return assignment;
  }

  /** Breadth first from all nodes that have too many. */
  #findChain(): Step[] | undefined {
    const reached = new Map<number, Step | undefined>();
    const queue = this.#nodes.flatMap((_, node) => (this.#surplus(node) > 0 ? [node] : []));
    for (const node of queue) reached.set(node, undefined);
    for (const from of queue) {
      const chain = chainTo(reached, from);
      const used = new Set(chain.map((step) => step.group));
      for (const to of this.#nodes.keys()) {
        if (reached.has(to)) continue;
        const group = this.#groupToHandOver(from, to, used);
        if (group === undefined) continue;
        reached.set(to, { group, from, to });
        if (this.#surplus(to) < 0) return chainTo(reached, to);
        queue.push(to);
      }
    }
    return undefined;
  }

  /** A group in which `to` may take the place of `from`. */
  #groupToHandOver(from: number, to: number, used: ReadonlySet<number>): number | undefined {
    for (const group of this.#groupsOf[from] ?? []) {
      if (!used.has(group) && this.#allows(group, to, from)) return group;
    }
    return undefined;
  }

  /** Whether `node` may join `group`, once `leaving` has left. */
  #allows(group: number, node: number, leaving = -1): boolean {
    const zone = this.#zones[node];
    let inZone = 0;
    for (const member of this.#groups[group] ?? []) {
      if (member === node) return false;
      if (member !== leaving && this.#zones[member] === zone) inZone += 1;
    }
    return inZone < this.#limit;
  }

  #add(group: number, node: number): void {
    this.#groups[group]?.push(node);
    this.#groupsOf[node]?.add(group);
    this.#loads[node] = (this.#loads[node] ?? 0) + 1;
  }

  #remove(group: number, node: number): void {
    const members = this.#groups[group] ?? [];
    members.splice(members.indexOf(node), 1);
    this.#groupsOf[node]?.delete(group);
    this.#loads[node] = (this.#loads[node] ?? 0) - 1;
  }

  #target(node: number): number {
    return this.#targets[node] ?? 0;
  }

  /** Positive: has more than its share. */
  #surplus(node: number): number {
    return (this.#loads[node] ?? 0) - this.#target(node);
  }

  /** Weighted rendezvous hashing: spreads a node's groups over all other nodes. */
  #score(group: number, node: number, weight: number): number {
    const uniform = (mix((this.#seeds[node] ?? 0) ^ mix(group)) + 0.5) / 2 ** 32;
    return -Math.max(weight, Number.MIN_VALUE) / Math.log(uniform);
  }
}

interface Step {
  group: number;
  from: number;
  to: number;
}

function chainTo(reached: ReadonlyMap<number, Step | undefined>, end: number): Step[] {
  const chain: Step[] = [];
  for (let step = reached.get(end); step !== undefined; step = reached.get(step.from)) {
    chain.unshift(step);
  }
  return chain;
}

/** FNV-1a over the UTF-16 units. */
function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}

/** The finalizer of MurmurHash3: every input bit changes every output bit with even odds. */
function mix(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
