/** The `ashlar` command in a process of its own, or any script of ours. */
import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const ROOT_FOLDER = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const ENTRY = join(ROOT_FOLDER, 'cli', 'main.ts');

export interface CommandOptions {
  env?: Readonly<Record<string, string>>;
  /** Flags for Node itself. */
  nodeFlags?: readonly string[];
  cwd?: string;
}

export interface RunningCommand {
  readonly process: ChildProcess;
  /** Standard output and standard error, as they came. */
  output(): string;
  /** Exit code; null when a signal ended it. */
  readonly exited: Promise<number | null>;
  /** Waits until the output matches. */
  prints(pattern: RegExp, timeoutMs?: number): Promise<void>;
}

/** Starts `ashlar ARGS …`, in the machine's environment without any `ASHLAR_*` variable. */
export function startCommand(
  args: readonly string[],
  options: CommandOptions = {},
): RunningCommand {
  return startNode([...(options.nodeFlags ?? []), ENTRY, ...args], options);
}

/** Starts Node with these arguments. */
export function startNode(args: readonly string[], options: CommandOptions = {}): RunningCommand {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('ASHLAR_'));
  const child = spawn(process.execPath, [...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...Object.fromEntries(inherited), ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output += chunk.toString('utf8');
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  return {
    process: child,
    output: () => output,
    exited,
    async prints(pattern, timeoutMs = 30_000) {
      const deadline = performance.now() + timeoutMs;
      while (!pattern.test(output)) {
        if (child.exitCode !== null || performance.now() > deadline) {
          throw new Error(`waited in vain for ${String(pattern)}. It printed:\n${output}`);
        }
        await sleep(20);
      }
    },
  };
}

export interface Finished {
  code: number | null;
  output: string;
}

/** Runs `ashlar ARGS …` to its end. */
export async function runCommand(
  args: readonly string[],
  options: CommandOptions = {},
): Promise<Finished> {
  const running = startCommand(args, options);
  const code = await running.exited;
  return { code, output: running.output() };
}
