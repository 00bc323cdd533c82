/**
 * This gateway's lease at the metadata service: the right to make blobs, the protection of its reads
 * and its copy of the cluster view (DESIGN.md section 6).
 *
 * Three marks go with every renewal. Each is exact, because everything that runs is counted in one
 * place: blobs per lease, reads per read epoch, block reads and writes per placement map.
 *
 * A lease is used for new work only while its last renewal, measured from before it was sent, is
 * younger than its time to live. A lease that is given up stays in the list of retired ones, with
 * its marks, until its last blob is settled, and is closed then. That is also how an unknown outcome
 * ends: the blob keeps its mark for as long as its lease exists, and closing the lease fences the
 * commit if it is still under way, so it can never show data that was collected as garbage.
 */
import type { Clock } from '../../base/clock.ts';
import { Failure, isFailure, toFailure } from '../../base/failure.ts';
import { type BlobId, makeBlobId } from '../../base/ids.ts';
import type { Log } from '../../base/log.ts';
import type { ClusterView, Meta, WriterLease, WriterMarks } from '../../meta/protocol.ts';
import { bounded } from './bounded.ts';
import type { NodePool } from './node-pool.ts';
import { PlacementMap } from './placement.ts';

/** How soon a lease or a layout that is not there is asked for again. */
const RETRY_MS = 100;
/** Bound on one call to the metadata service from here. */
const CALL_TIMEOUT_MS = 3000;

/** The right to one blob id. Exactly one of `release` and `abandon` ends it; repeating is harmless. */
export interface BlobTicket {
  readonly writer: number;
  readonly blob: BlobId;
  /** The blob is committed, or certainly never will be and nothing of it is on its way any more. */
  release(): void;
  /** Nobody knows whether the blob was committed: its mark stays until the lease is closed. */
  abandon(): void;
}

/** A read under way: its epoch stays in the marks until `release`. */
export interface ReadHold {
  /** One more holder of the same epoch. */
  share(): ReadHold;
  release(): void;
}

class Lease {
  readonly writer: number;
  readonly ttlMs: number;
  validUntil: number;
  /** An outcome is unknown: replace this lease soon. */
  tainted = false;
  renewals = 0;
  #next = 1;
  /** In the order of the sequences, because that is the order of insertion. */
  readonly #inFlight = new Set<number>();
  #abandoned = 0;

  constructor(granted: WriterLease, sentAt: number) {
    this.writer = granted.writer;
    this.ttlMs = granted.ttlMs;
    this.validUntil = sentAt + granted.ttlMs;
  }

  get lowestSequence(): number {
    for (const sequence of this.#inFlight) return sequence;
    return this.#next;
  }

  /** Blobs that will still be settled. */
  get open(): number {
    return this.#inFlight.size - this.#abandoned;
  }

  begin(): BlobTicket {
    const sequence = this.#next++;
    this.#inFlight.add(sequence);
    let ended = false;
    return {
      writer: this.writer,
      blob: makeBlobId(this.writer, sequence),
      release: () => {
        if (ended) return;
        ended = true;
        this.#inFlight.delete(sequence);
      },
      abandon: () => {
        if (ended) return;
        ended = true;
        this.#abandoned++;
        this.tainted = true;
      },
    };
  }
}

class ReadEpoch {
  readonly epoch: number;
  holds = 0;

  constructor(epoch: number) {
    this.epoch = epoch;
  }

  hold(): ReadHold {
    this.holds++;
    let released = false;
    return {
      share: () => this.hold(),
      release: () => {
        if (released) return;
        released = true;
        this.holds--;
      },
    };
  }
}

export interface WriterLeaseOptions {
  meta: Pick<Meta, 'openWriter' | 'renewWriter' | 'closeWriter'>;
  pool: NodePool;
  clock: Clock;
  log: Log;
  name: string;
  renewMs: number;
}

export class WriterLeases {
  readonly #meta: WriterLeaseOptions['meta'];
  readonly #pool: NodePool;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #name: string;
  readonly #renewMs: number;

  #current: Lease | undefined;
  #retired: Lease[] = [];
  #revision = -1;
  #map: PlacementMap | undefined;
  #oldMaps: PlacementMap[] = [];
  /** Epochs of the layouts that `#map` was made of. */
  #epochs = '';
  #refreshing: Promise<void> = Promise.resolve();
  #nextRefresh: Promise<void> | undefined;
  #reads = new ReadEpoch(0);
  #oldReads: ReadEpoch[] = [];
  readonly #ending = new AbortController();
  #loop: Promise<void> | undefined;
  #stopping = false;
  #silenced = false;

  constructor(options: WriterLeaseOptions) {
    this.#meta = options.meta;
    this.#pool = options.pool;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#name = options.name;
    this.#renewMs = options.renewMs;
  }

