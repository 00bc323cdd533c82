/**
 * The storage nodes as this gateway sees them: one client per node, what is known of its health, and
 * a probe for every node that is not well. The gateway's own experience counts for more than the
 * metadata service's opinion: a node is used again when it answers a probe here.
 */
import type { Clock, Timer } from '../../base/clock.ts';
import { Failure, type FailureKind, isFailure, toFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import type { NodeView } from '../../meta/protocol.ts';
import type {
  BlockContent,
  BlockKey,
  BlockRange,
  ReadBlock,
  StorageNode,
} from '../../storage-node/protocol.ts';
import { bounded } from './bounded.ts';

/** A client that may have a connection to close. */
export type NodeClient = StorageNode & { close?: () => Promise<void> | void };
export type Connect = (node: NodeView) => NodeClient;

/**
 * `new`: not known yet to be the node it should be, so nothing is written to it. `suspect`: failed
 * just now. `down`: keeps failing, or the metadata service says so.
 */
export type NodeState = 'new' | 'up' | 'suspect' | 'down';

const PROBE_DELAY_MS = 100;
const PROBE_DELAY_MS_MAX = 5000;
const PROBE_TIMEOUT_MS = 2000;
/** Failed probes after which a suspect counts as down. */
const PROBES_TO_DOWN = 3;
/** Weight of a new sample in the moving average of latencies. */
const LATENCY_WEIGHT = 0.1;
/** What latencies and probe delays keep per second: a node that was slow once is tried again. */
const KEPT_PER_SECOND = 0.8;

/** Failures that say nothing about the node's own health. */
const ANSWERS: readonly FailureKind[] = ['not-found', 'corrupt', 'conflict', 'invalid', 'full'];

export class PooledNode {
  readonly id: string;
  zone = '';
  address = '';
  state: NodeState = 'new';
  full = false;
  /** Calls that have not settled. */
  inFlight = 0;
  /** Moving average of answers to reads, in milliseconds. */
  latencyMs = 0;
  client: NodeClient | undefined;
  /** The metadata service's opinion, as of the last view. */
  viewState: NodeView['state'] = 'up';
  viewFull = false;
  /** Doubles while the node keeps failing, and also when it answers probes but not the work. */
  probeDelayMs = PROBE_DELAY_MS;
  failedProbes = 0;
  /** A probe is on its way. */
  probing = false;
  /** The next probe, when one is due later. */
  probeTimer: Timer | undefined;
  readonly #pool: NodePool;

  constructor(id: string, pool: NodePool) {
    this.id = id;
    this.#pool = pool;
  }

  /** True when a new block may be sent there with good hope. */
  get writable(): boolean {
    return this.state === 'up' && !this.full;
  }

  /** True when the node is known to be the one it should be: only then its acks count as copies. */
  get proven(): boolean {
    return this.state !== 'new' && this.client !== undefined;
  }

  put(key: BlockKey, content: BlockContent, timeoutMs: number): Promise<void> {
    const client = this.client;
    if (client === undefined) return Promise.reject(this.#absent());
    try {
      return client.put(key, content, { timeoutMs });
    } catch (error) {
      return Promise.reject(toFailure(error));
    }
  }

  get(
    key: BlockKey,
    range: BlockRange | undefined,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<ReadBlock> {
    const client = this.client;
    if (client === undefined) return Promise.reject(this.#absent());
    try {
      return client.get(key, range, signal === undefined ? { timeoutMs } : { timeoutMs, signal });
    } catch (error) {
      return Promise.reject(toFailure(error));
    }
  }

  /** It answered a read after `latencyMs`. */
  sampled(latencyMs: number): void {
    this.latencyMs += (latencyMs - this.latencyMs) * LATENCY_WEIGHT;
  }

  /** A call failed: what that says about the node. */
  failed(failure: Failure): void {
    if (failure.kind === 'full') this.#pool.sawFull(this);
    else if (failure.kind !== 'cancelled' && !ANSWERS.includes(failure.kind)) {
      this.#pool.sawTrouble(this, failure.message);
    }
  }

  /** It let a bound pass that others kept: no new blocks for it until it answers a probe. */
  silent(): void {
    this.#pool.sawTrouble(this, 'it did not answer in time');
  }

  /**
   * It left a read unanswered for `waitedMs` that another replica then served. That alone is no
   * reason to write without it: it is read last for a while, and probed.
   */
  slow(waitedMs: number): void {
    this.latencyMs = Math.max(this.latencyMs, waitedMs);
    this.#pool.sawSlowness(this);
  }

  #absent(): Failure {
    return new Failure('unavailable', `node ${this.id} has no known address`);
  }
}

export interface NodeStatus {
  id: string;
  address: string;
  zone: string;
  state: NodeState;
  full: boolean;
  latencyMs: number;
  inFlight: number;
}

export class NodePool {
  readonly #connect: Connect;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #nodes = new Map<string, PooledNode>();
  #clusterId: string | undefined;
  #closed = false;

  constructor(options: { connect: Connect; clock: Clock; log: Log }) {
    this.#connect = options.connect;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** The node of this id, made up if it is in the layout but nobody has announced it. */
  node(id: string): PooledNode {
    let node = this.#nodes.get(id);
    if (node === undefined) {
      node = new PooledNode(id, this);
      this.#nodes.set(id, node);
    }
    return node;
  }

  /** Takes over what the metadata service knows: addresses, zones, who is down and who is full. */
  update(clusterId: string, views: readonly NodeView[]): void {
    if (this.#closed) return;
    this.#clusterId = clusterId;
    const named = new Set<string>();
    for (const view of views) {
      named.add(view.id);
      this.#updateNode(this.node(view.id), view);
    }
    for (const node of this.#nodes.values()) {
      if (!named.has(node.id) && node.client !== undefined) this.#disconnect(node);
    }
  }

  /** Resolves when every node has been probed once, or after `limitMs`. */
  async firstProbes(limitMs: number): Promise<void> {
    const end = this.#clock.monotonic() + limitMs;
    const waiting = () =>
      [...this.#nodes.values()].some((node) => node.state === 'new' && node.failedProbes === 0);
    while (!this.#closed && waiting() && this.#clock.monotonic() < end) await this.#clock.sleep(10);
  }

  /** Lets old impressions fade; to be called about once a second. */
  fade(): void {
    for (const node of this.#nodes.values()) {
      node.latencyMs *= KEPT_PER_SECOND;
      if (node.state !== 'up') continue;
      node.probeDelayMs = Math.max(PROBE_DELAY_MS, node.probeDelayMs * KEPT_PER_SECOND);
    }
  }

  status(): NodeStatus[] {
    return [...this.#nodes.values()].map((node) => ({
      id: node.id,
      address: node.address,
      zone: node.zone,
      state: node.state,
      full: node.full,
      latencyMs: node.latencyMs,
      inFlight: node.inFlight,
    }));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const node of this.#nodes.values()) node.probeTimer?.cancel();
    const clients = [...this.#nodes.values()].map((node) => node.client);
    await Promise.allSettled(clients.map(async (client) => await client?.close?.()));
  }

  sawTrouble(node: PooledNode, why: string): void {
    if (node.state === 'up') {
      this.#log.warn({ node: node.id, why }, 'node is suspect');
      node.state = 'suspect';
      node.failedProbes = 0;
    }
    this.#probeLater(node);
  }

  sawSlowness(node: PooledNode): void {
    if (node.probeTimer === undefined) void this.#probe(node);
  }

  sawFull(node: PooledNode): void {
    if (!node.full) this.#log.warn({ node: node.id }, 'node is full');
    node.full = true;
    this.#probeLater(node);
  }

  #updateNode(node: PooledNode, view: NodeView): void {
    node.zone = view.zone;
    if (node.client === undefined || node.address !== view.address) {
      this.#disconnect(node);
      node.address = view.address;
      node.client = this.#connect(view);
      node.state = 'new';
      node.failedProbes = 0;
      node.probeDelayMs = PROBE_DELAY_MS;
      void this.#probe(node);
    } else if (view.state === 'down' && node.viewState === 'up' && node.state !== 'new') {
      node.state = 'down';
      this.#probeLater(node);
    } else if (view.state === 'up' && node.viewState === 'down' && node.state !== 'up') {
      void this.#probe(node);
    }
    if (view.full && !node.viewFull) this.sawFull(node);
    else if (!view.full && node.viewFull && node.full) void this.#probe(node);
    node.viewState = view.state;
    node.viewFull = view.full;
  }

  #disconnect(node: PooledNode): void {
    const client = node.client;
    node.probeTimer?.cancel();
    node.probeTimer = undefined;
    node.client = undefined;
    node.state = 'new';
    if (client?.close === undefined) return;
    Promise.resolve(client.close()).catch((error: unknown) =>
      this.#log.debug({ node: node.id, error }, 'closing the connection failed'),
    );
  }

  #probeLater(node: PooledNode): void {
    const due = node.probing || node.probeTimer !== undefined;
    if (due || this.#closed || node.client === undefined) return;
    const delay = node.probeDelayMs;
    node.probeDelayMs = Math.min(delay * 2, PROBE_DELAY_MS_MAX);
    node.probeTimer = this.#clock.after(delay, () => void this.#probe(node));
  }

  async #probe(node: PooledNode): Promise<void> {
    const client = node.client;
    if (node.probing || this.#closed || client === undefined) return;
    node.probeTimer?.cancel();
    node.probeTimer = undefined;
    node.probing = true;
    try {
      const call = client.health({ timeoutMs: PROBE_TIMEOUT_MS });
      const health = await bounded(this.#clock, PROBE_TIMEOUT_MS, call);
      if (node.client !== client) return;
      this.#checkIdentity(node, health);
      if (node.state !== 'up') this.#log.info({ node: node.id }, 'node is up');
      node.state = 'up';
      node.full = health.stats.full;
      node.failedProbes = 0;
    } catch (error) {
      if (node.client === client) this.#probeFailed(node, error);
    } finally {
      node.probing = false;
      if (node.client !== client) void this.#probe(node);
      else if (node.state !== 'up' || node.full) this.#probeLater(node);
    }
  }

  /** An address can be taken over by another node; its copies would not be where they should be. */
  #checkIdentity(node: PooledNode, health: { id: string; clusterId: string | undefined }): void {
    // One that no metadata service has taken in yet may be a blank disk under an old name.
    if (health.id === node.id && health.clusterId === this.#clusterId) return;
    node.state = 'new';
    throw new Failure('conflict', `${node.address} is node ${health.id} of another place`);
  }

  #probeFailed(node: PooledNode, error: unknown): void {
    node.failedProbes++;
    const unproven = node.state === 'new';
    if (!unproven) node.state = node.failedProbes < PROBES_TO_DOWN ? 'suspect' : 'down';
    const report = { node: node.id, address: node.address, error };
    const strange = isFailure(error, 'conflict', 'unauthenticated', 'internal');
    if (strange || node.failedProbes === PROBES_TO_DOWN) this.#log.warn(report, 'node is down');
  }
}
