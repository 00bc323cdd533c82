/** Connections to the storage nodes, for the background jobs: one per node that is up. */
import type { NodeStats, StorageNode } from '../../storage-node/protocol.ts';
import type { ClusterView, NodeView } from '../protocol.ts';

const STATS_TIMEOUT_MS = 2000;

type Connection = StorageNode & { close?: () => Promise<void> };

export class NodeDirectory {
  readonly #view: () => ClusterView;
  readonly #connect: (node: NodeView) => Connection;
  readonly #open = new Map<string, { address: string; node: Connection }>();

  constructor(view: () => ClusterView, connect: (node: NodeView) => Connection) {
    this.#view = view;
    this.#connect = connect;
  }

  /** Undefined: the node is down, unknown, or cannot be connected to. */
  node(id: string): StorageNode | undefined {
    const view = this.#view().nodes.find((node) => node.id === id);
    if (view?.state !== 'up') return undefined;
    const known = this.#open.get(id);
    if (known?.address === view.address) return known.node;
    void known?.node.close?.();
    this.#open.delete(id);
    try {
      const node = this.#connect(view);
      this.#open.set(id, { address: view.address, node });
      return node;
    } catch {
      return undefined;
    }
  }

  /** What the node says about its store; undefined when it does not answer soon. */
  async stats(id: string): Promise<NodeStats | undefined> {
    try {
      return await this.node(id)?.stats({ timeoutMs: STATS_TIMEOUT_MS });
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    const connections = [...this.#open.values()];
    this.#open.clear();
    for (const { node } of connections) await node.close?.();
  }
}
