/**
 * The simulated network: calls between processes under the production clients and handlers, so that
 * every argument passes through its real encoding. Messages take time, overtake each other, are lost
 * (and sent again, as TCP does) or held up by a cut; connections break, and then nobody knows.
 */
import { Packr, Unpackr } from 'msgpackr';
import type { CallOptions } from '../../base/call.ts';
import { hashBytes } from '../../base/checksum.ts';
import { Failure, toFailure } from '../../base/failure.ts';
import type { ReceivedMessage, RpcChannel, RpcMessage } from '../../base/rpc/rpc.ts';
import type { Life, SimProcess } from './process.ts';
import type { SeededRandom } from './random.ts';
import type { Scheduled, Scheduler } from './scheduler.ts';

const CALL_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 3000;
/** A connection without a sign of life for this long is given up by both sides. */
const SILENT_MS = 7000;
const RESEND_MS = 200;

export interface NetworkFaults {
  /** Of a message in milliseconds; most take little more than the least. */
  latencyMs: [number, number];
  /** Probabilities per message. */
  loss: number;
  duplicate: number;
  reset: number;
}

/** Nothing goes wrong. */
export const CALM_NETWORK: NetworkFaults = {
  latencyMs: [0.1, 1],
  loss: 0,
  duplicate: 0,
  reset: 0,
};

interface Encoded {
  meta: Buffer;
  payload: Buffer | undefined;
  payloadHash: bigint;
}

interface Call {
  from: Life;
  target: Life;
  label: string;
  settled: boolean;
  fail: (failure: Failure) => void;
}

const packer = new Packr({ useRecords: false });
const unpacker = new Unpackr({ useRecords: false, copyBuffers: true });
const NO_HASH = hashBytes(Buffer.alloc(0));
const NEVER_ABORTED = new AbortController().signal;

export interface ChannelOptions {
  /** The name of a method, for traces. */
  nameOf: (method: number) => string;
  /** Whether a request may arrive twice without harm. */
  repeatable: (name: string) => boolean;
}

export class Network {
  faults: NetworkFaults = CALM_NETWORK;
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #cuts = new Set<string>();
  readonly #calls = new Set<Call>();

  constructor(scheduler: Scheduler, random: SeededRandom) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  /** Messages from `from` do not reach `to` any more; the other way is another cut. */
  cut(from: SimProcess, to: SimProcess): void {
    this.#cuts.add(`${from.name}>${to.name}`);
  }

  mend(from: SimProcess, to: SimProcess): void {
    this.#cuts.delete(`${from.name}>${to.name}`);
  }

  mendAll(): void {
    this.#cuts.clear();
  }

  /** Breaks the connections between two processes: what is in flight has an unknown outcome. */
  reset(a: SimProcess, b: SimProcess): void {
    for (const call of this.#calls) {
      const ends = [call.from.process, call.target.process];
      if (!ends.includes(a) || !ends.includes(b)) continue;
      this.#break(call, 'the connection was reset');
    }
  }

  /** A channel as `createRpcChannel` makes it. `to` is whatever runs there at the time of a call. */
  channel(from: Life, to: () => SimProcess | undefined, options: ChannelOptions): RpcChannel {
    let closed = false;
    return {
      call: (method, message, callOptions) =>
        closed
          ? Promise.reject(new Failure('unavailable', 'the channel is closed'))
          : this.#call(from, to(), method, message, options, callOptions ?? {}),
      get connected() {
        return !closed && to()?.life?.handler !== undefined;
      },
      close: async () => {
        closed = true;
      },
    };
  }

  /** To be called when a process has died: its peers notice, at once or after a while. */
  died(life: Life, noticeMs: number): void {
    for (const call of this.#calls) {
      if (call.from === life) this.#calls.delete(call);
      else if (call.target === life) {
        const wait = noticeMs + this.#latency();
        call.from.schedule(wait, `sees ${life.process.name} die`, () => {
          this.#break(call, 'the connection was lost');
        });
      }
    }
  }

