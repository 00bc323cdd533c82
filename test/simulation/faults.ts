/**
 * What goes wrong, drawn anew for every seed (a swarm: each run has its own mix and rates), within
 * what the failure model promises to survive: a block always keeps one good copy somewhere.
 */
import { decodeBlockKey } from '../../storage-node/protocol.ts';
import type { BlockDisk, DiskFaults } from './block-disk.ts';
import type { MetaDisk } from './meta-disk.ts';
import type { NodeMachine, SimCluster } from './cluster.ts';
import { CALM_NETWORK, type NetworkFaults } from './network.ts';
import { Operator } from './operator.ts';
import type { SimProcess } from './process.ts';
import type { SeededRandom } from './random.ts';

const FAULTS = [
  'crashNode',
  'crashGateway',
  'crashMeta',
  'powerCut',
  'freeze',
  'cut',
  'isolate',
  'slowNetwork',
  'reset',
  'slowDisk',
  'fullDisk',
  'ioError',
  'rot',
  'misdirect',
  'clock',
  'layout',
  'diskLoss',
  'metaLoss',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface FaultPlan {
  /** Each with its weight; 0: not in this run. */
  weights: Record<Fault, number>;
  /** Mean time between two faults in milliseconds. */
  meanMs: number;
  network: NetworkFaults;
  /** Whole disks' commits take this long. */
  diskMs: [number, number];
  restartMs: [number, number];
}

/** `focus`: faults that are to strike in any case, and often. */
export function drawPlan(random: SeededRandom, focus: readonly Fault[] = []): FaultPlan {
  const weights = {} as Record<Fault, number>;
  for (const fault of FAULTS) weights[fault] = random.chance(0.5) ? random.skewed(0.1, 1) : 0;
  const meanMs = random.skewed(150, 3000);
  for (const fault of focus) weights[fault] = 2;
  const low = random.skewed(0.1, 3);
  return {
    weights,
    meanMs: focus.length > 0 ? meanMs / 3 : meanMs,
    network: {
      latencyMs: [low, low * random.skewed(2, 60)],
      loss: random.chance(0.5) ? random.skewed(0.001, 0.1) : 0,
      duplicate: random.chance(0.5) ? random.skewed(0.01, 0.3) : 0,
      reset: random.chance(0.5) ? random.skewed(0.001, 0.05) : 0,
    },
    diskMs: [0.2, random.skewed(1, 40)],
    restartMs: [50, random.skewed(100, 6000)],
  };
}

export class Faults {
  readonly counts: Partial<Record<Fault, number>> = {};
  readonly #cluster: SimCluster;
  readonly #plan: FaultPlan;
  readonly #random: SeededRandom;
  readonly #operator: Operator;
  #running = false;

  constructor(cluster: SimCluster, plan: FaultPlan, random: SeededRandom) {
    this.#cluster = cluster;
    this.#plan = plan;
    this.#random = random;
    this.#operator = new Operator(cluster, random);
  }

  begin(): void {
    const { network, diskMs, restartMs } = this.#plan;
    this.#running = true;
    this.#cluster.network.faults = network;
    this.#cluster.restartMs = restartMs;
    for (const { disk, journalDisk } of this.#cluster.nodes) {
      disk.faults.latencyMs = diskMs;
      journalDisk.faults.latencyMs = diskMs;
    }
    this.#cluster.metaDisk.faults.latencyMs = diskMs;
    if (Object.values(this.#plan.weights).some((weight) => weight > 0)) this.#next();
  }

  /** No more faults; what is broken is mended, except for bytes that have rotted. */
  end(): void {
    this.#running = false;
    const { network, nodes, metaDisk, processes } = this.#cluster;
    this.#cluster.trace('--- no more faults');
    network.faults = CALM_NETWORK;
    network.mendAll();
    this.#cluster.restartMs = [50, 500];
    for (const disk of [...nodes.flatMap((node) => [node.disk, node.journalDisk]), metaDisk]) {
      disk.faults.latencyMs = [0.2, 2];
      disk.faults.full = false;
      disk.faults.failing = false;
      disk.faults.onWrite = undefined;
    }
    for (const process of processes) {
      process.thaw();
      this.#cluster.start(process);
    }
  }

  #next(): void {
    const wait = -Math.log(1 - this.#random.fraction()) * this.#plan.meanMs;
    this.#cluster.scheduler.at(wait, 'fault', () => {
      if (!this.#running) return;
      this.#strike(this.#choose());
      this.#next();
    });
  }

  #choose(): Fault {
    const { weights } = this.#plan;
    const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
    let at = this.#random.fraction() * total;
    for (const fault of FAULTS) {
      at -= weights[fault];
      if (at < 0) return fault;
    }
    return 'crashNode';
  }

  #strike(fault: Fault): void {
    const random = this.#random;
    this.counts[fault] = (this.counts[fault] ?? 0) + 1;
    const node = random.pick(this.#cluster.nodes.filter(({ present }) => present));
    const { meta, gateways, processes } = this.#cluster;
    switch (fault) {
      case 'crashNode':
        return this.#crash(node.process, node.disk);
      case 'crashGateway':
        return this.#cluster.crash(random.pick(gateways).process, 'kill -9');
      case 'crashMeta':
        return this.#crash(meta, this.#cluster.metaDisk);
      case 'powerCut':
        for (const process of processes) {
          if (random.chance(0.9)) this.#cluster.crash(process, 'no power');
        }
        return;
      case 'freeze':
        return this.#freeze(
          random.chance(0.3) ? random.pick(gateways).process : random.pick(processes),
        );
      case 'cut':
        // What a gateway and the metadata service believe of each other is where leases matter.
        if (random.chance(0.3)) return this.#cut(random.pick(gateways).process, meta);
        return this.#cut(random.pick(processes), random.pick(processes));
      case 'isolate':
        return this.#isolate(random.pick(processes));
      case 'slowNetwork':
        return this.#slowNetwork();
      case 'reset':
        return this.#cluster.network.reset(random.pick(processes), random.pick(processes));
      case 'slowDisk':
        return this.#slowDisk(this.#someDisk(node));
      case 'fullDisk':
        return this.#fillDisk(this.#someDisk(node));
      case 'ioError':
        this.#someDisk(node).faults.failing = true;
        return;
      case 'rot':
        return this.#rot(node);
      case 'misdirect':
        return this.#misdirect(node);
      case 'clock':
        random.pick(processes).skewMs += random.between(-86_400_000, 86_400_000);
        return;
      case 'layout':
        return this.#operator.changeLayout();
      case 'metaLoss':
        return this.#operator.loseMeta();
      case 'diskLoss':
        return this.#operator.replaceDisk(node);
    }
  }

  #someDisk(node: NodeMachine): MetaDisk | BlockDisk {
    return this.#random.pick([node.disk, node.disk, node.journalDisk, this.#cluster.metaDisk]);
  }

  #later(ms: number, what: string, run: () => void): void {
    this.#cluster.scheduler.at(ms, what, () => {
      if (this.#running) run();
    });
  }

  /** At once, or when the next write is under way. */
  #crash(process: SimProcess, { faults }: { faults: DiskFaults }): void {
    const now = () => this.#cluster.crash(process, 'kill -9');
    if (this.#random.chance(0.5)) return now();
    faults.onWrite = () => {
      const wait = this.#random.skewed(0.01, faults.latencyMs[1] * 2);
      this.#later(wait, `crash ${process.name}`, now);
    };
  }

  #freeze(process: SimProcess): void {
    const ms = this.#random.skewed(50, 12_000);
    this.#cluster.trace(`--- ${process.name} is stopped for ${ms.toFixed(0)} ms`);
    process.freeze();
    this.#later(ms, 'thaw', () => {
      this.#cluster.trace(`--- ${process.name} goes on`);
      process.thaw();
    });
  }

  #cut(from: SimProcess, to: SimProcess): void {
    const { network } = this.#cluster;
    const bothWays = this.#random.chance(0.5);
    this.#cluster.trace(`--- cut ${from.name} ${bothWays ? '<' : ''}> ${to.name}`);
    network.cut(from, to);
    if (bothWays) network.cut(to, from);
    this.#later(this.#random.skewed(50, 12_000), 'mend', () => {
      this.#cluster.trace(`--- mended ${from.name} > ${to.name}`);
      network.mend(from, to);
      if (bothWays) network.mend(to, from);
    });
  }

  #isolate(process: SimProcess): void {
    const { network, processes } = this.#cluster;
    this.#cluster.trace(`--- ${process.name} is isolated`);
    for (const other of processes) {
      network.cut(process, other);
      network.cut(other, process);
    }
    this.#later(this.#random.skewed(50, 12_000), 'mend', () => {
      this.#cluster.trace(`--- ${process.name} is no longer isolated`);
      // In any order, one by one: links that come back at different times find other bugs.
      for (const other of processes) {
        this.#later(this.#random.skewed(1, 1000), 'mend', () => {
          network.mend(process, other);
          network.mend(other, process);
        });
      }
    });
  }

  #slowNetwork(): void {
    const { network } = this.#cluster;
    const [low, high] = this.#plan.network.latencyMs;
    const factor = this.#random.skewed(2, 100);
    network.faults = { ...this.#plan.network, latencyMs: [low, high * factor] };
    this.#later(this.#random.skewed(100, 5000), 'fast network', () => {
      network.faults = this.#plan.network;
    });
  }

  #slowDisk(disk: MetaDisk | BlockDisk): void {
    const slow = this.#random.skewed(50, 12_000);
    disk.faults.latencyMs = [slow / 4, slow];
    this.#later(this.#random.skewed(100, 8000), 'fast disk', () => {
      disk.faults.latencyMs = this.#plan.diskMs;
    });
  }

  #fillDisk(disk: MetaDisk | BlockDisk): void {
    disk.faults.full = true;
    this.#later(this.#random.skewed(100, 8000), 'space', () => {
      disk.faults.full = false;
    });
  }

  /** Flips a bit of a stored block that has another good copy. */
  #rot({ disk }: NodeMachine): void {
    const name = this.#victim(disk);
    const record = name === undefined ? undefined : disk.memory.blocks.get(name);
    if (name === undefined || record === undefined) return;
    const rotten = Buffer.from(record);
    const at = this.#random.int(rotten.length);
    rotten[at] = (rotten[at] ?? 0) ^ (1 << this.#random.int(8));
    this.#cluster.trace(`--- a bit rots on ${disk.name}: ${describe(name)}`);
    this.#cluster.oracle.damaged(disk, name);
    disk.memory.blocks.set(name, rotten);
  }

  /** A block is found where another one should be. */
  #misdirect({ disk }: NodeMachine): void {
    const name = this.#victim(disk);
    const others = [...disk.memory.blocks.keys()].filter((other) => other !== name);
    if (name === undefined || others.length === 0) return;
    const record = disk.memory.blocks.get(this.#random.pick(others));
    if (record === undefined) return;
    this.#cluster.trace(`--- a block is misdirected on ${disk.name}: ${describe(name)}`);
    this.#cluster.oracle.damaged(disk, name);
    disk.memory.blocks.set(name, Buffer.from(record));
  }

  /** A block on this disk that can be lost here. */
  #victim(disk: NodeMachine['disk']): string | undefined {
    const names = [...disk.memory.blocks.keys()];
    if (names.length === 0) return undefined;
    const name = this.#random.pick(names);
    const key = decodeBlockKey(Buffer.from(name, 'latin1'));
    const copies = this.#cluster.oracle.copies(key).filter((other) => other !== disk);
    return copies.length > 0 ? name : undefined;
  }
}

function describe(name: string): string {
  const { group, blob, index } = decodeBlockKey(Buffer.from(name, 'latin1'));
  return `group ${group}, blob ${blob}, block ${index}`;
}
