/** Where blocks belong, as the background jobs ask it: from the view of the cluster, without effects. */
import { type BlobId, placementStart } from '../../base/ids.ts';
import type { BlockKey } from '../../storage-node/protocol.ts';
import { nodesOfGroup } from '../cluster/layout.ts';
import type { ClusterView, Layout } from '../protocol.ts';

/** The layouts that count at present: the newest, and older ones whose data is still being moved. */
export interface Placement {
  layout: Layout;
  previous: readonly Layout[];
}

/** Undefined while there is no layout. */
export function placementOf({ layout, previous }: ClusterView): Placement | undefined {
  return layout === undefined ? undefined : { layout, previous };
}

/** Ids of the nodes of `group`, preferred first. */
export function idsOfGroup(layout: Layout, group: number): string[] {
  return nodesOfGroup(layout, group).flatMap((index) => layout.nodes[index]?.id ?? []);
}

/** Every node that may hold blocks of `group`: those of the newest layout first. */
export function holdersOf({ layout, previous }: Placement, group: number): string[] {
  const ids = new Set(idsOfGroup(layout, group));
  for (const older of previous) for (const id of idsOfGroup(older, group)) ids.add(id);
  return [...ids];
}

/** The nodes of `group` are not the same in all layouts: what lies where is not to be judged. */
export function isMoving(placement: Placement, group: number): boolean {
  if (placement.previous.length === 0) return false;
  return holdersOf(placement, group).length !== idsOfGroup(placement.layout, group).length;
}

export interface BlobShape {
  blob: BlobId;
  size: number;
  blockSize: number;
}

export function blockCount({ size, blockSize }: Pick<BlobShape, 'size' | 'blockSize'>): number {
  return Math.ceil(size / Math.max(1, blockSize));
}

/** Length of block `index` in bytes. */
export function blockLength({ size, blockSize }: BlobShape, index: number): number {
  return Math.min(blockSize, size - index * blockSize);
}

/** Keys of the blocks `from` … `until` - 1 of a blob. */
export function* blockKeys(
  blob: BlobId,
  groups: number,
  from: number,
  until: number,
): Generator<BlockKey> {
  const start = placementStart(blob, groups);
  for (let index = from; index < until; index++) {
    yield { group: (start + index) % groups, blob, index };
  }
}
