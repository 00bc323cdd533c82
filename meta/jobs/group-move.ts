/**
 * The two halves of moving a placement group: filling a node that gets it, and emptying one that has
 * given it up.
 *
 * What is copied: every block that some node of the group lists and that is wanted. A block is wanted
 * unless its blob is settled and has no row, looked at in this order (see `orphans.ts`). So blocks of
 * uploads that are still running are copied, too: they have no row yet, and when it comes, it refers
 * to blocks that were written by an older layout.
 *
 * Why a copy does not bring a deleted blob back: see `copy-block.ts`. While older layouts stand, the
 * garbage job deletes on their nodes as well as on those of the newest one. And the metadata alone say
 * what exists: a block that is left behind is waste, never data.
 *
 * What is deleted: only blocks that all three nodes of the newest layout, asked one by one, say they
 * have, or that are not wanted and that no read can see any more. Silence of any of them ends the
 * attempt.
 */
import type { Failure } from '../../base/failure.ts';
import { toFailure } from '../../base/failure.ts';
import {
  type BlockKey,
  KEYS_PER_CALL_MAX,
  LIST_PAGE_MAX,
  type StorageNode,
} from '../../storage-node/protocol.ts';
import type { Blobs } from '../catalogue/catalogue.ts';
import type { Leases } from '../cluster/leases.ts';
import { type GroupChange, isComplete } from '../cluster/moves.ts';
import type { ReplicaReport } from '../protocol.ts';
import { copyBlock, type Peer } from './copy-block.ts';
import { GroupWalk, type WalkedBlock } from './group-walk.ts';
import { orphansAmong } from './orphans.ts';
import { inParallel, type RateLimit } from './rate.ts';
import type { ReadWait } from './read-wait.ts';

export interface GroupMoveParts {
  blobs: Pick<Blobs, 'get' | 'stands'>;
  leases: Pick<Leases, 'isSettled' | 'oldestRead'>;
  /** The node, when it is up. */
  node: (id: string) => StorageNode | undefined;
  isGone: (id: string) => boolean;
  limit: RateLimit;
  callTimeoutMs: number;
  /** Blocks of one group that are copied at once. */
  copiesAtOnce: number;
  /** Blocks that are not wanted, until the reads that may see them have ended. */
  unread: ReadWait;
  /** True: no further step is to begin. */
  halted: () => boolean;
  copied: (bytes: number) => void;
  released: (blocks: number) => void;
  report: (reports: ReplicaReport[]) => Promise<void>;
}

/** `stuck`: not now; why, in a sentence. */
export type MoveResult = { state: 'done' } | { state: 'halted' } | { state: 'stuck'; why: string };

const DONE: MoveResult = { state: 'done' };
const HALTED: MoveResult = { state: 'halted' };
const stuck = (why: string): MoveResult => ({ state: 'stuck', why });

/** Passes over a group before it is left for later: what is written meanwhile comes by itself. */
const PASSES_MAX = 8;

/**
 * Copies to `target`, a node of the group, what it lacks, until a whole walk along the lists finds
 * nothing more: that walk is the proof that it has everything.
 */
export async function fillNode(
  parts: GroupMoveParts,
  change: GroupChange,
  target: string,
): Promise<MoveResult> {
  const others = new Set([...change.owners, ...change.older.flat()]);
  others.delete(target);
  const sources = [...others].filter((id) => !parts.isGone(id));
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    if (parts.halted()) return HALTED;
    const peers = [target, ...sources].map((id) => ({ id, node: parts.node(id) }));
    const walk = new GroupWalk(change.group, peers, parts.callTimeoutMs);
    const found = await fillOnce(parts, walk, target, peers);
    if (typeof found !== 'number') return found;
    if (!walk.listed.has(target)) {
      return stuck(walk.problem ?? `node ${target} is waited for, to get placement groups`);
    }
    const heard = new Set(walk.listed);
    heard.delete(target);
    // The target's own list counts where it had the group before: then it is no blank page.
    if (change.older.some((members) => members.includes(target))) heard.add(target);
    if (!isComplete(change, heard, parts.isGone)) {
      return stuck(
        walk.problem ?? `too few nodes answer to know all of placement group ${change.group}`,
      );
    }
    if (found === 0) return DONE;
  }
  return stuck(`placement group ${change.group} keeps changing on other nodes`);
}

