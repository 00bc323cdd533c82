/**
 * A whole cluster in this process, without disks and sockets: the metadata service with its jobs over
 * the memory engine, storage nodes over memory environments, and object engines as gateways. Real
 * time, short periods.
 */
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemEffects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import { placementGroup } from '../../base/ids.ts';
import { silentLog } from '../../base/log.ts';
import {
  createObjectEngine,
  type RunningObjectEngine,
} from '../../gateway/object/create-engine.ts';
import type { LayoutChange, LayoutPlan, MetaAdmin } from '../../meta/admin-protocol.ts';
import { type AssembledMeta, assembleMeta } from '../../meta/assemble.ts';
import { membersOf } from '../../meta/cluster/moves.ts';
import { createMemoryStore } from '../../meta/engine/memory.ts';
import type { ObjectRecord } from '../../meta/protocol.ts';
import { startMembership } from '../../storage-node/membership.ts';
import {
  createMemoryDisk,
  createMemoryEnvironment,
  type MemoryDisk,
} from '../../storage-node/memory-environment.ts';
import { type BlockKey, encodeBlockKey, type StorageNode } from '../../storage-node/protocol.ts';
import { createStorageNode } from '../../storage-node/service.ts';
import { createBlockStore } from '../../storage-node/store.ts';

export const BUCKET = 'b';
const BLOCK_SIZE = 4096;
const GROUPS = 64;

interface Identity {
  id: string;
  clusterId: string | undefined;
  disk: string;
  generation: number;
}

/** What is on a node's disk. */
export interface Disk {
  blocks: MemoryDisk;
  identity: Identity;
}

export const blankDisk = (id: string, bytes?: number): Disk => ({
  blocks: createMemoryDisk(bytes),
  identity: { id, clusterId: undefined, disk: randomUUID(), generation: 0 },
});

/** As a copy of the disk's files would be. */
export const copyOfDisk = ({ blocks, identity }: Disk): Disk => ({
  blocks: {
    ...blocks,
    blocks: new Map(blocks.blocks),
    contents: new Map(blocks.contents),
  },
  identity: { ...identity },
});

export interface SmallNode {
  readonly id: string;
  readonly disk: Disk;
  readonly node: StorageNode;
  readonly registered: Promise<string>;
  readonly refused: Promise<Failure>;
  /** Ends the process: what is durable stays on the disk. */
  stop(): Promise<void>;
}

export interface SmallCluster {
  readonly admin: MetaAdmin;
  readonly meta: AssembledMeta['meta'];
  readonly engines: readonly RunningObjectEngine[];
  readonly nodes: ReadonlyMap<string, SmallNode>;
  startNode(disk: Disk, zone?: string): SmallNode;
  /** Stages, applies and returns the plan. */
  change(...changes: LayoutChange[]): Promise<LayoutPlan>;
  /** Waits until no layout change is under way. */
  settled(): Promise<void>;
  until(condition: () => Promise<boolean> | boolean, what: string): Promise<void>;
  /** A crash and a new start of the metadata service over the same store. */
  restartMeta(): Promise<void>;
  put(key: string, body: Buffer, engine?: number): Promise<void>;
  get(key: string, engine?: number): Promise<Buffer | undefined>;
  remove(key: string): Promise<void>;
  /** Blocks of an object with the nodes that should have them by the newest layout. */
  placed(object: ObjectRecord): Promise<{ key: BlockKey; owners: string[] }[]>;
  /** Names of all blocks on a node. */
  blocksOn(id: string): string[];
  stop(): Promise<void>;
}

export interface SmallClusterOptions {
  nodes?: number;
  gateways?: number;
  nodeOutMs?: number;
  /** Size of each node's disk. */
  diskBytes?: number;
  /** By node number; zones of their own by default. */
  zone?: (n: number) => string;
}

/** `nodes` nodes, `node-1` …, 3 by default, and `gateways` gateways, 2 by default; all are ready. */
export async function startSmallCluster(options: SmallClusterOptions = {}): Promise<SmallCluster> {
  const world = new World(options);
  await world.start();
  return world;
}

