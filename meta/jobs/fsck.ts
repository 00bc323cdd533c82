/**
 * `ashlar fsck`: everything against everything, on demand. The metadata against themselves
 * (`../catalogue/recount.ts`), the metadata against the nodes (has every node what it should?), and
 * the nodes against the metadata (is what a node holds right, in its place, and of use?).
 *
 * Nothing is judged on silence: what a node holds that did not answer is not counted as missing, and
 * the report names the node. With `repair`, bad and missing replicas go into the repair queue, and
 * what is in nobody's way is removed under the rules:
 *  - a surplus copy, when all nodes of its group have just verified theirs, or when it lies where no
 *    read would look for it;
 *  - an orphan, when its writer can commit it no more and no read can see it (`orphans.ts`).
 * Wrong reference counts and usage counters are made right (`../catalogue/mend.ts`).
 */
import type { Effects } from '../../base/clock.ts';
import { Failure, toFailure } from '../../base/failure.ts';
import type { BlobId } from '../../base/ids.ts';
import type { Log } from '../../base/log.ts';
import {
  type BlockKey,
  KEYS_PER_CALL_MAX,
  LIST_PAGE_MAX,
  type StorageNode,
} from '../../storage-node/protocol.ts';
import type { FsckReport } from '../admin-protocol.ts';
import type { Blobs, Catalogue, FoundBlob, GarbageQueue, Repairs } from '../catalogue/catalogue.ts';
import type { ClusterView } from '../protocol.ts';
import { askReplica } from './copy-block.ts';
import { orphansAmong, type OrphanRuleParts, ReaderGate } from './orphans.ts';
import {
  blockCount,
  blockKeys,
  blockLength,
  holdersOf,
  idsOfGroup,
  isMoving,
  type Placement,
  placementOf,
} from './placed.ts';
import { askPresence } from './presence.ts';
import { inParallel } from './rate.ts';

export interface FsckOptions extends OrphanRuleParts {
  recount: Catalogue['recount'];
  repairs: Pick<Repairs, 'report'>;
  blobs: Pick<Blobs, 'get' | 'page'>;
  garbage: Pick<GarbageQueue, 'next'>;
  view: () => ClusterView;
  /** The node, when it is up. */
  node: (id: string) => StorageNode | undefined;
  effects: Effects;
  log: Log;
}

const CALL_TIMEOUT_MS = 30_000;
const BLOBS_PER_PAGE = 200;
const VERIFY_BYTES = 4 * 1024 * 1024;
const NODES_AT_ONCE = 4;
const SAMPLES_MAX = 20;
/** Orphans that are kept in mind until they are confirmed. */
const CANDIDATES_MAX = 20_000;
/** Longest wait for reads to end; what is left is the orphan job's. */
const READERS_MS = 60_000;
const READERS_POLL_MS = 200;
/** Shares of the work: metadata, metadata against nodes; the rest is nodes against metadata. */
const METADATA_SHARE = 0.1;
const PRESENCE_SHARE = 0.2;

interface Candidate {
  node: string;
  key: BlockKey;
}

export class Fsck {
  readonly #options: FsckOptions;
  #report: FsckReport | undefined;
  #running: Promise<void> | undefined;
  readonly #stopping = new AbortController();

  constructor(options: FsckOptions) {
    this.#options = options;
  }

