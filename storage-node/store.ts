/**
 * The block store: checksummed blocks under encoded keys in an environment. Everything that decides
 * (idempotence, conflicts, verification, the free-space floor, what is fatal) is here, above the
 * `Environment`, so that it runs the same over LMDB and over the twin in memory.
 */
import type { Clock } from '../base/clock.ts';
import { payloadBuffers } from '../base/buffer-pool.ts';
import { blockChecksum, hashBytes } from '../base/checksum.ts';
import { Failure } from '../base/failure.ts';
import {
  type BlockHeader,
  checkContentSize,
  decodeRecord,
  describeKey,
  encodeRecord,
  inlineContent,
  isInline,
  verifiedHash,
} from './block-format.ts';
import { CommitWatch } from './commit-watch.ts';
import type { Environment } from './environment.ts';
import {
  BLOCK_KEY_BYTES,
  type BlockContent,
  type BlockRange,
  KEYS_PER_CALL_MAX,
  LIST_PAGE_MAX,
  type NodeStats,
  type ReadBlock,
  VERIFY_BYTES_MAX,
} from './protocol.ts';
import { type DiskSpace, Space } from './space.ts';
import { WarmBlocks } from './warm-blocks.ts';

export interface StoredBlock {
  /** Encoded key. */
  key: Buffer;
  length: number;
  checksum: bigint;
}

/** `VerifiedPage` under encoded keys. */
export interface StoredPage {
  blocks: number;
  bytes: number;
  corrupt: Buffer[];
  next: Buffer | undefined;
}

/** `StorageNode` under encoded keys. Content hashes are taken as verified by the caller. */
export interface BlockStore {
  put(key: Buffer, content: BlockContent): Promise<void>;
  get(key: Buffer, range?: BlockRange): Promise<ReadBlock>;
  has(keys: readonly Buffer[]): boolean[];
  delete(keys: readonly Buffer[]): Promise<void>;
  restore(key: Buffer, content: BlockContent): Promise<void>;
  list(query: { group: number; after?: Buffer | undefined; limit: number }): Promise<StoredBlock[]>;
  verify(query: {
    group: number;
    after?: Buffer | undefined;
    bytesMax: number;
  }): Promise<StoredPage>;
  stats(): NodeStats;
  /**
   * Takes no more work, waits for writes on their way, closes the environment. True: everything is
   * in order; false: the store has failed before.
   */
  close(): Promise<boolean>;
}

export interface BlockStoreOptions {
  environment: Environment;
  clock: Clock;
  /** Space on the filesystem of the environment; asked about once a second. */
  disk: () => DiskSpace;
  /** See `defaultFloorBytes`. */
  floorBytes?: number | undefined;
  /** Longest time for a write to become durable, in milliseconds. */
  watchdogMs: number;
  /** How much of the store the operating system can be expected to keep in memory. */
  warmBytes: number;
  /** Must end the process at once, without any more I/O on the store: SIGKILL to itself. */
  die: (reason: string, cause?: unknown) => void;
}

/** A write on its way, by key. `checksum` is undefined for a delete. */
interface Pending {
  checksum: bigint | undefined;
  durable: Promise<void>;
}

/** Keys looked at between two turns of the event loop while listing. */
const LIST_STEP = 64;
/** Contents brought into memory at once while verifying. */
const VERIFY_STEP = 4;

export function createBlockStore(options: BlockStoreOptions): BlockStore {
  return new EnvironmentBlockStore(options);
}

class EnvironmentBlockStore implements BlockStore {
  readonly #environment: Environment;
  readonly #options: BlockStoreOptions;
  readonly #commits: CommitWatch;
  readonly #space: Space;
  readonly #warm: WarmBlocks;
  readonly #pending = new Map<string, Pending>();
  #closing: Promise<boolean> | undefined;

