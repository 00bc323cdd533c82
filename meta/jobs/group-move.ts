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
 * What is deleted: only blocks that all three nodes of the newest layout, asked one by one, have just
 * read and found sound, or that are not wanted and that no read can see any more. That they were
 * verified when they were filled is not enough: they may have rotted since, and the replica that is
 * given up may be the last good one. What is not sound is copied again, and then all are asked again.
 * Silence of any of them ends the attempt.
 */
import { Failure, toFailure } from '../../base/failure.ts';
import {
  type BlockKey,
  KEYS_PER_CALL_MAX,
  LIST_PAGE_MAX,
  type ListedBlock,
  type StorageNode,
} from '../../storage-node/protocol.ts';
import type { Blobs } from '../catalogue/catalogue.ts';
import type { Leases } from '../cluster/leases.ts';
import { type GroupChange, isComplete } from '../cluster/moves.ts';
import type { ReplicaReport } from '../protocol.ts';
import { copyBlock, type Peer } from './copy-block.ts';
import { type Flaw, flawsOn } from './flaws.ts';
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

/** Bytes that are given up at once, if they are not more than may be read in a second. */
const RELEASE_BYTES_MAX = 64 * 1024 * 1024;
const RELEASE_BYTES_MIN = 64 * 1024;

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
    const flaws = wanted.map((block): Flaw => ({ block, found: 'missing' }));
    const result = await copyAll(parts, flaws, target, peers);
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
  flaws: readonly Flaw[],
  target: string,
  peers: readonly Peer[],
): Promise<MoveResult> {
  let result = DONE;
  await inParallel(flaws, parts.copiesAtOnce, async (flaw) => {
    if (result.state !== 'done') return;
    if (parts.halted()) {
      result = HALTED;
      return;
    }
    await parts.limit.take(flaw.block.length);
    const one = await copyOne(parts, flaw, target, peers);
    if (one.state !== 'done') result = one;
  });
  return result;
}

async function copyOne(
  parts: GroupMoveParts,
  { block: { key, length, holders }, found }: Flaw,
  target: string,
  peers: readonly Peer[],
): Promise<MoveResult> {
  const turn = key.index % Math.max(1, holders.length);
  const order = [...holders.slice(turn), ...holders.slice(0, turn)];
  const others = peers.filter(({ id }) => id !== target && !holders.includes(id));
  const sources = [...order.map((id) => ({ id, node: parts.node(id) })), ...others];
  const { blobs, leases, callTimeoutMs } = parts;
  const { outcome, bad, problem } = await copyBlock(
    { key, length, target: { id: target, node: parts.node(target) }, found, sources },
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
      page = firstOf(listed, leaver, parts.limit.rate);
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
 * As much of a list as is given up at once, and at least one block. Little, so that not much time
 * passes between reading the owners' replicas and the deletion. `rate`: bytes per second, or 0.
 */
function firstOf(listed: readonly ListedBlock[], leaver: string, rate: number): WalkedBlock[] {
  const perSecond = rate === 0 ? RELEASE_BYTES_MAX : Math.max(RELEASE_BYTES_MIN, rate);
  const most = Math.min(RELEASE_BYTES_MAX, perSecond);
  let bytes = 0;
  const end = listed.findIndex(({ length }) => (bytes += length) > most);
  const first = end < 0 ? listed : listed.slice(0, Math.max(1, end));
  return first.map(({ key, length }) => ({ key, length, holders: [leaver] }));
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

/**
 * Every wanted block of the page is on every owner and sound: a round in which all of them have read
 * all of it has found nothing. What is missing or corrupt is copied there first.
 */
async function ensureOn(
  parts: GroupMoveParts,
  page: readonly WalkedBlock[],
  owners: readonly string[],
  leaver: string,
): Promise<MoveResult> {
  const peers = [leaver, ...owners].map((id) => ({ id, node: parts.node(id) }));
  let last = '';
  for (let round = 0; round < PASSES_MAX; round++) {
    const wanted = await wantedOf(parts, page);
    let sound = true;
    for (const owner of owners) {
      const flaws = await askOwner(parts, wanted, owner);
      if (!Array.isArray(flaws)) return flaws;
      if (flaws.length === 0) continue;
      sound = false;
      last = owner;
      const result = await copyAll(parts, flaws, owner, peers);
      if (result.state !== 'done') return result;
    }
    if (sound) return DONE;
  }
  return stuck(`node ${last} does not keep what it is given`);
}

async function askOwner(
  parts: GroupMoveParts,
  blocks: readonly WalkedBlock[],
  owner: string,
): Promise<Flaw[] | MoveResult> {
  const node = parts.node(owner);
  if (node === undefined) return stuck(`node ${owner} is waited for, to say what it has`);
  let flaws: Flaw[];
  try {
    flaws = await flawsOn(node, blocks, parts.callTimeoutMs, async (bytes) => {
      await parts.limit.take(bytes);
      if (parts.halted()) throw new Failure('cancelled', 'no further step is to begin');
    });
  } catch (error) {
    if (parts.halted()) return HALTED;
    return stuck(`node ${owner} does not say what it has: ${toFailure(error).message}`);
  }
  const corrupt = flaws.filter(({ found }) => found === 'corrupt');
  const blobs = new Set(corrupt.map(({ block }) => block.key.blob));
  if (blobs.size > 0) {
    await parts.report([...blobs].map((blob) => ({ blob, node: owner, reason: 'corrupt' })));
  }
  return flaws;
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
