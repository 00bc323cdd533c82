/** Ends exchanges whose client neither sends nor takes bytes, or does so at a trickle. */
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { S3Error } from '../s3/errors.ts';
import type { Exchange } from './reply.ts';

export interface StallOptions {
  exchanges: ReadonlySet<Exchange>;
  clock: Clock;
  log: Log;
  limits: { stallMs: number; stallBytes: number };
}

/** Looks this many times per limit. */
const LOOKS = 6;

interface Mark {
  atMs: number;
  movedBytes: number;
  /** What the slowest client that we put up with needs. */
  limitMs: number;
}

/**
 * One look at all exchanges now and then, instead of a timer for each. An exchange that waits for
 * its client gets `stallMs` to move `stallBytes`; one that waits for us is never judged.
 */
export function watchStalls({ exchanges, clock, log, limits }: StallOptions): { stop(): void } {
  const marks = new Map<Exchange, Mark>();
  const stepMs = Math.max(1, Math.floor(limits.stallMs / LOOKS));
  const look = (): void => {
    const nowMs = clock.monotonic();
    for (const exchange of marks.keys()) {
      if (!exchanges.has(exchange) || !exchange.waitsForClient) marks.delete(exchange);
    }
    for (const exchange of exchanges) {
      if (!exchange.waitsForClient) continue;
      const mark = marks.get(exchange);
      const movedBytes = exchange.movedBytes;
      if (mark === undefined) {
        // A large chunk in the socket moves unseen until all of it has gone.
        const chunks = Math.max(1, exchange.pendingBytes / limits.stallBytes);
        marks.set(exchange, { atMs: nowMs, movedBytes, limitMs: limits.stallMs * chunks });
      } else if (nowMs - mark.atMs >= mark.limitMs) {
        marks.delete(exchange);
        if (movedBytes - mark.movedBytes < limits.stallBytes) end(exchange, log);
      }
    }
    timer = clock.after(stepMs, look);
  };
  let timer = clock.after(stepMs, look);
  return { stop: () => timer.cancel() };
}

function end(exchange: Exchange, log: Log): void {
  log.warn({ requestId: exchange.request.id }, 'the client stalled');
  if (exchange.response.headersSent) exchange.response.destroy();
  else exchange.request.body.fail(new S3Error('RequestTimeout'));
}
