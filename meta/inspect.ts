/**
 * Where an object's bytes lie: every block, and on each of its nodes the replica as that node answers
 * for it now. For operators: it asks three nodes per block.
 */
import { contentPerBlock } from '../base/sealed-size.ts';
import type { StorageNode } from '../storage-node/protocol.ts';
import type { LocatedBlock, LocatedObject, LocatedReplica, MetaAdmin } from './admin-protocol.ts';
import { askReplica } from './jobs/copy-block.ts';
import {
  blockCount,
  blockKeys,
  blockLength,
  idsOfGroup,
  type Placement,
  placementOf,
} from './jobs/placed.ts';
import { inParallel } from './jobs/rate.ts';
import type { BlobRef, ClusterView, DataRef, Meta, ObjectRecord, PartRef } from './protocol.ts';

export interface InspectParts {
  catalogue: Pick<Meta, 'getObject' | 'readParts'>;
  view: () => ClusterView;
  /** The node, when it is up. */
  node: (id: string) => StorageNode | undefined;
  /** When scrubbing last verified what a node holds of a group, in milliseconds of the epoch. */
  verifiedAt: (node: string, group: number) => number | undefined;
}

/** Blocks in one answer. */
const BLOCKS_MAX = 1000;
const BLOCKS_AT_ONCE = 8;
const CALL_TIMEOUT_MS = 10_000;

/** A run of blocks: a whole blob, and where it begins. */
interface Extent {
  ref: BlobRef;
  /** In the object, in bytes. */
  offset: number;
}

export function createInspect(parts: InspectParts): Pick<MetaAdmin, 'locateObject'> {
  return {
    async locateObject({ bucket, key, versionId, from, limit, verify }) {
      const answer = await parts.catalogue.getObject({ bucket, key, versionId });
      if (!answer.ok) return answer;
      const { object } = answer.value;
      const placement = placementOf(parts.view());
      const most = Math.max(1, Math.min(limit, BLOCKS_MAX));
      const found =
        placement === undefined
          ? { blocks: [], next: undefined }
          : await blocksFrom(parts, object, placement, Math.max(0, from), most);
      await inParallel(found.blocks, BLOCKS_AT_ONCE, async (block) => {
        const ids = idsOfGroup(placement?.layout ?? NO_LAYOUT, block.group);
        block.replicas = await Promise.all(ids.map((id) => replicaOn(parts, id, block, verify)));
      });
      const { size, etag } = object;
      const located: LocatedObject = { bucket, key, versionId, size, etag, ...found };
      return { ok: true, value: located };
    },
  };
}

const NO_LAYOUT = { epoch: 0, groups: 0, nodes: [], assignment: Buffer.alloc(0) };

async function replicaOn(
  parts: InspectParts,
  id: string,
  block: LocatedBlock,
  verify: boolean,
): Promise<LocatedReplica> {
  const { blob, group, index } = block;
  const view = parts.view().nodes.find((node) => node.id === id);
  const peer = { id, node: parts.node(id) };
  const key = { blob, group, index };
  const state = verify
    ? (await askReplica(peer, key, block.size, CALL_TIMEOUT_MS)).state
    : await isThere(peer.node, key);
  const verifiedMs = parts.verifiedAt(id, group);
  return { node: id, zone: view?.zone ?? '', state, verifiedMs };
}

/** Without reading the content: `good` means that it is there. */
async function isThere(
  node: StorageNode | undefined,
  key: Parameters<StorageNode['has']>[0][number],
): Promise<LocatedReplica['state']> {
  try {
    const there = await node?.has([key], { timeoutMs: CALL_TIMEOUT_MS });
    return there === undefined ? 'unreachable' : there[0] === true ? 'good' : 'missing';
  } catch {
    return 'unreachable';
  }
}

/** Blocks number `from` and on, in object order, without their replicas. */
async function blocksFrom(
  parts: InspectParts,
  { data, encryption }: ObjectRecord,
  { layout }: Placement,
  from: number,
  limit: number,
): Promise<Pick<LocatedObject, 'blocks' | 'next'>> {
  const blocks: LocatedBlock[] = [];
  /** Number of the first block of the extent. */
  let first = 0;
  for await (const { ref, offset } of extentsOf(parts, data)) {
    const count = blockCount(ref);
    const step = encryption === undefined ? ref.blockSize : contentPerBlock(ref.blockSize);
    const start = Math.max(0, from - first);
    for (const key of blockKeys(ref.blob, layout.groups, start, count)) {
      if (blocks.length === limit) return { blocks, next: first + key.index };
      blocks.push({
        ...key,
        offset: offset + key.index * step,
        size: blockLength(ref, key.index),
        replicas: [],
      });
    }
    first += count;
  }
  return { blocks, next: undefined };
}

async function* extentsOf(parts: InspectParts, data: DataRef): AsyncGenerator<Extent> {
  if (data.kind === 'none') return;
  if (data.kind === 'blob') {
    yield { ref: data, offset: 0 };
    return;
  }
  let after = 0;
  for (;;) {
    const page: PartRef[] = await parts.catalogue.readParts({ list: data.list, from: { after } });
    // Pages are whole: one may begin with parts that were there before.
    const fresh = page.filter(({ number }) => number > after);
    if (fresh.length === 0) return;
    for (const part of fresh) {
      if (part.data !== undefined) yield { ref: part.data, offset: part.offset };
      after = part.number;
    }
  }
}
