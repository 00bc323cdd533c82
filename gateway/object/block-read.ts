/**
 * One block, or a range of it, from whichever replica serves it: drives a ReadPlan with real calls
 * and verifies what comes. In the ordinary case that is one call and no timer.
 */
import { payloadBuffers } from '../../base/buffer-pool.ts';
import type { Clock } from '../../base/clock.ts';
import { Failure, toFailure } from '../../base/failure.ts';
import type { ReplicaReport } from '../../meta/protocol.ts';
import { type BlockKey, checksumOf, type ReadBlock } from '../../storage-node/protocol.ts';
import type { PooledNode } from './node-pool.ts';
import { type PlacementMap, readOrder } from './placement.ts';
import { ReadPlan, type ReadProblem } from './read-plan.ts';
import type { BlobSeal } from './seal.ts';
import type { Ticker, Ticking } from './ticker.ts';

/** Pause before replicas that could not be reached are tried again; doubles. */
const RETRY_DELAY_MS = 100;

/** The part of a block that is wanted. */
export interface Piece {
  key: BlockKey;
  /** Length of the whole block. */
  length: number;
  /** Half-open range inside the block. */
  from: number;
  to: number;
  /** Of a sealed block, which is read whole: what opens it, and the wanted range of its content. */
  sealed?: { seal: BlobSeal; from: number; to: number } | undefined;
}

export interface BlockReadEnvironment {
  ticker: Ticker;
  clock: Clock;
  zone: string | undefined;
  hedgeMs: number;
  retryMs: number;
  callTimeoutMs: number;
  counts: ReadCounts;
}

export interface ReadCounts {
  blocks: number;
  /** A second replica was asked because the first one was slow. */
  hedges: number;
  /** A replica failed and another one was asked. */
  switches: number;
  failedBlocks: number;
  corruptReplicas: number;
  missingReplicas: number;
}

/** A replica to be put right, with what it takes. */
export interface FoundFault {
  key: BlockKey;
  node: PooledNode;
  reason: ReplicaReport['reason'];
  /** A node that served the block. */
  source: PooledNode;
  /** The whole block, when it was read whole. */
  content: { bytes: Buffer; hash: bigint } | undefined;
}

export interface BlockReader {
  /** `bytes` or `failure` is there; once per read, unless it was cancelled. */
  blockRead(read: BlockRead): void;
  faultFound(fault: FoundFault): void;
}

export class BlockRead implements Ticking {
  readonly piece: Piece;
  /** The placement that was used. */
  readonly map: PlacementMap;
  /** Exactly the piece's bytes, once it is done. */
  bytes: Buffer | undefined;
  failure: Failure | undefined;
  /** A node answered that it has no such block. */
  sawMissing = false;
  /** Its reader looks for it by the newest layout. */
  sought = false;
  /** Bytes of memory budget taken for this read. */
  charge = 0;
  readonly #env: BlockReadEnvironment;
  readonly #nodes: readonly PooledNode[];
  readonly #plan: ReadPlan;
  readonly #reader: BlockReader;
  readonly #signal: AbortSignal | undefined;
  /** The last replica's failure: becomes the cause of this read's own. */
  #lastFailure: Failure | undefined;
  #ended = false;
  #since: number | undefined;
  #hedgedAt = 0;
  #retryAt: number | undefined;
  #retryDelay = RETRY_DELAY_MS;

  constructor(
    env: BlockReadEnvironment,
    options: {
      piece: Piece;
      map: PlacementMap;
      reader: BlockReader;
      signal: AbortSignal | undefined;
    },
  ) {
    this.#env = env;
    this.piece = options.piece;
    this.map = options.map;
    this.#reader = options.reader;
    this.#signal = options.signal;
    this.#nodes = readOrder(options.map, options.piece.key.group, env.zone);
    this.#plan = new ReadPlan(this.#nodes.length);
  }

  get done(): boolean {
    return this.bytes !== undefined || this.failure !== undefined;
  }

  start(): void {
    this.map.holds++;
    this.#env.counts.blocks++;
    this.#env.ticker.add(this);
    this.#ask(this.#plan.ask());
  }

  /** Nobody wants the block any more. Outstanding calls end by the signal of their reader. */
  cancel(): void {
    this.#end();
  }

