/**
 * What must hold at every moment, seen from outside: the disks of the nodes and of the metadata
 * service, and who is reading what. Nothing here asks the code under test how it got there.
 */
import { type BlobId, placementGroup, writerOf } from '../../base/ids.ts';
import { leaseKey } from '../../meta/cluster/rows.ts';
import { STAMP_BYTES } from '../../meta/engine/kv.ts';
import { blobKey, repairKey } from '../../meta/catalogue/keyspace.ts';
import { garbageCodec } from '../../meta/catalogue/queue-records.ts';
import { blobCodec } from '../../meta/catalogue/records.ts';
import {
  decodeRecord,
  inlineContent,
  isInline,
  verifiedHash,
} from '../../storage-node/block-format.ts';
import { type BlockKey, decodeBlockKey, encodeBlockKey } from '../../storage-node/protocol.ts';
import type { BlockDisk } from './block-disk.ts';
import type { Change, MetaDisk } from './meta-disk.ts';

const BLOB_KIND = 0x62;
const BLOB_KEY_BYTES = 17;
const QUEUE_KIND = 0x71;
const GARBAGE_KIND = 0x67;
/** Copies without which nothing may be acknowledged, and to which nothing may ever be reduced. */
const COPIES_MIN = 2;

export interface LiveBlob {
  blob: BlobId;
  size: number;
  blockSize: number;
}

/** A read under way: its blocks must stay while the lease it runs under stands. */
export interface OpenRead {
  blob: BlobId;
  writer: number;
  /** When it began, in simulated milliseconds. */
  since: number;
}

/** Where blocks belong, as the metadata service has it at this moment. */
export interface Placement {
  owners: (group: number) => string[];
  /** Whether it has blocks by any layout; a node that was done without is emptied when it returns. */
  holds: (node: string) => boolean;
  /** The node is still being filled with what older layouts put elsewhere. */
  filling: (group: number, node: string) => boolean;
}

export class Oracle {
  readonly violations: string[] = [];
  readonly reads = new Set<OpenRead>();
  /** Blobs that are referred to, as of the last durable batch. */
  readonly live = new Map<BlobId, LiveBlob>();
  readonly #meta: MetaDisk;
  readonly #disks: readonly BlockDisk[];
  readonly #groups: number;
  /** Replicas that the simulation itself has damaged: `node key`. */
  readonly #damaged = new Set<string>();
  /** Blobs that nothing refers to any more. */
  readonly #condemned = new Set<BlobId>();
  /** Replicas that were written when their blob was condemned already: `node key`. */
  readonly #late = new Set<string>();
  readonly #writtenAt = new Map<string, number>();
  readonly #now: () => number;
  readonly #isGone: (node: string) => boolean;
  readonly #placement: () => Placement | undefined;

  constructor(options: {
    meta: MetaDisk;
    disks: readonly BlockDisk[];
    groups: number;
    now: () => number;
    isGone: (node: string) => boolean;
    placement: () => Placement | undefined;
  }) {
    this.#isGone = options.isGone;
    this.#placement = options.placement;
    this.#now = options.now;
    this.#meta = options.meta;
    this.#disks = options.disks;
    this.#groups = options.groups;
    this.watch();
    for (const disk of this.#disks) {
      disk.watch({
        written: (name) => this.#written(disk, name),
        removed: (name) => this.#removed(disk, name),
      });
    }
  }

  watch(): void {
    this.#meta.onBatch = (changes) => this.#batch(changes);
  }

  /** The metadata store is made anew: what is written to it now has happened before. */
  lookAway(): void {
    this.#meta.onBatch = undefined;
  }

  /** It is complete again. */
  async lookAgain(): Promise<void> {
    this.live.clear();
    const reader = this.#meta.reader();
    const start = Buffer.from([BLOB_KIND]);
    const end = Buffer.from([BLOB_KIND + 1]);
    for (const { key, value } of await reader.range({ start, end, limit: 1000 })) {
      const blob = key.toString('hex', 1) as BlobId;
      const { size, blockSize } = blobCodec.decode(value);
      this.live.set(blob, { blob, size, blockSize });
    }
    this.watch();
  }

