/**
 * One block on its way to its nodes: drives a WriteQuorum with real calls. In the ordinary case that
 * is three calls and nothing else; the clock is looked at only by blocks that a tick finds waiting.
 */
import { payloadBuffers } from '../../base/buffer-pool.ts';
import { type Failure, toFailure } from '../../base/failure.ts';
import type { BlockContent, BlockKey } from '../../storage-node/protocol.ts';
import type { PooledNode } from './node-pool.ts';
import type { PlacementMap } from './placement.ts';
import type { Ticker, Ticking } from './ticker.ts';
import {
  type WritePolicy,
  type WriteProblem,
  WriteQuorum,
  type WriteVerdict,
} from './write-quorum.ts';

/** Pause before a failed replica is tried again; doubles up to the larger one. */
const RETRY_DELAY_MS = 100;
const RETRY_DELAY_MS_MAX = 500;

export interface BlockWriteSettings {
  policy: WritePolicy;
  stragglerMs: number;
  retryMs: number;
  callTimeoutMs: number;
}

export interface BlockOwner {
  /** The verdict is in, once per block: `safe`, `degraded` or `refused`. */
  blockDecided(block: BlockWrite): void;
  /**
   * No call holds the block's bytes any more, once per block and after the verdict. (A call that
   * ignores its own time-out counts as ended when that has passed.)
   */
  blockSettled(block: BlockWrite): void;
}

export class BlockWrite implements Ticking {
  readonly key: BlockKey;
  readonly nodes: readonly PooledNode[];
  /** Bytes of memory budget that go back when the block has settled. */
  readonly charge: number;
  readonly #map: PlacementMap;
  readonly #owner: BlockOwner;
  readonly #ticker: Ticker;
  readonly #settings: BlockWriteSettings;
  readonly #quorum: WriteQuorum;
  #content: BlockContent | undefined;
  #calls = 0;
  #decided = false;
  #settled = false;
  /** Times are taken at the first tick that finds the block waiting. */
  #since: number | undefined;
  #lingerSince: number | undefined;
  #retryAt: number | undefined;
  #retryDelay = RETRY_DELAY_MS;
  /** The last thing that went wrong, for the error that the client's request ends with. */
  lastFailure: Failure | undefined;

  constructor(options: {
    key: BlockKey;
    content: BlockContent;
    charge: number;
    map: PlacementMap;
    owner: BlockOwner;
    ticker: Ticker;
    settings: BlockWriteSettings;
  }) {
    this.key = options.key;
    this.charge = options.charge;
    this.#content = options.content;
    this.#map = options.map;
    this.#owner = options.owner;
    this.#ticker = options.ticker;
    this.#settings = options.settings;
    this.nodes = options.map.nodesOf(options.key.group);
    const usable = this.nodes.map((node) => node.writable);
    this.#quorum = new WriteQuorum(options.settings.policy, usable);
  }

  get verdict(): WriteVerdict {
    return this.#quorum.verdict;
  }

  start(): void {
    this.#map.holds++;
    this.#ticker.add(this);
    for (const replica of this.#quorum.pending) this.#send(replica);
    this.#evaluate();
  }

  onTick(now: number): void {
    this.#since ??= now;
    const age = now - this.#since;
    const { retryMs, callTimeoutMs } = this.#settings;
    if (!this.#decided) {
      if (age >= callTimeoutMs) this.#blame(this.#quorum.expire());
      else {
        if (age >= retryMs) this.#quorum.stopRetrying();
        this.#linger(now);
        this.#retry(now);
      }
      this.#evaluate();
    }
    if (this.#decided && age >= callTimeoutMs) this.#settle();
  }

  #linger(now: number): void {
    if (!this.#quorum.lingering) return;
    this.#lingerSince ??= now;
    if (now - this.#lingerSince < this.#settings.stragglerMs) return;
    this.#blame(this.#quorum.stopLingering());
  }

  #retry(now: number): void {
    if (!this.#quorum.wantsRetry) return;
    this.#retryAt ??= now + this.#retryDelay;
    if (now < this.#retryAt) return;
    this.#retryAt = undefined;
    this.#retryDelay = Math.min(this.#retryDelay * 2, RETRY_DELAY_MS_MAX);
    for (const replica of this.#quorum.retry()) this.#send(replica);
  }

  #blame(silent: number[]): void {
    for (const replica of silent) this.nodes[replica]?.silent();
  }

  #send(replica: number): void {
    const node = this.nodes[replica];
    const content = this.#content;
    if (node === undefined || content === undefined || !node.proven) {
      // An address that was not checked may be another replica's: its ack would count one copy twice.
      this.#quorum.failed(replica, 'unable');
      return;
    }
    this.#calls++;
    node.inFlight++;
    node.put(this.key, content, this.#settings.callTimeoutMs).then(
      () => {
        node.inFlight--;
        this.#quorum.acked(replica);
        this.#answered();
      },
      (error: unknown) => {
        node.inFlight--;
        const failure = toFailure(error);
        this.lastFailure = failure;
        node.failed(failure);
        this.#quorum.failed(replica, problemOf(failure));
        this.#answered();
      },
    );
  }

  #answered(): void {
    this.#calls--;
    this.#evaluate();
  }

  #evaluate(): void {
    if (!this.#decided && this.#quorum.verdict.kind !== 'waiting') {
      this.#decided = true;
      this.#owner.blockDecided(this);
    }
    if (this.#decided && this.#calls === 0) this.#settle();
  }

  #settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    // Every node that was sent the bytes has them, so no socket does any more. A call that failed may
    // have left them in a queue: then they are garbage like any other.
    const acknowledged = this.#calls === 0 && this.lastFailure === undefined;
    if (acknowledged && this.#content !== undefined) payloadBuffers.recycle(this.#content.bytes);
    this.#content = undefined;
    this.#map.holds--;
    this.#ticker.delete(this);
    this.#owner.blockSettled(this);
  }
}

function problemOf(failure: Failure): WriteProblem {
  switch (failure.kind) {
    case 'full':
      return 'full';
    case 'conflict':
    case 'invalid':
      return 'rejected';
    default:
      return 'unable';
  }
}
