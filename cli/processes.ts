/**
 * How `ashlar start` makes its processes: the same command that runs a role by hand, with its
 * settings in the environment (secrets by file name only) and a channel on which it says that it is
 * ready. Each is in a process group of its own, so that Ctrl+C reaches the supervisor alone and the
 * roles are stopped in order; when the supervisor is gone they see the channel close and stop.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { ProcessEvents, ProcessHandle, ReadyMessage } from './supervisor.ts';

export interface RoleCommand {
  /** File to run: the command itself. */
  entry: string;
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
}

const LAST_WORDS_BYTES = 4096;

interface FromChild {
  ready?: ReadyMessage;
}

export function startProcess(command: RoleCommand, events: ProcessEvents): ProcessHandle {
  const child = fork(command.entry, [...command.args], {
    env: { ...command.env },
    detached: true,
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  let lastWords = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    lastWords = (lastWords + text).slice(-LAST_WORDS_BYTES);
    process.stderr.write(text);
  });
  child.on('message', (message: FromChild) => {
    if (message.ready !== undefined) events.ready(message.ready);
  });
  let ended = false;
  const end = (code: number | null, signal: string | null): void => {
    if (ended) return;
    ended = true;
    events.exited({ code, signal, lastWords });
  };
  child.on('error', (error) => {
    lastWords ||= error.message;
    if (child.pid === undefined) end(1, null);
  });
  // `close` rather than `exit`: by then the last words have been read.
  child.on('close', (code, signal) => end(code, signal));
  return {
    pid: child.pid ?? 0,
    stop: () => askToStop(child),
    kill: () => child.kill('SIGKILL'),
  };
}

function askToStop(child: ChildProcess): void {
  if (child.connected) child.send({ stop: true });
  else child.kill('SIGTERM');
}

/** The role's side of the channel. Does nothing when the process was started by hand. */
export function announceToSupervisor(stop: (reason: string) => void): {
  ready(message: ReadyMessage): void;
} {
  if (process.send === undefined) return { ready: () => {} };
  process.on('message', (message: { stop?: boolean }) => {
    if (message.stop === true) stop('the supervisor asked for it');
  });
  process.on('disconnect', () => stop('the supervisor is gone'));
  return { ready: (message) => process.send?.({ ready: message }) };
}