  /** Begins a check. Failure `conflict` while one is under way that does not do the same. */
  start({ repair }: { repair: boolean }): FsckReport {
    if (this.#report?.state === 'running') {
      throw new Failure('conflict', 'a check is under way: wait for its end');
    }
    const report = newReport();
    this.#report = report;
    const run = new FsckRun(this.#options, report, repair, this.#stopping.signal);
    this.#running = run.all();
    return structuredClone(report);
  }

  /** The check that runs, or the last one. Failure `not-found`: none since the start. */
  report(): FsckReport {
    if (this.#report === undefined) {
      throw new Failure('not-found', 'no check has run since the metadata service started');
    }
    return structuredClone(this.#report);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }
}

function newReport(): FsckReport {
  return {
    state: 'running',
    progress: 0,
    checked: { blobs: 0, blocks: 0, replicas: 0 },
    findings: { missing: 0, corrupt: 0, surplus: 0, orphaned: 0, lost: 0, metadata: 0 },
    repaired: 0,
    unreachable: [],
    samples: [],
    problem: undefined,
  };
}

class FsckRun {
  readonly #options: FsckOptions;
  readonly #report: FsckReport;
  readonly #repair: boolean;
  readonly #stopping: AbortSignal;
  readonly #placement: Placement | undefined;
  readonly #silent = new Set<string>();
  /** Blocks found lost, by name: each counts once. */
  readonly #lost = new Set<string>();
  #candidates = new Map<BlobId, Candidate[]>();
  #candidateCount = 0;

  constructor(options: FsckOptions, report: FsckReport, repair: boolean, stopping: AbortSignal) {
    this.#options = options;
    this.#report = report;
    this.#repair = repair;
    this.#stopping = stopping;
    this.#placement = placementOf(options.view());
  }

  async all(): Promise<void> {
    const report = this.#report;
    const { log } = this.#options;
    try {
      const blobs = await this.#options.recount({
        mend: this.#repair ? { mended: (rows) => (report.repaired += rows) } : undefined,
        turn: () => this.#turn(),
        found: (sentence) => this.#found('metadata', `Metadata: ${sentence}.`),
      });
      report.progress = METADATA_SHARE;
      if (this.#placement !== undefined) {
        await this.#metadataToNodes(this.#placement, Math.max(1, blobs));
        await this.#nodesToMetadata(this.#placement);
        await this.#confirmOrphans();
      }
      report.progress = 1;
      report.state = 'done';
    } catch (error) {
      report.state = 'failed';
      report.problem = toFailure(error).message;
    }
    const { findings, repaired, unreachable, problem } = report;
    log.info({ ...findings, repaired, unreachable, problem }, 'a check has ended');
  }

  #call(): { timeoutMs: number; signal: AbortSignal } {
    return { timeoutMs: CALL_TIMEOUT_MS, signal: this.#stopping };
  }

  #turn(): void {
    if (this.#stopping.aborted) throw new Failure('cancelled', 'the metadata service was stopped');
  }

  #found(what: keyof FsckReport['findings'], sentence: string): void {
    this.#report.findings[what] += 1;
    if (this.#report.samples.length < SAMPLES_MAX) this.#report.samples.push(sentence);
  }

  #fellSilent(id: string): void {
    this.#silent.add(id);
    this.#report.unreachable = [...this.#silent].sort();
  }

