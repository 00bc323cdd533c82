/**
 * The calling side of the internal RPC: a channel to one peer that connects when it is first used,
 * reconnects by itself, and carries many calls at once.
 */
import type { CallOptions } from '../call.ts';
import type { Effects } from '../clock.ts';
import { Failure, type FailureKind } from '../failure.ts';
import type { Log } from '../log.ts';
import { parseAddress } from './address.ts';
import { ClientLink, type LinkContext, type PendingCall } from './client-link.ts';
import { DeadlineSweep } from './deadline-sweep.ts';
import { clusterKey } from './handshake.ts';
import { checkLimits } from './limits.ts';
import type { Address, ReceivedMessage, RpcChannel, RpcLimits, RpcMessage } from './rpc.ts';

/** How long a call waits for its answer unless told otherwise. */
export const CALL_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 3_000;

export interface RpcChannelOptions {
  address: Address;
  /** The cluster's secret, at least 16 bytes. */
  secret: string;
  /** As the peer's: of what is sent and of what is received. */
  limits: RpcLimits;
  effects: Effects;
  log: Log;
  /** Connecting and handshake together. Default 3 s. */
  connectTimeoutMs?: number | undefined;
  /** Connections to the peer; a call takes the one with the least to do. Default 1. */
  connections?: number | undefined;
  /** Told of every call when it has settled. */
  observe?: RpcObserver | undefined;
}

/** `failure`: undefined when the call was answered. */
export type RpcObserver = (
  method: number,
  durationMs: number,
  failure: FailureKind | undefined,
) => void;

/** Throws Failure `invalid` for a short secret, a malformed address or limits without sense. */
export function createRpcChannel(options: RpcChannelOptions): RpcChannel {
  return new NetRpcChannel(options);
}

class NetRpcChannel implements RpcChannel {
  readonly #effects: Effects;
  readonly #sweep: DeadlineSweep;
  readonly #links: ClientLink[] = [];
  readonly #observe: RpcObserver | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: RpcChannelOptions) {
    checkLimits(options.limits);
    this.#effects = options.effects;
    this.#observe = options.observe;
    this.#sweep = new DeadlineSweep(options.effects.clock, (dueMs) =>
      Math.min(...this.#links.map((link) => link.expire(dueMs))),
    );
    const context: LinkContext = {
      address: parseAddress(options.address),
      name: options.address,
      key: clusterKey(options.secret),
      limits: options.limits,
      effects: options.effects,
      log: options.log,
      connectTimeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    };
    const connections = options.connections ?? 1;
    if (!(connections >= 1)) throw new Failure('invalid', 'a channel needs a connection');
    for (let i = 0; i < connections; i += 1) this.#links.push(new ClientLink(context));
  }

  get connected(): boolean {
    return this.#links.some((link) => link.connected);
  }

  call(method: number, message: RpcMessage, options?: CallOptions): Promise<ReceivedMessage> {
    return new Promise((resolve, reject) => {
      const signal = options?.signal;
      if (signal?.aborted === true) return reject(cancelled());
      const timeoutMs = options?.timeoutMs ?? CALL_TIMEOUT_MS;
      if (!(timeoutMs > 0)) return reject(new Failure('timeout', 'no time was left for the call'));
      const now = this.#effects.clock.monotonic();
      const deadline = now + timeoutMs;
      const link = this.#pick();
      const call: PendingCall = {
        method,
        message,
        deadline,
        ...this.#settling(method, now, resolve, reject),
        signal,
        onAbort: undefined,
        id: 0,
      };
      if (signal !== undefined) {
        call.onAbort = () => link.withdraw(call, cancelled());
        signal.addEventListener('abort', call.onAbort);
      }
      this.#sweep.cover(deadline);
      link.submit(call);
    });
  }

  #settling(
    method: number,
    startedMs: number,
    resolve: PendingCall['resolve'],
    reject: PendingCall['reject'],
  ): Pick<PendingCall, 'resolve' | 'reject'> {
    const observe = this.#observe;
    if (observe === undefined) return { resolve, reject };
    const { clock } = this.#effects;
    return {
      resolve(answer) {
        observe(method, clock.monotonic() - startedMs, undefined);
        resolve(answer);
      },
      reject(failure) {
        observe(method, clock.monotonic() - startedMs, failure.kind);
        reject(failure);
      },
    };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#sweep.stop();
    await Promise.all(this.#links.map((link) => link.close()));
  }

  /** The connection with the least to do, of those that are not waiting for their next attempt. */
  #pick(): ClientLink {
    let best: ClientLink | undefined;
    for (const link of this.#links) {
      if (best === undefined) best = link;
      else if (best.resting !== link.resting) best = best.resting ? link : best;
      else if (link.load < best.load) best = link;
    }
    if (best === undefined) throw new Failure('internal', 'a channel without connections');
    return best;
  }
}

function cancelled(): Failure {
  return new Failure('cancelled', 'the caller gave up');
}
