/**
 * `ashlar meta rebuild` and `ashlar backup`: metadata made anew, and copies of it elsewhere. Both read
 * the storage nodes themselves, so they work when there is no metadata service any more.
 */
import { existsSync, readdirSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { holdProcess, systemEffects } from '../../base/clock.ts';
import { type Loaded, processEnvironment } from '../../base/config.ts';
import { toFailure } from '../../base/failure.ts';
import { EXIT } from '../../base/lifecycle.ts';
import { silentLog } from '../../base/log.ts';
import {
  backupSource,
  createBackup,
  listBackups,
  nodesSource,
  type Restored,
  restoreStore,
  type SourceNode,
  statesOf,
  verifyBackup,
} from '../../meta/main.ts';
import { openNodeJournal } from '../../storage-node/main.ts';
import { CLUSTER_SECRET_FILE } from '../credentials.ts';
import { type Disk, readDisks } from '../disks.ts';
import { readIfThere } from '../files.ts';
import { connectNode } from '../roles.ts';
import { defaultDataFolder, type Settings } from '../settings.ts';
import { VerbError } from './exit.ts';
import { bytes } from './format.ts';
import type { Screen } from './screen.ts';

const effects = systemEffects;
/** Starts of the metadata service since a backup that the backup cannot know of. */
const STARTS_SINCE_BACKUP = 1000;

interface Reached {
  nodes: SourceNode[];
  /** What could not be reached, and why. */
  missing: string[];
  close(): Promise<void>;
}

/**
 * `addresses` when there are any. Else all nodes of the folder of an `ashlar start`: running ones by
 * their sockets, the others from their folders.
 */
async function reachNodes(
  loaded: Loaded<Settings>,
  addresses: readonly string[],
): Promise<Reached> {
  const { value: settings } = loaded;
  const folder = resolve(settings.data ?? defaultDataFolder(processEnvironment()));
  const secret = settings.cluster.secret ?? readIfThere(join(folder, CLUSTER_SECRET_FILE))?.trim();
  const nodes: SourceNode[] = [];
  const missing: string[] = [];
  const undo: (() => Promise<void>)[] = [];
  const byAddress = async (address: string): Promise<void> => {
    if (secret === undefined) {
      throw new VerbError(
        'The cluster secret is not set: name its file with ASHLAR_CLUSTER_SECRET_FILE.',
        EXIT.usage,
      );
    }
    const { journal, close } = connectNode(address, secret, silentLog);
    undo.push(close);
    if (journal === undefined) return;
    const [answer] = await statesOf([{ id: address, journal }]);
    if (answer === undefined) missing.push(`${address} does not answer`);
    else nodes.push({ id: answer.state.node, journal });
  };
  if (addresses.length > 0) {
    for (const address of addresses) await byAddress(address);
  } else {
    for (const disk of nodeDisks(folder, settings.disks)) {
      const socket = join(folder, 'run', `${disk.id}.sock`);
      try {
        const { id, journal, close } = await openNodeJournal(disk.folder, effects);
        nodes.push({ id, journal });
        undo.push(close);
      } catch (error) {
        if (existsSync(socket)) await byAddress(`unix:${socket}`);
        else missing.push(toFailure(error).message);
      }
    }
  }
  return {
    nodes,
    missing,
    async close() {
      for (const step of undo) await step();
    },
  };
}

/** The disks that `--disk` names, those of the last `ashlar start`, or what looks like them. */
function nodeDisks(folder: string, given: readonly string[]): Disk[] {
  const remembered = readDisks(folder).filter(({ used }) => used);
  if (given.length > 0) {
    return given.map((path) => {
      const known = remembered.find((disk) => disk.folder === resolve(path));
      return known ?? { id: basename(path), folder: resolve(path) };
    });
  }
  if (remembered.length > 0) return remembered;
  const found = existsSync(folder) ? readdirSync(folder) : [];
  const names = found.filter((name) => /^node-\d+$/.test(name));
  if (names.length > 0) return names.map((id) => ({ id, folder: join(folder, id) }));
  throw new VerbError(
    `There are no storage nodes in ${folder}: name their addresses with --node, or the folder of \`ashlar start\` with --data.`,
    EXIT.usage,
  );
}

async function withNodes<T>(
  loaded: Loaded<Settings>,
  addresses: readonly string[],
  work: (reached: Reached) => Promise<T>,
): Promise<T> {
  const hold = holdProcess();
  const reached = await reachNodes(loaded, addresses);
  try {
    if (reached.nodes.length === 0) {
      const why = reached.missing.join('; ');
      throw new VerbError(`No storage node can be read: ${why}.`, EXIT.unavailable);
    }
    return await work(reached);
  } finally {
    await reached.close();
    hold.cancel();
  }
}

/** Milliseconds since the epoch. */
function timeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = Date.parse(text);
  if (Number.isFinite(time)) return time;
  throw new VerbError(`--until: expected a time such as 2026-11-20T08:00:00Z.`, EXIT.usage);
}

/** Where `ashlar start` keeps the metadata, unless it is said. */
function metaFolder(loaded: Loaded<Settings>): string {
  const { meta, data } = loaded.value;
  if (meta.data !== undefined) return resolve(meta.data);
  if (data !== undefined) return resolve(data, 'meta');
  throw new VerbError('--meta-data is missing: the empty folder for the new store.', EXIT.usage);
}

