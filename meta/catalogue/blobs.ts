/** The blob rows as background jobs read them: which blobs there are, and whether one still stands. */
import type { BlobId } from '../../base/ids.ts';
import { type KeyValueStore, KV_LIMITS } from '../engine/kv.ts';
import { blobBounds, blobKey, blobOfKey } from './keyspace.ts';
import { blobCodec, type BlobRow } from './records.ts';

export type FoundBlob = BlobRow & { blob: BlobId };

export interface Blobs {
  /** The rows of `blobs`, in order, in one snapshot per 1,024; undefined for those that are gone. */
  get(blobs: readonly BlobId[]): Promise<(FoundBlob | undefined)[]>;
  stands(blob: BlobId): Promise<boolean>;
  /** Blobs in the order of their ids, from after `after`: 1 … 1,000 of them, fewer only at the end. */
  page(limit: number, after?: BlobId): Promise<FoundBlob[]>;
}

export function createBlobs(store: Pick<KeyValueStore, 'get' | 'range'>): Blobs {
  async function get(blobs: readonly BlobId[]): Promise<(FoundBlob | undefined)[]> {
    const found: (FoundBlob | undefined)[] = [];
    for (let from = 0; from < blobs.length; from += KV_LIMITS.getKeys) {
      const batch = blobs.slice(from, from + KV_LIMITS.getKeys);
      const rows = await store.get(batch.map(blobKey));
      for (const [index, blob] of batch.entries()) {
        const row = rows[index];
        found.push(row == null ? undefined : { blob, ...blobCodec.decode(row.value) });
      }
    }
    return found;
  }
  return {
    get,
    stands: async (blob) => (await get([blob]))[0] !== undefined,
    async page(limit, after) {
      const rows = await store.range({ ...blobBounds(after), limit });
      return rows.map(({ key, value }) => ({ blob: blobOfKey(key), ...blobCodec.decode(value) }));
    },
  };
}