  violation(text: string): void {
    this.violations.push(text);
  }

  /** Nodes with a sound copy of the block. */
  copies(key: BlockKey): BlockDisk[] {
    const encoded = encodeBlockKey(key);
    return this.#disks.filter((disk) => isSound(disk, encoded));
  }

  /** Replicas of the block that the simulation has damaged and nobody has mended since. */
  rotten(key: BlockKey): number {
    const encoded = encodeBlockKey(key);
    const name = encoded.toString('latin1');
    return this.#disks.filter(
      (disk) =>
        this.#damaged.has(`${disk.name} ${name}`) &&
        disk.memory.blocks.has(name) &&
        !isSound(disk, encoded),
    ).length;
  }

  /** Keys of a blob's blocks. */
  blocksOf({ blob, size, blockSize }: LiveBlob): BlockKey[] {
    return Array.from({ length: Math.ceil(size / blockSize) }, (_, index) => ({
      group: placementGroup(blob, index, this.#groups),
      blob,
      index,
    }));
  }

  /**
   * Where the disks differ from what they should hold: a good copy of every block that is referred
   * to on each of its nodes, and nothing else.
   */
  wrongReplicas(ownersOf: (group: number) => string[]): string[] {
    const wrong: string[] = [];
    const wanted = new Set<string>();
    for (const blob of this.live.values()) {
      for (const key of this.blocksOf(blob)) {
        const name = encodeBlockKey(key).toString('latin1');
        const copies = this.copies(key).map((disk) => disk.name);
        for (const owner of ownersOf(key.group)) {
          wanted.add(`${owner} ${name}`);
          if (copies.includes(owner)) continue;
          wrong.push(`no good copy of block ${key.index} of ${key.blob} on ${owner}`);
        }
      }
    }
    for (const disk of this.#disks) {
      if (this.#isGone(disk.name)) continue;
      for (const name of disk.memory.blocks.keys()) {
        if (wanted.has(`${disk.name} ${name}`)) continue;
        const { blob, index } = decodeBlockKey(Buffer.from(name, 'latin1'));
        wrong.push(`block ${index} of ${blob} on ${disk.name}, where nothing needs it`);
      }
    }
    return wrong;
  }

  isLive(blob: BlobId): boolean {
    return this.#meta.read(blobKey(blob)) !== undefined;
  }

  /** It is referred to, or its writer may still commit it. */
  mayMatter(blob: BlobId): boolean {
    return this.isLive(blob) || (!this.#condemned.has(blob) && this.leaseStands(writerOf(blob)));
  }

  leaseStands(writer: number): boolean {
    return this.#meta.read(leaseKey(writer)) !== undefined;
  }

  /** The simulation has damaged this replica itself. */
  damaged(disk: BlockDisk, name: string): void {
    this.#damaged.add(`${disk.name} ${name}`);
  }

  #batch(changes: readonly Change[]): void {
    const fresh: LiveBlob[] = [];
    // Commits of one batch have an order: a lease may end in it after its last commit.
    const ended = new Set(
      changes.filter(({ after }) => after === undefined).map(({ key }) => key.toString('latin1')),
    );
    for (const { key, before, after } of changes) {
      if (key[0] === QUEUE_KIND && key[1] === GARBAGE_KIND) {
        if (before !== undefined && after === undefined) this.#discarded(before);
        continue;
      }
      if (key[0] !== BLOB_KIND || key.length !== BLOB_KEY_BYTES) continue;
      const blob = key.toString('hex', 1) as BlobId;
      if (after === undefined) {
        this.live.delete(blob);
        this.#condemned.add(blob);
      } else if (before === undefined) {
        const { size, blockSize } = blobCodec.decode(after.subarray(STAMP_BYTES));
        const entry = { blob, size, blockSize };
        this.live.set(blob, entry);
        fresh.push(entry);
      }
    }
    for (const entry of fresh) {
      this.#committed(entry, ended);
      for (const key of this.blocksOf(entry)) {
        const missing = this.#silentlyMissing(key).join(', ');
        if (missing === '') continue;
        this.violation(
          `blob ${entry.blob} was committed without block ${key.index} on ${missing}, and nobody knows`,
        );
      }
    }
  }

  #committed(entry: LiveBlob, ended: ReadonlySet<string>): void {
    const { blob } = entry;
    const lease = leaseKey(writerOf(blob)).toString('latin1');
    if (!this.leaseStands(writerOf(blob)) && !ended.has(lease)) {
      this.violation(`blob ${blob} was committed by writer ${writerOf(blob)}, which has no lease`);
    }
    for (const key of this.blocksOf(entry)) {
      const name = encodeBlockKey(key).toString('latin1');
      const copies = this.#disks.filter(
        (disk) => isSound(disk, encodeBlockKey(key)) || this.#damaged.has(`${disk.name} ${name}`),
      );
      if (copies.length < COPIES_MIN) {
        const at = copies.map((disk) => disk.name).join(', ');
        this.violation(
          `blob ${blob} was committed with block ${key.index} durable on [${at}] only`,
        );
      }
    }
  }

  /** Nodes that should have the block, have not, and nobody knows. */
  #silentlyMissing(key: BlockKey): string[] {
    const placement = this.#placement();
    if (placement === undefined) return [];
    const name = encodeBlockKey(key).toString('latin1');
    return placement.owners(key.group).filter((owner) => {
      const disk = this.#disks.find((one) => one.name === owner);
      if (disk === undefined || disk.memory.blocks.has(name)) return false;
      if (this.#damaged.has(`${owner} ${name}`) || placement.filling(key.group, owner))
        return false;
      return this.#meta.read(repairKey(key.blob, owner)) === undefined;
    });
  }

  /** A blob's garbage is done: no node has anything of it, unless a write was late. */
  #discarded(row: Buffer): void {
    const garbage = garbageCodec.decode(row.subarray(STAMP_BYTES));
    if (garbage.kind !== 'blob') return;
    for (const key of this.blocksOf(garbage)) {
      const name = encodeBlockKey(key).toString('latin1');
      for (const disk of this.#disks) {
        if (!disk.memory.blocks.has(name) || this.#late.has(`${disk.name} ${name}`)) continue;
        // The folder of a removed node is not looked at any more.
        if (this.#isGone(disk.name) || this.#placement()?.holds(disk.name) === false) continue;
        this.violation(`garbage ${garbage.blob} is done, but ${disk.name} has block ${key.index}`);
      }
    }
  }

  #written(disk: BlockDisk, name: string): void {
    const { blob } = decodeBlockKey(Buffer.from(name, 'latin1'));
    this.#writtenAt.set(`${disk.name} ${name}`, this.#now());
    if (this.#condemned.has(blob)) this.#late.add(`${disk.name} ${name}`);
  }

  #removed(disk: BlockDisk, name: string): void {
    const key = decodeBlockKey(Buffer.from(name, 'latin1'));
    const { blob, index } = key;
    if (this.isLive(blob)) {
      const left = this.copies(key).filter((other) => other !== disk).length;
      // Rotten copies that nobody has looked at since count as copies, for nobody can know.
      if (left === 0 || left + this.rotten(key) < COPIES_MIN) {
        this.violation(
          `${disk.name} removed block ${index} of ${blob}, which is referred to, with ${left} copies left`,
        );
      }
      const missing = this.#silentlyMissing(key).filter((owner) => owner !== disk.name);
      if (missing.length > 0) {
        this.violation(
          `${disk.name} removed block ${index} of ${blob}, which ${missing.join(', ')} should have and has not`,
        );
      }
      return;
    }
    const written = this.#writtenAt.get(`${disk.name} ${name}`) ?? 0;
    for (const read of this.reads) {
      // A copy that is younger than the read is not needed by it: repair takes back what came too late.
      if (read.blob === blob && written <= read.since && this.leaseStands(read.writer)) {
        this.violation(`${disk.name} removed block ${index} of ${blob} under a running read`);
      }
    }
  }
}

function isSound(disk: BlockDisk, key: Buffer): boolean {
  const record = disk.memory.blocks.get(key.toString('latin1'));
  if (record === undefined) return false;
  const header = decodeRecord(key, record);
  if (header === undefined || !isInline(header.length)) return false;
  return verifiedHash(key, header, inlineContent(record)) !== undefined;
}