/** One walk; the number of blocks that were missing on the target. */
async function fillOnce(
  parts: GroupMoveParts,
  walk: GroupWalk,
  target: string,
  peers: readonly Peer[],
): Promise<number | MoveResult> {
  let missing = 0;
  for (;;) {
    const page = await walk.next();
    if (page === undefined) return missing;
    if (!walk.listed.has(target)) return missing;
    const absent = page.filter(({ holders }) => !holders.includes(target));
    const wanted = await wantedOf(parts, absent);
    missing += wanted.length;
    const result = await copyAll(parts, wanted, target, peers);
    if (result.state !== 'done') return result;
  }
}

/** Those that are referred to, or may still be. */
async function wantedOf(
  { blobs, leases }: GroupMoveParts,
  blocks: readonly WalkedBlock[],
): Promise<WalkedBlock[]> {
  if (blocks.length === 0) return [];
  const ids = blocks.map(({ key }) => key.blob);
  const gone = await orphansAmong({ blobs, leases }, ids);
  return blocks.filter(({ key }) => !gone.has(key.blob));
}

async function copyAll(
  parts: GroupMoveParts,
  blocks: readonly WalkedBlock[],
  target: string,
  peers: readonly Peer[],
): Promise<MoveResult> {
  let result = DONE;
  await inParallel(blocks, parts.copiesAtOnce, async (block) => {
    if (result.state !== 'done') return;
    if (parts.halted()) {
      result = HALTED;
      return;
    }
    await parts.limit.take(block.length);
    const one = await copyOne(parts, block, target, peers);
    if (one.state !== 'done') result = one;
  });
  return result;
}

async function copyOne(
  parts: GroupMoveParts,
  { key, length, holders }: WalkedBlock,
  target: string,
  peers: readonly Peer[],
): Promise<MoveResult> {
  const turn = key.index % Math.max(1, holders.length);
  const order = [...holders.slice(turn), ...holders.slice(0, turn)];
  const others = peers.filter(({ id }) => id !== target && !holders.includes(id));
  const sources = [...order.map((id) => ({ id, node: parts.node(id) })), ...others];
  const { blobs, leases, callTimeoutMs } = parts;
  const { outcome, bad, problem } = await copyBlock(
    { key, length, target: { id: target, node: parts.node(target) }, found: 'missing', sources },
    {
      stands: (blob) => blobs.stands(blob),
      isSettled: (blob) => leases.isSettled(blob),
      callTimeoutMs,
    },
  );
  const corrupt = bad.filter(({ reason }) => reason === 'corrupt');
  if (corrupt.length > 0) {
    await parts.report(corrupt.map(({ node, reason }) => ({ blob: key.blob, node, reason })));
  }
  const name = `block ${key.index} of blob ${key.blob}`;
  switch (outcome) {
    case 'copied':
      parts.copied(length);
      return DONE;
    case 'gone':
      return DONE;
    case 'no-target':
      return stuck(`node ${target} does not take ${name}: ${problem ?? 'it does not answer'}`);
    case 'no-source':
      return stuck(`no node that answers has ${name}`);
    case 'lost':
      // Its upload was given up, or its object deleted, since the lists were made.
      if (!(await blobs.stands(key.blob))) return DONE;
      return stuck(
        `${name} has no sound replica left: delete the object it belongs to, or bring back a node ` +
          'that has it (`ashlar fsck` tells which)',
      );
  }
}

/* ------------------------------------------------------------------ releasing */

/** Runs a deletion only while the layout stays as it is; undefined: it does not. */
export type WhileStable = <T>(work: () => Promise<T>) => Promise<T | undefined>;

