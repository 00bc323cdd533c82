/**
 * `ashlar start`: everything on this machine, as supervised processes. Separate processes, because
 * a damaged LMDB file can end its process by SIGBUS, and that must not take the gateways along.
 */
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { holdProcess, systemEffects } from '../base/clock.ts';
import { ConfigError, type Loaded, processEnvironment, settingAt } from '../base/config.ts';
import { stopOnSignals } from '../base/lifecycle.ts';
import { createLog, type Log } from '../base/log.ts';
import { nodeNameIn } from '../storage-node/main.ts';
import { banner } from './banner.ts';
import {
  CREDENTIALS_FILE,
  clusterSecret,
  folderCredentials,
  folderMasterKeys,
} from './credentials.ts';
import { encryptionConfig } from './gateway-settings.ts';
import { chooseDisks, type Disk, readDisks, rememberDisks } from './disks.ts';
import { writeEndpoint } from './endpoint.ts';
import { writeWhole } from './files.ts';
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
  disks: Disk[];
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
  if (loaded.value.website.listen !== 'off') {
    await refuseTakenPort(loaded.value.website.listen, 'website.listen');
  }
  if (loaded.value.admin.listen !== 'off') {
    await refuseTakenPort(loaded.value.admin.listen, 'admin.listen');
  }
  const plan = makePlan(loaded);
  const { settings } = plan;
  const log = createLog({ level: terminalLogLevel(loaded), fields: { role: 'supervisor' } });

  let endpoint: Endpoints | undefined;
  const changed = (): void => {
    if (readyFile === undefined || endpoint === undefined) return;
    writeReadyFile(readyFile, { ...endpoint, processes: supervisor.processes() }, effects.random);
  };
  // Between two lives of a process there may be nothing else to wait for.
  holdProcess();
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
  const started = await startRoles(plan, supervisor, log, progress);
  const { s3, website, admin, admins, metaAddress } = started;
  endpoint = { s3, website, admin, admins };
  const { region } = settings.s3;
  writeEndpoint(plan.folder, { url: s3, region, meta: metaAddress, admins }, effects.random);
  writeScrapeTargets(plan.folder, admins);
  changed();
  if (terminal) await showBanner(plan, started, log);
  else log.info({ ...endpoint, data: plan.folder, accessKey: settings.root.accessKey }, 'serving');
}

function makePlan(loaded: Loaded<Settings>): Plan {
  const environment = processEnvironment();
  const folder = resolve(loaded.value.data ?? defaultDataFolder(environment));
  // What lies below is nobody else's business: blocks and metadata are not encrypted at rest.
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { root, disks } = loaded.value;
  if ((root.accessKey === undefined) !== (root.secretKey === undefined)) {
    throw new ConfigError([
      'Set both ASHLAR_ROOT_ACCESS_KEY and ASHLAR_ROOT_SECRET_KEY, or neither: then a pair is generated.',
    ]);
  }
  const { accessKey, secretKey } = root;
  const { credentials, generated } =
    accessKey !== undefined && secretKey !== undefined
      ? { credentials: { accessKey, secretKey }, generated: false }
      : folderCredentials(folder, effects.random);
  const secret = loaded.value.cluster.secret ?? clusterSecret(folder, effects.random);
  const masterKeys = startMasterKeys(folder, loaded.value);
  const remembered = readDisks(folder);
  const chosen = chooseDisks({ data: folder, given: disks, remembered, nameIn: nodeNameIn });
  rememberDisks(folder, chosen, remembered, effects.random);
  return {
    folder,
    settings: {
      ...loaded.value,
      root: credentials,
      cluster: { secret },
      encryption: { ...loaded.value.encryption, masterKeys },
    },
    env: {
      // A process that starts again reads compiled code: that takes a third of the time.
      NODE_COMPILE_CACHE: join(folder, 'run', 'code'),
      ...roleEnvironment(environment, loaded),
      ASHLAR_ROOT_ACCESS_KEY: credentials.accessKey,
      ASHLAR_ROOT_SECRET_KEY: credentials.secretKey,
      ASHLAR_CLUSTER_SECRET: secret,
      ASHLAR_LOG_LEVEL: terminalLogLevel(loaded),
    },
    generatedKeys: generated,
    disks: chosen,
    socket: (name) => socketAddress(join(folder, 'run'), name),
  };
}

