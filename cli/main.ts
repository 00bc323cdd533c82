/** The `ashlar` command. Each verb loads what it needs: a storage node has no use for the S3 code. */
import { Command, CommanderError } from 'commander';
import { ConfigError, describeConfig, type Loaded, processEnvironment } from '../base/config.ts';
import { Failure } from '../base/failure.ts';
import { EXIT } from '../base/lifecycle.ts';
import { addOperatorCommands } from './operate/commands.ts';
import { addRescueCommands } from './operate/rescue-commands.ts';
import { VerbError } from './operate/exit.ts';
import { addSettings, settingFlags } from './options.ts';
import { loadSettings, type Settings } from './settings.ts';
import { StartFailure } from './supervisor.ts';
import { VERSION } from './version.ts';

type Options = Readonly<Record<string, unknown>>;

const load = (options: Options): Loaded<Settings> =>
  loadSettings(
    settingFlags(options),
    processEnvironment(),
    typeof options['config'] === 'string' ? options['config'] : undefined,
  );

const text = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;

const EVERY_ROLE = ['cluster', 'log', 'shutdownBound'];
/** How the metadata service looks after data; `ashlar start` hands it on. */
const CARE = [
  'journal',
  'snapshotEvery',
  'scrubEvery',
  'orphansEvery',
  'repairRate',
  'nodeOutAfter',
  'eventBacklog',
  'lifecycleDay',
].map((name) => `meta.${name}`);
const GATEWAY = [
  'root',
  's3',
  'website',
  'admin',
  'buckets',
  'replication',
  'encryption',
  'events',
  'accessLog',
  'limits',
];

function build(): Command {
  const program = new Command('ashlar')
    .description('S3-compatible object store with three replicas of everything.')
    .version(VERSION)
    .showHelpAfterError('(ashlar --help, ashlar COMMAND --help)')
    .exitOverride();

  addSettings(
    program
      .command('start')
      .description('Run everything on this machine: gateways, metadata service, storage nodes.')
      .option(
        '--ready-file <FILE>',
        'JSON file with URLs and processes, written once requests are served.',
      ),
    ['data', 'gateways', 'disks', 'node.freeFloor', ...CARE, ...GATEWAY, ...EVERY_ROLE],
  ).action(
    async (options: Options) =>
      await (await import('./start.ts')).runStart(load(options), text(options['readyFile'])),
  );

  addSettings(
    program
      .command('dev')
      .description(
        'A throw-away endpoint in one process; data is removed on exit unless --data is given.',
      )
      .option(
        '--ready-file <FILE>',
        'JSON file with URLs and processes, written once requests are served.',
      ),
    ['data', ...GATEWAY, ...EVERY_ROLE],
  ).action(
    async (options: Options) =>
      await (await import('./dev.ts')).runDev(load(options), text(options['readyFile'])),
  );

  addSettings(program.command('gateway').description('Run one gateway of a cluster.'), [
    ...GATEWAY,
    'meta.address',
    ...EVERY_ROLE,
  ]).action(
    async (options: Options) =>
      await (await import('./role-gateway.ts')).runGateway(load(options).value),
  );

  addSettings(program.command('meta').description('Run the metadata service of a cluster.'), [
    'meta.listen',
    'meta.data',
    'meta.mapSize',
    'meta.expectedNodes',
    ...CARE,
    ...EVERY_ROLE,
  ]).action(
    async (options: Options) => await (await import('./role-meta.ts')).runMeta(load(options).value),
  );

  addSettings(program.command('node').description('Run one storage node of a cluster.'), [
    'node',
    'meta.address',
    ...EVERY_ROLE,
  ]).action(
    async (options: Options) => await (await import('./role-node.ts')).runNode(load(options).value),
  );

  const config = program.command('config').description('Look at the configuration.');
  addSettings(
    config
      .command('show')
      .description('Print the effective settings; secrets are hidden.')
      .option('--sources', 'Say where each value comes from.')
      .option('--json', 'Print JSON.'),
    ['data', 'gateways', 'disks', 'meta', 'node', ...GATEWAY, ...EVERY_ROLE],
  ).action((options: Options) => showConfig(options));

  const profile = program
    .command('profile')
    .description('Client settings for the endpoint of a data folder.');
  addSettings(
    profile
      .command('print')
      .description('Print the AWS profile, the rclone remote and shell exports.')
      .option('--shell', 'Only the shell exports, for eval.')
      .option('--aws', 'Only the AWS profile.')
      .option('--rclone', 'Only the rclone remote.'),
    ['data', 's3'],
  ).action(async (options: Options) =>
    (await import('./profile-command.ts')).printProfile(load(options).value, options),
  );
  addSettings(
    profile
      .command('write')
      .description('Write the AWS profile "ashlar" and the rclone remote "ashlar:".'),
    ['data', 's3'],
  ).action(async (options: Options) =>
    (await import('./profile-command.ts')).saveProfile(load(options).value),
  );
  addOperatorCommands(program, load);
  addRescueCommands(program, load);
  return program;
}

function showConfig(options: Options): void {
  const lines = describeConfig(load(options));
  if (options['json'] === true) {
    console.log(JSON.stringify(lines, null, 2));
    return;
  }
  const width = Math.max(...lines.map((line) => line.path.length));
  for (const { path, value, source } of lines) {
    const shown = value === undefined ? '' : JSON.stringify(value);
    const from = options['sources'] === true ? `   # ${source}` : '';
    console.log(`${path.padEnd(width)}  ${shown}${from}`.trimEnd());
  }
}

/** The exit code for what stopped us; what a person should know is printed here and only here. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof ConfigError) {
    for (const problem of error.problems) console.error(`ashlar: ${problem}`);
    return EXIT.badConfig;
  }
  if (error instanceof VerbError) {
    console.error(`ashlar: ${error.message}`);
    return error.exitCode;
  }
  if (error instanceof StartFailure) {
    console.error(`ashlar: ${error.message}`);
    return error.exitCode;
  }
  if (error instanceof Failure) {
    console.error(`ashlar: ${error.message}`);
    return exitCode(error);
  }
  if (error instanceof Error && 'syscall' in error) {
    console.error(`ashlar: ${error.message}`);
    return EXIT.cannotCreate;
  }
  console.error(error);
  return EXIT.failed;
}

function exitCode(failure: Failure): number {
  switch (failure.kind) {
    case 'unavailable':
      return EXIT.tryAgain;
    case 'invalid':
    case 'corrupt':
    case 'conflict':
    case 'unauthenticated':
      return EXIT.badConfig;
    default:
      return EXIT.failed;
  }
}

try {
  await build().parseAsync(process.argv);
} catch (error) {
  process.exit(report(error));
}
