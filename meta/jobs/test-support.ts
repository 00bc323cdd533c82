/** What the tests of the jobs share: nodes in a Map with planted faults, under a real catalogue. */
import { hashBytes } from '../../base/checksum.ts';
import { Failure } from '../../base/failure.ts';
import { silentLog } from '../../base/log.ts';
import { createManualEffects, type ManualClock } from '../../base/testing-clock.ts';
import {
  type BlockContent,
  type BlockKey,
  type BlockRange,
  checksumOf,
  decodeBlockKey,
  encodeBlockKey,
  type ListedBlock,
  type NodeStats,
  type ReadBlock,
  type StorageNode,
  type VerifiedPage,
} from '../../storage-node/protocol.ts';
import { createWorld, OWNER, type World, WRITER } from '../catalogue/test-support.ts';
import { planLayout } from '../cluster/layout.ts';
import { Leases } from '../cluster/leases.ts';
import { firstReadEpoch, Reclamation } from '../cluster/reclamation.ts';
import type { BlobRef, ClusterView, Layout } from '../protocol.ts';
import type { ReadableEntry } from './garbage.ts';
import { JobRows } from './job.ts';
import { blockCount, blockKeys, blockLength, idsOfGroup } from './placed.ts';

export { silentLog };

interface Stored {
  key: BlockKey;
  bytes: Buffer;
  checksum: bigint;
}

/** A storage node in memory. */
export class BlockNode implements StorageNode {
  readonly blocks = new Map<string, Stored>();
  /** `unavailable`: every call fails; `hang`: is never answered within its time. */
  fault: 'none' | 'unavailable' | 'full' = 'none';
  /** Called before each call; may wait, or change the world. */
  before: ((method: string, keys: readonly BlockKey[]) => Promise<void> | void) | undefined;
  readonly calls = new Map<string, number>();

  async put(key: BlockKey, content: BlockContent): Promise<void> {
    await this.#face('put', [key], true);
    const checksum = checksumOf(key, content.hash);
    const known = this.blocks.get(nameOf(key));
    if (known !== undefined && known.checksum !== checksum) throw new Failure('conflict', 'other');
    if (known === undefined) this.store(key, content.bytes);
  }

  async get(key: BlockKey, range?: BlockRange): Promise<ReadBlock> {
    await this.#face('get', [key]);
    const stored = this.blocks.get(nameOf(key));
    if (stored === undefined) throw new Failure('not-found', 'no such block');
    if (!isSound(stored)) throw new Failure('corrupt', 'does not match');
    const bytes = Buffer.from(stored.bytes.subarray(range?.start, range?.end));
    const { checksum } = stored;
    return { bytes, hash: hashBytes(bytes), length: stored.bytes.length, checksum };
  }

  async has(keys: readonly BlockKey[]): Promise<boolean[]> {
    await this.#face('has', keys);
    return keys.map((key) => this.blocks.has(nameOf(key)));
  }

  async delete(keys: readonly BlockKey[]): Promise<void> {
    await this.#face('delete', keys);
    for (const key of keys) this.blocks.delete(nameOf(key));
  }

  async restore(key: BlockKey, content: BlockContent): Promise<void> {
    await this.#face('restore', [key], true);
    const known = this.blocks.get(nameOf(key));
    const checksum = checksumOf(key, content.hash);
    if (known !== undefined && isSound(known) && known.checksum !== checksum) {
      throw new Failure('conflict', 'other');
    }
    this.store(key, content.bytes);
  }