  /** The id for commits. Throws Failure `unavailable` when there is no lease that stands. */
  writer(): number {
    return this.#standing().writer;
  }

  /** A fresh blob id. Throws Failure `unavailable` without a lease or a layout. */
  beginBlob(): BlobTicket {
    this.map();
    return this.#standing().begin();
  }

  /** To be taken before the metadata read that it protects. Throws Failure `unavailable`. */
  beginRead(): ReadHold {
    this.#standing();
    return this.#reads.hold();
  }

  /** The newest placement map. Throws Failure `unavailable` while there is no layout. */
  map(): PlacementMap {
    if (this.#map === undefined) throw new Failure('unavailable', 'the cluster has no layout yet');
    return this.#map;
  }

  /** True when requests can be served. */
  get ready(): boolean {
    return this.#map !== undefined && !this.#stopping && this.#stands(this.#current);
  }

  /** False from the first failed renewal on, while the lease still stands: commits cannot succeed. */
  get inTouch(): boolean {
    return !this.#silenced;
  }

  get layoutEpoch(): number | undefined {
    return this.#map?.epoch;
  }

  /** Placement groups, and how many of them have fewer than `least` nodes that take blocks. */
  groups(least: number): { total: number; blocked: number } {
    const map = this.#map;
    return { total: map?.groups ?? 0, blocked: map?.blockedGroups(least) ?? 0 };
  }

  /** Blobs being written, reads under way. */
  get running(): { blobs: number; reads: number } {
    const leases = this.#leases();
    const epochs = [this.#reads, ...this.#oldReads];
    return {
      blobs: leases.reduce((sum, lease) => sum + lease.open, 0),
      reads: epochs.reduce((sum, epoch) => sum + epoch.holds, 0),
    };
  }

  /** What a renewal of `writer` (the current lease by default) would report now. */
  marks(writer?: number): WriterMarks {
    const lease = this.#leases().find((one) => one.writer === writer) ?? this.#current;
    return {
      lowestSequence: lease?.lowestSequence ?? 1,
      oldestRead: this.#oldReads.find((reads) => reads.holds > 0)?.epoch ?? this.#reads.epoch,
      oldestLayout: this.#oldMaps.find((map) => map.holds > 0)?.epoch ?? this.#map?.epoch ?? 0,
    };
  }

  /** Starts the loop; resolves after the first attempt to open a lease, whatever came of it. */
  async start(): Promise<void> {
    await this.#turn();
    this.#loop = this.#run();
  }

  /**
   * Asks the metadata service for the newest view now; resolves when it is taken over, or could not
   * be had. The question is sent after this call, never shared with one that is on its way already.
   */
  refresh(): Promise<void> {
    this.#nextRefresh ??= this.#refreshing.then(() => {
      this.#nextRefresh = undefined;
      this.#refreshing =
        this.#current === undefined ? Promise.resolve() : this.#renew(this.#current);
      return this.#refreshing;
    });
    return this.#nextRefresh;
  }

  /** Lets nothing new begin. What runs goes on, under leases that are still renewed. */
  drain(): void {
    this.#stopping = true;
  }

