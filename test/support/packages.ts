/**
 * Debian packages that some tests need. Installed by the tests themselves when they run as root;
 * otherwise those tests are skipped, loudly, with the command that would make them run.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export interface Tool {
  /** The command, as Debian installs it: other copies on the PATH are of other versions. */
  path: string;
  package: string;
}

const there = (tool: Tool): boolean => existsSync(tool.path);

let updated = false;

/** The reason why `tools` cannot be had, or undefined when all of them are there. */
export function installTools(tools: readonly Tool[]): string | undefined {
  const missing = tools.filter((tool) => !there(tool));
  if (missing.length === 0) return undefined;
  const packages = missing.map((tool) => tool.package);
  const command = `apt-get install -y ${packages.join(' ')}`;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    return `not installed: ${packages.join(', ')}. Run as root: ${command}`;
  }
  console.log(`Installing Debian packages for the client tests: ${packages.join(', ')} ...`);
  if (!updated) spawnSync('apt-get', ['update', '-qq'], { stdio: 'inherit' });
  updated = true;
  spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  const still = tools.filter((tool) => !there(tool));
  return still.length === 0
    ? undefined
    : `apt-get could not install ${still.map((tool) => tool.package).join(', ')}`;
}