class World implements SmallCluster {
  readonly nodes = new Map<string, SmallNode>();
  readonly engines: RunningObjectEngine[] = [];
  readonly #options: SmallClusterOptions;
  readonly #store = createMemoryStore();
  #assembled: AssembledMeta | undefined;

  constructor(options: SmallClusterOptions) {
    this.#options = options;
  }

  get #running(): AssembledMeta {
    assert.ok(this.#assembled, 'the metadata service runs');
    return this.#assembled;
  }

  get admin(): MetaAdmin {
    return this.#running.admin;
  }

  /** As a client over the wire: whichever service runs when it is called. */
  readonly meta: AssembledMeta['meta'] = new Proxy({} as AssembledMeta['meta'], {
    get: (_, method: keyof AssembledMeta['meta']) => {
      return (...args: unknown[]): unknown => {
        const { meta } = this.#assembled ?? {};
        if (meta === undefined) return Promise.reject(new Failure('unavailable', 'restarting'));
        return (meta[method] as (...args: unknown[]) => unknown)(...args);
      };
    },
  });

  async start(): Promise<void> {
    await this.#startMeta();
    const zoneOf = this.#options.zone ?? ((n: number) => `zone-${n}`);
    for (let n = 1; n <= (this.#options.nodes ?? 3); n++) {
      await this.startNode(blankDisk(`node-${n}`, this.#options.diskBytes), zoneOf(n)).registered;
    }
    await this.meta.createBucket({ name: BUCKET, owner: 'o', region: 'r' });
    for (let n = 0; n < (this.#options.gateways ?? 2); n++) {
      const engine = createObjectEngine({
        meta: this.meta,
        connect: ({ address }) => this.#connect(address),
        effects: systemEffects,
        log: silentLog,
        settings: { name: `gateway-${n}`, blockSize: BLOCK_SIZE, renewMs: 50, stragglerMs: 300 },
      });
      await engine.start();
      this.engines.push(engine);
    }
  }

  async #startMeta(): Promise<void> {
    this.#assembled = await assembleMeta({
      store: this.#store,
      effects: systemEffects,
      log: silentLog,
      connectNode: ({ address }) => this.#connect(address),
      cluster: {
        expectedNodes: this.#options.nodes ?? 3,
        groups: GROUPS,
        heartbeatMs: 50,
        nodeDownMs: 500,
        nodeOutMs: this.#options.nodeOutMs ?? 600_000,
        leaseTtlMs: 3000,
      },
      garbagePauseMs: 20,
    });
    this.#assembled.startJobs();
  }

  async restartMeta(): Promise<void> {
    const before = this.#running;
    this.#assembled = undefined;
    await before.stop();
    await this.#startMeta();
  }

  /** What is at the address at the moment of each call. */
  #connect(address: string): StorageNode {
    return new Proxy({} as StorageNode, {
      get: (_, method: Exclude<keyof StorageNode, 'journal'>) => {
        if (!METHODS.has(method)) return undefined;
        return (...args: unknown[]): unknown => {
          const node = this.nodes.get(address)?.node;
          if (node === undefined) return Promise.reject(new Failure('unavailable', 'refused'));
          return (node[method] as (...args: unknown[]) => unknown)(...args);
        };
      },
    });
  }

  startNode(disk: Disk, zone?: string): SmallNode {
    const { identity } = disk;
    identity.generation += 1;
    const effects = systemEffects;
    const environment = createMemoryEnvironment({ disk: disk.blocks });
    const store = createBlockStore({
      environment,
      clock: effects.clock,
      disk: () => ({ capacityBytes: 2 ** 40, freeBytes: 2 ** 39 }),
      watchdogMs: 60_000,
      warmBytes: 2 ** 20,
      die: (reason) => {
        throw new Error(`the store died: ${reason}`);
      },
    });
    const node = createStorageNode({ store, clock: effects.clock, identity: () => identity });
    const { id } = identity;
    const membership = startMembership({
      registrar: this.meta,
      identity,
      join: (clusterId) => {
        identity.clusterId = clusterId;
      },
      refused: () => {
        identity.generation -= 1;
      },
      address: id,
      zone: zone ?? id,
      stats: () => store.stats(),
      effects,
      log: silentLog,
    });
    const running: SmallNode = {
      id,
      disk,
      node,
      registered: membership.registered,
      refused: membership.refused,
      stop: async () => {
        if (this.nodes.get(id) === running) this.nodes.delete(id);
        await membership.stop();
        await store.close();
      },
    };
    this.nodes.set(id, running);
    return running;
  }