  #break(call: Call, why: string): void {
    call.from.enter(() => call.fail(new Failure('unknown-outcome', why)));
  }

  #call(
    from: Life,
    to: SimProcess | undefined,
    method: number,
    message: RpcMessage,
    channel: ChannelOptions,
    options: CallOptions,
  ): Promise<ReceivedMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<ReceivedMessage>();
    const { signal } = options;
    // Whatever a process still does after its death has no effect.
    if (!from.alive) return promise;
    if (signal?.aborted) {
      reject(new Failure('cancelled', 'the caller gave up'));
      return promise;
    }
    const timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
    const timers: Scheduled[] = [];
    const name = channel.nameOf(method);
    const target = to?.life;
    const label = `${name} ${from.process.name}>${to?.name ?? 'nobody'}`;
    const settle = (): boolean => {
      if (call.settled) return false;
      call.settled = true;
      this.#calls.delete(call);
      for (const timer of timers) timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      return true;
    };
    const fail = (failure: Failure): void => {
      if (settle()) reject(failure);
    };
    const call: Call = { from, target: target ?? from, label, settled: false, fail };
    const onAbort = () => fail(new Failure('cancelled', 'the caller gave up'));
    signal?.addEventListener('abort', onAbort, { once: true });
    timers.push(
      from.clock.after(timeoutMs, () => fail(new Failure('timeout', `no answer: ${label}`))),
    );
    const cutOff =
      to === undefined || this.#isCut(from.process, to) || this.#isCut(to, from.process);
    if (target === undefined || to === undefined || target.handler === undefined) {
      const wait = cutOff ? CONNECT_TIMEOUT_MS : this.#latency();
      const refuse = () => fail(new Failure('unavailable', `nobody answers: ${label}`));
      timers.push(from.schedule(wait, `refused ${label}`, refuse));
      return promise;
    }
    if (timeoutMs > SILENT_MS) this.#watch(call, timers);
    this.#calls.add(call);
    const answer = (result: Encoded | Failure): void => {
      this.#send(target.process, from.process, `answer ${label}`, call, () =>
        from.enter(() => {
          if (!settle()) return;
          if (result instanceof Failure) reject(result);
          else resolve(decode(result));
        }),
      );
    };
    const request = encode(message);
    const arrive = () => {
      if (target.alive) target.enter(() => this.#serve(target, method, request, answer));
      else this.#refuse(call);
    };
    this.#send(from.process, to, `request ${label}`, call, arrive);
    if (this.#random.chance(this.faults.duplicate) && channel.repeatable(name)) {
      this.#send(from.process, to, `request again ${label}`, call, arrive);
    }
    if (this.#random.chance(this.faults.reset)) {
      const wait = this.#latency() * this.#random.between(0, 3);
      timers.push(from.schedule(wait, `reset ${label}`, () => this.#break(call, 'reset')));
    }
    return promise;
  }

  #refuse(call: Call): void {
    // The request did not arrive. Whether the caller knows depends on when the connection broke.
    const kind = this.#random.chance(0.3) ? 'unavailable' : 'unknown-outcome';
    call.from.schedule(this.#latency(), `refused ${call.label}`, () =>
      call.fail(new Failure(kind, 'the connection was lost')),
    );
  }

  #serve(
    target: Life,
    method: number,
    request: Encoded,
    answer: (result: Encoded | Failure) => void,
  ): void {
    const { handler } = target;
    if (handler === undefined) return answer(new Failure('unavailable', 'shutting down'));
    const message = { ...decode(request), method, signal: NEVER_ABORTED };
    handler(message).then(
      (reply) => {
        if (target.alive) answer(encode(reply));
      },
      (error: unknown) => {
        const { kind, message: text } = toFailure(error);
        if (target.alive) answer(new Failure(kind, text));
      },
    );
  }

  /** Keep-alive: a peer that is frozen or cut off is given up in the end. */
  #watch(call: Call, timers: Scheduled[]): void {
    const look = () => {
      const { from, target } = call;
      const silent =
        target.process.frozen ||
        this.#isCut(from.process, target.process) ||
        this.#isCut(target.process, from.process);
      if (silent) this.#break(call, 'the connection is silent');
      else timers.push(from.schedule(SILENT_MS, 'keep-alive', look));
    };
    timers.push(call.from.schedule(SILENT_MS, 'keep-alive', look));
  }

  #send(from: SimProcess, to: SimProcess, label: string, call: Call, arrive: () => void): void {
    const sentAt = this.#scheduler.now;
    let resend = RESEND_MS;
    const attempt = () => {
      const lost = this.#isCut(from, to) || this.#random.chance(this.faults.loss);
      if (!lost) return arrive();
      if (this.#scheduler.now - sentAt > SILENT_MS) {
        return this.#break(call, 'nothing gets through');
      }
      this.#scheduler.at(resend + this.#latency(), `${label} (again)`, attempt);
      resend *= 2;
    };
    this.#scheduler.at(this.#latency(), label, attempt);
  }

  #isCut(from: SimProcess, to: SimProcess): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(`${from.name}>${to.name}`);
  }

  #latency(): number {
    const [low, high] = this.faults.latencyMs;
    return this.#random.skewed(low, high);
  }
}

function encode({ meta, payload, payloadHash }: RpcMessage): Encoded {
  return {
    meta: meta === undefined ? Buffer.alloc(0) : packer.pack(meta),
    payload: payload === undefined ? undefined : Buffer.from(payload),
    payloadHash: payload === undefined ? NO_HASH : (payloadHash ?? hashBytes(payload)),
  };
}

function decode({ meta, payload, payloadHash }: Encoded): ReceivedMessage {
  return {
    meta: meta.length === 0 ? undefined : unpacker.unpack(meta),
    payload: payload === undefined ? undefined : Buffer.from(payload),
    payloadHash,
  };
}
