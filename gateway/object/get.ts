/**
 * Reading an object back: its blocks fetched ahead within bounds, verified one by one, handed over in
 * order. A replica that fails in mid-stream is replaced without the consumer noticing.
 */
import type { KeyObject } from 'node:crypto';
import { Failure, toFailure } from '../../base/failure.ts';
import type { Bucket, FoundObject, Meta, ObjectRecord, PartRef } from '../../meta/protocol.ts';
import {
  BlockRead,
  type BlockReadEnvironment,
  type BlockReader,
  type FoundFault,
  type Piece,
} from './block-read.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { ByteRange, OpenedObject, StoredBody } from './engine.ts';
import { type PieceSource, piecesOf } from './pieces.ts';
import type { ReadRepairer } from './read-repair.ts';
import type { ReadHold, WriterLeases } from './writer-lease.ts';

export interface GetEnvironment {
  meta: Pick<Meta, 'readParts'>;
  leases: WriterLeases;
  blocks: BlockReadEnvironment;
  repairer: ReadRepairer;
  /** Memory for what is fetched before its consumer asks for it. */
  readAhead: ByteBudget;
  readAheadBlocks: number;
  metaTimeoutMs: number;
}

/** Reads of at most this many bytes are not worth a cancellation: they end by themselves. */
const CANCEL_BYTES_MIN = 256 * 1024;
/** Blocks asked for at the start of a read, before it is known how fast its consumer is. */
const FIRST_WINDOW = 2;

const DONE: IteratorResult<Buffer> = { done: true, value: undefined };

export class ReadableObject implements OpenedObject {
  readonly bucket: Bucket;
  readonly object: ObjectRecord;
  readonly parts: PartRef[] | undefined;
  readonly #env: GetEnvironment;
  readonly #hold: ReadHold;
  readonly #signal: AbortSignal | undefined;
  #dataKey: KeyObject | undefined;
  #closed = false;

  constructor(
    env: GetEnvironment,
    found: FoundObject,
    hold: ReadHold,
    signal: AbortSignal | undefined,
  ) {
    this.#env = env;
    this.#hold = hold;
    this.#signal = signal;
    this.bucket = found.bucket;
    this.object = found.object;
    this.parts = found.parts;
  }

  unlock(dataKey: KeyObject): void {
    this.#dataKey = dataKey;
  }

