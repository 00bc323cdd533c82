/**
 * The production code as simulated machines: one metadata service, storage nodes, gateways. Each is
 * assembled from the same parts as in its `main.ts`, over simulated time, network and disk.
 */
import type { Log } from '../../base/log.ts';
import { silentLog } from '../../base/log.ts';
import {
  createObjectEngine,
  type RunningObjectEngine,
} from '../../gateway/object/create-engine.ts';
import type { JobName } from '../../meta/admin-protocol.ts';
import { type AssembledMeta, assembleMeta } from '../../meta/assemble.ts';
import { createMetaClient } from '../../meta/client.ts';
import { changesOf, membersOf } from '../../meta/cluster/moves.ts';
import type { Meta, NodeView } from '../../meta/protocol.ts';
import { createMetaHandler } from '../../meta/server.ts';
import { METHODS as META_METHODS, type Method, READS } from '../../meta/wire.ts';
import { createStorageNodeClient } from '../../storage-node/client.ts';
import { startMembership } from '../../storage-node/membership.ts';
import type { StorageNode } from '../../storage-node/protocol.ts';
import { createStorageNodeHandler } from '../../storage-node/server.ts';
import { healthOf } from '../../storage-node/service.ts';
import { createBlockStore } from '../../storage-node/store.ts';
import { METHODS as NODE_METHODS } from '../../storage-node/wire.ts';
import { BlockDisk, CAPACITY_BYTES } from './block-disk.ts';
import { MetaDisk, type MetaStore } from './meta-disk.ts';
import { Network } from './network.ts';
import { type JournalParts } from '../../meta/journal/create-journaling.ts';
import { MetaJournal } from '../../meta/journal/journal.ts';
import { readKnownCluster } from '../../meta/cluster/known.ts';
import { catchUp } from '../../meta/journal/recovery.ts';
import { fillStore } from '../../meta/journal/restore.ts';
import { choose, nodesSource, type SourceNode, statesOf } from '../../meta/journal/source.ts';
import { openJournalStore } from '../../storage-node/journal-store.ts';
import { Oracle, type Placement } from './oracle.ts';
import { type Bugs, NO_BUGS } from './planted.ts';
import { type Life, type ProcessContext, SimProcess } from './process.ts';
import { SeededRandom } from './random.ts';
import { Scheduler } from './scheduler.ts';

export const BLOCK_SIZE = 4096;
/** Snapshots are made often, and the journal is cut off behind them. */
const JOURNALING = { snapshotEveryMs: 5000, journalBytesMax: 64 * 1024, waitRowsMax: 1000 };
/** Few placement groups: layouts are made and installed often here. */
/** Passes of the lifecycle job begin eight times in such a day. */
const LIFECYCLE_DAY_MS = 8000;
const GROUPS = 16;

export interface ClusterOptions {
  seed: number;
  /** Nodes of the first layout. */
  nodes: number;
  /** Nodes that may be added later. */
  spares: number;
  gateways: number;
  bugs?: Bugs | undefined;
  /** A line per event and per log line. */
  trace?: ((line: string) => void) | undefined;
}

export interface NodeMachine {
  process: SimProcess;
  disk: BlockDisk;
  /** The same disk's other file: journal and snapshots of the metadata. */
  journalDisk: BlockDisk;
  identity: { id: string; clusterId: string | undefined; disk: string; generation: number };
  /** In the rack: started by whoever starts everything. */
  present: boolean;
  /** Its disk was lost and is blank now. */
  blank: boolean;
}

/** One life of a gateway. */
export interface RunningGateway {
  life: Life;
  running: RunningObjectEngine;
  meta: Meta;
  /** Resolves when the process has died. */
  died: Promise<void>;
}

export interface GatewayMachine {
  process: SimProcess;
  now: RunningGateway | undefined;
}

/** Requests that may arrive twice: reads, and what only repeats what is known. */
const REPEATABLE_META: ReadonlySet<string> = new Set([
  ...READS,
  'heartbeat',
  'renewWriter',
  'closeWriter',
  'reportReplicas',
]);
const REPEATABLE_NODE: ReadonlySet<string> = new Set([
  'get',
  'has',
  'delete',
  'list',
  'verify',
  'stats',
  'health',
]);

export class SimCluster {
  readonly scheduler = new Scheduler();
  readonly network: Network;
  readonly random: SeededRandom;
  readonly meta: SimProcess;
  readonly metaDisk: MetaDisk;
  /** The service in its present life. */
  service: AssembledMeta | undefined;
  readonly nodes: NodeMachine[];
  readonly gateways: GatewayMachine[];
  readonly oracle: Oracle;
  readonly bugs: Bugs;
  /** What a supervisor waits before it starts a process again. */
  restartMs: [number, number] = [50, 500];
  readonly #context: ProcessContext;
  readonly #leaseTtlMs: number;
  readonly #renewMs: number;
  /** `sync`: commits are on two nodes before they are acknowledged; `async`: soon after. */
  readonly journal: 'off' | 'sync' | 'async';
  /** The metadata service has no store to start with. */
  metaLost = false;
  readonly #nodeOutMs: number;
  readonly #expectedNodes: number;
  readonly #trace: ((line: string) => void) | undefined;

