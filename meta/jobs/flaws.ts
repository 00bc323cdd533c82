/**
 * Which blocks a node lacks, or has without their being sound, found by having it read all of them:
 * what has to be asked before other replicas are given up. `has` alone does not do, for it reads no
 * content, and a replica may have rotted since it was written and verified.
 */
import { parseBlobId } from '../../base/ids.ts';
import { type BlockKey, KEYS_PER_CALL_MAX, type StorageNode } from '../../storage-node/protocol.ts';
import { nameOf, type WalkedBlock } from './group-walk.ts';

/** Bytes that a node is asked to read per call. */
const CALL_BYTES_MAX = 8 * 1024 * 1024;

export interface Flaw {
  block: WalkedBlock;
  found: 'missing' | 'corrupt';
}

/**
 * Of `blocks` (of one placement group, in the order of their keys) those that the node has not, or not
 * sound. Reads each on the node, and what the node has between them: `turn` is awaited before
 * `bytes` are read and may reject. Rejects with what the node fails with.
 */
export async function flawsOn(
  node: Pick<StorageNode, 'verify' | 'has'>,
  blocks: readonly WalkedBlock[],
  timeoutMs: number,
  turn: (bytes: number) => Promise<void>,
): Promise<Flaw[]> {
  const corrupt = await corruptOn(node, blocks, timeoutMs, turn);
  // Afterwards: so a block that was not there to be read is missing, unless it has just been written.
  const has: boolean[] = [];
  for (let from = 0; from < blocks.length; from += KEYS_PER_CALL_MAX) {
    const keys = blocks.slice(from, from + KEYS_PER_CALL_MAX).map(({ key }) => key);
    has.push(...(await node.has(keys, { timeoutMs })));
  }
  return blocks.flatMap((block, index): Flaw[] => {
    if (has[index] !== true) return [{ block, found: 'missing' }];
    return corrupt.has(nameOf(block.key)) ? [{ block, found: 'corrupt' }] : [];
  });
}

async function corruptOn(
  node: Pick<StorageNode, 'verify'>,
  blocks: readonly WalkedBlock[],
  timeoutMs: number,
  turn: (bytes: number) => Promise<void>,
): Promise<Set<string>> {
  const corrupt = new Set<string>();
  let left = [...blocks];
  for (let after: BlockKey | undefined; ; ) {
    const [first] = left;
    if (first === undefined) return corrupt;
    const bytes = left.reduce((sum, { length }) => sum + length, 0);
    const bytesMax = Math.min(CALL_BYTES_MAX, Math.max(1, bytes));
    await turn(bytesMax);
    after ??= justBefore(first.key);
    const page = await node.verify({ group: first.key.group, after, bytesMax }, { timeoutMs });
    for (const key of page.corrupt) corrupt.add(nameOf(key));
    if (page.next === undefined) return corrupt;
    after = page.next;
    const reached = nameOf(after);
    left = left.filter(({ key }) => nameOf(key) > reached);
  }
}

/** The greatest key that is less than `key`; undefined when that is the first of its group. */
function justBefore({ group, blob, index }: BlockKey): BlockKey | undefined {
  if (index > 0) return { group, blob, index: index - 1 };
  const number = BigInt(`0x${blob}`);
  if (number === 0n) return undefined;
  const before = (number - 1n).toString(16).padStart(blob.length, '0');
  return { group, blob: parseBlobId(before), index: 0xffff_ffff };
}
