/**
 * One block, one node: what state a replica is in, and how a good copy gets there. Repair and
 * rebalancing both go through here, so that there is one place where copies are verified and one
 * argument for why a copy never outlives its blob.
 *
 * A copy must not race with the garbage job. That one removes the blocks of a blob from all nodes
 * after (1) the blob's row is gone, (2) the blob is settled (its writer can commit it no more) and
 * (3) no read can see it. A copy that was decided on while the row stood may reach its node after
 * the garbage job has been there; nobody would come again. So after the copy is durable, the row is
 * looked at once more:
 *  - It stands: whatever deletes it commits later, so the garbage job comes after the copy.
 *  - It is not there and the blob is not settled: the garbage job has not begun with it (2), and again
 *    comes after the copy. The copy stays, for a commit may still bring the row into being.
 *  - It is gone and the blob is settled: it never comes back, and what was written is deleted here.
 *    That takes nothing from a running read that it had before.
 * If this process ends in between, or a node takes the copy after it was given up, the orphan job
 * finds it.
 */
import { isFailure } from '../../base/failure.ts';
import type { BlobId } from '../../base/ids.ts';
import {
  type BlockContent,
  type BlockKey,
  checksumOf,
  type StorageNode,
} from '../../storage-node/protocol.ts';

/** A node by name; `node` is undefined when it cannot be asked at present. */
export interface Peer {
  id: string;
  node: StorageNode | undefined;
}

/** As the node answered. `unreachable`: it did not, which says nothing about the block. */
export type ReplicaState = 'good' | 'missing' | 'corrupt' | 'unreachable';

export interface Replica {
  state: ReplicaState;
  /** Of a good one. */
  checksum: bigint | undefined;
}

const silent = (state: ReplicaState): Replica => ({ state, checksum: undefined });

/**
 * Has the node read and verify its replica, and sends next to nothing: a range makes the node check
 * the whole block. `length`: what the metadata say; a block of another length is no good.
 */
export async function askReplica(
  { node }: Peer,
  key: BlockKey,
  length: number,
  timeoutMs: number,
): Promise<Replica> {
  if (node === undefined) return silent('unreachable');
  try {
    const found = await node.get(key, { start: 0, end: 1 }, { timeoutMs });
    if (found.length !== length) return silent('corrupt');
    return { state: 'good', checksum: found.checksum };
  } catch (error) {
    return silent(stateOf(error));
  }
}

function stateOf(error: unknown): ReplicaState {
  if (isFailure(error, 'not-found')) return 'missing';
  if (isFailure(error, 'corrupt')) return 'corrupt';
  return 'unreachable';
}

export interface CopyJob {
  key: BlockKey;
  /** Bytes, from the blob's row. */
  length: number;
  target: Peer;
  /** What the target said of its replica. */
  found: 'missing' | 'corrupt';
  /** Where good replicas may be, in the order in which to ask; the target is left out. */
  sources: readonly Peer[];
}

export interface CopyOutcome {
  /**
   * `copied`: verified on the target. `gone`: the blob was deleted meanwhile, nothing is left behind.
   * `no-target`: it did not answer, or refused (see `problem`). `no-source`: a source did not answer,
   * and no other has a good replica. `lost`: all sources answered, none has a good replica.
   */
  outcome: 'copied' | 'gone' | 'no-target' | 'no-source' | 'lost';
  /** Replicas met on the way that need repair themselves. */
  bad: { node: string; reason: 'missing' | 'corrupt' }[];
  problem: string | undefined;
}

export interface CopyChecks {
  /** Whether the blob's row stands, as of a read that begins now. */
  stands(blob: BlobId): Promise<boolean>;
  /** `Leases.isSettled`. */
  isSettled(blob: BlobId): boolean;
  /** For one call to a node, in milliseconds. */
  callTimeoutMs: number;
}

/** Copies one block from a verified source. Throws only what `checks.stands` throws. */
export async function copyBlock(job: CopyJob, checks: CopyChecks): Promise<CopyOutcome> {
  const { key, target } = job;
  const bad: CopyOutcome['bad'] = [];
  const done = (outcome: CopyOutcome['outcome'], problem?: unknown): CopyOutcome => ({
    outcome,
    bad,
    problem: problem === undefined ? undefined : messageOf(problem),
  });
  const { node } = target;
  if (node === undefined) return done('no-target');
  const source = await readGood(job, checks.callTimeoutMs, bad);
  if (typeof source === 'string') return done(source);
  const options = { timeoutMs: checks.callTimeoutMs };
  try {
    if (job.found === 'missing') await node.put(key, source, options);
    else await node.restore(key, source, options);
  } catch (error) {
    return done('no-target', error);
  }
  // Whether it stays is decided before it is verified: a copy that cannot be verified may be there.
  // Settled first, the row second: the other way round a commit could happen between the two looks,
  // and a block that it refers to would be deleted.
  const settled = checks.isSettled(key.blob);
  if (!(await checks.stands(key.blob))) {
    try {
      if (settled) await node.delete([key], options);
    } catch (error) {
      return done('no-target', error);
    }
    return done('gone');
  }
  const copy = await askReplica(target, key, job.length, checks.callTimeoutMs);
  if (copy.state === 'good' && copy.checksum === checksumOf(key, source.hash)) {
    return done('copied');
  }
  return done('no-target', `the copy on node ${target.id} reads back as ${copy.state}`);
}

async function readGood(
  { key, length, target, sources }: CopyJob,
  timeoutMs: number,
  bad: CopyOutcome['bad'],
): Promise<BlockContent | 'no-source' | 'lost'> {
  let silentOnes = 0;
  for (const { id, node } of sources) {
    if (id === target.id) continue;
    if (node === undefined) {
      silentOnes += 1;
      continue;
    }
    try {
      const { bytes, hash, checksum } = await node.get(key, undefined, { timeoutMs });
      if (bytes.length === length && checksumOf(key, hash) === checksum) return { bytes, hash };
      bad.push({ node: id, reason: 'corrupt' });
    } catch (error) {
      const state = stateOf(error);
      if (state === 'missing' || state === 'corrupt') bad.push({ node: id, reason: state });
      else silentOnes += 1;
    }
  }
  return silentOnes > 0 ? 'no-source' : 'lost';
}

function messageOf(problem: unknown): string {
  return problem instanceof Error ? problem.message : String(problem);
}
