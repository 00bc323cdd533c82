/** A background loop: rounds with a jittered pause, until it is stopped. */
import type { Effects } from '../../base/clock.ts';
import { isFailure, toFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';

export interface Loop {
  /** Lets a running round finish; no other one begins. */
  stop(): Promise<void>;
}

/**
 * Calls `round` for ever: after `pauseMs` (half to one and a half of it, so that loops of several
 * processes do not march in step), or after `busyMs` when the round said that there is more to do.
 * A round that throws is logged, and the next one comes after the whole pause.
 */
export function startLoop(options: {
  name: string;
  pauseMs: number;
  busyMs?: number | undefined;
  effects: Effects;
  log: Log;
  round: () => Promise<boolean | void>;
}): Loop {
  const { name, pauseMs, effects, log, round } = options;
  const busyMs = options.busyMs ?? pauseMs;
  const ending = new AbortController();
  const { signal } = ending;

  async function run(): Promise<void> {
    let busy: boolean | void = false;
    while (!signal.aborted) {
      const pause = (busy === true ? busyMs : pauseMs) * (0.5 + effects.random.fraction());
      try {
        await effects.clock.sleep(pause, signal);
        busy = await round();
      } catch (error) {
        busy = false;
        if (signal.aborted) return;
        const failure = toFailure(error);
        // What is not there yet, or not at the moment, is no news: at every start jobs wait for the nodes.
        if (isFailure(error, 'unavailable')) {
          log.info({ job: name, problem: failure.message }, 'a background job waits');
        } else {
          const level = isFailure(error, 'timeout', 'full') ? 'warn' : 'error';
          log[level]({ job: name, error: failure }, 'a background job failed: trying again');
        }
      }
    }
  }

  const running = run();
  return {
    async stop() {
      ending.abort();
      await running;
    },
  };
}