  async change(...changes: LayoutChange[]): Promise<LayoutPlan> {
    const plan = await this.admin.stageLayout({ changes });
    await this.admin.applyLayout({ epoch: plan.epoch });
    return plan;
  }

  async settled(): Promise<void> {
    await this.until(async () => {
      const { view, movingGroups } = await this.admin.layout();
      return view.previous.length === 0 && movingGroups === 0;
    }, 'the layout change to be complete');
  }

  async until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
    const deadline = performance.now() + 30_000;
    while (!(await condition())) {
      if (performance.now() > deadline) {
        const jobs = (await this.admin.jobs()).filter(({ state }) => state !== 'idle');
        throw new Error(`waited in vain for ${what}: ${JSON.stringify(jobs)}`);
      }
      await sleep(20);
    }
  }

  async put(key: string, body: Buffer, engine = 0): Promise<void> {
    const { engine: objects } = this.engines[engine] ?? assert.fail();
    const answer = await objects.store(chunks(body), ({ writer, size, data, missing }) =>
      this.meta.putObject({
        writer,
        bucket: BUCKET,
        key,
        object: { size, etag: md5(body), owner: 'o', data, system: {}, user: {} },
        missing,
      }),
    );
    assert.ok(answer.ok);
  }

  async get(key: string, engine = 0): Promise<Buffer | undefined> {
    const { engine: objects } = this.engines[engine] ?? assert.fail();
    const opened = await objects.open({ bucket: BUCKET, key });
    if (!opened.ok) {
      assert.equal(opened.refusal, 'NoSuchKey');
      return undefined;
    }
    const parts: Buffer[] = [];
    try {
      for await (const part of opened.value.read()) parts.push(Buffer.from(part));
    } finally {
      opened.value.close();
    }
    const body = Buffer.concat(parts);
    assert.equal(md5(body), opened.value.object.etag, `the bytes of ${key}`);
    return body;
  }

  async remove(key: string): Promise<void> {
    const answer = await this.meta.deleteObject({ bucket: BUCKET, key });
    assert.ok(answer.ok);
  }

  async placed(object: ObjectRecord): Promise<{ key: BlockKey; owners: string[] }[]> {
    const { layout } = (await this.admin.layout()).view;
    assert.ok(layout);
    if (object.data.kind !== 'blob') return [];
    const { blob, size, blockSize } = object.data;
    return Array.from({ length: Math.ceil(size / blockSize) }, (_, index) => {
      const group = placementGroup(blob, index, layout.groups);
      return { key: { group, blob, index }, owners: membersOf(layout, group) };
    });
  }

  blocksOn(id: string): string[] {
    return [...(this.nodes.get(id)?.disk.blocks.blocks.keys() ?? [])];
  }

  async stop(): Promise<void> {
    for (const engine of this.engines) await engine.stop();
    for (const node of this.nodes.values()) await node.stop();
    await this.#running.stop();
  }
}

const METHODS: ReadonlySet<string> = new Set([
  'put',
  'get',
  'has',
  'delete',
  'restore',
  'list',
  'verify',
  'stats',
  'health',
]);

async function* chunks(body: Buffer): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < body.length; from += 10_000) {
    await Promise.resolve();
    yield body.subarray(from, from + 10_000);
  }
}

export const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

export const nameOfBlock = (key: BlockKey): string => encodeBlockKey(key).toString('hex');
