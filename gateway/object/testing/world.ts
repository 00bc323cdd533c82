/** A small cluster in one process on a manual clock: nodes, metadata, one engine. Test support. */
import type { KeyObject } from 'node:crypto';
import { Failure } from '../../../base/failure.ts';
import { placementGroup } from '../../../base/ids.ts';
import { silentLog } from '../../../base/log.ts';
import { createManualEffects, type ManualClock } from '../../../base/testing-clock.ts';
import type { Answer, ObjectRecord, Written } from '../../../meta/protocol.ts';
import type { BlockKey } from '../../../storage-node/protocol.ts';
import { createObjectEngine, type RunningObjectEngine } from '../create-engine.ts';
import type { ByteRange, StoreOptions } from '../engine.ts';
import type { ObjectSettings } from '../settings.ts';
import { createMapMeta, type MapMeta, viewOf } from './map-meta.ts';
import { MapNode } from './map-node.ts';

export interface World {
  clock: ManualClock;
  meta: MapMeta;
  nodes: MapNode[];
  node(index: number): MapNode;
  running: RunningObjectEngine;
  /** Stores `body` under `key`, as an operation would; time passes as needed. */
  put(
    key: string,
    body: AsyncIterable<Uint8Array>,
    options?: StoreOptions,
  ): Promise<Answer<Written>>;
  /** Begins to store and does not let time pass. */
  beginPut(
    key: string,
    body: AsyncIterable<Uint8Array>,
    options?: StoreOptions,
  ): Promise<Answer<Written>>;
  /** The bytes of `key`; time passes as needed. */
  get(key: string, range?: ByteRange, dataKey?: KeyObject): Promise<Buffer>;
  /** Keys of the blocks of a stored object of one blob, with their nodes in placement order. */
  blocksOf(key: string): { key: BlockKey; nodes: MapNode[] }[];
  /** Blocks stored on all nodes together. */
  stored(): number;
}

/** How the data key is kept does not matter to the engine. */
const ENCRYPTION = { algorithm: 'AES256' as const, wrappedKey: Buffer.from('kept elsewhere') };

export const TEST_BLOCK_SIZE = 4096;

/** `nodes` nodes (3 by default) and a started engine with small blocks. */
export async function createWorld(
  options: { nodes?: number; settings?: Partial<ObjectSettings>; start?: boolean } = {},
): Promise<World> {
  const effects = createManualEffects();
  const { clock } = effects;
  const ids = Array.from({ length: options.nodes ?? 3 }, (_, index) => `n${index}`);
  const meta = createMapMeta(viewOf(ids));
  const nodes = ids.map((id) => new MapNode(id, 'c', clock));
  const running = createObjectEngine({
    meta,
    connect: (view) => nodeOf(nodes, view.id),
    effects,
    log: silentLog,
    settings: { blockSize: TEST_BLOCK_SIZE, ...options.settings },
  });
  if (options.start !== false) await clock.settle(running.start());
  const { engine } = running;

  const world: World = {
    clock,
    meta,
    nodes,
    node: (index) => nodeOf(nodes, `n${index}`),
    running,
    beginPut: (key, body, how) =>
      engine.store(
        body,
        ({ writer, size, data, missing }) =>
          meta.putObject({
            writer,
            bucket: 'b',
            key,
            object: {
              size,
              etag: 'e',
              owner: 'o',
              data,
              system: {},
              user: {},
              ...(how?.dataKey && { encryption: ENCRYPTION }),
            },
            missing,
          }),
        how,
      ),
    put: (key, body, how) => clock.settle(world.beginPut(key, body, how)),
    get: (key, range, dataKey) => clock.settle(readAll(running, key, range, dataKey)),
    blocksOf(key) {
      const { layout } = meta.view;
      const record = meta.objects.get(key);
      if (layout === undefined || record === undefined) return [];
      return keysOf(record, layout.groups).map((block) => {
        const slots = [0, 1, 2].map((slot) => (block.group * 3 + slot) * 2);
        const indexes = slots.map((slot) => layout.assignment.readUInt16LE(slot));
        const owners = indexes.map((index) => nodeOf(nodes, layout.nodes[index]?.id ?? ''));
        return { key: block, nodes: owners };
      });
    },
    stored: () => nodes.reduce((sum, node) => sum + node.blocks.size, 0),
  };
  return world;
}

async function readAll(
  running: RunningObjectEngine,
  key: string,
  range: ByteRange | undefined,
  dataKey: KeyObject | undefined,
): Promise<Buffer> {
  const opened = await running.engine.open({ bucket: 'b', key });
  if (!opened.ok) throw new Failure('not-found', opened.refusal);
  try {
    if (dataKey !== undefined) opened.value.unlock(dataKey);
    const chunks: Buffer[] = [];
    for await (const chunk of opened.value.read(range)) chunks.push(chunk);
    return Buffer.concat(chunks);
  } finally {
    opened.value.close();
  }
}

function nodeOf(nodes: readonly MapNode[], id: string): MapNode {
  const node = nodes.find((one) => one.id === id);
  if (node === undefined) throw new Failure('internal', `no node ${id} in this test`);
  return node;
}

function keysOf(record: ObjectRecord, groups: number): BlockKey[] {
  if (record.data.kind !== 'blob') return [];
  const { blob, size, blockSize } = record.data;
  const count = Math.ceil(size / blockSize);
  return Array.from({ length: count }, (_, index) => ({
    group: placementGroup(blob, index, groups),
    blob,
    index,
  }));
}

/** A body that arrives as `chunks`. */
export async function* bodyOf(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) {
    await Promise.resolve();
    yield chunk;
  }
}

/** `length` bytes that differ from block to block and from `seed` to `seed`. */
export function bytesOf(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = (seed * 2_654_435_761) >>> 0;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}