/** As configured, or else those of the folder, where the first start makes one. */
function startMasterKeys(folder: string, settings: Settings): string[] {
  const { masterKeys } = settings.encryption;
  const keys = masterKeys.length > 0 ? masterKeys : folderMasterKeys(folder, effects.random);
  // Better now than in each gateway.
  encryptionConfig({ ...settings, encryption: { ...settings.encryption, masterKeys: keys } });
  return keys;
}

/** Keys travel to the gateways only. */
function keyVariables({ encryption, s3 }: Settings): Record<string, string> {
  return {
    ASHLAR_S3_ACCOUNTS: variableOf(s3.accounts),
    ASHLAR_ENCRYPTION_MASTER_KEYS: encryption.masterKeys.join(','),
    ASHLAR_ENCRYPTION_KMS_KEYS: encryption.kms.keys.join(','),
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
      return [leaf.variable, variableOf(value)];
    });
  return Object.fromEntries([...others, ...given]);
}

/** A list of names as people write it; a list of records as JSON, which is read the same. */
function variableOf(value: unknown): string {
  if (!Array.isArray(value)) return String(value);
  const plain = value.every((item) => typeof item === 'string');
  return plain ? value.join(',') : JSON.stringify(value);
}

interface Endpoints {
  s3: string;
  /** Undefined when there is none. */
  website: string | undefined;
  /** Admin URL of the first gateway, and of all of them. */
  admin: string;
  admins: string[];
}

interface Started extends Endpoints {
  metaAddress: string;
}

type StartRole = (
  spec: Omit<ProcessSpec, 'start'>,
  variables: (previous: ReadyMessage | undefined) => Record<string, string>,
) => Promise<ReadyMessage>;

/** Metadata service, nodes, the first gateway (which settles the ports), the other gateways. */
async function startRoles(
  plan: Plan,
  supervisor: Supervisor,
  log: Log,
  progress: (text: string) => void,
): Promise<Started> {
  const role: StartRole = (spec, variables) =>
    supervisor.run({
      ...spec,
      start: (events, previous) =>
        startProcess(
          { entry: ENTRY, args: [spec.role], env: { ...plan.env, ...variables(previous) } },
          events,
        ),
    });
  progress('metadata service');
  const meta = await role({ role: 'meta', name: 'meta' }, (previous) => ({
    ASHLAR_META_DATA: join(plan.folder, 'meta'),
    ASHLAR_META_LISTEN: plan.socket('meta') ?? previous?.['address'] ?? '127.0.0.1:0',
    ASHLAR_META_EXPECTED_NODES: String(plan.disks.length),
  }));
  const metaAddress = meta['address'] ?? '';
  progress('storage nodes');
  await startNodes(plan, role, metaAddress, log);
  progress('gateways');
  return { ...(await startGateways(plan.settings, role, metaAddress)), metaAddress };
}

/** How long a start waits for its last nodes when those that are there are enough to serve. */
const LATE_NODES_MS = 10_000;
const LOOK_MS = 500;

/**
 * Two nodes of a cluster that has its layout are enough to go on: one that refuses to start, checks its
 * store or waits for `ashlar node replace` must not keep the others from serving.
 */
async function startNodes(
  plan: Plan,
  role: StartRole,
  metaAddress: string,
  log: Log,
): Promise<void> {
  const waiting = new Set(plan.disks.map(({ id }) => id));
  const starting = Promise.allSettled(
    plan.disks.map(async ({ id, folder }) => {
      await role({ role: 'node', name: id, keepTrying: true }, (previous) => ({
        ASHLAR_NODE_ID: id,
        ASHLAR_NODE_DATA: folder,
        ASHLAR_NODE_LISTEN: plan.socket(id) ?? previous?.['address'] ?? '127.0.0.1:0',
        ASHLAR_META_ADDRESS: metaAddress,
      }));
      waiting.delete(id);
    }),
  );
  const client = connectMeta(metaAddress, plan.settings.cluster.secret ?? '', log);
  const enough = async (): Promise<boolean> => {
    const { view } = await client.meta.status();
    const placed = new Set(view.layout?.nodes.map(({ id }) => id));
    return view.nodes.filter(({ id, state }) => state === 'up' && placed.has(id)).length >= 2;
  };
  try {
    const outcomes = await Promise.race([starting, lateNodes(enough)]);
    const refused = outcomes?.find((outcome) => outcome.status === 'rejected');
    if (refused !== undefined && !(await enough())) throw refused.reason;
  } finally {
    await client.close();
  }
  if (waiting.size === 0) return;
  const reason = 'not ready yet; see its messages above';
  log.warn({ nodes: [...waiting], reason }, 'going on without some storage nodes');
}