  /** A node that was silent once is not asked again: its part of the check is void anyhow. */
  #node(id: string): StorageNode | undefined {
    return this.#silent.has(id) ? undefined : this.#options.node(id);
  }

  /* ---------------------------------------------------------------- metadata against nodes */

  async #metadataToNodes(placement: Placement, expected: number): Promise<void> {
    const { blobs } = this.#options;
    const { checked } = this.#report;
    let after: BlobId | undefined;
    for (;;) {
      this.#turn();
      const rows = await blobs.page(BLOBS_PER_PAGE, after);
      const presence = await askPresence({
        rows,
        placement,
        node: (id) => this.#node(id),
        call: this.#call(),
        absent: async (absent) => {
          for (const { key, node, row } of absent) {
            await this.#badReplica('missing', node, key, row, placement);
          }
        },
      });
      for (const id of presence.silent) this.#fellSilent(id);
      checked.blobs += rows.length;
      checked.blocks += presence.blocks;
      checked.replicas += presence.replicas;
      const share = Math.min(1, checked.blobs / expected);
      this.#report.progress = METADATA_SHARE + share * PRESENCE_SHARE;
      after = rows.at(-1)?.blob;
      if (after === undefined || rows.length < BLOBS_PER_PAGE) return;
    }
  }

  async #badReplica(
    reason: 'missing' | 'corrupt',
    node: string,
    key: BlockKey,
    row: FoundBlob,
    placement: Placement,
  ): Promise<void> {
    // Deleted while we looked: the nodes are right and we are late.
    const [stands] = await this.#options.blobs.get([key.blob]);
    if (stands === undefined) return;
    this.#found(reason, `Block ${key.index} of blob ${key.blob} is ${reason} on node ${node}.`);
    await this.#checkLost(key, row, placement);
    if (!this.#repair) return;
    await this.#options.repairs.report([{ blob: key.blob, node, reason }]);
    this.#report.repaired += 1;
  }

  async #checkLost(key: BlockKey, row: FoundBlob, placement: Placement): Promise<void> {
    const name = `${key.blob} ${key.index}`;
    if (this.#lost.has(name)) return;
    const length = blockLength(row, key.index);
    const silent: string[] = [];
    for (const id of holdersOf(placement, key.group)) {
      const peer = { id, node: this.#node(id) };
      const { state } = await askReplica(peer, key, length, CALL_TIMEOUT_MS);
      if (state === 'good') return;
      if (state === 'unreachable') silent.push(id);
    }
    if (this.#lost.size < CANDIDATES_MAX) this.#lost.add(name);
    const hope = silent.length === 0 ? '' : ` that answered; not asked: ${silent.join(', ')}`;
    this.#found(
      'lost',
      `Block ${key.index} of blob ${key.blob} has no good replica on any node${hope}.`,
    );
  }

  /* ---------------------------------------------------------------- nodes against metadata */

  async #nodesToMetadata(placement: Placement): Promise<void> {
    const { layout, previous } = placement;
    const ids = new Set([layout, ...previous].flatMap(({ nodes }) => nodes.map(({ id }) => id)));
    for (const { id } of this.#options.view().nodes) ids.add(id);
    const total = Math.max(1, ids.size * layout.groups);
    const base = METADATA_SHARE + PRESENCE_SHARE;
    let done = 0;
    await inParallel([...ids], NODES_AT_ONCE, async (id) => {
      for (let group = 0; group < layout.groups; group++) {
        this.#turn();
        const node = this.#node(id);
        if (node === undefined) {
          this.#fellSilent(id);
          done += layout.groups - group;
          return;
        }
        await this.#verifyGroup(id, node, group, placement);
        await this.#listGroup(id, node, group, placement);
        done += 1;
        this.#report.progress = base + (1 - base) * 0.98 * (done / total);
        if (this.#candidateCount >= CANDIDATES_MAX) await this.#confirmOrphans();
      }
    });
  }

  /** A call to a node; undefined, and the node counts as silent, when it fails. */
  async #ask<T>(id: string, call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call();
    } catch (error) {
      this.#options.log.debug({ node: id, error: toFailure(error) }, 'a node did not answer');
      this.#fellSilent(id);
      return undefined;
    }
  }

  async #verifyGroup(
    id: string,
    node: StorageNode,
    group: number,
    placement: Placement,
  ): Promise<void> {
    let after: BlockKey | undefined;
    do {
      this.#turn();
      const query = { group, after, bytesMax: VERIFY_BYTES };
      const page = await this.#ask(id, () => node.verify(query, this.#call()));
      if (page === undefined) return;
      const rows = await this.#options.blobs.get(page.corrupt.map(({ blob }) => blob));
      for (const [index, key] of page.corrupt.entries()) {
        const row = rows[index];
        // Of no use to anyone: the walk along the lists deals with it.
        if (row === undefined || !idsOfGroup(placement.layout, group).includes(id)) continue;
        await this.#badReplica('corrupt', id, key, row, placement);
      }
      after = page.next;
    } while (after !== undefined);
  }

  async #listGroup(
    id: string,
    node: StorageNode,
    group: number,
    placement: Placement,
  ): Promise<void> {
    let after: BlockKey | undefined;
    for (;;) {
      this.#turn();
      const query = { group, after, limit: LIST_PAGE_MAX };
      const page = await this.#ask(id, () => node.list(query, this.#call()));
      if (page === undefined) return;
      const keys = page.map(({ key }) => key);
      const names = keys.map(({ blob }) => blob);
      // In this order: see `orphans.ts`.
      const orphans = await orphansAmong(this.#options, names);
      const rows = await this.#options.blobs.get(names);
      for (const [index, key] of keys.entries()) {
        const row = rows[index];
        if (orphans.has(key.blob)) this.#candidate({ node: id, key });
        // Without a row and no orphan: on its way to a commit. It is not judged.
        else if (row !== undefined) await this.#checkPlace(id, node, key, row, placement);
      }
      after = keys.at(-1);
      if (after === undefined || page.length < LIST_PAGE_MAX) return;
    }
  }

  async #checkPlace(
    id: string,
    node: StorageNode,
    key: BlockKey,
    row: FoundBlob,
    placement: Placement,
  ): Promise<void> {
    const { layout } = placement;
    const [right] = [...blockKeys(key.blob, layout.groups, key.index, key.index + 1)];
    const readable = right?.group === key.group && key.index < blockCount(row);
    if (readable && holdersOf(placement, key.group).includes(id)) return;
    this.#found(
      'surplus',
      `Block ${key.index} of blob ${key.blob} lies on node ${id}, where it does not belong.`,
    );
    if (!this.#repair) return;
    if (readable && !(await this.#isSafe(key, row, placement))) return;
    if (this.#options.view().layout?.epoch !== layout.epoch) return;
    await this.#delete(id, node, [key]);
  }

  async #delete(id: string, node: StorageNode, keys: readonly BlockKey[]): Promise<void> {
    const gone = await this.#ask(id, async () => {
      await node.delete(keys, this.#call());
      return keys.length;
    });
    this.#report.repaired += gone ?? 0;
  }

  /** All nodes of the block's group have just verified their replica. */
  async #isSafe(key: BlockKey, row: FoundBlob, placement: Placement): Promise<boolean> {
    if (isMoving(placement, key.group)) return false;
    const length = blockLength(row, key.index);
    for (const id of idsOfGroup(placement.layout, key.group)) {
      const peer = { id, node: this.#node(id) };
      const { state } = await askReplica(peer, key, length, CALL_TIMEOUT_MS);
      if (state !== 'good') return false;
    }
    return true;
  }

  /* ---------------------------------------------------------------- orphans */

  #candidate(candidate: Candidate): void {
    const known = this.#candidates.get(candidate.key.blob);
    if (known === undefined) this.#candidates.set(candidate.key.blob, [candidate]);
    else known.push(candidate);
    this.#candidateCount += 1;
  }

  /**
   * Blobs without a row may just have been deleted: those wait in the garbage queue, or the garbage
   * job has been on their nodes by now. Orphans are what neither holds for.
   */
  async #confirmOrphans(): Promise<void> {
    const candidates = this.#candidates;
    this.#candidates = new Map();
    this.#candidateCount = 0;
    if (candidates.size === 0) return;
    await this.#leaveOutGarbage(candidates);
    const byNode = new Map<string, BlockKey[]>();
    for (const { node, key } of [...candidates.values()].flat()) {
      const keys = byNode.get(node);
      if (keys === undefined) byNode.set(node, [key]);
      else keys.push(key);
    }
    const gate = new ReaderGate(this.#options);
    for (const [id, keys] of byNode) {
      for (let from = 0; from < keys.length; from += KEYS_PER_CALL_MAX) {
        const batch = keys.slice(from, from + KEYS_PER_CALL_MAX);
        const node = this.#node(id);
        const there = node && (await this.#ask(id, () => node.has(batch, this.#call())));
        if (there === undefined) continue;
        const orphans = batch.filter((_, index) => there[index] === true);
        for (const key of orphans) {
          this.#found(
            'orphaned',
            `Block ${key.index} of blob ${key.blob} on node ${id} belongs to no object.`,
          );
        }
        if (this.#repair && orphans.length > 0) gate.admit(id, orphans);
      }
    }
    await this.#removeWhenUnread(gate);
  }

  async #leaveOutGarbage(candidates: Map<BlobId, Candidate[]>): Promise<void> {
    let after: string | undefined;
    for (;;) {
      this.#turn();
      const page = await this.#options.garbage.next(1000, after);
      for (const entry of page) if (entry.kind === 'blob') candidates.delete(entry.blob);
      after = page.at(-1)?.id;
      if (after === undefined || page.length < 1000) return;
    }
  }

  async #removeWhenUnread(gate: ReaderGate): Promise<void> {
    const { clock } = this.#options.effects;
    const until = clock.monotonic() + READERS_MS;
    while (gate.size > 0 && clock.monotonic() < until) {
      this.#turn();
      for (const { node: id, keys } of gate.release()) {
        const node = this.#node(id);
        if (node === undefined) continue;
        await this.#delete(id, node, keys);
      }
      if (gate.size > 0) await clock.sleep(READERS_POLL_MS);
    }
  }
}