/** Deletes what `leaver` has of a group that is not its own any more, page by page. */
export async function emptyNode(
  parts: GroupMoveParts,
  group: number,
  owners: readonly string[],
  leaver: string,
  whileStable: WhileStable,
): Promise<MoveResult> {
  const options = { timeoutMs: parts.callTimeoutMs };
  for (;;) {
    if (parts.halted()) return HALTED;
    const node = parts.node(leaver);
    if (node === undefined) return stuck(`node ${leaver} is waited for, to give up what it has`);
    let page: WalkedBlock[];
    try {
      const listed = await node.list({ group, limit: LIST_PAGE_MAX }, options);
      page = listed.map(({ key, length }) => ({ key, length, holders: [leaver] }));
    } catch (error) {
      return stuck(`node ${leaver} does not list what it has: ${toFailure(error).message}`);
    }
    if (page.length === 0) return DONE;
    const kept = await ensureOn(parts, page, owners, leaver);
    if (kept.state !== 'done') return kept;
    const keys = await removable(parts, page, leaver);
    if (keys.length === 0) {
      return stuck('reads that began before their object was deleted are waited for');
    }
    const failure = await whileStable(() => deleteAll(node, keys, parts.callTimeoutMs));
    if (failure === undefined) return HALTED;
    if (failure !== 'deleted') {
      return stuck(`node ${leaver} does not delete what it has given up: ${failure.message}`);
    }
    parts.released(keys.length);
  }
}

/**
 * The blocks of a page that its owners have, and of the others those that nobody reads any more: a
 * deleted object has no copies on the new nodes, but a read of it may still go on.
 */
async function removable(
  parts: GroupMoveParts,
  page: readonly WalkedBlock[],
  leaver: string,
): Promise<BlockKey[]> {
  const wanted = new Set((await wantedOf(parts, page)).map(({ key }) => key));
  const keys = page.map(({ key }) => key);
  const unwanted = keys.filter((key) => !wanted.has(key));
  return [...keys.filter((key) => wanted.has(key)), ...parts.unread.released(leaver, unwanted)];
}

/** Every wanted block of the page is on every owner; what is missing is copied there first. */
async function ensureOn(
  parts: GroupMoveParts,
  page: readonly WalkedBlock[],
  owners: readonly string[],
  leaver: string,
): Promise<MoveResult> {
  const peers = [leaver, ...owners].map((id) => ({ id, node: parts.node(id) }));
  for (const owner of owners) {
    for (let round = 0; ; round++) {
      const missing = await missingOn(parts, page, owner);
      if (!Array.isArray(missing)) return missing;
      const wanted = await wantedOf(parts, missing);
      if (wanted.length === 0) break;
      if (round >= PASSES_MAX) return stuck(`node ${owner} does not keep what it is given`);
      const result = await copyAll(parts, wanted, owner, peers);
      if (result.state !== 'done') return result;
    }
  }
  return DONE;
}

async function missingOn(
  parts: GroupMoveParts,
  page: readonly WalkedBlock[],
  owner: string,
): Promise<WalkedBlock[] | MoveResult> {
  const node = parts.node(owner);
  if (node === undefined) return stuck(`node ${owner} is waited for, to say what it has`);
  try {
    const keys = page.map(({ key }) => key);
    const has = await node.has(keys, { timeoutMs: parts.callTimeoutMs });
    return page.filter((_, index) => has[index] !== true);
  } catch (error) {
    return stuck(`node ${owner} does not say what it has: ${toFailure(error).message}`);
  }
}

async function deleteAll(
  node: StorageNode,
  keys: readonly BlockKey[],
  timeoutMs: number,
): Promise<'deleted' | Failure> {
  try {
    for (let from = 0; from < keys.length; from += KEYS_PER_CALL_MAX) {
      await node.delete(keys.slice(from, from + KEYS_PER_CALL_MAX), { timeoutMs });
    }
    return 'deleted';
  } catch (error) {
    return toFailure(error);
  }
}
