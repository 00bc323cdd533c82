/**
 * Storing a body: cut into blocks, a bounded number of them on their way to the nodes at once, then
 * the commit. Order that never changes: blocks durable on a quorum, then the record, then success.
 */
import { freeChunk, payloadBuffers } from '../../base/buffer-pool.ts';
import { hashBytes } from '../../base/checksum.ts';
import type { Clock } from '../../base/clock.ts';
import { assert, Failure, isFailure, toFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import { type Answer, OBJECT_BYTES_MAX } from '../../meta/protocol.ts';
import { contentPerBlock, sealedSize } from '../../base/sealed-size.ts';
import { type BlockKey, KEYS_PER_CALL_MAX } from '../../storage-node/protocol.ts';
import { bounded } from './bounded.ts';
import { type BlockOwner, BlockWrite, type BlockWriteSettings } from './block-write.ts';
import type { ByteBudget } from './byte-budget.ts';
import { Chunker } from './chunker.ts';
import type { StoredBody, StoreOptions } from './engine.ts';
import type { PooledNode } from './node-pool.ts';
import type { PlacementMap } from './placement.ts';
import { BlobSeal } from './seal.ts';
import type { Ticker } from './ticker.ts';
import type { BlobTicket, WriterLeases } from './writer-lease.ts';

export interface PutEnvironment {
  leases: WriterLeases;
  ticker: Ticker;
  clock: Clock;
  /** Memory for small bodies: never exhausted by uploads that are large and slow. */
  smallBodies: ByteBudget;
  largeBodies: ByteBudget;
  log: Log;
  blockSize: number;
  blocksInFlight: number;
  blocks: BlockWriteSettings;
  /** Counts for status and metrics. */
  counts: PutCounts;
}

export interface PutCounts {
  blobs: number;
  blocks: number;
  degradedBlocks: number;
  refusedBlocks: number;
  discardedBlobs: number;
  /** Discards that are still under way. */
  discarding: number;
  unknownOutcomes: number;
}

/** Blocks up to this size are charged to the budget for small bodies. */
const SMALL_BLOCK_BYTES_MAX = 64 * 1024;

/** See ObjectEngine.store. */
export async function storeBody<T>(
  env: PutEnvironment,
  body: AsyncIterable<Uint8Array>,
  commit: (stored: StoredBody) => Promise<Answer<T>>,
  options: StoreOptions,
): Promise<Answer<T>> {
  const blob = new BlobWrite(env, options);
  try {
    await blob.consume(body);
  } catch (error) {
    blob.discard();
    throw error;
  }
  let answer: Answer<T>;
  try {
    answer = await commit(blob.stored());
  } catch (error) {
    if (certainlyNotCommitted(error)) blob.discard();
    else blob.outcomeUnknown();
    throw error;
  }
  if (answer.ok) blob.done();
  else blob.discard();
  return answer;
}

/**
 * Only for failures that exclude it. Everything else, our own bugs and the caller's errors included,
 * may have come after the commit: then the blob must not be touched.
 */
function certainlyNotCommitted(error: unknown): boolean {
  return isFailure(error, 'unavailable', 'fenced', 'invalid', 'full', 'unauthenticated');
}

class BlobWrite implements BlockOwner {
  readonly #env: PutEnvironment;
  readonly #ticket: BlobTicket;
  readonly #signal: AbortSignal | undefined;
  readonly #chunker: Chunker;
  /** Undefined: the content is stored as it is. */
  readonly #seal: BlobSeal | undefined;
  #size = 0;
  /** Blocks begun; the index of the next one. */
  #blocks = 0;
  #undecided = 0;
  #unsettled = 0;
  /** Budget taken for the block that is being filled. */
  #charge = 0;
  #failure: Failure | undefined;
  readonly #missing = new Set<PooledNode>();
  /** What blocks from `from` on were placed by: the layout may change during an upload. */
  readonly #placed: Placed[] = [];
  #wake: (() => void) | undefined;
  #whenSettled: (() => void) | undefined;

  constructor(env: PutEnvironment, options: StoreOptions) {
    this.#env = env;
    this.#signal = options.signal;
    const { dataKey, sizeHint } = options;
    const perBlock = dataKey === undefined ? env.blockSize : contentPerBlock(env.blockSize);
    this.#chunker = new Chunker(perBlock, sizeHint);
    this.#ticket = env.leases.beginBlob();
    this.#seal = dataKey && new BlobSeal(dataKey, this.#ticket.blob);
    env.counts.blobs++;
  }

  /** Resolves when all blocks are safe; rejects with the body's own error or the blocks' failure. */
  async consume(body: AsyncIterable<Uint8Array>): Promise<void> {
    const source = body[Symbol.asyncIterator]();
    for (;;) {
      const next = await source.next();
      if (next.done === true) break;
      try {
        await this.#feed(next.value);
      } catch (error) {
        // Not waited for: a source that hangs in its own clean-up must not hold the request.
        Promise.resolve(source.return?.()).catch(() => {});
        throw error;
      }
    }
    if (!this.#chunker.empty) this.#beginBlock();
    while (this.#undecided > 0 && this.#failure === undefined) await this.#event();
    this.#check();
  }

  stored(): StoredBody {
    const { writer, blob } = this.#ticket;
    const size = this.#size;
    const missing = [...this.#missing].map((node) => ({ blob, node: node.id }));
    const blockSize = this.#env.blockSize;
    const stored = this.#seal === undefined ? size : sealedSize(size, blockSize);
    const data: StoredBody['data'] =
      size === 0 ? { kind: 'none' } : { kind: 'blob', blob, size: stored, blockSize };
    return { writer, size, data, missing };
  }

  /** The mark stays while a straggler may still write: its block could outlive the blob's removal. */
  done(): void {
    if (this.#unsettled === 0) this.#ticket.release();
    else this.#whenSettled = () => this.#ticket.release();
  }

  outcomeUnknown(): void {
    this.#env.counts.unknownOutcomes++;
    this.#ticket.abandon();
  }

  /**
   * Removes what this attempt wrote, in the background and as well as can be done now; what is
   * left is the garbage collector's, which may not look before the mark is released at the end.
   */
  discard(): void {
    this.#env.counts.discardedBlobs++;
    if (this.#charge > 0) this.#budget(this.#charge).release(this.#charge);
    this.#charge = 0;
    if (this.#blocks === 0) this.#ticket.release();
    else void this.#deleteBlocks();
  }

  blockDecided(block: BlockWrite): void {
    this.#undecided--;
    const { verdict } = block;
    if (verdict.kind === 'degraded') {
      this.#env.counts.degradedBlocks++;
      for (const replica of verdict.missing) {
        const node = block.nodes[replica];
        if (node !== undefined) this.#missing.add(node);
      }
    } else if (verdict.kind === 'refused') {
      this.#env.counts.refusedBlocks++;
      const message =
        verdict.reason === 'full'
          ? 'the storage nodes for this data are full'
          : 'too few storage nodes can take this data now';
      this.#failure ??= new Failure(verdict.reason, message, { cause: block.lastFailure });
    }
    this.#wake?.();
  }

  blockSettled(block: BlockWrite): void {
    this.#unsettled--;
    this.#budget(block.charge).release(block.charge);
    if (this.#unsettled === 0) this.#whenSettled?.();
  }

  async #feed(chunk: Uint8Array): Promise<void> {
    this.#size += chunk.length;
    if (this.#size > OBJECT_BYTES_MAX) throw new Failure('invalid', 'the body is too large');
    const chunker = this.#chunker;
    let offset = 0;
    while (offset < chunk.length) {
      this.#check();
      if (chunker.empty) await this.#takeMemory();
      offset = chunker.push(chunk, offset);
      if (!chunker.full) continue;
      while (this.#undecided >= this.#env.blocksInFlight) {
        await this.#event();
        this.#check();
      }
      this.#beginBlock();
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#signal?.aborted) throw new Failure('cancelled', 'the upload was given up');
  }

  async #takeMemory(): Promise<void> {
    const bytes = this.#chunker.nextBytes;
    const budget = this.#budget(bytes);
    if (!budget.tryAcquire(bytes)) await budget.acquire(bytes, this.#signal);
    this.#charge = bytes;
  }

  #budget(bytes: number): ByteBudget {
    return bytes <= SMALL_BLOCK_BYTES_MAX ? this.#env.smallBodies : this.#env.largeBodies;
  }

  #beginBlock(): void {
    const content = this.#chunker.take();
    assert(content !== undefined, 'a block has bytes');
    const { ticker, blocks: settings, leases } = this.#env;
    const map = leases.map();
    const index = this.#blocks++;
    let placed = this.#placed.at(-1);
    if (placed?.map !== map) {
      placed = { from: index, map, start: map.start(this.#ticket.blob) };
      this.#placed.push(placed);
    }
    const key = { group: (placed.start + index) % map.groups, blob: this.#ticket.blob, index };
    const bytes = this.#seal === undefined ? content : sealBlock(this.#seal, index, content);
    const charge = this.#charge;
    this.#charge = 0;
    this.#undecided++;
    this.#unsettled++;
    this.#env.counts.blocks++;
    const block = { bytes, hash: hashBytes(bytes) };
    new BlockWrite({ key, content: block, charge, map, owner: this, ticker, settings }).start();
  }

  /** The next verdict. */
  #event(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async #deleteBlocks(): Promise<void> {
    this.#env.counts.discarding++;
    try {
      // A put that is still on its way could land after its delete.
      if (this.#unsettled > 0) {
        await new Promise<void>((resolve) => {
          this.#whenSettled = resolve;
        });
      }
      const keys = this.#keysByNode();
      await Promise.all([...keys].map(async ([node, list]) => await this.#deleteOn(node, list)));
    } finally {
      this.#ticket.release();
      this.#env.counts.discarding--;
    }
  }

  #keysByNode(): Map<PooledNode, BlockKey[]> {
    const { blob } = this.#ticket;
    const newest = this.#env.leases.map();
    const byNode = new Map<PooledNode, BlockKey[]>();
    this.#placed.forEach(({ from, map, start }, run) => {
      const to = this.#placed[run + 1]?.from ?? this.#blocks;
      for (let index = from; index < to; index++) {
        const group = (start + index) % map.groups;
        // During a layout change blocks may have been copied to the group's new nodes meanwhile.
        const nodes = new Set([...map.nodesOf(group), ...newest.nodesOf(group)]);
        for (const node of nodes) {
          const keys = byNode.get(node);
          if (keys === undefined) byNode.set(node, [{ group, blob, index }]);
          else keys.push({ group, blob, index });
        }
      }
    });
    return byNode;
  }

  async #deleteOn(node: PooledNode, keys: BlockKey[]): Promise<void> {
    const { log, clock, blocks } = this.#env;
    const timeoutMs = blocks.callTimeoutMs;
    try {
      for (let at = 0; at < keys.length && node.proven; at += KEYS_PER_CALL_MAX) {
        const call = node.client?.delete(keys.slice(at, at + KEYS_PER_CALL_MAX), { timeoutMs });
        if (call !== undefined) await bounded(clock, timeoutMs, call);
      }
    } catch (error) {
      log.debug({ node: node.id, error: toFailure(error) }, 'removing unused blocks failed');
    }
  }
}

function sealBlock(seal: BlobSeal, index: number, content: Uint8Array): Buffer {
  const sealed = seal.seal(index, content);
  payloadBuffers.recycle(content);
  freeChunk(content);
  return sealed;
}

interface Placed {
  from: number;
  map: PlacementMap;
  /** Group of the blob's block 0 under this map. */
  start: number;
}
