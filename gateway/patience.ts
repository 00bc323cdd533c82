/**
 * A metadata service that is away for a moment is waited for: it restarts in a second or two, and a
 * request that waits is better than one that fails. Only what was never sent is tried again, so
 * nothing happens twice.
 */
import type { CallOptions } from '../base/call.ts';
import type { Clock } from '../base/clock.ts';
import { isFailure } from '../base/failure.ts';
import type { Meta } from '../meta/protocol.ts';

/** Longest wait of one call, unless its own time-out is shorter. */
const PATIENCE_MS = 5000;
const PAUSE_MS = 50;
const PAUSE_MS_MAX = 250;

/** Called by loops that have a pace and a bound of their own. */
const IMPATIENT: ReadonlySet<string> = new Set<keyof Meta>([
  'registerNode',
  'heartbeat',
  'openWriter',
  'renewWriter',
  'closeWriter',
  'reportReplicas',
  'status',
]);

type Call = (command: unknown, options?: CallOptions) => Promise<unknown>;

/**
 * `meta`, but calls of requests wait while Failure `unavailable` says that it cannot be reached.
 * Takes its own properties for its methods, as the service and its client have them.
 */
export function patientMeta(meta: Meta, clock: Clock, patienceMs = PATIENCE_MS): Meta {
  const methods = Object.entries(meta).map(([name, method]) => {
    const call = (method as Call).bind(meta);
    if (IMPATIENT.has(name)) return [name, call] as const;
    const patient: Call = (command, options) =>
      call(command, options).catch((error: unknown) =>
        isFailure(error, 'unavailable') ? again(call, command, options, error) : rethrow(error),
      );
    return [name, patient] as const;
  });
  return Object.fromEntries(methods) as unknown as Meta;

  async function again(
    call: Call,
    command: unknown,
    options: CallOptions | undefined,
    first: unknown,
  ): Promise<unknown> {
    const until = clock.monotonic() + Math.min(patienceMs, options?.timeoutMs ?? patienceMs);
    let failure = first;
    for (let pauseMs = PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX)) {
      if (options?.signal?.aborted === true || clock.monotonic() + pauseMs >= until) throw failure;
      await clock.sleep(pauseMs, options?.signal);
      try {
        return await call(command, options);
      } catch (error) {
        if (!isFailure(error, 'unavailable')) throw error;
        failure = error;
      }
    }
  }
}

function rethrow(error: unknown): never {
  throw error;
}
