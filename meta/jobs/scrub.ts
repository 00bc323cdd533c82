/**
 * The scrub job: reads every replica of every block and has its checksum compared, and asks for every
 * block that the metadata name on every node that should hold it. One pass takes at most `periodMs`,
 * at a rate that follows from what the nodes hold, and the next one begins `periodMs` after it began.
 *
 * Nodes read by themselves (`verify`), one page at a time each, side by side. What is corrupt or
 * missing becomes a repair at once. A node that does not answer is asked again, after longer and
 * longer pauses; when all others are through, the pass ends without it.
 *
 * Where the pass has come to is stored every now and then; after a restart it goes on with the groups
 * that it had not finished.
 */
import type { Clock } from '../../base/clock.ts';
import { toFailure } from '../../base/failure.ts';
import { type BlobId, parseBlobId } from '../../base/ids.ts';
import type { Log } from '../../base/log.ts';
import type { BlockKey, StorageNode } from '../../storage-node/protocol.ts';
import type { JobStatus } from '../admin-protocol.ts';
import type { Blobs, Repairs } from '../catalogue/catalogue.ts';
import type { ClusterView } from '../protocol.ts';
import { type Job, JobControl, type JobRows } from './job.ts';
import { NodePatience } from './patience.ts';
import { idsOfGroup, type Placement, placementOf } from './placed.ts';
import { askPresence } from './presence.ts';
import { Meter } from './rate.ts';
import { VerifiedTimes } from './verified.ts';

export interface ScrubJobOptions {
  repairs: Pick<Repairs, 'report'>;
  blobs: Pick<Blobs, 'page'>;
  view: () => ClusterView;
  /** The node, when it is up. */
  node: (id: string) => StorageNode | undefined;
  rows: JobRows;
  clock: Clock;
  log: Log;
  limits?: Partial<ScrubLimits> | undefined;
}

export interface ScrubLimits {
  /** In which everything is to be read once. */
  periodMs: number;
  /** Bytes per second and node, at least; what is needed for the period when that is more. */
  bytesPerSecondMin: number;
  /** Read in one call. */
  pageBytes: number;
  /** Blobs per second whose blocks are asked for, at least. */
  blobsPerSecond: number;
  callTimeoutMs: number;
  /** How often the place that the pass has come to is stored. */
  saveMs: number;
}

export const SCRUB_LIMITS: ScrubLimits = {
  periodMs: 7 * 86_400_000,
  bytesPerSecondMin: 1024 * 1024,
  pageBytes: 4 * 1024 * 1024,
  blobsPerSecond: 500,
  callTimeoutMs: 30_000,
  saveMs: 30_000,
};

const BLOBS_PER_PAGE = 200;
const PAGE_BYTES_MIN = 64 * 1024;
/** Groups that hold nothing cost a call each. */
const CALLS_PER_STEP = 64;
/** Nodes whose place is stored, so that it fits a row; the others begin their pass anew. */
const PLACES_MAX = 500;
/** The rate is this much higher than the period asks for, to make up for pauses. */
const HASTE = 1.25;

/** The pass along one node. */
interface Lane {
  id: string;
  /** Its groups, ascending; `next` is a position in here. */
  groups: number[];
  next: number;
  after: BlockKey | undefined;
  /** When the group was begun: everything older is verified when it is done. */
  beganMs: number;
  dueAt: number;
  /** Bytes that the node held at the beginning. */
  used: number;
}

export class ScrubJob implements Job {
  readonly #options: ScrubJobOptions;
  readonly #limits: ScrubLimits;
  readonly #control: JobControl;
  readonly #verified: VerifiedTimes;
  readonly #patience: NodePatience;
  readonly #meter: Meter;
  readonly #ending = new AbortController();
  #lanes: Lane[] = [];
  /** The walk along the metadata. */
  #blobs: { after: BlobId | undefined; ended: boolean; count: number; dueAt: number } | undefined;
  /** Blobs that the last whole walk has met. */
  #blobsKnown: number | undefined;
  /** Wall clock: it holds over restarts. */
  #beganMs: number | undefined;
  #walking = false;
  #asked = false;
  #savedAt = 0;
  #finishedMs: number | undefined;
  #problem: string | undefined;
  readonly #counts = { blocks: 0, bytes: 0, corrupt: 0, missing: 0, unanswered: 0 };

