/**
 * The cluster half of the metadata service: membership, placement and leases, over the store. The
 * states are pure (`nodes.ts`, `leases.ts`, `layout.ts`, `reclamation.ts`); this file commits what
 * must survive and answers callers.
 */
import type { Effects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import { type KeyValueStore, STAMP_BYTES } from '../engine/kv.ts';
import { type ClusterView, type Layout, type Meta, PLACEMENT_GROUPS } from '../protocol.ts';
import { ClusterStore } from './cluster-store.ts';
import { assertMayRegister } from './identity.ts';
import { LayoutChanges } from './layout-changes.ts';
import { Leases } from './leases.ts';
import { Nodes } from './nodes.ts';
import { firstReadEpoch, Reclamation } from './reclamation.ts';
import {
  BOOT_KEY,
  decodeCount,
  decodeFacts,
  decodeLease,
  decodeNode,
  encodeCount,
  encodeFacts,
  encodeLease,
  encodeNode,
  FACTS_KEY,
  LEASES,
  leaseKey,
  newNodeRow,
  NEXT_WRITER_KEY,
  NODES,
  nodeKey,
  type NodeRow,
  STORE_FORMAT,
  writerOfKey,
} from './rows.ts';

/** Tries of a commit that another metadata server keeps winning. */
const ATTEMPTS_MAX = 10;
/** A longer pause between two sweeps means that this process stood still. */
const PAUSE_MS = 1500;

export interface ClusterSettings {
  /** The first layout is made when this many nodes have registered; at least 3. */
  expectedNodes: number;
  /** Life of a writer lease without renewal. */
  leaseTtlMs: number;
  /** How often nodes are asked to send a heartbeat. */
  heartbeatMs: number;
  /** A node without a heartbeat for this long is down. */
  nodeDownMs: number;
  /** A node without one for this long is out: its replicas are made again elsewhere. */
  nodeOutMs: number;
  /** Placement groups of a new cluster. */
  groups: number;
}

const CLUSTER_SETTINGS: ClusterSettings = {
  expectedNodes: 3,
  leaseTtlMs: 10_000,
  heartbeatMs: 1000,
  nodeDownMs: 3500,
  nodeOutMs: 600_000,
  groups: PLACEMENT_GROUPS,
};

type ClusterMethods = Pick<
  Meta,
  'registerNode' | 'heartbeat' | 'openWriter' | 'renewWriter' | 'closeWriter'
>;

export interface Cluster<Waiting> extends ClusterMethods {
  readonly clusterId: string;
  /** How often the service has started over this store, this start included. */
  readonly boot: number;
  readonly leases: Leases;
  readonly nodes: Nodes;
  readonly reclamation: Reclamation<Waiting>;
  readonly changes: LayoutChanges;
  view(): ClusterView;
  readonly layout: Layout | undefined;
  /** To be called every half second or so: finds nodes that are down and ends leases that ran out. */
  sweep(): Promise<void>;
}

/**
 * Counts the start and reads what the store knows. Failures: `invalid` when a newer version wrote
 * it, and what the store throws.
 */
export async function openCluster<Waiting>(options: {
  store: KeyValueStore;
  effects: Effects;
  log: Log;
  settings?: Partial<ClusterSettings> | undefined;
}): Promise<Cluster<Waiting>> {
  const settings = { ...CLUSTER_SETTINGS, ...options.settings };
  const { clusterId, boot } = await countStart(options.store, options.effects);
  const cluster = new StoredCluster<Waiting>({ ...options, settings, clusterId, boot });
  await cluster.restore();
  return cluster;
}

/** First start: makes the cluster. Every start: a number that no other start has. */
async function countStart(
  store: KeyValueStore,
  effects: Effects,
): Promise<{ clusterId: string; boot: number }> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const [factsRow, bootRow] = await store.get([FACTS_KEY, BOOT_KEY]);
    const known = factsRow ? decodeFacts(factsRow.value) : undefined;
    if (known !== undefined && known.format > STORE_FORMAT) {
      throw new Failure(
        'invalid',
        `the metadata store has format ${known.format}, this version knows ${STORE_FORMAT}: ` +
          'start the newer version again',
      );
    }
    const clusterId = known?.clusterId ?? effects.random.bytes(16).toString('hex');
    const boot = decodeCount(bootRow ?? null) + 1;
    const facts = encodeFacts({ format: STORE_FORMAT, clusterId });
    const result = await store.commit({
      id: effects.random.bytes(STAMP_BYTES),
      checks: [
        { key: FACTS_KEY, stamp: factsRow?.stamp ?? null },
        { key: BOOT_KEY, stamp: bootRow?.stamp ?? null },
      ],
      set: [
        ...(known === undefined ? [{ key: FACTS_KEY, value: facts }] : []),
        { key: BOOT_KEY, value: encodeCount(boot) },
      ],
      del: [],
      add: [],
      reserve: true,
      early: true,
    });
    if (result.committed) return { clusterId, boot };
  }
  throw new Failure('unavailable', 'other metadata services start over the same store');
}

