/**
 * The free-space floor. LMDB reports a full disk as an I/O error, after which it is not to be used,
 * so a node refuses blocks long before that. Deletes, which need a few pages before they free any,
 * have what is below the floor.
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

export interface Room {
  /** Bytes that new blocks may take. */
  bytes: number;
  /** Bytes by which blocks on their way at the same time may let the file grow. */
  atOnceBytes: number;
}

/** Room on the disk and in the map, the lesser of both. */
export function roomForBlocks(disk: DiskSpace, usage: EnvironmentUsage, floor: number): Room {
  const { fileBytes, reusableBytes, limitBytes } = usage;
  // Free pages are scattered and a long block needs consecutive ones: an eighth does not count.
  const reusable = Math.max(0, reusableBytes - fileBytes / 8);
  const onDisk = roomAbove(floor, disk.freeBytes, reusable);
  const mapFloor = Math.min(MAP_FLOOR_BYTES, limitBytes / 16);
  const inMap = roomAbove(mapFloor, limitBytes - fileBytes, reusable);
  return {
    bytes: Math.floor(Math.min(onDisk.bytes, inMap.bytes)),
    atOnceBytes: Math.floor(Math.min(onDisk.atOnceBytes, inMap.atOnceBytes)),
  };
}

/**
 * Without pages to reuse, the file grows by every block, and what is below the floor is left for
 * deletes. With them, most blocks do not grow the file, and deletes need nothing else; but every
 * block on its way might be one that does, so together they stay below half of what there is.
 */
function roomAbove(floor: number, growth: number, reusable: number): Room {
  const bytes = Math.max(0, growth + reusable - floor);
  return { bytes, atOnceBytes: reusable > 0 ? growth / 2 : bytes };
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
  /** As measured, less what has been taken since. */
  readonly #room: Room = { bytes: 0, atOnceBytes: 0 };
  #inFlightBytes = 0;
  #measuredAt = Number.NEGATIVE_INFINITY;
  #waiting: (() => void)[] = [];

  constructor(options: SpaceOptions) {
    this.#options = options;
  }

  /** True when there is room for a block of `length` bytes, but too much is on its way already. */
  crowded(length: number): boolean {
    const cost = costOf(length);
    if (this.#inFlightBytes === 0 || cost <= this.#room.atOnceBytes) return false;
    this.#measure();
    return cost > this.#room.atOnceBytes && cost <= this.#room.bytes;
  }

  /** Resolves when a block that was on its way has settled. */
  oneSettled(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** Sets room aside for a block of `length` bytes; Failure `full` when there is none. */
  take(length: number): void {
    const cost = costOf(length);
    const sinceMs = this.#options.clock.monotonic() - this.#measuredAt;
    if (sinceMs >= MEASURE_EVERY_MS || !this.#fits(cost)) this.#measure();
    if (!this.#fits(cost)) {
      throw new Failure('full', 'the free-space floor of this node is reached');
    }
    this.#room.bytes -= cost;
    this.#room.atOnceBytes -= cost;
    this.#inFlightBytes += cost;
  }

  /** The block's write has settled: from now on it shows in the measurements. */
  settled(length: number): void {
    this.#inFlightBytes -= costOf(length);
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  stats(): NodeStats {
    const { disk, usage } = this.#measure();
    return {
      blocks: usage.blocks,
      fileBytes: usage.fileBytes,
      capacityBytes: disk.capacityBytes,
      freeBytes: disk.freeBytes + usage.reusableBytes,
      full: this.#room.bytes < costOf(USUAL_BLOCK_BYTES),
      store: {
        usedBytes: usage.fileBytes - usage.reusableBytes,
        limitBytes: usage.limitBytes,
      },
    };
  }

  #fits(cost: number): boolean {
    return cost <= this.#room.bytes && cost <= this.#room.atOnceBytes;
  }

  #measure(): { disk: DiskSpace; usage: EnvironmentUsage } {
    this.#measuredAt = this.#options.clock.monotonic();
    const disk = this.#options.disk();
    const usage = this.#options.usage();
    const floor = this.#options.floorBytes ?? defaultFloorBytes(disk.capacityBytes);
    const room = roomForBlocks(disk, usage, floor);
    this.#room.bytes = room.bytes - this.#inFlightBytes;
    this.#room.atOnceBytes = room.atOnceBytes - this.#inFlightBytes;
    return { disk, usage };
  }
}

function costOf(length: number): number {
  return Math.ceil(length / PAGE_BYTES) * PAGE_BYTES + OVERHEAD_BYTES;
}
