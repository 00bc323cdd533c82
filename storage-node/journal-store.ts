/**
 * The metadata service's journal and snapshots on this node, over an environment of its own: blocks
 * and journal never share a file, so that neither's damage takes the other along.
 *
 *   table `blocks`     's'                                  state: claim, base, last
 *                      'r' ‖ sequence u64                   record
 *   table `contents`   sequence u64 ‖ generation u64 ‖ index u32   chunk of a snapshot
 *
 * Changes are made one after the other; all rows of one change become durable together.
 */
import { hashBytes } from '../base/checksum.ts';
import type { Clock } from '../base/clock.ts';
import { Failure, isFailure } from '../base/failure.ts';
import { CommitWatch } from './commit-watch.ts';
import type { Environment } from './environment.ts';
import { decodeJournalRecord, decodeJournalRecords, type JournalRecord } from './journal-record.ts';
import {
  JOURNAL_BYTES_MAX,
  type JournalClaim,
  type JournalNode,
  type JournalState,
  type SnapshotName,
  type StoredSnapshot,
} from './protocol.ts';
import { type DiskSpace, defaultFloorBytes } from './space.ts';

export interface JournalStoreOptions {
  environment: Environment;
  clock: Clock;
  /** The cluster's id is known from the first registration on. */
  identity: () => { id: string; clusterId: string | undefined };
  /** Space on the filesystem of the environment. */
  disk: () => DiskSpace;
  /** Below this, blocks are refused; a journal record may use three quarters of it, a snapshot none. */
  floorBytes?: number | undefined;
  /** Longest time for a write to become durable, in milliseconds. */
  watchdogMs: number;
  /** Must end the process at once, without any more I/O on the store. */
  die: (reason: string, cause?: unknown) => void;
}

export interface JournalStore extends JournalNode {
  /** Waits for the change on its way and closes. True: in order; false: the store has failed before. */
  close(): Promise<boolean>;
}

/** Rows looked at in one go. */
const PAGE_ROWS = 256;
const STATE_KEY = Buffer.from('s');
const MEASURE_EVERY_MS = 1000;

type Kept = Omit<JournalState, 'node' | 'clusterId'>;

const BLANK: Kept = {
  generation: 0,
  token: '',
  base: { sequence: 0, checksum: 0n },
  last: { sequence: 0, checksum: 0n },
  lastGeneration: 0,
  bytes: 0,
};

/** Failure `corrupt` when the state that is stored cannot be right. */
export function openJournalStore(options: JournalStoreOptions): JournalStore {
  return new EnvironmentJournalStore(options);
}

class EnvironmentJournalStore implements JournalStore {
  readonly #options: JournalStoreOptions;
  readonly #environment: Environment;
  readonly #commits: CommitWatch;
  #kept: Kept;
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;
  #free = { bytes: 0, floor: 0, at: Number.NEGATIVE_INFINITY };

  constructor(options: JournalStoreOptions) {
    const { environment, clock, watchdogMs, die } = options;
    this.#options = options;
    this.#environment = environment;
    const committed = () => environment.refresh();
    this.#commits = new CommitWatch({ clock, watchdogMs, committed, die });
    const stored = environment.blocks.read(STATE_KEY);
    this.#kept = stored === undefined ? BLANK : decodeKept(Buffer.from(stored));
  }

