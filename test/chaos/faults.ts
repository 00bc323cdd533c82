/** What goes wrong in a chaos run: faults in a random order, one or two at a time. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync, statfsSync } from 'node:fs';
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
/** Where ways can be cut, and processes be started one by one. */
const NETWORK_BAG = ['cut', 'cut', 'cut one way', 'cut one way', 'isolate', 'remove'] as const;
type Fault = (typeof BAG)[number] | (typeof NETWORK_BAG)[number] | 'full' | 'rot' | 'replace';

/** A process that was killed again and again is started again after at most 10 s. */
const BACK_MS = 60_000;
/** What is left of a full disk, in bytes. */
const LEFT = 1024 * 1024;
const NODES_MIN = 3;
/** Takes space at once, without writing it. */
const FILL = 'fallocate';

/** How long a node may take to be emptied before it is removed; it is looked at again later. */
const REMOVED_MS = 45_000;
/** How long a node that was ended may be taken for alive. */
const DOWN_MS = 30_000;

export interface ChaosOptions {
  cluster: Omit<Cluster, 'supervisor' | 'prints'>;
  /** Nothing is started again until the function that is returned is called. */
  hold: () => () => void;
  /** Of a cluster whose processes are apart. */
  network?:
    | { cut(from: string, to: string): void; mend(from: string, to: string): void }
    | undefined;
  /** Starts a process that had ended for good. */
  revive?: ((name: string) => void) | undefined;
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
  /** Rot and lost disks strike one node only, until everything is known to be whole again. */
  whole(): void;
  /** Names of processes that have ended for good and are to come back. */
  readonly away: ReadonlySet<string>;
  /** Waits until what a client gave up on has happened or never will: nothing is held any more. */
  calm(): Promise<void>;
}

