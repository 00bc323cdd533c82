/**
 * A storage node's folder: who it belongs to, who uses it now, and whether it was left in order.
 *
 *   node.json   identity: format, node id, cluster id, disk id, generation (grows with every start)
 *   lock        held by the process that uses the folder
 *   clean       there while the store is closed in order
 *   blocks/     the LMDB environment
 *   journal/    another one: the metadata service's journal and snapshots
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { syncFolder, writeFileDurably } from '../base/durable-file.ts';
import { Failure } from '../base/failure.ts';
import { lockFolder } from '../base/folder-lock.ts';
import { dataFile } from './block-store.ts';

/** Of everything in the folder. A newer one is refused, an older one would be migrated. */
export const FOLDER_FORMAT = 1;

const identitySchema = z.object({
  format: z.number().int(),
  id: z.string(),
  clusterId: z.string().optional(),
  disk: z.string().optional(),
  generation: z.number().int().min(0),
});

export interface NodeIdentity {
  id: string;
  /** The cluster that the blocks belong to; known from the first registration on. */
  clusterId: string | undefined;
  /** Random, made with the folder: tells it from one that takes its place under the same node id. */
  disk: string;
  /** How often the node has opened its store; tells an old copy of the folder from the present one. */
  generation: number;
}

export interface NodeFolder {
  readonly identity: NodeIdentity;
  /** The environment's folder. */
  readonly blocks: string;
  /** Folder of the environment that holds the metadata journal. */
  readonly journal: string;
  /** True when there is a store that was not closed in order: check it before opening it. */
  readonly unclean: boolean;
  /** The store is about to be opened, which may end the process: from now on it is unclean. */
  opening(): void;
  /** The store is open. */
  opened(): void;
  /** Remembers the cluster, durably. */
  join(clusterId: string): void;
  /** The metadata service refused this start: it does not count, so that repeating it changes nothing. */
  refused(): void;
  /** Gives the folder up. `clean`: the store was closed in order. */
  release(options: { clean: boolean }): void;
}

export interface FolderOptions {
  folder: string;
  /** The id that the folder must have; undefined: whichever it has. */
  id?: string | undefined;
  /** Names a blank folder when no id is given. */
  newId: () => string;
  /** The id of a disk that has none yet. */
  newDisk: () => string;
}

/**
 * Takes possession of the folder, creating it when needed. Failures: `unavailable` (another process
 * uses it), `invalid` (another node's, a newer format, not readable), `corrupt` (its store is gone).
 */
export function openNodeFolder(options: FolderOptions): NodeFolder {
  const { folder } = options;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const unlock = lockFolder(folder, 'storage node process');
  try {
    return new OwnedFolder(options, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

class OwnedFolder implements NodeFolder {
  readonly identity: NodeIdentity;
  readonly blocks: string;
  readonly journal: string;
  readonly unclean: boolean;
  readonly #folder: string;
  readonly #unlock: () => void;

  constructor(options: FolderOptions, unlock: () => void) {
    const { folder, id, newId, newDisk } = options;
    this.#folder = folder;
    this.#unlock = unlock;
    this.blocks = join(folder, 'blocks');
    this.journal = join(folder, 'journal');
    const known = readIdentity(folder);
    if (known !== undefined && id !== undefined && known.id !== id) {
      throw new Failure(
        'invalid',
        `${folder} belongs to the storage node ${known.id}, not to ${id}. ` +
          `Start it as ${known.id}, or give ${id} a folder of its own.`,
      );
    }
    const hasStore = existsSync(dataFile(this.blocks));
    if (known !== undefined && known.generation > 0 && !hasStore) {
      throw new Failure(
        'corrupt',
        `the store of the storage node ${known.id} is gone from ${folder}. ` +
          'If its disk is not mounted, mount it; if it is lost, start with an empty folder.',
      );
    }
    if (known === undefined && hasStore) {
      throw new Failure(
        'invalid',
        `${folder} holds a store but no node.json. Restore that file, or start with an empty folder.`,
      );
    }
    // A folder from before disks had ids gets one, kept from its next start on.
    const disk = known?.disk ?? newDisk();
    const blank = { id: id ?? newId(), clusterId: undefined, generation: 0 };
    this.identity = { ...(known ?? blank), disk };
    if (known === undefined) this.#save();
    this.unclean = hasStore && !existsSync(this.#cleanMarker);
  }

  get #cleanMarker(): string {
    return join(this.#folder, 'clean');
  }

  opening(): void {
    rmSync(this.#cleanMarker, { force: true });
    syncFolder(this.#folder);
  }

  opened(): void {
    this.identity.generation += 1;
    this.#save();
    syncFolder(this.blocks);
  }

  join(clusterId: string): void {
    this.identity.clusterId = clusterId;
    this.#save();
  }

  refused(): void {
    this.identity.generation -= 1;
    this.#save();
  }

  release(options: { clean: boolean }): void {
    if (options.clean) writeFileDurably(this.#cleanMarker, '');
    this.#unlock();
  }

  #save(): void {
    const text = JSON.stringify({ format: FOLDER_FORMAT, ...this.identity }, null, 2);
    writeFileDurably(identityFile(this.#folder), `${text}\n`);
  }
}

/** The name of the node whose folder it is; undefined for a blank one. Failure `invalid`. */
export function nodeNameIn(folder: string): string | undefined {
  return readIdentity(folder)?.id;
}

const identityFile = (folder: string): string => join(folder, 'node.json');

function readIdentity(
  folder: string,
): (Omit<NodeIdentity, 'disk'> & { disk: string | undefined }) | undefined {
  const path = identityFile(folder);
  if (!existsSync(path)) return undefined;
  const parsed = identitySchema.safeParse(parseJson(readFileSync(path, 'utf8')));
  if (!parsed.success) {
    throw new Failure(
      'invalid',
      `${path} is not readable. Restore it, or start with an empty folder.`,
    );
  }
  const { format, id, clusterId, disk, generation } = parsed.data;
  if (format > FOLDER_FORMAT) {
    throw new Failure(
      'invalid',
      `${folder} was written by a newer version (format ${format}, this one knows ` +
        `${FOLDER_FORMAT}). Start that version again.`,
    );
  }
  return { id, clusterId, disk, generation };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
