/** From metadata to nodes: does every node have the blocks that it should? Asked in large batches. */
import type { CallOptions } from '../../base/call.ts';
import { type BlockKey, KEYS_PER_CALL_MAX, type StorageNode } from '../../storage-node/protocol.ts';
import type { FoundBlob } from '../catalogue/catalogue.ts';
import { blockCount, blockKeys, idsOfGroup, isMoving, type Placement } from './placed.ts';

export interface AbsentBlock {
  key: BlockKey;
  node: string;
  row: FoundBlob;
}

export interface Presence {
  blocks: number;
  /** Replicas that a node has answered for. */
  replicas: number;
  /** Nodes that did not answer, every time: what they hold is not judged. */
  silent: Set<string>;
}

interface Asked {
  key: BlockKey;
  row: FoundBlob;
}

/**
 * Asks for all blocks of `rows`; what a node answers it does not have is given to `absent`, at most
 * 1,000 per node at a time. Groups that are being moved are left out. Throws what `absent` throws.
 */
export async function askPresence(options: {
  rows: readonly FoundBlob[];
  placement: Placement;
  node: (id: string) => StorageNode | undefined;
  call: CallOptions;
  absent: (found: AbsentBlock[]) => Promise<void>;
}): Promise<Presence> {
  const { rows, placement, node, call, absent } = options;
  const { layout } = placement;
  const result: Presence = { blocks: 0, replicas: 0, silent: new Set() };
  const batches = new Map<string, Asked[]>();

  const ask = async (id: string, asked: readonly Asked[]): Promise<void> => {
    let found: boolean[] | undefined;
    try {
      found = await node(id)?.has(
        asked.map(({ key }) => key),
        call,
      );
    } catch {
      found = undefined;
    }
    if (found === undefined) {
      result.silent.add(id);
      return;
    }
    result.replicas += found.length;
    const missing = asked.filter((_, index) => found[index] === false);
    if (missing.length > 0) await absent(missing.map((one) => ({ ...one, node: id })));
  };
  const flush = async (): Promise<void> => {
    const full = [...batches];
    batches.clear();
    await Promise.all(full.map(async ([id, asked]) => await ask(id, asked)));
  };

  for (const row of rows) {
    for (const key of blockKeys(row.blob, layout.groups, 0, blockCount(row))) {
      result.blocks += 1;
      if (isMoving(placement, key.group)) continue;
      let most = 0;
      for (const id of idsOfGroup(layout, key.group)) {
        const batch = batches.get(id) ?? [];
        if (batch.length === 0) batches.set(id, batch);
        most = Math.max(most, batch.push({ key, row }));
      }
      if (most >= KEYS_PER_CALL_MAX) await flush();
    }
  }
  await flush();
  return result;
}