  async state(): Promise<JournalState> {
    this.#ready();
    const { id, clusterId } = this.#options.identity();
    return { ...this.#kept, node: id, clusterId };
  }

  claim(claim: JournalClaim): Promise<JournalState> {
    return this.#inTurn(async () => {
      this.#admit(claim);
      const { generation, token } = claim;
      const kept = this.#kept;
      if (generation !== kept.generation) await this.#keep({ ...kept, generation, token });
      return await this.state();
    });
  }

  trim({ claim, keep }: Parameters<JournalNode['trim']>[0]): Promise<JournalState> {
    return this.#inTurn(async () => {
      this.#obey(claim);
      const kept = this.#kept;
      if (keep.sequence === kept.last.sequence && keep.checksum === kept.last.checksum) {
        return await this.state();
      }
      const stored = this.#record(keep.sequence);
      const follows = stored?.checksum === keep.checksum && keep.sequence > kept.base.sequence;
      const isBase = keep.sequence === kept.base.sequence && keep.checksum === kept.base.checksum;
      const dropped = this.#drop(keep.sequence + 1, kept.last.sequence);
      await this.#keep({
        ...kept,
        base: follows || isBase ? kept.base : keep,
        last: keep,
        lastGeneration: follows ? stored.generation : 0,
        bytes: follows ? Math.max(0, kept.bytes - dropped) : 0,
      });
      return await this.state();
    });
  }

  append({ claim, records }: Parameters<JournalNode['append']>[0]) {
    return this.#inTurn(async () => {
      this.#obey(claim);
      const kept = { ...this.#kept };
      const sent = decodeJournalRecords(records);
      const mended = this.#damagedAmong(sent);
      const fresh = sent.filter(
        ({ sequence, checksum }) =>
          !mended.has(sequence) &&
          (sequence > kept.last.sequence || this.#record(sequence)?.checksum !== checksum),
      );
      if (fresh.length === 0 && mended.size === 0) return kept.last;
      this.#assertRoom(records.length, 1 / 4);
      for (const { sequence, previous, checksum, generation, bytes } of fresh) {
        if (sequence !== kept.last.sequence + 1 || previous !== kept.last.checksum) {
          throw new Failure('conflict', `record ${sequence} does not follow the journal here`);
        }
        kept.last = { sequence, checksum };
        kept.lastGeneration = generation;
        kept.bytes += bytes.length;
      }
      for (const [sequence, bytes] of mended) this.#put(recordKey(sequence), bytes);
      for (const { sequence, bytes } of fresh) this.#put(recordKey(sequence), bytes);
      await this.#keep(kept);
      return kept.last;
    });
  }

  /** Records that are damaged here, and whose checksum the record after them, or our state, tells. */
  #damagedAmong(sent: readonly JournalRecord[]): Map<number, Buffer> {
    const { base, last } = this.#kept;
    const found = new Map<number, Buffer>();
    let after: JournalRecord | undefined;
    // From the back: one that is replaced tells what the one before it has to be.
    for (const record of sent.toReversed()) {
      const { sequence, checksum } = record;
      const known = after?.sequence === sequence + 1 ? after : undefined;
      after = undefined;
      if (sequence <= base.sequence || sequence > last.sequence) continue;
      after = this.#record(sequence);
      if (after !== undefined) continue;
      const next = known ?? this.#record(sequence + 1);
      const right = sequence === last.sequence ? last.checksum : next?.previous;
      if (checksum !== right) continue;
      found.set(sequence, record.bytes);
      after = record;
    }
    return found;
  }

  async read({ from, bytesMax }: Parameters<JournalNode['read']>[0]) {
    this.#ready();
    const found: Buffer[] = [];
    let bytes = 0;
    const keys = this.#environment.blocks.keys({
      start: recordKey(from),
      end: LAST_RECORD_KEY,
      limit: PAGE_ROWS,
    });
    let next = keys.length === PAGE_ROWS ? sequenceOf(keys.at(-1)) + 1 : undefined;
    for (const key of keys) {
      const record = this.#record(sequenceOf(key));
      if (record === undefined) continue;
      bytes += record.bytes.length;
      if (found.length > 0 && bytes > Math.min(bytesMax, JOURNAL_BYTES_MAX)) {
        next = record.sequence;
        break;
      }
      found.push(record.bytes);
    }
    return { records: Buffer.concat(found), next };
  }

  truncate({ claim, upTo }: Parameters<JournalNode['truncate']>[0]): Promise<void> {
    return this.#inTurn(async () => {
      this.#obey(claim);
      const kept = this.#kept;
      const end = Math.min(upTo, kept.last.sequence);
      let { base } = kept;
      const last = end === kept.last.sequence ? kept.last : this.#record(end);
      if (end > base.sequence && last !== undefined) {
        base = { sequence: end, checksum: last.checksum };
      } else if (end > base.sequence) return;
      // In several changes: there may be very many rows.
      for (;;) {
        const keys = this.#environment.blocks.keys({
          start: recordKey(0),
          end: recordKey(end),
          limit: PAGE_ROWS,
        });
        if (keys.length === 0) return;
        let dropped = 0;
        for (const key of keys) {
          dropped += this.#environment.blocks.read(key)?.length ?? 0;
          this.#remove(key);
        }
        const bytes = Math.max(0, this.#kept.bytes - dropped);
        await this.#keep({ ...this.#kept, base, bytes });
      }
    });
  }

  putChunk({ claim, snapshot, index, bytes }: Parameters<JournalNode['putChunk']>[0]) {
    return this.#inTurn(async () => {
      this.#obey(claim);
      if (bytes.length > JOURNAL_BYTES_MAX) throw new Failure('invalid', 'a chunk is too long');
      this.#assertRoom(bytes.length, 1);
      const key = chunkKey(snapshot, index);
      await this.#commits.watch(this.#environment.contents.put(key, bytes));
    });
  }

  async chunk({ snapshot, index }: Parameters<JournalNode['chunk']>[0]): Promise<Buffer> {
    this.#ready();
    const key = chunkKey(snapshot, index);
    await this.#environment.contents.prefetch([key]);
    this.#ready();
    const bytes = this.#environment.contents.read(key);
    if (bytes === undefined) throw new Failure('not-found', 'no such chunk of a snapshot here');
    return Buffer.from(bytes);
  }

  async snapshots(): Promise<StoredSnapshot[]> {
    this.#ready();
    const found = new Map<string, StoredSnapshot>();
    for (const key of this.#chunkKeys(FIRST_CHUNK_KEY, LAST_CHUNK_KEY)) {
      const name = key.toString('latin1', 0, 16);
      const known = found.get(name);
      const index = key.readUInt32BE(16);
      if (known !== undefined) known.chunks.push(index);
      else {
        const sequence = Number(key.readBigUInt64BE(0));
        found.set(name, {
          sequence,
          generation: Number(key.readBigUInt64BE(8)),
          chunks: [index],
        });
      }
    }
    return [...found.values()];
  }

  dropSnapshot({ claim, snapshot }: Parameters<JournalNode['dropSnapshot']>[0]): Promise<void> {
    return this.#inTurn(async () => {
      this.#obey(claim);
      // The end goes first: what is left of a snapshot that is only half gone is no whole one.
      const keys = this.#chunkKeys(chunkKey(snapshot, 0), chunkKey(snapshot, 0xffffffff));
      for (const key of keys.reverse()) {
        await this.#commits.watch(this.#environment.contents.remove(key));
      }
    });
  }

  async close(): Promise<boolean> {
    this.#closed = true;
    await this.#turn.catch(() => {});
    if (this.#commits.failed) return false;
    await this.#environment.close();
    return true;
  }

  /* ---------------------------------------------------------------- claims */

  #admit({ clusterId, generation, token }: JournalClaim): void {
    const own = this.#options.identity().clusterId;
    if (own !== undefined && own !== clusterId) {
      throw new Failure('unauthenticated', `this node belongs to cluster ${own}`);
    }
    const kept = this.#kept;
    const other = generation === kept.generation && token !== kept.token;
    if (generation < kept.generation || other) {
      throw new Failure(
        'fenced',
        `another metadata service has opened the journal (${kept.generation}, not ${generation})`,
      );
    }
  }

  #obey(claim: JournalClaim): void {
    this.#admit(claim);
    // Nobody else has it: this disk is another one than when the claim was made.
    if (claim.generation !== this.#kept.generation) {
      throw new Failure('conflict', 'the journal has not been claimed with this number');
    }
  }

  /* ---------------------------------------------------------------- rows */

  /** Undefined: not here, or damaged. */
  #record(sequence: number) {
    const stored = this.#environment.blocks.read(recordKey(sequence));
    if (stored === undefined) return undefined;
    try {
      const record = decodeJournalRecord(Buffer.from(stored));
      return record.sequence === sequence ? record : undefined;
    } catch (error) {
      if (isFailure(error, 'corrupt')) return undefined;
      throw error;
    }
  }

  #put(key: Buffer, value: Buffer): void {
    void this.#commits.watch(this.#environment.blocks.put(key, value));
  }

  #remove(key: Buffer): void {
    void this.#commits.watch(this.#environment.blocks.remove(key));
  }

  /** Queues the removal of records; returns their bytes. */
  #drop(from: number, to: number): number {
    let bytes = 0;
    for (let sequence = from; sequence <= to; sequence++) {
      bytes += this.#environment.blocks.read(recordKey(sequence))?.length ?? 0;
      this.#remove(recordKey(sequence));
    }
    return bytes;
  }

  /** Makes the state durable together with everything queued in this turn. */
  async #keep(kept: Kept): Promise<void> {
    await this.#commits.watch(this.#environment.blocks.put(STATE_KEY, encodeKept(kept)));
    this.#kept = kept;
  }

  #chunkKeys(first: Buffer, end: Buffer): Buffer[] {
    const found: Buffer[] = [];
    let start = first;
    for (let afterStart = false; ; afterStart = true) {
      const page = this.#environment.contents.keys({ start, afterStart, end, limit: PAGE_ROWS });
      found.push(...page);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_ROWS) return found;
      start = last;
    }
  }

  /* ---------------------------------------------------------------- care */

  /** `part` of the floor stays free. */
  #assertRoom(bytes: number, part: number): void {
    const now = this.#options.clock.monotonic();
    if (now - this.#free.at >= MEASURE_EVERY_MS) {
      const { capacityBytes, freeBytes } = this.#options.disk();
      const floor = this.#options.floorBytes ?? defaultFloorBytes(capacityBytes);
      const { reusableBytes } = this.#environment.usage();
      this.#free = { bytes: freeBytes + reusableBytes / 2, floor, at: now };
    }
    this.#free.bytes -= 2 * bytes;
    if (this.#free.bytes < this.#free.floor * part) {
      throw new Failure('full', 'the free-space floor of the node is reached');
    }
  }

  #ready(): void {
    if (this.#closed) throw new Failure('unavailable', 'the journal is closed');
    if (this.#commits.failed) throw new Failure('unavailable', 'the journal has failed');
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const checked = (): Promise<T> => {
      this.#ready();
      return work();
    };
    const mine = this.#turn.then(checked, checked);
    this.#turn = mine.catch(() => {});
    return mine;
  }
}