interface StoredClusterOptions {
  store: KeyValueStore;
  effects: Effects;
  log: Log;
  settings: ClusterSettings;
  clusterId: string;
  boot: number;
}

class StoredCluster<Waiting> implements Cluster<Waiting> {
  readonly clusterId: string;
  readonly boot: number;
  readonly leases: Leases;
  readonly nodes: Nodes;
  readonly reclamation: Reclamation<Waiting>;
  readonly changes: LayoutChanges;
  readonly #store: ClusterStore;
  readonly #effects: Effects;
  readonly #log: Log;
  readonly #settings: ClusterSettings;
  #view: ClusterView | undefined;
  #sweptAt: number | undefined;

  constructor(options: StoredClusterOptions) {
    const { settings, boot } = options;
    this.clusterId = options.clusterId;
    this.boot = boot;
    this.#store = new ClusterStore(options.store, options.effects);
    this.#effects = options.effects;
    this.#log = options.log;
    this.#settings = settings;
    this.leases = new Leases(settings.leaseTtlMs);
    this.nodes = new Nodes(settings.nodeDownMs, firstReadEpoch(boot));
    this.reclamation = new Reclamation(firstReadEpoch(boot));
    const { clock } = options.effects;
    const { nodes, log } = { nodes: this.nodes, log: this.#log };
    this.changes = new LayoutChanges({ store: this.#store, nodes, clock, log, settings });
  }

  get layout(): Layout | undefined {
    return this.changes.layouts.newest;
  }

  async restore(): Promise<void> {
    const now = this.#effects.clock.monotonic();
    for (const row of await this.#store.rows(LEASES)) {
      this.leases.opened(writerOfKey(row.key), decodeLease(row.value), now);
    }
    for (const row of await this.#store.rows(NODES)) {
      this.nodes.restore(row.key.toString('utf8', 1), decodeNode(row.value), now);
    }
    await this.changes.restore();
  }

  view(): ClusterView {
    const { revision } = this.nodes;
    if (this.#view?.revision !== revision) {
      const nodes = this.nodes.views();
      this.#view = {
        clusterId: this.clusterId,
        revision,
        layout: this.layout,
        previous: [...this.changes.layouts.previous],
        nodes,
      };
    }
    return this.#view;
  }

  /* ---------------------------------------------------------------- nodes */

  registerNode: Meta['registerNode'] = (registration) =>
    this.#store.inTurn(async () => {
      const { id, address, zone, capacityBytes, clusterId, generation, instance, disk } =
        registration;
      const known = this.nodes.row(id);
      const placed = this.changes.isPlaced(id);
      assertMayRegister(registration, this.clusterId, known && { row: known, placed });
      const now = this.#effects.clock.monotonic();
      this.nodes.sweep(now);
      if (this.nodes.clashes(registration, now)) {
        throw new Failure(
          'conflict',
          `another process is alive as node ${id}: give this one another id, or stop the other`,
        );
      }
      const said = { address, zone, capacityBytes };
      const fresh = known === undefined || known.removal === 'gone';
      const base = fresh ? newNodeRow(said) : known;
      // A gateway may have written to this disk before it was taken in, by what it knew of another.
      const leftovers = base.leftovers || ((fresh || base.replaced) && this.layout !== undefined);
      const joined = clusterId !== undefined || (base.joined && !base.replaced && placed);
      const seen = { ...said, generation, instance, disk };
      const row = { ...base, ...seen, joined, leftovers, replaced: false };
      if (known === undefined || !sameRow(known, row)) {
        await this.#store.must({
          set: [{ key: nodeKey(id), value: encodeNode(row) }],
          early: true,
        });
      }
      this.nodes.register(registration, row, this.#effects.clock.monotonic());
      this.#log.info({ node: id, address, zone, capacityBytes }, 'storage node registered');
      await this.changes.layOutFirst();
      if (this.layout !== undefined && !this.changes.isPlaced(id)) {
        this.#log.warn({ node: id }, 'storage node is a spare: it holds no data until it is added');
      }
      const inLayout = this.layout?.nodes.find((node) => node.id === id)?.zone ?? zone;
      if (inLayout !== zone && row.placedZone === undefined) {
        const message =
          'storage node names another zone than the layout: stage the change of its zone';
        this.#log.warn({ node: id, zone, inLayout }, message);
      }
      return { clusterId: this.clusterId, heartbeatMs: this.#settings.heartbeatMs };
    });

