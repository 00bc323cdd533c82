/**
 * Connections of the journal to the storage nodes: its own, so that a record never waits behind the
 * blocks that repair moves; and to nodes that have not been heard of yet, since it is the journal that
 * a service waits for at its start.
 */
import type { JournalNode, StorageNode } from '../../storage-node/protocol.ts';
import type { NodeView } from '../protocol.ts';

type Connection = StorageNode & { close?: () => Promise<void> };

export class JournalConnections {
  readonly #connect: (node: NodeView) => Connection;
  readonly #open = new Map<string, { address: string; node: Connection }>();

  constructor(connect: (node: NodeView) => Connection) {
    this.#connect = connect;
  }

  /** The node's journal; undefined when it has none or cannot be connected to. */
  journal(view: NodeView): JournalNode | undefined {
    const { id, address } = view;
    const known = this.#open.get(id);
    if (known?.address === address) return known.node.journal;
    void known?.node.close?.();
    this.#open.delete(id);
    try {
      const node = this.#connect(view);
      this.#open.set(id, { address, node });
      return node.journal;
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
