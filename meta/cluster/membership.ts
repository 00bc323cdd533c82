/** Nodes and layout as operators see and change them: the `MetaAdmin` methods about membership. */
import { Failure } from '../../base/failure.ts';
import type { NodeStats } from '../../storage-node/protocol.ts';
import type {
  LayoutPlan,
  LayoutState,
  MetaAdmin,
  NodeCondition,
  NodeInfo,
} from '../admin-protocol.ts';
import { applyChanges, describePlan, groupCounts } from './changes.ts';
import type { Cluster } from './cluster.ts';
import { changesOf, type GroupChange } from './moves.ts';
import type { NodeState } from './nodes.ts';

export type Membership = Pick<
  MetaAdmin,
  'nodes' | 'layout' | 'stageLayout' | 'applyLayout' | 'revertLayout'
>;

export interface MembershipOptions {
  cluster: Pick<Cluster<unknown>, 'changes' | 'view'>;
  /** What the node says about its store; undefined when it does not answer. */
  stats: (id: string) => Promise<NodeStats | undefined>;
}

export function createMembership({ cluster, stats }: MembershipOptions): Membership {
  const { changes } = cluster;
  const { layouts } = changes;

  /** Changes of placement groups of which something is still to be moved. */
  function moving(): GroupChange[] {
    if (layouts.newest === undefined) return [];
    return changesOf(layouts.newest, layouts.previous).filter(
      ({ moves, leavers }) => leavers.length > 0 || moves.some((move) => !layouts.isMoved(move)),
    );
  }

  /** Bytes of one group on one node, on average over the nodes that answer. */
  async function replicaBytes(): Promise<number> {
    const { newest } = layouts;
    if (newest === undefined) return 0;
    const groups = groupCounts(newest);
    let bytes = 0;
    let counted = 0;
    await Promise.all(
      [...groups].map(async ([id, held]) => {
        const answer = await stats(id);
        if (answer === undefined) return;
        bytes += answer.fileBytes;
        counted += held;
      }),
    );
    return counted === 0 ? 0 : bytes / counted;
  }

  async function plan(): Promise<LayoutPlan | undefined> {
    const staged = changes.staged();
    if (staged === undefined) return undefined;
    const situation = changes.situation();
    const size = await replicaBytes();
    try {
      const set = applyChanges(situation, staged.changes);
      return describePlan(situation, staged.changes, set, staged.layout, size);
    } catch (error) {
      // What was possible when it was staged is not now: it is shown with the reason.
      if (!(error instanceof Failure)) throw error;
      const nothing = { placed: [], rows: new Map(), lost: new Set<string>() };
      const shown = describePlan(situation, staged.changes, nothing, staged.layout, size);
      return {
        ...shown,
        warnings: [`This cannot be applied now: ${error.message}.`, ...shown.warnings],
      };
    }
  }

  async function layout(): Promise<LayoutState> {
    return { view: cluster.view(), staged: await plan(), movingGroups: moving().length };
  }

  return {
    layout,

    async nodes() {
      const incoming = new Map<string, number>();
      for (const { moves } of moving()) {
        for (const move of moves) {
          if (layouts.isMoved(move)) continue;
          incoming.set(move.node, (incoming.get(move.node) ?? 0) + 1);
        }
      }
      const size = incoming.size === 0 ? 0 : await replicaBytes();
      const groups = layouts.newest === undefined ? new Map() : groupCounts(layouts.newest);
      return changes.states().map((state): NodeInfo => {
        const placed = layouts.newest?.nodes.find(({ id }) => id === state.id);
        return {
          id: state.id,
          address: state.row.address,
          zone: state.zone,
          condition: conditionOf(state, placed !== undefined, changes.isOut(state)),
          inLayout: placed !== undefined,
          groups: groups.get(state.id) ?? 0,
          weight: placed?.weight ?? 0,
          capacityBytes: state.capacityBytes,
          freeBytes: state.freeBytes,
          full: state.full,
          store: state.store,
          silentMs: state.heard ? Math.round(state.silentMs) : undefined,
          incomingBytes: Math.round((incoming.get(state.id) ?? 0) * size),
        };
      });
    },

    async stageLayout(command) {
      await changes.stage(command.changes);
      const staged = await plan();
      if (staged === undefined) throw new Failure('conflict', 'the layout changed: stage it again');
      return staged;
    },

    async applyLayout({ epoch }) {
      await changes.apply(epoch);
      return await layout();
    },

    async revertLayout() {
      await changes.revert();
      return await layout();
    },
  };
}

function conditionOf(state: NodeState, inLayout: boolean, out: boolean): NodeCondition {
  if (out) return 'out';
  if (!state.up) return 'down';
  if (state.row.draining || state.row.removal === 'leaving') return 'draining';
  return inLayout ? 'up' : 'spare';
}