export function createChaos(options: ChaosOptions): Chaos {
  const { cluster, seed, folders, small, network } = options;
  const counts: Record<string, number> = {};
  const random = new SeededRandom(seed, 'faults');
  const busy = new Set<string>();
  let bag: Fault[] = [];
  let paused = 0;
  let rotten = false;
  /** When what was sent over a way that was cut has come, or never will. */
  let mendedBy = 0;
  const away = new Set<string>();

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
    rotten = true;
    // Nobody may start the node again while its file is edited.
    const release = options.hold();
    try {
      signal(pid, 'SIGKILL');
      await waitForEnd(pid);
      const file = join(folders.get(name) ?? '', 'blocks', 'data.mdb');
      const flipped = flipBytes(file, options.rotting());
      // A spare node has nothing that could rot.
      rotten = flipped > 0;
      counts['flipped bits'] = (counts['flipped bits'] ?? 0) + flipped;
    } finally {
      release();
    }
    await back(name, pid);
  };

  const wipe = (name: string): void => {
    const disk = folders.get(name) ?? '';
    for (const entry of readdirSync(disk)) rmSync(join(disk, entry), { recursive: true });
  };

  const nodeInfos = async (): Promise<NodeInfo[] | undefined> => {
    const { code, output } = await cluster.ashlar('node', 'list', '--json');
    return code === 0 ? (JSON.parse(output) as NodeInfo[]) : undefined;
  };

  const wait = async (ms: number, condition: (infos: readonly NodeInfo[]) => boolean) => {
    const until = performance.now() + ms;
    while (performance.now() < until) {
      const infos = await nodeInfos();
      if (infos !== undefined && condition(infos)) return true;
      await sleep(500);
    }
    return false;
  };

  /** A node dies with its disk, and gets a blank one. */
  const replace = async ({ name, pid }: ReadyProcess): Promise<void> => {
    rotten = true;
    const release = options.hold();
    try {
      signal(pid, 'SIGKILL');
      await waitForEnd(pid);
      wipe(name);
    } finally {
      release();
    }
    await wait(DOWN_MS, (infos) =>
      infos.some(({ id, condition }) => id === name && condition !== 'up'),
    );
    // A spare holds nothing that could be missed: it is simply new.
    for (let tries = 0; tries < 20 && !isBack(name, pid); tries++) {
      await order('node', 'replace', name, '--yes');
      await sleep(1000);
    }
    await back(name, pid);
  };

  const isBack = (name: string, oldPid: number): boolean =>
    cluster.ready().processes.some((one) => one.name === name && one.pid !== oldPid);

  /** Cuts the ways between one process and others; one way or both. */
  const sever = async (pairs: readonly (readonly [string, string])[], ms: number) => {
    paused++;
    try {
      for (const [from, to] of pairs) network?.cut(from, to);
      await sleep(ms);
    } finally {
      for (const [from, to] of pairs) network?.mend(from, to);
      paused--;
      // TCP sends again after pauses that double: the longest is as long as the cut was.
      mendedBy = Math.max(mendedBy, performance.now() + 1.5 * ms);
    }
  };

  /** Roles that talk to each other. */
  const talk = (one: ReadyProcess, other: ReadyProcess): boolean =>
    one.role !== other.role && one.name !== other.name;

  const cut = async (victim: ReadyProcess, dice: number, ms: number, fault: Fault) => {
    const others = cluster.ready().processes.filter((one) => talk(victim, one));
    if (fault === 'isolate') {
      return sever(
        others.flatMap(
          ({ name }) =>
            [
              [victim.name, name],
              [name, victim.name],
            ] as const,
        ),
        ms,
      );
    }
    const other = others[(dice >>> 8) % Math.max(1, others.length)];
    if (other === undefined) return;
    const there = [victim.name, other.name] as const;
    const here = [other.name, victim.name] as const;
    return sever(fault === 'cut' ? [there, here] : [dice % 2 === 0 ? there : here], ms);
  };

  /** Takes a node out for good; when it is gone, its disk comes back as a new one. */
  const removeNode = async (dice: number): Promise<string> => {
    if (away.size === 0) {
      const infos = (await nodeInfos()) ?? [];
      const serving = infos.filter(({ inLayout, weight }) => inLayout && weight > 0);
      if (serving.length <= NODES_MIN) return 'remove: too few nodes';
      const id = serving[dice % serving.length]?.id ?? '';
      if (!(await order('node', 'remove', id, '--yes'))) return 'remove: refused';
      away.add(id);
    }
    for (const id of away) {
      if (!(await wait(REMOVED_MS, (infos) => infos.every((node) => node.id !== id)))) {
        return 'remove: takes long';
      }
      await returnAsNew(id);
    }
    return 'remove';
  };

  const returnAsNew = async (id: string): Promise<void> => {
    // The process learns that it is not wanted any more with its next heartbeat.
    const gone = await Promise.race([
      cluster
        .until(({ processes }) => processes.every(({ name }) => name !== id), id, DOWN_MS)
        .then(() => true),
      sleep(DOWN_MS).then(() => false),
    ]).catch(() => false);
    if (!gone) return;
    wipe(id);
    options.revive?.(id);
    await back(id);
    away.delete(id);
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
    if (fault === 'remove') return count(await removeNode(dice));
    const onNode = ({ role, name }: ReadyProcess): boolean =>
      role === 'node' && !away.has(name) && (fault !== 'full' || small.includes(name));
    const nodesOnly = fault === 'full' || fault === 'rot' || fault === 'replace';
    const victim = pick(dice, nodesOnly ? onNode : undefined);
    if (victim === undefined || ((fault === 'rot' || fault === 'replace') && rotten)) return;
    busy.add(victim.name);
    try {
      if (fault === 'kill') await end('SIGKILL', victim);
      if (fault === 'term') await end('SIGTERM', victim);
      if (fault === 'pause') await pause(victim, ms);
      if (fault === 'full') await fill(victim, ms);
      if (fault === 'rot') await rot(victim);
      if (fault === 'replace') await replace(victim);
      if (fault === 'cut' || fault === 'cut one way' || fault === 'isolate') {
        await cut(victim, dice, ms, fault);
      }
      count(`${fault} ${victim.role}`);
    } finally {
      busy.delete(victim.name);
    }
  };

  const next = (): Fault => {
    if (bag.length === 0) {
      bag = [
        ...BAG,
        // Either of them once, until all is whole again.
        random.chance(0.5) ? 'rot' : 'replace',
        ...(small.length > 0 ? (['full'] as const) : []),
        ...(network === undefined ? [] : NETWORK_BAG),
      ];
    }
    return bag.splice(random.int(bag.length), 1)[0] ?? 'kill';
  };

  return {
    counts,
    away,
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
      while (paused > 0 || performance.now() < mendedBy);
      await sleep(500);
    },
  };
}
