/** The S3 object checksums: their names, sizes and how they are written. Streaming digests: `digest.ts`. */
export const CHECKSUM_ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];

/** How a multipart object's checksum relates to its parts. */
export type ChecksumType = 'COMPOSITE' | 'FULL_OBJECT';

/** Digest size in bytes. */
export const CHECKSUM_BYTES: Record<ChecksumAlgorithm, number> = {
  CRC32: 4,
  CRC32C: 4,
  CRC64NVME: 8,
  SHA1: 20,
  SHA256: 32,
};

export interface ObjectChecksum {
  algorithm: ChecksumAlgorithm;
  type: ChecksumType;
  /** Base64 of the digest, big endian for the CRCs; composite values carry `-N` (N parts). */
  value: string;
}
