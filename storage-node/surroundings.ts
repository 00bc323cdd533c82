/** What a store asks of the machine: the space under a folder, and an end without delay. */
import { statfsSync } from 'node:fs';
import type { DiskSpace } from './space.ts';

/** The filesystem under `folder`. */
export function spaceOf(folder: string): DiskSpace {
  const { bsize, blocks, bavail } = statfsSync(folder);
  return { capacityBytes: bsize * blocks, freeBytes: bsize * bavail };
}

/** `process.exit` hangs after errors of LMDB. */
export function killSelf(): void {
  process.kill(process.pid, 'SIGKILL');
}
