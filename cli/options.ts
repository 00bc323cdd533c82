/** Settings as command-line flags: every setting has one, the common ones a short name too. */
import type { Command } from 'commander';
import { type Leaf, leavesOf } from '../base/config.ts';
import { settingsSchema } from './settings.ts';

/** Short names for what people type most. */
const SHORT: Readonly<Record<string, { flag: string; value: string; many?: boolean }>> = {
  's3.listen': { flag: '--s3', value: 'HOST:PORT' },
  'admin.listen': { flag: '--admin', value: 'HOST:PORT' },
  buckets: { flag: '--bucket', value: 'NAME', many: true },
  disks: { flag: '--disk', value: 'FOLDER', many: true },
  's3.domains': { flag: '--domain', value: 'NAME', many: true },
};

/** `--s3-public-url` as commander names it: `s3PublicUrl`. */
const attribute = (flag: string): string =>
  flag.slice(2).replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

const collect = (value: string, previous: string[] | undefined): string[] => [
  ...(previous ?? []),
  ...value.split(','),
];

/** Adds a flag for each setting below one of `prefixes`. */
export function addSettings(command: Command, prefixes: readonly string[]): Command {
  for (const leaf of selected(prefixes)) {
    const short = SHORT[leaf.path];
    if (short !== undefined) {
      const term = `${short.flag} <${short.value}>`;
      if (short.many === true) command.option(term, leaf.description, collect);
      else command.option(term, leaf.description);
    }
    // A secret on a command line is visible to every user of the machine: file or variable only.
    if (!leaf.secret && short === undefined) {
      command.option(`${leaf.flag} <value>`, leaf.description);
    }
  }
  return command.option('--config <FILE>', 'YAML file with settings.');
}

/** The settings given as flags, by path. */
export function settingFlags(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    leavesOf(settingsSchema).flatMap((leaf) => {
      const value = options[attribute(SHORT[leaf.path]?.flag ?? leaf.flag)];
      return value === undefined ? [] : [[leaf.path, value]];
    }),
  );
}

function selected(prefixes: readonly string[]): Leaf[] {
  return leavesOf(settingsSchema).filter((leaf) =>
    prefixes.some((prefix) => leaf.path === prefix || leaf.path.startsWith(`${prefix}.`)),
  );
}