  read(range?: ByteRange): AsyncIterable<Buffer> {
    if (this.#closed) throw new Failure('internal', 'the object is closed');
    const dataKey = this.#dataKey;
    if ((this.object.encryption === undefined) !== (dataKey === undefined)) {
      throw new Failure('internal', 'an object is read with its data key, if it is encrypted');
    }
    const { size, data } = this.object;
    const start = range?.start ?? 0;
    const end = Math.min(range?.end ?? size, size);
    if (start < 0 || !Number.isSafeInteger(start) || !Number.isSafeInteger(end)) {
      throw new Failure('invalid', 'not a byte range');
    }
    const { meta, metaTimeoutMs: timeoutMs } = this.#env;
    const known = this.parts ?? [];
    const source = piecesOf(data, { start, end }, { meta, known, timeoutMs, dataKey });
    const signal = end - start > CANCEL_BYTES_MIN ? this.#signal : undefined;
    const cancellable = end - start > CANCEL_BYTES_MIN;
    return new RangeReader(this.#env, { source, hold: this.#hold, signal, cancellable });
  }

  async part(number: number): Promise<PartRef | undefined> {
    const { data, size, etag } = this.object;
    if (data.kind !== 'parts') {
      if (number !== 1) return undefined;
      const whole = { number: 1, offset: 0, size, etag };
      return data.kind === 'none' ? whole : { ...whole, data };
    }
    const known = this.parts?.find((part) => part.number === number);
    if (known !== undefined) return known;
    const query = { list: data.list, from: { part: number } };
    const page = await this.#env.meta.readParts(query, { timeoutMs: this.#env.metaTimeoutMs });
    return page.find((part) => part.number === number);
  }

  close(): void {
    this.#closed = true;
    this.#hold.release();
  }
}

/** See ObjectEngine.reread. The blob is kept by its ticket until the commit has ended. */
export async function* rereadBody(
  env: GetEnvironment,
  { data, size }: Pick<StoredBody, 'data' | 'size'>,
  dataKey: KeyObject | undefined,
): AsyncGenerator<Buffer> {
  const hold = env.leases.beginRead();
  try {
    const parts = { meta: env.meta, known: [], timeoutMs: env.metaTimeoutMs, dataKey };
    const source = piecesOf(data, { start: 0, end: size }, parts);
    yield* new RangeReader(env, { source, hold, signal: undefined, cancellable: true });
  } finally {
    hold.release();
  }
}

interface Waiting {
  resolve: (result: IteratorResult<Buffer>) => void;
  reject: (error: unknown) => void;
}

/** One pass over one range. Not a generator: `return` must work while a `next` is still waiting. */
class RangeReader implements AsyncIterableIterator<Buffer>, BlockReader {
  readonly #env: GetEnvironment;
  readonly #source: PieceSource;
  readonly #hold: ReadHold;
  readonly #cancel: AbortController | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.#fail(new Failure('cancelled', 'the download was given up'));
  /** Fetched or being fetched, in order; the consumer gets the first one next. */
  readonly #queue: BlockRead[] = [];
  #window = FIRST_WINDOW;
  #paging = false;
  /** A piece that there was no memory for. */
  #spare: Piece | undefined;
  #exhausted = false;
  #finished = false;
  #failure: Failure | undefined;
  /** The newest view was asked for because of the block at the head of the queue. */
  #soughtAll = false;
  #waiting: Waiting | undefined;

  constructor(
    env: GetEnvironment,
    options: {
      source: PieceSource;
      hold: ReadHold;
      signal: AbortSignal | undefined;
      cancellable: boolean;
    },
  ) {
    this.#env = env;
    this.#source = options.source;
    this.#hold = options.hold;
    this.#signal = options.signal;
    this.#cancel = options.cancellable ? new AbortController() : undefined;
    this.#window = Math.min(FIRST_WINDOW, env.readAheadBlocks);
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (this.#signal?.aborted) this.#onAbort();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Buffer>> {
    if (this.#waiting !== undefined) {
      return Promise.reject(new Failure('internal', 'one chunk at a time'));
    }
    if (!this.#finished) {
      this.#adapt();
      this.#fill(true);
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#deliver();
    });
  }

  return(): Promise<IteratorResult<Buffer>> {
    this.#finish();
    this.#waiting?.resolve(DONE);
    this.#waiting = undefined;
    return Promise.resolve(DONE);
  }

  blockRead(read: BlockRead): void {
    if (read === this.#queue[0]) this.#deliver();
  }

  faultFound(fault: FoundFault): void {
    const { leases, repairer } = this.#env;
    const map = leases.map();
    const { key, node, reason } = fault;
    // A node that has given the group away since then is not to get its blocks back.
    if (!map.nodesOf(key.group).includes(node)) return;
    // While data is being moved to a node, what it does not have yet is no fault.
    if (reason === 'missing' && !map.expects(key.group, node)) return;
    repairer.add(fault, this.#hold, map);
  }

  /** Further ahead when the consumer had to wait, less far when everything waited for it. */
  #adapt(): void {
    const head = this.#queue[0];
    if (head === undefined) return;
    if (!head.done) this.#window = Math.min(this.#window + 1, this.#env.readAheadBlocks);
    else if (this.#queue.every((read) => read.done)) this.#window = Math.max(1, this.#window - 1);
  }

  /** `needed`: the consumer waits, so the first block of the queue is fetched in any case. */
  #fill(needed: boolean): void {
    const { leases, readAhead } = this.#env;
    while (!this.#paging && this.#queue.length < this.#window) {
      const piece = this.#spare ?? this.#source.next(leases.map());
      this.#spare = undefined;
      if (piece === 'page') {
        this.#loadPage();
        return;
      }
      if (piece === undefined) {
        this.#exhausted = true;
        return;
      }
      const charged = readAhead.tryAcquire(piece.length);
      if (!charged && !(needed && this.#queue.length === 0)) {
        this.#spare = piece;
        return;
      }
      this.#begin(piece, charged ? piece.length : 0);
    }
  }

  #begin(piece: Piece, charge: number): void {
    const { blocks, leases } = this.#env;
    const signal = this.#cancel?.signal;
    const read = new BlockRead(blocks, { piece, map: leases.map(), reader: this, signal });
    read.charge = charge;
    this.#queue.push(read);
    read.start();
  }

  #loadPage(): void {
    this.#paging = true;
    this.#source.loadPage().then(
      () => {
        this.#paging = false;
        if (this.#finished) return;
        this.#fill(this.#waiting !== undefined);
        this.#deliver();
      },
      (error: unknown) => {
        this.#paging = false;
        this.#failure = toFailure(error);
        this.#exhausted = true;
        this.#deliver();
      },
    );
  }

  #deliver(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const head = this.#queue[0];
    if (head === undefined || this.#finished) {
      if (!this.#exhausted && !this.#finished) return;
      const failure = this.#failure;
      this.#failure = undefined;
      this.#finish();
      this.#waiting = undefined;
      if (failure === undefined) waiting.resolve(DONE);
      else waiting.reject(failure);
    } else if (head.bytes !== undefined) {
      this.#queue.shift();
      this.#soughtAll = false;
      this.#uncharge(head);
      this.#waiting = undefined;
      this.#fill(false);
      waiting.resolve({ done: false, value: head.bytes });
    } else if (head.failure !== undefined && !this.#retryElsewhere(head)) {
      this.#fail(head.failure);
    }
  }

  /**
   * The layout may have changed while the block was being looked for at its old nodes. If a node said
   * that it has no such block, the newest view is asked for first: the block was written by a layout
   * that the metadata service knew before it told us of the object, and perhaps we do not know it yet.
   */
  #retryElsewhere(failed: BlockRead): boolean {
    if (failed.sought) return true;
    const { leases } = this.#env;
    if (leases.map() !== failed.map) {
      this.#again(failed);
      return true;
    }
    if (!failed.sawMissing || this.#soughtAll) return false;
    failed.sought = true;
    this.#soughtAll = true;
    void leases.refresh().then(() => {
      if (this.#finished || this.#queue[0] !== failed) return;
      const map = leases.map();
      if (map !== failed.map || map.changing) this.#again(failed);
      else if (failed.failure !== undefined) this.#fail(failed.failure);
    });
    return true;
  }

  #again(failed: BlockRead): void {
    const map = this.#env.leases.map();
    const signal = this.#cancel?.signal;
    const again = new BlockRead(this.#env.blocks, {
      piece: failed.piece,
      map,
      reader: this,
      signal,
    });
    again.charge = failed.charge;
    this.#queue[0] = again;
    again.start();
  }

  #fail(failure: Failure): void {
    if (this.#finished) return;
    this.#failure = failure;
    this.#finish();
    this.#deliver();
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    for (const read of this.#queue) {
      read.cancel();
      this.#uncharge(read);
    }
    if (this.#queue.length > 0) this.#cancel?.abort();
    this.#queue.length = 0;
  }

  #uncharge(read: BlockRead): void {
    if (read.charge > 0) this.#env.readAhead.release(read.charge);
    read.charge = 0;
  }
}
