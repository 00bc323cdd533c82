/**
 * The free-space floor of the metadata store. LMDB reports a full disk as an I/O error, after which
 * it is not to be used, so commits that only add are refused long before. Commits that delete
 * something, and those of the cluster itself, go on into a reserve.
 */
import type { Clock } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
/** Pages that a commit may copy beside its content. */
const OVERHEAD_BYTES = 8 * 8192;
/** How long a measurement is good for. */
const MEASURE_EVERY_MS = 1000;

export interface SpaceUsage {
  /** Bytes that the file has grown to. */
  fileBytes: number;
  /** Bytes of that which hold nothing at present and will be used again. */
  reusableBytes: number;
  /** Bytes that the file can grow to, whatever the disk has. */
  limitBytes: number;
}

export interface SpaceOptions {
  clock: Clock;
  /** The filesystem of the store. */
  disk: () => { capacityBytes: number; freeBytes: number };
  usage: () => SpaceUsage;
  /** Default: `defaultFloorBytes`. */
  floorBytes?: number | undefined;
}

/** 256 MiB, but at most 5 % of the filesystem. */
function defaultFloorBytes(capacityBytes: number): number {
  return Math.floor(Math.min(256 * MIB, capacityBytes / 20, GIB));
}

/** Keeps account of the room; the filesystem is asked about once a second, not per commit. */
export function createSpace(options: SpaceOptions): {
  /** Throws Failure `full` when a commit of `bytes` may not be made now. */
  take(bytes: number, mayUseReserve: boolean): void;
} {
  let room = 0;
  let reserve = 0;
  let measuredAt = Number.NEGATIVE_INFINITY;

  function measure(): void {
    const disk = options.disk();
    const usage = options.usage();
    const floor = options.floorBytes ?? defaultFloorBytes(disk.capacityBytes);
    reserve = (floor * 3) / 4;
    const growth = Math.min(disk.freeBytes, usage.limitBytes - usage.fileBytes);
    // Half of what can be reused counts: a batch needs pages that no reader holds any more.
    room = growth + usage.reusableBytes / 2 - floor;
  }

  return {
    take(bytes, mayUseReserve) {
      const now = options.clock.monotonic();
      const cost = 2 * bytes + OVERHEAD_BYTES;
      const allowance = mayUseReserve ? reserve : 0;
      if (now - measuredAt >= MEASURE_EVERY_MS || room + allowance < cost) {
        measuredAt = now;
        measure();
      }
      if (room + allowance < cost) {
        throw new Failure('full', 'the free-space floor of the metadata store is reached');
      }
      room -= cost;
    },
  };
}