  constructor(options: ScrubJobOptions) {
    this.#options = options;
    this.#limits = { ...SCRUB_LIMITS, ...options.limits };
    this.#control = new JobControl('scrub', options.rows);
    this.#verified = new VerifiedTimes(options.rows);
    this.#patience = new NodePatience(options.clock);
    this.#meter = new Meter(options.clock);
    this.#savedAt = options.clock.monotonic();
  }

  /** Reads what operators have said, and where the pass had come to. */
  async restore(): Promise<void> {
    await this.#control.load();
    const placement = placementOf(this.#options.view());
    const state = await this.#options.rows.state('scrub');
    if (placement === undefined) return;
    const { nodes, groups } = placement.layout;
    for (const { id } of nodes) await this.#verified.load(id, groups);
    if (state === undefined) return;
    const { beganMs, finishedMs, blobs, known, places } = state;
    if (typeof finishedMs === 'number') this.#finishedMs = finishedMs;
    if (typeof known === 'number') this.#blobsKnown = known;
    if (typeof beganMs !== 'number') return;
    this.#beganMs = beganMs;
    if (typeof places !== 'object' || places === null) return;
    await this.#start(placement);
    for (const lane of this.#lanes) {
      const group = (places as Record<string, unknown>)[lane.id];
      if (typeof group !== 'number') continue;
      const at = lane.groups.findIndex((one) => one >= group);
      lane.next = at < 0 ? lane.groups.length : at;
    }
    if (this.#blobs === undefined) return;
    this.#blobs.ended = blobs === true;
    if (typeof blobs === 'string') this.#blobs.after = parseBlobId(blobs);
  }

  status(): JobStatus {
    const total = this.#lanes.reduce((sum, { groups }) => sum + groups.length, 0);
    const done = this.#lanes.reduce((sum, { next }) => sum + next, 0);
    const rate = this.#walking ? this.#meter.perSecond() : 0;
    return {
      name: 'scrub',
      state: this.#control.paused ? 'paused' : this.#walking ? 'running' : 'idle',
      done,
      total: total === 0 ? undefined : total,
      unit: 'groups',
      rate,
      etaMs: rate === 0 ? undefined : ((total - done) * 1000) / rate,
      lastFinishedMs: this.#finishedMs,
      counts: { ...this.#counts, blobs: this.#blobs?.count ?? 0 },
      problem: this.#problem,
    };
  }

  /** When everything that `node` holds of `group` was last verified, in milliseconds of the epoch. */
  verifiedAt(node: string, group: number): number | undefined {
    return this.#verified.at(node, group);
  }

  /** How many blobs there are, as far as the walks along the metadata know. */
  get blobCount(): number {
    return this.#blobsKnown ?? this.#blobs?.count ?? 0;
  }

  run(): void {
    this.#asked = true;
  }

  async pause(): Promise<void> {
    await this.#control.change({ paused: true });
    await this.#save();
  }

  async resume(): Promise<void> {
    await this.#control.change({ paused: false });
  }

  /** Per node. */
  async setRate(bytesPerSecond: number): Promise<void> {
    await this.#control.change({ rate: bytesPerSecond });
    for (const lane of this.#lanes) lane.dueAt = 0;
  }

  /** Before the loop is stopped: calls under way are given up. */
  end(): void {
    this.#ending.abort();
  }

  /** One step of every node that is due. True: there is more to do at once. */
  async round(): Promise<boolean> {
    const { clock } = this.#options;
    const placement = placementOf(this.#options.view());
    if (placement === undefined || this.#control.paused) return false;
    await this.#begin(placement);
    if (!this.#walking) return false;
    const now = clock.monotonic();
    const due = this.#lanes.filter((lane) => {
      return !ended(lane) && lane.dueAt <= now && this.#patience.mayAsk(lane.id);
    });
    await Promise.all([
      ...due.map((lane) => this.#step(lane, placement)),
      this.#walkBlobs(placement),
    ]);
    await this.#endWhenThrough();
    if (clock.monotonic() - this.#savedAt >= this.#limits.saveMs) await this.#save();
    return this.#walking && due.length > 0 && this.#control.rate === 0;
  }

  /* ---------------------------------------------------------------- passes */

  async #begin(placement: Placement): Promise<void> {
    const { clock } = this.#options;
    if (this.#walking) return;
    const now = clock.now();
    const age = this.#beganMs === undefined ? Number.POSITIVE_INFINITY : now - this.#beganMs;
    // A clock that was set back must not stop scrubbing for as long.
    if (!this.#asked && age >= 0 && age < this.#limits.periodMs) return;
    this.#asked = false;
    this.#beganMs = now;
    await this.#start(placement);
    await this.#save();
  }

  async #start({ layout }: Placement): Promise<void> {
    this.#walking = true;
    this.#problem = undefined;
    const groups = new Map<string, number[]>(layout.nodes.map(({ id }) => [id, []]));
    for (let group = 0; group < layout.groups; group++) {
      for (const id of idsOfGroup(layout, group)) groups.get(id)?.push(group);
    }
    this.#lanes = [...groups].map(([id, own]) => ({
      id,
      groups: own,
      next: 0,
      after: undefined,
      beganMs: 0,
      dueAt: 0,
      used: 0,
    }));
    this.#blobs = { after: undefined, ended: false, count: 0, dueAt: 0 };
    for (const { id } of this.#lanes) {
      if (!this.#verified.has(id)) await this.#verified.load(id, layout.groups);
    }
  }

  async #endWhenThrough(): Promise<void> {
    const { clock, log } = this.#options;
    if (this.#blobs?.ended !== true) return;
    const left = this.#lanes.filter((lane) => !ended(lane));
    if (left.some(({ id }) => this.#patience.mayAsk(id))) return;
    for (const { id } of left) {
      this.#problem = `node ${id} did not answer: the rest of it is not verified`;
    }
    this.#walking = false;
    this.#finishedMs = clock.now();
    log.info({ ...this.#counts }, 'scrubbing has been through everything');
    await this.#save();
  }

  async #save(): Promise<void> {
    this.#savedAt = this.#options.clock.monotonic();
    const blobs = this.#blobs?.ended === true ? true : (this.#blobs?.after ?? null);
    const places = Object.fromEntries(
      this.#lanes
        .slice(0, PLACES_MAX)
        .map(({ id, groups, next }) => [id, groups[next] ?? Number.MAX_SAFE_INTEGER]),
    );
    await this.#options.rows.putState('scrub', {
      beganMs: this.#beganMs ?? null,
      finishedMs: this.#finishedMs ?? null,
      known: this.#blobsKnown ?? null,
      blobs,
      places: this.#walking ? places : null,
    });
    await this.#verified.save();
  }

  /* ---------------------------------------------------------------- content */

  /** Bytes per second for one node; 0 for no limit. */
  #rateOf(lane: Lane): number {
    const needed = (lane.used * 1000 * HASTE) / this.#limits.periodMs;
    return this.#control.rate ?? Math.max(this.#limits.bytesPerSecondMin, needed);
  }

  async #step(lane: Lane, placement: Placement): Promise<void> {
    const { clock, log } = this.#options;
    const node = this.#options.node(lane.id);
    let bytes = 0;
    try {
      if (node === undefined) throw new Error('the node is down');
      if (lane.used === 0) lane.used = (await node.stats(this.#call())).fileBytes;
      const rate = this.#rateOf(lane);
      const most = this.#limits.pageBytes;
      const budget = rate === 0 ? most : Math.min(most, Math.max(PAGE_BYTES_MIN, rate));
      for (let call = 0; call < CALLS_PER_STEP && bytes < budget && !ended(lane); call++) {
        bytes += await this.#page(lane, node, placement, Math.floor(budget - bytes));
        if (this.#control.paused) return;
      }
      this.#patience.answered(lane.id);
      if (rate > 0) {
        lane.dueAt = Math.max(lane.dueAt, clock.monotonic() - 1000) + (bytes * 1000) / rate;
      }
    } catch (error) {
      this.#counts.unanswered += 1;
      this.#patience.silent(lane.id);
      log.debug({ node: lane.id, error: toFailure(error) }, 'a node was not scrubbed');
    }
  }

  #call(): { timeoutMs: number; signal: AbortSignal } {
    return { timeoutMs: this.#limits.callTimeoutMs, signal: this.#ending.signal };
  }

  async #page(
    lane: Lane,
    node: StorageNode,
    { layout }: Placement,
    bytesMax: number,
  ): Promise<number> {
    const { clock, log } = this.#options;
    const group = lane.groups[lane.next] ?? 0;
    if (lane.after === undefined) lane.beganMs = clock.now();
    // Given to another node since the pass began.
    if (!idsOfGroup(layout, group).includes(lane.id)) {
      this.#nextGroup(lane);
      return 0;
    }
    const page = await node.verify({ group, after: lane.after, bytesMax }, this.#call());
    this.#counts.blocks += page.blocks;
    this.#counts.bytes += page.bytes;
    if (page.corrupt.length > 0) {
      this.#counts.corrupt += page.corrupt.length;
      const [first] = page.corrupt;
      log.warn({ node: lane.id, blocks: page.corrupt.length, first }, 'corrupt replicas found');
      const reports = [...new Set(page.corrupt.map(({ blob }) => blob))].map((blob) => ({
        blob,
        node: lane.id,
        reason: 'corrupt' as const,
      }));
      await this.#options.repairs.report(reports);
    }
    lane.after = page.next;
    if (page.next === undefined) {
      this.#verified.set(lane.id, group, lane.beganMs);
      this.#nextGroup(lane);
    }
    return page.bytes;
  }

  #nextGroup(lane: Lane): void {
    lane.after = undefined;
    lane.next += 1;
    this.#meter.add(1);
  }

  /* ---------------------------------------------------------------- metadata */

  async #walkBlobs(placement: Placement): Promise<void> {
    const { clock, blobs, repairs } = this.#options;
    const walk = this.#blobs;
    const now = clock.monotonic();
    if (walk === undefined || walk.ended || walk.dueAt > now) return;
    const rows = await blobs.page(BLOBS_PER_PAGE, walk.after);
    const { silent } = await askPresence({
      rows,
      placement,
      node: (id) => (this.#patience.mayAsk(id) ? this.#options.node(id) : undefined),
      call: this.#call(),
      absent: async (found) => {
        this.#counts.missing += found.length;
        const names = new Map(found.map(({ key, node }) => [`${key.blob} ${node}`, { key, node }]));
        await repairs.report(
          [...names.values()].map(({ key, node }) => ({
            blob: key.blob,
            node,
            reason: 'missing' as const,
          })),
        );
      },
    });
    for (const id of silent) this.#patience.silent(id);
    walk.count += rows.length;
    walk.after = rows.at(-1)?.blob ?? walk.after;
    const needed = ((this.#blobsKnown ?? 0) * 1000 * HASTE) / this.#limits.periodMs;
    const rate = Math.max(this.#limits.blobsPerSecond, needed);
    walk.dueAt = this.#control.rate === 0 ? 0 : now + (rows.length * 1000) / rate;
    if (rows.length < BLOBS_PER_PAGE) {
      walk.ended = true;
      this.#blobsKnown = walk.count;
    }
  }
}

const ended = (lane: Lane): boolean => lane.next >= lane.groups.length;
