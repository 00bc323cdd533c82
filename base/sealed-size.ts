/**
 * How long content is once it is encrypted block by block: every block of a blob holds a tag of
 * SEAL_BYTES after the bytes that it seals. Storage nodes see blocks and blobs of these sizes;
 * objects and parts have the size of what the client sent.
 */

/** The authentication tag of AES-256-GCM. */
export const SEAL_BYTES = 16;

/** Bytes of content in a full block. */
export function contentPerBlock(blockSize: number): number {
  return blockSize - SEAL_BYTES;
}

/** Bytes that `size` bytes of content take up in sealed blocks of at most `blockSize`. */
export function sealedSize(size: number, blockSize: number): number {
  return size + SEAL_BYTES * Math.ceil(size / contentPerBlock(blockSize));
}
