/**
 * How a storage node becomes and stays known to the metadata service: it registers, and then says
 * at the interval it was told that it is alive. Both are tried for ever.
 */
import type { Effects } from '../base/clock.ts';
import { Failure, isFailure, toFailure } from '../base/failure.ts';
import type { Log } from '../base/log.ts';
import type { Address } from '../base/rpc/rpc.ts';
import type { NodeIdentity } from './folder.ts';
import type { NodeStats } from './protocol.ts';
import type { Registrar } from './registrar.ts';

const CALL_TIMEOUT_MS = 5000;
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 5000;
/** A log line about the same trouble at most this often. */
const LOG_EVERY_MS = 30_000;
const INSTANCE_BYTES = 8;

export interface MembershipOptions {
  registrar: Registrar;
  identity: NodeIdentity;
  /** Called once with the cluster that took the node in, before `registered` resolves. */
  join: (clusterId: string) => void;
  /** Called when the node is refused for good: this start of its disk does not count. */
  refused?: (() => void) | undefined;
  address: Address;
  zone: string;
  stats: () => NodeStats;
  effects: Effects;
  log: Log;
}

export interface Membership {
  /** The first registration; carries the cluster's id. Never settles while nobody takes the node in. */
  readonly registered: Promise<string>;
  /** Resolves when the node must not go on, with what to tell the operator. */
  readonly refused: Promise<Failure>;
  stop(): Promise<void>;
}

export function startMembership(options: MembershipOptions): Membership {
  const loop = new MembershipLoop(options);
  const running = loop.run();
  return {
    registered: loop.registered.promise,
    refused: loop.refused.promise,
    async stop() {
      loop.stop();
      await running;
    },
  };
}

class MembershipLoop {
  readonly registered = Promise.withResolvers<string>();
  readonly refused = Promise.withResolvers<Failure>();
  readonly #options: MembershipOptions;
  readonly #instance: string;
  readonly #stopped = new AbortController();
  #loggedAt = Number.NEGATIVE_INFINITY;

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#instance = options.effects.random.bytes(INSTANCE_BYTES).toString('hex');
  }

  stop(): void {
    this.#stopped.abort();
  }

  async run(): Promise<void> {
    try {
      for (;;) await this.#beat(await this.#register());
    } catch (error) {
      const failure = toFailure(error);
      if (!this.#stopped.signal.aborted) this.refused.resolve(failure);
    }
  }

  /** Resolves with the heartbeat's interval; throws when the node belongs to another cluster. */
  async #register(): Promise<number> {
    const { clock, random } = this.#options.effects;
    const { identity } = this.#options;
    for (let delayMs = RETRY_MIN_MS; ; delayMs = Math.min(2 * delayMs, RETRY_MAX_MS)) {
      try {
        return await this.#registerOnce();
      } catch (error) {
        if (this.#stopped.signal.aborted) throw error;
        // Of another cluster, or without our secret: more attempts will not change that.
        if (isFailure(error, 'unauthenticated')) throw wrongCluster(identity, error);
        // An old copy of the disk, or a node that was removed: the message says what to do.
        if (isFailure(error, 'invalid', 'fenced')) {
          this.#options.refused?.();
          throw error;
        }
        this.#logTrouble(error, 'waiting for the metadata service to register this node');
      }
      await clock.sleep(delayMs * (0.5 + random.fraction()), this.#stopped.signal);
    }
  }

  async #registerOnce(): Promise<number> {
    const { registrar, identity, address, zone, stats, log } = this.#options;
    const { capacityBytes, freeBytes } = stats();
    const { id, clusterId, generation, disk } = identity;
    const self = { id, address, zone, clusterId, instance: this.#instance, generation, disk };
    const answer = await registrar.registerNode(
      { ...self, capacityBytes, freeBytes },
      this.#callOptions(),
    );
    if (clusterId === undefined) this.#options.join(answer.clusterId);
    else if (clusterId !== answer.clusterId) throw wrongCluster(identity);
    log.info({ clusterId: answer.clusterId, address, zone }, 'registered');
    this.registered.resolve(answer.clusterId);
    return answer.heartbeatMs;
  }

  /** Returns when the node is no longer known and has to register again. */
  async #beat(heartbeatMs: number): Promise<void> {
    const { registrar, identity, stats, effects } = this.#options;
    for (;;) {
      await effects.clock.sleep(heartbeatMs, this.#stopped.signal);
      try {
        const { freeBytes, capacityBytes, full, store } = stats();
        const self = { id: identity.id, instance: this.#instance };
        const fill = store === undefined ? {} : { store };
        const beat = { ...self, freeBytes, capacityBytes, full, ...fill };
        await registrar.heartbeat(beat, this.#callOptions());
      } catch (error) {
        if (this.#stopped.signal.aborted) throw error;
        if (isFailure(error, 'not-found')) return;
        this.#logTrouble(error, 'the metadata service did not take the heartbeat');
      }
    }
  }

  #callOptions() {
    return { timeoutMs: CALL_TIMEOUT_MS, signal: this.#stopped.signal };
  }

  #logTrouble(error: unknown, message: string): void {
    const { clock } = this.#options.effects;
    const now = clock.monotonic();
    if (now - this.#loggedAt < LOG_EVERY_MS) return;
    this.#loggedAt = now;
    const { kind, message: reason } = toFailure(error);
    this.#options.log.warn({ kind, reason }, message);
  }
}

function wrongCluster(identity: NodeIdentity, cause?: unknown): Failure {
  const belongs =
    identity.clusterId === undefined
      ? 'the metadata service does not accept this node: its cluster secret differs'
      : `the blocks of ${identity.id} belong to the cluster ${identity.clusterId}, ` +
        'and the metadata service is of another cluster or has another secret';
  return new Failure(
    'unauthenticated',
    `${belongs}. Point the node to its own metadata service, or start it with an empty folder.`,
    { cause },
  );
}
