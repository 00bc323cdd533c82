/** The records of the queues' rows. */
import { Failure } from '../../base/failure.ts';
import type { BlobId } from '../../base/ids.ts';
import { blobId, bytes, type Codec, defineCodec, hex, number } from './codec.ts';

/** What waits to be cleaned up. */
export type Garbage =
  | { kind: 'blob'; blob: BlobId; size: number; blockSize: number }
  /** A part list that no object refers to any more. */
  | { kind: 'parts'; list: string }
  /** The part rows of an ended upload; bit n of `used`: part n went into an object. */
  | { kind: 'upload'; uploadId: string; used: Buffer }
  /** The open uploads of a deleted bucket. */
  | { kind: 'bucket'; bucketId: number }
  /** The kept answer of a completed upload. */
  | { kind: 'completed'; uploadId: string };

const GARBAGE_KINDS = ['blob', 'parts', 'upload', 'bucket', 'completed'] as const;

function packGarbage(row: Garbage): unknown[] {
  const kind = GARBAGE_KINDS.indexOf(row.kind);
  switch (row.kind) {
    case 'blob':
      return [kind, Buffer.from(row.blob, 'hex'), row.size, row.blockSize];
    case 'parts':
      return [kind, Buffer.from(row.list, 'hex')];
    case 'upload':
      return [kind, Buffer.from(row.uploadId, 'hex'), row.used];
    case 'bucket':
      return [kind, row.bucketId];
    case 'completed':
      return [kind, Buffer.from(row.uploadId, 'hex')];
  }
}

export const garbageCodec: Codec<Garbage> = defineCodec({
  name: 'garbage',
  format: 1,
  count: 4,
  fields: packGarbage,
  record([kind, subject, first, second]): Garbage {
    switch (GARBAGE_KINDS[number(kind)]) {
      case 'blob':
        return {
          kind: 'blob',
          blob: blobId(subject),
          size: number(first),
          blockSize: number(second),
        };
      case 'parts':
        return { kind: 'parts', list: hex(subject) };
      case 'upload':
        return { kind: 'upload', uploadId: hex(subject), used: bytes(first) };
      case 'bucket':
        return { kind: 'bucket', bucketId: number(subject) };
      case 'completed':
        return { kind: 'completed', uploadId: hex(subject) };
      default:
        throw new Failure('corrupt', 'garbage of an unknown kind');
    }
  },
});

interface RepairRow {
  reason: 'missing' | 'corrupt';
  sinceMs: number;
}

export const repairCodec: Codec<RepairRow> = defineCodec({
  name: 'repair',
  format: 1,
  count: 2,
  fields: (row) => [row.reason === 'corrupt' ? 1 : 0, row.sinceMs],
  record: (fields) => ({
    reason: fields[0] === 1 ? 'corrupt' : 'missing',
    sinceMs: number(fields[1]),
  }),
});