/* ------------------------------------------------------------------ rebuild */

export interface RebuildOptions {
  addresses: readonly string[];
  until: string | undefined;
}

/** Makes the metadata store anew from the storage nodes alone. */
export async function rebuildMeta(
  loaded: Loaded<Settings>,
  screen: Screen,
  options: RebuildOptions,
): Promise<void> {
  const folder = metaFolder(loaded);
  const untilMs = timeOf(options.until);
  await withNodes(loaded, options.addresses, async ({ nodes, missing }) => {
    const states = await statesOf(nodes);
    const restored = await restoreStore(nodesSource(nodes), {
      folder,
      mapSizeBytes: loaded.value.meta.mapSize,
      effects,
      untilMs,
      generation: Math.max(0, ...states.map(({ state }) => state.generation)),
      startsSkipped: 0,
      newLine: untilMs !== undefined,
      progress: (rows, total) => screen.progress(`${rows} of ${total} rows`),
    });
    screen.progressDone();
    const read = nodes.map(({ id }) => id);
    const unread = restored.nodes.filter((id) => !read.includes(id));
    screen.show({ ...restored, folder, read, unread, missing }, () => [
      ...described(restored, folder),
      `Read from ${read.join(', ')}.`,
      ...missing.map((one) => `Not read: ${one}.`),
      judgement(unread, untilMs === undefined ? restored.cutOff : 0),
      `Next: start the metadata service on ${folder}. Make sure that the old one never runs again.`,
    ]);
  });
}

function judgement(unread: readonly string[], cutOff: number): string {
  if (cutOff > 0) {
    return `WARNING: ${cutOff} newer records were found, but others before them are missing or damaged on all nodes that were read: what they say is lost, unless another node has them.`;
  }
  if (unread.length > 1) {
    return `WARNING: ${unread.join(', ')} were not read. What was acknowledged last may be on those alone: bring all but one of them back and rebuild into another folder, if you can.`;
  }
  return 'With `meta.journal: sync` nothing that was acknowledged is missing.';
}

function described(restored: Restored, folder: string): string[] {
  const { sequence, atMs, records, rows, objects, buckets, snapshot } = restored;
  return [
    `The metadata store in ${folder} is made: ${objects} objects in ${buckets} buckets (${rows} rows, all checksums good).`,
    `It is as of ${new Date(atMs).toISOString()}: snapshot ${snapshot} and ${records} records after it, up to ${sequence}.`,
  ];
}

/* ------------------------------------------------------------------ backups */

/** A new backup below `folder`. */
export async function makeBackup(
  loaded: Loaded<Settings>,
  screen: Screen,
  folder: string,
  addresses: readonly string[],
): Promise<void> {
  const made = await withNodes(loaded, addresses, ({ nodes }) =>
    createBackup(nodesSource(nodes), { folder: resolve(folder), effects }),
  );
  screen.show(made, () => [
    `Backup ${made.name}: ${bytes(made.bytes)}, up to record ${made.sequence}, in ${resolve(folder, made.name)}.`,
    'It holds the metadata alone: the blocks are on the storage nodes.',
  ]);
}

export async function showBackups(screen: Screen, folder: string): Promise<void> {
  const found = await listBackups(resolve(folder));
  screen.show(found, () =>
    found.length === 0
      ? [`There are no backups in ${resolve(folder)}.`]
      : found.map(
          ({ name, atMs, sequence, bytes: size }) =>
            `${name}  ${new Date(atMs).toISOString()}  record ${sequence}  ${bytes(size)}`,
        ),
  );
}

export async function checkBackup(screen: Screen, folder: string): Promise<void> {
  const verified = await verifyBackup(resolve(folder));
  screen.show(verified, () => [
    `Backup ${verified.name} is whole: ${verified.rows} rows and ${verified.records} records, every checksum good.`,
  ]);
}

/** A metadata store from a backup, in a folder that holds none. */
export async function restoreBackup(
  loaded: Loaded<Settings>,
  screen: Screen,
  folder: string,
  until: string | undefined,
): Promise<void> {
  const target = metaFolder(loaded);
  const hold = holdProcess();
  try {
    const verified = await verifyBackup(resolve(folder));
    const restored = await restoreStore(await backupSource(resolve(folder)), {
      folder: target,
      mapSizeBytes: loaded.value.meta.mapSize,
      effects,
      untilMs: timeOf(until),
      generation: verified.generation,
      startsSkipped: STARTS_SINCE_BACKUP,
      newLine: true,
      progress: (rows, total) => screen.progress(`${rows} of ${total} rows`),
    });
    screen.progressDone();
    screen.show({ ...restored, folder: target }, () => [
      ...described(restored, target),
      'What was written after that is not in it; its blocks will be removed as garbage.',
      'Objects that were deleted after that have lost their blocks, if garbage was collected since: `ashlar fsck` names them.',
      `Next: start the metadata service on ${target}. Make sure that no other one of this cluster runs.`,
    ]);
  } finally {
    hold.cancel();
  }
}