  constructor(options: BlockStoreOptions) {
    const { environment, clock, watchdogMs, die } = options;
    this.#options = options;
    this.#environment = environment;
    this.#commits = new CommitWatch({
      clock,
      watchdogMs,
      committed: () => environment.refresh(),
      die,
    });
    this.#space = new Space({
      clock,
      disk: options.disk,
      usage: () => environment.usage(),
      floorBytes: options.floorBytes,
    });
    this.#warm = new WarmBlocks(options.warmBytes);
  }

  async put(key: Buffer, content: BlockContent): Promise<void> {
    this.#ready();
    checkContentSize(content.bytes);
    while (this.#space.crowded(content.bytes.length)) {
      await this.#space.oneSettled();
      this.#ready();
    }
    // From here to the write nothing may be awaited: what was looked at must still hold.
    const checksum = blockChecksum(key, content.hash);
    const pending = this.#pending.get(nameOf(key));
    let replaces = false;
    if (pending === undefined) {
      const header = this.#reading(() => this.#header(key));
      // A record that cannot be right holds no block: it is replaced.
      if (header !== undefined && header !== 'unreadable') {
        if (header.checksum === checksum) return;
        throw conflict(key);
      }
      replaces = header === 'unreadable';
    } else if (pending.checksum === checksum) {
      return pending.durable;
    } else if (pending.checksum !== undefined) {
      throw conflict(key);
    }
    // Behind a delete that is on its way, the block is written anew: writes keep their order.
    await this.#write(key, content.bytes, checksum, replaces);
  }

  async get(key: Buffer, range?: BlockRange): Promise<ReadBlock> {
    this.#ready();
    if (!this.#warm.isWarm(key)) await this.#prefetch([key]);
    this.#ready();
    return this.#reading(() => this.#read(key, range));
  }

  has(keys: readonly Buffer[]): boolean[] {
    this.#ready();
    checkKeyCount(keys.length);
    return this.#reading(() =>
      keys.map(
        (key) => this.#environment.blocks.keys({ start: key, end: key, limit: 1 }).length > 0,
      ),
    );
  }

  async delete(keys: readonly Buffer[]): Promise<void> {
    this.#ready();
    checkKeyCount(keys.length);
    if (keys.length === 0) return;
    const { blocks, contents } = this.#environment;
    const removed = keys.map((key) => {
      void this.#commits.watch(blocks.remove(key));
      const durable = this.#commits.watch(contents.remove(key));
      const entry: Pending = { checksum: undefined, durable };
      const name = nameOf(key);
      this.#pending.set(name, entry);
      return { name, entry };
    });
    try {
      await Promise.all(new Set(removed.map(({ entry }) => entry.durable)));
    } finally {
      for (const { name, entry } of removed) this.#settled(name, entry);
    }
  }

  async restore(key: Buffer, content: BlockContent): Promise<void> {
    this.#ready();
    checkContentSize(content.bytes);
    const checksum = blockChecksum(key, content.hash);
    await this.#prefetch([key]);
    for (;;) {
      this.#ready();
      const pending = this.#pending.get(nameOf(key));
      if (pending !== undefined) await pending.durable;
      else if (this.#space.crowded(content.bytes.length)) await this.#space.oneSettled();
      else break;
    }
    const stored = this.#reading(() => this.#soundChecksum(key));
    if (stored === checksum) return;
    if (stored !== undefined) throw conflict(key);
    await this.#write(key, content.bytes, checksum, true);
  }

  async list(query: { group: number; after?: Buffer | undefined; limit: number }) {
    this.#ready();
    const { group, after, limit } = query;
    if (limit < 1 || limit > LIST_PAGE_MAX || !Number.isInteger(limit)) {
      throw new Failure('invalid', `a page lists 1 to ${LIST_PAGE_MAX} blocks`);
    }
    const keys = this.#keysOfGroup(group, after, limit);
    const listed: StoredBlock[] = [];
    for (let at = 0; at < keys.length; at += LIST_STEP) {
      const step = keys.slice(at, at + LIST_STEP);
      await this.#withTimeLimit(this.#environment.blocks.prefetch(step));
      this.#ready();
      this.#reading(() => {
        for (const key of step) {
          const header = this.#header(key);
          if (header === undefined) continue;
          // A record that cannot be right is listed as what no checksum matches: repair takes it up.
          if (header === 'unreadable') listed.push({ key, length: 0, checksum: 0n });
          else listed.push({ key, length: header.length, checksum: header.checksum });
        }
      });
    }
    return listed;
  }

  async verify(query: { group: number; after?: Buffer | undefined; bytesMax: number }) {
    this.#ready();
    const { group, after, bytesMax } = query;
    if (bytesMax < 1 || bytesMax > VERIFY_BYTES_MAX || !Number.isInteger(bytesMax)) {
      throw new Failure('invalid', `a page verifies 1 to ${VERIFY_BYTES_MAX} bytes`);
    }
    const keys = this.#keysOfGroup(group, after, LIST_PAGE_MAX);
    const page: StoredPage = { blocks: 0, bytes: 0, corrupt: [], next: undefined };
    for (let at = 0; at < keys.length; at += VERIFY_STEP) {
      const step = keys.slice(at, at + VERIFY_STEP);
      if (page.bytes >= bytesMax) return page;
      await this.#prefetch(step);
      this.#ready();
      this.#reading(() => {
        for (const key of step) this.#verifyOne(key, page);
      });
      page.next = step.at(-1);
    }
    if (keys.length < LIST_PAGE_MAX) page.next = undefined;
    return page;
  }

  stats(): NodeStats {
    this.#ready();
    return this.#reading(() => this.#space.stats());
  }

  close(): Promise<boolean> {
    this.#closing ??= (async () => {
      await Promise.allSettled([...this.#pending.values()].map((pending) => pending.durable));
      // After a failure the environment is left as it is: touching it again may hang or crash.
      if (this.#commits.failed) return false;
      await this.#environment.close();
      return true;
    })();
    return this.#closing;
  }

  #ready(): void {
    if (this.#commits.failed) throw new Failure('unavailable', 'the store has failed');
    if (this.#closing !== undefined) throw new Failure('unavailable', 'the store is closing');
  }

  /** Any error that LMDB itself reports is fatal, on reads as well. */
  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof Failure) throw error;
      this.#commits.fail('a read failed', error);
      throw new Failure('unavailable', 'the store has failed: a read failed', { cause: error });
    }
  }

  #header(key: Buffer): BlockHeader | 'unreadable' | undefined {
    const record = this.#environment.blocks.read(key);
    return record === undefined ? undefined : (decodeRecord(key, record) ?? 'unreadable');
  }

  #read(key: Buffer, range: BlockRange | undefined): ReadBlock {
    const record = this.#environment.blocks.read(key);
    if (record === undefined) throw new Failure('not-found', `no such block: ${describeKey(key)}`);
    const header = decodeRecord(key, record);
    if (header === undefined) throw corrupt(key);
    const stored = header.apart ? this.#environment.contents.read(key) : inlineContent(record);
    if (stored === undefined) throw corrupt(key);
    const { length, checksum } = header;
    this.#warm.touch(key, length);
    if (range !== undefined) {
      checkRange(range, length);
      if (verifiedHash(key, header, stored) === undefined) throw corrupt(key);
      const bytes = copyOf(stored.subarray(range.start, range.end));
      return { bytes, hash: hashBytes(bytes), length, checksum };
    }
    // Copied first: what is hashed is what goes out.
    const bytes = copyOf(stored);
    const hash = verifiedHash(key, header, bytes);
    if (hash === undefined) throw corrupt(key);
    return { bytes, hash, length, checksum };
  }

  #keysOfGroup(group: number, after: Buffer | undefined, limit: number): Buffer[] {
    if (after !== undefined && after.readUInt16BE(0) !== group) {
      throw new Failure('invalid', 'a page continues after a block of its own group');
    }
    const range = { start: after ?? groupBound(group, 0), afterStart: after !== undefined, limit };
    const end = groupBound(group, 0xff);
    return this.#reading(() => this.#environment.blocks.keys({ ...range, end }));
  }

  /** Nothing is touched in `warm`: what only the scrubber reads is not what clients read. */
  #verifyOne(key: Buffer, page: StoredPage): void {
    const record = this.#environment.blocks.read(key);
    // Deleted since the keys were read.
    if (record === undefined) return;
    page.blocks += 1;
    const header = decodeRecord(key, record);
    if (header === undefined) {
      page.corrupt.push(key);
      return;
    }
    page.bytes += header.length;
    const stored = header.apart ? this.#environment.contents.read(key) : inlineContent(record);
    if (stored === undefined || verifiedHash(key, header, stored) === undefined) {
      page.corrupt.push(key);
    }
  }

  /** The checksum of what is stored, if that is sound. */
  #soundChecksum(key: Buffer): bigint | undefined {
    const record = this.#environment.blocks.read(key);
    const header = record === undefined ? undefined : decodeRecord(key, record);
    if (record === undefined || header === undefined) return undefined;
    const stored = header.apart ? this.#environment.contents.read(key) : inlineContent(record);
    if (stored === undefined || verifiedHash(key, header, stored) === undefined) return undefined;
    return header.checksum;
  }

  /** `replaces`: something unsound may lie there, perhaps content in a row of its own. */
  async #write(key: Buffer, bytes: Uint8Array, checksum: bigint, replaces: boolean): Promise<void> {
    const { length } = bytes;
    this.#space.take(length);
    const { blocks, contents } = this.#environment;
    const name = nameOf(key);
    const record = encodeRecord(key, bytes, checksum);
    let durable = this.#commits.watch(blocks.put(key, record));
    if (!isInline(length)) durable = this.#commits.watch(contents.put(key, storable(bytes)));
    else if (replaces) durable = this.#commits.watch(contents.remove(key));
    const entry: Pending = { checksum, durable };
    this.#pending.set(name, entry);
    try {
      await durable;
      payloadBuffers.recycle(record);
      this.#warm.touch(key, length);
    } finally {
      this.#space.settled(length);
      this.#settled(name, entry);
    }
  }

  #settled(name: string, entry: Pending): void {
    if (this.#pending.get(name) === entry) this.#pending.delete(name);
  }

  #prefetch(keys: readonly Buffer[]): Promise<unknown> {
    const { blocks, contents } = this.#environment;
    return this.#withTimeLimit(Promise.all([blocks.prefetch(keys), contents.prefetch(keys)]));
  }

  /** lmdb's prefetch never settles when it fails: the read then tells what is wrong. */
  #withTimeLimit(work: Promise<unknown>): Promise<unknown> {
    const { clock, watchdogMs } = this.#options;
    return new Promise((resolve) => {
      const timer = clock.after(watchdogMs, () => resolve(undefined));
      const done = () => {
        timer.cancel();
        resolve(undefined);
      };
      work.then(done, done);
    });
  }
}

