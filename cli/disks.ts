/**
 * Which storage node lives in which folder. A node keeps its name in its folder; `disks.json` in the
 * data folder remembers the names given out, so that the order of `--disk` does not matter, a later
 * start needs no `--disk` at all, a new folder never gets an old node's name, and a blank disk in an
 * old place is known for what it is: a replacement, which somebody must agree to.
 */
import { join, resolve } from 'node:path';
import type { Random } from '../base/clock.ts';
import { ConfigError } from '../base/config.ts';
import { readIfThere, writeWhole } from './files.ts';

export interface Disk {
  /** Name of the storage node. */
  id: string;
  folder: string;
}

interface Remembered extends Disk {
  /** Among the folders of the last start. */
  used: boolean;
}

const FILE = 'disks.json';
const NODES_MIN = 3;

const ownFolders = (data: string): string[] =>
  [1, 2, 3].map((number) => join(data, `node-${number}`));

/**
 * The folders to use and their nodes' names. `given`: what `--disk` says, may be empty.
 * `nameIn`: the node's name that a folder holds, undefined for a blank one. Throws ConfigError.
 */
export function chooseDisks(input: {
  data: string;
  given: readonly string[];
  remembered: readonly Remembered[];
  nameIn: (folder: string) => string | undefined;
}): Disk[] {
  const { data, remembered, nameIn } = input;
  const given = input.given.map((folder) => resolve(folder));
  const used = remembered.filter((disk) => disk.used).map(({ folder }) => folder);
  const folders = given.length > 0 ? given : used.length > 0 ? used : ownFolders(data);
  if (folders.length < NODES_MIN) {
    throw new ConfigError(['--disk: three replicas need three folders or more.']);
  }
  const twice = folders.find((folder, index) => folders.indexOf(folder) !== index);
  if (twice !== undefined) throw new ConfigError([`--disk: ${twice} is named twice.`]);
  const names = new Map(folders.map((folder) => [folder, nameIn(folder)]));
  const taken = new Set([...remembered.map(({ id }) => id), ...names.values()]);
  const settled = new Set<string>();
  return folders.map((folder) => {
    const old = remembered.find((disk) => disk.folder === folder)?.id;
    const elsewhere = [...names].some(([other, name]) => other !== folder && name === old);
    const id = names.get(folder) ?? (elsewhere ? undefined : old) ?? nextName(taken);
    if (settled.has(id)) {
      throw new ConfigError([
        `${folder} holds a copy of node ${id}, which another --disk holds too: leave one of them out.`,
      ]);
    }
    settled.add(id);
    taken.add(id);
    return { id, folder };
  });
}

function nextName(taken: ReadonlySet<string | undefined>): string {
  for (let number = 1; ; number++) {
    if (!taken.has(`node-${number}`)) return `node-${number}`;
  }
}

export function readDisks(data: string): Remembered[] {
  const text = readIfThere(join(data, FILE));
  return text === undefined ? [] : (JSON.parse(text) as { disks: Remembered[] }).disks;
}

/** Keeps the names of folders that are not used any more: they are not given out again. */
export function rememberDisks(
  data: string,
  disks: readonly Disk[],
  before: readonly Remembered[],
  random: Random,
): void {
  const gone = before.filter((old) => !disks.some(({ id }) => id === old.id));
  const all = [
    ...disks.map((disk) => ({ ...disk, used: true })),
    ...gone.map((disk) => ({ ...disk, used: false })),
  ];
  if (JSON.stringify(all) === JSON.stringify(before)) return;
  writeWhole(join(data, FILE), `${JSON.stringify({ disks: all }, null, 2)}\n`, random);
}
