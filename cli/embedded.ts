/**
 * Everything in one process, over in-process transport: `ashlar dev` and `ashlar/testing`. The same
 * rooms as in production, with the network left out.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Effects, holdProcess } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { GatewayConfig } from '../gateway/config.ts';
import { startGateway, whenReady } from '../gateway/main.ts';
import { startMeta } from '../meta/main.ts';
import type { Meta } from '../meta/protocol.ts';
import { storageNodeConfigSchema } from '../storage-node/config.ts';
import { startStorageNode } from '../storage-node/main.ts';
import type { StorageNode } from '../storage-node/protocol.ts';

export interface Embedded {
  s3: string;
  /** URL of the endpoint for websites only; empty when there is none. */
  website: string;
  admin: string;
  meta: Meta;
  nodes: ReadonlyMap<string, StorageNode>;
  /** Orderly stop; removes the folder when it was made for this run. */
  stop(): Promise<void>;
}

const NODES = ['node-1', 'node-2', 'node-3'];
/** Transport is by function call; the secret is never used. */
const NO_SECRET = 'in-process, nothing listens';
/**
 * Far below the default of a node of its own: a process has 128 TiB of addresses, and lmdb ends it by
 * SIGSEGV when there are none left, so several servers must fit into one process.
 */
const NODE_MAP_BYTES = 256 * 1024 ** 3;
const META_MAP_BYTES = 32 * 1024 ** 3;

interface EmbeddedOptions {
  /** Undefined: a temporary one, removed by `stop`. */
  folder: string | undefined;
  /** Of lifecycle rules; a real one by default. */
  lifecycleDayMs?: number | undefined;
  effects: Effects;
  log: Log;
}

/** Resolves when requests are served. */
export async function startEmbedded(
  config: GatewayConfig,
  options: EmbeddedOptions,
): Promise<Embedded> {
  // Until there is a port to listen on, nothing else tells Node that there is something to wait for.
  const hold = holdProcess();
  try {
    const { stop, ...running } = await start(config, options);
    return { ...running, stop: () => held(stop) };
  } finally {
    hold.cancel();
  }
}

async function held(stop: () => Promise<void>): Promise<void> {
  const hold = holdProcess();
  try {
    await stop();
  } finally {
    hold.cancel();
  }
}

async function start(config: GatewayConfig, options: EmbeddedOptions): Promise<Embedded> {
  const { effects, log } = options;
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'ashlar-'));
  const nodes = new Map<string, StorageNode>();
  const find = ({ id }: { id: string }): StorageNode => nodes.get(id) ?? missing(id);
  const undo: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
    if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
  };
  try {
    const meta = await startMeta(
      {
        folder: join(folder, 'meta'),
        listen: undefined,
        mapSizeBytes: META_MAP_BYTES,
        expectedNodes: NODES.length,
        // All folders are on one disk, which ends with this process: a journal would add nothing.
        journal: 'off',
        lifecycleDayMs: options.lifecycleDayMs,
      },
      { effects, log, secret: NO_SECRET, connectNode: find },
    );
    undo.push(() => meta.stop());
    for (const id of NODES) {
      const node = await startStorageNode(
        {
          ...storageNodeConfigSchema.parse({ folder: join(folder, id) }),
          id,
          advertise: id,
          mapSizeBytes: NODE_MAP_BYTES,
          drainMs: config.drainMs,
        },
        { effects, log, secret: NO_SECRET, registrar: meta.meta },
      );
      nodes.set(id, node.node);
      undo.push(() => node.close());
      await node.registered;
    }
    const surroundings = { effects, log, meta: meta.meta, admin: meta.admin, connect: find };
    const gateway = await startGateway(config, surroundings);
    undo.push(() => gateway.stop());
    await whenReady(gateway, config, surroundings);
    const { s3, website, admin } = gateway;
    return { s3, website, admin, meta: meta.meta, nodes, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function missing(id: string): never {
  throw new Error(`there is no node ${id} in this process`);
}
