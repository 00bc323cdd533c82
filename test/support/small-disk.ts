/** Small real filesystems for tests of full disks: ext4 in a file, mounted through a loop device. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MIB = 1024 * 1024;

export interface SmallDisks {
  /** Mount points, one per disk. */
  folders: string[];
  remove(): void;
}

/** Undefined where this user or this machine cannot mount; `sizes` in MiB. */
export function mountSmallDisks(sizes: readonly number[]): SmallDisks | undefined {
  const root = mkdtempSync(join(tmpdir(), 'ashlar-disks-'));
  const mounted: string[] = [];
  const remove = (): void => {
    for (const folder of mounted.splice(0)) run('umount', folder);
    rmSync(root, { recursive: true, force: true });
  };
  for (const [index, size] of sizes.entries()) {
    const image = join(root, `disk-${index}.img`);
    const folder = join(root, `disk-${index}`);
    mkdirSync(folder);
    writeFileSync(image, '');
    const made =
      run('truncate', '-s', String(size * MIB), image) &&
      run('mkfs.ext4', '-q', '-F', '-m', '0', image) &&
      run('mount', '-o', 'loop', image, folder);
    if (!made) {
      remove();
      return undefined;
    }
    mounted.push(folder);
  }
  return { folders: mounted.map((folder) => join(folder, 'node')), remove };
}

function run(command: string, ...args: string[]): boolean {
  // Root's tools are not on everybody's PATH.
  const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
  return spawnSync(command, args, { stdio: 'ignore', env }).status === 0;
}
