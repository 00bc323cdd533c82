/**
 * What an operator's changes make of the layout: who is in it, with which zone and weight, and what
 * has to be known before it is applied. Pure. Refusals say what to do instead.
 */
import { Failure } from '../../base/failure.ts';
import type { LayoutChange, LayoutPlan } from '../admin-protocol.ts';
import { type Layout, REPLICAS } from '../protocol.ts';
import { movedReplicas, type PlacedNode, planLayout } from './layout.ts';
import { hasGroups, membersOf } from './moves.ts';
import type { NodeState } from './nodes.ts';
import type { NodeRow } from './rows.ts';

export interface Situation {
  newest: Layout;
  previous: readonly Layout[];
  nodes: readonly NodeState[];
}

export interface ChangeSet {
  /** The nodes of the next layout. */
  placed: PlacedNode[];
  /** What changes in the rows of nodes. */
  rows: Map<string, Partial<NodeRow>>;
  /** Nodes whose disks are lost: no sources any more. */
  lost: Set<string>;
}

/** A weight this many times another one is probably a slip of units. */
const WEIGHTS_APART = 1000;

/** Applies `changes` in order. Failures: `not-found`, `invalid` (never so), `conflict` (not now). */
export function applyChanges(situation: Situation, changes: readonly LayoutChange[]): ChangeSet {
  const draft = new Draft(situation);
  for (const change of changes) draft.apply(change);
  return draft.result();
}

class Draft {
  readonly #situation: Situation;
  readonly #placed: Map<string, PlacedNode>;
  readonly #rows = new Map<string, Partial<NodeRow>>();
  readonly #lost = new Set<string>();

  constructor(situation: Situation) {
    this.#situation = situation;
    this.#placed = new Map(situation.newest.nodes.map((node) => [node.id, { ...node }]));
  }

  result(): ChangeSet {
    return { placed: [...this.#placed.values()], rows: this.#rows, lost: this.#lost };
  }

  apply(change: LayoutChange): void {
    const state = this.#situation.nodes.find((node) => node.id === change.node);
    if (state === undefined) {
      throw new Failure(
        'not-found',
        `there is no node ${change.node}: start it, so that it registers, or see \`ashlar node list\``,
      );
    }
    switch (change.kind) {
      case 'add':
        return this.#add(state);
      case 'drain':
        this.#placedOf(state).weight = 0;
        return this.#set(state.id, { draining: true });
      case 'undrain':
        return this.#undrain(state);
      case 'remove':
        return this.#remove(state, change.force === true);
      case 'replace':
        return this.#replace(state);
      case 'zone':
        return this.#zone(state, change.zone);
      case 'weight':
        return this.#weight(state, change.weight);
    }
  }

  /** The row as it will be. */
  #row(state: NodeState): NodeRow {
    return { ...state.row, ...this.#rows.get(state.id) };
  }

  #set(id: string, fields: Partial<NodeRow>): void {
    this.#rows.set(id, { ...this.#rows.get(id), ...fields });
  }

  #placedOf({ id }: NodeState): PlacedNode {
    const placed = this.#placed.get(id);
    if (placed !== undefined) return placed;
    throw new Failure('invalid', `node ${id} is not in the layout: add it first`);
  }

  #fullWeight(state: NodeState): number {
    return this.#row(state).weight ?? state.capacityBytes;
  }

  #add(state: NodeState): void {
    if (this.#placed.has(state.id)) {
      const hint = this.#row(state).draining ? ': undrain it instead' : '';
      throw new Failure('invalid', `node ${state.id} is in the layout already${hint}`);
    }
    if (!state.up) {
      throw new Failure('conflict', `node ${state.id} does not answer: start it, then add it`);
    }
    const row = this.#row(state);
    const zone = row.placedZone ?? row.zone;
    this.#placed.set(state.id, { id: state.id, zone, weight: this.#fullWeight(state) });
    this.#set(state.id, { draining: false, removal: 'none', outEpoch: undefined });
  }

  #undrain(state: NodeState): void {
    const placed = this.#placedOf(state);
    if (!this.#row(state).draining) {
      throw new Failure('invalid', `node ${state.id} is not being drained`);
    }
    placed.weight = this.#fullWeight(state);
    this.#set(state.id, { draining: false });
  }

  #remove(state: NodeState, force: boolean): void {
    const { newest, previous } = this.#situation;
    const holds = [newest, ...previous].some((layout) => hasGroups(layout, state.id));
    if (holds && !state.up && !force) {
      throw new Failure(
        'conflict',
        `node ${state.id} does not answer, and may hold the only good copy of something. Start it; or ` +
          'wait until it is out and its replicas have been made again elsewhere; or force the removal, ' +
          'which gives up what nobody else has',
      );
    }
    this.#placed.delete(state.id);
    const gone = !holds || !state.up;
    if (gone) this.#lost.add(state.id);
    this.#set(state.id, { removal: gone ? 'gone' : 'leaving', draining: false });
  }

  #replace(state: NodeState): void {
    const placed = this.#placed.get(state.id);
    if (placed === undefined) {
      throw new Failure(
        'invalid',
        `node ${state.id} is not in the layout (any more): it needs no other disk. If it is waited for ` +
          `and will not come back, run \`ashlar node remove ${state.id} --force\``,
      );
    }
    if (state.up) {
      throw new Failure(
        'conflict',
        `node ${state.id} is alive with the disk it has. Stop it first: replacing means that the disk ` +
          'is lost',
      );
    }
    if (!this.#row(state).draining && this.#row(state).weight === undefined) {
      placed.weight = state.capacityBytes;
    }
    this.#lost.add(state.id);
    this.#set(state.id, { replaced: true, generation: undefined, instance: undefined });
  }

  #zone(state: NodeState, zone: string): void {
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(zone)) {
      throw new Failure('invalid', 'a zone is 1 to 64 of letters, digits, `.`, `_` and `-`');
    }
    const placed = this.#placed.get(state.id);
    if (placed !== undefined) placed.zone = zone;
    this.#set(state.id, { placedZone: zone });
  }

  #weight(state: NodeState, weight: number): void {
    if (!(weight > 0 && weight < Number.POSITIVE_INFINITY)) {
      throw new Failure('invalid', 'a weight is a number above 0; to empty a node, drain it');
    }
    const placed = this.#placed.get(state.id);
    if (placed !== undefined && !this.#row(state).draining) placed.weight = weight;
    this.#set(state.id, { weight });
  }
}