  heartbeat: Meta['heartbeat'] = async (beat) => {
    if (!this.nodes.beat(beat, this.#effects.clock.monotonic())) {
      throw new Failure('not-found', `node ${beat.id} is not registered as this process`);
    }
    return null;
  };

  /** A heartbeat is sent after the disk has taken note of the cluster: it is blank no more. */
  async #noteJoined(): Promise<void> {
    for (const { id, row, up, beats } of this.changes.states()) {
      if (row.joined || !up || !beats) continue;
      await this.#store.inTurn(async () => {
        const now = this.nodes.row(id);
        if (now === undefined || now.joined) return;
        const joined = { ...now, joined: true };
        const set = [{ key: nodeKey(id), value: encodeNode(joined) }];
        await this.#store.must({ set, early: true });
        this.nodes.putRow(id, joined);
      });
    }
  }

  /* ---------------------------------------------------------------- leases */

  openWriter: Meta['openWriter'] = ({ name }) =>
    this.#store.inTurn(async () => {
      const next = await this.#store.get(NEXT_WRITER_KEY);
      const writer = Math.max(1, decodeCount(next));
      const key = leaseKey(writer);
      await this.#store.must({
        checks: [
          { key: NEXT_WRITER_KEY, stamp: next?.stamp ?? null },
          { key, stamp: null },
        ],
        set: [
          { key: NEXT_WRITER_KEY, value: encodeCount(writer + 1) },
          { key, value: encodeLease(name) },
        ],
      });
      this.leases.opened(writer, name, this.#effects.clock.monotonic());
      this.#log.info({ writer, name }, 'writer lease opened');
      const readEpoch = this.reclamation.epoch;
      return { writer, ttlMs: this.#settings.leaseTtlMs, readEpoch, view: this.view() };
    });

  renewWriter: Meta['renewWriter'] = async ({ writer, marks, revision }) => {
    const now = this.#effects.clock.monotonic();
    if (!this.leases.renew(writer, marks, now)) {
      throw new Failure('fenced', `the lease of writer ${writer} has ended`);
    }
    const readEpoch = this.reclamation.epoch;
    return revision === this.nodes.revision ? { readEpoch } : { readEpoch, view: this.view() };
  };

  closeWriter: Meta['closeWriter'] = async ({ writer }) => {
    if (this.leases.end(writer)) await this.#fence(writer);
    return null;
  };

  /** Deletes the lease's row: from then on no commit under it succeeds. */
  async #fence(writer: number): Promise<void> {
    await this.#store.must({ del: [leaseKey(writer)] });
    this.leases.forget(writer);
  }

  async sweep(): Promise<void> {
    const now = this.#effects.clock.monotonic();
    const pause = now - (this.#sweptAt ?? now);
    this.#sweptAt = now;
    if (pause > PAUSE_MS) {
      this.nodes.forgive(pause);
      this.leases.forgive(pause);
    }
    for (const node of this.nodes.sweep(now)) {
      this.#log.warn({ node }, 'storage node is down: no heartbeat');
    }
    for (const { writer, name } of this.leases.expire(now)) {
      await this.#fence(writer);
      this.#log.warn({ writer, name }, 'writer lease ended: not renewed in time, or closed');
    }
    await this.#noteJoined();
    await this.changes.follow();
  }
}

const sameRow = (a: NodeRow, b: NodeRow): boolean => encodeNode(a).equals(encodeNode(b));