  constructor(options: ClusterOptions) {
    const { seed } = options;
    this.bugs = options.bugs ?? NO_BUGS;
    this.#trace = options.trace;
    const stream = (name: string) => new SeededRandom(seed, name);
    this.random = stream('cluster');
    this.#nodeOutMs = this.random.chance(0.5) ? 600_000 : this.random.skewed(6000, 30_000);
    this.#leaseTtlMs = Math.floor(this.random.skewed(2000, 8000));
    this.journal = this.random.pick(['off', 'off', 'off', 'sync', 'sync', 'async'] as const);
    this.#renewMs = this.#leaseTtlMs * this.random.between(0.1, 0.35);
    this.network = new Network(this.scheduler, stream('network'));
    this.#context = { scheduler: this.scheduler, seed, logOf: (process) => this.#logOf(process) };
    if (options.trace !== undefined) {
      this.scheduler.onEvent = (label) => this.trace(label);
    }
    this.meta = new SimProcess('meta', this.#context);
    this.metaDisk = new MetaDisk(stream('meta disk'));
    this.metaDisk.forgetful = this.bugs.metaForgets === true;
    this.#expectedNodes = options.nodes;
    this.nodes = Array.from({ length: options.nodes + options.spares }, (_, index) => {
      const id = `n${index + 1}`;
      const disk = new BlockDisk(id, stream(`disk ${id}`));
      disk.forgetful = this.bugs.nodeForgets === true;
      const journalDisk = new BlockDisk(`${id} journal`, stream(`journal ${id}`));
      const identity = { id, clusterId: undefined, disk: `${id} 1`, generation: 0 };
      const process = new SimProcess(id, this.#context);
      return { process, disk, journalDisk, identity, present: index < options.nodes, blank: false };
    });
    this.gateways = Array.from({ length: options.gateways }, (_, index) => ({
      process: new SimProcess(`g${index + 1}`, this.#context),
      now: undefined,
    }));
    this.oracle = new Oracle({
      meta: this.metaDisk,
      disks: this.nodes.map((node) => node.disk),
      groups: GROUPS,
      now: () => this.scheduler.now,
      isGone: (id) => this.isGone(id),
      placement: () => this.#placement(),
    });
  }

  #placement(): Placement | undefined {
    const layouts = this.service?.cluster.changes.layouts;
    const newest = layouts?.newest;
    if (layouts === undefined || newest === undefined) return undefined;
    const changes = changesOf(newest, layouts.previous);
    return {
      owners: (group) => membersOf(newest, group),
      holds: (node) =>
        [newest, ...layouts.previous].some(({ nodes }) => nodes.some(({ id }) => id === node)),
      filling: (group, node) =>
        changes.some(
          (change) =>
            change.group === group &&
            change.moves.some((move) => move.node === node && !layouts.isMoved(move)),
        ),
    };
  }

  /** The node was removed from the cluster. */
  isGone(id: string): boolean {
    return this.service?.cluster.nodes.isGone(id) === true;
  }

  get processes(): SimProcess[] {
    return [
      this.meta,
      ...this.nodes.filter((node) => node.present).map((node) => node.process),
      ...this.gateways.map((gateway) => gateway.process),
    ];
  }

  trace(line: string): void {
    this.#trace?.(`${this.scheduler.now.toFixed(3).padStart(11)} ${line}`);
  }

  startAll(): void {
    for (const process of this.processes) this.start(process);
  }

  /** Harmless when it runs. */
  start(process: SimProcess): void {
    if (process.life !== undefined || !this.processes.includes(process)) return;
    if (process === this.meta && this.metaLost) return;
    this.trace(`--- ${process.name} starts`);
    process.start((life) => {
      if (process === this.meta) return void this.#runMeta(life);
      const node = this.nodes.find((one) => one.process === process);
      if (node !== undefined) return this.#runNode(node, life);
      const gateway = this.gateways.find((one) => one.process === process);
      if (gateway !== undefined) this.#runGateway(gateway, life);
    });
  }

  /** kill -9, or a process that ends itself; a supervisor starts it again. */
  crash(process: SimProcess, why: string, restartMs?: number): void {
    const { life } = process;
    if (life === undefined) return;
    this.trace(`--- ${process.name} dies: ${why}`);
    process.crash();
    this.network.died(life, 0);
    const wait = restartMs ?? this.random.skewed(...this.restartMs);
    this.scheduler.at(wait, `start ${process.name}`, () => this.start(process));
  }

  /** Asks the metadata service to begin a run of a background job. */
  runJob(name: JobName, action: 'run' | 'pause' = 'run'): void {
    this.meta.life?.enter(() => {
      this.service?.admin.controlJob({ name, action }).catch((error: unknown) => {
        this.oracle.violation(`the ${name} job does not run: ${String(error)}`);
      });
    });
  }

  /** The disk of the metadata service is lost while it runs. */
  loseMeta(): void {
    this.metaLost = true;
    this.service = undefined;
    this.crash(this.meta, 'its disk is gone');
    this.metaDisk.lose();
    this.oracle.lookAway();
  }

  /**
   * `ashlar meta rebuild`: makes the store anew from the nodes, all of which have to be there. False:
   * it did not work now.
   */
  async rebuildMeta(): Promise<boolean> {
    const members = this.nodes.filter(({ present }) => present);
    if (members.some(({ process }) => process.life?.handler === undefined)) return false;
    const rescue = new SimProcess('rescue', this.#context);
    const done = Promise.withResolvers<boolean>();
    rescue.start((life) => {
      const nodes = members.flatMap(({ identity: { id } }) => {
        const { journal } = this.#connectTo(life, id);
        return journal === undefined ? [] : [{ id, journal }];
      });
      this.metaDisk.lose();
      const store = this.metaDisk.open(life, (reason) => {
        this.trace(`--- the rebuild fails: ${reason}`);
        done.resolve(false);
      });
      rebuild(nodes, store, life).then(done.resolve, (error: unknown) => {
        this.trace(`--- the rebuild fails: ${String(error)}`);
        done.resolve(false);
      });
    });
    const rebuilt = await done.promise;
    rescue.crash();
    if (!rebuilt) return false;
    this.metaLost = false;
    await this.oracle.lookAgain();
    this.trace('--- the metadata is made anew');
    this.start(this.meta);
    return true;
  }

  /** The disk of a node that does not run is lost, and replaced by a blank one. */
  loseDisk({ disk, journalDisk, identity, process }: NodeMachine): void {
    if (process.life !== undefined) throw new Error(`${process.name} runs`);
    this.trace(`--- the disk of ${process.name} is lost`);
    for (const name of disk.memory.blocks.keys()) this.oracle.damaged(disk, name);
    disk.lose();
    journalDisk.lose();
    identity.clusterId = undefined;
    identity.generation = 0;
    const [name, count] = identity.disk.split(' ');
    identity.disk = `${name} ${Number(count) + 1}`;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.scheduler.at(ms, 'wait', resolve);
    });
  }

  /* ---------------------------------------------------------------- the roles */

  async #runMeta(life: Life): Promise<void> {
    const die = (reason: string) => this.crash(this.meta, reason);
    try {
      const opened = this.metaDisk.open(life, die);
      const { journal } = this;
      if (journal !== 'off') await this.#catchUp(life, opened);
      const journaling =
        journal === 'off' ? undefined : await this.#attachJournal(life, opened, journal);
      const store = { ...opened, ...this.bugs.wrapStore(opened) };
      const assembled = await assembleMeta({
        store,
        effects: life.effects,
        log: life.log,
        connectNode: (view) => this.bugs.wrapJobNode(this.#connect(life, view)),
        cluster: {
          expectedNodes: this.#expectedNodes,
          leaseTtlMs: this.#leaseTtlMs,
          heartbeatMs: 1000,
          nodeDownMs: 3500,
          nodeOutMs: this.#nodeOutMs,
          groups: GROUPS,
        },
        garbagePauseMs: 500,
        lifecycleDayMs: LIFECYCLE_DAY_MS,
        partBytesMin: 1,
        journaling,
      });
      if (!life.alive) return;
      this.bugs.breakMeta(assembled);
      this.service = assembled;
      const handler = createMetaHandler(assembled.meta);
      life.handler = handler;
      assembled.startJobs();
    } catch (error) {
      if (life.alive) this.crash(this.meta, `could not start: ${String(error)}`);
    }
  }

  /** As `meta/main.ts` does after a stop without order, which here every stop is. */
  async #catchUp(life: Life, store: MetaStore): Promise<void> {
    const known = await readKnownCluster(store);
    if (known === undefined) return;
    const nodes = known.nodes.flatMap(({ id }) => {
      const { journal } = this.#connectTo(life, id);
      return journal === undefined ? [] : [{ id, journal }];
    });
    await catchUp({ ...known, store, nodes, clock: life.effects.clock, log: life.log });
  }

