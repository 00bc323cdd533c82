/**
 * `ashlar start`: everything on this machine, as supervised processes. Separate processes, because
 * a damaged LMDB file can end its process by SIGBUS, and that must not take the gateways along.
 */
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemEffects } from '../base/clock.ts';
import { ConfigError, type Loaded, processEnvironment, settingAt } from '../base/config.ts';
import { stopOnSignals } from '../base/lifecycle.ts';
import { createLog, type Log } from '../base/log.ts';
import { banner } from './banner.ts';
import { CREDENTIALS_FILE, clusterSecret, folderCredentials } from './credentials.ts';
import { writeEndpoint } from './endpoint.ts';
import { startProcess } from './processes.ts';
import { writeReadyFile } from './ready-file.ts';
import { connectMeta } from './roles.ts';
import { defaultDataFolder, parseListen, type Settings } from './settings.ts';
import {
  createSupervisor,
  type ProcessSpec,
  type ReadyMessage,
  type Supervisor,
} from './supervisor.ts';
import { commandName, terminalLogLevel } from './terminal.ts';
import { VERSION } from './version.ts';

const effects = systemEffects;
const ENTRY = fileURLToPath(import.meta.url).replace(/start(\.[jt]s)$/, 'main$1');

/** How long a role may take to stop beyond its own bound before it is killed. */
const STOP_MARGIN_MS = 5_000;

interface Plan {
  folder: string;
  settings: Settings;
  /** Settings for each role, as variables. */
  env: Readonly<Record<string, string | undefined>>;
  generatedKeys: boolean;
  disks: string[];
  /** Where a role listens: a Unix socket, cheaper than TCP; undefined where there is none. */
  socket(name: string): string | undefined;
}

/** Runs until a signal ends it. */
export async function runStart(
  loaded: Loaded<Settings>,
  readyFile: string | undefined,
): Promise<void> {
  const terminal = process.stdout.isTTY === true;
  await refuseTakenPort(loaded.value.s3.listen, 's3.listen');
  if (loaded.value.admin.listen !== 'off') {
    await refuseTakenPort(loaded.value.admin.listen, 'admin.listen');
  }
  const plan = makePlan(loaded);
  const { settings } = plan;
  const log = createLog({ level: terminalLogLevel(loaded), fields: { role: 'supervisor' } });

  let endpoint: { s3: string; admin: string } | undefined;
  const changed = (): void => {
    if (readyFile === undefined || endpoint === undefined) return;
    writeReadyFile(readyFile, { ...endpoint, processes: supervisor.processes() }, effects.random);
  };
  const supervisor = createSupervisor({ effects, log, changed });
  const boundMs = settings.shutdownBound + STOP_MARGIN_MS;
  stopOnSignals({
    process,
    clock: effects.clock,
    log,
    boundMs: 3 * boundMs,
    // Against the stream: first those that ask, then those that are asked.
    stop: async () => {
      for (const role of ['gateway', 'node', 'meta'] as const) await supervisor.stop(role, boundMs);
      if (terminal) console.log('  Ashlar has stopped.');
    },
  });
  const progress = (text: string): void => {
    if (terminal) console.log(`  starting: ${text} ...`);
  };
  const started = await startRoles(plan, supervisor, progress);
  endpoint = { s3: started.s3, admin: started.admin };
  writeEndpoint(plan.folder, { url: started.s3, region: settings.s3.region }, effects.random);
  changed();
  if (terminal) await showBanner(plan, started, log);
  else log.info({ ...endpoint, data: plan.folder, accessKey: settings.root.accessKey }, 'serving');
}

function makePlan(loaded: Loaded<Settings>): Plan {
  const environment = processEnvironment();
  const folder = resolve(loaded.value.data ?? defaultDataFolder(environment));
  const { root, disks } = loaded.value;
  if ((root.accessKey === undefined) !== (root.secretKey === undefined)) {
    throw new ConfigError([
      'Set both ASHLAR_ROOT_ACCESS_KEY and ASHLAR_ROOT_SECRET_KEY, or neither: then a pair is generated.',
    ]);
  }
  if (disks.length > 0 && disks.length < 3) {
    throw new ConfigError(['--disk: three replicas need three folders or more.']);
  }
  const { accessKey, secretKey } = root;
  const { credentials, generated } =
    accessKey !== undefined && secretKey !== undefined
      ? { credentials: { accessKey, secretKey }, generated: false }
      : folderCredentials(folder, effects.random);
  const secret = loaded.value.cluster.secret ?? clusterSecret(folder, effects.random);
  return {
    folder,
    settings: { ...loaded.value, root: credentials, cluster: { secret } },
    env: {
      ...roleEnvironment(environment, loaded),
      ASHLAR_ROOT_ACCESS_KEY: credentials.accessKey,
      ASHLAR_ROOT_SECRET_KEY: credentials.secretKey,
      ASHLAR_CLUSTER_SECRET: secret,
      ASHLAR_LOG_LEVEL: terminalLogLevel(loaded),
    },
    generatedKeys: generated,
    disks:
      disks.length > 0
        ? disks.map((disk) => resolve(disk))
        : [1, 2, 3].map((number) => join(folder, `node-${number}`)),
    socket: (name) => socketAddress(join(folder, 'run'), name),
  };
}

/** Linux takes 107 bytes for a socket's path; a longer one, or Windows, means TCP on loopback. */
const SOCKET_PATH_BYTES_MAX = 100;

