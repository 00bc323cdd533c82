/** Exclusive use of a folder. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Failure } from './failure.ts';

/**
 * Exclusive use of the folder for as long as this process lives; the function returned ends it. Node
 * has no file locks of its own, but SQLite, which comes with it, takes one with an exclusive
 * transaction. The kernel drops it with the process, however that ends, so there is no stale lock, no
 * process id to be reused and no difference between containers that share a disk.
 *
 * Failure `unavailable` when somebody has it; `holder` says who that would be.
 */
export function lockFolder(folder: string, holder: string): () => void {
  const database = new DatabaseSync(join(folder, 'lock'), { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    throw new Failure(
      'unavailable',
      `${folder} is in use by another ${holder}. Stop that one first.`,
      {
        cause: error,
      },
    );
  }
  return () => {
    if (database.isOpen) database.close();
  };
}
