/**
 * Opening the metadata journal of a node. It has an environment of its own, so that a damaged one takes
 * no blocks along; and it is only a copy, which other nodes have, too. So a damaged one never keeps the
 * node from serving: it is set aside, the node begins an empty one, and the metadata service fills it.
 */
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Effects } from '../base/clock.ts';
import { syncFolder } from '../base/durable-file.ts';
import { Failure, isFailure } from '../base/failure.ts';
import type { Log } from '../base/log.ts';
import { dataFile, openEnvironment } from './block-store.ts';
import { checkJournalInChild, tellsDamage } from './check.ts';
import type { Environment } from './environment.ts';
import { type NodeFolder, openNodeFolder } from './folder.ts';
import { type JournalStore, openJournalStore } from './journal-store.ts';
import type { JournalNode } from './protocol.ts';
import { killSelf, spaceOf } from './surroundings.ts';

/** Address space for the metadata journal: snapshots of some hundred million objects. */
const JOURNAL_MAP_BYTES = 64 * 1024 ** 3;

export interface OpenJournalOptions {
  folder: NodeFolder;
  mapSizeBytes: number;
  floorBytes?: number | undefined;
  watchdogMs: number;
  effects: Effects;
  log: Log;
  die?: ((reason: string, cause?: unknown) => void) | undefined;
}

/**
 * The journal, or an empty one in place of a damaged one, which is moved to the folder
 * `journal.damaged`. `problem`: what `problemOfJournal` found. Failure `invalid`: a newer version has
 * written it.
 */
export async function openJournal(
  options: OpenJournalOptions,
  problem: string | undefined,
): Promise<JournalStore> {
  const { folder, log } = options;
  if (problem !== undefined) setAside(folder, log, problem);
  try {
    return await open(options);
  } catch (error) {
    if (!isFailure(error, 'corrupt') && !tellsDamage(error)) throw error;
    setAside(folder, log, error instanceof Error ? error.message : String(error));
    return await open(options);
  }
}

/** Of a journal that was not closed in order: touching it may end the process that does. */
export async function problemOfJournal({
  folder,
  mapSizeBytes,
}: Pick<OpenJournalOptions, 'folder' | 'mapSizeBytes'>): Promise<string | undefined> {
  if (!folder.unclean || !existsSync(dataFile(folder.journal))) return undefined;
  return await checkJournalInChild({
    folder: folder.journal,
    mapSizeBytes: Math.min(mapSizeBytes, JOURNAL_MAP_BYTES),
  });
}

/** Only the last damaged one is kept: it is for people to look at. */
function setAside(folder: NodeFolder, log: Log, problem: string): void {
  const aside = `${folder.journal}.damaged`;
  rmSync(aside, { recursive: true, force: true });
  renameSync(folder.journal, aside);
  syncFolder(join(folder.journal, '..'));
  log.error(
    { problem, aside },
    "this node's copy of the metadata journal is damaged: it is set aside, and the node begins an " +
      'empty one, which the metadata service fills; nothing has to be done',
  );
}

async function open(options: OpenJournalOptions): Promise<JournalStore> {
  const { folder, log, effects } = options;
  const environment = openEnvironment({
    folder: folder.journal,
    mapSizeBytes: Math.min(options.mapSizeBytes, JOURNAL_MAP_BYTES),
  });
  const die = options.die ?? killSelf;
  return await closingOnError(environment, () =>
    openJournalStore({
      environment,
      clock: effects.clock,
      identity: () => ({ id: folder.identity.id, clusterId: folder.identity.clusterId }),
      disk: () => spaceOf(folder.journal),
      floorBytes: options.floorBytes,
      watchdogMs: options.watchdogMs,
      die: (reason, cause) => {
        log.error(
          { reason, error: cause },
          'the journal cannot be trusted any more: ending at once',
        );
        die(reason, cause);
      },
    }),
  );
}

async function closingOnError<T>(environment: Environment, work: () => T): Promise<T> {
  try {
    return work();
  } catch (error) {
    await environment.close();
    throw error;
  }
}

/**
 * The metadata journal in the folder of a node that is not running, for making the metadata anew.
 * Failures: `unavailable` (the node runs: ask it), `not-found` (no journal there), `corrupt`, and as
 * for a start.
 */
export async function openNodeJournal(
  path: string,
  effects: Effects,
): Promise<{ id: string; journal: JournalNode; close(): Promise<void> }> {
  if (!existsSync(join(path, 'node.json'))) {
    throw new Failure('not-found', `there is no storage node in ${path}`);
  }
  const folder = openNodeFolder({ folder: path, newId: () => '', newDisk: () => '' });
  // Whether the node was stopped in order stays as it was.
  const release = (): void => folder.release({ clean: false });
  try {
    const { id, clusterId } = folder.identity;
    const options = { folder, mapSizeBytes: JOURNAL_MAP_BYTES };
    const problem = await problemOfJournal(options);
    if (problem !== undefined) {
      throw new Failure('corrupt', `the metadata journal in ${path} is damaged: ${problem}`);
    }
    const environment = openEnvironment({ ...options, folder: folder.journal });
    const journal = await closingOnError(environment, () =>
      openJournalStore({
        environment,
        clock: effects.clock,
        identity: () => ({ id, clusterId }),
        disk: () => spaceOf(folder.journal),
        watchdogMs: 60_000,
        die: killSelf,
      }),
    );
    return {
      id,
      journal,
      async close() {
        await journal.close();
        release();
      },
    };
  } catch (error) {
    release();
    throw error;
  }
}