  /** Ends the loop. Leases with nothing running are closed; the others lapse by themselves. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#ending.abort();
    await this.#loop;
    if (this.running.reads > 0) return;
    const idle = this.#leases().filter((lease) => lease.open === 0);
    await Promise.all(idle.map(async (lease) => await this.#close(lease)));
  }

  #leases(): Lease[] {
    return this.#current === undefined ? this.#retired : [this.#current, ...this.#retired];
  }

  #stands(lease: Lease | undefined): lease is Lease {
    return lease !== undefined && this.#clock.monotonic() < lease.validUntil;
  }

  #standing(): Lease {
    if (this.#stopping) throw new Failure('unavailable', 'this gateway is shutting down');
    const lease = this.#current;
    // Asked at every use and not by a timer: after a long pause of the process timers fire too late.
    if (this.#stands(lease)) return lease;
    throw new Failure('unavailable', 'this gateway has no lease from the metadata service');
  }

  async #run(): Promise<void> {
    while (!this.#ending.signal.aborted) {
      const wait = this.ready ? this.#renewMs : Math.min(RETRY_MS, this.#renewMs);
      try {
        await this.#clock.sleep(wait, this.#ending.signal);
      } catch {
        return;
      }
      await this.#turn();
      this.#pool.fade();
    }
  }

  /** One round: renew what there is, replace what is gone or tainted, close what is done. */
  async #turn(): Promise<void> {
    const current = this.#current;
    if (current !== undefined) {
      await this.#renew(current);
      if (!this.#stands(current)) this.#retire(current, 'it lapsed');
    }
    for (const lease of this.#retired) await this.#settleRetired(lease);
    if (this.#current === undefined || this.#current.tainted) await this.#open();
    this.#prune();
  }

  async #open(): Promise<void> {
    if (this.#stopping) return;
    const sentAt = this.#clock.monotonic();
    try {
      const options = { timeoutMs: CALL_TIMEOUT_MS };
      const call = this.#meta.openWriter({ name: this.#name }, options);
      const granted = await bounded(this.#clock, CALL_TIMEOUT_MS, call);
      const before = this.#current;
      if (before !== undefined)
        this.#retire(before, 'the outcome of one of its commits is unknown');
      this.#current = new Lease(granted, sentAt);
      this.#newReadEpoch(granted.readEpoch);
      this.#install(granted.view);
      this.#silenced = false;
      this.#log.info({ writer: granted.writer }, 'writer lease opened');
    } catch (error) {
      this.#complain({ error }, 'no writer lease from the metadata service');
    }
  }

  async #renew(lease: Lease): Promise<void> {
    const sentAt = this.#clock.monotonic();
    const { writer } = lease;
    try {
      const command = { writer, marks: this.marks(writer), revision: this.#revision };
      const timeoutMs = Math.min(CALL_TIMEOUT_MS, lease.ttlMs);
      const call = this.#meta.renewWriter(command, { timeoutMs });
      const renewed = await bounded(this.#clock, timeoutMs, call);
      lease.validUntil = sentAt + lease.ttlMs;
      lease.renewals++;
      this.#silenced = false;
      this.#newReadEpoch(renewed.readEpoch);
      if (renewed.view !== undefined) this.#install(renewed.view);
    } catch (error) {
      if (isFailure(error, 'fenced')) this.#forget(lease);
      else this.#complain({ writer, error: toFailure(error) }, 'renewing the writer lease failed');
    }
  }

  /** One warning per outage, not one per try. */
  #complain(fields: object, message: string): void {
    if (this.#silenced) this.#log.debug(fields, message);
    else this.#log.warn(fields, message);
    this.#silenced = true;
  }

  #retire(lease: Lease, why: string): void {
    this.#log.warn({ writer: lease.writer, why }, 'writer lease given up');
    this.#current = undefined;
    this.#retired.push(lease);
  }

  #forget(lease: Lease): void {
    this.#log.warn({ writer: lease.writer }, 'writer lease was ended by the metadata service');
    if (this.#current === lease) this.#current = undefined;
    this.#retired = this.#retired.filter((other) => other !== lease);
  }

  /** A retired lease is renewed until its last blob is settled, then closed. */
  async #settleRetired(lease: Lease): Promise<void> {
    // Its successor must have reported the reads that are still running before this one goes.
    const covered = this.#current !== undefined && this.#current.renewals > 0;
    if (lease.open > 0 || !covered) await this.#renew(lease);
    else await this.#close(lease);
    const over = this.#clock.monotonic() >= lease.validUntil + lease.ttlMs;
    if (over) this.#retired = this.#retired.filter((other) => other !== lease);
  }

  async #close(lease: Lease): Promise<void> {
    const { writer } = lease;
    try {
      const call = this.#meta.closeWriter({ writer }, { timeoutMs: CALL_TIMEOUT_MS });
      await bounded(this.#clock, CALL_TIMEOUT_MS, call);
    } catch (error) {
      if (!isFailure(error, 'fenced', 'not-found')) {
        this.#log.warn({ writer, error: toFailure(error) }, 'closing the writer lease failed');
        return;
      }
    }
    if (this.#current === lease) this.#current = undefined;
    this.#retired = this.#retired.filter((other) => other !== lease);
  }

  #newReadEpoch(epoch: number): void {
    if (epoch <= this.#reads.epoch) return;
    this.#oldReads.push(this.#reads);
    this.#reads = new ReadEpoch(epoch);
  }

  #install(view: ClusterView): void {
    if (view.revision <= this.#revision) return;
    this.#revision = view.revision;
    this.#pool.update(view.clusterId, view.nodes);
    if (view.layout === undefined) return;
    const { layout, previous } = view;
    const epochs = [layout, ...previous].map(({ epoch }) => epoch).join(' ');
    if (epochs === this.#epochs) return;
    this.#epochs = epochs;
    const nodeOf = (id: string) => this.#pool.node(id);
    if (this.#map !== undefined) this.#oldMaps.push(this.#map);
    const older = previous.map((one) => new PlacementMap(one, nodeOf));
    this.#map = new PlacementMap(layout, nodeOf, older);
    this.#log.info({ epoch: layout.epoch, moving: older.length }, 'layout taken over');
  }

  #prune(): void {
    this.#oldReads = this.#oldReads.filter((reads) => reads.holds > 0);
    this.#oldMaps = this.#oldMaps.filter((map) => map.holds > 0);
  }
}