function socketAddress(folder: string, name: string): string | undefined {
  const path = join(folder, `${name}.sock`);
  if (process.platform === 'win32' || Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    return undefined;
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return `unix:${path}`;
}

/** The roles read their settings as everybody does: whatever was given travels as variables. */
function roleEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  loaded: Loaded<Settings>,
): Record<string, string | undefined> {
  const others = Object.entries(environment).filter(([name]) => !name.startsWith('ASHLAR_'));
  const given = loaded.leaves
    .filter((leaf) => !leaf.secret && loaded.sources.get(leaf.path) !== 'default')
    .map((leaf): [string, string] => {
      const value = settingAt(loaded.value, leaf.path);
      return [leaf.variable, Array.isArray(value) ? value.join(',') : String(value)];
    });
  return Object.fromEntries([...others, ...given]);
}

interface Started {
  s3: string;
  admin: string;
  metaAddress: string;
}

/** Metadata service, nodes, the first gateway (which settles the ports), the other gateways. */
async function startRoles(
  plan: Plan,
  supervisor: Supervisor,
  progress: (text: string) => void,
): Promise<Started> {
  const { settings, env } = plan;
  const role = (
    name: ProcessSpec['role'],
    title: string,
    variables: (previous: ReadyMessage | undefined) => Record<string, string>,
  ): Promise<ReadyMessage> =>
    supervisor.run({
      role: name,
      name: title,
      start: (events, previous) =>
        startProcess(
          { entry: ENTRY, args: [name], env: { ...env, ...variables(previous) } },
          events,
        ),
    });

  progress('metadata service');
  const meta = await role('meta', 'meta', (previous) => ({
    ASHLAR_META_DATA: join(plan.folder, 'meta'),
    ASHLAR_META_LISTEN: plan.socket('meta') ?? previous?.['address'] ?? '127.0.0.1:0',
    ASHLAR_META_EXPECTED_NODES: String(plan.disks.length),
  }));
  const metaAddress = meta['address'] ?? '';
  progress('storage nodes');
  await Promise.all(
    plan.disks.map((disk, index) => {
      const id = `node-${index + 1}`;
      return role('node', id, (previous) => ({
        ASHLAR_NODE_ID: id,
        ASHLAR_NODE_DATA: disk,
        ASHLAR_NODE_LISTEN: plan.socket(id) ?? previous?.['address'] ?? '127.0.0.1:0',
        ASHLAR_META_ADDRESS: metaAddress,
      }));
    }),
  );
  progress('gateways');
  const count = settings.gateways ?? availableParallelism();
  const share = String(count > 1);
  const first = await role('gateway', 'gateway-1', (previous) => ({
    ASHLAR_META_ADDRESS: metaAddress,
    ASHLAR_S3_SHARE_PORT: share,
    ...(previous === undefined
      ? {}
      : {
          ASHLAR_S3_LISTEN: hostPort(previous['s3']),
          ASHLAR_ADMIN_LISTEN: hostPort(previous['admin']),
        }),
  }));
  await Promise.all(
    Array.from({ length: count - 1 }, (_, index) =>
      role('gateway', `gateway-${index + 2}`, () => ({
        ASHLAR_META_ADDRESS: metaAddress,
        ASHLAR_S3_SHARE_PORT: share,
        ASHLAR_S3_LISTEN: hostPort(first['s3']),
        ASHLAR_ADMIN_LISTEN: 'off',
        ASHLAR_BUCKETS: '',
      })),
    ),
  );
  return { s3: first['s3'] ?? '', admin: first['admin'] ?? '', metaAddress };
}

/** `127.0.0.1:9000` of `http://127.0.0.1:9000`; `off` of nothing. */
const hostPort = (url: string | undefined): string =>
  url === undefined || url === '' ? 'off' : url.replace(/^https?:\/\//, '');

/**
 * Gateways share their port, so the kernel would let a second Ashlar share it too. Listening once
 * without sharing fails if anybody is there.
 */
function refuseTakenPort(listen: string, setting: string): Promise<void> {
  const { host, port } = parseListen(listen, setting);
  if (port === 0) return Promise.resolve();
  return new Promise((done, reject) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === 'EADDRINUSE'
          ? `${listen} is in use by another program. Stop it, or choose another address for ${setting}.`
          : `cannot listen on ${listen} (${setting}): ${error.message}`;
      reject(new ConfigError([reason]));
    });
    probe.listen({ host, port }, () => probe.close(() => done()));
  });
}

async function showBanner(plan: Plan, started: Started, log: Log): Promise<void> {
  const { settings } = plan;
  const client = connectMeta(started.metaAddress, settings.cluster.secret ?? '', log);
  try {
    const command = `${commandName(processEnvironment())} profile print --data ${plan.folder}`;
    console.log(
      banner({
        version: VERSION,
        mode: 'start',
        s3: started.s3,
        admin: started.admin,
        region: settings.s3.region,
        accessKey: settings.root.accessKey ?? '',
        secretKey: plan.generatedKeys ? settings.root.secretKey : undefined,
        secretHint: join(plan.folder, CREDENTIALS_FILE),
        buckets: settings.buckets,
        data: plan.folder,
        dataIsTemporary: false,
        status: await client.meta.status(),
        profileCommand: command,
      }),
    );
  } finally {
    await client.close();
  }
}