  async #attachJournal(
    life: Life,
    store: MetaStore,
    mode: 'sync' | 'async',
  ): Promise<JournalParts> {
    const { effects, log } = life;
    const journal = await MetaJournal.attach({
      mode,
      store,
      effects,
      log,
      refused: (failure) => {
        if (!life.alive) return;
        // Records were applied behind the service's back: it begins anew.
        if (failure.kind === 'unavailable') return this.crash(this.meta, failure.message);
        this.oracle.violation(`the journal refuses the store: ${failure.message}`);
      },
    });
    return { journal, store, settings: JOURNALING };
  }

  #runNode(node: NodeMachine, life: Life): void {
    const { disk, journalDisk, identity, process } = node;
    identity.generation++;
    const store = createBlockStore({
      environment: disk.open(life),
      clock: life.clock,
      disk: () => disk.space,
      floorBytes: CAPACITY_BYTES / 10,
      watchdogMs: 10_000,
      warmBytes: 64 * 1024,
      die: (reason) => this.crash(process, reason),
    });
    const journal = openJournalStore({
      environment: journalDisk.open(life),
      clock: life.clock,
      identity: () => identity,
      disk: () => journalDisk.space,
      floorBytes: CAPACITY_BYTES / 10,
      watchdogMs: 10_000,
      die: (reason) => this.crash(process, reason),
    });
    const health = healthOf({ store, clock: life.clock, identity: () => identity });
    life.handler = createStorageNodeHandler(this.bugs.wrapBlocks(store, disk), health, journal);
    const membership = startMembership({
      registrar: this.#metaClient(life),
      identity,
      join: (clusterId) => {
        identity.clusterId = clusterId;
      },
      address: identity.id,
      zone: identity.id,
      stats: () => store.stats(),
      effects: life.effects,
      log: life.log,
    });
    void membership.refused.then((failure) => {
      if (!life.alive) return;
      if (!this.isGone(identity.id)) {
        this.oracle.violation(`node ${identity.id} was refused: ${failure.message}`);
      }
      node.present = false;
      this.crash(process, failure.message);
    });
  }

  #runGateway(gateway: GatewayMachine, life: Life): void {
    const meta = this.#metaClient(life);
    const connect = this.bugs.wrapGatewayNodes((view: NodeView) => this.#connect(life, view));
    const running = createObjectEngine({
      meta,
      connect,
      effects: life.effects,
      log: life.log,
      settings: {
        name: gateway.process.name,
        blockSize: BLOCK_SIZE,
        stragglerMs: 300,
        retryMs: 1500,
        callTimeoutMs: 4000,
        renewMs: this.#renewMs,
      },
    });
    const died = new Promise<void>((resolve) => life.onEnd(resolve));
    gateway.now = { life, running, meta, died };
    life.onEnd(() => {
      gateway.now = undefined;
    });
    void running.start();
  }

  /* ---------------------------------------------------------------- connections */

  #metaClient(life: Life): Meta {
    const channel = this.network.channel(life, () => this.meta, {
      nameOf: (method) => META_METHODS.nameOf(method) ?? `method ${method}`,
      repeatable: (name) => REPEATABLE_META.has(name as Method),
    });
    return createMetaClient(channel, life.clock);
  }

  #connect(life: Life, view: NodeView): StorageNode & { close(): Promise<void> } {
    return this.#connectTo(life, view.address);
  }

  #connectTo(life: Life, address: string): StorageNode & { close(): Promise<void> } {
    const target = this.nodes.find((node) => node.identity.id === address);
    const channel = this.network.channel(life, () => target?.process, {
      nameOf: (method) => NODE_METHODS.nameOf(method) ?? `method ${method}`,
      repeatable: (name) => REPEATABLE_NODE.has(name),
    });
    return { ...createStorageNodeClient(channel), close: () => channel.close() };
  }

  #logOf(process: SimProcess): Log {
    if (this.#trace === undefined) return silentLog;
    const line = (level: string) => (fields: object, message: string) => {
      this.trace(`    ${process.name} ${level}: ${message} ${textOf(fields)}`);
    };
    const log: Log = {
      debug: line('debug'),
      info: line('info'),
      warn: line('warn'),
      error: line('error'),
      child: () => log,
    };
    return log;
  }
}

/** As the command does it. */
async function rebuild(
  nodes: readonly SourceNode[],
  store: MetaStore,
  { effects }: Life,
): Promise<boolean> {
  const states = await statesOf(nodes);
  if (states.length < nodes.length) return false;
  const source = nodesSource(nodes);
  const generation = Math.max(...states.map(({ state }) => state.generation));
  const options = { effects, generation, startsSkipped: 0, newLine: false };
  const { cutOff } = await fillStore(source, await choose(source), store, options);
  return cutOff === 0;
}

function textOf(fields: object): string {
  return JSON.stringify(fields, (_, value: unknown) =>
    value instanceof Error ? value.message : value,
  );
}
