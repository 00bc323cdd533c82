/**
 * How a process ends: the first SIGTERM or SIGINT starts an orderly stop within a bound, a second
 * one ends it at once. Signals that come within a moment of the first are the same wish, delivered
 * twice: a terminal, npm and a parent each pass Ctrl+C on.
 */
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

export const SAME_SIGNAL_MS = 500;

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  unavailable: 69,
  cannotCreate: 73,
  tryAgain: 75,
  /** It must not take part any more: nothing that can be mended. */
  removed: 77,
  badConfig: 78,
} as const;

const SIGNAL_NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const;
export type StopSignal = keyof typeof SIGNAL_NUMBERS;

/** The part of `process` that the life cycle needs. */
export interface ProcessPort {
  on(event: StopSignal, listener: () => void): unknown;
  exit(code: number): void;
}

export interface ShutdownOptions {
  process: ProcessPort;
  clock: Clock;
  log: Log;
  /** Ends the process in order; the exit code is 0 when it resolves. */
  stop: () => Promise<void>;
  /** Longest time for `stop`, in milliseconds; then the process exits with 1. */
  boundMs: number;
}

/** Installs the handlers; returns a function that starts the same orderly stop for another reason. */
export function stopOnSignals(options: ShutdownOptions): (reason: string) => void {
  const { process, clock, log } = options;
  let startedAt: number | undefined;
  const begin = (reason: string): void => {
    startedAt = clock.monotonic();
    log.info({ reason }, 'stopping: no new requests are taken, running ones may finish');
    clock.after(options.boundMs, () => {
      log.error({ boundMs: options.boundMs }, 'the orderly stop took too long: leaving at once');
      process.exit(EXIT.failed);
    });
    options.stop().then(
      () => process.exit(EXIT.ok),
      (error: unknown) => {
        log.error({ error }, 'the orderly stop failed');
        process.exit(EXIT.failed);
      },
    );
  };
  const onSignal = (signal: StopSignal): void => {
    if (startedAt === undefined) return begin(signal);
    if (clock.monotonic() - startedAt < SAME_SIGNAL_MS) return;
    process.exit(128 + SIGNAL_NUMBERS[signal]);
  };
  process.on('SIGINT', () => onSignal('SIGINT'));
  process.on('SIGTERM', () => onSignal('SIGTERM'));
  return (reason) => {
    if (startedAt === undefined) begin(reason);
  };
}