/** Resolves when it has waited long enough and those that are there are enough. */
async function lateNodes(enough: () => Promise<boolean>): Promise<undefined> {
  await effects.clock.sleep(LATE_NODES_MS);
  while (!(await enough().catch(() => false))) await effects.clock.sleep(LOOK_MS);
  return undefined;
}

/**
 * All gateways share the S3 port. Each has an admin endpoint of its own, since each counts its own
 * requests: the first one where it was asked for, the others on any free port of that host.
 */
async function startGateways(
  settings: Settings,
  role: StartRole,
  metaAddress: string,
): Promise<Endpoints> {
  const { s3, website, admin } = settings;
  const count = settings.gateways ?? availableParallelism();
  const common = {
    ASHLAR_META_ADDRESS: metaAddress,
    ...keyVariables(settings),
    ASHLAR_S3_SHARE_PORT: String(count > 1),
  };
  const first = await role({ role: 'gateway', name: 'gateway-1' }, (previous) => ({
    ...common,
    ASHLAR_S3_LISTEN: again(s3.listen, previous?.['s3']),
    ASHLAR_WEBSITE_LISTEN: again(website.listen, previous?.['website']),
    ASHLAR_ADMIN_LISTEN: again(admin.listen, previous?.['admin']),
  }));
  const anyPort = admin.listen.replace(/:\d+$/, ':0');
  const others = await Promise.all(
    Array.from({ length: count - 1 }, (_, index) =>
      role({ role: 'gateway', name: `gateway-${index + 2}` }, (previous) => ({
        ...common,
        ASHLAR_S3_LISTEN: again(s3.listen, first['s3']),
        ASHLAR_WEBSITE_LISTEN: again(website.listen, first['website']),
        ASHLAR_ADMIN_LISTEN: again(anyPort, previous?.['admin']),
        ASHLAR_BUCKETS: '',
      })),
    ),
  );
  const admins = [first, ...others].flatMap((ready) => ready['admin'] || []);
  const site = first['website'] || undefined;
  return { s3: first['s3'] ?? '', website: site, admin: first['admin'] ?? '', admins };
}

/** Where `listen` was bound before: its own host, and the port of that URL. */
function again(listen: string, url: string | undefined): string {
  const port = /:(\d+)$/.exec(url ?? '')?.[1];
  return port === undefined ? listen : listen.replace(/:\d+$/, `:${port}`);
}

/** For Prometheus (`file_sd_configs`): one target per gateway. */
function writeScrapeTargets(folder: string, admins: readonly string[]): void {
  const targets = admins.map((url) => url.replace(/^https?:\/\//, ''));
  const text = JSON.stringify([{ targets, labels: { job: 'ashlar' } }], null, 2);
  writeWhole(join(folder, 'prometheus-targets.json'), `${text}\n`, effects.random);
}

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
    const command = commandName(processEnvironment());
    console.log(
      banner({
        version: VERSION,
        mode: 'start',
        s3: started.s3,
        website: started.website,
        admin: started.admin,
        region: settings.s3.region,
        accessKey: settings.root.accessKey ?? '',
        secretKey: plan.generatedKeys ? settings.root.secretKey : undefined,
        secretHint: join(plan.folder, CREDENTIALS_FILE),
        buckets: settings.buckets,
        data: plan.folder,
        dataIsTemporary: false,
        status: await client.meta.status(),
        command,
        profileCommand: `${command} profile print --data ${plan.folder}`,
      }),
    );
  } finally {
    await client.close();
  }
}