const nameOf = (key: Buffer): string => key.toString('latin1');

/** In a buffer of the pool: it belongs to whoever gets the block. */
function copyOf(stored: Buffer): Buffer {
  const bytes = payloadBuffers.take(stored.length);
  bytes.set(stored);
  return bytes;
}

const conflict = (key: Buffer): Failure =>
  new Failure('conflict', `the block exists with other content: ${describeKey(key)}`);

const corrupt = (key: Buffer): Failure =>
  new Failure('corrupt', `the stored block does not match its checksum: ${describeKey(key)}`);

/** lmdb crashes the process when it is handed shared memory; everything else goes as it is. */
function storable(bytes: Uint8Array): Uint8Array {
  return bytes.buffer instanceof SharedArrayBuffer ? Buffer.from(bytes) : bytes;
}

function groupBound(group: number, filler: number): Buffer {
  const bound = Buffer.alloc(BLOCK_KEY_BYTES, filler);
  bound.writeUInt16BE(group, 0);
  return bound;
}

function checkKeyCount(count: number): void {
  if (count > KEYS_PER_CALL_MAX) {
    throw new Failure('invalid', `at most ${KEYS_PER_CALL_MAX} keys per call, not ${count}`);
  }
}

function checkRange(range: BlockRange, length: number): void {
  const { start, end } = range;
  const integers = Number.isInteger(start) && Number.isInteger(end);
  if (!integers || start < 0 || end <= start || start >= length) {
    throw new Failure('invalid', `the range ${start}-${end} is outside a block of ${length} bytes`);
  }
}