  async list(query: {
    group: number;
    after?: BlockKey | undefined;
    limit: number;
  }): Promise<ListedBlock[]> {
    await this.#face('list', []);
    return this.#page(query).map(({ key, bytes, checksum }) => {
      return { key, length: bytes.length, checksum };
    });
  }

  async verify(query: {
    group: number;
    after?: BlockKey | undefined;
    bytesMax: number;
  }): Promise<VerifiedPage> {
    await this.#face('verify', []);
    const page: VerifiedPage = { blocks: 0, bytes: 0, corrupt: [], next: undefined };
    for (const stored of this.#page({ ...query, limit: 1000 })) {
      if (page.bytes >= query.bytesMax) return page;
      page.blocks += 1;
      page.bytes += stored.bytes.length;
      if (!isSound(stored)) page.corrupt.push(stored.key);
      page.next = stored.key;
    }
    return { ...page, next: undefined };
  }

  async stats(): Promise<NodeStats> {
    await this.#face('stats', []);
    let fileBytes = 0;
    for (const { bytes } of this.blocks.values()) fileBytes += bytes.length;
    return {
      blocks: this.blocks.size,
      fileBytes,
      capacityBytes: 1e12,
      freeBytes: 1e12,
      full: false,
    };
  }

  health(): Promise<never> {
    return Promise.reject(new Failure('internal', 'not part of this test'));
  }

  store(key: BlockKey, content: Uint8Array): void {
    const bytes = Buffer.from(content);
    this.blocks.set(nameOf(key), { key, bytes, checksum: checksumOf(key, hashBytes(bytes)) });
  }

  /** Flips a bit. */
  spoil(key: BlockKey): void {
    const stored = this.blocks.get(nameOf(key));
    if (stored !== undefined) stored.bytes[0] = (stored.bytes[0] ?? 0) ^ 1;
  }

  lose(key: BlockKey): void {
    this.blocks.delete(nameOf(key));
  }

  sound(key: BlockKey): boolean {
    const stored = this.blocks.get(nameOf(key));
    return stored !== undefined && isSound(stored);
  }

  #page(query: { group: number; after?: BlockKey | undefined; limit: number }): Stored[] {
    const after = query.after === undefined ? '' : nameOf(query.after);
    return [...this.blocks.keys()]
      .filter(
        (name) => name > after && decodeBlockKey(Buffer.from(name, 'hex')).group === query.group,
      )
      .sort()
      .slice(0, query.limit)
      .flatMap((name) => this.blocks.get(name) ?? []);
  }

  async #face(method: string, keys: readonly BlockKey[], writes = false): Promise<void> {
    this.calls.set(method, (this.calls.get(method) ?? 0) + 1);
    await this.before?.(method, keys);
    if (this.fault === 'unavailable') throw new Failure('unavailable', 'connection refused');
    if (this.fault === 'full' && writes) throw new Failure('full', 'no space');
  }
}

const nameOf = (key: BlockKey): string => encodeBlockKey(key).toString('hex');

const isSound = ({ key, bytes, checksum }: Stored): boolean =>
  checksumOf(key, hashBytes(bytes)) === checksum;

/** What block `index` of a blob of the tests holds. */
export function contentOf(ref: BlobRef, index: number): Buffer {
  const length = blockLength(ref, index);
  return Buffer.alloc(length, `${ref.blob}/${index} `);
}

export interface HealingWorld {
  world: World;
  clock: ManualClock;
  nodes: Map<string, BlockNode>;
  /** Nodes that the service takes for down. */
  down: Set<string>;
  leases: Leases;
  reclamation: Reclamation<ReadableEntry>;
  /** What most jobs want to be made from. */
  parts: {
    repairs: World['catalogue']['repairs'];
    blobs: World['catalogue']['blobs'];
    leases: Leases;
    reclamation: Reclamation<ReadableEntry>;
    view: () => ClusterView;
    node: (id: string) => StorageNode | undefined;
    rows: JobRows;
    clock: ManualClock;
    log: typeof silentLog;
  };
  layout(): Layout;
  setLayout(layout: Layout, previous?: Layout[]): void;
  /** Puts an object and stores all replicas of its blocks, but for those on `missing`, which it names. */
  put(key: string, size?: number, missing?: string[]): Promise<BlobRef>;
  remove(key: string): Promise<void>;
  /** Block keys of a blob with the nodes that should hold them. */
  placed(ref: BlobRef): { key: BlockKey; ids: string[] }[];
  node(id: string): BlockNode;
  /** Replicas of the blob that are sound where they should be. */
  soundReplicas(ref: BlobRef): number;
  /** The gateway of the tests reports that nothing is in flight. */
  renew(): void;
}

