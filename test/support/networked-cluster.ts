/**
 * A cluster of real processes, one role each, every one in a network namespace of its own: what
 * `startCluster` is, with ways that can be cut. A small supervisor in this process starts again what ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand, ROOT_FOLDER } from './command.ts';
import { type Cluster, type Ready, type ReadyProcess, s3Client, TEST_KEYS } from './cluster.ts';
import { createNetwork, type TestNetwork } from './network.ts';

const ENTRY = join(ROOT_FOLDER, 'cli', 'main.ts');
const SECRET = 'the secret of a cluster in namespaces';
/** What `ashlar node` ends with when it was removed from the cluster. */
const REMOVED = 77;
const RESTART_MS = 200;
const FIRST_NODES = 3;

export interface NetworkedCluster extends Omit<Cluster, 'supervisor' | 'prints'> {
  readonly network: TestNetwork;
  /** Nothing is started again until the function that is returned is called. */
  hold(): () => void;
  /** Starts a process that had ended for good. */
  revive(name: string): void;
}

interface Role {
  role: ReadyProcess['role'];
  name: string;
  args: readonly string[];
  child: ChildProcess | undefined;
  ready: Record<string, string> | undefined;
  over: boolean;
}

export interface NetworkedOptions {
  folder: string;
  /** Folder of each node; the first three hold data from the beginning, the others are spares. */
  disks: readonly string[];
  gateways: number;
  env?: Readonly<Record<string, string>>;
}

/** Undefined where there can be no network namespaces. */
export async function startNetworkedCluster(
  options: NetworkedOptions,
): Promise<NetworkedCluster | undefined> {
  const nodes = options.disks.map((_, index) => `node-${index + 1}`);
  const gateways = Array.from({ length: options.gateways }, (_, index) => `gateway-${index + 1}`);
  const network = createNetwork(['meta', ...gateways, ...nodes]);
  if (network === undefined) return undefined;
  const at = (name: string, port: number): string => `${network.addresses.get(name)}:${port}`;
  const env = {
    ...options.env,
    ASHLAR_CLUSTER_SECRET: SECRET,
    ASHLAR_META_ADDRESS: at('meta', 9010),
  };
  const keys = {
    ASHLAR_ROOT_ACCESS_KEY: TEST_KEYS.accessKey,
    ASHLAR_ROOT_SECRET_KEY: TEST_KEYS.secretKey,
  };
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('ASHLAR_'));
  const roles: Role[] = [];
  let output = '';
  let stopping = false;
  let held: Promise<void> = Promise.resolve();

  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString('utf8')).slice(-1_000_000);
  };
  const launch = (one: Role): void => {
    const [command = '', ...words] = network.inside(one.name);
    const child = spawn(command, [...words, process.execPath, ENTRY, one.role, ...one.args], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...Object.fromEntries(inherited), ...env, ...keys },
    });
    one.child = child;
    one.over = false;
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    child.on('message', (message: { ready?: Record<string, string> }) => {
      one.ready = message.ready ?? one.ready;
    });
    child.once('exit', (code) => {
      one.child = undefined;
      one.ready = undefined;
      one.over = stopping || code === REMOVED;
      if (one.over) return;
      void sleep(RESTART_MS)
        .then(() => held)
        .then(() => {
          if (!stopping) launch(one);
        });
    });
  };
  const add = (role: Role['role'], name: string, args: readonly string[]): void => {
    const one: Role = { role, name, args, child: undefined, ready: undefined, over: false };
    roles.push(one);
    launch(one);
  };
  const ready = (): Ready => {
    const up = roles.flatMap(({ role, name, child, ready: said }) =>
      child?.pid === undefined || said === undefined ? [] : [{ role, name, pid: child.pid }],
    );
    const urls = roles.flatMap(({ ready: said }) => (said?.['s3'] ? [said['s3']] : []));
    // Any gateway serves: each request takes the next one.
    const s3 = urls[Math.floor(Math.random() * urls.length)] ?? `http://${at('gateway-1', 9000)}`;
    return { s3, admin: '', admins: [], processes: up };
  };
  const until: Cluster['until'] = async (condition, what, timeoutMs = 60_000) => {
    const deadline = performance.now() + timeoutMs;
    while (!condition(ready())) {
      if (performance.now() > deadline) {
        throw new Error(`waited in vain for: ${what}. They printed:\n${output.slice(-4000)}`);
      }
      await sleep(20);
    }
  };
  const stop = async (): Promise<number | null> => {
    stopping = true;
    const running = roles.flatMap(({ child }) => child ?? []);
    // Nodes go last: the others write until their end.
    for (const child of running) child.kill('SIGTERM');
    const late = setTimeout(() => running.forEach((child) => child.kill('SIGKILL')), 20_000);
    for (const child of running) {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }
    clearTimeout(late);
    network.remove();
    return 0;
  };

  const startNode = (name: string, index: number): void =>
    add('node', name, [
      '--node-id',
      name,
      '--node-data',
      options.disks[index] ?? '',
      '--node-listen',
      at(name, 9020),
    ]);
  try {
    const metaData = join(options.folder, 'meta');
    add('meta', 'meta', ['--meta-data', metaData, '--meta-listen', at('meta', 9010)]);
    for (const [index, name] of nodes.slice(0, FIRST_NODES).entries()) startNode(name, index);
    for (const name of gateways) {
      add('gateway', name, ['--s3', at(name, 9000), '--admin', at(name, 9001)]);
    }
    await until(({ processes }) => processes.length === roles.length, 'the first processes');
    for (const [index, name] of nodes.entries()) if (index >= FIRST_NODES) startNode(name, index);
    await until(({ processes }) => processes.length === roles.length, 'the spare nodes');
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    folder: options.folder,
    network,
    output: () => output,
    ready,
    processes: (role) => ready().processes.filter((one) => one.role === role),
    client: () => s3Client(ready().s3),
    ashlar: (...args) => runCommand(args, { env }),
    until,
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      held = promise;
      return resolve;
    },
    revive(name) {
      const one = roles.find((role) => role.name === name);
      if (one?.over === true) launch(one);
    },
    stop,
  };
}
