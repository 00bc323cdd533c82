/**
 * The folder of the metadata store: whose it is, who uses it now, and whether it was left in order.
 *
 *   meta.json   identity: format, cluster id, generation (grows with every start)
 *   lock        held by the process that uses the folder
 *   clean       there while the store is closed in order
 *   store/      the LMDB environment
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { syncFolder, writeFileDurably } from '../../base/durable-file.ts';
import { Failure } from '../../base/failure.ts';
import { lockFolder } from '../../base/folder-lock.ts';

/**
 * Of everything in the folder. A newer one is refused. Format 1, whose rows had no checksums, was
 * never released and is refused too.
 */
const FOLDER_FORMAT = 2;

const identitySchema = z.object({
  format: z.number().int(),
  clusterId: z.string().optional(),
  generation: z.number().int().min(0),
});

export interface MetaFolder {
  /** The environment's folder. */
  readonly store: string;
  /** True when there is a store that was not closed in order: check it before opening it. */
  readonly unclean: boolean;
  /** The store is open: it is unclean from now on, until `release`. */
  opened(): void;
  /** Remembers the cluster, or compares: Failure `corrupt` when the store is of another one. */
  belongsTo(clusterId: string): void;
  /** Gives the folder up. `clean`: the store was closed in order. */
  release(options: { clean: boolean }): void;
}

/**
 * Takes possession of the folder, creating it when needed. Failures: `unavailable` (another process
 * uses it), `invalid` (a newer format, not readable), `corrupt` (its store is gone).
 */
export function openMetaFolder(folder: string): MetaFolder {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const unlock = lockFolder(folder, 'metadata service');
  try {
    return new OwnedFolder(folder, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

class OwnedFolder implements MetaFolder {
  readonly store: string;
  readonly unclean: boolean;
  readonly #folder: string;
  readonly #unlock: () => void;
  readonly #identity: { clusterId: string | undefined; generation: number };

  constructor(folder: string, unlock: () => void) {
    this.#folder = folder;
    this.#unlock = unlock;
    this.store = join(folder, 'store');
    const known = readIdentity(folder);
    const hasStore = existsSync(join(this.store, 'data.mdb'));
    if (known?.clusterId !== undefined && !hasStore) {
      throw new Failure(
        'corrupt',
        `the metadata store is gone from ${folder}. If its disk is not mounted, mount it. If it is ` +
          'lost, move what is left of the folder away and make the store anew from the storage ' +
          'nodes with `ashlar meta rebuild`. Do not start with an empty folder.',
      );
    }
    if (known === undefined && hasStore) {
      throw new Failure('invalid', `${folder} holds a store but no meta.json: restore that file.`);
    }
    this.#identity = known ?? { clusterId: undefined, generation: 0 };
    if (known === undefined) this.#save();
    this.unclean = hasStore && !existsSync(this.#cleanMarker);
  }

  get #cleanMarker(): string {
    return join(this.#folder, 'clean');
  }

  opened(): void {
    rmSync(this.#cleanMarker, { force: true });
    this.#identity.generation += 1;
    this.#save();
    syncFolder(this.store);
  }

  belongsTo(clusterId: string): void {
    const known = this.#identity.clusterId;
    if (known === clusterId) return;
    if (known !== undefined) {
      throw new Failure(
        'corrupt',
        `${this.#folder} belongs to cluster ${known}, but its store is of ${clusterId}: ` +
          'the files of two clusters have been mixed. Restore the right ones.',
      );
    }
    this.#identity.clusterId = clusterId;
    this.#save();
  }

  release(options: { clean: boolean }): void {
    if (options.clean) writeFileDurably(this.#cleanMarker, '');
    this.#unlock();
  }

  #save(): void {
    const text = JSON.stringify({ format: FOLDER_FORMAT, ...this.#identity }, null, 2);
    writeFileDurably(identityFile(this.#folder), `${text}\n`);
  }
}

const identityFile = (folder: string): string => join(folder, 'meta.json');

function readIdentity(
  folder: string,
): { clusterId: string | undefined; generation: number } | undefined {
  const path = identityFile(folder);
  if (!existsSync(path)) return undefined;
  const parsed = identitySchema.safeParse(parseJson(readFileSync(path, 'utf8')));
  if (!parsed.success) throw new Failure('invalid', `${path} is not readable: restore it.`);
  const { format, clusterId, generation } = parsed.data;
  if (format > FOLDER_FORMAT) {
    throw new Failure(
      'invalid',
      `${folder} was written by a newer version (format ${format}, this one knows ` +
        `${FOLDER_FORMAT}). Start that version again.`,
    );
  }
  if (format < FOLDER_FORMAT) {
    throw new Failure(
      'invalid',
      `${folder} was written by a version before the first release (format ${format}): ` +
        'this version cannot read it. Start with an empty data folder.',
    );
  }
  return { clusterId, generation };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