  onTick(now: number): void {
    this.#since ??= now;
    const age = now - this.#since;
    const { hedgeMs, retryMs, callTimeoutMs } = this.#env;
    if (age >= callTimeoutMs) {
      for (const replica of this.#plan.silent) this.#nodes[replica]?.silent();
      this.#plan.giveUp();
      this.#conclude();
    } else if (this.#plan.verdict.kind === 'stuck') {
      this.#retryAt ??= now + this.#retryDelay;
      if (age >= retryMs) this.#plan.giveUp();
      else if (now >= this.#retryAt) this.#retry();
      this.#conclude();
    } else if (this.#plan.canHedge && age - this.#hedgedAt >= hedgeMs) {
      this.#hedgedAt = age;
      this.#env.counts.hedges++;
      this.#ask(this.#plan.ask());
    }
  }

  #retry(): void {
    this.#retryAt = undefined;
    this.#retryDelay *= 2;
    this.#ask(this.#plan.retry());
  }

  #ask(replica: number | undefined): void {
    const node = replica === undefined ? undefined : this.#nodes[replica];
    if (replica === undefined || node === undefined) return;
    const { key, length, from, to } = this.piece;
    const whole = wantsWhole(this.piece);
    const { clock, callTimeoutMs } = this.#env;
    const asked = clock.monotonic();
    node.inFlight++;
    const range = whole ? undefined : { start: from, end: to };
    node.get(key, range, callTimeoutMs, this.#signal).then(
      (block) => {
        node.inFlight--;
        node.sampled(clock.monotonic() - asked);
        if (this.#ended) return;
        const right = whole ? isWhole(block, key, length) : isRange(block, length, to - from);
        if (!right) this.#failed(replica, node, new Failure('corrupt', 'a block failed its check'));
        else if (this.piece.sealed === undefined) this.#serve(replica, block, whole);
        else this.#open(replica, node, block);
      },
      (error: unknown) => {
        node.inFlight--;
        const failure = toFailure(error);
        node.failed(failure);
        if (!this.#ended) this.#failed(replica, node, failure);
      },
    );
  }

  #failed(replica: number, node: PooledNode, failure: Failure): void {
    const problem = problemOf(failure);
    const { counts } = this.#env;
    if (problem === 'corrupt') counts.corruptReplicas++;
    if (problem === 'missing') {
      this.sawMissing = true;
      if (this.map.expects(this.piece.key.group, node)) counts.missingReplicas++;
    }
    this.#lastFailure = failure;
    const next = this.#plan.failed(replica, problem);
    if (next !== undefined) counts.switches++;
    this.#ask(next);
    this.#conclude();
  }

  /** A sealed block that does not open is as bad as one with a wrong checksum. */
  #open(replica: number, node: PooledNode, block: ReadBlock): void {
    const { sealed, key } = this.piece;
    const content = sealed?.seal.open(key.index, block.bytes);
    if (content === undefined) {
      this.#failed(replica, node, new Failure('corrupt', 'a sealed block does not open'));
      return;
    }
    this.#serve(replica, block, true, content);
    // Unless a repair keeps it: it has been used up.
    payloadBuffers.recycle(block.bytes);
  }

  #serve(replica: number, block: ReadBlock, whole: boolean, opened?: Buffer): void {
    const { from, to } = opened === undefined ? this.piece : (this.piece.sealed ?? this.piece);
    const bytes = opened ?? block.bytes;
    this.#plan.served(replica);
    if (this.#hedgedAt > 0) this.#blameSlow();
    this.bytes = whole && to - from < bytes.length ? bytes.subarray(from, to) : bytes;
    this.#report(whole ? { bytes: block.bytes, hash: block.hash } : undefined);
    this.#end();
    this.#reader.blockRead(this);
  }

  #report(content: FoundFault['content']): void {
    const { verdict } = this.#plan;
    if (verdict.kind !== 'served' || verdict.repair.length === 0) return;
    const source = this.#nodes[verdict.by];
    // The repair reads it at its own time.
    if (content !== undefined) payloadBuffers.keep(content.bytes);
    for (const { replica, reason } of verdict.repair) {
      const node = this.#nodes[replica];
      if (node === undefined || source === undefined) continue;
      this.#reader.faultFound({ key: this.piece.key, node, reason, source, content });
    }
  }

  #conclude(): void {
    const { verdict } = this.#plan;
    if (verdict.kind !== 'failed' || this.#ended) return;
    this.#env.counts.failedBlocks++;
    const { key } = this.piece;
    const message =
      verdict.reason === 'corrupt'
        ? `no replica of block ${key.index} of blob ${key.blob} is sound`
        : `no replica of block ${key.index} of blob ${key.blob} can be reached`;
    this.failure = new Failure(verdict.reason, message, { cause: this.#lastFailure });
    this.#end();
    this.#reader.blockRead(this);
  }

  /** Replicas that are still silent although one that was asked later has served. */
  #blameSlow(): void {
    for (const replica of this.#plan.silent) this.#nodes[replica]?.slow(this.#hedgedAt);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.map.holds--;
    this.#env.ticker.delete(this);
  }
}

/** Less than half of a block is worth a range: the node verifies the whole block either way. */
function wantsWhole(piece: Piece): boolean {
  return (piece.to - piece.from) * 2 >= piece.length;
}

function isWhole(block: ReadBlock, key: BlockKey, length: number): boolean {
  return block.bytes.length === length && checksumOf(key, block.hash) === block.checksum;
}

function isRange(block: ReadBlock, length: number, wanted: number): boolean {
  return block.length === length && block.bytes.length === wanted;
}

function problemOf(failure: Failure): ReadProblem {
  if (failure.kind === 'not-found') return 'missing';
  // A range outside the stored block: it is not the block that was written.
  if (failure.kind === 'corrupt' || failure.kind === 'invalid') return 'corrupt';
  return 'unreachable';
}
