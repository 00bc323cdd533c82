/** A storage node in a Map, with the faults that a real one has. Test support. */
import type { CallOptions } from '../../../base/call.ts';
import { hashBytes } from '../../../base/checksum.ts';
import type { Clock } from '../../../base/clock.ts';
import { Failure } from '../../../base/failure.ts';
import {
  type BlockContent,
  type BlockKey,
  type BlockRange,
  checksumOf,
  encodeBlockKey,
  type NodeHealth,
  type NodeStats,
  type ReadBlock,
  type StorageNode,
} from '../../../storage-node/protocol.ts';

/** `hang`: accepts calls and never answers, not even when their time is up. */
export type NodeFault = 'none' | 'unavailable' | 'hang' | 'full' | 'slow';

interface Stored {
  key: BlockKey;
  bytes: Buffer;
  checksum: bigint;
}

export class MapNode implements StorageNode {
  readonly id: string;
  readonly clusterId: string;
  readonly blocks = new Map<string, Stored>();
  /** What the node does with calls from now on. */
  fault: NodeFault = 'none';
  /** Puts that arrive while this is set are answered when it resolves. */
  putGate: Promise<void> | undefined;
  /** What `slow` means, in milliseconds of the clock. */
  delayMs = 50;
  /** The id it answers to probes with, when it is not its own. */
  impostor: string | undefined;
  /** Calls that have arrived, by name. */
  readonly calls = { put: 0, get: 0, delete: 0, restore: 0, health: 0 };
  /** Bytes of puts that have not been answered, and the most there ever were. */
  putBytes = 0;
  putBytesPeak = 0;
  /** Called for every get, after it was counted. */
  onGet: ((key: BlockKey, range: BlockRange | undefined) => void) | undefined;
  closed = 0;
  /** Calls that were cancelled while they hung. */
  cancelled = 0;
  readonly #clock: Clock;

  constructor(id: string, clusterId: string, clock: Clock) {
    this.id = id;
    this.clusterId = clusterId;
    this.#clock = clock;
  }

  async put(key: BlockKey, content: BlockContent, options?: CallOptions): Promise<void> {
    this.calls.put++;
    this.putBytes += content.bytes.length;
    this.putBytesPeak = Math.max(this.putBytesPeak, this.putBytes);
    try {
      await this.#face(options, true);
      await this.putGate;
      const bytes = Buffer.from(content.bytes);
      if (hashBytes(bytes) !== content.hash) throw new Failure('corrupt', 'hash mismatch');
      const checksum = checksumOf(key, content.hash);
      const before = this.blocks.get(nameOf(key));
      if (before !== undefined && before.checksum !== checksum) {
        throw new Failure('conflict', 'other content');
      }
      if (before === undefined) this.blocks.set(nameOf(key), { key, bytes, checksum });
    } finally {
      this.putBytes -= content.bytes.length;
    }
  }

  async get(key: BlockKey, range?: BlockRange, options?: CallOptions): Promise<ReadBlock> {
    this.calls.get++;
    this.onGet?.(key, range);
    await this.#face(options, false);
    const stored = this.blocks.get(nameOf(key));
    if (stored === undefined) throw new Failure('not-found', 'no such block');
    const { bytes: whole, checksum } = stored;
    const sound = checksumOf(key, hashBytes(whole)) === checksum;
    if (range !== undefined && !sound) throw new Failure('corrupt', 'does not match');
    const bytes = range === undefined ? whole : whole.subarray(range.start, range.end);
    // As over the wire: the receiver's copy is its own. A whole block is the reader's to check.
    const copy = Buffer.from(bytes);
    return { bytes: copy, hash: hashBytes(copy), length: whole.length, checksum };
  }

  async restore(key: BlockKey, content: BlockContent, options?: CallOptions): Promise<void> {
    this.calls.restore++;
    await this.#face(options, true);
    const checksum = checksumOf(key, content.hash);
    const before = this.blocks.get(nameOf(key));
    const sound = before && checksumOf(key, hashBytes(before.bytes)) === before.checksum;
    if (sound && before.checksum !== checksum) throw new Failure('conflict', 'other content');
    this.blocks.set(nameOf(key), { key, bytes: Buffer.from(content.bytes), checksum });
  }

  async delete(keys: readonly BlockKey[], options?: CallOptions): Promise<void> {
    this.calls.delete++;
    await this.#face(options, false);
    for (const key of keys) this.blocks.delete(nameOf(key));
  }

  async has(keys: readonly BlockKey[], options?: CallOptions): Promise<boolean[]> {
    await this.#face(options, false);
    return keys.map((key) => this.blocks.has(nameOf(key)));
  }

  list(): Promise<never> {
    return Promise.reject(new Failure('internal', 'not part of this test'));
  }

  verify(): Promise<never> {
    return Promise.reject(new Failure('internal', 'not part of this test'));
  }

  async stats(options?: CallOptions): Promise<NodeStats> {
    await this.#face(options, false);
    return this.#stats();
  }

  async health(options?: CallOptions): Promise<NodeHealth> {
    this.calls.health++;
    await this.#face(options, false);
    const id = this.impostor ?? this.id;
    return { id, clusterId: this.clusterId, uptimeMs: 1, stats: this.#stats() };
  }

  close(): void {
    this.closed++;
  }

  /** Flips a bit of a stored block; false when it is not there. */
  spoil(key: BlockKey): boolean {
    const stored = this.blocks.get(nameOf(key));
    if (stored === undefined) return false;
    stored.bytes[0] = (stored.bytes[0] ?? 0) ^ 1;
    return true;
  }

  lose(key: BlockKey): boolean {
    return this.blocks.delete(nameOf(key));
  }

  /** True when the block is there and matches its checksum. */
  sound(key: BlockKey): boolean {
    const stored = this.blocks.get(nameOf(key));
    if (stored === undefined) return false;
    return checksumOf(key, hashBytes(stored.bytes)) === stored.checksum;
  }

  #stats(): NodeStats {
    const full = this.fault === 'full';
    return { blocks: this.blocks.size, fileBytes: 0, capacityBytes: 1, freeBytes: 1, full };
  }

  async #face(options: CallOptions | undefined, writing: boolean): Promise<void> {
    if (options?.signal?.aborted) throw new Failure('cancelled', 'cancelled');
    if (this.fault === 'slow') await this.#clock.sleep(this.delayMs);
    if (this.fault === 'unavailable') throw new Failure('unavailable', 'connection refused');
    if (this.fault === 'hang') {
      await new Promise((_, reject) => {
        options?.signal?.addEventListener('abort', () => {
          this.cancelled++;
          reject(new Failure('cancelled', 'cancelled'));
        });
      });
    }
    if (this.fault === 'full' && writing) throw new Failure('full', 'no space');
  }
}

function nameOf(key: BlockKey): string {
  return encodeBlockKey(key).toString('hex');
}