/* ------------------------------------------------------------------ keys */

function recordKey(sequence: number): Buffer {
  const key = Buffer.allocUnsafe(9);
  key[0] = 0x72;
  key.writeBigUInt64BE(BigInt(sequence), 1);
  return key;
}

const sequenceOf = (key: Buffer | undefined): number => Number(key?.readBigUInt64BE(1) ?? 0);
const LAST_RECORD_KEY = recordKey(Number.MAX_SAFE_INTEGER);

function chunkKey({ sequence, generation }: SnapshotName, index: number): Buffer {
  const key = Buffer.allocUnsafe(20);
  key.writeBigUInt64BE(BigInt(sequence), 0);
  key.writeBigUInt64BE(BigInt(generation), 8);
  key.writeUInt32BE(index, 16);
  return key;
}

const FIRST_CHUNK_KEY = Buffer.alloc(20);
const LAST_CHUNK_KEY = Buffer.alloc(20, 0xff);

/* ------------------------------------------------------------------ state */

const STATE_FORMAT = 1;
/** Format, six numbers, and the checksum of them and the token. */
const STATE_BYTES = 1 + 7 * 8 + 8;

function encodeKept(kept: Kept): Buffer {
  const token = Buffer.from(kept.token, 'hex');
  const bytes = Buffer.allocUnsafe(STATE_BYTES + token.length);
  bytes[0] = STATE_FORMAT;
  bytes.writeBigUInt64BE(BigInt(kept.generation), 1);
  bytes.writeBigUInt64BE(BigInt(kept.base.sequence), 9);
  bytes.writeBigUInt64BE(kept.base.checksum, 17);
  bytes.writeBigUInt64BE(BigInt(kept.last.sequence), 25);
  bytes.writeBigUInt64BE(kept.last.checksum, 33);
  bytes.writeBigUInt64BE(BigInt(kept.lastGeneration), 41);
  bytes.writeBigUInt64BE(BigInt(kept.bytes), 49);
  bytes.set(token, 57);
  bytes.writeBigUInt64BE(hashBytes(bytes.subarray(0, 57 + token.length)), 57 + token.length);
  return bytes;
}

function decodeKept(bytes: Buffer): Kept {
  const end = bytes.length - 8;
  if (end < 57 || hashBytes(bytes.subarray(0, end)) !== bytes.readBigUInt64BE(end)) {
    throw new Failure(
      'corrupt',
      "the state of the metadata journal is damaged: move the folder `journal` away from this node's " +
        'folder and start it again; the metadata service fills a new one from the other nodes',
    );
  }
  if (bytes[0] !== STATE_FORMAT) {
    throw new Failure('invalid', 'a newer version wrote the metadata journal: start that again');
  }
  const number = (at: number): number => Number(bytes.readBigUInt64BE(at));
  return {
    generation: number(1),
    base: { sequence: number(9), checksum: bytes.readBigUInt64BE(17) },
    last: { sequence: number(25), checksum: bytes.readBigUInt64BE(33) },
    lastGeneration: number(41),
    bytes: number(49),
    token: bytes.toString('hex', 57, end),
  };
}
