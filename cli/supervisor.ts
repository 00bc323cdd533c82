/**
 * Keeps a set of processes running: each is started, waited for until it says that it is ready, and
 * started again with a growing pause when it ends. One process dying never takes another along.
 * How a process is made comes in as a parameter, so the logic is tested without any.
 */
import type { Effects, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';

export type Role = 'gateway' | 'meta' | 'node';

/** What a child says once it serves: its addresses by name, e.g. `{ s3: 'http://…' }`. */
export type ReadyMessage = Record<string, string>;

export interface ProcessHandle {
  pid: number;
  /** Asks for an orderly stop. */
  stop(): void;
  kill(): void;
}

export interface ProcessEvents {
  ready(message: ReadyMessage): void;
  /** The process is gone. `lastWords`: its final lines of standard error, for the log. */
  exited(outcome: { code: number | null; signal: string | null; lastWords: string }): void;
}

export interface ProcessSpec {
  role: Role;
  name: string;
  /**
   * When it refuses to start, `run` rejects, and it is tried again now and then all the same: what
   * keeps it from starting can be mended while the others run.
   */
  keepTrying?: boolean;
  /** Starts it; `previous` is the ready message of its last life, so that it keeps its addresses. */
  start(events: ProcessEvents, previous: ReadyMessage | undefined): ProcessHandle;
}

export interface RunningProcess {
  role: Role;
  name: string;
  pid: number;
}

export interface Supervisor {
  /** Starts one process and resolves with its first ready message; rejects when it cannot start. */
  run(spec: ProcessSpec): Promise<ReadyMessage>;
  /** The processes that have said they are ready and have not ended since. */
  processes(): RunningProcess[];
  /** Stops the processes of one role, waits for them, kills what outlives the bound. */
  stop(role: Role, boundMs: number): Promise<void>;
}

export interface SupervisorOptions {
  effects: Effects;
  log: Log;
  /** Called whenever `processes()` changed. */
  changed: () => void;
}

export const RESTART_MS_MIN = 100;
export const RESTART_MS_MAX = 10_000;
/** A process that served this long before it ended has its pause forgotten. */
const STABLE_MS = 3_000;
/** Exit codes that starting again cannot mend: bad usage, bad configuration. */
const FINAL_CODES = new Set([2, 73, 78]);
/** Exit code of a node that was removed from the cluster: it has no business to start again. */
const REMOVED_CODE = 77;
/** Exit code for what may mend itself: a folder that another process is about to leave. */
const TRY_AGAIN_CODE = 75;
/** How long a process that was never ready is tried again for that reason. */
const PATIENCE_MS = 5_000;

interface Child {
  spec: ProcessSpec;
  handle: ProcessHandle | undefined;
  ready: ReadyMessage | undefined;
  everReady: boolean;
  /** When it became ready in its present life; undefined before that. */
  readyAt: number | undefined;
  /** Of its first life. */
  createdAt: number;
  pauseMs: number;
  restart: Timer | undefined;
  stopping: boolean;
  gone: Array<() => void>;
}

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { effects, log } = options;
  const children: Child[] = [];

  const launch = (child: Child, settled: { ready(): void; failed(error: Error): void }): void => {
    const { name } = child.spec;
    child.handle = child.spec.start(
      {
        ready(message) {
          child.ready = message;
          child.everReady = true;
          child.readyAt = effects.clock.monotonic();
          log.info({ process: name, pid: child.handle?.pid }, 'process is ready');
          options.changed();
          settled.ready();
        },
        exited(outcome) {
          const { readyAt } = child;
          child.handle = undefined;
          child.readyAt = undefined;
          options.changed();
          if (child.stopping) {
            for (const done of child.gone.splice(0)) done();
            return;
          }
          const fields = { process: name, ...outcome };
          if (outcome.code === REMOVED_CODE) {
            log.warn(fields, 'this node was removed from the cluster: it is not started again');
            settled.failed(new StartFailure(name, REMOVED_CODE, outcome.lastWords));
            return;
          }
          if (!child.everReady && isFinal(outcome.code, child)) {
            settled.failed(new StartFailure(name, outcome.code ?? 1, outcome.lastWords));
            if (child.spec.keepTrying !== true) return;
            child.pauseMs = RESTART_MS_MAX;
            log.error(fields, 'process refuses to start: trying again now and then');
            child.restart = effects.clock.after(RESTART_MS_MAX, () => launch(child, settled));
            return;
          }
          const servedMs = readyAt === undefined ? 0 : effects.clock.monotonic() - readyAt;
          if (servedMs > STABLE_MS) child.pauseMs = 0;
          child.pauseMs = Math.min(Math.max(child.pauseMs * 2, RESTART_MS_MIN), RESTART_MS_MAX);
          const level = outcome.code === 0 ? 'warn' : 'error';
          log[level]({ ...fields, restartMs: child.pauseMs }, 'process ended: starting it again');
          child.restart = effects.clock.after(child.pauseMs, () => launch(child, settled));
        },
      },
      child.ready,
    );
  };

  const isFinal = (code: number | null, { createdAt }: Child): boolean =>
    FINAL_CODES.has(code ?? 0) ||
    (code === TRY_AGAIN_CODE && effects.clock.monotonic() - createdAt > PATIENCE_MS);

  return {
    run(spec) {
      const child: Child = {
        spec,
        handle: undefined,
        ready: undefined,
        everReady: false,
        readyAt: undefined,
        createdAt: effects.clock.monotonic(),
        pauseMs: 0,
        restart: undefined,
        stopping: false,
        gone: [],
      };
      children.push(child);
      return new Promise((resolve, reject) => {
        launch(child, { ready: () => resolve(child.ready ?? {}), failed: reject });
      });
    },
    processes: () =>
      children.flatMap(({ spec, handle, readyAt }) =>
        handle === undefined || readyAt === undefined
          ? []
          : [{ role: spec.role, name: spec.name, pid: handle.pid }],
      ),
    async stop(role, boundMs) {
      const mine = children.filter((child) => child.spec.role === role);
      await Promise.all(mine.map((child) => stopChild(child, boundMs, effects)));
    },
  };
}

function stopChild(child: Child, boundMs: number, effects: Effects): Promise<void> {
  child.stopping = true;
  child.restart?.cancel();
  const { handle } = child;
  if (handle === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = effects.clock.after(boundMs, () => handle.kill());
    child.gone.push(() => {
      timer.cancel();
      resolve();
    });
    handle.stop();
  });
}

/** A process refused to start for a reason that trying again does not mend. */
export class StartFailure extends Error {
  readonly exitCode: number;
  constructor(name: string, exitCode: number, lastWords: string) {
    super(
      lastWords.trim() === ''
        ? `${name} could not start (exit code ${exitCode})`
        : lastWords.trim().replace(/^ashlar: /, ''),
    );
    this.name = 'StartFailure';
    this.exitCode = exitCode;
  }
}