/** The layout that follows. Failure `invalid` when there are too few nodes for it. */
export function planNext(newest: Layout, placed: readonly PlacedNode[]): Layout {
  if (placed.length < REPLICAS) {
    throw new Failure(
      'invalid',
      `${placed.length} nodes would be left, and every block has ${REPLICAS} replicas: add a node first`,
    );
  }
  const { epoch, groups } = newest;
  return planLayout({ epoch: epoch + 1, groups, nodes: placed, previous: newest });
}

/** `replicaBytes`: what a placement group takes on one node, on average. */
export function describePlan(
  situation: Situation,
  changes: LayoutChange[],
  set: ChangeSet,
  next: Layout,
  replicaBytes: number,
): LayoutPlan {
  const { newest } = situation;
  const before = groupCounts(newest);
  const after = groupCounts(next);
  const lost = [...set.lost].filter((id) => set.rows.get(id)?.replaced === true);
  const refilled = lost.reduce((sum, id) => sum + keptGroups(newest, next, id), 0);
  const moved = movedReplicas(newest, next) + refilled;
  const ids = new Set([...newest.nodes, ...next.nodes].map(({ id }) => id));
  const nodes = [...ids].sort().map((id) => {
    const placed = next.nodes.find((node) => node.id === id);
    const was = newest.nodes.find((node) => node.id === id);
    return {
      id,
      zone: placed?.zone ?? was?.zone ?? '',
      weight: placed?.weight ?? 0,
      groupsBefore: before.get(id) ?? 0,
      groupsAfter: after.get(id) ?? 0,
    };
  });
  return {
    epoch: next.epoch,
    changes,
    movedReplicas: moved,
    movedBytes: Math.round(moved * replicaBytes),
    nodes,
    warnings: warningsOf(situation, set, next, nodes, replicaBytes),
  };
}

export function groupCounts(layout: Layout): Map<string, number> {
  const counts = new Map<string, number>();
  for (let group = 0; group < layout.groups; group++) {
    for (const id of membersOf(layout, group)) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

/** Groups that the node has before and after: a replaced disk gets all of them anew. */
function keptGroups(newest: Layout, next: Layout, id: string): number {
  let kept = 0;
  for (let group = 0; group < newest.groups; group++) {
    if (membersOf(newest, group).includes(id) && membersOf(next, group).includes(id)) kept += 1;
  }
  return kept;
}

function warningsOf(
  { newest, nodes: states }: Situation,
  { rows, lost }: ChangeSet,
  next: Layout,
  plan: LayoutPlan['nodes'],
  replicaBytes: number,
): string[] {
  const warnings: string[] = [];
  const zones = (layout: Layout) =>
    new Set(layout.nodes.filter(({ weight }) => weight > 0).map(({ zone }) => zone)).size;
  if (zones(next) < REPLICAS && zones(next) < zones(newest)) {
    warnings.push(
      `Only ${zones(next)} zones are left: the loss of one can take two replicas of a block at once.`,
    );
  }
  const answering = next.nodes.filter(({ id, weight }) => {
    const up = states.find((node) => node.id === id)?.up === true;
    return weight > 0 && (up || lost.has(id));
  }).length;
  if (answering < REPLICAS) {
    warnings.push(
      `Only ${answering} nodes of this layout answer: there are no more than ${answering} replicas of ` +
        'anything, also of what is written, until another one joins or comes back.',
    );
  }
  const weights = next.nodes.map(({ weight }) => weight).filter((weight) => weight > 0);
  for (const { id, groupsBefore, groupsAfter } of plan) {
    const state = states.find((node) => node.id === id);
    const placed = next.nodes.find((node) => node.id === id);
    if (placed?.weight === 0 && groupsAfter > 0) {
      warnings.push(
        `Node ${id} keeps ${groupsAfter} of its ${groupsBefore} groups: there are too few other nodes ` +
          'or zones to take them. Add a node first.',
      );
    }
    if (placed !== undefined && state !== undefined && !state.up && !lost.has(id)) {
      warnings.push(`Node ${id} does not answer: nothing can be moved to it until it does.`);
    }
    const more = Math.max(0, groupsAfter - groupsBefore) * replicaBytes;
    if (state?.up === true && more > state.freeBytes) {
      warnings.push(`Node ${id} may get full: about ${Math.round(more)} bytes come to it.`);
    }
    const weight = rows.get(id)?.weight;
    if (weight !== undefined && weight * WEIGHTS_APART < Math.max(...weights)) {
      warnings.push(
        `Node ${id} gets next to nothing: weights count in bytes of capacity unless all are set.`,
      );
    }
  }
  for (const id of lost) {
    const how = rows.get(id)?.replaced === true ? 'refilled' : 'made again';
    warnings.push(`What only node ${id} has is given up; its replicas are ${how} from the others.`);
  }
  return warnings;
}
