/** What goes wrong in a chaos run: faults in a random order, one or two at a time. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeInfo } from '../../meta/admin-protocol.ts';
import { SeededRandom } from '../simulation/random.ts';
import type { Cluster, ReadyProcess } from '../support/cluster.ts';
import { flipBytes, waitForEnd } from './rot.ts';

/** Every fault of a bag comes before any comes again. */
const BAG = [
  'kill',
  'kill',
  'kill',
  'pause',
  'pause',
  'pause',
  'term',
  'layout',
  'layout',
] as const;
type Fault = (typeof BAG)[number] | 'full' | 'rot';

/** A process that was killed again and again is started again after at most 10 s. */
const BACK_MS = 60_000;
/** What is left of a full disk, in bytes. */
const LEFT = 1024 * 1024;
const NODES_MIN = 3;
/** Takes space at once, without writing it. */
const FILL = 'fallocate';

export interface ChaosOptions {
  cluster: Cluster;
  seed: number;
  /** Node name → its folder. */
  folders: ReadonlyMap<string, string>;
  /** Nodes with a small filesystem of their own. */
  small: readonly string[];
  /** Bytes that may be flipped where they are found. */
  rotting: () => readonly Buffer[];
}

export interface Chaos {
  /** Episodes by fault. */
  counts: Record<string, number>;
  /** One or two faults, from their beginning to their end. */
  cycle(): Promise<void>;
  /** Rot strikes one node only, until everything is known to be whole again. */
  whole(): void;
  /** Waits until what a client gave up on has happened or never will: nothing is held any more. */
  calm(): Promise<void>;
}

export function createChaos(options: ChaosOptions): Chaos {
  const { cluster, seed, folders, small } = options;
  const counts: Record<string, number> = {};
  const random = new SeededRandom(seed, 'faults');
  const busy = new Set<string>();
  let bag: Fault[] = [];
  let paused = 0;
  let rotten = false;

  const count = (what: string): void => void (counts[what] = (counts[what] ?? 0) + 1);

  /** A process that no other fault has hold of. */
  const pick = (dice: number, eligible: (one: ReadyProcess) => boolean = () => true) => {
    const free = cluster
      .ready()
      .processes.filter((one) => !busy.has(one.name) && eligible(one))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    return free[dice % Math.max(1, free.length)];
  };

  const signal = (pid: number, name: NodeJS.Signals): void => {
    try {
      process.kill(pid, name);
    } catch {
      // It has ended by itself, and is on its way back.
    }
  };

  const back = (name: string, oldPid?: number): Promise<void> =>
    cluster.until(
      ({ processes }) => processes.some((one) => one.name === name && one.pid !== oldPid),
      `${name} to come back`,
      BACK_MS,
    );

  const end = async (name: 'SIGKILL' | 'SIGTERM', { pid, ...victim }: ReadyProcess) => {
    signal(pid, name);
    await back(victim.name, pid);
  };

  const pause = async ({ pid }: ReadyProcess, ms: number): Promise<void> => {
    paused++;
    signal(pid, 'SIGSTOP');
    try {
      await sleep(ms);
    } finally {
      signal(pid, 'SIGCONT');
      paused--;
    }
  };

  const fill = async ({ name }: ReadyProcess, ms: number): Promise<void> => {
    const disk = dirname(folders.get(name) ?? '');
    const ballast = join(disk, 'ballast');
    const { bavail, bsize } = statfsSync(disk);
    spawnSync(FILL, ['-l', String(Math.max(LEFT, bavail * bsize - LEFT)), ballast]);
    try {
      const after = statfsSync(disk);
      assert.ok(after.bavail * after.bsize < 16 * LEFT, 'fallocate does not work here');
      await sleep(ms);
    } finally {
      rmSync(ballast, { force: true });
    }
    await back(name);
  };

  const rot = async ({ name, pid }: ReadyProcess): Promise<void> => {
    const supervisor = cluster.supervisor.pid;
    if (supervisor === undefined) return;
    rotten = true;
    // Nobody may start the node again while its file is edited.
    signal(supervisor, 'SIGSTOP');
    try {
      signal(pid, 'SIGKILL');
      await waitForEnd(pid);
      const file = join(folders.get(name) ?? '', 'blocks', 'data.mdb');
      const flipped = flipBytes(file, options.rotting());
      // A spare node has nothing that could rot.
      rotten = flipped > 0;
      counts['flipped bits'] = (counts['flipped bits'] ?? 0) + flipped;
    } finally {
      signal(supervisor, 'SIGCONT');
    }
    await back(name, pid);
  };

  /** A verb for operators; they may come at a bad time. */
  const order = async (...words: string[]): Promise<boolean> =>
    (await cluster.ashlar(...words)).code === 0;

  const changeLayout = async (dice: number): Promise<string> => {
    const listed = await cluster.ashlar('node', 'list', '--json');
    if (listed.code !== 0) return 'layout: refused';
    const nodes = JSON.parse(listed.output) as NodeInfo[];
    const spares = nodes.filter(({ inLayout }) => !inLayout);
    const draining = nodes.filter(({ inLayout, weight }) => inLayout && weight === 0);
    const serving = nodes.filter(({ inLayout, weight }) => inLayout && weight > 0);
    const changes = [
      ...spares.map(({ id }) => ['add', id] as const),
      ...draining.map(({ id }) => ['undrain', id] as const),
      ...(serving.length > NODES_MIN ? serving.map(({ id }) => ['drain', id] as const) : []),
    ];
    const [kind, id] = changes[dice % Math.max(1, changes.length)] ?? [];
    if (kind === undefined || id === undefined) return 'layout: nothing to do';
    if (kind !== 'add') {
      return (await order('node', kind, id, '--yes')) ? `layout: ${kind}` : 'layout: refused';
    }
    const done =
      (await order('layout', 'stage', 'add', id)) && (await order('layout', 'apply', '--yes'));
    if (!done) await order('layout', 'revert');
    return done ? 'layout: add' : 'layout: refused';
  };

  const run = async (fault: Fault, dice: number, ms: number): Promise<void> => {
    if (fault === 'layout') return count(await changeLayout(dice));
    const onNode = ({ role, name }: ReadyProcess): boolean =>
      role === 'node' && (fault !== 'full' || small.includes(name));
    const victim = pick(dice, fault === 'full' || fault === 'rot' ? onNode : undefined);
    if (victim === undefined || (fault === 'rot' && rotten)) return;
    busy.add(victim.name);
    try {
      if (fault === 'kill') await end('SIGKILL', victim);
      if (fault === 'term') await end('SIGTERM', victim);
      if (fault === 'pause') await pause(victim, ms);
      if (fault === 'full') await fill(victim, ms);
      if (fault === 'rot') await rot(victim);
      count(`${fault} ${victim.role}`);
    } finally {
      busy.delete(victim.name);
    }
  };

  const next = (): Fault => {
    if (bag.length === 0) {
      bag = [...BAG, 'rot', ...(small.length > 0 ? (['full'] as const) : [])];
    }
    return bag.splice(random.int(bag.length), 1)[0] ?? 'kill';
  };

  return {
    counts,
    async cycle() {
      const faults = random.chance(1 / 3) ? [next(), next()] : [next()];
      const drawn = faults.map(
        (fault) => [fault, random.u32(), random.between(1000, 10_000)] as const,
      );
      const rest = random.between(100, 1000);
      await Promise.all(drawn.map(([fault, dice, ms]) => run(fault, dice, ms)));
      await sleep(rest);
    },
    whole: () => void (rotten = false),
    async calm() {
      do await sleep(500);
      while (paused > 0);
      await sleep(500);
    },
  };
}
