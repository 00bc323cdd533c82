/**
 * Rows of the cluster half of the metadata: one kind byte, then fixed-width big-endian ids.
 * `L` writer leases, `N` nodes, `P` the layout, `F` facts of the store itself.
 */

/**
 * The row that stands while a writer's lease does. Created by openWriter, deleted by closeWriter or
 * by expiry, never rewritten in between: every commit made under a writer checks its stamp, so that
 * the deletion fences the writer, and renewals disturb nobody.
 */
export function leaseKey(writer: number): Buffer {
  const key = Buffer.allocUnsafe(9);
  key[0] = 0x4c; // 'L'
  key.writeBigUInt64BE(BigInt(writer), 1);
  return key;
}
