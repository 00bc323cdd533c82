/** A real `ashlar start` in processes of its own, on free ports, with a throw-away folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { S3Client } from '@aws-sdk/client-s3';
import type { Keys } from './sign.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const ENTRY = join(root, 'cli', 'main.ts');

/** The test clusters' root credentials: known to the tests, of no use anywhere else. */
export const TEST_KEYS: Keys = {
  accessKey: 'ASHLTESTTESTTESTTEST',
  secretKey: 'test-secret-test-secret-test-secret-test',
};

export interface ReadyProcess {
  role: 'gateway' | 'meta' | 'node';
  name: string;
  pid: number;
}

export interface Ready {
  s3: string;
  /** The port for websites only. */
  website?: string;
  admin: string;
  admins: string[];
  processes: ReadyProcess[];
}

export interface Cluster {
  readonly folder: string;
  readonly supervisor: ChildProcess;
  /** Everything that its processes printed. */
  output(): string;
  /** Waits until that matches: what a process printed comes through a pipe of its own. */
  prints(pattern: RegExp): Promise<void>;
  /** The ready file as it stands now. */
  ready(): Ready;
  processes(role: ReadyProcess['role']): ReadyProcess[];
  client(): S3Client;
  /** Runs a verb of the command on this cluster: its exit code and all that it printed. */
  ashlar(...args: string[]): Promise<{ code: number | null; output: string }>;
  /** Waits until the ready file satisfies `condition`. */
  until(condition: (ready: Ready) => boolean, what: string, timeoutMs?: number): Promise<void>;
  /** Orderly stop; the exit code. The folder is removed unless it was given. */
  stop(): Promise<number | null>;
}

export interface ClusterOptions {
  /** Keep the data here; it is not removed. */
  folder?: string;
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
  startTimeoutMs?: number;
}

export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'ashlar-test-'));
  const readyFile = join(folder, 'ready.json');
  rmSync(readyFile, { force: true });
  const supervisor = spawn(
    process.execPath,
    [
      ENTRY,
      'start',
      '--data',
      join(folder, 'data'),
      '--s3',
      '127.0.0.1:0',
      '--admin',
      '127.0.0.1:0',
      '--ready-file',
      readyFile,
      ...(options.args ?? []),
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ASHLAR_ROOT_ACCESS_KEY: TEST_KEYS.accessKey,
        ASHLAR_ROOT_SECRET_KEY: TEST_KEYS.secretKey,
        ...options.env,
      },
    },
  );
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString('utf8')).slice(-1_000_000);
  };
  supervisor.stdout.on('data', keep);
  supervisor.stderr.on('data', keep);
  const exited = new Promise<number | null>((resolve) => supervisor.once('exit', resolve));

  const ready = (): Ready => JSON.parse(readFileSync(readyFile, 'utf8')) as Ready;
  const until: Cluster['until'] = async (condition, what, timeoutMs = 30_000) => {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (existsSync(readyFile) && condition(ready())) return;
      if (supervisor.exitCode !== null || performance.now() > deadline) {
        supervisor.kill('SIGTERM');
        throw new Error(
          `waited in vain for: ${what}. The processes printed:\n${output.slice(-4000)}`,
        );
      }
      await sleep(20);
    }
  };
  await until(() => true, 'the ready file', options.startTimeoutMs);

  return {
    folder,
    supervisor,
    output: () => output,
    prints: (pattern) => until(() => pattern.test(output), `output like ${pattern}`),
    ready,
    processes: (role) => ready().processes.filter((one) => one.role === role),
    client: () => s3Client(ready().s3),
    ashlar: (...args) => runVerb([...args, '--data', join(folder, 'data')]),
    until,
    async stop() {
      supervisor.kill('SIGTERM');
      const code = await exited;
      if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
      return code;
    },
  };
}

function runVerb(args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [ENTRY, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output += chunk.toString('utf8');
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}

/** The official SDK with its default settings, apart from path-style addressing. */
export function s3Client(endpoint: string): S3Client {
  return new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: {
      accessKeyId: TEST_KEYS.accessKey,
      secretAccessKey: TEST_KEYS.secretKey,
    },
  });
}
