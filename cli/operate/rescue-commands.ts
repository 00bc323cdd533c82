/** The verbs of `rescue.ts` as the command line names them. */
import type { Command } from 'commander';
import type { Loaded } from '../../base/config.ts';
import { addSettings } from '../options.ts';
import type { Settings } from '../settings.ts';

type Options = Readonly<Record<string, unknown>>;
type Load = (options: Options) => Loaded<Settings>;

const NODES = [
  '--node <ADDRESS...>',
  'Addresses of the storage nodes; by default those in the folder of `ashlar start`.',
] as const;
const UNTIL = [
  '--until <TIME>',
  'Go back to this time, such as 2026-11-20T08:00:00Z; by default as new as can be.',
] as const;

const listOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.map(String).flatMap((one) => one.split(',')) : [];
const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;

async function screenOf(options: Options) {
  const { createScreen } = await import('./screen.ts');
  return createScreen(options['json'] === true);
}

export function addRescueCommands(program: Command, load: Load): void {
  const meta = program.commands.find((one) => one.name() === 'meta') ?? program;
  addSettings(
    meta
      .command('rebuild')
      .description('Make the metadata store anew from the storage nodes, after its disk was lost.')
      .option(...NODES)
      .option(...UNTIL)
      .option('--json', 'Print JSON.'),
    ['data', 'disks', 'meta.data', 'meta.mapSize', 'cluster'],
  ).action(async (_: Options, command: Command) => {
    const options = command.optsWithGlobals<Options>();
    const { rebuildMeta } = await import('./rescue.ts');
    const given = { addresses: listOf(options['node']), until: textOf(options['until']) };
    await rebuildMeta(load(options), await screenOf(options), given);
  });
  addBackups(program, load);
}

function addBackups(program: Command, load: Load): void {
  const backup = program.command('backup').description('Copies of the metadata in a folder.');
  addSettings(
    backup
      .command('create <FOLDER>')
      .description('Write a new backup below the folder.')
      .option(...NODES)
      .option('--json', 'Print JSON.'),
    ['data', 'disks', 'cluster'],
  ).action(async (folder: string, options: Options) => {
    const { makeBackup } = await import('./rescue.ts');
    await makeBackup(load(options), await screenOf(options), folder, listOf(options['node']));
  });
  backup
    .command('list <FOLDER>')
    .description('The backups below the folder.')
    .option('--json', 'Print JSON.')
    .action(async (folder: string, options: Options) => {
      await (await import('./rescue.ts')).showBackups(await screenOf(options), folder);
    });
  backup
    .command('verify <BACKUP>')
    .description('Read all of a backup and check every checksum.')
    .option('--json', 'Print JSON.')
    .action(async (folder: string, options: Options) => {
      await (await import('./rescue.ts')).checkBackup(await screenOf(options), folder);
    });
  addSettings(
    backup
      .command('restore <BACKUP>')
      .description('Make a metadata store from a backup, in a folder that holds none.')
      .option(...UNTIL)
      .option('--json', 'Print JSON.'),
    ['data', 'meta.data', 'meta.mapSize'],
  ).action(async (folder: string, options: Options) => {
    const { restoreBackup } = await import('./rescue.ts');
    const until = textOf(options['until']);
    await restoreBackup(load(options), await screenOf(options), folder, until);
  });
}
