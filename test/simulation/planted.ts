/**
 * Planted bugs: faults of the kind that lose data, put between the parts of the production code by
 * wrapping them. Each must be found by the simulation, which shows that its checkers can see.
 */
import { isFailure } from '../../base/failure.ts';
import { hashBytes } from '../../base/checksum.ts';
import type { Connect, NodeClient } from '../../gateway/object/node-pool.ts';
import type { AssembledMeta } from '../../meta/assemble.ts';
import { LEASES } from '../../meta/cluster/rows.ts';
import { type Entry, type KeyValueStore, STAMP_BYTES } from '../../meta/engine/kv.ts';
import type { StorageNode } from '../../storage-node/protocol.ts';
import { checksumOf, decodeBlockKey } from '../../storage-node/protocol.ts';
import { BLOCK_HEADER_BYTES } from '../../storage-node/block-format.ts';
import type { BlockStore } from '../../storage-node/store.ts';
import type { BlockDisk } from './block-disk.ts';
import type { Fault } from './faults.ts';

export interface Bugs {
  /** A node acknowledges writes before they are durable. */
  nodeForgets?: boolean;
  /** The metadata service acknowledges commits before they are durable. */
  metaForgets?: boolean;
  /** Faults without which nobody would notice. */
  focus?: readonly Fault[];
  wrapStore: (store: KeyValueStore) => KeyValueStore;
  wrapJobNode: <Node extends StorageNode>(node: Node) => Node;
  wrapBlocks: (store: BlockStore, disk: BlockDisk) => BlockStore;
  wrapGatewayNodes: (connect: Connect) => Connect;
  breakMeta: (assembled: AssembledMeta) => void;
}

export const NO_BUGS: Bugs = {
  wrapStore: (store) => store,
  wrapJobNode: (node) => node,
  wrapBlocks: (store) => store,
  wrapGatewayNodes: (connect) => connect,
  breakMeta: () => {},
};

export const PLANTED = {
  'a node acknowledges before its write is durable': { ...NO_BUGS, nodeForgets: true },
  'the metadata service acknowledges before its commit is durable': {
    ...NO_BUGS,
    focus: ['crashMeta', 'powerCut'],
    metaForgets: true,
  },
  'garbage is removed without looking at leases and reads': {
    ...NO_BUGS,
    breakMeta: ({ cluster }) => {
      cluster.leases.oldestRead = () => Number.POSITIVE_INFINITY;
      cluster.leases.isSettled = () => true;
    },
  },
  'garbage is done although a node did not answer': {
    ...NO_BUGS,
    focus: ['crashNode', 'reset'],
    wrapJobNode: deletesBlindly,
  },
  'the checksum of a block does not cover its key': {
    ...NO_BUGS,
    focus: ['misdirect'],
    wrapBlocks: servesAnything,
  },
  'one replica is counted twice': {
    ...NO_BUGS,
    focus: ['crashNode', 'fullDisk'],
    wrapGatewayNodes: countsTwice,
  },
  'silence is taken for a yes when copies are counted': {
    ...NO_BUGS,
    focus: ['layout', 'diskLoss', 'crashNode'],
    wrapJobNode: takesSilenceForYes,
  },
  'data is moved while gateways write by an older layout': {
    ...NO_BUGS,
    focus: ['layout', 'cut'],
    breakMeta: ({ cluster }) => {
      cluster.leases.oldestLayout = () => Number.POSITIVE_INFINITY;
    },
  },
  'the commit of a fenced writer is accepted': {
    ...NO_BUGS,
    focus: ['freeze', 'cut'],
    wrapStore: forgetsFences,
  },
  'an expiration comes late and does not look again': { ...NO_BUGS, breakMeta: expiresLate },
} satisfies Record<string, Bugs>;

/** What is found is removed when the next thing is found, whatever has its key by then. */
function expiresLate({ catalogue }: AssembledMeta): void {
  const { lifecycle } = catalogue;
  let found: { bucket: string; key: string } | undefined;
  lifecycle.expire = async ({ name: bucket }, { key }) => {
    const late = found;
    found = { bucket, key };
    if (late !== undefined) await catalogue.deleteObject(late);
    return 'expired';
  };
}

function deletesBlindly<Node extends StorageNode>(node: Node): Node {
  return { ...node, delete: (keys, options) => node.delete(keys, options).catch(() => {}) };
}

function takesSilenceForYes<Node extends StorageNode>(node: Node): Node {
  return {
    ...node,
    // Impatient: most answers come too late.
    has: (keys, options) =>
      node.has(keys, { ...options, timeoutMs: 1 }).catch(() => keys.map(() => true)),
  };
}

/** What lies there is served, whatever block it is. */
function servesAnything(store: BlockStore, disk: BlockDisk): BlockStore {
  return {
    put: (key, content) => store.put(key, content),
    has: (keys) => store.has(keys),
    delete: (keys) => store.delete(keys),
    restore: (key, content) => store.restore(key, content),
    list: (query) => store.list(query),
    verify: (query) => store.verify(query),
    stats: () => store.stats(),
    close: () => store.close(),
    async get(key, range) {
      try {
        return await store.get(key, range);
      } catch (error) {
        const record = disk.memory.blocks.get(key.toString('latin1'));
        if (!isFailure(error, 'corrupt') || record === undefined) throw error;
        const whole = record.subarray(BLOCK_HEADER_BYTES);
        const checksum = checksumOf(decodeBlockKey(key), hashBytes(whole));
        const bytes = Buffer.from(whole.subarray(range?.start ?? 0, range?.end ?? whole.length));
        return { bytes, hash: hashBytes(bytes), length: whole.length, checksum };
      }
    },
  };
}

/** A replica that fails is forgiven when another one has the block. */
function countsTwice(connect: Connect): Connect {
  const clients: NodeClient[] = [];
  return (view) => {
    const client = connect(view);
    const forgiving: NodeClient = {
      ...client,
      async put(key, content, options) {
        try {
          await client.put(key, content, options);
        } catch (error) {
          const found = await Promise.all(
            clients.map((other) => other.has([key], options).catch(() => [false])),
          );
          if (!found.some(([there]) => there === true)) throw error;
        }
      },
    };
    clients.push(client);
    return forgiving;
  };
}

/** Leases that were there once count for ever. */
function forgetsFences(store: KeyValueStore): KeyValueStore {
  const isLease = (key: Uint8Array) => key[0] === LEASES.start[0];
  const known = new Map<string, Entry>();
  const nameOf = (key: Uint8Array) => Buffer.from(key).toString('latin1');
  return {
    range: (range) => store.range(range),
    close: () => store.close(),
    async get(keys) {
      const found = await store.get(keys);
      return found.map((entry, index) => {
        const key = keys[index];
        if (key === undefined || !isLease(key)) return entry;
        if (entry !== null) known.set(nameOf(key), entry);
        const ghost = {
          key: Buffer.from(key),
          value: Buffer.alloc(1),
          stamp: Buffer.alloc(STAMP_BYTES),
        };
        return entry ?? known.get(nameOf(key)) ?? ghost;
      });
    },
    commit: (commit) =>
      store.commit({
        ...commit,
        checks: commit.checks.filter(({ key, stamp }) => stamp === null || !isLease(key)),
      }),
  };
}
