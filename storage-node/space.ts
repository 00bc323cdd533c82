/**
 * The free-space floor. LMDB reports a full disk as an I/O error, after which it is not to be used,
 * so a node refuses blocks long before that. Below the floor there is a reserve that blocks never
 * take, so that deletes, which need a few pages first, always work.
 */
import type { Clock } from '../base/clock.ts';
import { Failure } from '../base/failure.ts';
import type { EnvironmentUsage } from './environment.ts';
import type { NodeStats } from './protocol.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const PAGE_BYTES = 4096;
/** Rows, branches and free-list pages that a write may copy beside its content. */
const OVERHEAD_BYTES = 8 * PAGE_BYTES;
/** A store that could not take one block of the usual size counts as full. */
const USUAL_BLOCK_BYTES = MIB;
/** Address space that blocks leave free. */
const MAP_FLOOR_BYTES = 64 * MIB;
/** How long a measurement is good for. */
const MEASURE_EVERY_MS = 1000;

/** The filesystem that the store lies on. */
export interface DiskSpace {
  capacityBytes: number;
  /** Free for this process. */
  freeBytes: number;
}

/** 1 GiB or 1 % of the filesystem, whichever is more, but at most 10 %. */
export function defaultFloorBytes(capacityBytes: number): number {
  return Math.floor(Math.min(Math.max(GIB, capacityBytes / 100), capacityBytes / 10));
}

/**
 * Bytes that new blocks may take, on the disk and in the map. What the file can reuse counts as free,
 * less an eighth of the file: free pages are scattered and a block needs consecutive ones.
 */
export function roomForBlocks(disk: DiskSpace, usage: EnvironmentUsage, floor: number): number {
  const reusable = Math.max(0, usage.reusableBytes - usage.fileBytes / 8);
  const inMap = usage.limitBytes - usage.fileBytes;
  const onDisk = roomAbove(floor, disk.freeBytes, reusable);
  return Math.floor(Math.min(onDisk, roomAbove(MAP_FLOOR_BYTES, inMap, reusable)));
}

/**
 * However much can be reused, the file may not grow into the reserve: a quarter of the floor, but at
 * least 16 MiB or, with a very low floor, half of it.
 */
function roomAbove(floor: number, growth: number, reusable: number): number {
  const reserve = Math.min(Math.max(floor / 4, 16 * MIB), floor / 2);
  return growth < reserve ? 0 : Math.max(0, growth + reusable - floor);
}

export interface SpaceOptions {
  clock: Clock;
  disk: () => DiskSpace;
  usage: () => EnvironmentUsage;
  /** Default: `defaultFloorBytes`. */
  floorBytes?: number | undefined;
}

/** Keeps account of the room, so that the filesystem is asked about once a second, not per write. */
export class Space {
  readonly #options: SpaceOptions;
  #room = 0;
  #inFlightBytes = 0;
  #measuredAt = Number.NEGATIVE_INFINITY;

  constructor(options: SpaceOptions) {
    this.#options = options;
  }

  /** Sets room aside for a block of `length` bytes; Failure `full` when there is none. */
  take(length: number): void {
    const cost = costOf(length);
    const now = this.#options.clock.monotonic();
    if (now - this.#measuredAt >= MEASURE_EVERY_MS || this.#room < cost) {
      this.#measuredAt = now;
      this.#measure();
    }
    if (this.#room < cost) {
      throw new Failure('full', 'the free-space floor of this node is reached');
    }
    this.#room -= cost;
    this.#inFlightBytes += cost;
  }

  /** The block's write has settled: from now on it shows in the measurements. */
  settled(length: number): void {
    this.#inFlightBytes -= costOf(length);
  }

  stats(): NodeStats {
    const { disk, usage } = this.#measure();
    return {
      blocks: usage.blocks,
      fileBytes: usage.fileBytes,
      capacityBytes: disk.capacityBytes,
      freeBytes: disk.freeBytes + usage.reusableBytes,
      full: this.#room < costOf(USUAL_BLOCK_BYTES),
    };
  }

  #measure(): { disk: DiskSpace; usage: EnvironmentUsage } {
    const disk = this.#options.disk();
    const usage = this.#options.usage();
    const floor = this.#options.floorBytes ?? defaultFloorBytes(disk.capacityBytes);
    this.#room = roomForBlocks(disk, usage, floor) - this.#inFlightBytes;
    return { disk, usage };
  }
}

function costOf(length: number): number {
  return Math.ceil(length / PAGE_BYTES) * PAGE_BYTES + OVERHEAD_BYTES;
}
