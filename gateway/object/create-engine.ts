/** Assembles the object engine from its parts. */
import type { Effects } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import { type Answer, type Meta, REPLICAS, type VersionName } from '../../meta/protocol.ts';
import { BLOCK_BYTES_MAX, BLOCK_SIZE_BYTES_MIN } from '../../storage-node/protocol.ts';
import type { ReadCounts } from './block-read.ts';
import { ByteBudget } from './byte-budget.ts';
import type { ObjectEngine, OpenedObject } from './engine.ts';
import { type GetEnvironment, ReadableObject, rereadBody } from './get.ts';
import { type Connect, NodePool, type NodeStatus } from './node-pool.ts';
import { type PutCounts, type PutEnvironment, storeBody } from './put.ts';
import { type RepairCounts, ReadRepairer } from './read-repair.ts';
import { OBJECT_SETTINGS, type ObjectSettings } from './settings.ts';
import { Ticker } from './ticker.ts';
import { WriterLeases } from './writer-lease.ts';

/** Bound on one metadata read. */
const META_TIMEOUT_MS = 10_000;
/** How long `start` waits for the nodes' first sign of life. */
const FIRST_PROBES_MS = 1000;
/** Share of the write memory that only small bodies may use. */
const SMALL_SHARE = 1 / 8;
const DRAIN_POLL_MS = 20;

export interface ObjectEngineOptions {
  meta: Meta;
  /** Makes a client for a node; called again when the node's address changes. */
  connect: Connect;
  effects: Effects;
  log: Log;
  /** Whatever is not given is as in OBJECT_SETTINGS. */
  settings?: Partial<ObjectSettings>;
}

/** For status pages and metrics. Memory in bytes; counters since the start. */
export interface ObjectEngineStatus {
  /** There is a lease and a layout: requests can be served. */
  ready: boolean;
  layoutEpoch: number | undefined;
  /** The metadata service answered when it was last asked. */
  inTouch: boolean;
  /** Placement groups, and those of which too few nodes take blocks for a write. */
  groups: { total: number; blocked: number };
  /** Blobs being written, objects open for reading. */
  running: { blobs: number; reads: number };
  memory: { small: number; large: number; readAhead: number; peakLarge: number };
  nodes: NodeStatus[];
  writes: PutCounts;
  reads: ReadCounts;
  repairs: RepairCounts;
}

export interface RunningObjectEngine {
  engine: ObjectEngine;
  /** Opens the lease and connects to the nodes; resolves after the first attempt, good or bad. */
  start(): Promise<void>;
  /** Lets requests finish (up to the drain bound), closes the lease and the connections. */
  stop(): Promise<void>;
  status(): ObjectEngineStatus;
}

/** Throws Failure `invalid` for settings that cannot work. Has no effects before `start`. */
export function createObjectEngine(options: ObjectEngineOptions): RunningObjectEngine {
  const settings = { ...OBJECT_SETTINGS, ...options.settings };
  checkSettings(settings);
  const { meta, log } = options;
  const { clock } = options.effects;
  const ticker = new Ticker(clock);
  const pool = new NodePool({ connect: options.connect, clock, log });
  const { name, renewMs, callTimeoutMs } = settings;
  const leases = new WriterLeases({ meta, pool, clock, log, name, renewMs });
  const smallBytes = Math.floor(settings.writeMemoryBytes * SMALL_SHARE);
  const put: PutEnvironment = {
    leases,
    ticker,
    clock,
    log,
    smallBodies: new ByteBudget(smallBytes),
    largeBodies: new ByteBudget(settings.writeMemoryBytes - smallBytes),
    blockSize: settings.blockSize,
    blocksInFlight: settings.blocksInFlight,
    blocks: { ...settings, policy: settings.writePolicy },
    counts: noPuts(),
  };
  const readAhead = new ByteBudget(settings.readMemoryBytes);
  const repairer = new ReadRepairer({ meta, clock, log, memory: readAhead, callTimeoutMs });
  const reads = noReads();
  const get: GetEnvironment = {
    meta,
    leases,
    repairer,
    readAhead,
    readAheadBlocks: settings.readAheadBlocks,
    metaTimeoutMs: META_TIMEOUT_MS,
    blocks: { ...settings, ticker, clock, counts: reads },
  };

  const engine: ObjectEngine = {
    meta,
    store: async (body, commit, how) => await storeBody(put, body, commit, how ?? {}),
    reread: (stored, dataKey) => rereadBody(get, stored, dataKey),
    writer: () => leases.writer(),
    open: async (query, how) => await openObject(meta, get, query, how?.signal),
  };

  return {
    engine,
    async start() {
      await leases.start();
      await pool.firstProbes(FIRST_PROBES_MS);
    },
    async stop() {
      leases.drain();
      const end = clock.monotonic() + settings.drainMs;
      const busy = () => {
        const { blobs, reads: open } = leases.running;
        return blobs + open + put.counts.discarding + repairer.counts.pending > 0;
      };
      while (busy() && clock.monotonic() < end) await clock.sleep(DRAIN_POLL_MS);
      await leases.stop();
      await pool.close();
    },
    status: () => ({
      ready: leases.ready,
      layoutEpoch: leases.layoutEpoch,
      inTouch: leases.inTouch,
      groups: leases.groups(settings.writePolicy === 'strict' ? REPLICAS : REPLICAS - 1),
      running: leases.running,
      memory: {
        small: put.smallBodies.used,
        large: put.largeBodies.used,
        readAhead: readAhead.used,
        peakLarge: put.largeBodies.peak,
      },
      nodes: pool.status(),
      writes: { ...put.counts },
      reads: { ...reads },
      repairs: { ...repairer.counts },
    }),
  };
}

async function openObject(
  meta: Meta,
  env: GetEnvironment,
  query: VersionName,
  signal: AbortSignal | undefined,
): Promise<Answer<OpenedObject>> {
  // The epoch first, the record second: a deletion that the record does not show yet is younger.
  const hold = env.leases.beginRead();
  try {
    const bound = { timeoutMs: META_TIMEOUT_MS };
    const options = signal === undefined ? bound : { ...bound, signal };
    const answer = await meta.getObject({ ...query, withParts: true }, options);
    if (answer.ok) return { ok: true, value: new ReadableObject(env, answer.value, hold, signal) };
    hold.release();
    return answer;
  } catch (error) {
    hold.release();
    throw error;
  }
}

function checkSettings(settings: ObjectSettings): void {
  const { blockSize, blocksInFlight, readAheadBlocks, writeMemoryBytes } = settings;
  const sound =
    blockSize >= BLOCK_SIZE_BYTES_MIN &&
    blockSize <= BLOCK_BYTES_MAX &&
    blocksInFlight >= 1 &&
    readAheadBlocks >= 1 &&
    writeMemoryBytes * (1 - SMALL_SHARE) >= blockSize;
  if (!sound) throw new Failure('invalid', 'the object settings do not fit together');
}

function noPuts(): PutCounts {
  return {
    blobs: 0,
    blocks: 0,
    degradedBlocks: 0,
    refusedBlocks: 0,
    discardedBlobs: 0,
    discarding: 0,
    unknownOutcomes: 0,
  };
}

function noReads(): ReadCounts {
  return {
    blocks: 0,
    hedges: 0,
    switches: 0,
    failedBlocks: 0,
    corruptReplicas: 0,
    missingReplicas: 0,
  };
}
