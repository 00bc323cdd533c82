/** `Meta` over the wire. */
import type { CallOptions } from '../base/call.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { Failure, isFailure } from '../base/failure.ts';
import { CALL_TIMEOUT_MS } from '../base/rpc/client.ts';
import type { RpcChannel } from '../base/rpc/rpc.ts';
import { ADMIN_METHODS } from './admin-wire.ts';
import { ANSWERS } from './answer-wire.ts';
import type { Meta } from './protocol.ts';
import { METHODS, type Method, READS } from './wire.ts';

export { META_RPC_LIMITS } from './wire.ts';

/** The method behind its number, operators' ones among them, for metrics. */
export function metaMethodName(method: number): string | undefined {
  return METHODS.nameOf(method) ?? ADMIN_METHODS.nameOf(method);
}

/**
 * Beside the service's own failures, calls reject with those of the channel. What only reads is asked
 * once more when the connection was lost, within its time. What changes something never is: after
 * Failure `unknown-outcome` it has happened or not, and the caller decides how to find out.
 */
export function createMetaClient(channel: RpcChannel, clock: Clock = systemClock): Meta {
  const { numbers } = METHODS;

  async function once(name: Method, command: unknown, options?: CallOptions): Promise<unknown> {
    const { meta } = await channel.call(numbers[name], { meta: command }, options);
    const shape = ANSWERS[name];
    return shape === undefined ? meta : shape.unpack(meta);
  }

  async function read(name: Method, command: unknown, options?: CallOptions): Promise<unknown> {
    const timeoutMs = options?.timeoutMs ?? CALL_TIMEOUT_MS;
    const deadline = clock.monotonic() + timeoutMs;
    try {
      return await once(name, command, options);
    } catch (error) {
      const lost = isFailure(error, 'unavailable', 'unknown-outcome');
      const left = deadline - clock.monotonic();
      if (!lost || left <= 0 || options?.signal?.aborted === true) throw asRead(error);
      try {
        return await once(name, command, { ...options, timeoutMs: left });
      } catch (again) {
        throw asRead(again);
      }
    }
  }

  const entries = Object.keys(numbers).map((key) => {
    const name = key as Method;
    const call = READS.has(name) ? read : once;
    if (name === 'status') {
      return [name, (options?: CallOptions) => call(name, undefined, options)] as const;
    }
    const method = (command: unknown, options?: CallOptions) => call(name, command, options);
    return [name, method] as const;
  });
  // The table names exactly the methods of Meta; the server answers with what they return.
  return Object.fromEntries(entries) as unknown as Meta;
}

/** A read whose answer was lost has no outcome that matters. */
function asRead(error: unknown): unknown {
  if (!isFailure(error, 'unknown-outcome')) return error;
  return new Failure('unavailable', error.message, { cause: error });
}