/**
 * `nodes` nodes in zones of their own, one bucket `b`, one writer with a lease. `pause` is awaited
 * before every access to the store.
 */
export async function healingWorld(
  nodes = 3,
  pause?: () => Promise<void>,
  groups = 64,
): Promise<HealingWorld> {
  const world = await createWorld(pause === undefined ? {} : { pause });
  await world.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' });
  const effects = createManualEffects();
  const { clock } = effects;
  const ids = Array.from({ length: nodes }, (_, n) => `node-${n}`);
  const map = new Map(ids.map((id) => [id, new BlockNode()]));
  const down = new Set<string>();
  let layouts: { layout: Layout; previous: Layout[] } = {
    layout: planLayout({
      epoch: 1,
      groups,
      nodes: ids.map((id) => ({ id, zone: id, weight: 1 })),
    }),
    previous: [],
  };
  const leases = new Leases(10_000);
  leases.opened(WRITER, 'g', 0);
  const reclamation = new Reclamation<ReadableEntry>(firstReadEpoch(1));
  const view = (): ClusterView => ({ clusterId: 'c', revision: 1, nodes: [], ...layouts });
  const node = (id: string): BlockNode => {
    const found = map.get(id);
    if (found === undefined) throw new Error(`no node ${id}`);
    return found;
  };
  const placed = (ref: BlobRef) =>
    [...blockKeys(ref.blob, groups, 0, blockCount(ref))].map((key) => ({
      key,
      ids: idsOfGroup(layouts.layout, key.group),
    }));
  return {
    world,
    clock,
    nodes: map,
    down,
    leases,
    reclamation,
    parts: {
      repairs: world.catalogue.repairs,
      blobs: world.catalogue.blobs,
      leases,
      reclamation,
      view,
      node: (id) => (down.has(id) ? undefined : map.get(id)),
      rows: new JobRows(world.store, effects.random),
      clock,
      log: silentLog,
    },
    layout: () => layouts.layout,
    setLayout: (layout, previous = []) => {
      layouts = { layout, previous };
    },
    async put(key, size = 10, missing = []) {
      const data = await putObject(world, key, size, (ref) => {
        const holders = new Set(placed(ref).flatMap((block) => block.ids));
        return missing.filter((id) => holders.has(id));
      });
      for (const { key: block, ids: holders } of placed(data)) {
        for (const id of holders) {
          if (!missing.includes(id)) node(id).store(block, contentOf(data, block.index));
        }
      }
      return data;
    },
    async remove(key) {
      await world.catalogue.deleteObject({ bucket: 'b', key });
    },
    placed,
    node,
    soundReplicas: (ref) =>
      placed(ref).reduce(
        (sum, { key, ids: holders }) => sum + holders.filter((id) => node(id).sound(key)).length,
        0,
      ),
    renew() {
      const marks = {
        lowestSequence: Number.MAX_SAFE_INTEGER,
        oldestRead: reclamation.epoch,
        oldestLayout: layouts.layout.epoch,
      };
      leases.renew(WRITER, marks, clock.monotonic());
    },
  };
}

async function putObject(
  world: World,
  key: string,
  size: number,
  missingOf: (ref: BlobRef) => string[],
): Promise<BlobRef> {
  const object = world.object(size);
  if (object.data.kind !== 'blob') throw new Error('an object with data');
  const { kind: _, ...data } = object.data;
  const missing = missingOf(data).map((node) => ({ blob: data.blob, node }));
  await world.catalogue.putObject({ writer: WRITER, bucket: 'b', key, object, missing });
  return data;
}
